"The pages: the sidebar is complete, nbdev makes them all without a warning, and no link is broken."
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import numpy as np
import pictures
import pytest
import yaml
from colab import chapters as for_colab
from colab import read as read_chapter
from colab import with_colab
from PIL import Image
from structure import find_notebooks

root = Path(__file__).parent.parent
parts = {'1_idea': 'The idea', '2_data': 'The data', '3_network': 'The network',
         '4_training': 'Training', '5_puzzles': 'Puzzles', '6_thinking': 'Thinking',
         '7_engine': 'The engine', '8_commands': 'Commands', 'exp': 'Experiments'}
chapters = [p.relative_to(root / 'nbs').as_posix() for p in find_notebooks(root)]
each_chapter = pytest.mark.parametrize('name', chapters, ids=lambda n: n.removesuffix('.ipynb'))
chapter_link = re.compile(r'\]\((?!https?:|mailto:|#)([^)\s#]+)(?:#[^)\s]*)?\)')


def load(path): return json.loads(Path(path).read_text(encoding='utf-8'))['cells']


def source(cell): return ''.join(cell['source'])


def title_cell(name):
    "The lines of the cell that holds the title"
    return next(source(c).strip().splitlines() for c in load(root / 'nbs' / name)
                if c['cell_type'] == 'markdown' and re.search(r'^# \S', source(c), re.M))


def prose(cells):
    "The markdown of a page: of its text, and of what its cells gave"
    texts = [source(c) for c in cells if c['cell_type'] == 'markdown']
    return texts + [''.join(o['data'].get('text/markdown', '')) for c in cells
                    for o in c.get('outputs', []) if 'data' in o]


def wanted_sidebar():
    "The sidebar that the notebooks ask for"
    items = [{'text': title_cell('index.ipynb')[0][2:], 'href': 'index.ipynb'}]
    for folder, name in parts.items():
        found = sorted(c for c in chapters if c.startswith(f'{folder}/'))
        if found: items.append({'section': name, 'contents': [
            {'text': title_cell(c)[0][2:], 'href': c} for c in found]})
    return items


def test_sidebar_is_complete():
    "Each chapter once, in the order of folders and numbers, with its title, under its part's name"
    written = yaml.safe_load((root / 'nbs/sidebar.yml').read_text())
    sidebar = written['website']['sidebar']['contents']
    assert sidebar == wanted_sidebar(), yaml.dump(wanted_sidebar(), sort_keys=False)
    listed = [c['href'] for item in sidebar for c in item.get('contents', [item])]
    assert sorted(listed) == sorted(chapters)


def test_settings_of_the_site():
    "Quarto reads the sidebar, every page has a previous and a next one, nbdev writes no sidebar"
    assert (root / 'nbs/_quarto.yml').resolve() == root.resolve() / '_quarto.yml'
    quarto = yaml.safe_load((root / '_quarto.yml').read_text())
    assert quarto['metadata-files'] == ['nbdev.yml', 'sidebar.yml']
    assert quarto['website']['page-navigation'] is True and quarto['execute'] == {'enabled': False}
    assert re.search(r'^custom_sidebar = True$', (root / 'settings.ini').read_text(), re.M)


@each_chapter
def test_title_cell(name):
    "A title and one line under it: nbdev leaves anything else in that cell out of the page"
    lines = [line for line in title_cell(name) if line]
    assert len(lines) == 2 and lines[0].startswith('# ') and lines[1].startswith('> '), lines


@each_chapter
def test_export_heading(name):
    "A chapter that exports ends with `## Export -` in a cell of its own, and a hidden export"
    cells = [source(c) for c in load(root / 'nbs' / name)]
    if cells[0].startswith('#| default_exp'):
        assert cells[-2] == '## Export -'
        assert cells[-1].startswith('#| hide\n')
        assert cells[-1].endswith('import nbdev; nbdev.nbdev_export()')
    assert sum('## Export' in c for c in cells) == cells[0].startswith('#| default_exp')


stand_in = '''#!{python}
import pathlib, sys
if sys.argv[1:] == ['--version']: print('1.6.0')
else: pathlib.Path('_docs').mkdir(); pathlib.Path('_docs', sys.argv[1]).touch()
'''


