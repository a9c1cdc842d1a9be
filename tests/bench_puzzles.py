"""Sudoku of 4x4 and 6x6 over three seeds, and what the parts are worth at equal seconds. Writes results/NAME.json.

    python tests/bench_puzzles.py sudoku4|sudoku6 [SEEDS]                  the presets as they are
    python tests/bench_puzzles.py ablation|parts [SEEDS] [ARMS] [SECONDS]  arms of sudoku6, each with as many steps as fit into SECONDS

`ablation` takes the paper's network apart (a vector for each cell); `parts` takes the preset apart (a vector for each cell and digit). A run
that is there already is not trained again. The milliseconds per step of all arms are measured first, in one process, on one thread with
nothing beside it; the arms then train for as many steps as fit into SECONDS by that measure.

Three arms of the stored results are of earlier versions of the package: a start that is drawn (`noise`) and, with a vector for each digit,
norms before the layers (`pre_norm` of `parts`) are gone; `one_state` applied its block n+1 times in each of T rounds, now once for each loss.
"""
import json
import os
import sys
import time
from itertools import islice
from pathlib import Path

from trm.engine.checkpoint import provenance
from trm.engine.log import read_metrics
from trm.cli import trm_eval, trm_train
from trm.config import apply_sets, get_preset
from trm.runs import make_task
from trm.engine.device import pick_device
from trm.files import read_json
from trm.training.loop import TrainState, train_step

plain = 'network=TRM d_model=96 batch_size=64 ema=.99'
n3 = plain+' n_latent=3 norm=pre'  # what the ablation began from
one = 'states=1 n_latent=0 n_cycles=1 inject=true'
groups = dict(
    ablation=dict(
        base=n3, one_state=f'{n3} {one}', no_ema=f'{n3} ema=0', no_halting=f'{n3} halt=false',
        attention=f'{n3} mixer=attention position=learned', n1=f'{plain} norm=pre', n6=f'{n3} n_latent=6', T2=f'{n3} n_cycles=2',
        T3n6=f'{n3} n_cycles=3 n_latent=6', unrolled=f'{n3} supervision=unrolled', post_norm=f'{plain} n_latent=3',
        post_n1=plain),
    parts=dict(
        base='', plain='network=TRM d_model=96', d8='d_model=8 n_heads=2', d32='d_model=32', batch16='batch_size=16', batch64='batch_size=64',
        one_layer='n_layers=1', n2='n_latent=2', T2='n_cycles=2', one_state=one,
        unrolled='supervision=unrolled', no_halting='halt=false', no_ema='ema=0', adamw='optimizer=adamw', no_augment='augment=false',
        normed='gate=normed', smoothing='label_smoothing=.2', muon='muon_momentum=.6 muon_rounds=3 muon_decay=.005', compile='compile=true'))


def speeds(path, arms, n=24):
    "Milliseconds of an optimiser step of each arm, over the last three quarters of `n`: measured once and kept"
    if path.exists(): return read_json(path)
    ms = {}
    for name, sets in arms.items():
        cfg = apply_sets(get_preset('sudoku6'), sets+' puzzles=500')
        state, times = TrainState(cfg, make_task(cfg, path.parent), pick_device(cfg.train.device)), []
        if cfg.train.compile: state.model.block.compile(dynamic=False)
        for batch in islice(state.task.batches(cfg.train.batch_size), n):
            t0 = time.perf_counter()
            train_step(state, batch)
            times.append(time.perf_counter()-t0)
        ms[name] = round(1000*sum(times[n//4:])/len(times[n//4:]), 1)
        print(name, ms[name])
    path.write_text(json.dumps(ms))
    return ms


def one(preset, name, seed, sets, out):
    "Train, score on the test and on the minimal puzzles: a row of numbers"
    run = out/f'{name}_{seed}'
    trm_train([preset, '--out', str(run), '--resume', '--sets', f'{sets} seed={seed}'])
    c, log = read_json(run/'config.json'), read_metrics(run/'metrics.csv')
    row = dict(arm=name, seed=seed, sets=sets, steps=c['train']['steps'], train_seconds=log[-1]['seconds'], commit=c['commit'],
               device=c['device'], threads=int(os.environ.get('OMP_NUM_THREADS', os.cpu_count())),
               curve=[(r['step'], r['seconds'], r['valid_exact']) for r in log if 'valid_exact' in r])
    for split in 'test', 'minimal':
        trm_eval([str(run), '--split', split, '--json', str(run/f'{split}.json')])
        e = read_json(run/f'{split}.json')
        row[split] = {k: e[k] for k in ('exact', 'valid', 'cell', 'n', 'steps', 'by_step', 'by_family', 'halting', 'seconds') if k in e}
    return row


def add(path, row):
    "Put a row into a results file, in place of an older one of the same arm and seed"
    path.parent.mkdir(exist_ok=True)
    rows = json.loads(path.read_text())['rows'] if path.exists() else []
    rows = [r for r in rows if (r['arm'], r['seed']) != (row['arm'], row['seed'])]+[row]
    path.write_text(json.dumps(dict(provenance(), rows=sorted(rows, key=lambda r: (r['arm'], r['seed']))), indent=1))


def main(what, seeds='0,1,2', names='', seconds='', out='runs/bench'):
    path, out = Path(f'results/{what}.json'), Path(out)/what
    if what not in groups:
        for seed in seeds.split(','): add(path, one(what, what, int(seed), '', out))
        return
    arms, budget = groups[what], float(seconds or dict(ablation=75, parts=10)[what])
    out.mkdir(parents=True, exist_ok=True)
    ms = speeds(out/'speed.json', arms)
    for seed in seeds.split(','):
        for name in names.split(',') if names else arms:
            sets = f'{arms[name]} steps={int(1000*budget/ms[name])} eval_every=100000 save_every=100000'
            add(path, one('sudoku6', name, int(seed), sets.strip(), out) | dict(ms_per_step=ms[name], budget=budget))


if __name__ == '__main__': main(*sys.argv[1:])
