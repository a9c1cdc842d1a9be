"Runs that are killed, stopped, short of disk or shared by several devices end where an undisturbed one does."
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from conftest import root, small, small_board, trm
from trm.cli import trm_eval

env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(root))


def free_port():
    with socket.socket() as s:
        s.bind(('', 0))
        return s.getsockname()[1]


def numbers(run):
    "metrics.csv as text, without the clock"
    with open(run / 'metrics.csv', newline='') as f: return [{k: v for k, v in r.items() if k not in ('seconds', 'tokens_per_s')} for r in csv.DictReader(f)]


def last(run): return load_file(max(run.glob('checkpoints/step_*'), key=lambda p: int(p.name[5:])) / 'state.safetensors')


def check_same(run, other):
    assert numbers(run) == numbers(other)
    a, b = last(run), last(other)
    assert a.keys() == b.keys() and all((a[k] == b[k]).all() for k in b)
    assert (run / 'model.safetensors').read_bytes() == (other / 'model.safetensors').read_bytes()
    assert not [p for p in run.rglob('*') if p.name.endswith('.tmp')]


def train(args, run, *more, **kw):
    "Start a training in a process of its own"
    return subprocess.Popen([sys.executable, '-m', 'trm.cli', 'train', *args, '--out', str(run), *more], env=env,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **kw)


def torchrun(n, args, run, *more):
    return [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', str(n), '--master-port', str(free_port()), *more,
            '-m', '--', 'trm.cli', 'train', *args, '--out', str(run)]


def wait_for(path, p):
    while not path.exists() and p.poll() is None: time.sleep(.005)
    assert p.poll() is None, f'it ended before {path.name} was there: {p.communicate()[1]}'


@pytest.fixture(params=['text', 'boards'])
def case(request, data):
    "Preset and settings, and the run folder that an undisturbed training leaves"
    if request.param == 'text': return ['demo', '--data', str(data), '--sets', small], request.getfixturevalue('run_folder')
    return ['sudoku4', '--sets', small_board], request.getfixturevalue('board_run')


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed(how, case, tmp_path):
    "Killed, or asked to stop, and gone on with: the same weights, rows and averages, to the last bit"
    args, run_folder = case
    run = tmp_path / 'run'
    p = train(args, run)
    wait_for(run / 'checkpoints/step_10', p)
    p.send_signal(how)
    err = p.communicate()[1]
    assert p.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how], 'it ended before it could be stopped'
    if how != signal.SIGKILL: assert err.count('\n') == 1 and 'stopped at step' in err and '--resume' in err, err
    assert not list(run.glob('checkpoints/step_30'))
    r = trm('train', *args, '--out', run, '--resume')
    assert r.returncode == 0, r.stderr
    check_same(run, run_folder)


def test_killed_between_rows(tmp_path):
    "Checkpoints in the middle of a row of the log; the rows are the same all the same, and so are the figures"
    args = ['sudoku4', '--sets', small_board.replace('save_every=10', 'save_every=7') + ' supervision=unrolled steps=60']
    runs = tmp_path / 'a', tmp_path / 'b'
    assert trm('train', *args, '--out', runs[0]).returncode == 0
    for step in (14, 28, 42):
        p = train(args, runs[1], '--resume')
        wait_for(runs[1] / f'checkpoints/step_{step}', p)
        p.kill(); p.wait(); p.stderr.close()
    (runs[1] / 'checkpoints/.step_99.tmp').mkdir()
    with open(runs[1] / 'metrics.csv', 'a') as f: f.write('57,1.0,0.')  # killed while writing
    assert trm('train', *args, '--out', runs[1], '--resume').returncode == 0
    check_same(*runs)
    for r in runs: trm_eval([str(r), '--limit', '20'])
    pictures = [{p.name: p.read_bytes() for p in (r / 'figures').iterdir()} for r in runs]
    assert len(pictures[0]) >= 4 and pictures[0] == pictures[1]


