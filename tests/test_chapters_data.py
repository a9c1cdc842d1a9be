"Odd input for the chapters on data: what a chapter says of one case, tested on many"
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib import pyplot as plt
from tokenizers import Tokenizer, models

from trm.data.dataset import MathDataset, most_letters
from trm.data.inspection import inspect, show_lengths
from trm.data.pairs import find_columns, known_pairs, open_pairs
from trm.data.problems import bundled, families, make_problems
from trm.data.tokenizer import format_text, load_tokenizer, train_tokenizer
from trm.data.worked import Family, worked
from trm.engine.strangers import open_carefully
from trm.files import InputError, check_file, check_place, hub_files, locate, plain, read_json
from trm.files import write_file


def refused(text, f, *args, **kw):
    "`f` raises an `InputError` of one line that holds `text`"
    with pytest.raises(InputError, match=re.escape(text)) as e: f(*args, **kw)
    assert '\n' not in str(e.value)


# Files

def test_write_file_follows_no_link(tmp_path):
    "Neither at the name of the file nor at that of its unfinished version"
    path = tmp_path / 'a.txt'
    write_file(path, lambda p: p.write_text('old'))
    for link in ('b.txt', '.b.txt.tmp'): (tmp_path / link).symlink_to(path)
    write_file(tmp_path / 'b.txt', lambda p: p.write_text('new'))
    assert path.read_text() == 'old' and (tmp_path / 'b.txt').read_text() == 'new'


def test_write_file_wants_a_file(tmp_path):
    refused('is a folder', write_file, tmp_path, lambda p: p.write_text('x'))


def test_check_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for bad in (tmp_path, tmp_path / 'pipe', '/dev/zero'):
        refused('is no file', check_file, bad, 'a csv')
    refused('no such file; should be a csv', check_file, tmp_path / 'none', 'a csv')
    refused('no such file', check_file, 'a\0b', 'a csv')
    (tmp_path / 'a.json').write_text('{"a": 1}')
    assert check_file(tmp_path / 'a.json', most=8) == tmp_path / 'a.json'
    refused('has 8 bytes; should be a card, of at most 7',
            check_file, tmp_path / 'a.json', 'a card', most=7)


def test_check_place(tmp_path):
    (tmp_path / 'a.json').touch()
    for p, make in ((tmp_path / 'new.json', False), (tmp_path / 'none/x', True)):
        assert check_place(p, 'json', make) == p
    for bad in (tmp_path, '/', ''): refused('is a folder', check_place, bad, 'json')
    for bad in ('none', 'a.json'):
        refused(f'{bad} is no folder', check_place, tmp_path / bad / 'x', 'json')


@pytest.mark.parametrize('text, why', [
    (b'{"a": ', 'Expecting value'), (b'[NaN]', 'NaN is no number'),
    (b'{"a": 1, "a": 2}', 'twice'), (b'[' * 100_000, 'nested too deeply'),
    (b'9' * 5000, 'limit'), (b'"\xff"', "can't decode")], ids=lambda o: None)
def test_bad_json(text, why, tmp_path):
    (tmp_path / 'a.json').write_bytes(text)
    refused(why, read_json, tmp_path / 'a.json')


def test_plain():
    assert plain('\x1b[31mred\x07\n') == '�[31mred�\n'


def test_locate(tmp_path):
    (tmp_path / 'config.json').write_text('{}')
    assert locate(tmp_path, 'config.json') == tmp_path / 'config.json'
    refused('model.safetensors: no such file', locate, tmp_path, 'model.safetensors')
    for bad in ('sudoku7', 'owner/name', tmp_path / 'none'):  # not looked up anywhere
        refused('no such run; should be a run folder', locate, bad, 'config.json')
    refused('no data set or network named', locate, 'hf://', 'config.json')
    refused('no data set or network named; should be hf://owner/dataset/file.parquet',
            hub_files, 'hf://owner')


# Inspection

