"""From a bare GPU to a scored network, in pieces: what the card can do, how much of it a training step uses, training, and the test.

    python tests/bench_cuda.py step                                      the ceiling, and a supervised step of the big presets
    python tests/bench_cuda.py train --preset sudoku_fast --data FOLDER  train for --minutes; call again to go on where it was
    python tests/bench_cuda.py score --preset sudoku_fast --data FOLDER  the test file: by step, and with restarts
    python tests/bench_cuda.py train --preset maze_hard --data FOLDER    the same for mazes

FOLDER holds a train and a test file. Everything is written under --out: results_*.json, and for each preset its run with metrics.csv, the
checkpoints to go on from, and weights.safetensors in bfloat16. On a CPU the same script can be tried with a small --sets.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file

from trm.boards import PuzzleTask
from trm.checkpoint import provenance, read_metrics
from trm.config import apply_sets, get_preset
from trm.device import autocast, pick_device
from trm.restarts import judge, try_boards
from trm.runs import open_run
from trm.solve import evaluate
from trm.speed import ceiling, product_share, seconds, step_counts
from trm.splits import make_puzzles
from trm.trainer import Trainer


def step(a):
    "The ceiling of the card and the share of it that training steps reach"
    dev = pick_device()
    dtype = torch.bfloat16 if dev.type=='cuda' else torch.float32
    top, rows = ceiling(dev, dtype, 8192 if dev.type=='cuda' else 1024), []
    print(f"{dtype}: {top/1e12:.3f} TFLOP/s", flush=True)
    puzzles = a.data or make_puzzles(get_preset('sudoku_fast').change(puzzles=200))
    for preset in 'sudoku_extreme', 'sudoku_fast':
        for how in '', 'compile=true', 'compile=true loss=stablemax32' if preset=='sudoku_extreme' else None:
            if how is None: continue
            cfg = apply_sets(get_preset(preset), f'compile=false {how} {a.sets}')
            task = PuzzleTask(cfg, puzzles)
            t0, run = time.perf_counter(), Path(a.out)/f'step_{time.time():.0f}'
            tr = Trainer(cfg, task, run)
            batch = {k: v.to(dev) for k, v in next(task.batches(cfg.train.batch_size)).items()}
            tr.train_step(batch)
            first = time.perf_counter()-t0
            s = float(seconds(lambda: tr.train_step(batch), a.repeats, dev).median())
            flops = step_counts(tr.cfg.model, cfg.train.batch_size).gflop.sum()*1e9
            rows.append(dict(preset=preset, how=how, seconds=s, cells_per_s=cfg.train.batch_size*task.seq_len/s, tflop_per_s=flops/s/1e12,
                             share=flops/s/top, in_products=product_share(lambda: tr.train_step(batch), dev), to_first_step_s=first,
                             peak_gb=torch.cuda.max_memory_allocated()/2**30 if dev.type=='cuda' else None))
            print(rows[-1], flush=True)
    return dict(ceiling_tflops=top/1e12, dtype=str(dtype), rows=rows)


def train(a):
    "Train for some minutes in a process of its own, from wherever the run stands"
    run = Path(a.out)/a.preset
    cmd = [sys.executable, '-m', 'trm.cli', 'train', a.preset, '--data', a.data, '--out', str(run), '--resume', '--sets', a.sets]
    try: subprocess.run(cmd, timeout=60*a.minutes, check=True)
    except subprocess.TimeoutExpired: print("out of minutes; call again to go on")
    if (run/'model.safetensors').exists():
        model, _ = open_run(run, a.data, 'cpu')
        save_file({k: v.bfloat16() if v.is_floating_point() else v for k, v in model.state_dict().items()}, run/'weights.safetensors')
    log = read_metrics(run/'metrics.csv')
    return dict(preset=a.preset, step=log[-1]['step'], seconds=log[-1]['seconds'], sets=a.sets,
                curve=[(r['step'], r['seconds'], r['valid_exact']) for r in log if 'valid_exact' in r])


@torch.no_grad()
def score(a):
    "All test boards, by step; and some with restarts, by selector"
    model, task = open_run(Path(a.out)/a.preset, a.data)
    dev, t0 = next(model.parameters()).device, time.perf_counter()
    with autocast(dev, 'auto'): df = evaluate(model, task, 'test', None, a.limit, batch_size=a.batch_size)
    out = dict(preset=a.preset, n=int(df.row.nunique()), seconds=time.perf_counter()-t0, by_step=df.groupby('step').exact.mean().to_dict())
    print(out, flush=True)
    t0, tables = time.perf_counter(), []
    for batch in task.eval_batches('test', a.batch_size, a.limit):
        batch = {k: v.to(dev) for k, v in batch.items()}
        with autocast(dev, 'auto'): tries = try_boards(model, task, batch, restarts=a.restarts, vary=a.vary)
        tables.append(judge(tries, batch['labels'], (1, a.restarts)).assign(n=len(batch['row'])))
        if time.perf_counter()-t0 > 60*a.minutes: break
    df = pd.concat(tables)
    with_restarts = df.assign(exact=df.exact*df.n).groupby(['select', 'restarts'])[['exact', 'n']].sum()
    return out | dict(vary=a.vary, restarts=a.restarts, restart_seconds=time.perf_counter()-t0, restarted=int(with_restarts.n.max()),
                      with_restarts={f'{s} {k}': r.exact/r.n for (s, k), r in with_restarts.iterrows()})


if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('piece', choices=['step', 'train', 'score'])
    p.add_argument('--preset', default='sudoku_fast'); p.add_argument('--data', default=''); p.add_argument('--sets', default='')
    p.add_argument('--out', default='runs/cuda'); p.add_argument('--minutes', type=float, default=9); p.add_argument('--repeats', type=int, default=10)
    p.add_argument('--restarts', type=int, default=16); p.add_argument('--vary', default='noise')
    p.add_argument('--limit', type=int); p.add_argument('--batch_size', type=int, default=1024)
    a = p.parse_args()
    Path(a.out).mkdir(parents=True, exist_ok=True)
    t0, res = time.perf_counter(), dict(step=step, train=train, score=score)[a.piece](a)
    res |= provenance(pick_device()) | dict(piece_seconds=time.perf_counter()-t0)
    name = 'step' if a.piece=='step' else f'{a.piece}_{a.preset}'
    (Path(a.out)/f'results_{name}.json').write_text(json.dumps(res, indent=1))
    print({k: v for k, v in res.items() if k not in ('rows', 'curve', 'by_step')})
