"Edge cases of the chapters in nbs/3_network: odd input, bounds and files that are refused."
import json
import re
from dataclasses import fields, replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from trm import networks
from trm.config import Config, ModelConfig, TrainConfig, apply_sets, check_name, config_from_dict
from trm.config import config_to_dict, find_setting, get_preset, meanings
from trm.config import network_class, parse_value, presets, read_config, show_presets, show_settings
from trm.files import InputError
from trm.network.layers import make_mask
from trm.network.weights import TRM, check_fit, fill, read_shapes, read_tensors, write_tensors


def refused(why, f, *args, **kw):
    with pytest.raises(InputError, match=re.escape(why)): f(*args, **kw)


# Configuration

@pytest.mark.parametrize('v', ['nan', 'inf', '-inf', '1e400'])
def test_no_number(v): refused('finite number', TrainConfig, learning_rate=float(v))


@pytest.mark.parametrize('kw, why', [
    (dict(d_model=130), 'multiple of n_heads=4'), (dict(mixer='mlp'), 'should be full'),
    (dict(states=2), 'n_latent=0'), (dict(n_latent=1), 'or states=2'),
    (dict(d_model=True), 'type int'), (dict(d_model=8.), 'type int'),
    (dict(mask='a\0'), 'should be one of'), (dict(d_model=16384, n_layers=64), 'weights'),
    (dict(d_model=4096, seq_len=8192), 'state'), (dict(vocab_size=10**6), 'logits'),
    (dict(states=2, n_recurrence=64, n_cycles=64, n_latent=64), 'layers')])
def test_model_settings_refused(kw, why): refused(why, ModelConfig, **kw)


def test_large_settings_fit():
    "The paper's network for mazes is far below the bounds"
    ModelConfig(d_model=512, n_heads=8, states=2, n_recurrence=16, n_cycles=3, n_latent=6,
                mask='full', seq_len=900, vocab_size=12)


def test_train_settings_refused():
    assert TrainConfig(label_smoothing=.1).loss == 'softmax'
    refused('zero byte', TrainConfig, data='a\0')
    refused('should be 0, or loss=softmax', TrainConfig, label_smoothing=.1, loss='stablemax')


def test_typed_text():
    assert parse_value('False', bool, 'detach') is False
    refused('type bool (true or false)', parse_value, 'maybe', bool, 'detach')
    refused('name=value', apply_sets, Config(), 'detach')
    refused('type int', apply_sets, Config(), 'n_layers=two')
    refused('did you mean n_recurrence', Config().change, n_reccurence=8)


def test_names_of_networks():
    "Each network has settings that name it, and a file can name no other module"
    assert [network_class(k).config.network for k in networks] == list(networks)
    refused("a/config.json: network='os'", network_class, 'os', 'a/config.json: ')


def test_dict_of_a_config():
    for c in map(get_preset, presets): assert config_from_dict(config_to_dict(c)) == c
    refused('config.json', config_from_dict, {}, 'runs/a/config.json')
    d = config_to_dict(Config())
    d['model']['steps'] = d['train'].pop('steps')
    refused('a: setting steps belongs under `train`, not `model`', config_from_dict, d, 'a')


def test_run_of_version_1(tmp_path):
    "It does not name its network"
    old = {k: v for k, v in read_config('sudoku6')[1].items() if k != 'network'}
    (tmp_path / 'config.json').write_text(json.dumps(old))
    refused('should be a run of trm 0.2', read_config, tmp_path)


def test_no_name_in_both_parts():
    assert not {f.name for f in fields(ModelConfig)} & {f.name for f in fields(TrainConfig)}
    assert [find_setting(k)[0] for k in ('d_model', 'steps')] == ['model', 'train']


def test_each_setting_has_a_meaning():
    "And the meaning is short enough for a table of pandas, which cuts text of more than 50 letters"
    for c in [TrainConfig, *(network_class(k).config for k in networks)]:
        texts = meanings(c)
        assert list(texts) and texts.keys() == {f.name for f in fields(c)}
        assert not [k for k, v in texts.items() if len(v) > 50]


def test_tables():
    c = get_preset('demo')
    assert len(show_settings(c)) == len(fields(ModelConfig)) + len(fields(TrainConfig))
    assert list(show_settings(c.model).index) == [f.name for f in fields(ModelConfig)]
    assert list(show_settings(c, 'steps', 'd_model')['value']) == [3500, 64]
    refused('did you mean d_model', show_settings, c, 'd_modell')
    assert list(show_presets().index) == list(presets) and 'seed' not in show_presets()
    assert dict(show_presets('symbols')['symbols']) | dict(demo='', sudoku4=4, sudoku6=6) == dict(show_presets('symbols')['symbols'])
    refused('no such setting', show_presets, 'simbols')


def test_near_names():
    refused('a: no such setting; there are b, c', check_name, 'a', ['b', 'c'])
    refused('did you mean width?', check_name, 'widht', ['width', 'other'])


# Layers

