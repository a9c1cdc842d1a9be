"Edge cases of nbs/6_thinking: what the chapters once asserted without showing it."
from itertools import product

import pandas as pd
import pytest
import torch
from fastcore.test import test_close as close
from fastcore.test import test_eq as equal
from matplotlib import pyplot as plt

from trm.config import ModelConfig, get_preset
from trm.files import InputError
from trm.network.layers import Attention, make_mask, rotary_table
from trm.network.weights import TRM
from trm.puzzles.kinds import MazeTask, SudokuTask
from trm.thinking.confidence import choose, solve_many
from trm.thinking.generate import Cache, generate, reading
from trm.thinking.halting import halt_early
from trm.thinking.restarts import move_back, move_boards, perturb, try_boards
from trm.thinking.scores import evaluate, rows_at_once, step_answers, summarize, wilson
from trm.thinking.watch import repaired, show_groups


@pytest.fixture(scope='module')
def model(): return TRM.from_pretrained('sudoku6')


@pytest.fixture(scope='module')
def task(): return SudokuTask.open('sudoku6')


@pytest.fixture(scope='module')
def batch(task): return next(task.eval_batches('minimal', 40))


# Writing

forms = [dict(), dict(inject=True)]
forms += [dict(states=2, n_latent=1, n_cycles=c, detach=True) for c in (1, 2)]
variants = list(product(forms, ('causal', 'prefix'), ('rotary', 'learned', 'none'),
                        ('pre', 'post')))
size = dict(d_model=8, n_heads=2, vocab_size=11, seq_len=14, n_recurrence=2)


def both(cfg, **kw):
    "The text of a random network, without a cache and with it"
    torch.manual_seed(1)
    m = TRM(cfg).eval()
    ids = torch.randint(1, 11, (3, 7), generator=torch.Generator().manual_seed(0))
    batch = dict(input_ids=ids, prefix_len=torch.tensor([7, 3, 5]))
    def gen(): return torch.Generator().manual_seed(2)
    return [generate(m, batch, 0, generator=gen(), cache=c, **kw) for c in (False, True)]


@pytest.mark.parametrize('kw', [dict(), dict(temperature=1.), dict(steps=5)], ids=str)
def test_cache_writes_the_same_text(kw):
    "Every variant that can write: states, rounds, injection, masks, positions, norms"
    lengths = set()
    for form, mask, position, norm in variants:
        a, b = both(ModelConfig(**size, **form, mask=mask, position=position, norm=norm), **kw)
        equal(a, b)
        lengths.add(tuple((b >= 0).sum(1).tolist()))
    assert len(variants) == 48 and len(lengths) > 1  # rows leave at different times


def test_full_mask_keeps_nothing(): equal(*both(ModelConfig(**size, mask='full')))


def test_without_earlier_keys_attention_fails():
    att, h = Attention(8, 1), torch.randn(2, 5, 8)
    mask, rope, at = make_mask('causal', torch.ones(2, 5)), rotary_table(5, 8), torch.tensor([3])
    def read(cache):
        with reading(att, cache): return att(h[:, at], mask[:, :, at, :4], rope[:, at])
    with pytest.raises(RuntimeError): read(None)  # four positions to look at, and one key
    cache = Cache(5).start(torch.arange(3), 3)
    with reading(att, cache): att(h[:, :3], mask[:, :, :3, :3], rope[:, :3])
    close(read(cache.start(at, 4)), att(h, mask, rope)[:, at], eps=1e-6)


# Scores

def test_summary_of_no_problem():
    df = pd.DataFrame(dict(row=[0], group=['sort'], step=[1], exact=[1.]))
    with pytest.raises(InputError, match='no problem of product'): summarize(df, ['product'])


def test_one_run_scores_as_several(model, task):
    df = evaluate(model, task, 'minimal', steps=[1, 2, 3, 4], limit=20)
    for t in (1, 3):
        alone = evaluate(model, task, 'minimal', steps=[t], limit=20)
        close(df[df.step == t].cell.mean(), alone.cell.mean())


