"""From a bare GPU to a scored network, in pieces: what the card can do, how much of it a training step uses, training, and the test.

    python tests/bench_cuda.py step                                      the ceiling, and a supervised step of the big presets
    python tests/bench_cuda.py train --preset sudoku_fast --data FOLDER  train for --minutes; call again to go on where it was
    python tests/bench_cuda.py score --preset sudoku_fast --data FOLDER  the test file: by step, and with restarts
    python tests/bench_cuda.py train --preset maze_hard --data FOLDER    the same for mazes
    python tests/bench_cuda.py train --preset arc1 --data evaluation_challenges.json --sets "extra=training_challenges.json"   and for ARC

FOLDER holds a train and a test file. Of ARC the score is by votes of --restarts augmentations; 16 of each task are trained on here, since the
vectors of a thousand are 2 GB. The runs and what is needed to go on with them are under --out, which must stay where it is between
two calls. What is worth keeping is copied to --back as soon as it is there: results_*.json, metrics.csv, and config.json with weights in
bfloat16 (at most 14 MB). From a checkout nothing needs to be installed but the requirements. On a CPU it can be tried with a small --sets.
"""
import argparse
import gc
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd
import torch

from trm.puzzles.kinds import puzzle_task
from trm.engine.checkpoint import provenance
from trm.engine.log import read_metrics
from trm.config import apply_sets, get_preset
from trm.engine.device import pick_device
from trm.network.weights import TRM
from trm.thinking.confidence import compare_selectors
from trm.thinking.restarts import try_boards
from trm.runs import open_run
from trm.thinking.scores import evaluate
from trm.engine.speed import matmul_flops, matmul_share, step_counts, time_calls
from trm.puzzles.solver import make_sudoku
from trm.engine.trainer import Trainer
from trm.training.loop import autocast, train_step


# what fits into 80 GB: 900 cells keep about 67 KB each for every application of the block
memory = dict(maze_hard='batch_size=96 save_every=50 eval_every=500 eval_rows=64',
              arc1='batch_size=128 augmentations=16 save_every=50 eval_every=500 eval_rows=64')
memory['arc2'] = memory['arc1']


def keep(a, name, res):
    "Write what was found, each time there is more of it"
    res = res | provenance(pick_device()) | dict(piece_seconds=time.perf_counter()-a.began)
    (Path(a.back)/f'results_{name}.json').write_text(json.dumps(res, indent=1))
    print({k: v for k, v in res.items() if k not in ('rows', 'curve', 'by_step')}, flush=True)


def step(a):
    "The ceiling of the card and the share of it that training steps reach"
    dev = pick_device()
    dtype = torch.bfloat16 if dev.type=='cuda' else torch.float32
    top, rows = matmul_flops(dev, dtype, 8192 if dev.type=='cuda' else 1024), []
    print(f"{dtype}: {top/1e12:.3f} TFLOP/s", flush=True)
    puzzles = a.data or make_sudoku(400, 9).assign(split='train')
    def put(): keep(a, 'step', dict(ceiling_tflops=top/1e12, dtype=str(dtype), rows=rows))
    for preset in 'sudoku_extreme', 'sudoku_fast':
        for how in '', 'compile=true', 'compile=true loss=stablemax32' if preset=='sudoku_extreme' else None:
            if how is None: continue
            cfg = apply_sets(get_preset(preset), f'compile=false {how} {a.sets}')
            task = puzzle_task(cfg)(cfg, puzzles)
            tr = batch = None
            gc.collect()
            torch._dynamo.reset()
            if dev.type=='cuda': torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
            batch = {k: v.to(dev) for k, v in next(task.batches(cfg.train.batch_size)).items()}
            tr = Trainer(cfg, task, Path(a.out)/f'step_{time.time_ns()}')
            tr.wrap()  # compiles, where asked for; nothing is written
            try: first = float(time_calls(lambda: train_step(tr, batch), 1, dev, warm=False))
            except RuntimeError as e:  # out of memory, or no compiler: the other arms can still tell something
                rows.append(dict(preset=preset, how=how, error=str(e)[:300])); print(rows[-1], flush=True); put()
                continue
            s = float(time_calls(lambda: train_step(tr, batch), a.repeats, dev).median())
            flops = step_counts(tr.cfg.model, cfg.train.batch_size).gflop.sum()*1e9
            rows.append(dict(preset=preset, how=how, seconds=s, cells_per_s=cfg.train.batch_size*task.seq_len/s, tflop_per_s=flops/s/1e12,
                             share=flops/s/top, in_products=matmul_share(lambda: train_step(tr, batch), dev), to_first_step_s=first,
                             peak_gb=torch.cuda.max_memory_allocated()/2**30 if dev.type=='cuda' else None))
            print(rows[-1], flush=True)
            put()