def git(*args, cwd):
    args = ['git', '-c', 'user.name=t', '-c', 'user.email=t@t', '-c', 'core.autocrlf=false', *args]
    return subprocess.run(args, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "A copy of the repository after `make docs` with a stand-in for Quarto, and what that said"
    tmp = tmp_path_factory.mktemp('site')
    copy, tools, bin = tmp / 'copy', tmp / 'tools', Path(sys.executable).parent
    copy.mkdir(), tools.mkdir()
    for name in ('nbs', 'trm', 'tests'):
        shutil.copytree(root / name, copy / name, symlinks=True,
                        ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints'))
    for name in ('settings.ini', '_quarto.yml', 'README.md', 'Makefile', '.gitignore'):
        shutil.copy(root / name, copy / name)
    for what in ('init -q', 'add -A', 'commit -q -m all'): git(*what.split(), cwd=copy)
    (tools / 'quarto').write_text(stand_in.format(python=sys.executable))
    (tools / 'quarto').chmod(0o755)
    env = dict(os.environ, PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    env |= dict(PYTHONPATH=str(copy), OMP_NUM_THREADS='1')
    make = ['make', '-s', 'docs', f'BIN={bin}', '-o', f'{bin}/.ready']  # -o: install nothing
    said = subprocess.run(make, cwd=copy, env=env, capture_output=True, text=True)
    return copy, said


def pages(copy):
    "The cells of each page, by the chapter's path"
    made = copy / '_proc'
    return {p.relative_to(made).as_posix(): load(p) for p in made.glob('**/*.ipynb')}


def output_file(name, cells):
    "Where the page of a chapter lies in the site"
    file = re.search(r'^output-file: (.+)$', source(cells[0]), re.M).group(1)
    return Path(name).with_name(file).as_posix()


def test_docs_say_nothing(site):
    "No fault, no warning, no file of the repository changed, the pages in _docs"
    copy, said = site
    assert (said.returncode, said.stdout, said.stderr) == (0, '', '')
    assert git('status', '--porcelain', cwd=copy) == ''
    assert (copy / '_docs/render').exists() and not (copy / '_proc/_docs').exists()
    for name in ('_quarto.yml', 'nbdev.yml', 'sidebar.yml', 'styles.css'):
        assert (copy / '_proc' / name).exists()


def test_all_pages_are_there(site):
    made = pages(site[0])
    assert sorted(made) == sorted(chapters)
    for name, cells in made.items():
        title, under = [line for line in title_cell(name) if line]
        front = yaml.safe_load(source(cells[0]).strip().strip('-'))
        assert (front['title'], front['description']) == (title[2:].strip(), under[2:].strip())


def test_nothing_is_lost(site):
    "No heading 'Export' on a page, and every other text of the chapter"
    for name, cells in pages(site[0]).items():
        page = '\n'.join(prose(cells))
        assert not re.search(r'^#+ *Export\b', page, re.M), name
        plain = re.sub(r'\[(`[^`]+`)\]\(https?://[^)]*\)', r'\1', page)
        for c in load(root / 'nbs' / name):
            text = re.sub(r'\[(`[^`]+`)\]\(https?://[^)]*\)', r'\1', source(c)).strip()
            if c['cell_type'] == 'markdown' and text != '## Export -' and text[:2] != '# ':
                assert text in plain, f'{name} loses: {text[:200]}'


def test_links_lead_somewhere(site):
    "Those between chapters to a file, those that nbdev sets to a page; and nbdev does set some"
    made = pages(site[0])
    outputs = {output_file(n, cells) for n, cells in made.items()}
    base = yaml.safe_load((root / 'nbs/nbdev.yml').read_text())['website']['site-url']
    linked = 0
    for name, cells in made.items():
        page = (site[0] / '_proc' / name).parent
        for text in prose(cells):
            for target in chapter_link.findall(text):
                assert (page / target).exists(), f'{name} links to {target}'
            for target in re.findall(rf'\]\({re.escape(base)}/([^)#]+)', text):
                assert target in outputs or (site[0] / '_docs' / target).exists(), f'{name} links to {target}'
                linked += 1
    assert linked > 50


def test_docs_without_quarto(tmp_path):
    "One line on how to get it, and status not zero"
    (tmp_path / 'none').mkdir()
    for tool in ('sh', 'make'): (tmp_path / 'none' / tool).symlink_to(shutil.which(tool))
    r = subprocess.run(['make', '-s', 'quarto', f'BIN={tmp_path}'], cwd=root, capture_output=True,
                       text=True, env={'PATH': str(tmp_path / 'none')})
    assert r.returncode != 0 and r.stdout == ''
    first, *rest = r.stderr.splitlines()
    assert 'https://quarto.org/docs/get-started' in first and 'pip install quarto-cli' in first
    assert all(line.startswith('make') for line in rest)


def test_the_idea_fits_on_a_page():
    "The first chapter holds at most 90 lines of code; directives, blank lines and solutions aside"
    cells = [source(c) for c in load(root / 'nbs/1_idea/00_idea.ipynb') if c['cell_type'] == 'code']
    cells = [s for s in cells if not s.startswith('#| code-fold')]  # solutions of exercises
    lines = [l for s in cells for l in s.splitlines() if l.strip() and not l.startswith(('#|', '! ', '!['))]
    assert len(lines) <= 90
    assert not any(re.search(r'^#\| *export', s, re.M) for s in cells)


@pytest.mark.parametrize('name', for_colab())
def test_opens_in_colab(name):
    "The first cell installs the package there and nowhere else, a badge stands under the title"
    nb = read_chapter(name)
    assert with_colab(nb, name) == nb, 'run python tests/colab.py --write'
    first = next(source(c) for c in nb['cells'] if not source(c).startswith('#| default_exp'))
    assert '#| eval: false' in first and first.splitlines()[-1].startswith('![ -e /content ] && pip install ')


def test_workflows_call_make():
    "Each job runs a target of the Makefile, on the Pythons that the package supports"
    targets = re.findall(r'^(\w+):', (root / 'Makefile').read_text(), re.M)
    ran = {}
    for path in sorted((root / '.github/workflows').glob('*.yml')):
        for job in yaml.safe_load(path.read_text())['jobs'].values():
            asked = [re.match(r'make (\w+)', s['run']) for s in job['steps'] if 'run' in s]
            ran[path.stem] = [m.group(1) for m in asked if m]
            if path.stem == 'test': pythons = job['strategy']['matrix']['python']
    assert ran == dict(docs=['docs'], release=['dist'], test=['test'])
    assert {t for ts in ran.values() for t in ts} <= {*targets}
    assert pythons == ['3.10', '3.11', '3.12', '3.13']


@each_chapter
def test_figures_are_described(name):
    "Each cell with a figure begins with an alt text that YAML reads as one"
    for c in load(root / 'nbs' / name):
        if not any('image/png' in o.get('data', {}) for o in c.get('outputs', [])): continue
        head = [l[2:] for l in source(c).splitlines() if l.startswith('#|') and ':' in l]
        assert source(c).startswith('#|') and isinstance(yaml.safe_load('\n'.join(head)).get('fig-alt'), str), c['id']


def test_no_picture_is_large():
    "None of a notebook or of nbs/images is over 60,000 bytes"
    assert pictures.large(root) == {}, 'run python tests/pictures.py --write'


def plain_png(pixels):
    "A png file without compression"
    out = BytesIO()
    Image.fromarray(pixels).save(out, 'png', compress_level=0)
    return out.getvalue()


def test_large_pictures_shrink(tmp_path):
    "In a notebook and in nbs/images, to the same pixels where 256 colours are enough; all else stays as it is"
    lines = np.random.default_rng(0).integers(0, 2, (300, 400, 1), np.uint8)*np.array([40, 90, 200], np.uint8)
    noisy, small = plain_png(lines), plain_png(lines[:9])
    cells = [dict(cell_type='code', execution_count=None, id=id, metadata={}, outputs=[dict(data={'image/png': b64encode(png).decode()},
             metadata={}, output_type='display_data')], source=['é\n']) for id, png in (('noisy', noisy), ('small', small))]
    book, image = tmp_path / 'nbs/a.ipynb', tmp_path / 'nbs/images/b.png'
    image.parent.mkdir(parents=True)
    book.write_text(json.dumps(dict(cells=cells, metadata={}), indent=1, ensure_ascii=False) + '\n')
    image.write_bytes(noisy)
    assert pictures.large(tmp_path) == {'nbs/a.ipynb noisy': len(noisy), 'nbs/images/b.png': len(noisy)}
    before = book.read_text()
    pictures.shrink(tmp_path)
    less = image.read_bytes()
    assert pictures.large(tmp_path) == {} and (np.array(Image.open(BytesIO(less)).convert('RGB')) == lines).all()
    assert book.read_text() == before.replace(b64encode(noisy).decode(), b64encode(less).decode())


def test_each_part_shows_its_place_on_the_map():
    from maps import images, parts
    for n in parts:
        first = sorted(root.glob(f'nbs/{n}_*/*.ipynb'))[0]
        assert f'images/map_{n}.png' in first.read_text(encoding='utf-8'), first
        assert (images/f'map_{n}.png').is_file()
