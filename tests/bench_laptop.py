"""9×9 Sudokus on a laptop: the data of an arm, and scores of a run. Writes results/NAME.json.

    python tests/bench_laptop.py data ARM [hold]             runs/laptop/ARM/puzzles.parquet: the rows of an arm of sudoku_laptop; with `hold`, 200
                                                             of the Extreme training puzzles are for validation only, by the class of their solution
    python tests/bench_laptop.py score NAME RUN SETS [SIZE] [STEPS] [TRIES] [noise|guess]
                                                             scores of a run on some of `sets` (below), by commas, SIZE boards of each; on none
                                                             ('') only how its training went

Arms: a, the 1,000 training puzzles of Sudoku-Extreme; b, puzzles made here, random ones and ones that need guesses; c, both, and puzzles made from the
training puzzles by exchanging clues; d, the 60,000 of the community's lists of hard puzzles besides; e, what c has, without easy ones, and Extreme's four
times as often: to go on with. The published sets are read from the folder in TRM_SHARED_DATA.

A pass is one run of all steps from the start. Its answer is looked at after 1, 2, 4, ... steps; no answer is taken back or chosen. With restarts,
the boards whose answer after the last step breaks the rules are tried again, by noise or by guesses, and the first answer by the rules counts. A try by
noise has as many steps as the pass, one by guesses 96, with a guess after every 16. Tries are made seven at a time.
"""
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trm.engine.checkpoint import provenance
from trm.engine.log import read_metrics
from trm.files import read_json
from trm.puzzles.board import Boards, sudoku_chars
from trm.puzzles.files import read_puzzles, write_puzzles
from trm.puzzles.hard import count_guesses, count_left, make_hard, vary_clues
from trm.puzzles.solver import make_sudoku
from trm.puzzles.splits import board_number, grid_class
from trm.runs import open_run
from trm.thinking.restarts import try_boards
from trm.thinking.scores import wilson

shared = Path(os.environ.get('TRM_SHARED_DATA', '../shared/data'))
out, results = Path('runs/laptop'), Path('results')
chars = sudoku_chars(9)


# Data

def kept(name, make):
    "Boards that are made once"
    path = out/f'{name}.parquet'
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_puzzles(make(), path, chars)
    return read_puzzles(path, chars)


def published(name): return read_puzzles(shared/f'{name}.parquet', chars)


def random_puzzles(): return kept('random', lambda: make_sudoku(20_000, 9, 1))


def guessed_puzzles():
    "Found by search, of three degrees: at least 3, 15 and 20 guesses"
    return Boards.join([kept('mid', lambda: make_hard(12_000, 3, 11, 8)), kept('mid2', lambda: make_hard(8000, 15, 12, 30)),
                        kept('hard', lambda: make_hard(1500, 20, 1, 100)), kept('hard2', lambda: make_hard(2500, 20, 2, 100))])


def with_clues(boards, low, high, seed=0):
    "Each with a number of clues drawn from `low` to `high`, or its own where it has more"
    gen = torch.Generator().manual_seed(seed)
    x, y = boards.inputs.long(), boards.labels.long()
    wanted = torch.randint(low, high+1, (len(x), 1), generator=gen)
    order = (torch.rand(x.shape, generator=gen)+2*(x>1)).argsort(1).argsort(1)  # blanks first
    more = (x==1) & (order<wanted-(x>1).sum(1, keepdim=True))
    return Boards(torch.where(more, y, x).byte(), boards.labels, boards.table)


def by_class(boards):
    "An order of rows in which solutions that are one up to symmetries are neighbours"
    return np.argsort(board_number(boards, 'sudoku', 9), kind='stable')


