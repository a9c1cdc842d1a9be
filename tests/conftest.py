"What the process-level tests share: commands run as a user would, on small data made here, and a stand-in for the hub."
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


def refused(r, *words):
    "Exit status 2, one line, all of `words` in it"
    assert r.returncode == 2, (r.returncode, r.stderr[-2000:])
    line = r.stderr.rstrip('\n')
    assert '\n' not in line and 'Traceback' not in line, r.stderr[-2000:]
    for w in words: assert w in line, line
    return line


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


class HubReply(BaseHTTPRequestHandler):
    "How the hub replies: bytes of a file, or what is sent as json; what it is asked for stands in subclasses"
    commit = 'c0ffee'*6+'c0ff'

    def reply(self, status, body=b'', **headers):
        if not isinstance(body, bytes): body, headers = json.dumps(body).encode(), headers | dict(Content_Type='application/json')
        self.send_response(status)
        for k, v in dict(X_Repo_Commit=self.commit, Content_Length=str(len(body)), **headers).items():
            self.send_header(k.replace('_', '-'), v)
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(body)

    def log_message(self, *args): pass


@contextmanager
def serve(handler):
    "The address of a server of its own, while it is needed"
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def hub_env(home, endpoint):
    "What makes the hub's library take `endpoint` for the hub, with a cache of its own"
    return dict(HF_ENDPOINT=endpoint, HF_HOME=str(home), HF_HUB_OFFLINE='0', HF_HUB_DISABLE_XET='1', HF_HUB_DISABLE_PROGRESS_BARS='1', NO_PROXY='127.0.0.1')


def shared(name):
    "A file or folder of real data beside the clone, or skip"
    path = Path(os.environ.get('TRM_SHARED_DATA', root.parent/'shared'/'data'))/name
    if not path.exists(): pytest.skip(f"no {name} in TRM_SHARED_DATA or ../shared/data")
    return path


def pytest_collection_modifyitems(items):
    "The hostile cases fork this process, so they come before the tests that start threads in it"
    items.sort(key=lambda item: item.path.name != 'test_hostile.py')
