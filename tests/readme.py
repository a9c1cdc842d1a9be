"README.md is nbs/index.ipynb: `python tests/readme.py --write` makes it, CI checks it."
import re
import sys
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).parent.parent


def address():
    "Where the repository is, without its host"
    ini = ConfigParser()
    ini.read(root/'settings.ini', encoding='utf-8')
    c = ini['DEFAULT']
    return f"{c['user']}/{c['repo']}", c['branch']


def make_readme():
    "The index notebook as markdown, without hidden cells and directives; with whole addresses, since PyPI shows it too"
    repo, branch = address()
    pages, files = f'https://github.com/{repo}/blob/{branch}/nbs/', f'https://raw.githubusercontent.com/{repo}/{branch}/nbs/'
    nb = nbformat.read(root / 'nbs/index.ipynb', 4)
    nb.metadata['language_info'] = {'name': 'python'}
    nb.cells = [c for c in nb.cells if not re.match(r'#\|\s*(hide|default_exp)', c.source)]
    for i, c in enumerate(nb.cells):
        if '#| echo: false' in c.source:
            c = nb.cells[i] = nbformat.v4.new_markdown_cell('\n'.join(o['data']['text/markdown'] for o in c.outputs))
        if c.cell_type == 'code': c.source = re.sub(r'^#\|.*\n', '', c.source, flags=re.M)
        else:
            c.source = re.sub(r'\]\((images/)', rf']({files}\1', c.source)
            c.source = re.sub(r'\]\(((?:\w+/)?\w+\.ipynb)', rf']({pages}\1', c.source)
    body, _ = MarkdownExporter().from_notebook_node(nb)
    body = re.sub(r'\n{3,}', '\n\n', body).strip()
    return f'<!-- Made from nbs/index.ipynb by `make readme`; edit there. -->\n\n{body}\n'


if __name__ == '__main__':
    if '--write' in sys.argv: (root / 'README.md').write_text(make_readme())
    else: print(make_readme())