def data(arm, hold=''):
    "Write the rows of an arm"
    random, hard = random_puzzles(), guessed_puzzles()
    held, ext = (hard[-200:], published('sudoku_extreme/train') if arm in 'acde' else None)
    if hold: held, ext = (ext[rows] for rows in np.split(by_class(ext), [200]))
    parts = []
    def add(boards, split, times=1): parts.extend([boards.to_frame(chars)[['question', 'answer']].assign(split=split)]*times)
    if arm in 'acde': add(ext, 'train', dict(a=1, e=48).get(arm, 12))
    if arm in 'cde': add(kept('near'+hold, lambda: Boards.join([vary_clues(ext, 10, k) for k in range(6)])), 'train', 2 if arm=='e' else 1)
    if arm in 'bcd': add(Boards.join([random, hard[:-200]]), 'train')
    if arm=='e': add(hard[12_000:-200], 'train')
    if arm=='d': add(published('sudoku_hardest/train'), 'train')
    add(held, 'valid')
    d = pd.concat(parts, ignore_index=True)
    folder = out/(arm+('_held' if hold else ''))
    folder.mkdir(parents=True, exist_ok=True)
    d.to_parquet(folder/'puzzles.parquet')
    print(folder, d.split.value_counts().to_dict())


def fresh(run, n):
    "Minimal puzzles whose solution is, up to relabelling, none of those that a run was trained on"
    made, seen = kept('fresh', lambda: make_sudoku(2000, 9, 77)), read_puzzles(Path(run)/'puzzles.parquet', chars)
    new = ~np.isin(grid_class(made.labels).numpy(), grid_class(seen.labels).numpy())
    return made[new][:n]


sets = dict(
    ordinary=lambda run, n: with_clues(fresh(run, n), 28, 36),
    minimal=fresh,
    clues22=lambda run, n: (b := fresh(run, 2000))[(b.inputs>1).sum(1).numpy()<=23][:n],
    clues26=lambda run, n: with_clues(fresh(run, n), 26, 26),
    clues30=lambda run, n: with_clues(fresh(run, n), 30, 30),
    clues38=lambda run, n: with_clues(fresh(run, n), 38, 38),
    clues45=lambda run, n: with_clues(fresh(run, n), 45, 45),
    extreme=lambda run, n: published('sudoku_extreme/test')[:n],
    extreme_part=lambda run, n: published('sudoku_extreme/test')[:n],  # the first of them: restarts
    extreme_long=lambda run, n: published('sudoku_extreme/test')[:n],  # and more steps than all are given
    held=lambda run, n: (e := published('sudoku_extreme/train'))[by_class(e)[:n]])


# Scores

@torch.no_grad()
def one_pass(net, x, marks, size=32):
    "Answers (marks,n,81) of a pass, some boards at a time, all batches of one shape; and how far the last step moved the state"
    preds, moved = [], []
    for i in range(0, len(x), size):
        part = x[i:i+size]
        inputs = net.prepare(dict(input_ids=torch.cat([part, part[-1:].expand(size-len(part), -1)])))
        state, found = net.start(inputs.x), []
        for t in range(1, max(marks)+1):
            before, step = state[0], net(inputs, state)
            state = step.state
            if t in marks: found.append(step.logits.argmax(-1)[:len(part)])
        preds.append(torch.stack(found))
        moved.append(((state[0]-before).flatten(1).norm(dim=1)/state[0].flatten(1).norm(dim=1))[:len(part)])
    return torch.cat(preds, 1), torch.cat(moved)


