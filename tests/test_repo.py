"The repository agrees with itself: notebooks, package, README, and a clean install."
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from execnb.nbio import read_nb
from nbdev.clean import clean_nb

from readme import make_readme

root = Path(__file__).parent.parent
notebooks = sorted(p for p in root.glob('nbs/**/*.ipynb') if '.ipynb_checkpoints' not in str(p))
modules = sorted(p for p in root.glob('trm/*.py') if not p.name.startswith('_'))


def run(*args, cwd=root, **kw):
    r = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True, **kw)
    assert r.returncode == 0, f"{args}\n{r.stdout[-3000:]}\n{r.stderr[-3000:]}"
    return r.stdout


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_notebook_is_clean(path):
    "No metadata that changes with the machine, outputs without errors, warnings and paths, at most 300 KB"
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
    "The package is what the notebooks export"
    for name in ('nbs', 'trm', 'settings.ini', '_quarto.yml', 'README.md', 'pyproject.toml', 'setup.py'):
        src = root / name
        (shutil.copytree if src.is_dir() else shutil.copy)(src, tmp_path / name, **(dict(symlinks=True) if src.is_dir() else {}))
    run(Path(sys.executable).parent / 'nbdev_export', cwd=tmp_path)
    for p in sorted(root.glob('trm/*.py')): assert p.read_text() == (tmp_path / 'trm' / p.name).read_text(), f'{p.name}: run nbdev_export'


def source_of(module):
    "The notebook that a module says it comes from"
    return root / 'nbs' / re.search(r'File to edit: \.\./nbs/(.+\.ipynb)', module.read_text()).group(1)


def test_no_orphans():
    "Each module has its notebook, and each notebook with a default_exp its module"
    for m in modules: assert source_of(m).exists(), f'{m.name}: its notebook is gone'
    named = {re.search(r'default_exp (\w+)', ''.join(c['source'])).group(1) for p in notebooks
             for c in json.loads(p.read_text())['cells'] if ''.join(c['source']).startswith('#| default_exp')}
    assert named == {m.stem for m in modules}


def test_pyflakes():
    run(sys.executable, '-m', 'pyflakes', *modules, 'setup.py', *root.glob('tests/*.py'))


def test_import_order():
    "A chapter imports from lower numbers only"
    chapter = {m.stem: source_of(m).name for m in modules}
    for m in modules:
        for node in ast.walk(ast.parse(m.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert chapter[node.module] < chapter[m.stem], f'{chapter[m.stem]} imports {chapter[node.module]}'


def test_readme_in_sync():
    assert (root / 'README.md').read_text() == make_readme(), 'run make readme'


def test_clean_install(tmp_path):
    "A non-editable install in an environment of its own imports every module and runs a command"
    (tmp_path / 'src').mkdir()
    for name in ('trm', 'settings.ini', 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        src = root / name
        (shutil.copytree if src.is_dir() else shutil.copy)(src, tmp_path / 'src' / name)
    venv.create(tmp_path / 'env', with_pip=True)
    py = tmp_path / 'env/bin/python'
    run(py, '-m', 'pip', 'install', '-q', os.environ.get('TORCH', 'torch==2.13.0'))
    run(py, '-m', 'pip', 'install', '-q', tmp_path / 'src')
    (tmp_path / 'work').mkdir()
    code = '; '.join(f'import trm.{m.stem}' for m in modules)
    run(py, '-W', 'error::SyntaxWarning', '-c', code, cwd=tmp_path / 'work')
    data = root / 'data/raw/train-00000-of-00001.parquet'
    run(tmp_path / 'env/bin/trm_tokenizer', data, '--vocab_size', '300', '--out', 'tok.json', cwd=tmp_path / 'work')
    assert (tmp_path / 'work/tok.json').exists()
