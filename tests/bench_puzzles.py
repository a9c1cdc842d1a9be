"""Sudoku of 4x4 and 6x6 over three seeds, and what the parts are worth at equal seconds. Writes results/NAME.json.

    python tests/bench_puzzles.py sudoku4|sudoku6 [SEEDS]                  the presets as they are
    python tests/bench_puzzles.py ablation|parts [SEEDS] [ARMS] [SECONDS]  arms of sudoku6, each with as many steps as fit into SECONDS

`ablation` takes the paper's network apart (a vector for each cell); `parts` takes the preset apart (a vector for each cell and digit). A run
that is there already is not trained again. An arm trains for as many steps as fit into SECONDS of process time, by the milliseconds of
some steps in the same process. An average of the weights has a half-life of a tenth of these steps. Raw and averaged weights are both
scored on 200 validation boards, eight times on the way and at some numbers of steps that are the same for all arms; those that are better
at the end are scored on the test and on the minimal puzzles, 500 each.
"""
import sys
from itertools import islice
from pathlib import Path

import torch
from bench_race import look_at, seconds_per_step, timed
from race_clock import half_life
from results import have, keep

from trm.cli import trm_eval, trm_train
from trm.config import apply_sets, get_preset
from trm.engine.checkpoint import provenance
from trm.engine.device import flush_denormals
from trm.engine.log import read_metrics
from trm.files import read_json
from trm.puzzles.kinds import puzzle_task
from trm.puzzles.splits import make_puzzles
from trm.training.loop import TrainState

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


def trained(cfg, task):
    "A state to train, compiled if asked for, and its batches"
    state = TrainState(cfg, task)
    if cfg.train.compile: state.model.block.compile(dynamic=False)
    return state, task.batches(cfg.train.batch_size)


def arm(puzzles, name, sets, seed, budget):
    "Train one arm for `budget` seconds; a row of numbers"
    cfg = apply_sets(get_preset('sudoku6').change(seed=seed), sets)
    task = puzzle_task(cfg)(cfg, puzzles)
    each = seconds_per_step(trained(cfg, task)[0])
    steps = max(int(budget/each), 8)
    cfg = cfg.change(steps=steps, ema=half_life(steps) if cfg.train.ema else 0.)
    state, stream = trained(cfg, task)
    if cfg.train.compile:  # once more, and not on the clock
        first, again = next(stream), [p.detach().clone() for p in state.model.parameters()]
        state.loss(first)[0].backward()
        state.model.zero_grad()
        state.carry, stream = None, task.batches(cfg.train.batch_size)
        assert all(torch.equal(a, b) for a, b in zip(again, state.model.parameters()))
    spent, curve = 0., []
    marks = {round(steps*i/8) for i in range(1, 9)} | {25*2**i for i in range(8) if 25*2**i<=steps}
    for k, (_, took) in enumerate(timed(state, islice(stream, steps)), 1):
        spent += took
        if k in marks: curve.append(dict(step=k, seconds=round(spent, 2), **{w: v[0] for w, v in look_at(state, 'valid').items()}))
    best = max(('raw', 'averaged'), key=lambda w: curve[-1].get(w, -1))
    test, minimal = (look_at(state, split)[best] for split in ('test', 'minimal'))
    row = dict(arm=name, seed=seed, sets=sets, steps=steps, train_seconds=round(spent, 1), ms_per_step=round(1000*each, 1), budget=budget, ema=cfg.train.ema,
               weights=best, test=test[0], minimal=minimal[0], minimal_cells=minimal[1], curve=curve, threads=torch.get_num_threads(),
               **provenance(torch.device('cpu')))
    print({k: row[k] for k in ('arm', 'seed', 'steps', 'train_seconds', 'weights', 'test', 'minimal')}, flush=True)
    return row


def preset_run(preset, name, seed, sets, out):
    "Train, score on the test and on the minimal puzzles: a row of numbers"
    run = out/f'{name}_{seed}'
    trm_train([preset, '--out', str(run), '--resume', '--sets', f'{sets} seed={seed}'])
    c, log = read_json(run/'config.json'), read_metrics(run/'metrics.csv')
    row = dict(arm=name, seed=seed, sets=sets, steps=c['train']['steps'], train_seconds=log[-1]['seconds'], commit=c['commit'],
               device=c['device'], threads=torch.get_num_threads(),
               curve=[(r['step'], r['seconds'], r['valid_exact']) for r in log if 'valid_exact' in r])
    for split in 'test', 'minimal':
        trm_eval([str(run), '--split', split, '--json', str(run/f'{split}.json')])
        e = read_json(run/f'{split}.json')
        row[split] = {k: e[k] for k in ('exact', 'valid', 'cell', 'n', 'steps', 'by_step', 'by_family', 'halting', 'seconds') if k in e}
    return row


def main(what, seeds='0,1,2', names='', seconds='', out='runs/bench'):
    path, out, same, about = f'results/{what}.json', Path(out)/what, ('arm', 'seed'), __doc__.split('\n')[0]
    if what not in groups:
        for seed in seeds.split(','): keep(path, preset_run(what, what, int(seed), '', out), same, about)
        return
    flush_denormals(torch.device('cpu'))
    arms, budget, puzzles = groups[what], float(seconds or dict(ablation=75, parts=10)[what]), make_puzzles(get_preset('sudoku6'))
    for seed in map(int, seeds.split(',')):
        for name in names.split(',') if names else arms:
            if not any('weights' in r for r in have(path, arm=name, seed=seed)): keep(path, arm(puzzles, name, arms[name], seed, budget), same, about)


if __name__ == '__main__': main(*sys.argv[1:])