def try_again(net, task, x, answer, y, tries, steps, vary):
    "Put right answers in the place of wrong ones, where tries find them; a row for each round"
    rows, t0, done = [], time.perf_counter(), 0
    for k in range((tries-1)//7):
        open_ = (~task.valid(answer, x)).nonzero()[:, 0]
        if not len(open_): break
        some = torch.cat([open_, open_[-1:].expand(-len(open_)%4)])  # four boards at a time, with eight tries each
        found = try_boards(net, task, dict(input_ids=x[some]), 96 if vary=='guess' else steps, 8, vary, seed=k, at_once=32)
        first = found['valid'][0].int().argmax(0)
        answer[some] = found['preds'][0, first, torch.arange(len(some))]
        done += 7*len(open_)
        rows.append(dict(tries=8+7*k, tried=len(open_), tries_in_all=done, seconds=time.perf_counter()-t0) | rate((answer==y).all(-1)))
        print(rows[-1], flush=True)
    return rows


def rate(right):
    "Share with its 95 % interval"
    low, high = wilson(right.float().mean().item(), len(right))
    return dict(exact=right.float().mean().item(), low=low, high=high, n=len(right))


def score_set(net, task, boards, marks, tries, vary):
    "Scores of a pass after each of `marks` steps, and with restarts"
    x, y = boards.inputs.long(), boards.labels.long()
    t0 = time.perf_counter()
    preds, moved = one_pass(net, x, marks)
    seconds = time.perf_counter()-t0
    right = (preds==y).all(-1)
    row = dict(steps={m: rate(r) for m, r in zip(marks, right)}, seconds=seconds, boards_per_second=len(x)/seconds)
    print(row['steps'], flush=True)
    answer = preds[-1].clone()
    row['restarts'] = try_again(net, task, x, answer, y, tries, marks[-1], vary)
    guesses, clues = count_guesses(boards.inputs), (x>1).sum(1).numpy()
    d = pd.DataFrame(dict(guesses=guesses, deep=count_left(boards.inputs)>0, clues=clues, moved=moved.numpy()) | {f'right{m}': r.numpy() for m, r in zip(marks, right)})
    d['restarted'] = (answer==y).all(-1).numpy()
    bins = pd.cut(d.guesses, [-1, 0, 3, 10, 30, 100, 300, 10**6], labels=['0', '1-3', '4-10', '11-30', '31-100', '101-300', '301-'])
    right = f'right{marks[-1]}'
    row['by_guesses'] = {k: dict(n=len(g), exact=float(g[right].mean()), restarted=float(g.restarted.mean()))
                         for k, g in d.groupby(bins, observed=True)}
    row['by_probing'] = {'deep' if k else 'solved': dict(n=len(g), restarted=float(g.restarted.mean()), exact={m: float(g[f'right{m}'].mean()) for m in marks})
                         for k, g in d.groupby('deep')}
    row['by_clues'] = {int(k): dict(n=len(g), exact=float(g[right].mean())) for k, g in d.groupby('clues')}
    row['moved'] = {str(bool(k)): float(g.moved.median()) for k, g in d.groupby(right)}
    return row


def score(name, run, names, n='1000', steps='32', tries='8', vary='noise'):
    "Score a run and put the row into results/NAME.json"
    (net, task), cfg = open_run(run), read_json(Path(run)/'config.json')
    net.block.compile(dynamic=False)
    marks = [m for m in (2**k for k in range(12)) if m<=int(steps)]
    log = read_metrics(Path(run)/'metrics.csv') if (Path(run)/'metrics.csv').exists() else []
    row = dict(run=Path(run).name, weights=sum(p.numel() for p in net.parameters()), seed=cfg['train']['seed'], start=cfg.get('start', ''),
               steps=cfg['train']['steps'], trained_on=dict(commit=cfg['commit'], device=cfg['device']),
               train_seconds=log[-1]['seconds'] if log else None, vary=vary, threads=torch.get_num_threads(),
               curve=[(r['step'], r['seconds'], r['valid_exact']) for r in log if 'valid_exact' in r], sets={}) | provenance()
    for s in filter(None, names.split(',')):
        row['sets'][s] = r = score_set(net, task, sets[s](run, int(n)), marks, int(tries), vary)
        print(s, {m: round(v['exact'], 4) for m, v in r['steps'].items()}, [round(k['exact'], 4) for k in r['restarts']], f"{r['seconds']:.0f} s", flush=True)
    path = results/f'{name}.json'
    rows = read_json(path)['rows'] if path.exists() else []
    old = [r for r in rows if r['run']==row['run']]
    if old: row['sets'] = old[0]['sets'] | row['sets']
    path.write_text(json.dumps(dict(rows=[r for r in rows if r['run']!=row['run']]+[row]), indent=1))


if __name__=='__main__': dict(data=data, score=score)[sys.argv[1]](*sys.argv[2:])
