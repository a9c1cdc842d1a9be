"Tables as people bring them: each format, packed or not, gives the same pairs; folders, chats, columns by hand"
import json
import os
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import shared, small, trm
from trm.data.pairs import open_pairs
from trm.data.tables import as_parquet, find_files, format_of, formats, is_header, read_frame
from trm.data.tables import tables_folder
from trm.engine.strangers import open_carefully
from trm.files import InputError

Q = [f'What is {i}+{i}, "please"?\nIn ü.' for i in range(30)]
A = [f'{i}; that is\t{2*i},\n#### {2*i}' for i in range(30)]
frame = pd.DataFrame(dict(problem=Q, solution=A))


def arrow_stream(path):
    "As `save_to_disk` writes it"
    t = pa.Table.from_pandas(frame)
    with pa.OSFile(str(path), 'wb') as f, pa.ipc.new_stream(f, t.schema) as w:
        for b in t.to_batches(10): w.write_batch(b)


writers = {
    'x.parquet': frame.to_parquet, 'x.pq': frame.to_parquet, 'x.PARQUET': frame.to_parquet,
    'x.jsonl': lambda p: frame.to_json(p, orient='records', lines=True),
    'x.ndjson': lambda p: frame.to_json(p, orient='records', lines=True, force_ascii=False),
    'x.json': lambda p: frame.to_json(p, orient='records', indent=2),
    'columns.json': frame.to_json, 'lists.json': lambda p: p.write_text(json.dumps(frame.to_dict('list'))),
    'x.csv': lambda p: frame.to_csv(p, index=False), 'index.csv': frame.to_csv,
    'bom.csv': lambda p: frame.to_csv(p, index=False, encoding='utf-8-sig'),
    'crlf.csv': lambda p: p.write_bytes('\r\n'.join(['problem,solution', *(
        f'"{q}","{a}"' for q, a in zip([q.replace('"', '""') for q in Q], A))]).encode()),
    'semicolon.csv': lambda p: frame.to_csv(p, index=False, sep=';'),
    'x.tsv': lambda p: frame.to_csv(p, index=False, sep='\t'),
    'bar.csv': lambda p: frame.to_csv(p, index=False, sep='|'),
    'x.feather': frame.to_feather, 'x.arrow': arrow_stream}


def rows(path, opening=open_pairs, **kw):
    return [tuple(r.values())[:2] for b in opening(path, **kw).batches(7) for r in b.to_pylist()]


@pytest.mark.parametrize('packing', ['', '.gz', '.zst'])
@pytest.mark.parametrize('name', writers)
def test_each_format_gives_the_same(name, packing, tmp_path):
    path = tmp_path / name
    writers[name](path)
    if packing:
        packed = tmp_path / f'{name}{packing}'
        with pa.output_stream(packed, compression=dict(gz='gzip', zst='zstd')[packing[1:]]) as f:
            f.write(path.read_bytes())
        path.unlink()
        path = packed
    assert format_of(path)[0] in formats
    assert rows(path) == rows(path, open_carefully) == rows(tmp_path, open_carefully) == list(zip(Q, A))
    assert read_frame(path)[['problem', 'solution']].equals(frame)


def test_columns_without_names(tmp_path):
    (tmp_path / 'x.csv').write_text('What is 1+1?;2\nWhat is 1+2?;3\n')
    with pytest.raises(InputError, match='by --problem and --solution .*among 0 .*, 1 '): open_pairs(tmp_path / 'x.csv')
    assert rows(tmp_path / 'x.csv', problem='0', solution='1')[1] == ('What is 1+2?', '3')
    (tmp_path / 'b.csv').write_text('0043,1243\n0000,4321\n')
    assert read_frame(tmp_path / 'b.csv').to_dict('list') == {'0': ['0043', '0000'], '1': ['1243', '4321']}


