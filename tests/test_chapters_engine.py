"Edge cases of the chapters on run folders, the log, stops, devices and the trainer"
import math
import signal
from pathlib import Path

import pytest
import torch

from trm.config import Config, ModelConfig, TrainConfig
from trm.engine.checkpoint import check_folder, checkpoints, last_state, load_state, prune
from trm.engine.checkpoint import remove_leftovers, save_state
from trm.engine.device import check_device, from_first, gather_rows, join_ranks, pick_device
from trm.engine.guard import Guard, Watch
from trm.engine.log import Logs, Metrics, read_metrics
from trm.engine.trainer import Trainer
from trm.files import InputError


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


def test_numbers_that_are_not_finite_are_not_saved(small, tmp_path):
    wild = Trainer(small.change(steps=20, learning_rate=1e30, clip=0.), Digits(), tmp_path/'wild')
    with pytest.raises(InputError, match='should be finite'): wild.fit()
    assert not (tmp_path/'wild/model.safetensors').exists()
    assert not checkpoints(tmp_path/'wild')


@pytest.mark.parametrize('bad', [dict(step=-1), dict(step=1.5), dict(seconds=1), dict(best=[0.])])
def test_a_state_with_other_counters(small, tmp_path, bad):
    t = Trainer(small, Digits(), tmp_path/'run')
    with pytest.raises(InputError, match='is not of this run'): t.load_checkpoint(t.state() | bad)
