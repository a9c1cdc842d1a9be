"""Runs that are killed again and again must end as runs that are not: writes results/soak.json.

    python tests/soak.py [MINUTES] [CASE ...]      120 minutes and all cases unless told; seed by SEED=, shorter runs by SCALE=, another file by RESULT=

Each case is trained once undisturbed. Then it is trained over and over, killed at random moments (mostly by SIGKILL, some by SIGTERM
and SIGINT; some aimed at the moment when a file is being written) and resumed, until the time is up. Every run that came through is
compared with the undisturbed one: weights, everything in the last checkpoint, metrics.csv without its two columns of time, the scores
and figures of `trm_eval`, the files in its folder. The memory of every process is read once a second.
"""
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

from trm.engine.checkpoint import checkpoints, provenance
from trm.files import write_file
from trm.data.problems import make_problems, write_problems

common = 'warmup_steps=3 log_every=10 save_every=15 eval_every=40 eval_rows=40 device=cpu '
boards = common + 'puzzles=200 batch_size=8 n_recurrence=4 steps=STEPS'
text = common + 'families= n_recurrence=3 d_model=32 n_heads=2 batch_size=8 max_seq_len=60 max_vocab=300 ema=.9 steps=STEPS'
cases = {
    'text': ('demo', text, 6000),
    'text, streamed': ('demo', text + ' streaming=true workers=1', 6000),
    'boards, carried': ('sudoku4', boards, 9000),
    'boards, unrolled': ('sudoku4', boards + ' supervision=unrolled', 3600)}
clock = 'seconds', 'tokens_per_s'


def rss(pid):
    "Resident memory of a process in MB, or None"
    try: return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
    except (OSError, IndexError): return None


def half_written(run): return [*run.glob('.*.tmp'), *run.glob('checkpoints/.*.tmp')]


def size(path):
    try: return path.stat().st_size
    except OSError: return 0


def start(case, data, run, log):
    preset, sets, steps = cases[case]
    args = [sys.executable, '-m', 'trm.cli', 'train', preset, '--out', str(run), '--resume', '--sets', sets.replace('STEPS', str(int(steps * float(os.environ.get('SCALE', 1)))))]
    if preset == 'demo': args += ['--data', str(data)]
    return subprocess.Popen(args, stdout=log, stderr=log, start_new_session=True)


def life(case, data, run, log, rng, undisturbed=False):
    "One process, from its start to its end: how it ended, where it was hit, its memory once a second"
    before, mem, went_on, aim = size(run / 'metrics.csv'), [], None, 'never'
    if not undisturbed:
        aim = rng.choices(['start', 'time', 'long', 'file', 'row'], [1, 4, 1, 3, 1])[0]
        how = rng.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], [8, 1, 1])[0]
        wait = dict(start=rng.uniform(0, 6), time=rng.uniform(0, 10), long=rng.uniform(30, 90), file=rng.uniform(0, 8), row=rng.uniform(0, 8))[aim]
    p, t0, last = start(case, data, run, log), time.monotonic(), 0
    while p.poll() is None:
        now = time.monotonic()
        if went_on is None and size(run / 'metrics.csv') not in (0, before): went_on = now
        if now - last > 1:
            last = now
            if went_on and (m := rss(p.pid)): mem.append(m)
        since = now - (t0 if aim == 'start' else went_on or now + 1)
        if aim != 'never' and since > wait:
            if aim in ('start', 'time', 'long'): break
            if aim == 'file' and half_written(run): break
            if aim == 'row':
                s = size(run / 'metrics.csv')
                while size(run / 'metrics.csv') == s and p.poll() is None: pass
                break
        time.sleep(.0002 if aim == 'file' and since > wait else .01)
    hit = p.poll() is None
    if hit: p.send_signal(how)
    status = p.wait()
    tail = (run / 'metrics.csv').read_bytes()[-1:] if size(run / 'metrics.csv') else b'\n'
    return dict(aim=aim, signal=how.name if hit else None, status=status, half_written=len(half_written(run)), cut_row=tail != b'\n',
                memory=[round(m, 1) for m in mem], seconds=round(time.monotonic() - t0, 1))


def evaluate(run, log):
    "Scores without the clock"
    subprocess.run([sys.executable, '-m', 'trm.cli', 'eval', str(run), '--limit', '40', '--json', str(run / 'eval.json')], stdout=log, stderr=log, check=True)
    return {k: v for k, v in json.loads((run / 'eval.json').read_text()).items() if k not in ('seconds', 'commit')}


