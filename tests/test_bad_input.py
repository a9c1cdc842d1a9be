"Whatever is wrong with the input: one line on stderr that names it, exit status 2, nothing half written."
import json
import resource
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from conftest import refused, small, small_board, trm


def table(path, **cols):
    pq.write_table(pa.table(cols), path)
    return path


def bad_file(kind, d, data):
    "A file that is wrong in the way that `kind` says"
    p = d / f'{kind}.parquet'
    if kind == 'text': p.write_text('problem,solution\n1+1,2\n')
    if kind == 'truncated': p.write_bytes(data.read_bytes()[:-1000])
    if kind == 'zero_bytes': p.write_bytes(b'')
    if kind == 'no_rows': table(p, problem=pa.array([], pa.string()), solution=pa.array([], pa.string()))
    if kind == 'columns': table(p, alpha=['a'], beta=['b'])
    if kind == 'numbers': table(p, problem=[1], solution=[2])
    if kind == 'blank': table(p, problem=['', None, ' '], solution=['1', '2', '3'])
    if kind == 'long': table(p, problem=['1+' * 500 + '1'], solution=['501'])
    return p


kinds = dict(missing='no data file', text='not a parquet', truncated='truncated', zero_bytes='parquet', no_rows='no rows',
             columns='alpha', numbers='should be', blank='blank', long='long')


@pytest.mark.parametrize('kind', kinds)
def test_bad_data(kind, tmp_path, data):
    p = bad_file(kind, tmp_path, data)
    if kind not in ('blank', 'long'): refused(trm('inspect', p), kind, kinds[kind])
    refused(trm('train', 'demo', '--data', p, '--out', tmp_path / 'run', '--sets', small), kind, kinds[kind])
    assert not (tmp_path / 'run').exists()


def test_blank_and_long_rows_are_counted(tmp_path, data):
    "Some bad rows among good ones are left out, and the output says how many"
    good = pq.read_table(data).select(['problem', 'solution']).to_pylist()
    bad = [dict(problem=None, solution='1'), dict(problem=' ', solution='1'), dict(problem='1+1', solution=''),
           dict(problem='1+' * 200 + '1', solution='201')]
    p = tmp_path / 'mixed.parquet'
    pq.write_table(pa.Table.from_pylist(good + bad), p)
    r = trm('train', 'demo', '--data', p, '--out', tmp_path / 'run', '--sets', small.replace('steps=30', 'steps=2').replace('max_seq_len=60', 'max_seq_len=90'))
    assert r.returncode == 0, r.stderr
    assert "'blank': 3" in r.stdout and "'long': 1" in r.stdout


@pytest.mark.parametrize('sets,words', [
    ('d_modl=3', ['d_modl', 'd_model']), ('steps=many', ['steps', 'int']), ('steps', ['name=value']), ('mask=round', ['causal', 'prefix']),
    ('n_heads=7', ['multiple']), ('batch_size=0', ['at least 1']), ('deep_supervision_weight=1,2', ['should be 4']),
    ('mask=full', ['causal or prefix']), ('tokenizer=word', ['bpe']), ('clip=nan', ['clip'])])
def test_bad_settings(sets, words, tmp_path, data):
    refused(trm('train', 'demo', '--data', data, '--out', tmp_path / 'run', '--sets', f'{small} {sets}'), *words)
    assert not (tmp_path / 'run').exists()


def test_bad_arguments(tmp_path, data):
    refused(trm('train', 'demoo', '--out', tmp_path / 'run'), 'demoo', 'demo, deep, text, plan')
    refused(trm('train'), 'preset')
    refused(trm('train', 'demo', '--steps', '3'), '--steps')
    refused(trm('fly'), 'fly', 'train')
    refused(trm('inspect', data, '--limit', 'few'), 'limit')


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
def test_no_cuda(tmp_path, data):
    refused(trm('train', 'demo', '--data', data, '--out', tmp_path / 'run', '--sets', f'{small} device=cuda'), 'cuda', 'cpu')
    assert not (tmp_path / 'run').exists()


