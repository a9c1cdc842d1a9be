"Edge cases of the chapters on run folders, the log, stops, devices and the trainer"
import math
import signal
from pathlib import Path

import pytest
import torch

from trm.config import Config, ModelConfig, TrainConfig, read_config
from trm.engine.checkpoint import check_folder, checkpoints, last_state, load_state, prune
from trm.engine.checkpoint import remove_leftovers, save_state
from trm.engine.device import check_device, from_first, gather_rows, join_ranks, pick_device
from trm.engine.guard import Guard, Watch
from trm.engine.log import Logs, Metrics, read_metrics
from trm.engine.trainer import Trainer
from trm.files import InputError
from trm.network.weights import TRM
from trm.training.optimizer import lr_factor


class Digits:
    "Six digits backwards, as in the chapter on the trainer"
    vocab_size,seq_len = 10,6
    def make(self, seed, n):
        ids = torch.randint(10, (n,6), generator=torch.Generator().manual_seed(seed))
        return dict(input_ids=ids, labels=ids.flip(1), attention_mask=torch.ones_like(ids))
    def batches(self, batch_size, start=0, rank=0, world=1):
        while True:
            yield self.make(start+1000, batch_size)
            start += 1
    def eval_batches(self, split, batch_size, limit=None, rank=0, world=1):
        yield self.make(0, limit)


@pytest.fixture
def small():
    return Config(ModelConfig(d_model=8, n_heads=2, mask='full'),
                  TrainConfig(batch_size=4, steps=2, eval_every=2, eval_rows=4, save_every=2,
                              log_every=1, device='cpu'), 'small')


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path):
    save_state(tmp_path/'step_3', dict(step=3))
    with pytest.raises(TypeError): save_state(tmp_path/'step_3', dict(step=print))
    assert load_state(tmp_path/'step_3')['step']==3
    assert [p.name for p in tmp_path.iterdir()]==['step_3']


def test_going_on_from_the_checkpoint_before(tmp_path, capsys):
    assert last_state(tmp_path) is None
    for i in (9,10,11): save_state(tmp_path/f'checkpoints/step_{i}', dict(step=i))
    prune(tmp_path)
    assert [p.name for p in checkpoints(tmp_path)]==['step_10','step_11']
    assert last_state(tmp_path)['step']==11
    assert capsys.readouterr().out==''
    (tmp_path/'checkpoints/step_11/state.json').write_text('{"dict": [["st')
    assert last_state(tmp_path)['step']==10
    assert 'going on from step_10' in capsys.readouterr().out
    (tmp_path/'checkpoints/step_10/state.safetensors').unlink()
    with pytest.raises(InputError, match='no other is left'): last_state(tmp_path)
    (tmp_path/'checkpoints/.step_12.tmp').mkdir()
    (tmp_path/'.model.safetensors.tmp').write_text('half')
    remove_leftovers(tmp_path, 10)
    left = sorted(p.name for p in tmp_path.rglob('*') if p.name!='state.json')
    assert left==['checkpoints','step_10']


def test_folders_for_a_run(tmp_path):
    home = tmp_path/'home'
    check_folder(tmp_path/'new')
    home.mkdir()
    check_folder(home)
    (home/'train.log').write_text('')
    check_folder(home)
    (home/'letters.docx').write_text('')
    says = 'holds letters.docx; should be a new or empty folder'
    with pytest.raises(InputError, match=says): check_folder(home)
    (home/'config.json').write_text('{}')
    check_folder(home, resume=True)
    with pytest.raises(InputError, match='already a run; should be another folder, or resume=True'):
        check_folder(home)


def test_rows_that_are_kept(tmp_path):
    path = tmp_path/'metrics.csv'
    m = Metrics(path, ['loss','exact'])
    for i in range(4): m(i*10, loss=1/(i+1))
    with open(path, 'a') as f: f.write('40,0.12')
    assert read_metrics(path)[-1]==dict(step=30, loss=.25)
    Metrics(path, ['loss','exact'], step=20)
    first = [dict(step=0, loss=1.), dict(step=10, loss=.5), dict(step=20, loss=1/3)]
    assert read_metrics(path)==first
    with pytest.raises(InputError, match='should be the metrics.csv of a run'):
        read_metrics(tmp_path)


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no /dev/full')
def test_a_full_disk_names_the_folder(tmp_path):
    from tensorboard.summary.writer.record_writer import RecordWriter
    logs = Logs(tmp_path, ['loss'])
    logs.board.close()
    logs.board.records = RecordWriter(open('/dev/full', 'wb'))
    with pytest.raises(OSError) as e: logs(10, 2.5, loss=1.)
    assert f"No space left on device: '{tmp_path}'" in str(e.value)
    logs.close()


