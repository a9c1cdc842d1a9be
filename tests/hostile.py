"""Input that is wrong on purpose, through every command: `python tests/hostile.py` writes results/hostile.json, a row a case.

A case is a command, what it makes in its own empty folder, and words that the answer must contain. Each runs in a child forked from
a process that has imported everything: some tenths of a second, with its own memory, its own clock, and nothing it can spoil."""
import gzip
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from conftest import root, small, small_board

os.environ |= dict(HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false')
import torch._dynamo, trm.cli, trm.runs  # noqa: E401, E402, F401
from trm.engine.checkpoint import provenance  # noqa: E402
from trm.data.problems import make_problems, write_problems  # noqa: E402

seconds, megabytes = 120, 1000  # no case may hang, nor ask for more
ask = 'Which is larger, 1 or 2?'
four = '12..34....1....2'


@dataclass
class Case:
    "One bad input"
    name:str
    argv:list                   # of `trm.cli.main`; {d} is the case's folder, {f} the folder of what all share
    make:object = None          # function of the case's folder and the shared one
    says:list = field(default_factory=list)  # words of the line on stderr
    status:int = 2
    new:tuple = ()              # patterns of files that may appear


cases = {}


def case(name, *argv, says='', make=None, **kw):
    assert name not in cases, name
    cases[name] = Case(name, [*argv], make, [s for s in says.split('|') if s], **kw)


def forked(f, folder, limit=seconds):
    "Run `f` in a child: exit status, stdout, stderr, peak MB, seconds; a child that needs too much is killed"
    last, took = time.perf_counter(), 0.
    sys.stdout.flush(); sys.stderr.flush()
    with open(f'{folder}.out', 'w+b') as out, open(f'{folder}.err', 'w+b') as err:
        if not (pid := os.fork()):
            status = 70
            try:
                os.setsid(); os.dup2(out.fileno(), 1); os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = (open(n, 'w', encoding='utf-8', errors=e, closefd=False) for n, e in ((1, 'strict'), (2, 'backslashreplace')))
                f(); status = 0
            except SystemExit as e: status = e.code if isinstance(e.code, int) else int(e.code is not None)
            except BaseException: traceback.print_exc()
            sys.stdout.flush(); sys.stderr.flush()
            os._exit(status)
        while not (done := os.wait4(pid, os.WNOHANG))[0]:
            time.sleep(.005)
            now = time.perf_counter()
            last, took = now, took+min(now-last, .5)  # a machine that was put to sleep did not work
            if took>limit: os.kill(pid, signal.SIGALRM)
            try: pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
            except (OSError, IndexError, ValueError): continue
            if pages*resource.getpagesize()>5*2**30: os.kill(pid, signal.SIGKILL)
        text = [(o.seek(0), o.read(2**20).decode(errors='replace'))[1] for o in (out, err)]
    return os.waitstatus_to_exitcode(done[1]), *text, round(done[2].ru_maxrss/1024), round(took, 2)


def listing(folder):
    "What is in a folder: sizes by name, without following links"
    found = {}
    for where, dirs, files in os.walk(folder):
        for n in dirs+files:
            p = Path(where)/n
            found[str(p.relative_to(folder))] = os.readlink(p) if p.is_symlink() else p.lstat().st_size if p.is_file() else 'folder'
    return found


def run_case(c, shared, work):
    "A row of the table"
    d = Path(work)/f'case{list(cases).index(c.name)}'; d.mkdir()
    if c.make:
        status, _, err, *_ = forked(lambda: c.make(d, shared), d)
        assert not status, f'{c.name}: its files could not be made\n{err}'
    before = listing(d)
    def go():
        os.chdir(d)
        trm.cli.main([a.replace('{d}', str(d)).replace('{f}', str(shared)) for a in c.argv])
    status, out, err, mb, s = forked(go, d)
    after = listing(d)
    changed = sorted(n for n in set(before)|set(after) if before.get(n)!=after.get(n) and not any(re.fullmatch(p, n) for p in c.new))
    line = err.rstrip('\n').replace(str(d), 'CASE').replace(str(shared), 'SHARED')
    shutil.rmtree(d); Path(f'{d}.out').unlink(); Path(f'{d}.err').unlink()
    return dict(name=c.name, command=c.argv[0] if c.argv else '', status=status, line=line, out=out, changed=changed, peak_mb=mb, seconds=s)


def wrong(c, row):
    "What is not as it should be, as a list of texts"
    bad = []
    if row['status']!=c.status: bad.append(f"status {row['status']}")
    if c.status==2 and (len(row['line'].splitlines())!=1 or not row['line'].isprintable()): bad.append('not one line')
    if 'Traceback' in row['line']: bad.append('a traceback')
    bad += [f'does not say {w!r}' for w in c.says if w not in (row['line'] if c.status==2 else row['out']+row['line'])]
    if row['peak_mb']>=megabytes: bad.append(f"{row['peak_mb']} MB")
    if row['changed']: bad.append(f"left {row['changed'][:4]}")
    return bad


def make_shared(d):
    "What the cases take apart: a data set, and a run of each kind"
    data = write_problems(d/'data.parquet', make_problems(400, ['compare','sequence']))
    for c, out, sets in (('demo','text',f'{small} steps=4 eval_every=4 save_every=2'), ('sudoku4','board',f'{small_board} steps=4 eval_every=4 save_every=2'),
                         ('maze_hard','maze','side=6 puzzles=40 d_model=16 n_heads=2 n_recurrence=2 n_cycles=1 n_latent=1 batch_size=8 steps=2 eval_every=2 '
                          'save_every=2 log_every=1 eval_rows=10 device=cpu precision=float32')):
        trm.cli.trm_train([c, '--out', str(d/out), '--sets', sets, *(['--data', str(data)]*(out=='text'))])
    trm.cli.trm_tokenizer([str(data), '--out', str(d/'tokenizer.json'), '--vocab_size', '300'])


# making bad files

def table(p, cols, **kw): pq.write_table(pa.table(cols), p, **kw)
def write(p, what): p.write_bytes(what if isinstance(what, bytes) else what.encode())


def copy(kind, d, f):
    "A copy of a run, without its checkpoints"
    return Path(shutil.copytree(f/kind, d/'run', ignore=shutil.ignore_patterns('checkpoints','events*')))


def edit_json(p, f):
    d = json.loads(p.read_text()); new = f(d)
    p.write_text(json.dumps(d if new is None else new))


def file(d, f, name, what): write(d/name, what)
def pairs(d, f, name, cols, **kw): table(d/name, cols, **kw)
def settings(d, f, kind, part, **kw): edit_json(copy(kind, d, f)/'config.json', lambda c: c[part].update(kw))
def put(d, f, kind, name, what): write(copy(kind, d, f)/name, what)
def network(d, f, kind, name, **kw): edit_json(copy(kind, d, f)/'config.json', lambda c: (c.update(network=name), c['model'].update(kw))[0])
def tok(d, f, change): edit_json(copy('text', d, f)/'tokenizer.json', change)


def tensors(d, f, change, kind='text'):
    p = copy(kind, d, f)/'model.safetensors'
    sd = load_file(p); change(sd); save_file(sd, p)


def link(d, f, name, target, kind='text'):
    "A run in which something is a link to a place outside it"
    run = copy(kind, d, f); (d/'outside').mkdir(); write(d/'outside/precious.png', 'precious')
    shutil.rmtree(run/name, ignore_errors=True)
    if '/' in name: (run/name).parent.mkdir(exist_ok=True)
    (run/name).unlink(missing_ok=True); (run/name).symlink_to(d/target)


def fifo(d, f, name): os.mkfifo(d/name)


# settings and arguments

train = 'train', 'demo', '--data', '{f}/data.parquet', '--out', '{d}/new', '--sets'
for s, says in {
        'steps=1e3': 'steps', 'learning_rate=nan': 'learning_rate', 'learning_rate=1e400': 'learning_rate', 'weight_decay=-inf': 'weight_decay',
        'clip=inf': 'clip', 'd_model=16384 n_layers=64': 'weights', 'states=2 n_recurrence=4096 n_cycles=64 n_latent=64': 'n_recurrence',
        'batch_size=1000000000': 'batch_size', 'steps=²': 'steps', 'd_model='+'9'*5000: 'd_model', 'x'*10_000+'=1': 'wandb',
        'vocab_size=1000000000000': 'vocab_size', 'max_vocab=1000000000': 'max_vocab', 'max_seq_len=1000000': 'seq_len',
        'network=PrefixTRM puzzle_kinds=100000000 mask=full': 'puzzle_kinds', 'puzzle_kinds=3': 'no such setting', 'network=PrefixTRM': 'mask should be full',
        'network=SymbolTRM symbols=3': 'mixer', 'network=trm': 'should be one of TRM', 'network=os.system': 'should be one of TRM', 'n_latent=2': 'states=2', 'deep_supervision_weight=nan,1,1': 'deep_supervision_weight',
        'deep_supervision_weight=1e400,1,1': 'deep_supervision_weight', 'eval_rows=0': 'eval_rows', 'seed=-1': 'seed', 'workers=1000': 'workers',
        'families=\x1b[31mred\n': 'red', '==': 'no such setting'}.items():
    case(f'sets {s[:40]!r}'.replace('/', ' '), *train, f'{small} {s}', says=says)
case('sets side=25 of puzzles made here', 'train', 'sudoku4', '--out', '{d}/new', '--sets', 'network=TRM side=25 puzzles=10', says='side=25')
case('sets side=64 of mazes made here', 'train', 'maze_hard', '--out', '{d}/new', '--sets', 'side=64 puzzles=3', says='64')
case('train out is a file', *train[:4], '--out', '{f}/data.parquet', '--sets', small, says='data.parquet')
case('train out is /proc', *train[:4], '--out', '/proc', '--sets', small, says='should be a new or empty folder')
case('train out is a folder of other things', *train[:4], '--out', '{d}', '--sets', small, says='should be a new or empty folder',
     make=partial(file, name='thesis.tex', what='x'))
case('train out with a long name', *train[:4], '--out', '{d}/'+'n'*5000, '--sets', small, says='too long')
case('train out with a zero byte', *train[:4], '--out', '{d}/a\0b', '--sets', small, says='zero')
case('train data with a zero byte', 'train', 'demo', '--data', 'a\0b', '--out', '{d}/new', says='zero')
case('train data with a long name', 'train', 'demo', '--data', 'n'*5000, '--out', '{d}/new', says='too long')
case('train preset ../demo', 'train', '../demo', '--out', '{d}/new', says='no such preset')
case('train data on a hub out of reach', 'train', 'demo', '--data', 'hf://owner/../../name/x.parquet', '--out', '{d}/new', says='hf://')
case('no command', says='should be one of')
case('a command of control characters', '\x1b]0;pwned\x07\n\n', says='should be one of')
case('tokenizer vocab 0', 'tokenizer', '{f}/data.parquet', '--vocab_size', '0', '--out', '{d}/t.json', says='vocab_size=0')
case('tokenizer vocab 10**12', 'tokenizer', '{f}/data.parquet', '--vocab_size', str(10**12), '--out', '{d}/t.json', says='vocab_size')
case('tokenizer model ../bpe', 'tokenizer', '{f}/data.parquet', '--model', '../bpe', '--out', '{d}/t.json', says='bpe, unigram or wordlevel')
case('tokenizer out empty', 'tokenizer', '{f}/data.parquet', '--out', '', says='out')
case('tokenizer out is the root', 'tokenizer', '{f}/data.parquet', '--out', '/', says='should be a file')
case('tokenizer out is a folder', 'tokenizer', '{f}/data.parquet', '--out', '{d}', says='should be a file')
case('inspect limit 0', 'inspect', '{f}/data.parquet', '--limit', '0', says='limit=0')
case('inspect limit -1', 'inspect', '{f}/data.parquet', '--limit=-1', says='limit=-1')
case('inspect limit ²', 'inspect', '{f}/data.parquet', '--limit', '²', says='limit')
case('inspect max_seq_len -5', 'inspect', '{f}/data.parquet', '--max_seq_len=-5', says='max_seq_len=-5')
case('inspect an unknown column', 'inspect', '{f}/data.parquet', '--problem', '\x1b[2Jx\n', says='no column')
case('inspect with no tokenizer', 'inspect', '{f}/data.parquet', '--tokenizer', '{f}/data.parquet', says='not readable as json')
case('inspect nothing', 'inspect', '', says='no data file')
case('inspect a device', 'inspect', '/dev/zero', says='no data file')
case('inspect a fifo', 'inspect', '{d}/p.parquet', make=partial(fifo, name='p.parquet'), says='no data file')
case('inspect a folder with nothing in it', 'inspect', '{d}', says='no data file')
case('inspect a pattern that matches nothing', 'inspect', '{d}/*.parquet', says='no data file')
for k, v, says in (('steps', 10**9, 'steps=1000000000'), ('steps', 0, 'steps=0'), ('limit', 0, 'limit=0'), ('limit', -1, 'limit=-1'), ('steps', '1'*5000, 'steps'),
                   ('split', '../..', 'split=../..'), ('split', 'minimal', 'split=minimal'), ('select', '\x1b[31m', 'select='), ('restarts', 10**6, 'restarts'),
                   ('json', '{d}/none/x.json', 'none'), ('json', '{d}', 'should be a file'), ('json', '/', 'should be a file'), ('data', '{d}/none', 'no data file')):
    case(f'eval text {k}={str(v)[:12]}'.replace('/', '|'), 'eval', '{f}/text', f'--{k}', str(v) if not str(v).startswith('-') else str(v), says=says)
case('eval board restarts 10**6', 'eval', '{f}/board', '--restarts', str(10**6), says='restarts=1000000')
case('eval board steps 10**9', 'eval', '{f}/board', '--steps', str(10**9), says='steps=1000000000')
case('solve board steps 10**9', 'solve', '{f}/board', '--board', four, '--steps', str(10**9), says='steps=1000000000')
case('solve board restarts 10**6', 'solve', '{f}/board', '--board', four, '--restarts', str(10**6), says='restarts=1000000')
case('eval board data is text', 'eval', '{f}/board', '--data', '{f}/data.parquet', says='cells; should be 16')
case('eval maze split minimal', 'eval', '{f}/maze', '--split', 'minimal', says='split=minimal')
for i, name in enumerate(('../..', 'a/../../b', 'owner/../name', '..', 'owner/na--me', 'a/..', '~root/x', '', '/', 'n'*5000, 'own\ner/x', 'o/\x1b[31m', 'a\0/b',
                          'hf://owner/name', 'https://example.com/run', '-', '/dev/zero', '{f}/data.parquet', 'owner/name')):
    case(f'run name {i} {name[:16]!r}'.replace('/', '|'), *(('eval', name) if i%2 else ('solve', name, ask)), says='')

# tables of pairs

n, long = 40, '7'*10**7
good = dict(problem=[f'{i}+{i}' for i in range(n)], solution=[str(2*i) for i in range(n)])
chat = pa.list_(pa.struct([('role', pa.string()), ('content', pa.string())]))


def columns(d, f, names):
    table(d/'p.parquet', good)
    t = pa.Table.from_arrays([pa.array(['a']*n)]*len(names), names=names); pq.write_table(t, d/'p.parquet')


def bytes_of(d, f, name, change): write(d/name, change((f/'data.parquet').read_bytes()))


def invalid_utf8(d, f):
    bad = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(np.array([0,2,4], np.int32).tobytes()), pa.py_buffer(b'\xff\xfeab')])
    table(d/'p.parquet', dict(problem=bad, solution=['a','b']))


