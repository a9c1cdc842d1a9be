"""The demo over three seeds: writes results/demo.json. And what recursion is worth on worked problems, at equal seconds: results/dense.json.

    python tests/bench_demo.py [SEEDS]                  the presets demo and deep, as `make demo` trains them
    python tests/bench_demo.py SEEDS worked             demo beside networks that do not recur: the same block once (dense), and as many layers
                                                        of their own as the demo has applications (layers)

`dense` and `layers` train for as many steps as take as long as the 4,000 of demo, by the milliseconds per step that this script measures
first, on all threads, and writes down. Runs that are there already are not trained again.
"""
import json
import sys
import time
from pathlib import Path

import torch
from bench_race import seconds_per_step

from trm.cli import trm_eval, trm_train
from trm.config import apply_sets, get_preset
from trm.data.problems import bundled
from trm.data.tokenizer import train_tokenizer
from trm.engine.checkpoint import provenance
from trm.engine.log import read_metrics
from trm.files import read_json
from trm.training.canvas import text_task
from trm.training.loop import TrainState

arms = dict(demo=('demo', ''), deep=('deep', ''), dense=('demo', 'n_recurrence=1'), layers=('demo', 'n_recurrence=1 n_layers=6'))


def speed(preset, sets, n=60):
    "Mean seconds of an optimiser step over `n` batches, and the number of weights"
    cfg = apply_sets(get_preset(preset).change(data=str(bundled())), sets)
    tok = train_tokenizer(cfg.train.data, cfg.train.max_vocab)
    s = TrainState(cfg, text_task(cfg)(cfg, tok))
    return seconds_per_step(s, n, time.perf_counter), sum(p.numel() for p in s.model.parameters())


def main(seeds='0,1,2', what='', out='runs/bench'):
    names, path = (['demo', 'dense', 'layers'], Path('results/dense.json')) if what else (['demo', 'deep'], Path('results/demo.json'))
    speeds, rows = {k: speed(*arms[k]) for k in names}, []
    for name in names:
        preset, sets = arms[name]
        if preset!=name: sets += f" steps={round(get_preset(preset).train.steps*speeds[preset][0]/speeds[name][0])}"
        for seed in seeds.split(','):
            run = Path(out)/f'{name}_{seed}'
            trm_train([preset, '--out', str(run), '--resume', '--sets', f'{sets} seed={seed}'])
            trm_eval([str(run), '--json', str(run/'eval.json')])
            e, c, log = read_json(run/'eval.json'), read_json(run/'config.json'), read_metrics(run/'metrics.csv')
            rows.append(dict(arm=name, seed=int(seed), steps=c['train']['steps'], families=c['train']['families'].split(','), train_seconds=log[-1]['seconds'],
                             curve=[(r['step'], r['valid_exact']) for r in log if 'valid_exact' in r], commit=c['commit'], device=c['device'],
                             threads=torch.get_num_threads(), parameters=speeds[name][1], ms_per_step=round(1000*speeds[name][0], 1),
                             **{k: e[k] for k in ('exact', 'n', 'by_step', 'by_family', 'left_out', 'seconds')}))
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(dict(provenance(), rows=rows), indent=1))


if __name__=='__main__': main(*sys.argv[1:])