def test_handlers_are_put_back():
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with Guard() as g: assert not g.asked
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]==before


@pytest.mark.parametrize('loss, norm, says', [
    (math.nan, 1., 'step 40: loss nan'), (1., math.inf, 'step 40: loss 1, gradient norm inf')])
def test_numbers_that_are_not_finite(loss, norm, says):
    w,one = Watch(),torch.tensor(1.)
    w(40, one*loss, one*norm)
    with pytest.raises(InputError, match=says): w.flush()
    w = Watch()
    w(40, one*loss, one*norm)
    with pytest.raises(InputError, match=says): w(41, one, one)


def test_what_a_device_refuses(monkeypatch):
    cpu,mps = torch.device('cpu'),torch.device('mps')
    with pytest.raises(InputError, match='should be stablemax32'):
        check_device(TrainConfig(loss='stablemax'), mps)
    monkeypatch.setattr('trm.engine.device.which', lambda name: '/usr/bin/'+name)
    with pytest.raises(InputError, match='rows of text differ in length'):
        check_device(TrainConfig(compile=True), cpu)
    monkeypatch.setattr('trm.engine.device.which', lambda name: None)
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(InputError, match='no C\\+\\+ compiler found'):
        check_device(TrainConfig(compile=True, task='sudoku'), cpu)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(InputError, match='device=cuda: not on this machine'): pick_device('cuda')


def test_one_process_is_alone():
    assert join_ranks(torch.device('cpu'))==(0,1)
    assert torch.equal(gather_rows(torch.arange(3), 1), torch.arange(3))
    assert from_first(lambda: 3)==3


def test_a_trainer_refuses_a_run(small, tmp_path):
    Trainer(small, Digits(), tmp_path/'run').fit()
    with pytest.raises(InputError, match='already a run'): Trainer(small, Digits(), tmp_path/'run')
    with pytest.raises(InputError, match='seed=0 there, 3 here'):
        Trainer(small.change(seed=3), Digits(), tmp_path/'run', resume=True)


def test_fit_leaves_nothing_of_a_folder_that_fails(small, tmp_path):
    class NoRoom(Digits):
        def save(self, folder):
            (folder/'half').write_text('')
            raise OSError('no space left')
    with pytest.raises(OSError, match='no space left'):
        Trainer(small, NoRoom(), tmp_path/'new/er').fit()
    assert not (tmp_path/'new').exists()


class Unvalidated(Digits):
    def eval_batches(self, *args, **kw): return iter(())


class Untrained(Digits):
    def batches(self, *args, **kw): return iter(())


class Wordless(Digits):
    def batches(self, *args, **kw): raise InputError('words.parquet: no usable row; should have some')


@pytest.mark.parametrize('task, says', [(Unvalidated, 'no row to validate on'),
                                        (Untrained, 'no row to train on'), (Wordless, 'no usable')])
@pytest.mark.parametrize('there', [False, True])
def test_what_cannot_work_is_said_before_the_first_step(small, tmp_path, task, says, there):
    run = tmp_path/'run'
    if there:
        run.mkdir()
        (run/'train.log').write_text('')
    with pytest.raises(InputError, match=says): Trainer(small, task(), run).fit()
    assert [p.name for p in tmp_path.rglob('*')]==(['run','train.log'] if there else [])
    assert Trainer(small, Digits(), run).fit().step==2  # it is not a run already


def test_a_folder_that_was_there_stays_as_it_was(small, tmp_path):
    class NoRoom(Digits):
        def save(self, folder):
            (folder/'half').mkdir()
            raise OSError('no space left')
    (tmp_path/'train.log').write_text('')
    with pytest.raises(OSError, match='no space left'): Trainer(small, NoRoom(), tmp_path).fit()
    assert [p.name for p in tmp_path.rglob('*')]==['train.log']


def test_more_steps(small, tmp_path, capsys):
    run = tmp_path/'run'
    Trainer(small, Digits(), run).fit()
    more = small.change(steps=6, save_every=3, log_every=2)
    t = Trainer(more, Digits(), run, resume=True).fit()
    assert '2 steps were done under steps=2' in capsys.readouterr().out
    cfg,d = read_config(run)
    assert (t.step, cfg.train.steps, cfg.train.save_every)==(6, 6, 3)
    assert d['history']==[dict(at=2, steps=2, save_every=2, log_every=1)]
    rates = {r['step']: r['lr'] for r in read_metrics(run/'metrics.csv') if 'lr' in r}
    assert rates[6]==pytest.approx(more.train.learning_rate*lr_factor(6, more.train), abs=1e-9)
    for bad,says in ((more.change(steps=5), 'has done 6 steps; should be at least as many'),
                     (more.change(eval_every=1), 'eval_every=2 there, 1 here')):
        with pytest.raises(InputError, match=says): Trainer(bad, Digits(), run, resume=True).fit()
    assert read_config(run)[1]==d
    Trainer(more, Digits(), run, resume=True).fit()
    assert read_config(run)[1]==d and 'were done' not in capsys.readouterr().out


