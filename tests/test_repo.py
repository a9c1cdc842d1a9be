"The repository agrees with itself: notebooks, package, README, and a clean install."
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from execnb.nbio import read_nb
from nbdev.clean import clean_nb

from readme import address, make_readme
from structure import find_exports, find_modules, find_notebooks, find_sources, foreign_imports
from structure import long_cells, orphans, upward

root = Path(__file__).parent.parent
notebooks = find_notebooks(root)
modules = find_modules(root)
no_caches = shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints')


def run(*args, cwd=root, **kw):
    r = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True, **kw)
    assert r.returncode == 0, f"{args}\n{r.stdout[-3000:]}\n{r.stderr[-3000:]}"
    return r.stdout


def copy_to(folder, *names):
    "Files and folders of the repository, copied"
    for name in names:
        src, to = root / name, folder / name
        if src.is_dir(): shutil.copytree(src, to, symlinks=True, ignore=no_caches)
        else: shutil.copy(src, to)
    return folder


def name_of(path): return path.relative_to(root / 'nbs').with_suffix('').as_posix()


@pytest.mark.parametrize('path', notebooks, ids=name_of)
def test_notebook_is_clean(path):
    "No metadata of this machine, no errors, warnings and paths in outputs, at most 300 KB"
    nb = read_nb(path)
    before = json.dumps(nb, sort_keys=True, default=lambda o: o.__dict__)
    clean_nb(nb)
    assert json.dumps(nb, sort_keys=True, default=lambda o: o.__dict__) == before, 'run nbdev_clean'
    assert path.stat().st_size <= 300 * 1024
    for cell in json.loads(path.read_text())['cells']:
        for out in cell.get('outputs', []):
            assert out['output_type'] != 'error' and out.get('name') != 'stderr', cell['source']
            text = json.dumps({k: v for k, v in out.get('data', out).items() if 'png' not in k})
            assert not re.search(r'/home/|/root/|/Users/|/tmp/|site-packages', text), text[:300]


def test_export_in_sync(tmp_path):
    "The package is what the notebooks export, file for file"
    copy_to(tmp_path, 'nbs', 'trm', 'settings.ini', '_quarto.yml', 'README.md')
    for p in find_modules(tmp_path).values(): p.unlink()
    run(Path(sys.executable).parent / 'nbdev_export', cwd=tmp_path)
    ours, theirs = find_sources(root), find_sources(tmp_path)
    assert ours.keys() == theirs.keys()
    for m, p in ours.items():
        assert p.read_text() == theirs[m].read_text(), f'{m}: run nbdev_export'


def test_pyflakes():
    files = [*find_sources(root).values(), 'setup.py', *root.glob('tests/*.py')]
    run(sys.executable, '-m', 'pyflakes', *files)


def test_no_orphans():
    assert orphans(root) == []


def test_import_order():
    assert upward(root) == []


@pytest.mark.parametrize('path', notebooks, ids=name_of)
def test_exported_code_is_short(path):
    "No line of it is longer than 100 letters, no cell than 35 lines"
    assert long_cells(path) == []


def test_long_cells_are_found(tmp_path):
    "Docments count, directives and blank lines do not, nor does a cell that is not exported"
    body = ['#| exports', 'def f(', *['    a=1, # one'] * 32, '): # two', '', '    return a']
    cells = {'fits': body, 'long': body + ['f()'], 'wide': ['#| export', 'x = ' + '1' * 97],
             'widest': ['#| export', 'x = ' + '1' * 96], 'inside': ['x = ' + '1' * 200] * 40}
    said = {}
    for name, lines in cells.items():
        cell = dict(cell_type='code', metadata={}, source='\n'.join(lines))
        write_nb(tmp_path / f'{name}.ipynb', [cell])
        said[name] = long_cells(tmp_path / f'{name}.ipynb')
    assert said == dict(fits=[], long=['long: def f(: 36 lines; at most 35'], widest=[], inside=[],
                        wide=[f'wide: x = {"1" * 97}: 101 letters in x = {"1" * 36}; at most 100'])


