"""Pictures of the book that are too large, in the outputs of its notebooks and in nbs/images: `python tests/pictures.py` lists them.

`--write` gives them 256 colours; one that is no smaller for it stays as it is. A test checks that none is too large."""
import json
import sys
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

from PIL import Image

from colab import read
from structure import find_notebooks

root = Path(__file__).resolve().parents[1]
most = 60_000  # bytes


def smaller(png):
    "The bytes of a picture in 256 colours, or as they are where that saves nothing"
    out = BytesIO()
    Image.open(BytesIO(png)).convert('RGB').quantize(256, dither=Image.Dither.NONE).save(out, 'png', optimize=True)
    return min(out.getvalue(), png, key=len)


def large_outputs(nb):
    "Of each output with too large a picture: the cell's id, the data, the picture's bytes"
    for c in nb['cells']:
        for data in [o['data'] for o in c.get('outputs', []) if 'image/png' in o.get('data', {})]:
            png = b64decode(''.join(data['image/png']))
            if len(png) > most: yield c['id'], data, png


def large_images(root): return [p for p in sorted(Path(root).glob('nbs/images/*.png')) if p.stat().st_size > most]


def large(root):
    "Where the pictures are that are too large, and their bytes"
    found = {f'{p.relative_to(root)} {id}': len(png) for p in find_notebooks(root) for id, _, png in large_outputs(read(p))}
    return found | {str(p.relative_to(root)): p.stat().st_size for p in large_images(root)}


def shrink(root):
    "Write them anew with 256 colours"
    for path in find_notebooks(root):
        nb = read(path)
        outputs = [*large_outputs(nb)]
        for _, data, png in outputs: data['image/png'] = b64encode(smaller(png)).decode()
        if outputs: path.write_text(json.dumps(nb, indent=1, ensure_ascii=False)+'\n', encoding='utf-8')
    for path in large_images(root): path.write_bytes(smaller(path.read_bytes()))


if __name__ == '__main__':
    if '--write' in sys.argv: shrink(root)
    for where, size in large(root).items(): print(f'{where}: {size:,} bytes')
