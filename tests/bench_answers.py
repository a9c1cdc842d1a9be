"""What answers cost: boards per second with halting, and accuracy for the compute of several tries. Writes results/answers.json.

    python tests/bench_answers.py RUN [OUT]    RUN: a trained run on boards

On one thread, in one process with nothing beside it. Speeds: all boards of a split, 16 steps for each against stopping, by the halting
head or by the rules, in batches and with places of the same size; each three times, in turns, after a warm-up; the medians are compared.
Tries: 32 of each board, of 64 steps; every selector is judged on the same tries, after 1, 2, 4, ... steps and for 1, 2, 4, ... tries.
"""
import json
import os
import sys
import time
from pathlib import Path
from statistics import median

import torch

from trm.engine.checkpoint import provenance
from trm.thinking.halting import halt_early
from trm.thinking.confidence import auc, compare_selectors, table_of
from trm.thinking.restarts import try_boards
from trm.runs import open_run

steps, at_once, times = 16, 256, 3
marks, ks, boards = (1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16, 32), 150


def fixed(model, task, batch, n):
    "All steps for everybody, in batches of `n`; what is not needed is not kept"
    parts = [{k: v[i:i+n] for k, v in batch.items()} for i in range(0, len(batch['input_ids']), n)]
    with torch.no_grad(): return torch.cat([model.think(p, steps).logits[-1].argmax(-1) for p in parts]), None


ways = {'fixed': fixed,
        'halting': lambda m, t, b, n: halt_early(m, b, steps, at_once=n)[:2],
        'q alone': lambda m, t, b, n: halt_early(m, b, steps, settled=False, at_once=n)[:2],
        'rules': lambda m, t, b, n: halt_early(m, b, steps, check=t.valid, at_once=n)[:2]}


def speeds(model, task, batch, n):
    "Boards per second of each way, and what they get right"
    seconds, found = {w: [] for w in ways}, {}
    for w, f in ways.items(): f(model, task, {k: v[:n] for k, v in batch.items()}, n)
    for _ in range(times):
        for w, f in ways.items():
            t0 = time.perf_counter()
            found[w] = f(model, task, batch, n)
            seconds[w].append(time.perf_counter()-t0)
    rows = {w: dict(exact=task.score(p, batch)['exact'].mean().item(), mean_steps=steps if t is None else t.float().mean().item(),
                    boards_per_second=len(p)/median(seconds[w]), seconds=seconds[w]) for w, (p, t) in found.items()}
    for r in rows.values(): r |= dict(times_fixed=r['boards_per_second']/rows['fixed']['boards_per_second'], points_less=100*(rows['fixed']['exact']-r['exact']))
    return rows


def selectors(model, task, batch, vary):
    "Every selector on the same tries, with what each sign of confidence is worth after 16 steps"
    t0 = time.perf_counter()
    tries = try_boards(model, task, batch, marks, ks[-1], vary)
    end = table_of({k: v if k == 'steps' or v is None else v[4:5] for k, v in tries.items()} | dict(steps=[16]), batch)
    plain = end[end['try'] == 0]
    signs = {s: dict(plain=auc(plain[s]*f, plain.exact), all=auc(end[s]*f, end.exact)) for s, f in (('q', 1), ('residual', -1), ('votes', 1)) if s in end}
    return dict(vary=vary, n=len(batch['input_ids']), seconds=time.perf_counter()-t0, rows=compare_selectors(tries, batch['labels'], ks).to_dict('records'), auc_at_16=signs)


def rounded(x):
    if isinstance(x, dict): return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, list): return [rounded(v) for v in x]
    return x if not isinstance(x, float) else round(x, 4) if x == x else None  # json knows no nan


def main(run, out='results/answers.json'):
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    model, task = open_run(run)
    config = json.loads((Path(run)/'config.json').read_text())
    res = provenance(next(model.parameters()).device) | dict(threads=torch.get_num_threads(), seed=config['train']['seed'], run_commit=config.get('commit'), preset=config.get('preset'),
                                                             train_steps=config['train']['steps'], steps=steps, at_once=at_once, started=time.time(), speed={}, tries={})
    for split in ('test', 'minimal'):
        batch = next(task.eval_batches(split, 10_000))
        res['speed'][split] = {n: speeds(model, task, batch, n) for n in (at_once, 64)}
        for n, rows in res['speed'][split].items():
            for w, r in rows.items(): print(f"{split:8}{n:4} at once  {w:8} {r['boards_per_second']:6.0f} boards/s, {r['times_fixed']:.1f} times; {r['mean_steps']:5.2f} steps; exact {r['exact']:.4f}", flush=True)
    few = next(task.eval_batches('minimal', boards, boards))
    for vary in ('relabel', 'noise'):
        res['tries'][vary] = t = selectors(model, task, few, vary)
        print(vary, {r['select']: r['exact'] for r in t['rows'] if (r['restarts'], r['step']) == (ks[-1], 16)}, f"{t['seconds']:.0f} s", flush=True)
    res['seconds'] = time.time()-res.pop('started')
    Path(out).parent.mkdir(exist_ok=True)
    Path(out).write_text(json.dumps(rounded(res), indent=1))


if __name__ == '__main__': main(*sys.argv[1:])
