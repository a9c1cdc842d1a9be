"The data path, where it needs processes: streams that stop anywhere, a cache that is built twice at once, a builder that is killed, a hub that answers over HTTP"
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import HubReply, hub_env, root, serve

from trm.files import InputError
from trm.data.dataset import Encoder, MathDataset
from trm.engine.cache import CachedMathDataset
from trm.engine.stream import StreamingMathDataset
from trm.data.pairs import open_pairs
from trm.data.tokenizer import train_tokenizer

warnings.filterwarnings('ignore', 'This DataLoader will create')


def write(path, *problems, **kw):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(question=list(problems), answer=[(p or '')[::-1] for p in problems])), path, **kw)


def python(code, *args, env=None, **kw):
    "Start Python with `code` in a process of its own"
    env = (env or dict(os.environ)) | dict(PYTHONPATH=str(root), OMP_NUM_THREADS='1')
    return subprocess.Popen([sys.executable, '-c', code, *map(str, args)], env=env, cwd=root, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def said(p):
    "What the process `p` printed, when it ended well and without warnings"
    out, err = p.communicate(timeout=300)
    assert (p.returncode, err) == (0, ''), err
    return json.loads(out)


# A stream: 100 rows in three shards, small row groups; some rows are blank, some too long

@pytest.fixture(scope='module')
def shards(tmp_path_factory):
    "A folder of shards, a tokenizer, and the problems that are usable"
    folder = tmp_path_factory.mktemp('shards')
    rows = [None if i % 11 == 3 else ' ' if i % 13 == 5 else f'{i} '*60 if i % 17 == 2 else f'{i}+{i*i}' for i in range(100)]
    rows[60:75] = [None]*15  # more than a row group of nothing
    for k, part in enumerate((rows[:30], rows[30:41], rows[41:])): write(folder/f'train-{k}.parquet', *part, row_group_size=7)
    write(folder/'test-0.parquet', 'not for training', row_group_size=7)
    tok = train_tokenizer(folder/'train-*', 300)
    return SimpleNamespace(folder=folder, data=folder/'train-*', tok=tok, usable=[r for r in rows if r and r.strip() and len(r) < 60])


def loader(s, workers=0, **kw):
    kw = dict(data=s.data, tok=s.tok, max_seq_len=60, seed=3, workers=max(workers, 1)) | kw
    return torch.utils.data.DataLoader(StreamingMathDataset(**kw), batch_size=None, num_workers=workers)


def places(batches, first):
    "The place of each worker after `batches`"
    first = first.clone()
    for b in batches: first[b['place'][0]] = b['place']
    return first


def same(a, b):
    assert a.keys() == b.keys()
    for k in a: assert torch.equal(a[k], b[k]), k


@pytest.mark.parametrize('workers,batch_size,buffer', [(0, 4, 16), (0, 7, 7), (0, 6, 2), (0, 16, 30), (0, 40, 40), (0, 100, 200), (1, 5, 20), (2, 4, 9)])
def test_a_stream_goes_on_wherever_it_stopped(shards, workers, batch_size, buffer, monkeypatch):
    "After any number of batches, over the ends of epochs, the rest is the rest; and about a buffer of rows is read again"
    kw, left_out = dict(batch_size=batch_size, buffer=buffer), 100-len(shards.usable)
    n, then = 5*len(shards.usable)//2//batch_size + 3, 12 if workers == 0 else 4
    whole = list(islice(loader(shards, workers, **kw), n+then))
    first, read = loader(shards, workers, **kw).dataset.place, []
    plain = Encoder.__call__
    monkeypatch.setattr(Encoder, '__call__', lambda self, b: read.append(len(b)) or plain(self, b))
    for stop in range(n):
        read.clear()
        rest = iter(loader(shards, workers, **kw, start=stop, place=places(whole[:stop], first)))
        same(whole[stop], next(rest))
        if batch_size <= buffer < 40: assert sum(read) <= 2*buffer + batch_size + left_out  # one buffer, and a piece read ahead
        for a, b in zip(whole[stop+1:stop+then], rest): same(a, b)
    if workers == 0:  # the slow way gives the same
        for a, b in zip(whole[n//2:], loader(shards, workers, **kw, start=n//2)): same(a, b)


def test_two_devices_go_on(shards):
    for rank in (0, 1):
        kw = dict(batch_size=4, buffer=8, rank=rank, world=2)
        whole = list(islice(loader(shards, 2, **kw), 30))
        place = places(whole[:17], loader(shards, 2, **kw).dataset.place)
        for a, b in zip(whole[17:], loader(shards, 2, **kw, start=17, place=place)): same(a, b)
        with pytest.raises(InputError, match='place: of another stream'): loader(shards, 2, **kw | dict(rank=1-rank), start=17, place=place)


def test_the_end_comes_after_the_last_epoch(shards):
    kw = dict(batch_size=4, buffer=8, epochs=2)
    whole = list(loader(shards, **kw))
    assert sum(len(b['input_ids']) for b in whole) == 2*len(shards.usable)
    for stop in range(len(whole)+1):
        rest = list(loader(shards, **kw, start=stop, place=places(whole[:stop], loader(shards, **kw).dataset.place)))
        assert len(rest) == len(whole)-stop
        for a, b in zip(whole[stop:], rest): same(a, b)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('world', [1, 2, 3])
def test_each_row_comes_once_an_epoch(shards, world, workers):
    "A pattern, and a folder that holds the same files; one epoch, and two"
    seen = Counter()
    for rank in range(world):
        for b in loader(shards, workers, batch_size=5, buffer=20, rank=rank, world=world, epochs=2):
            seen.update(shards.tok.decode(r[:n].tolist()) for r, n in zip(b['input_ids'], b['prefix_len'].tolist()))
    assert seen == Counter({f'Input: {p} \n Output:': 2 for p in shards.usable})


def test_a_folder_is_the_sum_of_its_files(shards):
    b = next(iter(loader(shards, data=shards.folder, batch_size=1000, epochs=1)))
    assert len(b['input_ids']) == len(shards.usable)+1  # the folder holds the test file too
    pairs = open_pairs(shards.folder)
    dealt = [p for w in range(2) for i in range(w, len(pairs.groups), 2) for p in pairs.read_group(i)['problem'].to_pylist()]
    assert Counter(dealt) == Counter(p for b in pairs.batches(4) for p in b['problem'].to_pylist())
    assert len(dealt) == pairs.num_rows == 101


def test_many_shards_few_open_files(tmp_path):
    for i in range(300): write(tmp_path/f'{i:03}.parquet', f'{i}+1')
    code = """
import resource, sys, json
from trm.data.pairs import open_pairs
resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
pairs = open_pairs(sys.argv[1])
print(json.dumps([p for b in pairs.batches() for p in b['problem'].to_pylist()]))"""
    assert said(python(code, tmp_path)) == [f'{i}+1' for i in range(300)]


def test_a_row_far_too_long_costs_little(tmp_path):
    "Ten megabytes in one row: little is learned from them, and they are left out without being tokenized"
    write(tmp_path/'a.parquet', *(f'{i}+{i}' for i in range(50)))
    write(tmp_path/'b.parquet', 'x'*10**7)
    code = """
import json, resource, sys
from trm.data.dataset import MathDataset
from trm.engine.stream import StreamingMathDataset
from trm.data.tokenizer import train_tokenizer
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024
tok = train_tokenizer(sys.argv[1]+'/a.parquet', 300)
MathDataset(sys.argv[1]+'/a.parquet', tok); before = peak()
tok = train_tokenizer(sys.argv[1], 300)
ds = MathDataset(sys.argv[1], tok)
n = sum(len(b['input_ids']) for b in StreamingMathDataset(sys.argv[1], tok, epochs=1))
print(json.dumps([len(ds), n, ds.skipped['long'], peak()-before]))"""
    *counts, more = said(python(code, tmp_path))
    assert counts == [50, 50, 1]
    assert more < 300


# The cache

build = """
import json, sys, time
from pathlib import Path
from trm.data.dataset import Encoder
from trm.data.tokenizer import load_tokenizer
from trm.engine.cache import CachedMathDataset
data, tok, cache, log, pause, *split = sys.argv[1:]
plain = Encoder.__call__
def slow(self, batch):
    with open(log, 'a') as f: print('batch', file=f, flush=True)
    time.sleep(float(pause))
    return plain(self, batch)
Encoder.__call__ = slow
ds = CachedMathDataset(cache, data, load_tokenizer(tok), 60, *split)
print(json.dumps([len(ds), int(ds.tokens.astype(int).sum()), ds.skipped]))"""


@pytest.fixture
def made(shards, tmp_path):
    "What a builder wants: data, tokenizer, cache, log; and what it should find"
    shards.tok.save(str(tmp_path/'tokenizer.json'))
    ds = MathDataset(shards.data, shards.tok, 60)
    return SimpleNamespace(args=[shards.data, tmp_path/'tokenizer.json', tmp_path/'cache', tmp_path/'log'], cache=tmp_path/'cache',
                           log=tmp_path/'log', want=[len(ds), int(ds.tokens.astype(int).sum()), ds.skipped])


def test_two_build_at_once(made):
    "One builds, the other waits; both have the rows, and nothing is left over"
    for _ in range(2):
        both = [python(build, *made.args, .3) for _ in range(2)]
        assert [said(p) for p in both] == [made.want]*2
        assert made.log.read_text().split() == ['batch']*3  # three shards, read once
        assert len(list(made.cache.iterdir())) == 1


def killed(made, *split):
    "Kill a builder in the middle"
    made.log.unlink(missing_ok=True)
    p = python(build, *made.args, 60 if split else .4, *split)
    while not made.log.exists() or made.log.read_text().count('batch') < (1 if split else 2): time.sleep(.01)
    p.send_signal(signal.SIGKILL)
    p.communicate()


def test_a_killed_builder_leaves_no_harm(made):
    killed(made)
    assert [f.suffix for f in made.cache.iterdir()] == ['.building']
    assert said(python(build, *made.args, 0)) == made.want
    assert [f.suffix for f in made.cache.iterdir()] == ['']
    killed(made, 'train')                                            # of another key,
    assert sorted(f.suffix for f in made.cache.iterdir()) == ['', '.building']
    said(python(build, *made.args, 0, 'test' if made.want[0] > 90 else 'train'))  # and removed with the next build
    assert [f.suffix for f in made.cache.iterdir()] == ['', '']


def test_a_damaged_cache_is_built_again(shards, tmp_path, monkeypatch):
    "A file that is gone, cut or longer than it should be"
    built = []
    def build(): return CachedMathDataset(tmp_path, shards.data, shards.tok, 60)
    plain = MathDataset.build
    monkeypatch.setattr(MathDataset, 'build', lambda *a: built.append(1) or plain(*a))
    want = build().tokens.tolist()
    files = sorted(f.name for f in next(tmp_path.iterdir()).iterdir())
    assert files == ['about.json', 'ends.bin', 'family.bin', 'lens.bin', 'prefix.bin', 'tokens.bin']
    for k, (name, harm) in enumerate((n, h) for n in files for h in (Path.unlink, lambda f: os.truncate(f, 5), lambda f: f.write_bytes(f.read_bytes()+b'{'))):
        harm(next(tmp_path.iterdir())/name)
        assert build().tokens.tolist() == build().tokens.tolist() == want
        assert (len(built), len(list(tmp_path.iterdir()))) == (k+2, 1)


def test_no_cache_without_room(shards, tmp_path, monkeypatch):
    "A full disk is one line, and leaves nothing"
    def full(fd): raise OSError(28, 'No space left on device')
    monkeypatch.setattr('trm.engine.cache.sync', full)
    with pytest.raises(InputError, match='No space left on device; should be a folder with room'):
        CachedMathDataset(tmp_path/'cache', shards.data, shards.tok, 60)
    assert list((tmp_path/'cache').iterdir()) == []


# The hub

commit = HubReply.commit
nowhere = 'http://127.0.0.1:9'  # the discard port: nothing listens there


@pytest.fixture
def hub(tmp_path):
    "A server that has a network, `owner/net`, and one dataset, `owner/name`, in `tmp_path/'hub'`: its `url`, and in `log` which bytes of which file were asked for"
    top, log = tmp_path/'hub', []
    write(top/'file.parquet', '1+1', '2+2')
    write(top/'data/train-0.parquet', '3+3')
    write(top/'data/train-1.parquet', '4+4')
    write(top/'data/test-0.parquet', '5+5')

    class Hub(HubReply):
        def tree(self, folder, deep):
            files = [f for f in sorted(top.rglob('*') if deep else (top/folder).glob('*'))]
            return [dict(type='file', path=str(f.relative_to(top)), size=f.stat().st_size, oid='0'*40) if f.is_file()
                    else dict(type='directory', path=str(f.relative_to(top)), oid='0'*40) for f in files]

        def do_GET(self):
            path, _, query = unquote(self.path).partition('?')
            api, repo = '/api/datasets/owner/name', '/datasets/owner/name/resolve/'
            if path.startswith(api+'/tree/'):
                folder = path[len(api+'/tree/'):].partition('/')[2]
                return self.reply(200, self.tree(folder, 'recursive=true' in query.lower()))
            if path in (api, api+'/revision/main', api+f'/revision/{commit}'):
                return self.reply(200, dict(id='owner/name', sha=commit))
            network = '/owner/net/resolve/'
            if path.startswith(network): f = root/'trm/weights/sudoku6'/path[len(network):].partition('/')[2]
            elif path.startswith(repo): f = top/path[len(repo):].partition('/')[2]
            else: return self.reply(404, X_Error_Code='RepoNotFound')
            if not f.is_file(): return self.reply(404, X_Error_Code='EntryNotFound')
            body, etag = f.read_bytes(), dict(ETag=f'"{hashlib.sha1(f.read_bytes()).hexdigest()}"', Accept_Ranges='bytes')
            if not (part := self.headers.get('Range')):
                if self.command == 'GET': log.append((f.name, 0, len(body)))
                return self.reply(200, body, **etag)
            a, b = map(int, part.removeprefix('bytes=').split('-'))
            log.append((f.name, a, b+1))
            self.reply(206, body[a:b+1], Content_Range=f'bytes {a}-{b}/{len(body)}', **etag)

        do_HEAD = do_GET

    with serve(Hub) as url: yield SimpleNamespace(url=url, top=top, log=log)


def there(tmp_path, endpoint, code, *args):
    "Run `code` in a fresh process that takes `endpoint` for the hub"
    env = {k: v for k, v in os.environ.items() if not k.startswith('HF_') and 'proxy' not in k.lower()}
    env |= hub_env(tmp_path/'home', endpoint)
    return said(python("import json, sys, time\ntime.sleep = lambda s: None  # the hub library tries again and again, with pauses\n"
                       + code, *args, env=env))


def open_there(tmp_path, endpoint, *paths, setup=''):
    "Open `paths` with `endpoint` for the hub: of each its problems, or the error"
    return dict(zip(paths, there(tmp_path, endpoint, setup + """
from trm.data.pairs import open_pairs
from trm.files import InputError
def problems(path):
    try: return [p for b in open_pairs(path).batches() for p in b['problem'].to_pylist()]
    except InputError as e: return str(e)
print(json.dumps([problems(p) for p in sys.argv[1:]]))""", *paths)))


want = {'hf://owner/name/file.parquet':      ['1+1', '2+2'],
        'hf://owner/name@main/file.parquet': ['1+1', '2+2'],
        'hf://datasets/owner/name/data':     ['5+5', '3+3', '4+4'],
        'hf://owner/name/data/train-*':      ['3+3', '4+4']}
over_the_network = 'import trm.files; trm.files.whole_below = 0\n'


def test_hub_is_read(tmp_path, hub):
    "A file, a pinned revision, a folder and a pattern; then the file once more from the cache, without the hub"
    assert open_there(tmp_path, hub.url, *want) == want
    path = 'hf://owner/name/file.parquet'
    assert open_there(tmp_path, nowhere, path) == {path: want[path]}


def test_hub_is_read_over_the_network(tmp_path, hub):
    "The same, when it is too large to be downloaded: nothing is kept"
    assert open_there(tmp_path, hub.url, *want, setup=over_the_network) == want
    assert not list(tmp_path.rglob('home/**/*.parquet'))


def test_only_what_is_asked_for_is_fetched(tmp_path, hub):
    "Opening fetches footers; a row group fetches its bytes and no others"
    path = hub.top/'big/a.parquet'
    texts = [hashlib.sha512(str(i).encode()).hexdigest()*8 for i in range(2000)]
    write(path, *texts, row_group_size=100, use_dictionary=False, compression='none')
    size, group = path.stat().st_size, pq.read_metadata(path).row_group(7)
    setup = over_the_network + "from trm.data.pairs import open_pairs\np = open_pairs('hf://owner/name/big')\n"
    there(tmp_path, hub.url, setup + "print(json.dumps(p.num_rows))")
    assert size > 3*10**6 and sum(b-a for _, a, b in hub.log) < 2**18
    hub.log.clear()
    assert there(tmp_path, hub.url, setup + "print(json.dumps(p.read_group(7)['problem'].to_pylist()))") == texts[700:800]
    assert sum(b-a for _, a, b in hub.log) < 2**19 + group.total_byte_size


def test_a_stream_from_the_hub(tmp_path, hub, shards):
    "Two workers over the network give what two workers over the folder give; and a server that goes away is one line"
    for f in shards.folder.glob('train-*'): (hub.top/'more').mkdir(exist_ok=True); (hub.top/'more'/f.name).write_bytes(f.read_bytes())
    shards.tok.save(str(tmp_path/'tokenizer.json'))
    code = over_the_network + """
import torch, warnings
from trm.engine.stream import StreamingMathDataset
from trm.data.tokenizer import load_tokenizer
warnings.filterwarnings('ignore', 'This DataLoader will create')
ds = StreamingMathDataset('hf://owner/name/more', load_tokenizer(sys.argv[1]), 60, batch_size=4, seed=3, workers=2, epochs=1)
print(json.dumps([b['input_ids'].tolist() for b in torch.utils.data.DataLoader(ds, batch_size=None, num_workers=2)]))"""
    local = [b['input_ids'].tolist() for b in loader(shards, 2, batch_size=4, epochs=1)]
    assert there(tmp_path, hub.url, code, tmp_path/'tokenizer.json') == local
    says = there(tmp_path, hub.url, over_the_network + """
import os, trm.data.pairs
from trm.files import InputError
p = trm.data.pairs.open_pairs('hf://owner/name/more')
import huggingface_hub.hf_file_system as h
def gone(*a, **kw): raise ConnectionError('connection refused')
h.http_backoff = gone
try: p.read_group(0)
except InputError as e: print(json.dumps(str(e)))""")
    assert says.startswith(f'hf://datasets/owner/name@{commit}/more/train-0.parquet: hub not reached') and '\n' not in says


def one_line(tmp_path, endpoint, setup='', **says):
    "Each path under hf://owner/ gives one line that begins with what is said"
    paths = {f'hf://owner/{k}': v for k, v in says.items()}
    for path, line in open_there(tmp_path, endpoint, *paths, setup=setup).items():
        assert isinstance(line, str) and line.startswith(f'{path}: {paths[path]}') and '\n' not in line, line


@pytest.mark.parametrize('setup', ['', over_the_network], ids=['downloaded', 'over the network'])
def test_other_formats_on_the_hub(tmp_path, hub, setup):
    "JSONL and packed CSV by file, folder and pattern, partitions, and one configuration at a time"
    row = '{"question": "6+6", "answer": "12"}\n'
    (hub.top/'lines').mkdir()
    (hub.top/'lines/train.jsonl').write_text(row)
    (hub.top/'lines/README.md').write_text('x')
    with pa.output_stream(hub.top/'c.csv.gz', compression='gzip') as f: f.write(b'question,answer\n7+7,14\n')
    for c in ('main', 'socratic'):
        (hub.top/'sets'/c).mkdir(parents=True)
        for n in ('train', 'test'): (hub.top/f'sets/{c}/{n}.jsonl').write_text(row)
    paths = {'hf://owner/name/lines': ['6+6'], 'hf://owner/name/lines/train.jsonl': ['6+6'], 'hf://owner/name/li*/*.jsonl': ['6+6'],
             'hf://owner/name/c.csv.gz': ['7+7'], 'hf://owner/name/sets/main': ['6+6']*2}
    assert open_there(tmp_path, hub.url, *paths, setup=setup) == paths
    one_line(tmp_path, hub.url, setup, **{'name/sets': 'has the configurations main, socratic; should be one of them, such as'})


@pytest.mark.parametrize('setup', ['', over_the_network], ids=['downloaded', 'over the network'])
def test_what_the_hub_lacks_is_one_line(tmp_path, hub, setup):
    one_line(tmp_path, hub.url, setup, **{'name/missing.parquet': 'no such file in this data set',
                                          'name/nowhere':         'no data file there',
                                          'other/data':           'no such data set, or it wants a login',
                                          'other/file.parquet':   'no such data set, or it wants a login'})


@pytest.mark.parametrize('setup', ['', over_the_network], ids=['downloaded', 'over the network'])
def test_no_hub_is_one_line(tmp_path, setup):
    one_line(tmp_path, nowhere, setup, **{'name/file.parquet': 'hub not reached', 'name/data': 'hub not reached'})


def test_a_network_from_the_hub(tmp_path, hub):
    "Opened by its address, then once more without the hub; what is not there is one line, and a bare name is never asked for"
    code = """
from trm import open_run, solve
from trm.files import InputError
def answer(run):
    try: return solve(*open_run(run, device='cpu'), ['.6..2.......65.1...1...6....13..4...']).answer[0]
    except InputError as e: return str(e)
print(json.dumps([answer(r) for r in sys.argv[1:]]))"""
    runs = ['hf://owner/net', 'hf://owner/net@main', 'hf://owner/other', 'owner/net']
    good, pinned, other, bare = there(tmp_path, hub.url, code, *runs)
    assert good == pinned == '361524245631653142412356526413134265'
    assert other.startswith('hf://owner/other: config.json: no such network') and '\n' not in other
    assert bare.startswith('owner/net: no such run; should be a run folder')
    assert there(tmp_path, nowhere, code, runs[0]) == [good]
    lost, = there(tmp_path/'new', nowhere, code, runs[0])
    assert lost.startswith('hf://owner/net: config.json: hub not reached') and '\n' not in lost
