"Deep supervision: what its weights refuse, what half precision keeps, and who is replaced in a carry."
from dataclasses import replace

import pytest
import torch
from fastcore.test import test_close as close

from trm.config import ModelConfig
from trm.files import InputError
from trm.network.model import TRM
from trm.training.loss import token_losses
from trm.training.supervision import carried, first_carry, halts, step_limits, step_weights, unrolled

cfg = ModelConfig(d_model=16, n_heads=2, vocab_size=11, seq_len=8, mask='full',
                  states=2, n_cycles=2, n_latent=2, detach=True)


def rows(seed, n=4):
    ids = torch.randint(11, (n, 8), generator=torch.Generator().manual_seed(seed))
    return dict(input_ids=ids, labels=ids.flip(1), attention_mask=torch.ones_like(ids))


def build(**kw):
    torch.manual_seed(0)
    return TRM(replace(cfg, **kw))


@pytest.mark.parametrize('spec, n, part', [
    ('unifrom', 4, 'should be uniform, linear, last'), ('1,2,3', 4, '3 numbers; should be 4'),
    ('0,0', 2, 'not all 0'), ('1,-1', 2, 'not negative'), ('1,inf', 2, 'finite')])
def test_weights_that_are_refused(spec, n, part):
    with pytest.raises(InputError, match=part): step_weights(spec, n)


def test_last_weight_gives_the_loss_of_the_last_step():
    net = build(halt=True)
    loss, log = unrolled(net, rows(0), step_weights('last', 4), halt_weight=.3)
    close(loss.detach(), log['loss_step4']+.3*log['halt_loss'])


def test_bfloat16_keeps_the_sum_of_the_losses_in_float64():
    net = build(halt=True)
    def loss(): return unrolled(net, rows(0), step_weights('uniform', 4), loss='stablemax')[0]
    with torch.autocast('cpu', torch.bfloat16): half = loss()
    close(half, loss(), eps=.05)
    assert half.dtype == torch.float64


def carry_on(net, n, **kw):
    "The carries of n updates, with a new batch offered at each"
    carry, trail = first_carry(rows(0)), []
    for i in range(n):
        loss, carry, _ = carried(net, carry, rows(i), max_steps=3, **kw)
        trail.append(carry)
    return trail, loss


def test_without_a_head_all_rows_are_replaced_after_the_last_step():
    net = build()
    trail, loss = carry_on(net, 6)
    assert [c['steps'].tolist() for c in trail] == [[k]*4 for k in (1, 2, 3, 1, 2, 3)]
    assert torch.equal(trail[2]['batch']['input_ids'], rows(0)['input_ids'])
    assert torch.equal(trail[3]['batch']['input_ids'], rows(3)['input_ids'])
    whole = net.think(rows(3), 3)
    close(loss.detach(), token_losses(whole.logits[-1], rows(3)['labels']).mean().detach(), eps=1e-5)
    for a, b in zip(trail[-1]['state'], whole.state): close(a, b.detach(), eps=1e-5)


def test_only_rows_that_are_done_are_replaced():
    net = build()
    trail, _ = carry_on(net, 3)
    done = torch.tensor([True, False, False, True])
    _, c, _ = carried(net, trail[1] | dict(halted=done), rows(9), max_steps=3)
    assert c['steps'].tolist() == [1, 3, 3, 1]
    assert torch.equal(c['batch']['input_ids'][done], rows(9)['input_ids'][done])
    assert torch.equal(c['batch']['input_ids'][~done], rows(0)['input_ids'][~done])
    close(c['state'][0][~done], trail[2]['state'][0][~done], eps=1e-5)
    close(c['state'][0][done], net(rows(9)).state[0][done], eps=1e-5)


def test_exploration_keeps_rows_of_a_sure_head():
    net = build(halt=True)
    torch.nn.init.constant_(net.halt_head.bias, 5.)
    draws = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    loss, _, log = carried(net, first_carry(rows(0)), rows(0), halt_weight=.3)
    close(loss.detach(), log['step_loss']+.3*log['halt_loss'])
    _, stay, _ = carried(net, first_carry(rows(0)), rows(0), explore=1., draws=draws)
    _, leave, _ = carried(net, first_carry(rows(0)), rows(0), explore=0., draws=draws)
    assert not stay['halted'].any() and leave['halted'].all()


def test_late_rows_stay_longer():
    "A share of the rows may do 2, 4 or 8 times as many steps, each as long as was drawn when it began"
    net, draws = build(), torch.tensor([[.5]*4, [.5]*4, [.9, .01, .1, .2]])
    assert step_limits(3, .25, draws).tolist() == [3, 6, 12, 24] and step_limits(3, 0.) == 3
    c, counts = first_carry(rows(0)), []
    for i in range(7):
        _, c, _ = carried(net, c, rows(i), max_steps=3, draws=draws if i==0 else torch.full((3, 4), .9), late=.25)
        counts.append(c['steps'].tolist())
    assert [n[0] for n in counts] == [1, 2, 3, 1, 2, 3, 1] and [n[1] for n in counts] == [1, 2, 3, 4, 5, 6, 1]
    assert counts[-1][2:] == [7, 7]


def test_the_share_that_stays_for_a_third_step():
    sure, draws = torch.ones(10_000), torch.rand(2, 10_000, generator=torch.Generator().manual_seed(0))
    stay = 1-halts(sure, torch.full((10_000,), 2), 16, .1, draws).float().mean()
    close(stay, .1*14/15, eps=.02)