def test_one_at_a_time(tmp_path):
    "Nobody goes on with a run that is going on"
    args = ['sudoku4', '--sets', small_board.replace('steps=30', 'steps=100000')]
    p = train(args, tmp_path / 'run')
    wait_for(tmp_path / 'run/checkpoints/step_10', p)
    r = trm('train', *args, '--out', tmp_path / 'run', '--resume')
    assert r.returncode == 2 and 'another process' in r.stderr, r.stderr
    p.kill(); p.communicate()


@pytest.mark.parametrize('size,what', [('60k', ''), ('440k', ''), ('40k', 'log_every=1 save_every=30 eval_every=30 steps=120')])
def test_disk_full(size, what, tmp_path):
    "On a file system of so many bytes training stops with one line; with more room it goes on, and nothing is lost"
    if subprocess.run(['unshare', '-m', 'mount', '-t', 'tmpfs', 'none', tmp_path], capture_output=True).returncode: pytest.skip('may not mount a tmpfs')
    sets, disk, script = f'{small_board} {what}', tmp_path / 'disk', tmp_path / 'script'
    disk.mkdir()
    script.write_text('mount -t tmpfs -o size=$2 none $1; shift 2; "$@"; echo status $?; cp -r DISK/run FULL; mount -o remount,size=99m DISK; "$@" --resume; cp -r DISK/run DONE'
                      .replace('DISK', str(disk)).replace('FULL', str(tmp_path / 'full')).replace('DONE', str(tmp_path / 'done')))
    r = subprocess.run(['unshare', '-m', 'bash', script, disk, size, sys.executable, '-m', 'trm.cli', 'train', 'sudoku4', '--out', disk / 'run', '--sets', sets],
                       env=env, capture_output=True, text=True, timeout=200)
    assert 'status 2' in r.stdout and 'No space left' in r.stderr and r.stderr.count('\n') == 1, r.stdout + r.stderr
    assert not [p for p in (tmp_path / 'full').rglob('*') if p.name.endswith('.tmp')]
    for p in (tmp_path / 'full').rglob('*.safetensors'): load_file(p)  # whole
    assert trm('train', 'sudoku4', '--out', tmp_path / 'ref', '--sets', sets).returncode == 0
    check_same(tmp_path / 'done', tmp_path / 'ref')


@pytest.mark.parametrize('precision', ['float64', 'float32'])
@pytest.mark.parametrize('kind', ['text', 'carried', 'unrolled'])
def test_two_processes_are_one(kind, precision, data, tmp_path):
    "Half the batch on each of two processes gives the weights of the whole batch on one; float32 rounds, and the recursion makes more of it"
    bound = 1e-7 if precision == 'float64' else 1e-5 if kind == 'text' else 1e-4
    sets = f"{small if kind == 'text' else small_board} steps=50 precision={precision}"
    args = ['demo', '--data', str(data)] if kind == 'text' else ['sudoku4']
    args += ['--sets', sets + ' supervision=unrolled' * (kind == 'unrolled')]
    assert trm('train', *args, '--out', tmp_path / 'one').returncode == 0
    r = subprocess.run(torchrun(2, args, tmp_path / 'two'), capture_output=True, text=True, timeout=300, env=env)
    assert r.returncode == 0, r.stderr[-3000:]
    a, b = last(tmp_path / 'two'), last(tmp_path / 'one')
    assert any('ema' in k for k in b) or kind == 'carried'
    for k in b: assert 'carry' in k or (a[k].double() - b[k].double()).abs().max() < bound, k
    for x, y in zip(*map(numbers, (tmp_path / 'two', tmp_path / 'one')), strict=True):
        for k in x:  # validation counts each row once, however many share the work
            if 'exact' in k and precision == 'float64': assert x[k] == y[k]
            assert (x[k] == y[k] == '') or abs(float(x[k]) - float(y[k])) < 1e-2 * max(1, abs(float(y[k])))


