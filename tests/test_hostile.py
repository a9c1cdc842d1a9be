"Whatever the input: one line and exit status 2, no traceback, no hang, at most a gigabyte, nothing half written; and no reader answers with anything but `InputError`."
import io
import json
import random
import resource
from contextlib import redirect_stderr, redirect_stdout
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file

import hostile
import trm.cli
from trm.engine.checkpoint import last_state, load_state
from trm.config import Config, apply_sets, config_from_dict, config_to_dict, get_preset, network_class, parse_value
from trm.files import InputError
from trm.files import plain, read_json
from trm.puzzles.maze import check_maze
from trm.engine.log import read_metrics
from trm.network.weights import TRM
from trm.data.pairs import open_pairs
from trm.puzzles.board import maze_chars, sudoku_chars
from trm.puzzles.files import read_boards, read_puzzles
from trm.puzzles.solver import check_sudoku
from trm.data.tokenizer import load_tokenizer
from trm.engine.strangers import check_tokenizer, read_carefully
from trm.network.weights import read_tensors
from trm.puzzles.published import published_config


@pytest.fixture(scope='session')
def shared(tmp_path_factory):
    "A data set and a run of each kind, made in a child as the cases are: this process has no threads to fork"
    d = tmp_path_factory.mktemp('shared')
    status, _, err, *_ = hostile.forked(lambda: hostile.make_shared(d), d.parent/'make')
    assert not status, err
    return d


@pytest.fixture(scope='session')
def work(tmp_path_factory): return tmp_path_factory.mktemp('cases')


@pytest.mark.parametrize('name', hostile.cases)
def test_case(name, shared, work):
    "Each of the bad inputs of `hostile.py`"
    c = hostile.cases[name]
    row = hostile.run_case(c, shared, work)
    assert not hostile.wrong(c, row), (hostile.wrong(c, row), row['status'], row['line'][-1500:])


def test_there_are_enough(): assert len(hostile.cases)>=80 and {c.argv[0] for c in hostile.cases.values() if c.argv}>={'inspect','tokenizer','train','eval','solve'}


# random damage

