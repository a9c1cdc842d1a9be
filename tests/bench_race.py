"""Seconds of training to 95 % exact on held-out boards: the presets, what they replaced, the paper's recipe, and two other packages.

    python tests/bench_race.py [PRESETS] [SEEDS]       sudoku4,sudoku6 and 0,1,2 if nothing is said; writes results/race.json

All on one machine, one after the other, on as many threads as OMP_NUM_THREADS says. Every arm gets the same batches of 32 (same seed, same
symmetries and clues), is looked at on the same 200 validation boards after .5 seconds of training and whenever its seconds are half as many
again, and is scored on its raw and on its averaged weights, of which the better count, and these on the test too. It is there at the first of
two looks in a row that find 95 % (190 of 200 may be luck), or at its last look. A look that finds less than half of the first 20 boards right
ends there. Looking is not on the clock; the first step is. An arm that has not reached 95 % is stopped at LIMIT times the seconds of the
preset. What was reached is scored on 500 test boards.

Each arm has its learning rate from four, a factor of about three apart, that seed 0 tries: the soonest at 95 %, or else the most exact, or
else the most cells right. Averages have a half-life of a tenth of the steps that fit into the limit. An arm that is not at 95 % by then on
seed 0 is given LONG times the preset's seconds once, with its rate.

The other packages are tiny-recursive-model 0.0.15 (the extra `bench`) with its own Trainer, and nano-trm 0.1.0 with Lightning's, which
wants Python 3.12.1 exactly: its arm runs where NANO_PYTHON names the python of an environment with it, and is left out elsewhere.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from race_clock import Clock, better, half_life, no_look, shares
from results import have, keep

from trm.config import apply_sets, get_preset
from trm.engine.checkpoint import provenance
from trm.engine.device import flush_denormals
from trm.puzzles.kinds import puzzle_task
from trm.puzzles.splits import make_puzzles
from trm.training.loop import TrainState, train_step

LIMIT, LONG = 5, 20
before = dict(  # the presets until 23 November 2026, as changes to those of today; that of 4×4 also drew its start, which is gone
    sudoku4='network=TRM d_model=64 n_latent=3 norm=pre mixer=attention position=learned warmup_steps=10 steps=2000',
    sudoku6='network=TRM d_model=96 steps=2500')
# the paper's recipe at the width of the peers' networks; published: batch 768 and 2,000 steps of warm-up, of which it would take a handful here
paper = ('network=TRM n_cycles=3 n_latent=6 n_recurrence=16 d_model={d} optimizer=adamw weight_decay=1 warmup_steps=100 min_lr=1 loss=stablemax '
         'clip=0 steps=1000000')
own_rates, published_rates = (.1, .3, 1., 3.), (10., 30., 100., 300.)  # times the arm's own rate


def timed(s, stream, now=time.process_time):
    "Train on the batches of `stream`: the log and the seconds of each optimiser step; drawing the batch is not on the clock"
    for batch in stream:
        start = now()
        log = train_step(s, batch)
        yield log, now()-start


def seconds_per_step(s, n=25, now=time.process_time):
    "Mean seconds of an optimiser step over `n` batches, of which the first sixth is left out"
    times = [t for _, t in timed(s, islice(s.task.batches(s.cfg.train.batch_size), n), now)]
    return sum(times[n//6:])/len(times[n//6:])


def look_at(s, split, full=True, batch_size=100):
    "Exact boards and right cells of a split, by the raw weights and, if there are any, by the averaged ones"
    batches, found = list(s.task.eval_batches(split, batch_size)), {}
    for name, net in dict(raw=s.model, **(dict(averaged=s.eval_model) if s.ema else {})).items():
        net.eval()
        with torch.no_grad(): found[name] = shares(lambda b: net.think(dict(input_ids=b['input_ids'])).logits[-1].argmax(-1), batches, full)
    s.model.train()
    return found


def ours(cfg, task, limit, test):
    "Train by our training step"
    if limit: cfg = cfg.change(ema=half_life(limit/seconds_per_step(TrainState(cfg, task), 12, time.perf_counter)))  # an average that fits
    s = TrainState(cfg, task)
    clock = Clock(lambda full: better(look_at(s, 'valid', full, 20)), limit)
    for _, seconds in timed(s, task.batches(cfg.train.batch_size), time.perf_counter):
        if clock.tick(seconds, s.step, s.step==cfg.train.steps): break
    return clock, dict(parameters=sum(p.numel() for p in s.model.parameters()), steps=s.step, ema=cfg.train.ema, test=look_at(s, 'test')[clock.weights][0] if test else None)


def tiny(cfg, task, limit, test, rate, d):
    "Train by tiny-recursive-model's Trainer"
    from tiny_recursive_model import MLPMixer1D, TinyRecursiveModel
    from tiny_recursive_model import Trainer as Theirs
    torch.manual_seed(cfg.train.seed)

    class Rows(torch.utils.data.Dataset):
        "The rows of our batches, one after the other"
        def __init__(self): self.rows = (r for b in task.batches(32) for r in zip(b['input_ids'], b['labels']))
        def __len__(self): return 10**7
        def __getitem__(self, i): return next(self.rows)

    class Stop(Exception): pass

    def build(decay):
        model = TinyRecursiveModel(dim=d, num_tokens=task.vocab_size, network=MLPMixer1D(dim=d, depth=2, seq_len=task.seq_len))
        # it divides its rate by batch size and steps, as if it summed its loss over both; AdamW does not care for the scale of a loss
        tr = Theirs(model, Rows(), batch_size=32, epochs=1, cpu=True, warmup_steps=100, learning_rate=rate*32*12, ema_decay_rate=decay)
        tr.dataloader = torch.utils.data.DataLoader(tr.dataset, batch_size=32)  # in order: shuffling 10^7 rows would take its time too
        return model, tr

    def run(model, tr, clock):
        state = dict(t=time.perf_counter(), steps=0)
        def every_step(*_):
            "Its trainer prints at each step: here is where we look in"
            state['steps'] += 1
            if clock.tick(time.perf_counter()-state['t'], state['steps']): raise Stop
            state['t'] = time.perf_counter()
        tr.accelerator.print = every_step
        try: tr()
        except Stop: pass
        return state['steps']

    def look(model, tr, split, full=True, batch_size=100):
        batches = list(task.eval_batches(split, batch_size))
        nets = dict(raw=model, averaged=tr.ema_model.ema_model)
        return {k: shares(lambda b, net=net: net.predict(b['input_ids'], max_deep_refinement_steps=16)[0], batches, full) for k, net in nets.items()}
    trial = min(limit, 5)
    fits = run(*build(.999), Clock(no_look, trial))*limit/trial
    torch.manual_seed(cfg.train.seed)
    model, tr = build(half_life(fits))
    clock = Clock(lambda full: better(look(model, tr, 'valid', full, 20)), limit)
    steps = run(model, tr, clock)
    return clock, dict(parameters=sum(p.numel() for p in model.parameters()), steps=steps, ema=half_life(fits), test=look(model, tr, 'test')[clock.weights][0] if test else None)


def nano(cfg, task, limit, test, rate, d):
    "Train by nano-trm, in a process of its own python"
    with tempfile.TemporaryDirectory() as folder:
        rows = {}
        batches = [*islice(task.batches(32), int(60*limit)+100)]
        for split, found in dict(train=batches, valid=task.eval_batches('valid', 100), test=task.eval_batches('test', 100)).items():
            found = list(found)
            for k in ('input_ids', 'labels'): rows[f'{split}_{k}'] = torch.cat([b[k] for b in found]).numpy()
        np.savez(f'{folder}/rows.npz', **rows)
        asked = dict(width=d, rate=rate, limit=limit, test=test, seed=cfg.train.seed, vocab_size=task.vocab_size, side=cfg.train.side)
        Path(f'{folder}/asked.json').write_text(json.dumps(asked))
        subprocess.run([os.environ['NANO_PYTHON'], 'tests/race_nano.py', folder], check=True, stdout=subprocess.DEVNULL)
        found = json.loads(Path(f'{folder}/found.json').read_text())
    clock = Clock(None, limit)
    clock.curve, clock.seconds, clock.hit = [tuple(o) for o in found.pop('curve')], found.pop('seconds'), found.pop('hit')
    return clock, found


def race(preset, arm, rate, seed, limit, test, puzzles):
    "One arm on one seed, with the score of the test boards or without: a row"
    base = get_preset(preset)
    d = base.model.width
    sets = dict(preset='', before=before[preset], paper=paper.format(d=d)).get(arm, '')
    cfg = apply_sets(base.change(seed=seed, batch_size=32), sets)
    if arm in ('preset', 'before'):
        cfg = cfg.change(learning_rate=rate*cfg.train.learning_rate, muon_lr=rate*cfg.train.muon_lr)
        if arm=='before': cfg = cfg.change(steps=10**6, min_lr=1.)
    elif arm=='paper': cfg = cfg.change(learning_rate=rate*1e-4)
    task = puzzle_task(cfg)(cfg, puzzles)
    if arm in ('preset', 'before', 'paper'): clock, more = ours(cfg, task, limit, test)
    else: clock, more = (tiny if arm=='tiny-recursive-model' else nano)(cfg, task, limit, test, rate*1e-4, d)
    step, seconds, exact, cells, what = clock.curve[-1]
    return dict(preset=preset, arm=arm, seed=seed, rate=rate, sets=sets, seconds_to_95=clock.hit and round(clock.hit, 2), seconds=round(clock.seconds, 2),
                limit=limit, exact=exact, cells=cells, weights=what, width=d, **more, curve=clock.curve, threads=torch.get_num_threads(),
                **provenance(torch.device('cpu')))


def main(presets=('sudoku4', 'sudoku6'), seeds=(0, 1, 2), out='results/race.json'):
    flush_denormals(torch.device('cpu'))
    arms = ['preset', 'before', 'paper', 'tiny-recursive-model']+['nano-trm']*('NANO_PYTHON' in os.environ)

    def run(kind, preset, arm, rate, seed, limit):
        same = dict(kind=kind, preset=preset, arm=arm, rate=rate, seed=seed)
        found = have(out, **same)
        if found: return found[0]
        row = dict(kind=kind)|race(preset, arm, rate, seed, limit, kind!='rate', puzzles)
        keep(out, row, [*same], __doc__.split('\n')[0])
        print({k: v for k, v in row.items() if k in ('kind', 'preset', 'arm', 'seed', 'rate', 'seconds_to_95', 'seconds', 'exact', 'cells', 'weights', 'steps', 'test')}, flush=True)
        return row

    for preset in presets:
        puzzles, best, own = make_puzzles(get_preset(preset)), {}, None
        def soonest(r): return (-(r['seconds_to_95'] or 1e9), r['exact'], r['cells'])
        for arm in arms:
            limit = LIMIT*(best['preset']['seconds_to_95'] or best['preset']['seconds']) if best else None
            tried = [run('rate', preset, arm, f, 0, limit) for f in (own_rates if arm in ('preset', 'before') else published_rates)]
            best[arm] = max(tried, key=soonest)
        for seed in seeds:
            for arm in arms:
                limit = LIMIT*own if arm!='preset' else None
                row = run('race', preset, arm, best[arm]['rate'], seed, limit)
                if arm=='preset': own = row['seconds_to_95'] or row['seconds']
        first = have(out, kind='race', preset=preset, arm='preset', seed=0)[0]
        own = first['seconds_to_95'] or first['seconds']
        for arm in arms:
            if not best[arm]['seconds_to_95']: run('long', preset, arm, best[arm]['rate'], 0, LONG*own)


if __name__=='__main__':
    args = [a.split(',') for a in sys.argv[1:]]
    main(*args[:1], *([int(o) for o in a] for a in args[1:2]))