def test_inspect_stops_at_the_limit(tmp_path):
    pq.write_table(pa.table(dict(q=['1+1'] * 3, a=['2'] * 3)), tmp_path / 'a.parquet', row_group_size=2)
    few = inspect(tmp_path / 'a.parquet', 'q', 'a', limit=2)
    assert (few.rows, few.duplicates) == (2, 1)
    assert 'only the first 2 rows' in str(few)
    refused('limit=0: should be at least 1', inspect, bundled(), limit=0)
    refused('no column kind to count by; should be one of answer, family',
            inspect, bundled(), by='kind')


def test_figure_of_lengths_shows_the_counts():
    ins = inspect(bundled(), max_seq_len=120)
    counts, fits = ins.counts, {}
    assert counts.loc['product', 'longest pair'] < 50 < 300 < counts['longest pair'].max()
    for line in show_lengths(ins).get_lines()[:-1]:
        x, y = map(np.asarray, line.get_data())
        fits[line.get_label()] = y[x <= 120][-1]-y[0]
    plt.close('all')
    assert list(fits) == counts.index.tolist()
    assert np.allclose([*fits.values()], 1 - counts['over 120'])
    assert fits['knights'] < .5
    assert {v for v, share in fits.items() if share < 1} == {'boolean', 'knights', 'logic', 'dereference', 'reach'}
    assert np.isclose(ins.cut, (counts['over 120'] * counts['rows']).sum() / ins.kept)


def test_the_report_names_the_path_and_no_address_of_a_function():
    pairs = open_pairs(bundled())
    assert str(inspect(pairs, limit=5)) == str(inspect(bundled(), limit=5))
    assert ' at 0x' not in repr(pairs)


# Tokenizer

@pytest.mark.parametrize('model', ['bpe', 'unigram', 'wordlevel'])
def test_a_saved_tokenizer_comes_back(model, data, tmp_path):
    path = tmp_path / 'processed' / 'tokenizer.json'
    tok = train_tokenizer(data, 300, path, model, split_digits=False)
    back = load_tokenizer(path)
    assert back.to_str() == tok.to_str()
    assert 2 not in back.encode('<EOS>').ids
    assert back.decode([4, 5]) == Tokenizer.from_file(str(path)).decode([4, 5])


def test_training_is_repeatable_and_lossless(data):
    "Trained twice, the same vocabulary; a text that the data never held is not lost"
    tok = train_tokenizer(data, 300)
    assert train_tokenizer(data, 300).get_vocab() == tok.get_vocab()
    for t in (tok, train_tokenizer(data, 300, model='unigram')):
        assert t.decode(t.encode('naïve 🙂 数学').ids) == 'naïve 🙂 数学'


def test_bad_tokenizers(data, tmp_path):
    path = tmp_path / 'tokenizer.json'
    refused('no such file', load_tokenizer, path)
    path.write_text('{}')
    refused('not a tokenizer.json', load_tokenizer, path)
    Tokenizer(models.BPE()).save(str(path))
    refused('<PAD> has id None; should be 0', load_tokenizer, path)
    refused('at least 260', train_tokenizer, data, 100)
    refused('bpe, unigram or wordlevel', train_tokenizer, data, 512, model='word')


# Dataset

@pytest.mark.parametrize('model', ['bpe', 'unigram'])
def test_no_token_stands_for_more_letters_than_the_bound(model):
    rows = next(open_pairs(bundled()).batches(3000)).to_pylist()
    texts = [format_text(r['problem'], r['solution']) for r in rows]
    texts += ['🙂' * 50, ' ' * 5000, 'the ' * 900]
    tok = train_tokenizer(bundled(), 512, model=model, max_rows=5000)
    most, found = most_letters(tok), tok.encode_batch_fast(texts)
    assert all(len(e.ids) * most >= len(t) for e, t in zip(found, texts))


def test_no_problem_is_in_two_splits():
    tok = train_tokenizer(bundled(), 512, max_rows=5000)
    parts = [MathDataset(bundled(), tok, split=s, limit=5000) for s in ('train', 'valid', 'test')]
    assert parts[2][5]['input_ids'].shape == parts[2][5]['labels'].shape
    assert tok.decode(parts[2][0]['input_ids'].tolist()).startswith('Input: ')
    texts = [{tuple(d[i]['input_ids'].tolist()) for i in range(len(d))} for d in parts]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    refused('no usable row', MathDataset, bundled(), tok, max_seq_len=4)


