"""What each part of the first chapter's network is worth: its variants at three rates and seeds.

    python tests/bench_idea.py [SEEDS] [RATES]     `0,1,2` and `.003,.006,.012` unless told

Runs the chapter's own cells, one variant after the other on one thread, and writes
results/idea.csv: a row a run, with the share of held-out puzzles solved after 1 and 12 steps."""
import json
import platform
import re
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from trm.engine.checkpoint import provenance

chapter = 'nbs/1_idea/00_idea.ipynb'
# cells and lines that draw, print, read results or train the chapter's own model
skipped = r'^#\| (fig-alt|code-fold)|^torch\.manual_seed|^pd\.read'
shown = r'^(print|right = |for name).*\n?'


def definitions(path):
    "The names that the cells of the chapter define"
    names = {}
    for cell in json.loads(Path(path).read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or re.search(skipped, source): continue
        exec(re.sub(shown, '', source, flags=re.M), names)
    return names


def main(seeds='0,1,2', rates='.003,.006,.012'):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    names, rows, now = definitions(chapter), [], provenance()
    for variant, (tiny, how) in names['variants'].items():
        for lr in map(float, rates.split(',')):
            for seed in map(int, seeds.split(',')):
                start = time.process_time()
                share = names['score'](tiny, how | dict(lr=lr), seed)
                row = dict(variant=variant, lr=lr, seed=seed, after_1=share[0].item(),
                           after_12=share[11].item(), cpu_seconds=time.process_time()-start)
                rows.append(row | dict(threads=1, machine=platform.machine(), **now))
                print({k: v for k, v in rows[-1].items() if k not in now}, flush=True)
                pd.DataFrame(rows).round(4).to_csv('results/idea.csv', index=False)


if __name__ == '__main__': main(*sys.argv[1:])