def bomb(d, f, rows=10_000, size=10**7, name='p.parquet', cols=('problem','solution'), **kw):
    "A small file that holds 100 GB of text"
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(['7'*size]))
    table(d/name, {c: values for c in cols}, compression='zstd', dictionary_pagesize_limit=2**30, **kw)
    assert (d/name).stat().st_size<10**6


def chat_bomb(d, f):
    content = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), pa.array(['7'*10**7]))
    role = pa.array(['user','assistant']*10_000)
    t = pa.ListArray.from_arrays(pa.array(np.arange(0, 20_001, 2, dtype=np.int32)), pa.StructArray.from_arrays([role, content], ['role','content']))
    table(d/'p.parquet', dict(messages=t), compression='zstd', dictionary_pagesize_limit=2**30)


def mixed(d, f):
    table(d/'a.parquet', good); table(d/'b.parquet', dict(alpha=['x'], beta=['y']))


bad_pairs = {
    'truncated': (partial(bytes_of, name='p.parquet', change=lambda b: b[:len(b)//2]), 'truncated'),
    'of wrong magic': (partial(bytes_of, name='p.parquet', change=lambda b: b'PAR2'+b[4:]), 'PAR1'),
    'encrypted': (partial(bytes_of, name='p.parquet', change=lambda b: b'PARE'+b[4:-4]+b'PARE'), 'PAR1'),
    'with an encrypted footer': (partial(bytes_of, name='p.parquet', change=lambda b: b[:-4]+b'PARE'), 'p.parquet'),
    'with a footer of 2 GB': (partial(bytes_of, name='p.parquet', change=lambda b: b[:-8]+b'\xff\xff\xff\x7fPAR1'), 'p.parquet'),
    'of four bytes': (partial(file, name='p.parquet', what='PAR1'), 'p.parquet'),
    'of zeros': (partial(file, name='p.parquet', what=bytes(1000)), 'PAR1'),
    'without rows': (partial(pairs, name='p.parquet', cols=dict(problem=pa.array([], pa.string()), solution=pa.array([], pa.string()))), 'no rows'),
    'without columns': (partial(pairs, name='p.parquet', cols={}), 'p.parquet'),
    'with a column twice': (partial(columns, names=['problem','problem','solution']), 'twice'),
    'of numbers': (partial(pairs, name='p.parquet', cols=dict(problem=[1,2], solution=[3,4])), 'int64'),
    'of lists': (partial(pairs, name='p.parquet', cols=dict(problem=[['a'],['b']], solution=[['a'],['b']])), 'list'),
    'of decimals and dates': (partial(pairs, name='p.parquet', cols=dict(problem=pa.array([1,2], pa.decimal128(5)), solution=pa.array([1,2], pa.date32()))), 'decimal'),
    'of bytes': (partial(pairs, name='p.parquet', cols=dict(problem=pa.array([b'\xff','b']), solution=pa.array([b'a',b'b']))), 'UTF-8'),
    'of invalid UTF-8': (invalid_utf8, 'p.parquet'),
    'of all nulls': (partial(pairs, name='p.parquet', cols=dict(problem=pa.nulls(5), solution=pa.nulls(5))), 'null'),
    'of a folder with mixed columns': (mixed, 'b.parquet'),
    'that is 100 GB of text': (bomb, 'p.parquet'),
    'that is 100 GB of chat': (chat_bomb, 'p.parquet'),
    'with a name of control characters': (partial(file, name='\x1b[31mred\n\n.parquet', what='x'), 'PAR1'),
}
names = {'of a folder with mixed columns': '{d}', 'with a name of control characters': '{d}/\x1b[31mred\n\n.parquet'}
for k, (make, says) in bad_pairs.items():
    at = names.get(k, '{d}/p.parquet')
    case(f'inspect a parquet {k}', 'inspect', at, make=make, says=says)
    if k in ('truncated','with a column twice','of invalid UTF-8','that is 100 GB of text','that is 100 GB of chat','without rows'):
        case(f'train on a parquet {k}', 'train', 'demo', '--data', at, '--out', '{d}/new', '--sets', small, make=make, says=says)
        case(f'tokenizer of a parquet {k}', 'tokenizer', at, '--out', '{d}/t.json', make=make, says=says)
        case(f'eval on a parquet {k}', 'eval', '{f}/text', '--data', at, make=make, says=says)
        if k[:6]!='that i': case(f'train on a stream of parquet {k}', 'train', 'demo', '--data', at, '--out', '{d}/new', '--sets', f'{small} streaming=true', make=make, says=says)


def chats(d, f, rows): table(d/'p.parquet', dict(messages=pa.array(rows, chat)))


talk = [dict(role='user', content='a'), dict(role='assistant', content='b')]
odd_chats = [None, [], [None], [dict(role=None, content=None)], [dict(role='user', content=None)]*2, talk, [talk[0]], [talk[1]], [talk[0], None, talk[1]]]
one_long = dict(problem=good['problem']+[long], solution=good['solution']+['1'])
case('inspect chats of nested nulls', 'inspect', '{d}/p.parquet', make=partial(chats, rows=odd_chats), says='looked at', status=0)
case('train on chats of nested nulls only', 'train', 'demo', '--data', '{d}/p.parquet', '--out', '{d}/new', '--sets', small,
     make=partial(chats, rows=odd_chats[:5]), says='usable row')
case('inspect a text of 10 MB', 'inspect', '{d}/p.parquet', make=partial(pairs, name='p.parquet', cols=one_long), says='10000000', status=0)
case('inspect a text of 10 MB in tokens', 'inspect', '{d}/p.parquet', '--tokenizer', '{f}/tokenizer.json', make=partial(pairs, name='p.parquet', cols=one_long), says='looked at', status=0)
case('tokenizer of a text of 10 MB', 'tokenizer', '{d}/p.parquet', '--out', '{d}/t.json', make=partial(pairs, name='p.parquet', cols=one_long), says='tokens', status=0, new=('t.json',))
case('unigram of a text of 10 MB', 'tokenizer', '{d}/p.parquet', '--out', '{d}/t.json', '--model', 'unigram', make=partial(pairs, name='p.parquet', cols=one_long), says='tokens', status=0, new=('t.json',))
case('eval with a text of 10 MB', 'eval', '{d}/run', '--data', '{d}/p.parquet', '--limit', '5', status=0, says='exact', new=('run/figures.*',),
     make=lambda d, f: (copy('text', d, f), table(d/'p.parquet', one_long)))
case('train with a text of 10 MB only', 'train', 'demo', '--data', '{d}/p.parquet', '--out', '{d}/new', '--sets', small,
     make=partial(pairs, name='p.parquet', cols=dict(problem=[long]*3, solution=[long]*3)), says='p.parquet')
case('inspect escape codes in cells', 'inspect', '{d}/p.parquet', make=partial(pairs, name='p.parquet', cols=dict(problem=['\x1b[31mred\x07']*3, solution=['\x1b]0;x\x07']*3)), status=0, says='red')
case('eval with families that are formulas', 'eval', '{d}/run', '--data', '{d}/p.parquet', status=0, says='exact', new=('run/figures.*',),
     make=lambda d, f: (copy('text', d, f), table(d/'p.parquet', good | dict(family=[f'$\\frac{{$_{i}/../\x1b[31m' for i in range(n)]))))
case('eval with a thousand families', 'eval', '{d}/run', '--data', '{d}/p.parquet', '--limit', '200', status=0, says='exact', new=('run/figures.*',), make=lambda d, f: (copy('text', d, f),
     table(d/'p.parquet', dict(problem=[f'{i}+1' for i in range(1000)], solution=['1']*1000, family=['f'*1000+str(i) for i in range(1000)]))))
case('solve a problem of 10 MB', 'solve', '{f}/text', 'x'*10**7, says='max_seq_len')
case('solve a problem of bytes', 'solve', '{f}/text', '1+\udcff', says='problem')
case('solve with no problem', 'solve', '{f}/text', says='should be asked')
case('solve a board with a text run', 'solve', '{f}/text', '--board', four, says='should be asked')
case('solve two things', 'solve', '{f}/board', '--board', four, '--file', '{f}/x.csv', says='should be asked')

# tables that are not parquet


def packed(d, f, name, what, times=1):
    "Bytes, written again and again, behind the compression that the name tells"
    with pa.output_stream(d/name, compression='gzip' if name.endswith('.gz') else 'zstd') as h:
        for _ in range(times): h.write(what)


def arrow(d, f, change=lambda b: b, name='p.arrow', options=None, cols=good):
    "An arrow file that was changed"
    t, out = pa.table(cols), pa.BufferOutputStream()
    with pa.ipc.new_file(out, t.schema, options=options) as w: w.write_table(t)
    write(d/name, change(out.getvalue().to_pybytes()))


def arrow_bomb(d, f, name='p.arrow'):
    "A batch whose packed buffers hold 2 GB of zeros"
    zeros = pa.array(np.zeros(2**28, np.int64))
    with pa.OSFile(str(d/name), 'wb') as out, pa.ipc.new_file(out, pa.schema(dict(problem=pa.int64())), options=pa.ipc.IpcWriteOptions(compression='zstd')) as w:
        w.write_batch(pa.record_batch([zeros], ['problem']))


def saved(d, f, state):
    (d/'set').mkdir(); arrow(d/'set', f, name='data-00000-of-00001.arrow'); write(d/'set/state.json', json.dumps(state))


def loop(d, f):
    "Folders that hold links to themselves"
    (d/'a/b').mkdir(parents=True); (d/'a/b/c').symlink_to(d/'a'); (d/'a/d').symlink_to(d); (d/'a/x.csv').symlink_to(d/'a/x.csv')


row = '{"problem": "1+1", "solution": "2"}\n'
line = 'problem,solution\n1+1,2\n'
lots = ','.join(f'c{i}' for i in range(10**5))
bad_tables = {
    'jsonl of a cut row': ('p.jsonl', partial(file, what=row*9+row[:20]), 'row 10: not readable as json'),
    'jsonl of a broken row': ('p.jsonl', partial(file, what=row*9+'{"problem": oh}\n'+row*9), 'row 10: not readable as json'),
    'jsonl of numbers': ('p.jsonl', partial(file, what='1\n2\n'), 'should be an object'),
    'jsonl of a deep row': ('p.jsonl', partial(file, what='{"problem": '+'['*10**6), 'p.jsonl: row 1'),
    'jsonl of a deep chat': ('p.jsonl', partial(file, what=json.dumps(dict(messages='['*10**6))+'\n'), 'p.jsonl'),
    'jsonl of bytes': ('p.jsonl', partial(file, what=row.encode()*9+b'{"problem": "\xff"}'), 'row 10, column'),
    'jsonl of surrogates': ('p.jsonl', partial(file, what='{"problem": "\\ud800", "solution": "1"}\n'), 'UTF-8'),
    'jsonl of NUL bytes': ('p.jsonl', partial(file, what=bytes(1000)), 'row 1'),
    'jsonl of 100,000 columns': ('p.jsonl', partial(file, what=json.dumps({f'c{i}': i for i in range(10**5)})), 'at most 1,000'),
    'jsonl of a new column in each row': ('p.jsonl', partial(file, what=''.join(f'{{"c{i}": 1}}\n' for i in range(10**5))), 'at most 1,000'),
    'jsonl of a row of 300 MB': ('p.jsonl.gz', partial(packed, what=b'7'*2**20, times=300), 'p.jsonl.gz'),
    'jsonl of a text of 300 MB': ('p.jsonl', lambda d, f, name: (d/name).write_bytes(b'{"problem": "'+b'7'*3*10**8+b'"}'), 'more than 16 MB'),
    'jsonl of many small things': ('p.jsonl', lambda d, f, name: write(d/name, '{"problem": ['+'{},'*4*10**6+'{}]}'), 'p.jsonl'),
    'jsonl of an int of a million digits': ('p.jsonl', partial(file, what='{"a": '+'9'*10**6+'}'), 'p.jsonl'),
    'json of a list that does not end': ('p.json', partial(file, what='['+row.strip()+',\n'+row), 'row 3'),
    'json of columns of two lengths': ('p.json', partial(file, what='{"problem": ["a"], "solution": []}'), 'equally long'),
    'json that is empty': ('p.json', partial(file, what=''), 'no rows'),
    'json in UTF-16': ('p.json', partial(file, what=row.encode('utf-16')), 'p.json'),
    'csv of ragged rows': ('p.csv', partial(file, what=line+'1,2,3\n'), 'Row #3'),
    'csv of a short row': ('p.csv', partial(file, what=line+'1\n'), 'Row #3'),
    'csv of bytes': ('p.csv', partial(file, what=line.encode()+b'\xff,1\n'), 'Row #3'),
    'csv of late bytes': ('p.csv', partial(file, what=line.encode()*10**5+b'\xff,1\n'), 'p.csv'),
    'csv of NUL bytes': ('p.csv', partial(file, what=bytes(10**6)), 'p.csv'),
    'csv of 100,000 columns': ('p.csv', partial(file, what=f'{lots}\n{lots}\n'), 'p.csv'),
    'csv with a column twice': ('p.csv', partial(file, what='problem,problem\n1,2\n'), 'twice'),
    'csv of a row of 300 MB': ('p.csv', lambda d, f, name: (d/name).write_bytes(line.encode()+b'"'+b'7'*3*10**8+b'",1\n'), '12 MB'),
    'csv with an open quote': ('p.csv', partial(file, what=line+'"1,2\n'+'3,4\n'*10), 'p.csv'),
    'csv of a header only': ('p.csv', partial(file, what='problem,solution\n'), 'no rows'),
    'csv that is empty': ('p.csv', partial(file, what=''), 'no rows'),
    'csv without names': ('p.csv', partial(file, what='What is 1+1?;2\nWhat is 1+2?;3\n'), '--problem'),
    'csv in UTF-16': ('p.csv', partial(file, what=line.encode('utf-16')), 'UTF-8'),
    'csv.gz that is no gz': ('p.csv.gz', partial(file, what=line), 'p.csv.gz'),
    'csv.gz of 10 GB': ('p.csv.gz', partial(packed, what=bytes(2**20), times=10_240), 'p.csv.gz'),
    'csv.zst of 1 GB of rows': ('p.csv.zst', partial(packed, what=b'1,2\n'*2**18, times=1000), 'a thousand times its size'),
    'jsonl.zst of 1 GB of rows': ('p.jsonl.zst', partial(packed, what=row.encode()*10**4, times=3000), 'a thousand times its size'),
    'parquet.zst of 10 GB': ('p.parquet.zst', partial(packed, what=bytes(2**20), times=10_240), 'a thousand times its size'),
    'arrow.gz of zeros': ('p.arrow.gz', partial(packed, what=bytes(2**20), times=1024), 'p.arrow.gz'),
    'arrow of wrong magic': ('p.arrow', partial(arrow, change=lambda b: b'ARROW2'+b[6:]), 'ARROW1'),
    'arrow that is cut': ('p.arrow', partial(arrow, change=lambda b: b[:len(b)//2]), 'p.arrow'),
    'arrow of zeros': ('p.arrow', partial(arrow, change=lambda b: b'ARROW1\0\0'+bytes(1000)), 'p.arrow'),
    'arrow of a schema of 2 GB': ('p.arrow', partial(arrow, change=lambda b: b[:12]+b'\xff\xff\xff\x7f'+b[16:]), 'p.arrow'),
    'arrow of 2 GB of zeros': ('p.arrow', arrow_bomb, 'should be at most 256'),
    'arrow of numbers': ('p.arrow', partial(arrow, cols=dict(problem=[1, 2], solution=[3, 4])), 'int64'),
    'saved set without its file': ('set', lambda d, f, name: saved(d, f, dict(_data_files=[dict(filename='x.arrow')])), 'state.json'),
    'saved set with files elsewhere': ('set', lambda d, f, name: saved(d, f, dict(_data_files=[dict(filename='../../etc/passwd')])), 'state.json'),
    'saved set of a strange state': ('set', lambda d, f, name: saved(d, f, dict(_data_files=[dict(filename=['x'])])), 'state.json'),
    'folder named x.csv': ('x.csv', lambda d, f, name: (d/name).mkdir(), 'no data file'),
    'fifo named p.csv': ('p.csv', fifo, 'no data file'),
    'link to a device': ('p.csv', lambda d, f, name: (d/name).symlink_to('/dev/zero'), 'no data file'),
    'folder of loops': ('a', lambda d, f, name: loop(d, f), 'no data file'),
    'folder of two formats': ('', lambda d, f, name: (write(d/'a.csv', line), write(d/'b.jsonl', row)), 'of one format'),
    'folder of configurations': ('', lambda d, f, name: [((d/c).mkdir(), write(d/c/'train.csv', line), write(d/c/'test.csv', line)) for c in 'ab'], 'configurations a, b'),
    'chats of strangers': ('p.jsonl', partial(file, what=json.dumps(dict(messages=[dict(role='alice', content='a'), dict(role='carol', content='b')]))), 'alice'),
}
for k, (at, make, says) in bad_tables.items():
    made = partial(make, name=at) if at else partial(make, name='')
    case(f'inspect a {k}', 'inspect', f'{{d}}/{at}', make=made, says=says)
    if k in ('jsonl of a broken row','csv of ragged rows','csv.zst of 1 GB of rows','arrow that is cut','csv without names'):
        case(f'train on a {k}', 'train', 'demo', '--data', f'{{d}}/{at}', '--out', '{d}/new', '--sets', small, make=made, says=says)
        case(f'tokenizer of a {k}', 'tokenizer', f'{{d}}/{at}', '--out', '{d}/t.json', make=made, says=says)
        case(f'eval on a {k}', 'eval', '{f}/text', '--data', f'{{d}}/{at}', make=made, says=says)
for name, what in {'p.jsonl': '{"problem": "'+long+'", "solution": "1"}\n'+row, 'p.csv': line+f'"{long}",2\n'}.items():
    case(f'inspect a text of 10 MB in {name}', 'inspect', f'{{d}}/{name}', make=partial(file, name=name, what=what), says='10000000', status=0)

# boards

for i, (b, says) in enumerate({'': '0 cells', '1': '1 cells', '12..34..a...1..2': "'a'", '5...............': "'5'", '11..............': 'both 1', '.'*16: 'solution', '.'*81: '81 cells; should be 16',
                               '1'*256: '256 cells; should be 16', '²...............': '²', '\x1b[31m...........': '15 cells', '7'*10**6: 'characters; should be 16', '١...............': 'should be one of'}.items()):
    case(f'board {i} {b[:16]!r}', 'solve', '{f}/board', '--board', b, says=says)
open_maze = 'S'+' '*34+'G'
for i, (b, says) in enumerate({'S'*2+' '*33+'G': "2 cells 'S'", ' '*35+'G': "0 cells 'S'", 'S#'+' '*4+'##'+' '*27+'G': 'no way', 'S'+'x'*34+'G': "'x'", 'SG': 'square', 'S'*36: "36 cells 'S'",
                               'S   G\n': 'maze'}.items()):
    case(f'maze {i} {b[:12]!r}', 'solve', '{f}/maze', '--board', b, says=says)
bad_boards = {
    'missing': (None, 'none'), 'empty': ('', 'no rows'), 'of blank lines': ('\n\n\n', 'no rows'), 'of a header': ('question\n', 'no rows'),
    'of UTF-16': ('question\n1234'.encode('utf-16'), 'UTF-8'), 'of invalid UTF-8': (b'question\n\xff\xfe..', 'UTF-8'), 'of zeros': (bytes(100), 'row 1'),
    'with a field of 10 MB': ('question\n'+'1'*10**7, '10,000,000 characters; should be 16'), 'with unbalanced quotes': ('question\n"1234', 'row 1'), 'of parquet': ((1, 'data.parquet'), 'UTF-8'),
    'of letters': ('question\nabcdefghijklmnop\n', 'row 1'), 'of wrong length': ('question\n123\n1234\n', 'row 1'), 'of large digits': ('question\n9...............\n', 'row 1'),
    'of escape codes': ('question\n\x1b[31m\x07\x1b\n', 'row 1')}
for k, (what, says) in bad_boards.items():
    make = None if what is None else (lambda d, f: shutil.copy(f/'data.parquet', d/'b.csv')) if isinstance(what, tuple) else partial(file, name='b.csv', what=what)
    case(f'file of boards {k}', 'solve', '{f}/board', '--file', '{d}/b.csv' if what is not None else '{d}/none.csv', make=make, says=says)
case('file of boards that is a folder', 'solve', '{f}/board', '--file', '{d}', says='should be')
case('file of boards that is a fifo', 'solve', '{f}/board', '--file', '{d}/b.csv', make=partial(fifo, name='b.csv'), says='b.csv')
case('file of boards that is a device', 'solve', '{f}/board', '--file', '/dev/zero', says='/dev/zero')
case('file of boards with a zero byte', 'solve', '{f}/board', '--file', 'a\0b', says='zero')
case('a board that is not solved', 'solve', '{f}/board', '--board', four, '--steps', '1', status=1, says='')

# files of puzzles

q, a = ['12..34....1....2']*3, ['1243342121344312']*3


def puzzles(d, f, cols, name='p.parquet', **kw): table(d/name, cols, **kw)


def arrays(d, f, x, y=None, raw=None, meta='{}'):
    p = d/'p'; p.mkdir(); write(p/'dataset.json', meta)
    for k, o in (('inputs', x), ('labels', x if y is None else y)):
        with open(p/f'all__{k}.npy', 'wb') as out: np.save(out, o)
        if raw: write(p/f'all__{k}.npy', raw)


def npy(shape, dtype='|u1', data=b'x'*100):
    h = str(dict(descr=dtype, fortran_order=False, shape=shape)).encode(); h += b' '*(-(len(h)+11)%64)+b'\n'
    return b'\x93NUMPY\x01\x00'+len(h).to_bytes(2, 'little')+h+data


boards_ok = np.array([[2,3,1,1,4,5,1,1,1,1,2,1,1,1,1,3]])
bad_puzzles = {
    'csv of invalid UTF-8': ('.csv', partial(file, name='p.csv', what=b'question,answer\n\xff,\xfe\n'), 'p.csv'),
    'csv of UTF-16': ('.csv', partial(file, name='p.csv', what='question,answer\n1,2\n'.encode('utf-16')), 'p.csv'),
    'csv of zeros': ('.csv', partial(file, name='p.csv', what=bytes(1000)), 'p.csv'),
    'csv with zeros in it': ('.csv', partial(file, name='p.csv', what=f'question,answer\n{q[0]}\0,{a[0]}\n'), 'p.csv'),
    'csv with a field of 10 MB': ('.csv', partial(file, name='p.csv', what=f"question,answer\n{'1'*10**7},{a[0]}\n"), '10,000,000 characters; should be 16'),
    'csv with unbalanced quotes': ('.csv', partial(file, name='p.csv', what=f'question,answer\n"{q[0]},{a[0]}\n'), 'p.csv'),
    'csv with a column twice': ('.csv', partial(file, name='p.csv', what=f'question,question,answer\n{q[0]},x,{a[0]}\n'), 'twice'),
    'csv with a million columns': ('.csv', partial(file, name='p.csv', what='question,answer'+',x'*10**6+'\n'), 'columns'),
    'csv of a header': ('.csv', partial(file, name='p.csv', what='question,answer\n'), 'no rows'),
    'csv of nothing': ('.csv', partial(file, name='p.csv', what=''), 'p.csv'),
    'csv of letters': ('.csv', partial(file, name='p.csv', what=f"question,answer\n{'z'*16},{a[0]}\n"), "'z'"),
    'csv of wrong length': ('.csv', partial(file, name='p.csv', what=f'question,answer\n123,{a[0]}\n'), '3 cells'),
    'csv of wrong answers': ('.csv', partial(file, name='p.csv', what=f"question,answer\n{q[0]},{'1'*16}\n"), 'breaks the rules'),
    'csv of answers with blanks': ('.csv', partial(file, name='p.csv', what=f'question,answer\n{q[0]},{q[0]}\n'), 'breaks the rules'),
    'fifo': ('.csv', partial(fifo, name='p.csv'), 'p.csv'),
    'parquet with a column twice': ('.parquet', lambda d, f: pq.write_table(pa.Table.from_arrays([pa.array(q)]*3, names=['question','question','answer']), d/'p.parquet'), 'twice'),
    'parquet of nulls': ('.parquet', partial(puzzles, cols=dict(question=pa.array([None]*3, pa.string()), answer=a)), 'no question'),
    'parquet of lists': ('.parquet', partial(puzzles, cols=dict(question=[[1]]*3, answer=a)), 'p.parquet'),
    'parquet of numbers': ('.parquet', partial(puzzles, cols=dict(question=[1]*3, answer=a)), 'p.parquet'),
    'parquet truncated': ('.parquet', partial(bytes_of, name='p.parquet', change=lambda b: b[:500]), 'p.parquet'),
    'parquet with a strange pandas note': ('.parquet', lambda d, f: pq.write_table(pa.table(dict(question=q, answer=a)).replace_schema_metadata({b'pandas': b'{"index_columns": 7}'}), d/'p.parquet'), 'p.parquet'),
    'parquet that is 100 GB of text': ('.parquet', partial(bomb, cols=('question','answer')), 'p.parquet'),
    'parquet with 100 GB in another column': ('.parquet', lambda d, f: (bomb(d, f, cols=('note',)), table(d/'p.parquet', dict(question=q*3000, answer=a*3000, note=pq.read_table(d/'p.parquet', read_dictionary=['note'])['note'][:9000]), compression='zstd', dictionary_pagesize_limit=2**30)), 'p.parquet'),
    'arrays of objects': ('', partial(arrays, x=np.array([[{}]], dtype=object)), 'p:'),
    'arrays of a million million': ('', partial(arrays, x=boards_ok, raw=npy((10**6, 10**6))), 'p:'),
    'arrays of 10 GB': ('', partial(arrays, x=boards_ok, raw=npy((10**6, 10**4))), 'p:'),
    'arrays of a negative shape': ('', partial(arrays, x=boards_ok, raw=npy((-1, 16))), 'p:'),
    'arrays with nested parentheses': ('', partial(arrays, x=boards_ok, raw=npy('('*4000))  , 'p:'),
    'arrays of floats': ('', partial(arrays, x=boards_ok.astype(float)), 'integers'),
    'arrays of large tokens': ('', partial(arrays, x=boards_ok+10**6), 'tokens'),
    'arrays of negative tokens': ('', partial(arrays, x=-boards_ok), 'tokens'),
    'arrays with a deep dataset.json': ('', partial(arrays, x=boards_ok, meta='['*10**6), 'dataset.json'),
    'arrays in a zip': ('', partial(arrays, x=boards_ok, raw=b'PK\x03\x04'+bytes(100)), 'p:'),
}
board_texts = {
    'txt of nothing': ('.txt', '', 'no rows'), 'txt of blank lines': ('.txt', '\n'*10**6, 'no rows'), 'txt of zeros': ('.txt', bytes(1000), 'p.txt'), 'txt of words': ('.txt', 'Hello\n'*3, '5 cells'),
    'txt of invalid UTF-8': ('.txt', b'\xff\xfe'*50, 'p.txt'), 'txt with a line of 10 MB': ('.txt', '1'*10**7, 'p.txt'), 'txt with many lines': ('.txt', '12\n'*10**5, '2 cells'),
    'txt of seven lines': ('.txt', '12..\n34..\n'*3+'..1.', '3 lines'), 'txt with a million columns': ('.txt', 'question'+',x'*10**6+'\n', 'p.txt'), 'txt of ragged rows': ('.txt', f'question;answer\n{q[0]};{a[0]};x;y\n', 'p.txt'),
    'txt of short rows': ('.txt', f'question;answer\n{q[0]}\n', 'p.txt'), 'txt of dashes': ('.txt', '-'*10**5, '100,000 characters'), 'txt of commas': ('.txt', ','*10**6, 'p.txt'),
    'txt of brackets': ('.txt', '['*500, '0 cells'), 'txt of quotes': ('.txt', '"'*10**6+'\n', 'p.txt'), 'txt of questions': ('.txt', q[0]+'\n', 'no answers'),
    'csv without a header, ragged': ('.csv', f'{q[0]},{a[0]}\n{q[0]}\n', 'p.csv'), 'csv with a short answer': ('.csv', f'{q[0]},{a[0]}\n{q[0]},{a[0][1:]}\n', '15 cells'),
    'json of a number': ('.json', '7', 'p.json'), 'json that is deep': ('.json', '['*10**6, 'p.json'), 'json of mixed types': ('.json', '[{"question": 3, "answer": {"a": [null]}}]', 'row 1'), 'json cut': ('.jsonl', '{"question": "12', 'p.jsonl'),
    'jsonl of ragged lists': ('.jsonl', '{"question": [[1, 2], [3]], "answer": [[1]]}', '3 cells'), 'jsonl with a cell of 10 MB': ('.jsonl', '{"question": "'+'1'*10**7+'", "answer": ""}', '10,000,000'),
    'txt.gz cut': ('.txt.gz', gzip.compress(q[0].encode()*1000)[:40], 'p.txt.gz'), 'txt.gz of text': ('.txt.gz', 'Hello', 'p.txt.gz'), 'txt.gz of 1 GB': ('.txt.gz', gzip.compress(b'1'*10**9), 'unpacks to more'),
    'csv.gz cut': ('.csv.gz', gzip.compress(('question,answer\n'+f'{q[0]},{a[0]}\n'*1000).encode())[:60], 'p.csv.gz'), 'csv.gz of 1 GB': ('.csv.gz', gzip.compress(b'question,answer\n'+b'1'*10**9), 'p.csv.gz'),
    'csv.zst of text': ('.csv.zst', 'question,answer', 'p.csv.zst')}
bad_puzzles |= {k: (suffix, partial(file, name='p'+suffix, what=what), says) for k, (suffix, what, says) in board_texts.items()}
for k, (suffix, make, says) in bad_puzzles.items():
    case(f'eval on {k}', 'eval', '{f}/board', '--data', '{d}/p'+suffix, make=make, says=says.replace('p:', 'p'))
    if k in board_texts and k not in ('txt of questions', 'csv with a short answer'): case(f'solve {k}', 'solve', '{f}/board', '--file', '{d}/p'+suffix, make=make, says='p'+suffix)
    if k in ('csv of zeros','parquet of nulls','arrays of 10 GB','csv of letters','txt of questions'):
        case(f'train on {k}', 'train', 'sudoku4', '--data', '{d}/p'+suffix, '--out', '{d}/new', '--sets', small_board, make=make, says=says.replace('p:', 'p'))

# runs from someone else


class Boom:
    "A pickle that writes a file when it is opened"
    def __reduce__(self): return os.mkdir, ('boom',)


def pickled(d, f):
    run = copy('text', d, f); torch.save(dict(a=Boom()), run/'model.safetensors')


deep = lambda n: '['*n+']'*n  # noqa: E731
for k, (make, says) in {
        'config is a list': (partial(put, kind='text', name='config.json', what='[]'), 'config.json'),
        'config is a number': (partial(put, kind='text', name='config.json', what='1e999'), 'config.json'),
        'config is deep': (partial(put, kind='text', name='config.json', what=deep(10**6)), 'not readable as json'),
        'config is 100 MB': (lambda d, f: put(d, f, 'text', 'config.json', '{"a": "'+'x'*10**8+'"}'), 'config.json'),
        'config is NaN': (partial(put, kind='text', name='config.json', what='{"model": {"expansion": NaN}}'), 'not readable as json'),
        'config says everything twice': (partial(put, kind='text', name='config.json', what='{"model": {}, "model": {}}'), 'twice'),
        'config has a giant int': (partial(put, kind='text', name='config.json', what='{"model": {"d_model": '+'9'*5000+'}}'), 'not readable as json'),
        'config has a large int': (partial(put, kind='text', name='config.json', what='{"network": "TRM", "model": {"expansion": '+'9'*400+'}}'), 'expansion'),
        'config has 1e999': (partial(put, kind='text', name='config.json', what='{"network": "TRM", "model": {}, "train": {"learning_rate": 1e999}}'), 'learning_rate'),
        'config in UTF-16': (partial(put, kind='text', name='config.json', what='{}'.encode('utf-16')), 'not readable as json'),
        'config of bytes': (partial(put, kind='text', name='config.json', what=bytes(range(256))), 'not readable as json'),
        'unknown setting': (partial(settings, kind='text', part='model', **{'\x1b[31mwidth\n': 3}), 'no such setting'),
        'a setting with a long name': (partial(settings, kind='text', part='model', **{'x'*10**6: 3}), 'wandb'),
        'a setting of the other part': (partial(settings, kind='text', part='model', batch_size=3), 'belongs under'),
        'a setting that is a dict': (partial(settings, kind='text', part='model', d_model=dict(a=1)), 'd_model'),
        'huge network': (partial(settings, kind='text', part='model', d_model=16384, n_layers=64, vocab_size=10**6), 'should be'),
        'large network': (partial(settings, kind='text', part='model', d_model=8192), 'should be'),
        'many puzzles': (partial(network, kind='maze', name='PrefixTRM', puzzle_tokens=1, puzzle_kinds=10**8), 'puzzle_kinds'),
        'a network with positions in front': (partial(network, kind='maze', name='PrefixTRM', puzzle_tokens=1), 'model.safetensors'),
        'a plain network with digits': (partial(network, kind='board', name='TRM'), 'symbols'),
        'digits for attention': (partial(network, kind='maze', name='SymbolTRM', symbols=2), 'mixer'),
        'digits of another number': (partial(network, kind='board', name='SymbolTRM', symbols=3), 'model.safetensors'),
        'an unknown network': (partial(network, kind='text', name='\x1b[31mos.system\n'), 'should be one of TRM'),
        'a network that is a list': (partial(network, kind='text', name=['TRM']), 'names no network'),
        'many positions': (partial(settings, kind='text', part='model', seq_len=10**6), 'seq_len'),
        'more positions than the model': (partial(settings, kind='text', part='train', max_seq_len=1000), 'max_seq_len'),
        'many steps': (partial(settings, kind='text', part='model', states=2, n_recurrence=4096, n_cycles=64, n_latent=64), 'n_recurrence'),
        'another task': (partial(settings, kind='board', part='train', task='text', data='x'), 'should be'),
        'another side': (partial(settings, kind='board', part='train', side=9), 'side=9'),
        'a side without boxes': (partial(settings, kind='board', part='train', side=5), 'side=5'),
        'its data on the hub': (partial(settings, kind='text', part='train', data='hf://owner/name/x.parquet'), '--data'),
        'its data at a url': (partial(settings, kind='text', part='train', data='https://example.com/x.parquet'), '--data'),
        'its data elsewhere': (partial(settings, kind='text', part='train', data='/nowhere/x.parquet'), '--data'),
        'its data with a zero byte': (partial(settings, kind='text', part='train', data='/now\0here'), 'data'),
        'its puzzles elsewhere': (partial(settings, kind='board', part='train', data='/nowhere/x.parquet'), '--data'),
        'a folder named config.json': (lambda d, f: ((d/'run/config.json').mkdir(parents=True)), 'config.json'),
        'a fifo named config.json': (lambda d, f: ((d/'run').mkdir(), os.mkfifo(d/'run/config.json')), 'config.json'),
        'config.json is a device': (lambda d, f: (copy('text', d, f)/'config.json').unlink() or (d/'run/config.json').symlink_to('/dev/zero'), 'config.json'),
        'config.json is a link to a secret': (lambda d, f: (copy('text', d, f)/'config.json').unlink() or (d/'run/config.json').symlink_to('/etc/passwd'), 'not readable as json'),
        'weights truncated': (lambda d, f: write(copy('text', d, f)/'model.safetensors', (f/'text/model.safetensors').read_bytes()[:300]), 'model.safetensors'),
        'weights of zeros': (partial(put, kind='text', name='model.safetensors', what=bytes(10**6)), 'model.safetensors'),
        'weights with a header of 10**18': (partial(put, kind='text', name='model.safetensors', what=(10**18).to_bytes(8, 'little')+b'{}'), 'model.safetensors'),
        'weights of another shape': (partial(tensors, change=lambda sd: sd.update({'embed.weight': sd['embed.weight'][:, :8].contiguous()})), 'embed.weight'),
        'weights transposed': (partial(tensors, change=lambda sd: sd.update({'head.weight': sd['head.weight'].T.contiguous()})), 'head.weight'),
        'weights with one missing': (partial(tensors, change=lambda sd: sd.pop('head.weight')), 'lacks head.weight'),
        'weights with one more': (partial(tensors, change=lambda sd: sd.update({'\x1b[31mextra\n': torch.zeros(3)})), 'unknown'),
        'weights of integers': (partial(tensors, change=lambda sd: sd.update({'head.weight': sd['head.weight'].long()})), 'head.weight'),
        'weights that are no numbers': (partial(tensors, change=lambda sd: sd['head.weight'].fill_(float('nan'))), 'head.weight'),
        'weights that run code': (pickled, 'model.safetensors'),
        'weights are a fifo': (lambda d, f: (copy('text', d, f)/'model.safetensors').unlink() or os.mkfifo(d/'run/model.safetensors'), 'model.safetensors'),
        'tokenizer is a list': (partial(put, kind='text', name='tokenizer.json', what='[]'), 'tokenizer.json'),
        'tokenizer is text': (partial(put, kind='text', name='tokenizer.json', what='hello'), 'tokenizer.json'),
        'tokenizer is 100 MB': (lambda d, f: put(d, f, 'text', 'tokenizer.json', '{"a": "'+'x'*10**8+'"}'), 'tokenizer.json'),
        'tokenizer with a slow pattern': (partial(tok, change=lambda t: t.update(pre_tokenizer=dict(type='Split', pattern=dict(Regex='(a+)+$'), behavior='Isolated', invert=False))), 'pre_tokenizer'),
        'tokenizer with a normalizer': (partial(tok, change=lambda t: t.update(normalizer=dict(type='Replace', pattern=dict(String='a'), content='a'*10**6))), 'normalizer'),
        'tokenizer with a post-processor': (partial(tok, change=lambda t: t.update(post_processor=dict(type='ByteLevel', add_prefix_space=True, trim_offsets=True, use_regex=True))), 'post_processor'),
        'tokenizer with padding': (partial(tok, change=lambda t: t.update(padding=dict(strategy=dict(Fixed=10**9), direction='Right', pad_to_multiple_of=None, pad_id=0, pad_type_id=0, pad_token='<PAD>'))), 'padding'),
        'tokenizer with truncation': (partial(tok, change=lambda t: t.update(truncation=dict(direction='Right', max_length=0, strategy='LongestFirst', stride=5))), 'truncation'),
        'tokenizer with another decoder': (partial(tok, change=lambda t: t.update(decoder=dict(type='Replace', pattern=dict(String=''), content='x'))), 'decoder'),
        'tokenizer with a huge added token': (partial(tok, change=lambda t: t['added_tokens'].append(t['added_tokens'][0] | dict(id=4, content='x'*10**7))), 'added_tokens'),
        'tokenizer without its specials': (partial(tok, change=lambda t: t.update(added_tokens=[])), 'added_tokens'),
        'tokenizer of another kind': (partial(tok, change=lambda t: t.update(model=dict(type='WordPiece', unk_token='<UNK>', continuing_subword_prefix='##', max_input_chars_per_word=100, vocab=t['model']['vocab']))), 'model'),
        'tokenizer with gaps': (partial(tok, change=lambda t: t['model']['vocab'].update({'x'*9: 10**9})), 'vocab'),
        'tokenizer with negative ids': (partial(tok, change=lambda t: t['model']['vocab'].update({'x'*9: -1})), 'vocab'),
        'tokenizer with dropout': (partial(tok, change=lambda t: t['model'].update(dropout=.5)), 'dropout'),
        'tokenizer with strange merges': (partial(tok, change=lambda t: t['model'].update(merges=[['zzzz','yyyy']])), 'tokenizer.json'),
        'tokenizer with another vocabulary': (lambda d, f: shutil.copy(f/'tokenizer.json', copy('text', d, f)/'tokenizer.json') if 0 else tok(d, f, lambda t: (t['model']['vocab'].popitem(), t['model'].update(merges=t['model']['merges'][:-1]))[:0] or None), 'tokens'),
        'figures is a link out of the run': (partial(link, name='figures', target='outside'), 'figures'),
        'figures is a file': (lambda d, f: (shutil.rmtree(copy('text', d, f)/'figures', ignore_errors=True), write(d/'run/figures', 'x')), 'figures'),
        'puzzles are text': (partial(put, kind='board', name='puzzles.parquet', what='x'), 'puzzles.parquet'),
        'puzzles are gone': (lambda d, f: (copy('board', d, f)/'puzzles.parquet').unlink(), 'puzzles.parquet'),
        'puzzles are 100 GB of text': (lambda d, f: (copy('board', d, f), bomb(d, f, name='run/puzzles.parquet', cols=('question','answer','split'))), 'puzzles.parquet')}.items():
    case(f'eval a run: {k}', 'eval', '{d}/run', make=make, says=says)
    if k.startswith(('weights','tokenizer w')) or k in ('huge network','config is deep','more positions than the model'):
        case(f'solve with a run: {k}', 'solve', '{d}/run', ask, make=make, says=says)
case('eval a run: a picture is a link', 'eval', '{d}/run', '--limit', '5', make=partial(link, name='figures/steps.png', target='outside/precious.png'), status=0, says='exact', new=('run/figures.*',))
case('eval a run: a temporary file is a link', 'eval', '{d}/run', '--limit', '5', make=partial(link, name='figures/.steps.png.tmp', target='outside/precious.png'), status=0, says='exact', new=('run/figures.*',))
case('eval a run: its weights are large', 'eval', '{d}/run', '--limit', '20', make=partial(tensors, kind='board', change=lambda sd: [v.mul_(1e30) for v in sd.values()]), status=0, says='exact', new=('run/figures.*',))
case('eval a run: metrics are text', 'eval', '{d}/run', '--limit', '5', make=partial(put, kind='text', name='metrics.csv', what='step,valid_loss_step1\nx,y\n'), status=0, says='exact', new=('run/figures.*',))
for k, what in {'without steps': 'a,valid_loss_step1\n1,2\n', 'of strange digits': 'step,valid_loss_step1\n²,3\n4,²\n', 'of infinities': 'step,valid_loss_step1\n1e999,nan\n2,inf\n', 'of a long field': 'step,valid_loss_step1\n1,'+'9'*10**6,
                'of zeros': bytes(1000), 'of bytes': b'step,\xff\n\xfe'}.items():
    case(f'eval a run: metrics {k}', 'eval', '{d}/run', '--limit', '5', make=partial(put, kind='text', name='metrics.csv', what=what), status=0, says='exact', new=('run/figures.*',))
case('eval a run: metrics are a fifo', 'eval', '{d}/run', '--limit', '5', make=lambda d, f: (copy('text', d, f)/'metrics.csv').unlink() or os.mkfifo(d/'run/metrics.csv'), status=0, says='exact', new=('run/figures.*',))

# checkpoints that were tampered with


def resume(d, f, change, both=True):
    "A copy of the text run with its checkpoints changed"
    run = Path(shutil.copytree(f/'text', d/'run', ignore=shutil.ignore_patterns('events*')))
    for p in sorted(run.glob('checkpoints/step_*'))[not both:]: change(p)


def state_json(f): return lambda p: edit_json(p/'state.json', f)


def state_tensors(f):
    def change(p):
        sd = load_file(p/'state.safetensors'); f(sd); save_file(sd, p/'state.safetensors')
    return change


go = 'train', 'demo', '--data', '{f}/data.parquet', '--out', '{d}/run', '--sets', f'{small} steps=4 eval_every=4 save_every=2', '--resume'
for k, (change, says) in {
        'no json': (lambda p: write(p/'state.json', '{'), 'not a whole checkpoint'), 'of bytes': (lambda p: write(p/'state.json', b'\xff'), 'not a whole checkpoint'),
        'deep': (lambda p: write(p/'state.json', '['*10**6), 'checkpoint'), 'a number': (lambda p: write(p/'state.json', '7'), 'checkpoint'),
        'a list': (lambda p: write(p/'state.json', '{"list": [[0, 1]]}'), 'checkpoint'), 'no tensors': (lambda p: (p/'state.safetensors').unlink(), 'not a whole checkpoint'),
        'tensors that run code': (lambda p: torch.save(dict(a=Boom()), p/'state.safetensors'), 'not a whole checkpoint'),
        'no model': (state_json(lambda s: s.update(dict=[o for o in s['dict'] if o[0]!='model'])), 'checkpoint'),
        'no optimiser': (state_json(lambda s: s.update(dict=[o for o in s['dict'] if o[0]!='opt0'])), 'checkpoint'),
        'a step of text': (state_json(lambda s: s.update(dict=[[k, 'x' if k=='step' else v] for k, v in s['dict']])), 'checkpoint'),
        'a negative step': (state_json(lambda s: s.update(dict=[[k, -5 if k=='step' else v] for k, v in s['dict']])), 'checkpoint'),
        'other shapes': (state_tensors(lambda sd: sd.update({'/model/head.weight': sd['/model/head.weight'][:5].contiguous()})), 'checkpoint'),
        'other moments': (state_tensors(lambda sd: sd.update({k: v[:1].contiguous() for k, v in sd.items() if k.startswith('/opt') and v.ndim==2})), 'checkpoint'),
        'a fifo': (lambda p: (p/'state.json').unlink() or os.mkfifo(p/'state.json'), 'checkpoint')}.items():
    case(f'resume from a state: {k}', *go, make=partial(resume, change=change), says=says)
case('resume from a state: the older one serves', *go, make=partial(resume, change=lambda p: write(p/'state.json', '{'), both=False), status=0, says='going on from', new=('run.*',))


# going on, starting, predictions, problems from a file, published checkpoints

resumed = 'train', 'demo', '--out', '{d}/run', '--resume', '--sets'
four_steps = f'{small} steps=4 eval_every=4 save_every=2'


def whole(d, f): shutil.copytree(f/'text', d/'run', ignore=shutil.ignore_patterns('events*'))


def other_data(d, f): whole(d, f); write_problems(d/'other.parquet', make_problems(399, ['compare','sequence']))


case('resume with other data', *resumed, four_steps, '--data', '{d}/other.parquet', make=other_data, says='hold other rows')
case('resume with data that are gone', *resumed, four_steps, '--data', '{d}/none.parquet', make=whole, says='none.parquet')
case('resume with truncated data', *resumed, four_steps, '--data', '{d}/p.parquet', says='p.parquet',
     make=lambda d, f: (whole(d, f), write(d/'p.parquet', (f/'data.parquet').read_bytes()[:900])))
case('resume with fewer steps', *resumed, four_steps.replace('steps=4', 'steps=3'), '--data', '{f}/data.parquet', make=whole, says='has done 4 steps')
case('resume with other validations', *resumed, four_steps.replace('eval_every=4', 'eval_every=2'), '--data', '{f}/data.parquet', make=whole, says='eval_every')
case('resume with a history that is text', *resumed, four_steps.replace('steps=4', 'steps=6'), '--data', '{f}/data.parquet', says='config.json',
     make=lambda d, f: (whole(d, f), edit_json(d/'run/config.json', lambda c: c.update(history='long'))))
begin = 'train', 'demo', '--data', '{f}/data.parquet', '--out', '{d}/new', '--sets', four_steps, '--start'
for k, (make, start, says) in {
        'nowhere': (None, '{d}/nowhere', 'no such run'), 'a network of another task': (None, 'sudoku6', 'network=SymbolTRM'), 'boards': (None, '{f}/board', 'task=sudoku there'),
        'a zero byte': (None, 'a\0b', 'zero'), 'a file': (None, '{f}/data.parquet', 'data.parquet'), 'the hub': (None, 'hf://owner/none', 'hf://owner/none'),
        'a run with other weights': (partial(tensors, change=lambda sd: sd.update({k: v[:1].contiguous() for k, v in sd.items()})), '{d}/run', 'should be ('),
        'a run with weights that run code': (pickled, '{d}/run', 'model.safetensors'), 'a run with weights that are no numbers': (partial(tensors, change=lambda sd: [v.fill_(float('nan')) for v in sd.values()]), '{d}/run', 'finite'),
        'a run without weights': (lambda d, f: (copy('text', d, f)/'model.safetensors').unlink(), '{d}/run', 'model.safetensors'),
        'a run with a large config': (lambda d, f: put(d, f, 'text', 'config.json', '{"a": "'+'x'*10**8+'"}'), '{d}/run', 'config.json'),
        'a run with another width': (partial(settings, kind='text', part='model', d_model=32), '{d}/run', 'd_model=32 there'),
        'a run without a tokenizer': (lambda d, f: (copy('text', d, f)/'tokenizer.json').unlink(), '{d}/run', 'tokenizer.json'),
        'a run with a slow tokenizer': (partial(tok, change=lambda t: t.update(pre_tokenizer=dict(type='Split', pattern=dict(Regex='(a+)+$'), behavior='Isolated', invert=False))), '{d}/run', 'pre_tokenizer')}.items():
    case(f'start from {k}', *begin, start, make=make, says=says)
case('start with another tokenizer in the folder', *begin, '{f}/text', says='another tokenizer',
     make=lambda d, f: ((d/'new').mkdir(), shutil.copy(f/'text/tokenizer.json', d/'new'), edit_json(d/'new/tokenizer.json', lambda t: t['model'].update(merges=t['model']['merges'][:-1]))))
for k, (place, says) in {'in no folder': ('{d}/no/p.jsonl', 'is no folder'), 'that are a folder': ('{d}', 'is a folder'), 'in /proc': ('/proc/p.jsonl', '/proc'),
                         'with a long name': ('{d}/'+'n'*300, 'name'), 'with a zero byte': ('a\0b', 'zero')}.items():
    case(f'eval predictions {k}', 'eval', '{f}/text', '--limit', '3', '--predictions', place, says=says, new=('.*figures.*',))
    case(f'solve predictions {k}', 'solve', '{f}/text', ask, '--predictions', place, says=says)
bad_problems = {
    'missing': ('none.jsonl', None, 'none.jsonl'), 'of nothing': ('p.jsonl', '', 'p.jsonl'), 'truncated': ('p.jsonl', '{"problem": "a"}\n{"prob', 'p.jsonl'),
    'of bytes': ('p.jsonl', bytes(range(256)), 'p.jsonl'), 'of zeros': ('p.jsonl', bytes(1000), 'p.jsonl'), 'in UTF-16': ('p.jsonl', '{"problem": "a"}'.encode('utf-16'), 'p.jsonl'),
    'deep': ('p.jsonl', '['*10**6, 'p.jsonl'), 'of lists': ('p.jsonl', '[1]\n[2]\n', 'p.jsonl'), 'without a column': ('p.jsonl', '{"a": "x", "b": "y"}\n', '--column'),
    'of nulls': ('p.jsonl', '{"problem": null}\n', 'p.jsonl'), 'with one of 10 MB': ('p.jsonl', '{"problem": "'+'1'*10**7+'"}\n', 'p.jsonl'),
    'ragged': ('p.csv', 'problem,b\nx\n1,2,3\n', 'p.csv'),
    'text of nothing': ('p.txt', '\n\n', '0 problems'), 'text of bytes': ('p.txt', bytes(range(256)), 'p.txt'), 'text of 100 MB': ('p.txt', 'x'*10**8, 'p.txt'),
    'text with half a character': ('p.txt', b'\xed\xa0\x80?', 'p.txt'), 'parquet truncated': ('p.parquet', b'PAR1'+bytes(99), 'p.parquet'), 'parquet of text': ('p.parquet', 'hello', 'p.parquet')}
for k, (name, what, says) in bad_problems.items():
    case(f'file of problems {k}', 'solve', '{f}/text', '--file', '{d}/'+name, '--predictions', '{d}/told.jsonl', says=says,
         make=None if what is None else partial(file, name=name, what=what))
case('file of problems that is a folder', 'solve', '{f}/text', '--file', '{d}', says='should be')
case('file of problems that is a fifo', 'solve', '{f}/text', '--file', '{d}/p.txt', make=partial(fifo, name='p.txt'), says='p.txt')
case('file of problems that is 100 GB', 'solve', '{f}/text', '--file', '{d}/p.parquet', make=partial(bomb, cols=('problem',)), says='p.parquet')
case('file of problems by a column that is none', 'solve', '{f}/text', '--file', '{f}/data.parquet', '--column', '\x1b[31mred', says='red')
paper = dict(seq_len=16, puzzle_emb_ndim=0, num_puzzle_identifiers=1, vocab_size=6, H_cycles=1, L_cycles=1, L_layers=1, hidden_size=16, expansion=4, num_heads=2,
             pos_encodings='rope', halt_max_steps=2, mlp_t=False, puzzle_emb_len=0)


def checkpoint(d, f, config=None, weights=None):
    "A checkpoint of the paper's code, with something wrong in it"
    from trm.network.weights import TRM
    from trm.puzzles.published import published_config, published_name
    sd = {f'model.inner.{published_name(k)}': v for k, v in TRM(published_config(paper)).state_dict().items()}
    torch.save(sd if weights is None else weights(sd), d/'p.ckpt')
    write(d/'p.json', json.dumps(paper if config is None else config))


theirs = 'solve', '{d}/p.ckpt', '--published', '{d}/p.json', '--board', '12..34....1....2'
for k, (kw, says) in {
        'with no settings': (dict(config={}), 'no usable setting'), 'with a list for settings': (dict(config=[]), 'p.json'), 'with settings of text': (dict(config=paper | dict(hidden_size='x')), 'p.json'),
        'with a width of its own': (dict(config=paper | dict(hidden_size=32)), 'should be ('), 'with a huge width': (dict(config=paper | dict(hidden_size=10**9)), 'd_model'),
        'of no puzzle of ours': (dict(config=paper | dict(vocab_size=7), weights=lambda sd: {k: torch.zeros(7, 16) if v.shape==(6, 16) else v for k, v in sd.items()}), 'tokens and'),
        'that runs code': (dict(weights=lambda sd: dict(state_dict=sd, boom=Boom())), 'not readable as weights'), 'that wraps a list': (dict(weights=lambda sd: dict(state_dict=[sd])), 'p.ckpt'),
        'that wraps itself': (dict(weights=lambda sd: dict(state_dict=dict(state_dict=sd))), 'p.ckpt'), 'with less': (dict(weights=lambda sd: dict([*sd.items()][1:])), 'lacks'),
        'of NaN': (dict(weights=lambda sd: {k: v*float('nan') for k, v in sd.items()}), 'finite')}.items():
    case(f'published checkpoint {k}', *theirs, make=partial(checkpoint, **kw), says=says)
case('published checkpoint without its settings', 'eval', '{d}/p.ckpt', make=checkpoint, says='--published')
case('published checkpoint without data', 'eval', '{d}/p.ckpt', '--published', '{d}/p.json', make=checkpoint, says='--data')
case('published settings that are a device', 'solve', '{d}/p.ckpt', '--published', '/dev/zero', '--board', four, make=checkpoint, says='/dev/zero')


def main():
    "Run all, tell what is wrong, write results/hostile.json"
    only = sys.argv[1] if len(sys.argv)>1 else ''
    rows, bad = [], 0
    with tempfile.TemporaryDirectory() as work:
        shared = Path(work)/'shared'; shared.mkdir()
        status, _, err, *_ = forked(lambda: make_shared(shared), Path(work)/'make')
        assert not status, err
        for c in cases.values():
            if only not in c.name: continue
            row = run_case(c, shared, work); rows.append(row); faults = wrong(c, row)
            if faults or only: print(f"{c.name}: {'; '.join(faults) or 'ok'}  {row['status']} {row['seconds']} s {row['peak_mb']} MB\n    "
                                     f"{row['line'][-700:] if 'a traceback' in faults else row['line'][:300]}", flush=True)
            bad += bool(faults)
    print(f"{len(rows)} cases, {bad} not as they should be, {sum(r['seconds'] for r in rows):.0f} s, at most {max(r['peak_mb'] for r in rows)} MB and {max(r['seconds'] for r in rows)} s")
    if not only:
        ends = {str(s): sum(r['status']==s for r in rows) for s in sorted({r['status'] for r in rows})}
        rows = [dict(name=r['name'], command=r['command'], status=r['status'], line=r['line'][:300], peak_mb=r['peak_mb'], seconds=r['seconds']) for r in rows]
        d = dict(cases=len(rows), not_as_they_should_be=bad, by_status=ends, most_mb=max(r['peak_mb'] for r in rows), most_seconds=max(r['seconds'] for r in rows), **provenance(), rows=rows)
        (root/'results/hostile.json').write_text(json.dumps(d, indent=1, ensure_ascii=False)+'\n')


if __name__ == '__main__': main()
