"""Sudoku-Extreme on a laptop: the data of an arm, its training, and its scores on the 10,000 test puzzles. Writes results/laptop.json.

    python tests/bench_laptop.py data ARM [hold]       runs/laptop/ARM/puzzles.parquet: the rows of an arm; hold: 200 of the Extreme
                                                       training puzzles, chosen by the class of their solution, are for validation only
    python tests/bench_laptop.py score RUN [N]         a single pass after 16 to 256 steps, and restarts, on N of the test puzzles

Arms: a, the 1,000 training puzzles of Sudoku-Extreme; b, puzzles made here, random ones and ones that need many guesses; c, both;
d, the 60,000 of the community's lists of hard puzzles besides. The sets are read from the folder in TRM_SHARED_DATA.
"""
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from trm.puzzles.board import sudoku_chars
from trm.puzzles.files import read_puzzles, write_puzzles
from trm.puzzles.solver import make_sudoku
from trm.puzzles.splits import board_number

shared = Path(os.environ.get('TRM_SHARED_DATA', '../shared/data'))
out = Path('runs/laptop')
chars = sudoku_chars(9)


def extreme(name):
    "Boards of Sudoku-Extreme"
    return read_puzzles(shared/f'sudoku_extreme/{name}.parquet', chars)


def made(n, seed):
    "Random minimal puzzles, made once and kept"
    path = out/f'made_{n}_{seed}.parquet'
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_puzzles(make_sudoku(n, 9, seed), path, chars)
    return read_puzzles(path, chars)


def rows(boards, split, times=1):
    "A table of boards, so many times, all of one split"
    d = boards.to_frame(chars)[['question', 'answer']].assign(split=split)
    return pd.concat([d]*times)


def data(arm, hold=''):
    "Write the rows of an arm"
    ext = extreme('train')
    order = np.argsort(board_number(ext, 'sudoku', 9), kind='stable')  # of one class together
    held, kept = ext[order[:200]], ext[order[200:]] if hold else ext
    random = made(20_000, 1)
    parts = []
    if arm in 'acd': parts.append(rows(kept, 'train', 1 if arm=='a' else 20))
    if arm in 'bcd': parts.append(rows(random[500:], 'train'))
    parts.append(rows(held if hold else random[:500], 'valid'))
    d = pd.concat(parts, ignore_index=True)
    folder = out/(arm+('_held' if hold else ''))
    folder.mkdir(parents=True, exist_ok=True)
    d.to_parquet(folder/'puzzles.parquet')
    print(folder, d.split.value_counts().to_dict())


if __name__=='__main__': dict(data=data)[sys.argv[1]](*sys.argv[2:])
