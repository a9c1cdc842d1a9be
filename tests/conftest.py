"What the process-level tests share: commands run as a user would, on small data made here."
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
import pytest

from trm.data.problems import make_problems, write_problems

root = Path(__file__).parent.parent
# copies in parquet go to a cache of this session; matplotlib keeps its own
os.environ.setdefault('MPLCONFIGDIR', matplotlib.get_cachedir())
cache = tempfile.TemporaryDirectory()
os.environ['XDG_CACHE_HOME'] = cache.name
small = ('families= n_recurrence=4 d_model=16 n_heads=2 batch_size=8 steps=30 warmup_steps=3 eval_every=10 save_every=10 log_every=5 '
         'eval_rows=20 max_seq_len=60 max_vocab=300 device=cpu')
small_board = ('puzzles=60 d_model=16 n_heads=2 n_recurrence=4 batch_size=8 steps=30 warmup_steps=3 eval_every=10 save_every=10 '
               'log_every=5 eval_rows=20 device=cpu ema_from=15')


def trm(command, *args, cwd=None, **kw):
    "Run `python -m trm.cli COMMAND ARGS` in a process of its own"
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(root)) | kw.pop('env', {})
    return subprocess.run([sys.executable, '-m', 'trm.cli', command, *map(str, args)], cwd=cwd, env=env,
                          capture_output=True, text=True, timeout=300, **kw)


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    "A small parquet file of problems"
    return write_problems(tmp_path_factory.mktemp('data') / 'problems.parquet', make_problems(400, ['compare', 'sequence']))


@pytest.fixture(scope='session')
def run_folder(data, tmp_path_factory):
    "A small trained run"
    run = tmp_path_factory.mktemp('runs') / 'run'
    r = trm('train', 'demo', '--data', data, '--out', run, '--sets', small)
    assert r.returncode == 0, r.stderr
    return run


@pytest.fixture(scope='session')
def board_run(tmp_path_factory):
    "A small Sudoku run with carried supervision"
    run = tmp_path_factory.mktemp('boards') / 'run'
    r = trm('train', 'sudoku4', '--out', run, '--sets', small_board)
    assert r.returncode == 0, r.stderr
    return run


def shared(name):
    "A file or folder of real data beside the clone, or skip"
    path = Path(os.environ.get('TRM_SHARED_DATA', root.parent/'shared'/'data'))/name
    if not path.exists(): pytest.skip(f"no {name} in TRM_SHARED_DATA or ../shared/data")
    return path


def pytest_collection_modifyitems(items):
    "The hostile cases fork this process, so they come before the tests that start threads in it"
    items.sort(key=lambda item: item.path.name != 'test_hostile.py')
