"""Seconds of training to 95 % exact on held-out boards: the preset against what it replaced, the paper's recipe, and another package.

    python tests/bench_race.py [PRESETS] [SEEDS]       sudoku4,sudoku6 and 0,1,2 if nothing is said; writes results/race.json

All on one machine, one after the other, on as many threads as OMP_NUM_THREADS says. Every arm gets the same batches (same seed, same
symmetries and clues). The preset and what it replaced are looked at about every tenth of their seconds, on 200 validation boards. The
others are stopped at LIMIT times the seconds of the preset, and looked at eight times on the way, on 64 boards, because a look takes them
as long as many steps. Looking is not counted; the first step is. What was reached is scored on 500 test boards (the others: 100). The
other package is tiny-recursive-model 0.0.15 with its own Trainer (`pip install trm[bench]`).
"""
import json
import sys
import time
from pathlib import Path

import torch

from trm.engine.checkpoint import provenance
from trm.config import apply_sets, get_preset
from trm.puzzles.kinds import puzzle_task
from trm.thinking.scores import evaluate
from trm.puzzles.splits import make_puzzles
from trm.training.loop import TrainState, train_step, validate

LIMIT, GOAL, fast = 5, .95, ('preset', 'before')
before = dict(  # the presets until 23 November 2026, as changes to those of today; that of 4×4 also drew its start, which is gone
    sudoku4='network=TRM d_model=64 n_latent=3 norm=pre mixer=attention position=learned batch_size=64 steps=2000 warmup_steps=10 ema=.99',
    sudoku6='network=TRM d_model=96 batch_size=64 steps=2500 ema=.99')
# the paper's recipe at the width of the peer's network; published: batch 768 and 2,000 steps of warm-up, of which it would take a handful here
paper = ('network=TRM n_cycles=3 n_latent=6 n_recurrence=16 d_model={d} optimizer=adamw learning_rate={lr} weight_decay=1 warmup_steps=100 min_lr=1 '
         'ema=.999 loss=stablemax clip=0 batch_size=32')


class Clock:
    "Training seconds, looks that do not count, and when the goal was reached"
    def __init__(self, score, limit=None):
        self.score, self.limit, self.seconds, self.last, self.hit, self.curve = score, limit, 0., 0., None, []

    def tick(self, seconds, step):
        "Add `seconds`; look now and then; True when it is over"
        self.seconds += seconds
        if self.seconds-self.last < (self.limit/8 if self.limit else max(.5, self.seconds/10)): return False
        self.last = self.seconds
        self.curve.append((step, round(self.seconds, 1), self.score()))
        if self.curve[-1][2] >= GOAL: self.hit = self.seconds
        return self.hit is not None or bool(self.limit and self.seconds >= self.limit)


def ours(cfg, task, limit):
    "Train by our training step"
    s = TrainState(cfg, task)
    clock = Clock(lambda: float(validate(s)['exact'][-1]), limit)
    stream = task.batches(cfg.train.batch_size)
    while True:
        t = time.perf_counter(); train_step(s, next(stream))
        if clock.tick(time.perf_counter()-t, s.step) or s.step==cfg.train.steps: break
    model = s.eval_model.eval()
    test = evaluate(model, task, 'test', [model.cfg.n_recurrence], 100 if limit else 500).exact.mean()
    return clock, dict(parameters=sum(p.numel() for p in model.parameters()), steps=s.step, test=float(test))


def peer(cfg, task, limit, d):
    "Train by tiny-recursive-model's Trainer, with its defaults"
    from tiny_recursive_model import MLPMixer1D, TinyRecursiveModel
    from tiny_recursive_model import Trainer as Theirs
    torch.manual_seed(cfg.train.seed)

    class Rows(torch.utils.data.Dataset):
        "The rows of our batches, one after the other"
        def __init__(self): self.rows = (r for b in task.batches(32) for r in zip(b['input_ids'], b['labels']))
        def __len__(self): return 10**7
        def __getitem__(self, i): return next(self.rows)

    class Stop(Exception): pass
    model = TinyRecursiveModel(dim=d, num_tokens=task.vocab_size, network=MLPMixer1D(dim=d, depth=2, seq_len=task.seq_len))
    tr = Theirs(model, Rows(), batch_size=32, epochs=1, cpu=True)
    tr.dataloader = torch.utils.data.DataLoader(tr.dataset, batch_size=32)  # in order: shuffling 10^7 rows would take its time too
    def score(split='valid', net=model):
        right = []
        for b in task.eval_batches(split, 64, 100 if split=='test' else 64):
            right += (net.predict(b['input_ids'], max_deep_refinement_steps=16)[0]==b['labels']).all(1).tolist()
        return sum(right)/len(right)
    best = lambda split='valid': max(score(split), score(split, tr.ema_model.ema_model))  # whichever of its two is better
    clock, state = Clock(best, limit), dict(t=time.perf_counter(), steps=0)
    def every_step(*_):
        "Its trainer prints at each step: here is where we look in"
        state['steps'] += 1
        if clock.tick(time.perf_counter()-state['t'], state['steps']): raise Stop
        state['t'] = time.perf_counter()
    tr.accelerator.print = every_step
    try: tr()
    except Stop: pass
    return clock, dict(parameters=sum(p.numel() for p in model.parameters()), steps=state['steps'], test=best('test'))


def main(presets=('sudoku4', 'sudoku6'), seeds=(0, 1, 2), out='results/race.json'):
    rows, path, own = [], Path(out), None
    for preset in presets:
        puzzles = make_puzzles(get_preset(preset))
        for seed in seeds:
            base = get_preset(preset).change(seed=seed)
            d = base.model.width
            arms = {'preset': '', 'before': before[preset], 'paper': paper.format(d=d, lr=1e-4), 'paper, lr 1e-3': paper.format(d=d, lr=1e-3),
                    'tiny-recursive-model': None}
            for arm, sets in arms.items():
                cfg = apply_sets(base, (sets or '') + (f' eval_rows={200 if arm in fast else 64}' + ('' if arm in fast else ' steps=1000000')))
                task = puzzle_task(cfg)(cfg, puzzles)
                limit = None if arm in fast else LIMIT*own
                clock, more = ours(cfg, task, limit) if sets is not None else peer(cfg, task, limit, d)
                if arm=='preset': own = clock.hit or clock.seconds
                row = dict(preset=preset, arm=arm, seed=seed, sets=sets, seconds_to_95=clock.hit and round(clock.hit, 2),
                           seconds=round(clock.seconds, 2), times=round(clock.seconds/own, 2), width=d, last=clock.curve[-1][2], **more,
                           curve=clock.curve, threads=torch.get_num_threads(), **provenance(torch.device('cpu')))
                rows.append(row)
                print({k: v for k, v in row.items() if k in ('preset', 'arm', 'seed', 'seconds_to_95', 'seconds', 'times', 'last', 'parameters',
                                                             'steps', 'test')}, flush=True)
                path.write_text(json.dumps(dict(what=__doc__.split('\n')[0], rows=rows), indent=1))


if __name__=='__main__':
    args = [a.split(',') for a in sys.argv[1:]]
    main(*args[:1], *([int(o) for o in a] for a in args[1:2]))