def test_rows_at_once(model):
    equal(rows_at_once(model), 2048//36)
    equal(rows_at_once(model, writing=True), 2048)
    equal(rows_at_once(model, kept=2**20, writing=True), 2**10//36)
    equal(rows_at_once(model, kept=2**30), 1)


# Watching

def test_many_groups_and_steps_are_cut():
    "At most 40 groups and 16 steps, and a dollar begins no formula"
    groups = [f'$\\frac{{$ {i}' for i in range(60)]
    df = pd.DataFrame([dict(row=i, group=g, step=s, exact=1.) for i, g in enumerate(groups)
                       for s in range(1, 65)])
    ax = show_groups(df)
    ax.figure.canvas.draw()
    equal(len(ax.texts), 40*16)
    plt.close('all')


def test_repaired_counts_nothing_that_ends_wrong():
    gold = torch.tensor([1, 2, 3])
    equal(repaired(torch.tensor([[1, 9, 9], [1, 2, 3]]), gold), 2)
    equal(repaired(torch.tensor([[1, 9, 9], [1, 2, 9]]), gold), 0)


# Halting

def test_thresholds(model, batch):
    preds, q = step_answers(model, batch, 8)
    rows, on = torch.arange(len(q[0])), q > .8
    answers, took, sure = halt_early(model, batch, 8, settled=False, sure=.8)
    equal(took, torch.where(on.any(0), on.int().argmax(0)+1, 8))
    equal(answers, preds[took-1, rows])
    close(sure, q[took-1, rows], eps=1e-4)


def test_boards_that_never_halt(model, batch):
    preds, _ = step_answers(model, batch, 8)
    equal(halt_early(model, batch, 8, sure=1., at_once=7)[0], preds[-1])
    equal(halt_early(model, batch, 3, sure=1.)[1], torch.full((40,), 3))


# Restarts

def test_moves(task):
    equal(task.moves(3)[0], task.moves(5)[0][:3])  # try k is the same, however many there are


def test_moves_of_a_maze():
    mazes = MazeTask(get_preset('sudoku6').change(task='maze', side=4, network='TRM'))
    turns, room = mazes.moves(8), torch.arange(1, 17)[None].clamp(max=5)
    equal(len(move_boards(room, turns).unique(dim=0)), 8)
    equal(move_back(move_boards(room, turns), turns), room.expand(8, 1, -1))
    equal(len(mazes.moves(9)[0]), 8)  # there are no more


def test_noise():
    gens = [torch.Generator().manual_seed(i) for i in range(3)]
    (noisy,) = perturb((torch.zeros(3*50, 36, 96),), gens, .3)
    equal(noisy[:50].abs().max(), 0.)
    close(noisy[50:].std(), .3, eps=.01)
    equal(noisy[50:51].expand(50, -1, -1), noisy[50:100])
    assert (noisy[50] != noisy[100]).any()


@pytest.mark.parametrize('vary', ['noise', 'relabel', 'guess'])
def test_tries_do_not_depend_on_rows_in_flight(model, task, batch, vary):
    few = {k: v[:4] for k, v in batch.items()}
    many, lone = (try_boards(model, task, few, 6, 3, vary, at_once=n, every=2) for n in (12, 3))
    equal(many['preds'], lone['preds'])
    close(many['residual'], lone['residual'], eps=1e-5)


@pytest.mark.parametrize('kw, said', [(dict(vary='luck'), 'noise, relabel or guess'),
                                      (dict(restarts=0), 'at least 1')])
def test_refused_tries(model, task, batch, kw, said):
    with pytest.raises(InputError, match=said): try_boards(model, task, batch, 4, **kw)


# Which answer to give

def toy():
    def rows(*r): return torch.tensor(r)[..., None]
    preds = torch.tensor([[[[1, 2]], [[4, 4]], [[3, 3]]], [[[1, 2]], [[3, 3]], [[3, 3]]]])
    return dict(preds=preds, steps=[1, 2], q=rows([.2, .6, .4], [.9, .5, .7]),
                residual=rows([.3, .3, .3], [.2, .3, .1]),
                valid=rows([False]*3, [False, True, False]))


def test_selectors_without_halting_head_or_among_fewer():
    equal(choose(toy() | dict(q=None), 'rules')[1].flatten().tolist(), [0, 1])
    step, which = choose(toy(), 'residual', 2)  # among the first two
    equal((step.flatten().tolist(), which.flatten().tolist()), ([0, 1], [0, 0]))


@pytest.mark.parametrize('change, select, said', [({}, 'best', 'halt, first, majority'),
                                                  (dict(q=None), 'halt', 'no halting head')])
def test_refused_selectors(change, select, said):
    with pytest.raises(InputError, match=said): choose(toy() | change, select)


def test_table_of_first_has_all_steps(model, task, batch):
    few = {k: v[:4] for k, v in batch.items()}
    equal(len(solve_many(model, task, few, 3, 2, 'first')[1]), 3*2*4)


def test_wilson_interval():
    "Against published values, and within 0 and 1"
    for (share, n), ends in {(.5, 10): (.2366, .7634), (0., 10): (0., .2775), (1., 10): (.7225, 1.),
                             (81/263, 263): (.2553, .3662)}.items():
        assert wilson(share, n) == pytest.approx(ends, abs=1e-4)