quiet = """
import importlib, os, random, signal, sys, threading, warnings
from contextlib import suppress
foreign, ours = (names.split() for names in sys.argv[1:])
for name in foreign:
    with suppress(ImportError): importlib.import_module(name)  # a name that is no module, an extra
import numpy, torch
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # its first optimiser makes torch import more

def look():
    handlers = {s: signal.getsignal(s) for s in signal.valid_signals()}
    draws = torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist()
    return dict(threading=threading.excepthook, hook=sys.excepthook, filters=[*warnings.filters],
                handlers=handlers, draws=draws, threads=threading.enumerate(),
                environment=dict(os.environ), folder=os.listdir())

written = []
def watch(event, args):
    if event == 'open' and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT): written.append(args[0])
    if event in ('os.mkdir', 'os.rename', 'os.remove', 'os.symlink'): written.append(args[0])

before = look()
sys.addaudithook(watch)
for name in ours: importlib.import_module(name)

class Own:
    vocab_size, seq_len = 6, 16
    def batches(self, *args): raise NotImplementedError
    eval_batches = score = groups = prompt = text = save = open = batches

from trm import Trainer, get_preset
Trainer(get_preset('sudoku4').change(device='cpu', task='own'), Own(), 'run')
after = look()
print(*(k for k in before if before[k] != after[k]), *written)
"""


def test_importing_changes_nothing(tmp_path):
    "Nor does making a `Trainer`: no hook, filter, handler, thread or draw, and no file"
    foreign, ours = (' '.join(names) for names in (foreign_imports(root), find_sources(root)))
    env = dict(os.environ, PYTHONPATH=str(root), HOME=str(tmp_path / 'home'), OMP_NUM_THREADS='1')
    (tmp_path / 'empty').mkdir()
    told = '-B', '-c', quiet, foreign, ours
    assert run(sys.executable, *told, cwd=tmp_path / 'empty', env=env).strip() == ''
    assert list((tmp_path / 'empty').iterdir()) == []


# The two checks on a copy of the repository, with faults planted in it

@pytest.fixture
def copy(tmp_path):
    "The chapters without their outputs, and the package"
    for p in notebooks:
        nb = json.loads(p.read_text())
        for c in nb['cells']:
            if c['cell_type'] == 'code': c['outputs'] = []
        write_nb(tmp_path / p.relative_to(root), nb['cells'])
    for p in find_sources(root).values():
        (tmp_path / p.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(p, tmp_path / p.relative_to(root))
    return tmp_path


def write_nb(path, cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))


def plant(copy, module, code):
    "Add code to the end of a module of the copy"
    path = find_modules(copy)[module]
    path.write_text(f'{path.read_text()}\n{code}\n')


def test_untouched_copy(copy):
    assert (orphans(copy), upward(copy)) == ([], [])
    assert len(find_modules(copy)) == len(find_exports(copy)) > 30


upward_imports = {
    'relative': 'from ..engine.trainer import Trainer',
    'absolute': 'from trm.engine.trainer import Trainer',
    'import': 'import trm.engine.trainer',
    'import as': 'import trm.engine.trainer as t',
    'several': 'import os, trm.files, trm.engine.trainer',
    'module of a part': 'from trm.engine import trainer',
    'module of a part, relative': 'from ..engine import trainer',
    'lines': 'from trm.engine import (\n    cache,\n    trainer,\n)',
    'lines, relative': 'from ..engine.trainer import (\n    Trainer as T,\n)',
    'backslash': 'from ..engine.trainer \\\n    import Trainer',
    'function': 'def f():\n    from ..engine.trainer import Trainer\n    return Trainer',
    'method': 'class A:\n    def f(self):\n        import trm.engine.trainer',
    'branch': 'if 0:\n    try: from trm.engine.trainer import T\n    except ImportError: pass',
    'import_module': "from importlib import import_module\nt = import_module('trm.engine.trainer')",
    'importlib': "import importlib\nt = importlib.import_module('..engine.trainer', 'trm.data')",
    '__import__': "t = __import__('trm.engine.trainer')",
}


