"Runs that are killed, and runs on several devices, end where an undisturbed one does."
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from conftest import root, small, small_board, trm
from trm.metrics import read_metrics


def free_port():
    with socket.socket() as s:
        s.bind(('', 0))
        return s.getsockname()[1]


def numbers(run):
    "Metrics without the clock"
    return [{k: v for k, v in r.items() if k not in ('seconds', 'tokens_per_s')} for r in read_metrics(run / 'metrics.csv')]


@pytest.fixture(params=['text', 'boards'])
def case(request, data):
    "Preset, settings, and the run folder that an undisturbed training leaves"
    if request.param == 'text': return ['demo', '--data', str(data), '--sets', small], request.getfixturevalue('run_folder')
    return ['sudoku4', '--sets', small_board], request.getfixturevalue('board_run')


def test_killed_and_resumed(case, tmp_path):
    settings, run_folder = case
    run = tmp_path / 'run'
    args = 'train', *settings, '--out', str(run)
    p = subprocess.Popen([sys.executable, '-m', 'trm.cli', *args], env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(root)),
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (run / 'checkpoints/step_10').exists() and p.poll() is None: time.sleep(.01)
    p.send_signal(signal.SIGKILL)
    assert p.wait() == -signal.SIGKILL, 'it ended before it could be killed'
    r = trm(*args, '--resume')
    assert r.returncode == 0, r.stderr
    assert numbers(run) == numbers(run_folder)
    a, b = (load_file(f / 'checkpoints/step_30/state.safetensors') for f in (run, run_folder))
    assert all((a[k] == b[k]).all() for k in b)


def test_two_processes_are_one(case, tmp_path):
    "Half the batch on each of two processes gives the weights of the whole batch on one"
    settings, run_folder = case
    run = tmp_path / 'run'
    r = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', '--master-port', str(free_port()), '-m', 'trm.cli', 'train',
                        *settings, '--out', str(run)], capture_output=True, text=True, timeout=300,
                       env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(root)))
    assert r.returncode == 0, r.stderr[-3000:]
    a, b = (load_file(f / 'checkpoints/step_30/state.safetensors') for f in (run, run_folder))
    for k in b:  # states have been through many applications of the network since the batch was split, and each rounds
        assert (a[k].float() - b[k].float()).abs().max() < (1e-3 if 'carry' in k else 1e-4), k
    for x, y in zip(numbers(run), numbers(run_folder), strict=True):
        assert x.keys() == y.keys() and all(abs(x[k] - y[k]) < 1e-3 * max(1, abs(y[k])) for k in x)