# Problems and answers

def test_a_family_may_be_too_small(monkeypatch):
    tiny = Family(lambda r: (f'{r.randint(1, 9)}?', 'so', 1), str)
    for d in (worked, families): monkeypatch.setitem(d, 'tiny', tiny)
    refused('family tiny: found 9 distinct problems', make_problems, 10, ['tiny'])


# Pairs

text = pa.string()
messages = pa.list_(pa.struct(dict(role=text, content=text)))
qs, ans = ['1+1?', '2+3?'], ['2', '5']


def schema(**kw): return pa.schema(list(kw.items()))


def turns(keys, *ts): return [dict(zip(keys, t)) for t in ts]


def tables():
    "The same two rows in every form that is known, by name"
    two = dict(question=qs, answer=ans)
    chat = [turns(('role', 'content'), ('user', q), ('assistant', a)) for q, a in zip(qs, ans)]
    long = [turns(('from', 'value'), ('system', 'Be brief.'), ('human', q), ('gpt', a),
                  ('human', 'Sure?'), ('gpt', 'Yes.')) for q, a in zip(qs, ans)]
    out = {f'{p}, {s}': pa.table({'id': [0, 1], p: qs, s: ans}) for p, s in known_pairs}
    out['conversations'] = pa.table(dict(conversations=long))
    out['messages'] = pa.table(dict(messages=chat))
    out['dictionaries'] = pa.table({c: pa.array(v).dictionary_encode() for c, v in two.items()})
    out['large strings'] = pa.table({c: pa.array(v, pa.large_string()) for c, v in two.items()})
    return out


@pytest.mark.parametrize('name', tables())
def test_every_form_gives_the_same_rows(name, tmp_path):
    pq.write_table(tables()[name], tmp_path / 'one.parquet')
    rows = open_pairs(tmp_path / 'one.parquet').keep().read_group(0).to_pylist()
    assert rows == [dict(problem=q, solution=a) for q, a in zip(qs, ans)]


def test_columns_are_found():
    other = schema(Prompt=pa.large_string(), Completion=pa.dictionary(pa.int32(), text))
    assert find_columns(schema(id=text, question=text, answer=text)) == ('question', 'answer')
    assert find_columns(schema(instruction=text, input=text, output=text)) == ('instruction', 'output')
    assert find_columns(other) == ('Prompt', 'Completion')
    assert find_columns(schema(prompt=text, messages=messages)) == ('messages', 'messages')
    three = schema(problem=text, solution=text, answer=text)
    assert find_columns(three, solution='answer') == ('problem', 'answer')


@pytest.mark.parametrize('columns, named, why', [
    (dict(text=text, label=pa.int64()), [], 'by hand, by --problem and --solution (in Python problem= and solution=), among text (string)'),
    (dict(chosen=messages, rejected=messages), [], 'cannot tell'),
    (dict(q=text, a=text), ['quest', 'a'], 'no column quest; should be one of q, a'),
    (dict(q=text, a=pa.date32()), ['q', 'a'], 'column a is of type date32[day]; should be text'),
    (dict(q=pa.int64(), a=text), ['q', 'a'], 'column q is of type int64; should be text'),
], ids=['names', 'chats', 'missing', 'dates', 'numbers'])
def test_columns_are_not_guessed(columns, named, why):
    refused(why, find_columns, schema(**columns), *named)


def test_reading_in_pieces_gives_the_whole():
    pairs, whole = open_pairs(bundled()), pq.read_table(bundled())
    found = pairs.problem, pairs.solution, pairs.extra
    assert found == ('problem', 'solution', ['answer', 'family', 'depth', 'canonical'])
    assert pairs.keep('family').extra == ['family']
    n = [rows for *_, rows in pairs.groups]
    third = next(pairs.batches(5, groups=[2, 0]))['problem']
    assert third.to_pylist() == whole['problem'][sum(n[:2]):][:5].to_pylist()
    for start in (0, 7, n[0] - 1, n[0], n[0] + 1, sum(n) - 1):
        table = pa.Table.from_batches(pairs.batches(7000, start=start))
        assert table.drop(['depth']).to_pylist() == whole.slice(start).drop(['depth']).to_pylist()
    assert [*pairs.batches(start=sum(n))] == []


