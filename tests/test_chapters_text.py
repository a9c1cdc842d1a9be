"Edge cases of the chapters in nbs/4_training that train text."
import re
from itertools import islice

import pytest
import torch
from torch import nn

from trm.config import ModelConfig, TrainConfig, get_preset
from trm.data.problems import bundled
from trm.data.tokenizer import train_tokenizer
from trm.files import InputError
from trm.network.model import TRM
from trm.training.optimizer import make_optimizers
from trm.training.task import TextTask

cfg = get_preset('demo').change(batch_size=8)


@pytest.fixture(scope='module')
def task(): return TextTask(cfg, train_tokenizer(bundled(), 512))


@pytest.mark.parametrize('kw, why', [
    (dict(mask='full'), 'causal or prefix'), (dict(halt=True), 'halt=true'),
    (dict(supervision='carried'), 'should be unrolled'), (dict(loss_on='all'), 'sees itself'),
    (dict(streaming=True), 'row_source'),
    (dict(families='compare,srt'), 'no usable row of srt; there are')])
def test_settings_refused(task, kw, why):
    with pytest.raises(InputError, match=re.escape(why)):
        TextTask(cfg.change(**kw), task.tok).dataset('train')


def test_late_batch(task):
    "Batch 650 is the same, asked for directly and after 650 others"
    late = next(islice(task.batches(8), 650, None))
    assert torch.equal(late['input_ids'], next(task.batches(8, start=650))['input_ids'])
    assert task.place is None  # nothing is streamed


def test_two_devices(task):
    both = [next(task.batches(8, rank=r, world=2))['row'] for r in (0, 1)]
    assert sorted(torch.cat(both).tolist()) == sorted(next(task.batches(8))['row'].tolist())


def test_pieces_and_prompts(task):
    assert task.pieces(task.tok.encode('\x01').ids) == ['?']  # nothing that cannot be drawn
    p = task.prompt(['Compute 1+2.', 'Compute 11+22.'])
    assert p['input_ids'].shape[1] == p['prefix_len'].max() and p['prefix_len'].diff().item() == 2
    with pytest.raises(InputError, match='less than max_seq_len=112'):
        task.prompt(['Compute ' + '1+' * 200 + '1.'])


def test_three_optimizers():
    "A sparse table gets its own"
    model = TRM(ModelConfig(d_model=16, n_heads=2, vocab_size=11, seq_len=8, mask='full'))
    model.kinds = nn.Embedding(3, 16, sparse=True)
    opts = make_optimizers(model, TrainConfig(optimizer='muon'))
    assert [type(o).__name__ for o in opts] == ['AdamW', 'Muon', 'SignSGD']
    held = [id(p) for o in opts for g in o.param_groups for p in g['params']]
    assert sorted(held) == sorted(map(id, model.parameters()))