@pytest.mark.parametrize('code', upward_imports.values(), ids=upward_imports)
def test_planted_upward_import(copy, code):
    plant(copy, 'trm.data.pairs', code)
    faults = upward(copy)
    assert faults
    for f in faults: assert f.startswith('trm.data.pairs, line ') and 'trm.engine.' in f


@pytest.mark.parametrize('module, code, fault', [
    ('trm.data.pairs', 'from .inspection import inspect', 'imports trm.data.inspection'),
    ('trm.data.pairs', 'from . import inspection', 'imports trm.data.inspection'),
    ('trm.data.pairs', 'from .pairs import open_pairs', 'imports trm.data.pairs'),
    ('trm.data.pairs', 'from trm import TRM', 'takes TRM from the package'),
    ('trm.data.pairs', 'from .. import get_preset', 'takes get_preset from the package'),
    ('trm.data.pairs', 'from trm import *', r'takes \* from the package'),
    ('trm.data.pairs', 'import trm', 'takes all from the package'),
    ('trm.data.pairs', 'from trm import engine', 'imports trm.engine, which is no module'),
    ('trm.data.pairs', 'from trm.dta import pairs', 'imports trm.dta, which is no module'),
    ('trm.data.pairs', 'from ....x import y', 'trm.data.pairs: .*beyond'),
    ('trm.config', 'from .data.pairs import open_pairs', 'imports trm.data.pairs'),
    ('trm.files', 'from . import config', 'imports trm.config'),
    ('trm.runs', 'from .cli import main', 'imports trm.cli'),
    ('trm.network.block', 'from ..data.pairs import f', 'trm.data.pairs, which it must not know'),
    ('trm.network.block', 'from ..training.loss import token_losses', 'imports trm.training.loss'),
    ('trm.training.loss', 'from ..data.answers import f', 'trm.data.answers, which it must not'),
    ('trm.engine.trainer', 'from ..training.task import f', 'trm.training.task, which it must not'),
    ('trm.engine.trainer', 'from ..puzzles.task import f', 'trm.puzzles.task, which it must not'),
    ('trm.engine.trainer', 'from ..data.pairs import f', 'trm.data.pairs, which it must not know'),
    ('trm.engine.trainer', 'from ..thinking.scores import f', 'trm.thinking.scores, which it must'),
    ('trm.training.loop', 'from ..data.answers import f', 'trm.data.answers, which it must not'),
    ('trm.thinking.scores', 'from ..puzzles.task import f', 'trm.puzzles.task, which it must not'),
    ('trm.thinking.watch', 'def f():\n    import trm.puzzles.board', 'trm.puzzles.board, which it'),
    # modules of one stem in different parts
    ('trm.files', 'from .puzzles.files import read_puzzles', 'imports trm.puzzles.files'),
    ('trm.training.task', 'from ..puzzles.task import PuzzleTask', 'imports trm.puzzles.task'),
    ('trm.training.task', 'from trm.puzzles import files, task', 'imports trm.puzzles.files'),
    ('trm.puzzles.files', 'from .task import PuzzleTask', 'imports trm.puzzles.task'),
    ('trm.training.loss', 'from .task import TextTask', 'imports trm.training.task'),
])
def test_planted_fault(copy, module, code, fault):
    plant(copy, module, code)
    faults = upward(copy)
    assert faults and re.search(fault, faults[0]), faults
    assert all(f.startswith(module) for f in faults), faults


@pytest.mark.parametrize('module, code', [
    ('trm.puzzles.task', 'from trm import __version__, networks'),
    ('trm.puzzles.task', 'from ..files import (\n    InputError,\n)\nimport trm.training.task'),
    ('trm.puzzles.files', 'from .. import files\nfrom trm.files import InputError'),
    ('trm.engine.stream', 'from ..training.task import a\nfrom ..puzzles.task import b'),
    ('trm.data.pairs', 'def f(name):\n    import trmx\n    return __import__(name)'),
])
def test_allowed_import(copy, module, code):
    plant(copy, module, code)
    assert upward(copy) == []