def train(a):
    "Train for some minutes in a process of its own, from wherever the run stands"
    run = Path(a.out)/a.preset
    sets = f'{memory.get(a.preset, "")} {a.sets}'.strip()
    cmd = [sys.executable, '-m', 'trm.cli', 'train', a.preset, '--data', a.data, '--out', str(run), '--resume', '--sets', sets]
    try: subprocess.run(cmd, timeout=60*a.minutes, check=True)
    except subprocess.TimeoutExpired: print("out of minutes; call again to go on")
    if (run/'model.safetensors').exists():
        cfg = json.loads((run/'config.json').read_text())
        TRM.from_pretrained(run).save_pretrained(Path(a.back)/a.preset, torch.bfloat16, **{k: v for k, v in cfg.items() if k!='model'})
    log = read_metrics(run/'metrics.csv') if (run/'metrics.csv').exists() else []
    if log: shutil.copy(run/'metrics.csv', Path(a.back)/f'{a.preset}_metrics.csv')
    last = log[-1] if log else dict(step=0, seconds=0)
    keep(a, f'train_{a.preset}', dict(preset=a.preset, step=last['step'], seconds=last['seconds'], sets=sets,
                                      curve=[(r['step'], r['seconds'], r['valid_exact']) for r in log if 'valid_exact' in r]))


def score_tasks(a, model, task):
    "The test tasks of ARC, by votes"
    from trm.thinking import tasks as T
    dev = next(model.parameters()).device
    with autocast(dev, 'auto'): answers = T.answer_tasks(model, task, 'test', a.restarts)
    for n in {1, a.restarts}:
        votes = T.count_votes(answers[answers.augmentation<n])
        keep(a, f'score_{a.preset}_{n}', dict(preset=a.preset, augmentations=n) | T.summarize_tasks(T.score_tasks(votes, task, 'test')))
    T.write_submission(votes, task, Path(a.back)/'submission.json', 'test')


@torch.no_grad()
def score(a):
    "All test boards, by step; and some with restarts, by selector"
    model, task = open_run(Path(a.out)/a.preset, a.data)
    if hasattr(task, 'in_split'): return score_tasks(a, model, task)
    dev, name = next(model.parameters()).device, f'score_{a.preset}'
    with autocast(dev, 'auto'): df = evaluate(model, task, 'test', None, a.limit, batch_size=a.batch_size)
    out = dict(preset=a.preset, n=int(df.row.nunique()), seconds=time.perf_counter()-a.began, by_step=df.groupby('step').exact.mean().to_dict())
    keep(a, name, out)
    took, tables = 0., []
    for batch in task.eval_batches('test', 128, a.limit):
        t0 = time.perf_counter()
        if t0-a.began+1.5*took > 60*a.minutes: break
        batch = {k: v.to(dev) for k, v in batch.items()}
        with autocast(dev, 'auto'): tries = try_boards(model, task, batch, restarts=a.restarts, vary=a.vary)
        tables.append(compare_selectors(tries, batch['labels'], (1, a.restarts)).assign(n=len(batch['row'])))
        df = pd.concat(tables)
        sums = df.assign(exact=df.exact*df.n).groupby(['select', 'restarts'])[['exact', 'n']].sum()
        keep(a, name, out | dict(vary=a.vary, restarts=a.restarts, restarted=int(sums.n.max()),
                                 with_restarts={f'{s} {k}': float(r.exact/r.n) for (s, k), r in sums.iterrows()}))
        took = time.perf_counter()-t0


if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('piece', choices=['step', 'train', 'score'])
    p.add_argument('--preset', default='sudoku_fast'); p.add_argument('--data', default=''); p.add_argument('--sets', default='')
    p.add_argument('--out', default='runs/cuda'); p.add_argument('--minutes', type=float, default=9); p.add_argument('--repeats', type=int, default=10)
    p.add_argument('--restarts', type=int, default=16); p.add_argument('--vary', default='noise')
    p.add_argument('--limit', type=int); p.add_argument('--batch_size', type=int, default=1024)
    p.add_argument('--back', default='runs/cuda/back')
    a = p.parse_args()
    a.began = time.perf_counter()
    for o in a.out, a.back: Path(o).mkdir(parents=True, exist_ok=True)
    dict(step=step, train=train, score=score)[a.piece](a)