@pytest.mark.parametrize('row, header', [
    (['problem', 'solution'], 1), (['quizzes', 'solutions'], 1), (['', 'a', 'b'], 1), (['Question Text', 'Final answer'], 1),
    (['id', 'source', 'rating', 'puzzle'], 1), (['53..7....', '534678912'], 0), (['What is it?', 'a'], 0), (['0', '1'], 0),
    (['.1', '21'], 0), (['This is a long first row', 'b'], 0), (['a', '5'], 0)])
def test_headers(row, header): assert is_header(row) == bool(header)


def test_numbers_as_they_are_written(tmp_path):
    "No float between the file and the answer"
    answers = ['12345678901234560058', '0.10', '1e400', '-7', 'true', '1'*5000]
    (tmp_path / 'x.jsonl').write_text('\n'.join(f'{{"question": "q", "answer": {a}}}' for a in answers))
    assert [a for _, a in rows(tmp_path / 'x.jsonl')] == answers
    (tmp_path / 'x.csv').write_text('question,answer\n' + '\n'.join(f'q,{a}' for a in ['0043', '1.0', 'NA', '']))
    assert [a for _, a in rows(tmp_path / 'x.csv')] == ['0043', '1.0', 'NA', '']


def test_late_columns_and_mixed_types(tmp_path):
    lines = [dict(problem='a'), dict(problem='b', solution=None), dict(problem='c', solution=5),
             dict(problem='d', solution=.5), dict(problem='e', solution='x'), dict(solution='y', extra=1)]
    (tmp_path / 'x.jsonl').write_text('\n\n'.join(map(json.dumps, lines)))
    assert rows(tmp_path / 'x.jsonl') == [('a', None), ('b', None), ('c', '5'), ('d', '0.5'), ('e', 'x'), (None, 'y')]


def test_a_row_is_named(tmp_path):
    good = ['{"problem": "a", "solution": "b"}']*25_000
    for text, says in (('{"problem": "a"', 'row 25001: not readable as json'), ('7', 'row 25001 is of type int')):
        (tmp_path / 'x.jsonl').write_text('\n'.join([*good, text]))
        with pytest.raises(InputError, match=says) as e: open_pairs(tmp_path / 'x.jsonl')
        assert '\n' not in str(e.value)
    (tmp_path / 'x.csv').write_text('problem,solution\n' + 'a,b\n'*25_000 + 'a,b,c\n')
    with pytest.raises(InputError, match='Row #25002: Expected 2 columns, got 3'): open_pairs(tmp_path / 'x.csv')


def test_long_rows(tmp_path):
    long = 'x'*10**7
    pd.DataFrame(dict(problem=['a', long], solution=['b', 'c'])).to_json(tmp_path / 'x.jsonl', orient='records', lines=True)
    pd.DataFrame(dict(problem=['a', long], solution=['b', 'c'])).to_csv(tmp_path / 'x.csv', index=False)
    for name in ('x.jsonl', 'x.csv'): assert rows(tmp_path / name) == [('a', 'b'), (long, 'c')]


def test_a_copy_is_made_once_and_again_after_a_change(tmp_path):
    path = tmp_path / 'x.csv'
    path.write_text('problem,solution\n1,2\n')
    copy = as_parquet(path)
    made = copy.stat().st_mtime_ns
    assert rows(path) == [('1', '2')] and as_parquet(path).stat().st_mtime_ns == made
    path.write_text('problem,solution\n1,2\n3,4\n')
    assert rows(path)[1] == ('3', '4') and not copy.exists()
    path.write_text('problem,solution\n1,2,3\n')
    with pytest.raises(InputError): rows(path)
    assert not [*tables_folder().glob('*.tmp')]


def test_a_stamp_is_that_of_the_file(tmp_path):
    frame.to_csv(tmp_path / 'x.csv', index=False)
    name, size, _ = open_pairs(tmp_path / 'x.csv').stamp()[0]
    assert (name, size) == ('x.csv', (tmp_path / 'x.csv').stat().st_size)


# folders