@pytest.mark.parametrize('name, like', [
    ('data/task', 'training.task'), ('engine/files', 'files'),
    ('task', 'training.task'), ('extra/task', 'puzzles.task'),
])
def test_planted_orphan(copy, name, like):
    "A module without a notebook: it has the stem of another part's module, and names its notebook"
    path = copy / 'trm' / f'{name}.py'
    path.parent.mkdir(exist_ok=True)
    shutil.copy(find_modules(copy)[f'trm.{like}'], path)
    dotted = 'trm.' + name.replace('/', '.')
    assert f'{dotted}: no notebook exports to it' in orphans(copy)
    assert all(f.startswith(f'{dotted}: ') for f in orphans(copy))


@pytest.mark.parametrize('name, export, fault', [
    ('2_data/90_x', '#| default_exp data.x', '2_data/90_x.ipynb: exports to trm.data.x, which'),
    ('2_data/90_x', '#| default_exp data.task',
     '2_data/90_x.ipynb: exports to trm.data.task, which does not exist'),
    ('2_data/90_x', '#| default_exp data.pairs',
     'trm.data.pairs: 2_data/05_pairs.ipynb and 2_data/90_x.ipynb export to it'),
    ('2_data/90_x', '# text\n#| export data.pairs',
     'trm.data.pairs: 2_data/05_pairs.ipynb and 2_data/90_x.ipynb export to it'),
    ('9_x/00_files', '#| default_exp files',
     'trm.files: 2_data/00_files.ipynb and 9_x/00_files.ipynb export to it'),
    ('2_data/90_x', '#| default_exp puzzles.task',
     '2_data/90_x.ipynb: exports to trm.puzzles.task, a module of another part'),
])
def test_planted_notebook(copy, name, export, fault):
    "A notebook without its module, and two that export to one"
    write_nb(copy / f'nbs/{name}.ipynb', [dict(cell_type='code', metadata={}, source=export)])
    assert any(f.startswith(fault) for f in orphans(copy)), orphans(copy)


def test_planted_in_a_folder(copy):
    "A module that is gone, a part that nobody knows, and an `__init__` that is not empty"
    find_modules(copy)['trm.puzzles.task'].unlink()
    said = '5_puzzles/08_task.ipynb: exports to trm.puzzles.task, which does not exist'
    assert said in orphans(copy)
    assert any('imports trm.puzzles.task, which is no module' in f for f in upward(copy))
    (copy / 'trm/extra').mkdir()
    (copy / 'trm/extra/task.py').touch()
    assert 'trm.extra.task: of no part that tests/structure.py knows' in upward(copy)
    (copy / 'trm/data/__init__.py').write_text('from .pairs import open_pairs\n')
    assert 'trm.data: the __init__ of a part is empty' in orphans(copy)


def test_readme_in_sync():
    assert (root / 'README.md').read_text() == make_readme(), 'run make readme'


def linked(name):
    "The chapters that a notebook links to"
    path = root / f'nbs/{name}.ipynb'
    links = re.findall(r'\]\(([^)#]+\.ipynb)\)', path.read_text())
    return {(path.parent / l).resolve().relative_to(root / 'nbs').with_suffix('').as_posix() for l in links}


def test_every_chapter_is_listed():
    "On the page about reading; the front page begins each part"
    assert {*map(name_of, notebooks)} - linked('1_idea/01_reading') == {'index'}
    assert {n.split('/')[0] for n in map(name_of, notebooks)} - {n.split('/')[0] for n in linked('index')} == {'index'}


riddles = ('whoever', 'who says so', 'what is no number', 'is believed', 'is told so', 'in company', 'clothes')


@pytest.mark.parametrize('path', notebooks, ids=name_of)
def test_no_riddles(path):
    "Phrases that leave a reader to guess who does what"
    text = ' '.join(c.source for c in read_nb(path).cells if c.cell_type == 'markdown').lower()
    assert not [r for r in riddles if re.search(rf'\b{r}\b', ' '.join(text.split()))]


@pytest.mark.parametrize('path', [p for p in notebooks if re.match(r'\d', name_of(p)) and p.stem != '01_reading'], ids=name_of)
def test_frame_of_a_chapter(path):
    "It begins with a question and ends with what was learned and with exercises that have solutions"
    nb = read_nb(path)
    text = [c.source for c in nb.cells if c.cell_type == 'markdown']
    assert '?' in ' '.join(text[:6])
    assert all(any(h in t for t in text) for h in ('## What was learned', '### Exercises'))
    assert any('#| code-summary: Solution' in c.source for c in nb.cells)