def numbers(run):
    with open(run / 'metrics.csv', newline='') as f: return [{k: v for k, v in r.items() if k not in clock} for r in csv.DictReader(f)]


def files(run): return sorted(str(p.relative_to(run)) for p in run.rglob('*') if p.is_file() and 'tfevents' not in p.name)


def differences(run, ref):
    "In what do two finished runs differ?"
    out, (a, b) = [], [checkpoints(r)[-1] for r in (run, ref)]
    x, y = (load_file(r / 'state.safetensors') for r in (a, b))
    if a.name != b.name or x.keys() != y.keys() or any((x[k] != y[k]).any() for k in x): out.append('last checkpoint')
    if (run / 'model.safetensors').read_bytes() != (ref / 'model.safetensors').read_bytes(): out.append('model.safetensors')
    if numbers(run) != numbers(ref): out.append('metrics.csv')
    if files(run) != files(ref): out.append(f'files {sorted(set(files(run)) ^ set(files(ref)))}')
    def pictures(r): return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (r / 'figures').glob('*.png')}
    if pictures(run) != pictures(ref): out.append('figures')
    return out


def growth(mem):
    "Memory at the end of a process against that after its first five seconds, in percent; None if it was short"
    return round(100 * (statistics.median(mem[-5:]) / statistics.median(mem[5:10]) - 1), 2) if len(mem) >= 30 else None


def once(case, data, folder, log, rng, ref=None):
    "One run, undisturbed or killed until it is through"
    run, lives = folder / case.replace(', ', '_'), []
    if ref is not None: run = run.with_name(run.name + '_killed'); shutil.rmtree(run, ignore_errors=True)
    while not lives or lives[-1]['signal']: lives.append(life(case, data, run, log, rng, ref is None))
    if lives[-1]['status']:
        return dict(case=case, processes=len(lives), undisturbed=ref is None, kills={}, differences=[f"ended with status {lives[-1]['status']}"]), None
    scores = evaluate(run, log)
    mem = [m for l in lives for m in l['memory'][5:]]
    kills = [l for l in lives if l['signal']]
    row = dict(case=case, undisturbed=ref is None, processes=len(lives), kills={s: sum(l['signal'] == s for l in kills) for s in ('SIGKILL', 'SIGTERM', 'SIGINT')},
               statuses=sorted({l['status'] for l in kills}), while_writing=sum(l['half_written'] > 0 for l in kills), cut_rows=sum(l['cut_row'] for l in kills),
               seconds=round(sum(l['seconds'] for l in lives), 1), memory_mb=[round(min(mem)), round(statistics.median(mem)), round(max(mem))] if mem else None,
               growth_percent=[g for l in lives if (g := growth(l['memory'])) is not None])
    if ref is not None: row |= dict(differences=differences(run, ref[0]) + ['scores'] * (scores != ref[1]))
    return row, (run, scores)


def main(minutes='120', *names):
    seed = int(os.environ.get('SEED', 0))
    todo, rng, t0 = names or [*cases], random.Random(seed), time.monotonic()
    os.environ['OMP_NUM_THREADS'] = '1'
    folder = Path(tempfile.mkdtemp(prefix='soak'))
    data = write_problems(folder / 'problems.parquet', make_problems(400, ['compare', 'sequence']))
    rows, refs, k, where = [], {}, 0, Path(os.environ.get('RESULT', 'results/soak.json'))
    with open(folder / 'log.txt', 'a') as log:
        while len(rows) < 2 * len(todo) or time.monotonic() - t0 < 60 * float(minutes):
            case = todo[k % len(todo)]
            row, run = once(case, data, folder, log, rng, refs.get(case))
            if run: refs.setdefault(case, run)
            rows.append(row); k += 1
            print(f"{time.monotonic() - t0:6.0f} s", row, flush=True)
            out = dict(seconds=round(time.monotonic() - t0), seed=seed, **provenance(), rows=rows)
            write_file(where, lambda p: p.write_text(json.dumps(out, indent=1)))
    broken = [r for r in rows if r.get('differences')]
    print(f"{sum(sum(r['kills'].values()) for r in rows)} kills, {sum(not r['undisturbed'] for r in rows)} runs, {len(broken)} of them differ")
    if broken: sys.exit(f'see {folder}')
    shutil.rmtree(folder)


if __name__ == '__main__': main(*sys.argv[1:])
