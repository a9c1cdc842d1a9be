"Edge cases of the chapters on files from strangers, the cache and streams"
import json
import re

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models

from trm.config import get_preset
from trm.data.problems import bundled
from trm.data.tokenizer import train_tokenizer
from trm.engine.cache import CachedMathDataset, _load
from trm.engine.strangers import check_tokenizer
from trm.engine.stream import StreamingMathDataset, row_source
from trm.files import InputError
from trm.training.task import TextTask


def refuses(says, f, *args, **kw):
    "Does the call raise an `InputError` that contains `says`?"
    with pytest.raises(InputError, match=re.escape(says)): f(*args, **kw)


@pytest.fixture(scope='module')
def tok(): return train_tokenizer(bundled(), 512, max_rows=2000)


def test_no_tokenizer(tmp_path):
    path = tmp_path/'tokenizer.json'
    refuses('no such file', check_tokenizer, path)
    for text in ('{}', '[]', '{"model": 3}'):
        path.write_text(text)
        refuses('not a tokenizer.json', check_tokenizer, path)
    Tokenizer(models.BPE()).save(str(path))  # without the special tokens
    refuses('added_tokens is of another kind', check_tokenizer, path)


@pytest.mark.parametrize('part, change, where', [
    (None, dict(pre_tokenizer=dict(type='Split', pattern=dict(Regex='(a+)+$'), behavior='Isolated', invert=False)),
     'pre_tokenizer.type'),
    (None, dict(added_tokens=[]), 'added_tokens'), ('vocab', dict(far=10**9), 'not 0, 1, 2'),
    ('vocab', {'<PAD>': 1}, 'not 0, 1, 2'), ('vocab', {'<PAD>': True}, 'not 0, 1, 2')])
def test_changed_tokenizer(tok, tmp_path, part, change, where):
    path, d = tmp_path/'tokenizer.json', json.loads(tok.to_str())
    if part: d['model'][part] |= change
    else: d |= change
    path.write_text(json.dumps(d))
    refuses(where, check_tokenizer, path)


def test_nothing_is_kept_of_what_fails(tok, tmp_path):
    data, rows = tmp_path/'data.parquet', tmp_path/'rows'
    pq.write_table(pq.read_table(bundled()).slice(0, 300), data)
    CachedMathDataset(rows, data, tok, 60, 'train')
    before = list(rows.iterdir())
    refuses('no usable row', CachedMathDataset, rows, data, tok, 4, 'train')
    assert list(rows.iterdir()) == before


def test_what_is_no_cache(tmp_path):
    assert _load(tmp_path/'nothing') is None
    for text in ('', '{"arrays": [', '[]', '{"arrays": 3}', '{"arrays": {"n": ["<i8", 4]}}'):
        (tmp_path/'about.json').write_text(text)
        assert _load(tmp_path) is None


@pytest.mark.parametrize('kw', [dict(seed=1), dict(workers=2), dict(batch_size=4), dict(buffer=9), dict(max_seq_len=60)])
def test_a_place_of_another_stream(tok, kw):
    def stream(**kw): return StreamingMathDataset(bundled(), tok, **dict(batch_size=8, buffer=60) | kw)
    place = stream().place
    refuses('place: of another stream', stream, place=place, **kw)
    assert stream(place=place).place is place


def test_a_wider_batch_needs_a_place_of_its_own(tok):
    cfg = get_preset('demo').change(batch_size=8, families='', streaming=True)
    task = TextTask(cfg, tok, **row_source(cfg.train))
    first = next(task.batches(8))
    assert 'place' not in first
    refuses('place: of another stream', next, task.batches(16, start=1, place=task.place))
    later = TextTask(cfg, tok, **row_source(cfg.train))
    assert next(later.batches(8, start=1, place=task.place))['input_ids'].shape[0] == 8
    assert later.place.shape == (1, 5)
