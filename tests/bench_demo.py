"""The demo over three seeds: writes results/demo.json. Beside networks without recursion at equal seconds: writes results/dense.json.

    python tests/bench_demo.py [SEEDS] [ARMS]      e.g. 0,1,2 recursive, or 0,1,2 recursive,dense,deep

Arms: recursive is the preset; dense applies its block once; deep has the layers of all applications, each with weights of its own.
The steps of dense and deep are those that take as long as the preset's 4,000 by the milliseconds per step that this script measures
first (on two threads) and writes down. Runs that are there already are not trained again.
"""
import json
import sys
import time
from itertools import islice
from pathlib import Path

from trm.engine.checkpoint import provenance
from trm.engine.log import read_metrics
from trm.cli import trm_eval, trm_train
from trm.config import apply_sets, get_preset
from trm.training.task import TextTask
from trm.data.problems import bundled
from trm.data.tokenizer import train_tokenizer
from trm.engine.device import pick_device
from trm.training.loop import TrainState, train_step
from trm.files import read_json

demo = get_preset('demo')
arms = dict(recursive='', dense='n_recurrence=1 steps=11850', deep='n_recurrence=1 n_layers=6 steps=4500')


def seconds_per_step(sets, n=60):
    "Mean seconds of an optimiser step, over `n` batches of the demo"
    cfg = apply_sets(demo.change(data=str(bundled())), sets)
    tok = train_tokenizer(cfg.train.data, cfg.train.max_vocab)
    t = TrainState(cfg, TextTask(cfg, tok), pick_device(cfg.train.device))
    times = []
    for batch in islice(t.task.batches(cfg.train.batch_size), n):
        t0 = time.perf_counter()
        train_step(t, batch)
        times.append(time.perf_counter() - t0)
    return sum(times[n // 6:]) / len(times[n // 6:]), sum(p.numel() for p in t.model.parameters())


def main(seeds='0,1,2', names='recursive', out='runs/bench'):
    out = Path(out)
    speed = {k: seconds_per_step(arms[k]) for k in names.split(',')}
    path = Path('results/demo.json' if names=='recursive' else 'results/dense.json')
    rows = []
    for name in names.split(','):
        for seed in seeds.split(','):
            run = out / f'{name}_{seed}'
            trm_train(['demo', '--out', str(run), '--resume', '--sets', f'{arms[name]} seed={seed}'])
            trm_eval([str(run), '--json', str(run / 'eval.json')])
            e, c = read_json(run / 'eval.json'), read_json(run / 'config.json')
            rows.append(dict(arm=name, seed=int(seed), steps=c['train']['steps'], train_seconds=read_metrics(run / 'metrics.csv')[-1]['seconds'],
                             curve=[(r['step'], r['valid_exact']) for r in read_metrics(run / 'metrics.csv') if 'valid_exact' in r],
                             commit=c['commit'], device=c['device'], parameters=speed[name][1], ms_per_step=round(1000 * speed[name][0], 1), **{k: e[k] for k in ('exact', 'n', 'by_step', 'by_family', 'left_out', 'seconds')}))
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(dict(provenance(), rows=rows), indent=1))


if __name__ == '__main__': main(*sys.argv[1:])
