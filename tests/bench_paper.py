"""The paper's two puzzle presets on a CPU: some hundred steps, the whole test file, memory and seconds. Writes results/paper.json.

    python tests/bench_paper.py FOLDER [NAMES] [OUT]    FOLDER holds sudoku_extreme/ and maze_hard/, each with train and test files

The presets are for a GPU (batch 768). Here they run with small batches; what is changed is in `sets` of each row. `full` has the
paper's T=3, n=6; `short` has T=1, n=2, so that a pass over the whole test file is a matter of minutes. Each row runs in a process of
its own, so that its peak memory is its own. What is there already is not computed again.
"""
import json
import resource
import subprocess
import sys
from pathlib import Path

from trm.engine.checkpoint import provenance
from trm.engine.log import read_metrics
from trm.cli import trm_eval, trm_train
from trm.files import read_json

every = 'warmup_steps=20 ema=.95 log_every=2 save_every=200 device=cpu'
rows = dict(
    sudoku_full=('sudoku_extreme', f'{every} batch_size=8 steps=200 eval_every=200 eval_rows=16', ''),
    sudoku_short=('sudoku_extreme', f'{every} n_cycles=1 n_latent=2 batch_size=16 steps=200 eval_every=200 eval_rows=32', '1'),
    maze_short=('maze_hard', f'{every} n_cycles=1 n_latent=2 batch_size=2 steps=200 eval_every=200 eval_rows=4', '1'),
    maze_full=('maze_hard', f'{every} batch_size=2 steps=6 eval_every=100 eval_rows=1 n_recurrence=2', ''))


def one(data, name, out):
    "Train, and score the whole test file with so many steps as the row says"
    preset, sets, steps = rows[name]
    run = Path(out)/name
    trm_train([preset, '--data', f'{data}/{preset}', '--out', str(run), '--resume', '--sets', sets])
    log, c = read_metrics(run/'metrics.csv'), read_json(run/'config.json')
    curve = [(r['step'], r['seconds'], r['loss'], r['step_loss']) for r in log if 'step_loss' in r]
    (s0, t0), (s1, t1) = (curve[0][:2], curve[-1][:2])
    row = dict(name=name, preset=preset, sets=sets, commit=c['commit'], device=c['device'], seed=c['train']['seed'], curve=curve,
               seconds_per_step=round((t1-t0)/(s1-s0), 2), peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024)
    if steps:
        if not (run/'eval.json').exists(): trm_eval([str(run), '--steps', steps, '--json', str(run/'eval.json')])
        e = read_json(run/'eval.json')
        row['test'] = {k: e[k] for k in ('exact', 'valid', 'cell', 'n', 'steps', 'split', 'seconds')}
    print('ROW'+json.dumps(row))


def main(data, names='', out='runs/paper'):
    path = Path('results/paper.json')
    for name in names.split(',') if names else rows:
        p = subprocess.run([sys.executable, __file__, '--one', data, name, out], stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(p.stdout.split('ROW')[1])
        old = json.loads(path.read_text())['rows'] if path.exists() else []
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(dict(provenance(), rows=[r for r in old if r['name'] != name]+[row]), indent=1))


if __name__ == '__main__': one(*sys.argv[2:]) if sys.argv[1] == '--one' else main(*sys.argv[1:])
