"""Each chapter opens in Colab: a hidden cell at its top that installs the package there, and a badge under the title.

`python tests/colab.py --write` puts both into chapters that lack them; a test checks that none does. Experiments are left out:
they read `results/`, which only a clone has."""
import json
import sys
from zlib import crc32

from readme import address, root

repo, branch = address()
install = ['#| hide\n', '#| eval: false\n', f'![ -e /content ] && pip install -q git+https://github.com/{repo}  # on Colab']


def badge(name):
    "The line under the title of a chapter, by its path in nbs"
    page = f'https://colab.research.google.com/github/{repo}/blob/{branch}/nbs/{name}'
    return [f'[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({page})']


def chapters():
    "The chapters that a reader can run without a clone, by their path in nbs"
    return sorted(p.relative_to(root/'nbs').as_posix() for p in (root/'nbs').glob('[0-9]_*/*.ipynb'))


def with_colab(nb, name):
    "A notebook with both cells, each once"
    def cell_id(what): return f'{crc32(f"{name} {what}".encode()):08x}'
    cells = [c for c in nb['cells'] if '/content' not in ''.join(c['source']) and 'colab-badge' not in ''.join(c['source'])]
    title = next(i for i, c in enumerate(cells) if c['cell_type'] == 'markdown' and ''.join(c['source']).startswith('# '))
    first = dict(cell_type='code', execution_count=None, id=cell_id('install'), metadata={}, outputs=[], source=install)
    shown = dict(cell_type='markdown', id=cell_id('badge'), metadata={}, source=badge(name))
    at = int(''.join(cells[0]['source']).startswith('#| default_exp'))
    return nb | dict(cells=[*cells[:at], first, *cells[at:title+1], shown, *cells[title+1:]])


def read(name): return json.loads((root/'nbs'/name).read_text(encoding='utf-8'))


if __name__ == '__main__':
    for name in chapters():
        nb = read(name)
        if with_colab(nb, name) == nb: continue
        print(name)
        if '--write' in sys.argv: (root/'nbs'/name).write_text(json.dumps(with_colab(nb, name), indent=1, ensure_ascii=False)+'\n')
