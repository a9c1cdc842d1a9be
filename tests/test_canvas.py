"Answers written as a whole, and the preset for text of one's own: through the commands, in this process"
import json

import pytest
import torch

from trm.cli import trm_eval, trm_solve, trm_train
from trm.config import apply_sets, get_preset
from trm.data.problems import make_problems, write_problems
from trm.data.tokenizer import eos_id, train_tokenizer
from trm.files import InputError, read_json
from trm.runs import open_run
from trm.training.canvas import CanvasTask, on_canvas, to_canvas
from trm.training.loop import TrainState, train_step
from trm.training.task import TextTask

tiny = ('d_model=16 n_heads=2 n_layers=1 hidden_multiple=16 n_recurrence=2 mask=full position=learned canvas=40 max_seq_len=48 families= '
        'steps=3 eval_every=3 save_every=3 eval_rows=20 batch_size=8 log_every=1')
two = 'states=2 n_latent=1 inject=false detach=true norm=post halt=true supervision=carried'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_problems(tmp_path_factory.mktemp('deep')/'parity.parquet', make_problems(300, ['parity']))


@pytest.mark.parametrize('more', ['', two, 'supervision=carried detach=true'])
def test_a_canvas_through_all_commands(data, tmp_path, capsys, more):
    run = tmp_path/'run'
    trm_train(['demo', '--data', str(data), '--out', str(run), '--sets', f'{tiny} {more}'])
    trm_eval([str(run), '--json', str(tmp_path/'eval.json')])
    found = read_json(tmp_path/'eval.json')
    assert found['n'] and 0 <= found['exact'] <= 1 and set(found['by_step']) == {'1', '2'}
    capsys.readouterr()
    try: trm_solve([str(run), 'Parity of 10 1101 0 11 0010 101.'])
    except SystemExit: pass
    assert capsys.readouterr().out.strip()
    model, task = open_run(run)
    assert isinstance(task, CanvasTask) and model.cfg.seq_len == 48


def test_labels_are_the_response_from_the_first_position(data):
    cfg = apply_sets(get_preset('demo').change(data=str(data)), tiny)
    tok = train_tokenizer(data, 300)
    text = TextTask(cfg.change(canvas=0, max_seq_len=96, mask='causal'), tok)
    row = next(text.eval_batches('test', 4, 4))
    laid = to_canvas(row, 40)
    assert torch.equal(on_canvas(laid).sum(1), torch.full((4,), 40)) and (laid['labels'][:, 40:] == -100).all()
    for said, whole, ids, n in zip(row['labels'].tolist(), laid['labels'].tolist(), laid['input_ids'].tolist(), row['prefix_len'].tolist()):
        said = [t for t in said if t >= 0]
        assert whole[:40] == said+[eos_id]*(40-len(said))  # no token of the response is on the input
        assert tok.decode(ids[:n]).rstrip().endswith('Output:') and not any(ids[n:])
    assert (laid['attention_mask'].sum(1) == row['prefix_len'].clamp(min=40)).all()


def test_rows_that_do_not_fit_are_left_out_and_said(data):
    cfg = apply_sets(get_preset('demo').change(data=str(data)), tiny).change(canvas=30)
    task = CanvasTask(cfg, train_tokenizer(data, 300))
    about = task.about()
    most = int(about.split('canvas=')[2].split()[0])
    assert 'LEFT OUT' in about and most > 30
    assert 'LEFT OUT' not in CanvasTask(cfg.change(canvas=most+2), task.tok).about()
    with pytest.raises(InputError, match='no row of train fits'): CanvasTask(cfg.change(canvas=5), task.tok).dataset('train')


def test_a_drawn_number_of_steps(data):
    cfg = apply_sets(get_preset('demo').change(data=str(data)), tiny+' random_steps=true n_recurrence=4 steps=40')
    task = CanvasTask(cfg, train_tokenizer(data, 300))
    s, n = TrainState(cfg, task), []
    for _, batch in zip(range(25), task.batches(8)): n.append(sum(k.startswith('loss_step') for k in train_step(s, batch)))
    assert set(n) == {1, 2, 3, 4}
    again = TrainState(cfg, task)
    assert [len(again.batch_weights()) for again.step in range(25)] == n  # a resumed run draws the same
    for wrong in ('supervision=carried', 'deep_supervision_weight=1,2,3,4'):
        with pytest.raises(InputError, match='random_steps'): apply_sets(cfg, wrong)


def test_mixed_batches_hold_rows_of_all_lengths(data):
    cfg = get_preset('demo').change(data=str(data), families='', batch_size=16)
    tok = train_tokenizer(data, 300)
    def spread(cfg):
        found = [b['attention_mask'].sum(1) for _, b in zip(range(15), TextTask(cfg, tok).batches(16))]
        return sum((n.max()-n.min()).item() for n in found)
    assert spread(cfg.change(group_by_length=False)) > 2*spread(cfg)


def test_the_preset_text_takes_its_length_from_the_data(data, tmp_path):
    run = tmp_path/'run'
    trm_train(['text', '--data', str(data), '--out', str(run), '--sets', 'size=1 d_model=16 steps=2 eval_every=2 save_every=2 eval_rows=10'])
    cfg = json.loads((run/'config.json').read_text())
    n = cfg['train']['max_seq_len']
    assert n == cfg['model']['seq_len'] and 40 < n < 120 and cfg['model']['d_model'] == 16
    assert open_run(run)[1].seq_len == n
    assert [apply_sets(get_preset('text'), f'size={k}').model.d_model for k in range(1, 7)] == [64, 128, 256, 512, 768, 1024]
    for sets, name, says in (('size=7', 'text', 'from 1 to 6'), ('size=2', 'demo', 'preset text'), ('max_seq_len=2', 'text', '0 or at least 4')):
        with pytest.raises(InputError, match=says): apply_sets(get_preset(name), sets)
