"""Two processes against one, and what their talking costs: writes results/distributed.json.

    python tests/bench_distributed.py [PART ...]      differences, talk, keep and shards unless told; parts replace those of an earlier run

differences: after 50 steps, weights of one process with the whole batch against two with half of it each.
talk: an all-reduce over gloo by size, and a supervised step of the paper's networks (7 million weights for mazes, 5 for Sudoku) alone,
on two processes that do not talk, and on two that share their gradients; one thread and the same rows for each process.
keep: writing the checkpoint of a network with 7 million weights, its average and AdamW's two moments.
shards: reading the footers of many parquet files.
"""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from trm.training.supervision import carried, first_carry
from trm.engine.checkpoint import provenance, save_state
from trm.config import get_preset
from trm.files import write_file
from trm.engine.device import Distributed
from trm.network.weights import TRM
from trm.data.pairs import open_pairs
from trm.data.problems import make_problems, write_problems
from trm.engine.speed import step_counts

out = Path('results/distributed.json')
common = 'steps=50 warmup_steps=3 log_every=10 save_every=50 eval_every=50 eval_rows=40 device=cpu '
text = common + 'families= n_recurrence=3 d_model=32 n_heads=2 batch_size=8 max_seq_len=60 max_vocab=300 ema=.9 '
boards = common + 'puzzles=200 batch_size=8 n_recurrence=4 '
paper = ' optimizer=adamw learning_rate=1e-4 clip=0'
arms = {'text': ('demo', text), 'text, paper optimizer': ('demo', text + paper), 'boards, carried': ('sudoku4', boards),
        'boards, carried, paper optimizer': ('sudoku4', boards + paper), 'boards, unrolled': ('sudoku4', boards + 'supervision=unrolled'),
        'boards, unrolled, paper optimizer': ('sudoku4', boards + 'supervision=unrolled' + paper)}


def torchrun(*args):
    with socket.socket() as s: s.bind(('', 0)); port = s.getsockname()[1]
    return [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', '--master-port', str(port), *args]


def differences():
    rows, d = [], Path(tempfile.mkdtemp())
    data = write_problems(d / 'problems.parquet', make_problems(400, ['compare', 'sequence']))
    for name, (preset, sets) in arms.items():
        for precision in ('float32', 'float64'):
            states = []
            for k in (1, 2):
                run = d / f'{name}_{precision}_{k}'
                args = ['trm.cli', 'train', preset, '--out', str(run), '--sets', f'{sets} precision={precision}'] + ['--data', str(data)] * (preset == 'demo')
                cmd = torchrun('-m', *args) if k == 2 else [sys.executable, '-m', *args]
                subprocess.run(cmd, check=True, capture_output=True)
                states.append(load_file(run / 'checkpoints/step_50/state.safetensors'))
            a, b = states
            def most(part): return max([(a[k].double() - b[k].double()).abs().max().item() for k in a if k.startswith(f'/{part}')] or [0.])
            rows.append(dict(what=name, precision=precision, weights=most('model'), average=most('ema'), optimizer=most('opt')))
            print(rows[-1], flush=True)
    shutil.rmtree(d)
    return rows


def step_model(preset):
    "The network of a preset, for its boards"
    v, l = (11, 81) if preset == 'sudoku_extreme' else (7, 900)
    torch.manual_seed(0)
    return TRM(replace(get_preset(preset).model, vocab_size=v, seq_len=l))


def step(preset, rows, shared):
    "A function that makes one supervised step, forward and backward, on random rows"
    model = step_model(preset)
    cfg = model.cfg
    net = Distributed(model) if shared else model
    ids, labels = torch.randint(cfg.vocab_size, (2, rows, cfg.seq_len))
    batch = dict(input_ids=ids, labels=labels)
    def f():
        carried(net, first_carry(batch), batch, cfg.n_recurrence)[0].backward()
        for p in model.parameters(): p.grad = None if not shared else p.grad
        if shared: net.zero_grad(set_to_none=False)
    return f, sum(p.numel() for p in model.parameters()), float(step_counts(cfg, rows).gflop.sum())


def timed(f, n):
    f(); out = []
    for _ in range(n):
        if dist.is_initialized(): dist.barrier()
        t = time.perf_counter(); f(); out.append(time.perf_counter() - t)
    return statistics.median(out)


def worker(*presets):
    "What each of two processes does; the first prints"
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    for mb in (.25, 1, 4, 16, 28):
        t = torch.zeros(int(mb * 2**18))
        row = dict(what='all-reduce', mb=mb, seconds=timed(lambda: dist.all_reduce(t), 15))
        if dist.get_rank() == 0: print(json.dumps(row), flush=True)
    for p in presets:
        for shared in (False, True):
            f, n, gflop = step(p, 2 if p == 'sudoku_extreme' else 1, shared)
            row = dict(what=p, processes=2, shared=shared, weights=n, gflop=gflop, seconds=timed(f, 5))
            if dist.get_rank() == 0: print(json.dumps(row), flush=True)
    dist.destroy_process_group()


def talk():
    rows, presets = [], ('sudoku_extreme', 'maze_hard')
    torch.set_num_threads(1)
    for p in presets:
        f, n, gflop = step(p, 2 if p == 'sudoku_extreme' else 1, False)
        rows.append(dict(what=p, processes=1, shared=False, weights=n, gflop=gflop, seconds=timed(f, 5)))
    r = subprocess.run(torchrun(__file__, 'worker', *presets), check=True, capture_output=True, text=True)
    rows += [json.loads(line) for line in r.stdout.splitlines() if line.startswith('{')]
    for r in rows: print(r, flush=True)
    return rows


def keep():
    state = {k: {n: p.detach().clone() for n, p in step_model('maze_hard').named_parameters()} for k in ('model', 'ema', 'exp_avg', 'exp_avg_sq')}
    with tempfile.TemporaryDirectory(dir='.') as d:
        write = timed(lambda: save_state(Path(d) / 'step_1', state), 5)
        mb = sum(p.stat().st_size for p in Path(d).rglob('*.*')) / 1e6
    rows = [dict(mb=round(mb, 1), write_seconds=round(write, 3))]
    print(rows)
    return rows


def shards():
    rows = []
    with tempfile.TemporaryDirectory() as d:
        one = Path(write_problems(Path(d) / 'one.parquet', make_problems(2000, ['compare', 'sequence'])))
        for n in (100, 1000):
            folder = Path(d) / str(n); folder.mkdir()
            for i in range(n): os.link(one, folder / f'{i:05}.parquet')
            t = time.perf_counter(); k = open_pairs(folder).num_rows
            rows.append(dict(files=n, rows=k, seconds=round(time.perf_counter() - t, 3)))
            print(rows[-1], flush=True)
    return rows


def main(*parts):
    parts = parts or ('differences', 'talk', 'keep', 'shards')
    old = json.loads(out.read_text()) if out.exists() else {}
    for p in parts:
        t = time.perf_counter()
        old[p] = dict(rows=globals()[p](), seconds=round(time.perf_counter() - t, 1), **provenance())
    write_file(out, lambda p: p.write_text(json.dumps(old, indent=1)))


if __name__ == '__main__': worker(*sys.argv[2:]) if sys.argv[1:2] == ['worker'] else main(*sys.argv[1:])
