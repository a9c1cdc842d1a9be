"Inspection, where it needs a process of its own: a hub that answers over HTTP, and the shared data where they are"
import hashlib, json, os, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import shared

from trm.inspection import inspect
from trm.pairs import open_pairs

root = Path(__file__).resolve().parents[1]
commit = 'c0ffee'*6+'c0ff'

def write(path, *problems):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(question=list(problems), answer=[p[::-1] for p in problems])), path)

@pytest.fixture
def hub(tmp_path):
    "A server that has one dataset, `owner/name`, in `tmp_path/'hub'`; its address"
    top = tmp_path/'hub'
    write(top/'file.parquet', '1+1', '2+2')
    write(top/'data/train-0.parquet', '3+3')
    write(top/'data/train-1.parquet', '4+4')
    write(top/'data/test-0.parquet', '5+5')

    class Hub(BaseHTTPRequestHandler):
        def reply(self, status, body=b'', **headers):
            self.send_response(status)
            self.send_header('X-Repo-Commit', commit)
            self.send_header('Content-Length', str(len(body)))
            for k,v in headers.items(): self.send_header(k.replace('_', '-'), v)
            self.end_headers()
            if self.command=='GET': self.wfile.write(body)

        def do_GET(self):
            path = self.path.split('?')[0]
            if path.startswith('/api/datasets/owner/name/tree/'):
                tree = [dict(type='file', path=str(f.relative_to(top)), size=f.stat().st_size, oid='0'*40)
                        for f in top.rglob('*.parquet')]
                return self.reply(200, json.dumps(tree).encode(), Content_Type='application/json')
            if not path.startswith('/datasets/owner/name/resolve/'):
                return self.reply(404, X_Error_Code='RepoNotFound')
            f = top/path.split('/', 6)[6]
            if not f.is_file(): return self.reply(404, X_Error_Code='EntryNotFound')
            body = f.read_bytes()
            self.reply(200, body, ETag=f'"{hashlib.sha1(body).hexdigest()}"', Accept_Ranges='bytes')

        do_HEAD = do_GET
        def log_message(self, *args): pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown(); server.server_close()

def open_there(tmp_path, endpoint, *paths):
    "Open `paths` in a fresh process that takes `endpoint` for the hub: of each its problems, or the error"
    code = """
import json, sys, time
time.sleep = lambda s: None  # the hub library tries again and again, with pauses
from trm.pairs import open_pairs
from trm.config import InputError
def problems(path):
    try: return [p for b in open_pairs(path).batches() for p in b['problem'].to_pylist()]
    except InputError as e: return str(e)
print(json.dumps([problems(p) for p in sys.argv[1:]]))"""
    env = {k:v for k,v in os.environ.items() if not k.startswith('HF_') and 'proxy' not in k.lower()}
    env |= dict(HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path/'home'), HF_HUB_DISABLE_XET='1',
                HF_HUB_DISABLE_PROGRESS_BARS='1', NO_PROXY='127.0.0.1')
    r = subprocess.run([sys.executable, '-c', code, *paths], env=env, cwd=root, capture_output=True, text=True, timeout=300)
    assert (r.returncode,r.stderr)==(0,''), r.stderr  # no warnings beside the one line
    return dict(zip(paths, json.loads(r.stdout)))

nowhere = 'http://127.0.0.1:9'  # the discard port: nothing listens there

def test_hub_is_read(tmp_path, hub):
    "A file, a pinned revision, a folder and a pattern; then the file once more from the cache, without the hub"
    want = {'hf://owner/name/file.parquet':      ['1+1', '2+2'],
            'hf://owner/name@main/file.parquet': ['1+1', '2+2'],
            'hf://datasets/owner/name/data':     ['5+5', '3+3', '4+4'],
            'hf://owner/name/data/train-*':      ['3+3', '4+4']}
    assert open_there(tmp_path, hub, *want)==want
    path = 'hf://owner/name/file.parquet'
    assert open_there(tmp_path, nowhere, path)=={path: want[path]}

def one_line(tmp_path, endpoint, **says):
    "Each path under hf://owner/ gives one line that begins with what is said"
    paths = {f'hf://owner/{k}':v for k,v in says.items()}
    for path,line in open_there(tmp_path, endpoint, *paths).items():
        assert isinstance(line, str) and line.startswith(f'{path}: {paths[path]}') and '\n' not in line, line

def test_what_the_hub_lacks_is_one_line(tmp_path, hub):
    one_line(tmp_path, hub, **{'name/missing.parquet': 'no such file in this data set',
                               'name/nowhere':         'no parquet file there',
                               'other/data':           'no such data set, or it wants a login',
                               'other/file.parquet':   'no such data set, or it wants a login'})

def test_no_hub_is_one_line(tmp_path):
    one_line(tmp_path, nowhere, **{'name/file.parquet': 'hub not reached', 'name/data': 'hub not reached'})

@pytest.mark.parametrize('name,columns,rows', [
    ('gsm8k',    ('question', 'answer'),                 7473),
    ('sharegpt', ('conversations', 'conversations'), 1000)])
def test_shared_columns_are_found(name, columns, rows):
    ins = inspect(shared(f'{name}/train-00000-of-00001.parquet'))
    assert (ins.pairs.problem, ins.pairs.solution, ins.rows)==(*columns, rows)
    assert ins.kept>.9*rows
    assert len(str(ins).splitlines())>8

def test_every_pair_is_read_once(tmp_path):
    "Row groups dealt to workers cover the shards exactly"
    for i in range(3): write(tmp_path/f'{i}.parquet', *(f'{i}+{j}' for j in range(10*i+1)))
    pairs = open_pairs(tmp_path)
    dealt = [p for w in range(2) for i in range(w, len(pairs.groups), 2) for p in pairs.read_group(i)['problem'].to_pylist()]
    assert sorted(dealt)==sorted(p for b in pairs.batches(4) for p in b['problem'].to_pylist())
    assert len(dealt)==pairs.num_rows==33