few = partial(settings, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def damaged(data, seed):
    "Valid bytes after some accidents: bits flipped, cut, spliced, repeated, overwritten"
    r, b = random.Random(seed), bytearray(data)
    for _ in range(r.choice([1, 1, 2, 5])):
        i, j = sorted(r.randrange(len(b)+1) for _ in range(2))
        how = r.randrange(7)
        if how==0 and b: b[i%len(b)] ^= 1<<r.randrange(8)
        elif how==1: b = b[:j]
        elif how==2: b = b[:i]+b[j:]
        elif how==3: b = b[:j]+b[i:min(j, i+1000)]+b[j:]
        elif how==4: b[i:i+4] = r.choice([b'\xff\xff\xff\xff', b'\x00\x00\x00\x80', b'NaN,', b'"\\ud', b'1e99', b'[[[[', b'-1, ', b'null'])
        elif how==5: b[i:i+r.randrange(20)] = r.randbytes(r.randrange(20))
        elif how==6: b = bytearray(b.decode('latin-1').replace(*r.choice([('0','-1'), ('1','1e30'), ('{','['), ('"',"'"), ('2','99999999999'), (':',',')]), r.randrange(1, 4)).encode('latin-1'))
    return bytes(b)


def damage(path, data, reads, n=40, raw=8):
    "Only `InputError` may come out, and little memory may be asked for"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(n):
        what = damaged(data, seed) if seed>=raw else random.Random(seed).randbytes(10**seed%1009)
        path.write_bytes(what)
        for read in reads:
            try: read()
            except InputError as e: assert str(e)
            except BaseException as e: raise AssertionError(f'{path.name}, seed {seed}: {type(e).__name__}: {e}') from e
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-before<600*1024


@pytest.fixture(scope='module')
def valid(tmp_path_factory):
    "Small valid files of each kind"
    d = tmp_path_factory.mktemp('valid')
    hostile.table(d/'pairs.parquet', hostile.good)
    hostile.table(d/'chats.parquet', dict(messages=hostile.pa.array(hostile.odd_chats*3, hostile.chat)))
    hostile.table(d/'puzzles.parquet', dict(question=hostile.q, answer=hostile.a, rating=[1, 2, 3], split=['test']*3))
    (d/'puzzles.csv').write_text('question,answer,split\n' + ''.join(f'{x},{y},test\n' for x, y in zip(hostile.q, hostile.a)))
    cfg = Config().change(d_model=8, n_heads=2, vocab_size=20, seq_len=12)
    TRM(cfg.model).save_pretrained(d/'run', train=config_to_dict(cfg)['train'])
    from trm.engine.checkpoint import save_state
    save_state(d/'run/checkpoints/step_3', dict(model=TRM(cfg.model).state_dict(), step=3, best=[0., -1.], opt0=dict(a=torch.ones(2))))
    from trm.data.tokenizer import train_tokenizer
    for m in ('bpe','unigram','wordlevel'): train_tokenizer(d/'pairs.parquet', 300, d/f'{m}.json', m)
    (d/'published.json').write_text(json.dumps(dict(seq_len=16, puzzle_emb_ndim=64, num_puzzle_identifiers=3, vocab_size=7, H_cycles=3, L_cycles=2, L_layers=2, hidden_size=64,
                                                    expansion=4, num_heads=2, pos_encodings='rope', halt_max_steps=3, mlp_t=False, puzzle_emb_len=2)))
    with open(d/'a.npy', 'wb') as f: np.save(f, hostile.boards_ok)
    return d


def whole(pairs): return [b.to_pylist() for b in pairs.batches()]


@pytest.mark.parametrize('name', ['pairs.parquet','chats.parquet'])
def test_damaged_pairs(name, valid, tmp_path):
    p = tmp_path/'p.parquet'
    damage(p, (valid/name).read_bytes(), [lambda: whole(open_pairs(p))], 150)


@pytest.mark.parametrize('name', ['puzzles.parquet','puzzles.csv'])
def test_damaged_puzzles(name, valid, tmp_path):
    p = tmp_path/name
    damage(p, (valid/name).read_bytes(), [lambda: read_puzzles(p, '.1234', read_carefully), lambda: read_boards(p, '.1234')], 150)


def test_damaged_arrays(valid, tmp_path):
    p = tmp_path/'p'; p.mkdir()
    (p/'dataset.json').write_text('{}'); (p/'all__labels.npy').write_bytes((valid/'a.npy').read_bytes())
    damage(p/'all__inputs.npy', (valid/'a.npy').read_bytes(), [lambda: read_puzzles(p, '.1234')], 150)


@pytest.mark.parametrize('name', ['model.safetensors','config.json'])
def test_damaged_run(name, valid, tmp_path):
    for n in ('model.safetensors','config.json'): (tmp_path/n).write_bytes((valid/'run'/n).read_bytes())
    damage(tmp_path/name, (valid/'run'/name).read_bytes(), [lambda: TRM.from_pretrained(tmp_path)], 150)


@pytest.mark.parametrize('name', ['bpe','unigram','wordlevel'])
def test_damaged_tokenizer(name, valid, tmp_path):
    p = tmp_path/'tokenizer.json'
    damage(p, (valid/f'{name}.json').read_bytes(), [lambda: load_tokenizer(check_tokenizer(p)).encode('7+7 is x')], 150)


def test_damaged_weights(valid, tmp_path):
    for name, save in (('w.pt', torch.save), ('w.safetensors', save_file)):
        save(dict(a=torch.ones(3, 2), b=torch.zeros(2)), tmp_path/name)
        damage(tmp_path/name, (tmp_path/name).read_bytes(), [lambda: read_tensors(tmp_path/name)], 100)


def test_damaged_published(valid, tmp_path):
    p = tmp_path/'c.json'
    damage(p, (valid/'published.json').read_bytes(), [lambda: published_config(p), lambda: read_json(p)], 200)


@pytest.mark.parametrize('name', ['state.json','state.safetensors'])
def test_damaged_state(name, valid, tmp_path):
    d = tmp_path/'checkpoints/step_3'; d.mkdir(parents=True)
    for n in ('state.json','state.safetensors'): (d/n).write_bytes((valid/'run/checkpoints/step_3'/n).read_bytes())
    damage(d/name, (d/name).read_bytes(), [lambda: load_state(d), lambda: last_state(tmp_path)], 150)


def test_damaged_metrics(tmp_path):
    p = tmp_path/'metrics.csv'
    damage(p, b'step,loss,valid_loss_step1\n1,.5,\n2,.4,.3\n', [lambda: [r['step'] for r in read_metrics(p)]], 150)


# random values

values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3), max_leaves=5)
bases = {c.model.network: config_to_dict(c) for c in (Config(), get_preset('sudoku4'), get_preset('sudoku_fast'))}
known = {n: [(p, k) for p in ('model','train') for k in d[p]] for n, d in bases.items()}
networks = st.sampled_from([*bases])


def only_input_error(f, *args):
    try: return f(*args)
    except InputError as e: assert str(e)