def test_readme_links():
    "What the README links to is in the repository, by its whole address: PyPI shows the README too"
    repo, branch = address()
    found = re.findall(r'\]\((?!#)([^)\s#]+)', make_readme())
    assert all(re.match('https?://', target) for target in found)
    own = [re.match(rf'https://(?:github.com/{repo}/blob|raw.githubusercontent.com/{repo})/{branch}/(.+)', target) for target in found]
    paths = [m.group(1) for m in own if m]
    assert len(paths) > 10
    for path in paths: assert (root / path).exists(), path


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    "The commands of an environment of its own with the wheel, and the names of the wheel's files"
    tmp = tmp_path_factory.mktemp('install')
    (tmp / 'src').mkdir()
    needed = 'trm settings.ini setup.py pyproject.toml README.md LICENSE'
    copy_to(tmp / 'src', *needed.split())
    venv.create(tmp / 'env', with_pip=True)
    py = tmp / 'env/bin/python'
    run(py, '-m', 'pip', 'install', '-q', os.environ.get('TORCH', 'torch==2.13.0'))
    run(py, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', tmp / 'dist', tmp / 'src')
    wheel, = (tmp / 'dist').glob('*.whl')
    run(py, '-m', 'pip', 'install', '-q', wheel)
    return py.parent, zipfile.ZipFile(wheel).namelist()


def outside(tmp_path):
    "An environment that knows nothing of this repository"
    return dict(cwd=tmp_path, env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'})


def test_wheel_is_complete(installed):
    "Every module, and every network that ships"
    files = set(installed[1])
    assert {p.relative_to(root).as_posix() for p in find_sources(root).values()} <= files
    shipped = [p for p in root.glob('trm/weights/*/*') if p.is_file()]
    assert shipped and {p.relative_to(root).as_posix() for p in shipped} <= files
    assert not any('figures/' in f or '__pycache__' in f for f in files)


def test_clean_install(installed, tmp_path):
    "Each module imports, in whatever order, and `import trm` is quick"
    for order in (list(modules), list(modules)[::-1]):
        code = '; '.join(f'import {m}' for m in order)
        run(installed[0] / 'python', '-W', 'error::SyntaxWarning', '-c', code, **outside(tmp_path))
    code = "import sys, trm; assert 'torch' not in sys.modules; print(trm.__file__)"
    assert str(root) not in run(installed[0] / 'python', '-c', code, **outside(tmp_path))
    assert list(tmp_path.iterdir()) == []


newspaper = '53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79'


def test_installed_commands(installed, tmp_path):
    "The networks that ship answer, and one is scored in an empty folder; a tokenizer is trained"
    bin, asked = installed[0], tmp_path / 'asked'
    asked.mkdir()
    board = '.6..2.......65.1...1...6....13..4...'
    said = run(bin / 'trm_solve', 'sudoku6', '--board', board, **outside(asked))
    rows = re.findall(r'\b[1-6]{6}\b', said)
    assert ''.join(rows) == '361524245631653142412356526413134265', said
    assert list(asked.iterdir()) == []
    for name, board in (('sudoku4', '4..2...13.......'), ('sudoku9', newspaper), ('sudoku_laptop', newspaper)):
        assert 'rules hold: yes' in run(bin / 'trm_solve', name, '--board', board, **outside(asked))
    run(bin / 'trm_eval', 'sudoku6', '--limit', '20', '--json', 'eval.json', **outside(asked))
    assert sorted(p.name for p in asked.iterdir()) == ['eval.json', 'figures']
    assert json.loads((asked / 'eval.json').read_text())['n'] == 20
    data = root / 'data/raw/train-00000-of-00001.parquet'
    told = [data, '--vocab_size', '300', '--out', 'tok.json']
    run(bin / 'trm_tokenizer', *told, **outside(tmp_path))
    assert (tmp_path / 'tok.json').exists()