def test_where_files_are(tmp_path):
    real = tmp_path / 'elsewhere'
    for p in ('data/a.pq', 'data/B.PARQUET', 'data/.hidden.parquet', 'data/_metadata', 'data/_common.parquet',
              'data/.cache/c.parquet', 'data/notes.txt', 'data/more.csv'):
        (tmp_path / p).parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(tmp_path / p)
    real.mkdir()
    frame.to_parquet(real / 'd.parquet')
    (tmp_path / 'data/link').symlink_to(real)
    (tmp_path / 'data/loop').symlink_to(tmp_path / 'data')
    os.mkfifo(tmp_path / 'data/fifo.parquet')
    found = [p.relative_to(tmp_path / 'data').as_posix() for p in find_files(tmp_path / 'data')]
    assert found == ['B.PARQUET', 'a.pq', 'link/d.parquet']
    assert [p.name for p in find_files(tmp_path / 'data/*.pq')] == ['a.pq']


def test_one_format_and_one_configuration(tmp_path):
    for name in ('a.csv', 'b.jsonl'): writers[f'x{name[1:]}'](tmp_path / name)
    with pytest.raises(InputError, match='holds 1 csv and 1 json files; should be of one format'): find_files(tmp_path)
    frame.to_parquet(tmp_path / 'c.parquet')
    assert [p.name for p in find_files(tmp_path)] == ['c.parquet']
    for c in ('main', 'socratic'):
        (tmp_path / 'set' / c).mkdir(parents=True)
        for s in ('train', 'test'): frame.to_parquet(tmp_path / f'set/{c}/{s}-00000-of-00001.parquet')
    with pytest.raises(InputError, match='configurations main, socratic; should be one of them, such as .*/set/main'):
        find_files(tmp_path / 'set')
    assert len(find_files(tmp_path / 'set/main')) == 2
    assert len(find_files(tmp_path / 'set/*/train*')) == 2


def test_hive_partitions(tmp_path):
    for n, part in (('en', frame[:10]), ('a%20b', frame[10:])):
        folder = tmp_path / f'family={n}' / 'level=3'
        folder.mkdir(parents=True)
        part.to_parquet(folder / 'part-0.parquet')
    pairs = open_pairs(tmp_path)
    assert pairs.extra == ['family', 'level']
    got = pa.Table.from_batches(pairs.keep('family').batches(4)).to_pandas()
    assert got.family.value_counts().to_dict() == {'a b': 20, 'en': 10} and sorted(got.problem) == sorted(Q)
    assert read_frame(tmp_path).level.tolist() == ['3']*30
    from trm.data.dataset import MathDataset
    from trm.data.tokenizer import train_tokenizer
    ds = MathDataset(tmp_path, train_tokenizer(pairs, 300), 1000, families=['en'])
    assert len(ds) == 10 and ds.names == ['en']


def test_save_to_disk(tmp_path):
    for split in ('train', 'test'):
        (tmp_path / split).mkdir()
        arrow_stream(tmp_path / split / 'data-00000-of-00001.arrow')
        arrow_stream(tmp_path / split / 'cache-123.arrow')
        (tmp_path / split / 'dataset_info.json').write_text('{"features": {}}')
        (tmp_path / split / 'state.json').write_text(json.dumps(dict(
            _data_files=[dict(filename='data-00000-of-00001.arrow')], _split=split)))
    (tmp_path / 'dataset_dict.json').write_text('{"splits": ["train", "test"]}')
    assert rows(tmp_path / 'train') == list(zip(Q, A))
    assert [p.relative_to(tmp_path).as_posix() for p in find_files(tmp_path)] == [
        'test/data-00000-of-00001.arrow', 'train/data-00000-of-00001.arrow']


# parquet in every encoding, columns of every type