def test_mask_of_some_positions():
    "One position alone looks where it looked among all"
    pad, n = torch.tensor([[1, 1, 1, 1, 1, 1, 0]]), torch.tensor([3])
    whole = make_mask('prefix', pad, n)[0, 0]
    assert torch.equal(make_mask('prefix', pad, n, at=torch.tensor([[5]]))[0, 0], whole[5:6])
    refused('prefix_len: missing', make_mask, 'prefix', pad)


# The model

small = dict(d_model=8, n_heads=2, vocab_size=11, seq_len=6)


@pytest.fixture
def batch():
    "Two rows, the second one token shorter; the problems are three tokens long"
    torch.manual_seed(0)
    return dict(input_ids=torch.randint(11, (2, 6)), prefix_len=torch.tensor([3, 3]),
                attention_mask=torch.tensor([[1] * 6, [1] * 5 + [0]]))


@pytest.mark.parametrize('mask', ['causal', 'prefix', 'full'])
def test_row_alone(batch, mask):
    "A row knows nothing of its neighbours and of its padding"
    model = TRM(ModelConfig(mask=mask, **small))
    alone = {k: v[1:2, :5] if v.ndim == 2 else v[1:2] for k, v in batch.items()}
    there = model.think(batch).logits[:, 1:2, :5]
    assert_close(model.think(alone).logits, there, atol=1e-5, rtol=0)


def test_full_mask_without_padding(batch):
    "It is the same as no mask"
    model, ids = TRM(ModelConfig(mask='full', **small)), batch['input_ids']
    assert model.context(dict(input_ids=ids))[0] is None
    masked = model.think(dict(input_ids=ids, attention_mask=torch.ones_like(ids))).logits
    assert_close(model.think(dict(input_ids=ids)).logits, masked, atol=1e-6, rtol=0)


def test_go_on_from_a_state(batch):
    model = TRM(ModelConfig(mask='prefix', **small))
    out = model(batch)
    rest = model.think(batch, 3, out.state).logits
    assert_close(rest, model.think(batch).logits[1:])


def test_input_too_long(batch):
    model = TRM(ModelConfig(**small | dict(seq_len=5)))
    refused('input_ids: 6 positions; the model was built for at most 5', model.embed_batch, batch)


# Weights in files

weights = nn.Linear(3, 2).state_dict()


@pytest.mark.parametrize('what, why', [
    (print, 'not readable as weights'), ([1], 'holds a list'),
    (dict(a=torch.zeros(1).expand(10**9)), 'should hold tensors')],
    ids=['function', 'list', 'claims more numbers than it has'])
def test_no_tensors(tmp_path, what, why):
    torch.save(what, tmp_path / 'file')
    refused(why, read_tensors, tmp_path / 'file')


def test_half_a_file(tmp_path):
    write_tensors(tmp_path / 'a.safetensors', weights)
    data = (tmp_path / 'a.safetensors').read_bytes()
    (tmp_path / 'a.safetensors').write_bytes(data[:50])
    for f in (read_tensors, read_shapes):
        refused('not readable as weights', f, tmp_path / 'a.safetensors')


@pytest.mark.parametrize('tensors, why', [
    ({'weight': weights['weight']}, 'a: lacks bias'),
    (weights | {'extra': weights['bias']}, 'has unknown extra'),
    ({k: v.long() for k, v in weights.items()}, 'torch.int64'),
    ({k: v / 0 for k, v in weights.items()}, 'not finite')])
def test_fill_refuses(tensors, why): refused(why, fill, nn.Linear(3, 2), tensors, 'a')


def test_large_network_takes_no_memory():
    "4 TB, were they there"
    large = nn.Linear(10**6, 10**6, device='meta')
    refused('should be (1000000, 1000000)', check_fit, large, weights)


def test_network_that_does_not_fit(tmp_path):
    two = TRM(ModelConfig(states=2, n_cycles=2, n_latent=3, halt=True, **small))
    two.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['config.json', 'model.safetensors']
    TRM(ModelConfig(**small)).save_pretrained(tmp_path / 'other')
    other = tmp_path / 'other/model.safetensors'
    refused('lacks halt_head.bias, halt_head.weight, y_init', fill, two, read_tensors(other))
    other.write_bytes(other.read_bytes()[:100])
    refused('not readable as weights', TRM.from_pretrained, tmp_path / 'other')
    large = vars(replace(two.cfg, d_model=4096))
    for network, model, why in (('os', vars(two.cfg), "network='os'; should be one of TRM"),
                                ('TRM', large, 'should be (')):
        (tmp_path / 'config.json').write_text(json.dumps(dict(network=network, model=model)))
        refused(why, TRM.from_pretrained, tmp_path)


def test_bfloat16_file(tmp_path):
    two = TRM(ModelConfig(**small))
    two.save_pretrained(tmp_path, dtype=torch.bfloat16)
    found = read_tensors(tmp_path / 'model.safetensors')
    assert {v.dtype for v in found.values()} == {torch.bfloat16}