def broken(run_folder, d, name, how):
    "A copy of a run with one file changed"
    run = d / 'run'
    shutil.copytree(run_folder, run)
    p = run / name
    if how == 'gone': p.unlink()
    elif how == 'cut': p.write_bytes(p.read_bytes()[:len(p.read_bytes()) // 2])
    else: p.write_text(how)
    return run


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors', 'tokenizer.json'])
@pytest.mark.parametrize('how', ['gone', 'cut', '{}'])
def test_bad_run(name, how, run_folder, tmp_path):
    run = broken(run_folder, tmp_path, name, how)
    refused(trm('eval', run, '--limit', 5), name)
    refused(trm('solve', run, 'Which is larger, 1 or 2?'), name)


def test_bad_run_settings(run_folder, tmp_path):
    d = json.loads((run_folder / 'config.json').read_text())
    d['model']['d_model'] = 32
    run = broken(run_folder, tmp_path, 'config.json', json.dumps(d))
    refused(trm('eval', run), 'model.safetensors', 'should be')
    d['model']['width'] = 3
    (run / 'config.json').write_text(json.dumps(d))
    refused(trm('eval', run), 'config.json', 'width')
    refused(trm('eval', tmp_path / 'nowhere'), 'nowhere', 'run')


def test_tokenizer_of_another_run(run_folder, tmp_path, data):
    run = tmp_path / 'run'
    shutil.copytree(run_folder, run)
    assert trm('tokenizer', data, '--vocab_size', '270', '--out', run / 'tokenizer.json').returncode == 0
    refused(trm('eval', run), 'tokens', 'tokenizer.json')


def test_long_problem(run_folder):
    refused(trm('solve', run_folder, '1+' * 300), 'max_seq_len=60')


@pytest.mark.parametrize('args,words', [
    (['--restarts', 0], ['restarts=0', 'at least 1']), (['--restarts', 'few'], ['restarts']), (['--select', 'best'], ['select=best', 'halt, first, majority'])])
def test_bad_restarts(args, words, board_run):
    refused(trm('solve', board_run, '--board', '12..34....1....2', *args), *words)
    refused(trm('eval', board_run, *args), *words)


def test_restarts_of_text(run_folder):
    refused(trm('solve', run_folder, 'Which is larger, 1 or 2?', '--restarts', 4), 'restarts=4', 'text')
    refused(trm('eval', run_folder, '--restarts', 4), 'restarts=4', 'text')


def test_no_halting_head(tmp_path):
    "Who has no opinion cannot choose by it"
    run = tmp_path / 'run'
    r = trm('train', 'sudoku4', '--out', run, '--sets', f'{small_board} halt=false steps=2')
    assert r.returncode == 0, r.stderr
    refused(trm('eval', run, '--restarts', 2, '--select', 'halt'), 'select=halt', 'majority, residual, rules')
    assert trm('eval', run, '--restarts', 2, '--select', 'residual', '--limit', 10).returncode == 0


def test_truncated_checkpoint(run_folder, tmp_path, data):
    "The newest is broken: the one before it serves, said aloud; both broken: refused"
    run = tmp_path / 'run'
    shutil.copytree(run_folder, run)
    newest, older = (run / f'checkpoints/step_{i}/state.safetensors' for i in (30, 20))
    newest.write_bytes(newest.read_bytes()[:500])
    go = 'train', 'demo', '--data', data, '--out', run, '--sets', small, '--resume'
    r = trm(*go)
    assert r.returncode == 0 and 'going on from step_20' in r.stdout, r.stdout + r.stderr
    for p in run.glob('checkpoints/*/state.safetensors'): p.write_bytes(b'')
    refused(trm(*go), 'not a whole checkpoint')


def test_no_place_to_write(tmp_path, data):
    (tmp_path / 'file').write_text('')
    refused(trm('train', 'demo', '--data', data, '--out', tmp_path / 'file/run', '--sets', small), 'file')
    refused(trm('tokenizer', data, '--out', tmp_path / 'file/tok.json'), 'file')
    refused(trm('train', 'demo', '--data', data, '--out', '/proc/run', '--sets', small), '/proc')


def test_disk_full(tmp_path, data):
    "No file may grow past 40 kB: training stops with one line and leaves no half file"
    def limit(): resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    refused(trm('train', 'demo', '--data', data, '--out', tmp_path / 'run', '--sets', small.replace('d_model=16', 'd_model=64'), preexec_fn=limit))
    assert not [p for p in (tmp_path / 'run').rglob('*') if p.name.endswith('.tmp')]
    assert not (tmp_path / 'run/model.safetensors').exists()