@pytest.mark.parametrize('kind', ['DELTA_LENGTH_BYTE_ARRAY', 'DELTA_BYTE_ARRAY', 'PLAIN', 'RLE_DICTIONARY'])
def test_encodings(kind, tmp_path):
    "DuckDB writes delta encodings"
    t = dict(problem=Q, answer=list(range(30)), weight=[i/2 for i in range(30)])
    how = dict(use_dictionary=True) if kind == 'RLE_DICTIONARY' else dict(use_dictionary=False, column_encoding=dict(
        problem=kind, answer='DELTA_BINARY_PACKED', weight='BYTE_STREAM_SPLIT'))
    pq.write_table(pa.table(t), tmp_path / 'x.parquet', row_group_size=7, **how)
    for opening in (open_pairs, open_carefully):
        assert rows(tmp_path / 'x.parquet', opening) == list(zip(Q, map(str, range(30))))
        assert rows(tmp_path / 'x.parquet', opening, solution='weight')[3] == (Q[3], '1.5')
    assert read_frame(tmp_path / 'x.parquet').answer.tolist() == list(range(30))


types = dict(large=pa.large_string(), view=pa.string_view(), bytes=pa.binary(), large_bytes=pa.large_binary(),
             categories=pa.dictionary(pa.int8(), pa.string()), byte_categories=pa.dictionary(pa.int32(), pa.binary()))


@pytest.mark.parametrize('name', types)
@pytest.mark.parametrize('suffix', ['parquet', 'arrow'])
def test_types_of_text(name, suffix, tmp_path):
    path, t = tmp_path / f'x.{suffix}', types[name]

    def column(v):
        if not pa.types.is_dictionary(t): return pa.array([s.encode() if 'bytes' in name else s for s in v], t)
        return pa.array([s.encode() if 'byte' in name else s for s in v]).dictionary_encode().cast(t)
    table = pa.table(dict(question=column(Q), answer=column(A)))
    if suffix == 'parquet': pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), 'wb') as f, pa.ipc.new_file(f, table.schema) as w: w.write_table(table)
    for opening in (open_pairs, open_carefully): assert rows(path, opening) == list(zip(Q, A))


def test_bytes_that_are_no_text(tmp_path):
    pq.write_table(pa.table(dict(problem=['a'], answer=[b'\xff'])), tmp_path / 'x.parquet')
    with pytest.raises(InputError, match='x.parquet: .*UTF.?8.*should be text in UTF-8'): rows(tmp_path / 'x.parquet')
    pq.write_table(pa.table(dict(problem=['a'], answer=['b'], image=[b'\xff'])), tmp_path / 'x.parquet')
    assert rows(tmp_path / 'x.parquet') == [('a', 'b')]


# chats

ask, reply = dict(role='user', content='1+1?'), dict(role='assistant', content='2')
system = dict(role='system', content='Be brief.')


def parts(turn): return turn | dict(content=[dict(type='image', text=None), dict(type='text', text=turn['content'][:1]),
                                             dict(type='text', text=turn['content'][1:])])


chat = [system, ask, reply, dict(role='user', content='Sure?'), dict(role='assistant', content='Yes.')]
forms = {
    'messages': dict(messages=[chat]*2), 'parts': dict(messages=[[parts(t) for t in chat]]*2),
    'json': dict(messages=[json.dumps(chat)]*2), 'json of parts': dict(conversations=[json.dumps([parts(t) for t in chat])]*2),
    'json with a blank': dict(messages=[json.dumps(chat), None, '']),
    'trl': dict(prompt=[[system, ask]]*2, completion=[[reply]]*2),
    'trl of parts': dict(prompt=[[parts(ask)]]*2, completion=[[parts(reply)]]*2),
    'trl of two turns': dict(prompt=[chat[:4]]*2, completion=[chat[4:]]*2),
    'trl as json': dict(prompt=[json.dumps([ask])]*2, completion=[json.dumps([reply])]*2),
    'text and a chat': dict(prompt=['1+1?']*2, completion=[[reply]]*2),
    'roles of others': dict(messages=[[dict(role='Prompter', content='1+1?'), dict(role='Model', content='2')]]*2),
    'sharegpt': {'conversations': [[{'from': 'human', 'value': '1+1?'}, {'from': 'gpt', 'value': '2'}]]*2},
}