def test_more_steps_under_one_schedule_are_those_of_an_unbroken_run(small, tmp_path):
    level = small.change(min_lr=1., warmup_steps=0, steps=4)  # a rate that does not depend on steps
    whole = Trainer(level, Digits(), tmp_path/'whole').fit()
    Trainer(level.change(steps=2), Digits(), tmp_path/'two').fit()
    parts = Trainer(level, Digits(), tmp_path/'two', resume=True).fit()
    a,b = whole.model.state_dict(),parts.model.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_other_data_are_noticed(small, tmp_path):
    class Others(Digits):
        def make(self, seed, n): return super().make(seed+1, n)
    run = tmp_path/'run'
    Trainer(small, Digits(), run).fit()
    before = (run/'config.json').read_bytes()
    for cfg in (small, small.change(steps=4, data='elsewhere')):
        with pytest.raises(InputError, match='hold other rows'):
            Trainer(cfg, Others(), run, resume=True).fit()
    assert (run/'config.json').read_bytes()==before
    Trainer(small.change(data='elsewhere'), Digits(), run, resume=True).fit()
    assert read_config(run)[0].train.data=='elsewhere'


def test_starting_from_another_run(small, tmp_path):
    first,second = tmp_path/'first',tmp_path/'second'
    small = small.change(ema=.9)
    Trainer(small, Digits(), first).fit()
    best = TRM.from_pretrained(first).state_dict()
    t = Trainer(small.change(learning_rate=1e-4, n_recurrence=2), Digits(), second, start=first)
    for model in (t.model, t.eval_model):
        assert all(torch.equal(v, best[k]) for k,v in model.state_dict().items())
    t.fit()
    assert read_config(second)[1]['start']==str(first)
    again = Trainer(t.cfg, Digits(), second, resume=True)
    assert again.start==str(first)
    with pytest.raises(InputError, match='started from .*first; should be resumed so'):
        Trainer(t.cfg, Digits(), second, resume=True, start=second)
    with pytest.raises(InputError, match='started from new weights'):
        Trainer(small, Digits(), first, resume=True, start=second)
    first.rename(tmp_path/'gone')
    Trainer(t.cfg, Digits(), second, resume=True).fit()  # it has checkpoints of its own


@pytest.mark.parametrize('change, says', [
    (dict(d_model=16), 'd_model=8 there, 16 here'), (dict(norm='pre'), 'norm=post there'),
    (dict(task='own'), 'task=text there, own here')])
def test_a_start_that_does_not_fit(small, tmp_path, change, says):
    Trainer(small, Digits(), tmp_path/'first').fit()
    with pytest.raises(InputError, match=says):
        Trainer(small.change(**change), Digits(), tmp_path/'new', start=tmp_path/'first')
    class Long(Digits):
        seq_len = 7
    with pytest.raises(InputError, match='has 6 positions; should have 7'):
        Trainer(small, Long(), tmp_path/'new', start=tmp_path/'first')
    assert not (tmp_path/'new').exists()


def test_killed_before_the_first_checkpoint_a_run_starts_from_the_same_weights(small, tmp_path):
    Trainer(small, Digits(), tmp_path/'first').fit()
    class Killed(Digits):
        def batches(self, batch_size, start=0, rank=0, world=1):
            for i,b in enumerate(super().batches(batch_size, start)):
                if i==1: raise MemoryError
                yield b
    whole = Trainer(small, Digits(), tmp_path/'whole', start=tmp_path/'first').fit()
    with pytest.raises(MemoryError):
        Trainer(small, Killed(), tmp_path/'part', start=tmp_path/'first').fit()
    part = Trainer(small, Digits(), tmp_path/'part', resume=True).fit()
    a,b = whole.model.state_dict(),part.model.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_numbers_that_are_not_finite_are_not_saved(small, tmp_path):
    wild = Trainer(small.change(steps=20, learning_rate=1e30, clip=0.), Digits(), tmp_path/'wild')
    with pytest.raises(InputError, match='should be finite'): wild.fit()
    assert not (tmp_path/'wild/model.safetensors').exists()
    assert not checkpoints(tmp_path/'wild')


@pytest.mark.parametrize('bad', [dict(step=-1), dict(step=1.5), dict(seconds=1), dict(best=[0.])])
def test_a_state_with_other_counters(small, tmp_path, bad):
    t = Trainer(small, Digits(), tmp_path/'run')
    with pytest.raises(InputError, match='is not of this run'): t.load_checkpoint(t.state() | bad)
