"""The demo over three seeds: the presets demo and deep, as `make demo` trains them. Writes results/demo.json.

    python tests/bench_demo.py [SEEDS] [PRESETS]

Runs that are there already are not trained again.
"""
import sys
from pathlib import Path

import torch
from results import keep

from trm.cli import trm_eval, trm_train
from trm.engine.log import read_metrics
from trm.files import read_json
from trm.runs import open_run


def main(seeds='0,1,2', presets='demo,deep', out='runs/bench', path='results/demo.json'):
    for name in presets.split(','):
        for seed in seeds.split(','):
            run = Path(out)/f'{name}_{seed}'
            trm_train([name, '--out', str(run), '--resume', '--sets', f'seed={seed}'])
            trm_eval([str(run), '--json', str(run/'eval.json')])
            e, c, log = read_json(run/'eval.json'), read_json(run/'config.json'), read_metrics(run/'metrics.csv')
            row = dict(arm=name, seed=int(seed), steps=c['train']['steps'], families=c['train']['families'].split(','),
                       train_seconds=log[-1]['seconds'], curve=[(r['step'], r['valid_exact']) for r in log if 'valid_exact' in r],
                       commit=c['commit'], device=c['device'], threads=torch.get_num_threads(),
                       parameters=sum(p.numel() for p in open_run(run)[0].parameters()),
                       **{k: e[k] for k in ('exact', 'n', 'by_step', 'by_family', 'left_out', 'seconds')})
            keep(path, row, ('arm', 'seed'), __doc__.split('\n')[0])


if __name__=='__main__': main(*sys.argv[1:])