@pytest.mark.parametrize('suffix', ['parquet', 'jsonl', 'arrow'])
@pytest.mark.parametrize('name', forms)
def test_chats(name, suffix, tmp_path):
    path, form = tmp_path / f'x.{suffix}', forms[name]
    table = pa.table(form)
    if suffix == 'jsonl':
        path.write_text('\n'.join(json.dumps(dict(zip(form, cells))) for cells in zip(*form.values())))
    elif suffix == 'parquet': pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), 'wb') as f, pa.ipc.new_stream(f, table.schema) as w: w.write_table(table)
    for opening in (open_pairs, open_carefully):
        got = rows(path, opening)
        assert got[0] == ('1+1?', '2') and got[1:] in ([('1+1?', '2')], [(None, None)]*2)


def test_strange_speakers(tmp_path):
    strange = [[dict(role='alice', content='1+1?'), dict(role='carol', content='2')]]
    for name, cells in dict(typed=strange, text=[json.dumps(strange[0])]).items():
        pq.write_table(pa.table(dict(messages=cells)), tmp_path / f'{name}.parquet')
        with pytest.raises(InputError, match='speakers are alice, carol; should be one of user, human'):
            open_pairs(tmp_path / f'{name}.parquet')
    pq.write_table(pa.table(dict(messages=strange+[chat])), tmp_path / 'x.parquet')
    r = trm('inspect', tmp_path / 'x.parquet')
    assert r.returncode == 0 and 'nulls: 1 in problem, 1 in solution' in r.stdout
    assert 'alice 1 (not known)' in r.stdout and 'user 2,' in r.stdout


# by hand, in every command


def test_columns_by_hand(tmp_path):
    "A setting of the run: trained, resumed and scored without being named again"
    q = [f'What is {i}+{i}?' for i in range(300)]
    path, run = tmp_path / 'x.jsonl.gz', tmp_path / 'run'
    pd.DataFrame(dict(left=q, right=[f'#### {2*i}' for i in range(300)])).to_json(path, orient='records', lines=True)
    by, steps = ('--problem', 'left', '--solution', 'right'), f'{small} steps=4 eval_every=4 save_every=2'
    for command in ('inspect', 'tokenizer'):
        r = trm(command, path)
        assert r.returncode == 2 and 'by --problem and --solution' in r.stderr and len(r.stderr.splitlines()) == 1
        assert trm(command, path, *by, cwd=tmp_path).returncode == 0
    r = trm('train', 'demo', '--data', path, '--out', run, '--sets', steps, *by)
    assert r.returncode == 0 and 'columns: problem=left, solution=right' in r.stdout, r.stderr
    kept = json.loads((run / 'config.json').read_text())['train']
    assert (kept['problem'], kept['solution']) == ('left', 'right')
    assert trm('eval', run, '--limit', '5').returncode == 0
    pd.DataFrame(dict(ask=q, say=q)).to_csv(tmp_path / 'other.csv', index=False)
    r = trm('eval', run, '--data', tmp_path / 'other.csv')
    assert r.returncode == 2 and 'no column left' in r.stderr
    r = trm('eval', run, '--data', tmp_path / 'other.csv', '--problem', 'ask', '--solution', 'say')
    assert r.returncode == 0 and 'on 300 of the all split' in r.stdout, r.stderr
    for more in ('streaming=true', f'cache={tmp_path}/kept'):
        r = trm('train', 'demo', '--data', path, '--out', tmp_path / f'run {more[:5]}', '--sets', f'{steps} problem=left solution=right {more}')
        assert r.returncode == 0, r.stderr


def test_two_processes_copy_at_once(tmp_path):
    pd.concat([frame]*3000).to_json(tmp_path / 'x.jsonl', orient='records', lines=True)
    code = f'from trm.data.pairs import open_pairs; print(open_pairs({str(tmp_path / "x.jsonl")!r}).num_rows)'
    started = [subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate()[0].strip() for p in started] == ['90000']*2


def test_real_sets():
    "The sets beside the clone"
    assert open_pairs(shared('gsm8k')).columns() == 'problem=question, solution=answer'
    assert open_pairs(shared('sharegpt')).columns() == 'problem=conversations (chats)'