@few(max_examples=300)
@given(networks.flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.sampled_from(known[n]), values), max_size=4))), values)
def test_random_config(changes, other):
    "Any JSON is a configuration or refused, and one that is none is not believed"
    name, changes = changes
    base = bases[name]
    d = json.loads(json.dumps(base))
    for (p, k), v in changes: d[p][k] = v
    only_input_error(config_from_dict, d); only_input_error(config_from_dict, other); only_input_error(published_config, other if isinstance(other, dict) else {})
    for p in ('model','train','network'): only_input_error(config_from_dict, base | {p: other})


numbers = st.sampled_from([0, 1, -1, 2**31, 2**63, 10**30, .5, 1e300, float('inf'), float('nan'), 64, 4096])


@few(max_examples=200)
@given(networks.flatmap(lambda n: st.tuples(st.just(n), st.dictionaries(st.sampled_from([k for p, k in known[n] if p=='model']), numbers, max_size=5))))
def test_random_sizes(changes):
    "A network that is not refused can be built on this machine"
    name, changes = changes
    cfg = only_input_error(lambda: config_from_dict(bases[name]).change(**changes))
    if cfg:
        with torch.device('meta'): n = sum(p.numel() for p in network_class(name)(cfg.model).parameters())
        assert n<=2.1*2**30  # the bounds on the block and on the puzzles' vectors are 2**30 each


@few(max_examples=300)
@given(st.text(max_size=30), st.sampled_from(sorted({k for ks in known.values() for _, k in ks} | {'network'})), st.sampled_from([bool, int, float, str]))
def test_random_sets(s, k, typ):
    for text in (s, f'{k}={s}', f'{s}={s}', f'{k}={s} network=PrefixTRM'): only_input_error(apply_sets, Config(), text)
    only_input_error(parse_value, s, typ, k)


@few(max_examples=150)
@given(st.text(max_size=300) | st.text('.01234', min_size=16, max_size=16) | st.text('123456789.', min_size=81, max_size=81) | st.text('.'*30+'12345678', min_size=256, max_size=256),
       st.sampled_from([None, 4, 6, 9, 16]))
def test_random_sudoku(board, side):
    got = only_input_error(check_sudoku, board, side)
    if got: assert set(got[0])<=set(sudoku_chars(got[1])) and len(got[0])==got[1]**2


@few(max_examples=150)
@given(st.text(max_size=100) | st.text(maze_chars+'\n.', max_size=40) | st.builds(lambda a, b: 'S'+a+'G'+b, st.text('# ', max_size=20), st.text('# ', max_size=20)), st.sampled_from([None, 2, 3, 6]))
def test_random_maze(board, side):
    got = only_input_error(check_maze, board, side)
    if got: assert set(got[0])<=set('# SG') and len(got[0])==got[1]**2


@few(max_examples=200)
@given(st.text(max_size=50))
def test_plain(s):
    assert plain(s, '').isprintable() and len(plain(s))==len(s)
    plain(s).encode()


words = st.text(max_size=12) | st.sampled_from(['--limit','--steps','--out','--sets','--restarts','--split','--board','--file','--json','--data','--resume','--','-','-1','0','9'*400,'..','/','=','²','\x1b','\udc80','\0'])


@few(max_examples=60)
@given(st.sampled_from(['inspect','tokenizer','train','eval','solve','']), st.lists(words, max_size=4))
def test_random_arguments(tmp_path_factory, command, args):
    "Nonsense after a command: status 2 and one line"
    d = tmp_path_factory.mktemp('here')
    with pytest.MonkeyPatch.context() as m, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        m.chdir(d)
        with pytest.raises(SystemExit) as e: trm.cli.main([command, 'none', *args])
    line = err.getvalue().rstrip('\n')
    assert e.value.code==2 and line and line.isprintable(), (e.value.code, line)
    assert not list(d.iterdir())


def test_no_pickle_is_read(): assert not any('pickle.load' in p.read_text() or 'allow_pickle=True' in p.read_text() or 'weights_only=False' in p.read_text()
                                             for p in (hostile.root/'trm').glob('**/*.py'))


def test_a_valid_file_is_valid(valid):
    "The files that are damaged above are good before that"
    assert whole(open_pairs(valid/'pairs.parquet')) and whole(open_pairs(valid/'chats.parquet')) and pq.read_table(valid/'puzzles.parquet').num_rows==len(read_puzzles(valid/'puzzles.csv', '.1234'))
    for m in ('bpe','unigram','wordlevel'): assert load_tokenizer(check_tokenizer(valid/f'{m}.json'))
    assert TRM.from_pretrained(valid/'run') and last_state(valid/'run')['step']==3