@pytest.mark.parametrize('restarts', [0, 1])
def test_worker_dies(restarts, tmp_path):
    "One of two is killed: the other says so and stops; torchrun can start both again, from the last checkpoint"
    run, args = tmp_path / 'run', ['sudoku4', '--sets', small_board.replace('steps=30', 'steps=200')]
    p = subprocess.Popen(torchrun(2, args, run, '--max-restarts', str(restarts)), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(run / 'checkpoints/step_20', p)
    children = [int(c) for c in open(f'/proc/{p.pid}/task/{p.pid}/children').read().split()]
    rank = {c: dict(v.partition('=')[::2] for v in open(f'/proc/{c}/environ').read().split('\0'))['RANK'] for c in children}
    os.kill(next(c for c in children if rank[c] == '1'), signal.SIGKILL)
    err = p.communicate(timeout=120)[1]
    assert 'what was saved before is whole' in err, err[-3000:]  # another process is gone, or does not answer
    if not restarts:
        assert p.returncode
        return
    assert p.returncode == 0, err[-3000:]
    assert subprocess.run(torchrun(2, args, tmp_path / 'ref'), env=env, capture_output=True, timeout=120).returncode == 0
    check_same(run, tmp_path / 'ref')


def test_stopped_together(tmp_path):
    "SIGTERM to torchrun: both stop at the same step and save; one process alone goes on from there"
    run, args = tmp_path / 'run', ['sudoku4', '--sets', small_board.replace('steps=30', 'steps=100000')]
    p = subprocess.Popen(torchrun(2, args, run), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(run / 'checkpoints/step_20', p)
    p.terminate()
    err = p.communicate(timeout=60)[1]
    assert 'stopped at step' in err, err[-3000:]
    step = int(err.partition('stopped at step ')[2].split(',')[0])
    assert (run / f'checkpoints/step_{step}').exists()
    p = train(args, run, '--resume')
    wait_for(run / f'checkpoints/step_{step//10*10+10}', p)
    p.kill(); p.communicate()


def test_wild_run(tmp_path):
    "Numbers that are not finite: one line, and nothing of them in the folder"
    r = trm('train', 'sudoku4', '--out', tmp_path / 'run', '--sets', f'{small_board} learning_rate=1e30 muon_lr=1e30 clip=0')
    assert r.returncode == 2 and 'should be finite' in r.stderr and r.stderr.count('\n') == 1, r.stderr
    assert not list((tmp_path / 'run').rglob('*.safetensors'))
    shutil.rmtree(tmp_path / 'run')


def test_two_processes_go_on_and_start(tmp_path):
    "More steps and a start from another run, on two processes; what one has begun the other number goes on with"
    args, first, second = ['sudoku4', '--sets', small_board.replace('steps=30', 'steps=10')], tmp_path / 'first', tmp_path / 'second'
    longer = args[:2] + [args[2].replace('steps=10', 'steps=20')]
    for run in ([*torchrun(2, args, first)], [*torchrun(2, longer, first), '--resume'], [*torchrun(2, args, second), '--start', str(first)]):
        r = subprocess.run(run, capture_output=True, text=True, timeout=300, env=env)
        assert r.returncode == 0, r.stderr[-3000:]
    history = json.loads((first / 'config.json').read_text())['history']
    assert history == [dict(at=10, steps=10)] and json.loads((second / 'config.json').read_text())['start'] == str(first)
    r = trm('train', *longer[:2], longer[2].replace('steps=20', 'steps=30'), '--out', first, '--resume')
    assert r.returncode == 0 and '20 steps were done under steps=20' in r.stdout, r.stderr


def test_two_processes_refuse_together(tmp_path):
    "What one process cannot open, none begins with: one folder less, and nobody waits"
    r = subprocess.run(torchrun(2, ['demo', '--data', str(tmp_path / 'none.parquet'), '--sets', small], tmp_path / 'run'), capture_output=True, text=True, timeout=120, env=env)
    assert r.returncode and 'none.parquet' in r.stderr and not (tmp_path / 'run').exists()