def problems(path, **kw):
    return [p for b in open_pairs(path, **kw).batches() for p in b['problem'].to_pylist()]


def test_a_folder_is_its_files(tmp_path):
    t = tables()['question, answer']
    (tmp_path / 'more').mkdir()
    for name, k in dict(a=0, b=1).items(): pq.write_table(t.slice(k, 1), tmp_path / f'{name}.parquet')
    pq.write_table(t, tmp_path / 'more/c.parquet', row_group_size=1)
    assert problems(tmp_path) == qs + qs
    assert problems(tmp_path / '[ab].parquet') == qs
    assert open_pairs(tmp_path).groups == [(0, 0, 1), (1, 0, 1), (2, 0, 1), (2, 1, 1)]
    assert problems(tmp_path, problem='answer', solution='question') == ans + ans
    pq.write_table(tables()['prompt, completion'], tmp_path / 'd.parquet')
    refused('d.parquet: no column question; should be one of id, prompt, completion',
            open_pairs, tmp_path)


def test_bad_files_are_one_line(tmp_path):
    raw = bytearray(bundled().read_bytes())
    (tmp_path / 'cut.parquet').write_bytes(raw[:10_000])
    raw[5000:6000] = bytes(1000)
    (tmp_path / 'damaged.parquet').write_bytes(raw)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'notes.txt').write_text('hello')
    pq.write_table(pa.table(dict(text=['a'])), tmp_path / 'odd.parquet')
    pq.write_table(tables()['problem, solution'].slice(0, 0), tmp_path / 'none.parquet')
    mistakes = {'nowhere.parquet': 'no data file there', 'odd.parquet': 'among text (string)',
                'empty': 'folder or pattern with files that end in .parquet', 'cut.parquet': 'truncated or damaged',
                'notes.txt': 'should begin with PAR1', 'none.parquet': 'no rows; should have at'}
    for name, why in mistakes.items(): refused(why, open_pairs, tmp_path / name)
    refused('damaged.parquet: truncated or damaged', problems, tmp_path / 'damaged.parquet')
    refused('no data set or network named', open_pairs, 'hf://squad')
    refused('no name that the hub allows', open_pairs, 'hf://no such owner/data/x.parquet')


def test_columns_of_what_people_bring(tmp_path):
    "Answers that are numbers, a column of nulls beside a full one, the input of an instruction, and DuckDB's encoding"
    q, a = [f'{i}+{i}?' for i in range(5)], [str(2*i) for i in range(5)]
    def read(careful=False, names=(), **columns):
        kw = dict(use_dictionary=False, column_encoding='DELTA_LENGTH_BYTE_ARRAY') if careful else {}
        pq.write_table(pa.table(columns), tmp_path / 'x.parquet', **kw)
        opened = (open_carefully if careful else open_pairs)(tmp_path / 'x.parquet', *names)
        rows = opened.read_group(0).to_pylist()
        return [r['problem'] for r in rows], [r['solution'] for r in rows]
    assert read(problem=q, answer=list(range(5))) == (q, list('01234'))
    assert read(problem=q, answer=[True, False]*2+[None])[1] == ['true', 'false']*2+[None]
    assert read(question=q, answer=pa.array(a).dictionary_encode()) == (q, a)
    assert read(problem=q, solution=pa.array([None]*5, pa.string()), answer=a) == (q, a)
    assert read(names=('problem', 'solution'), problem=q, solution=pa.array([None]*5, pa.string()),
                answer=a)[1] == [None]*5
    assert read(instruction=['Add.']*5, input=q, output=a)[0] == [f'Add.\n{o}' for o in q]
    assert read(instruction=q, input=['', ' ', None, '', ''], output=a) == (q, a)
    assert read(instruction=q, input=list(range(5)), output=a) == (q, a)  # numbers do not continue a text
    assert read(careful=True, problem=q, solution=a) == (q, a)
    assert read(problem=q, answer=[b'1', 'é'.encode()]*2+[None])[1] == ['1', 'é']*2+[None]
