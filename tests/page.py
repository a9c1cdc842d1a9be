"The page of the site that solves Sudokus, with the networks that ship: `python tests/page.py FILE`"
import sys
from pathlib import Path

from trm.files import shipped, write_file
from trm.runs import open_run
from trm.thinking.export import web_page

if __name__ == '__main__':
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    text = web_page({name: open_run(name, device='cpu') for name in shipped()})
    write_file(path, lambda p: p.write_text(text, encoding='utf-8'))
