"Edge cases of the chapters on runs and commands; commands are called in this process"
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from conftest import root, small_board
from trm.answering import explain_steps, parse_boards, prediction_rows, solve
from trm.cli import (command, main, parse_args, reason, respell, trm_eval, trm_inspect, trm_solve, trm_tokenizer,
                     trm_train)
from trm.config import apply_sets, get_preset
from trm.data.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from trm.engine.trainer import Trainer
from trm.files import InputError, plain, read_json
from trm.puzzles.prefix import PrefixTRM
from trm.puzzles.published import published_config, published_name
from trm.runs import (figures_folder, make_task, open_run, save_figures, score_run)


@pytest.fixture
def call(capsys):
    def call(cmd, *args):
        "Exit status, stdout and stderr of a command"
        status = 0
        try: cmd([str(a) for a in args])
        except SystemExit as e: status = e.code
        return (status, *capsys.readouterr())
    return call


@command
def greet(
    name:str,    # whom
    times:int=1, # how often
):
    "Say hello"
    if times<0: raise InputError(f"times={times}: should be at least 0")
    print(f"hello {name}! "*times)


def test_how_a_command_ends(call):
    assert call(greet, 'Ann', '--times', 2) == (0, 'hello Ann! hello Ann! \n', '')
    assert call(greet, 'Ann', '--times', -1) == (2, '', 'greet: times=-1: should be at least 0\n')


@pytest.mark.parametrize('args', [['Ann', '--tmes', '2'], [], ['Ann', '--times', 'two'], ['Ann\0']])
def test_bad_arguments_are_one_line(call, args):
    status, out, err = call(greet, *args)
    assert (status, out, err.count('\n')) == (2, '', 1)


def test_reason_and_spelling():
    assert reason(OSError(28, 'No space left', 'a.csv')).startswith('a.csv: No space left; ')
    assert reason(RuntimeError('CUDA out of memory')).startswith('not enough memory')
    assert reason(ZeroDivisionError()) is None
    assert respell('--vocab-size=3', ['--vocab_size']) == '--vocab_size=3'
    assert respell('--vocab_size', ['--vocab-size']) == '--vocab-size'
    assert respell('--vocab_size', ['--out']) == '--vocab_size'


def test_inspect_and_tokenizer(call, data, tmp_path):
    status, out, err = call(trm_inspect, data)
    assert (status, err) == (0, '') and call(main, 'inspect', data) == (0, out, '')
    assert call(trm_inspect, tmp_path/'none.parquet')[0] == 2
    assert call(trm_tokenizer, data, '--vocab_size', 300, '--out', tmp_path/'tok.json')[0] == 0
    assert load_tokenizer(tmp_path/'tok.json').get_vocab_size() <= 300
    assert call(trm_tokenizer, data, '--model', 'words', '--out', tmp_path/'x.json')[0] == 2
    assert call(main, 'fly')[2] == 'trm: fly: should be one of inspect, tokenizer, train, eval, solve, export\n'


small = ('families= n_recurrence=4 d_model=32 n_heads=2 batch_size=16 steps=10 warmup_steps=5 '
         'eval_every=5 save_every=5 eval_rows=40 max_seq_len=60 device=cpu')


def test_train_text(call, data, tmp_path):
    demo = 'demo', '--data', data, '--sets', small, '--out', tmp_path/'run'
    status, out, err = call(trm_train, *demo)
    assert (status, err) == (0, '') and 'rows of train' in out and 'left out:' in out
    status, _, err = call(trm_train, *demo)
    assert status == 2 and 'already a run' in err and '--resume' in err
    assert call(trm_train, *demo, '--resume')[0] == 0
    save_tokenizer(train_tokenizer(data, 270), tmp_path/'run'/'tokenizer.json')
    status, _, err = call(trm_solve, tmp_path/'run', 'Which is larger, 12 or 21?')
    assert status == 2 and 'tokens by its config.json and tokenizer.json' in err


def test_nothing_is_written_of_a_run_that_cannot_be(call, data, tmp_path):
    new = '--out', tmp_path/'new'
    assert call(trm_train, 'demo', '--data', data, *new, '--sets', 'd_modl=3')[2] == (
        'trm_train: d_modl: no such setting; did you mean d_model?\n')
    assert call(trm_train, 'demo', *new, '--sets', 'task=own')[0] == 2  # has no class here
    assert call(trm_train, 'sudoku_extreme', *new)[0] == 2              # wants data
    assert not (tmp_path/'new').exists()


def test_text_is_scored_and_answered(call, run_folder, tmp_path):
    status, out, err = call(trm_eval, run_folder, '--limit', 40, '--json', tmp_path/'eval.json')
    s = read_json(tmp_path/'eval.json')
    assert (status, err, next(iter(s)), s['split']) == (0, '', 'exact', 'test')
    status, out, _ = call(trm_solve, run_folder, 'Which is larger, 12 or 21?')
    assert (status, out.count('---')) == (0, 4)
    assert call(trm_solve, run_folder, '--board', '1')[0] == 2
    assert call(trm_eval, run_folder, '--split', 'minimal')[2] == 'trm_eval: split=minimal: should be valid, test, all\n'
    assert call(trm_eval, tmp_path/'nowhere')[0] == 2
    for bad in ('--limit', 0), ('--steps', -1), ('--restarts', 0), ('--restarts', 4), ('--select', 'best'):
        assert call(trm_eval, run_folder, *bad)[0] == 2


def test_boards_are_scored(call, board_run, tmp_path):
    minimal = board_run, '--split', 'minimal', '--limit', 50, '--json', tmp_path/'four.json'
    status, _, err = call(trm_eval, *minimal)
    s = read_json(tmp_path/'four.json')
    assert (status, err, s['n'], s['split'], 'mean_steps' in s['halting']) == (0, '', 50, 'minimal', True)
    status, _, err = call(trm_eval, *minimal, '--restarts', 8, '--select', 'majority')
    s = read_json(tmp_path/'four.json')
    assert (status, err, s['restarts'], s['select']) == (0, '', 8, 'majority')


def test_boards_are_answered(call, tmp_path):
    boards = 'question', '.6..2.......65.1...1...6....13..4...', '11'+'.'*34, '.'*36, '12..34....1...2'
    (tmp_path/'boards.csv').write_text('\n'.join(boards)+'\n')
    status, out, err = call(trm_solve, 'sudoku6', '--file', tmp_path/'boards.csv')
    assert (status, out.count('\n'), err.count('\n')) == (2, 2, 4)
    status, out, err = call(trm_solve, 'sudoku6', '--board', boards[1], '--steps', 1)
    assert (status, err, '361524' in out) == (1, '', False)
    for bad in (['some text'], [], ['--board', '1'*81]):
        status, _, err = call(trm_solve, 'sudoku6', *bad)
        assert (status, err.count('\n')) == (2, 1)


class Backwards:
    "Six digits in reverse order: a task that the package does not know"
    vocab_size, seq_len = 10, 6

    def batches(self, batch_size, start=0, rank=0, world=1):
        while True: yield next(self.eval_batches('train', batch_size))

    def eval_batches(self, split, batch_size, limit=None, rank=0, world=1):
        n = min(batch_size, limit or batch_size)
        ids = torch.randint(10, (n, 6), generator=torch.Generator().manual_seed(0))
        yield dict(input_ids=ids, labels=ids.flip(1), row=torch.arange(n))

    def score(self, preds, batch): return dict(exact=(preds == batch['labels']).all(1).float())
    def groups(self, batch, split): return ['six digits']*len(batch['row'])
    def prompt(self, problems): return dict(input_ids=torch.tensor([[int(c) for c in p] for p in problems]))
    def text(self, ids): return ''.join(map(str, ids))
    def save(self, folder): (folder/'note.txt').write_text('backwards')

    @classmethod
    def open(cls, folder): return cls()


class Unfinished(Backwards): text = score = property()  # `hasattr` says no


@pytest.fixture(scope='module')
def own_run(tmp_path_factory):
    run = tmp_path_factory.mktemp('own')/'run'
    cfg = get_preset('demo').change(mask='full', task='own', n_recurrence=2, d_model=16, n_heads=2, max_seq_len=60,
                                    batch_size=8, steps=4, eval_every=4, save_every=4, eval_rows=8, device='cpu')
    Trainer(cfg, Backwards(), run).fit()
    return run


def test_a_task_of_ones_own(own_run):
    model, task = open_run(own_run, device='cpu', task=Backwards)
    assert model.cfg.seq_len == 6
    assert solve(model, task, ['123456']).shape == (1, 4)
    for says, f in (('Unfinished: has no score, text;', lambda: open_run(own_run, task=Unfinished)),
                    ('should be opened in Python, by open_run with task=', lambda: open_run(own_run)),
                    ('has no valid', lambda: explain_steps(model, task, task.prompt(['123456']))),
                    ('Backwards: has no valid, moves, draw', lambda: score_run(model, task, restarts=2))):
        with pytest.raises(InputError, match=re.escape(says)): f()


def test_a_text_is_written_once(run_folder):
    writer, text = open_run(run_folder, device='cpu')
    told = solve(writer, text, ['Which is larger, 12 or 21?', '1+'*300])
    assert list(told) == ['problem', 'response', 'answer', 'error']
    assert (told.error != '').tolist() == [False, True]
    for f in (lambda: solve(writer, text, ['1+1'], restarts=2), lambda: score_run(writer, text, restarts=2)):
        with pytest.raises(InputError, match='should be 1'): f()


def test_rows_that_are_too_long_are_wrong(run_folder, tmp_path, call):
    problems = ['Which is larger, 12 or 21?']*3 + ['Which is larger, '+'1'*900+' or 21?']*2
    pd.DataFrame(dict(problem=problems, solution=['21']*5)).to_parquet(tmp_path/'own.parquet')
    told = {}
    for limit in (), ('--limit', 3):
        status, out, _ = call(trm_eval, run_folder, '--data', tmp_path/'own.parquet', '--steps', 1, *limit, '--json', tmp_path/'s.json')
        assert status == 0 and ('2 of them too long and so wrong' in out) == (not limit)
        told[limit] = read_json(tmp_path/'s.json')
    whole, few = told[()], told['--limit', 3]
    assert (whole['n'], whole['left_out'], few['n'], few['left_out']) == (5, 2, 3, 0)
    assert whole['exact'] == pytest.approx(.6*few['exact']) and sum(whole['by_step'].values()) == pytest.approx(whole['exact'])


def test_a_run_that_is_not_there(tmp_path):
    for run in (tmp_path/'nowhere', 'owner/name'):
        with pytest.raises(InputError, match='no such run'): open_run(run)
    (tmp_path/'data.parquet').write_text('')
    with pytest.raises(InputError, match='should be a new or empty folder'): make_task(get_preset('demo'), tmp_path)


def test_no_picture_through_a_link(own_run, tmp_path):
    out, other = tmp_path/'out', tmp_path/'other'
    out.mkdir()
    other.mkdir()
    (other/'figures').symlink_to(out)
    model, task = open_run(own_run, device='cpu', task=Backwards)
    df, _ = score_run(model, task, limit=8)
    with pytest.raises(InputError, match='is a link'): save_figures(other, model, task, df)
    assert list(out.iterdir()) == []
    assert figures_folder('sudoku6') == Path('figures')


def test_a_task_that_explains_nothing():
    model, task = open_run('sudoku6', device='cpu')
    class Silent(type(task)): explain_errors = property()  # `hasattr` says no
    silent = Silent(task.cfg, task.data, read=task.read)
    batch = silent.prompt(['.6..2.......65.1...1...6....13..4...'])
    out, solved = explain_steps(model, silent, batch, 1)
    assert not solved and out.splitlines()[-1].startswith('not solved in 1 step: the rules are broken;')


def test_what_is_not_a_board():
    _, task = open_run('sudoku6', device='cpu')
    assert [len(o) for o in parse_boards(task, ['.'*36, '1'*35])] == [0, 2]


# Terminals

def ask(
    run:str,          # a run
    problem:str=None, # text of a problem
    steps:int=None,   # steps
):
    "Show what was asked"
    print(run, problem, steps)


@pytest.mark.parametrize('argv, problem', [
    (['r', '-5 + 8 = ?'], '-5 + 8 = ?'), (['r', '-5'], '-5'), (['r', '--', '-x'], '-x'), (['r', '--', '--steps'], '--steps'),
    (['r', '--steps', '3', '-1.5'], '-1.5'), (['r', '-x + 1'], '-x + 1'), (['r', '--problem', '-5 + 8 = ?'], '-5 + 8 = ?')])
def test_a_problem_may_begin_with_a_minus(argv, problem): assert parse_args(ask, argv)['problem'] == problem


@pytest.mark.parametrize('argv', [['r', '--step', 'x'], ['r', '--nope'], ['r', '-v'], ['r', 'one', 'two'], ['r', '--', 'one', 'two']])
def test_an_option_that_is_none_is_said(call, argv):
    status, out, err = call(command(ask), *argv)
    assert (status, out, err.count('\n')) == (2, '', 1)


def process(*args, shell=False, **env):
    return subprocess.run(args[0] if shell else args, shell=shell, capture_output=True, timeout=120,
                          env=dict(os.environ, PYTHONPATH=str(root), **env))


def test_letters_that_a_terminal_lacks(tmp_path):
    pq.write_table(pa.table(dict(problem=['\u4e00+\u4e00?']*3, solution=['\u4e8c']*3)), tmp_path / 'cjk.parquet')
    done = process(sys.executable, '-m', 'trm.cli', 'inspect', str(tmp_path / 'cjk.parquet'), PYTHONIOENCODING='cp1252')
    assert (done.returncode, done.stderr) == (0, b'') and b'?+??' in done.stdout


def test_a_closed_pipe_ends_quietly(data):
    done = process(f'{sys.executable} -m trm.cli inspect {data} | head -c 10', shell=True)
    assert (len(done.stdout), done.stderr) == (10, b'')
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, 'wb') as out:
        done = subprocess.run([sys.executable, '-m', 'trm.cli', 'inspect', str(data)], stdout=out, stderr=subprocess.PIPE,
                              env=dict(os.environ, PYTHONPATH=str(root)), timeout=120)
    assert (done.returncode, done.stderr) == (141, b'')


def test_values_with_blanks():
    cfg = apply_sets(get_preset('demo'), "steps=7 data='my file.parquet'")
    assert (cfg.train.steps, cfg.train.data) == (7, 'my file.parquet')
    assert apply_sets(cfg, r'data=C:\x').train.data == r'C:\x'
    with pytest.raises(InputError, match='a quote is open'): apply_sets(cfg, "data='my file")


# What is trained on, and going on

def test_a_preset_for_data_of_ones_own_asks_for_them(call, tmp_path):
    new = '--out', tmp_path/'new'
    status, out, err = call(trm_train, 'text', *new)
    assert (status, out, err.count('\n')) == (2, '', 1) and 'text: has no data of its own; should be given --data' in err
    assert not (tmp_path/'new').exists()


def test_what_is_trained_on_is_said_first(call, tmp_path):
    status, out, _ = call(trm_train, 'plan', '--out', tmp_path/'plan', '--sets', small.replace('steps=10', 'steps=1'))
    first, second, long, third = out.splitlines()[:4]
    assert status == 0 and first.startswith('data: the bundled problems, ')
    assert 'rows of train' in second and 'of valid' in second and 'columns: problem' in second
    assert long.startswith('LEFT OUT: ') and 'max_seq_len=60 tokens; max_seq_len=' in long and long.endswith('would keep 99 %')
    assert third.startswith('plan: ') and ' weights, 1 steps of 16 rows' in third


def test_the_settings_of_a_preset(call, tmp_path):
    status, out, err = call(trm_train, 'text', '--sets', 'd_model=96', '--show')
    lines = {line.split()[0]: line.split()[1] for line in out.splitlines()[1:]}
    assert (status, err, lines['d_model'], lines['batch_size']) == (0, '', '96', '16')
    assert list(tmp_path.iterdir()) == []


def pairs_file(path, n, start=0):
    rows = range(start, start+n)
    pq.write_table(pa.table(dict(problem=[f'What is {i}+{i}?' for i in rows], solution=[f'#### {2*i}' for i in rows])), path)
    return path


def test_too_few_rows_leave_nothing(call, tmp_path):
    few = pairs_file(tmp_path/'few.parquet', 1)
    run = 'demo', '--data', few, '--sets', small, '--out', tmp_path/'run'
    status, _, err = call(trm_train, *run)
    if status:  # where a validation row cannot be had
        assert (status, err.count('\n'), (tmp_path/'run').exists()) == (2, 1, False)
        pairs_file(few, 300)
        assert call(trm_train, *run)[0] == 0


def test_a_missing_family_leaves_nothing(call, data, tmp_path):
    status, _, err = call(trm_train, 'demo', '--data', data, '--sets', f'{small} families=chess', '--out', tmp_path/'run')
    assert (status, err.count('\n'), (tmp_path/'run').exists()) == (2, 1, False)


def test_data_that_moved(call, tmp_path):
    old, new, run = tmp_path/'old.parquet', tmp_path/'new.parquet', tmp_path/'run'
    pairs_file(old, 300).rename(new)
    pairs_file(old, 300)
    demo = 'demo', '--out', run, '--sets'
    assert call(trm_train, *demo, small, '--data', old)[0] == 0
    old.unlink()
    longer = small.replace('steps=10', 'steps=15')
    status, _, err = call(trm_train, *demo, longer, '--data', pairs_file(tmp_path/'other.parquet', 299), '--resume')
    assert (status, err.count('\n')) == (2, 1) and 'hold other rows' in err and f'--start {run}' in err
    status, out, _ = call(trm_train, *demo, longer, '--data', new, '--resume')
    assert status == 0 and '10 steps were done under steps=10' in out
    d = read_json(run/'config.json')
    assert d['train']['data'] == str(new) and d['history'] == [dict(at=10, data=str(old), steps=10)]
    assert call(trm_eval, run)[0] == 0  # the run knows where its data are now


def test_boards_that_moved(call, board_run, tmp_path):
    shutil.copy(board_run/'puzzles.parquet', tmp_path/'a.parquet')
    board = small_board.replace('puzzles=60', 'side=4')
    assert call(trm_train, 'sudoku4', '--out', tmp_path/'run', '--data', tmp_path/'a.parquet', '--sets', board)[0] == 0
    (tmp_path/'a.parquet').rename(tmp_path/'b.parquet')
    status, _, err = call(trm_train, 'sudoku4', '--out', tmp_path/'run', '--data', tmp_path/'b.parquet', '--sets', board, '--resume')
    assert (status, err) == (0, '')


def test_a_streamed_run_whose_data_moved(call, data, tmp_path):
    where, run = tmp_path/'a', tmp_path/'run'
    where.mkdir()
    shutil.copy(data, where/'problems.parquet')
    sets = f'{small} streaming=true'
    assert call(trm_train, 'demo', '--data', where, '--out', run, '--sets', sets)[0] == 0
    where.rename(tmp_path/'b')
    status, _, err = call(trm_train, 'demo', '--data', tmp_path/'b', '--out', run, '--resume', '--sets',
                          sets.replace('steps=10', 'steps=12'))
    assert (status, err) == (0, '')


def test_starting_on_data_of_ones_own(call, run_folder, tmp_path):
    mine = pairs_file(tmp_path/'mine.parquet', 300)
    sets = small.replace('d_model=32', 'd_model=16')
    demo = 'demo', '--data', mine, '--sets', sets, '--out', tmp_path/'run'
    status, out, err = call(trm_train, *demo, '--start', run_folder)
    assert (status, err) == (0, '') and f'starting from {run_folder}' in out
    assert read_json(tmp_path/'run'/'tokenizer.json') == read_json(run_folder/'tokenizer.json')
    assert read_json(tmp_path/'run'/'config.json')['start'] == str(run_folder)
    assert call(trm_train, *demo, '--resume')[0] == 0
    new = '--out', tmp_path/'new'
    for start, says in (('sudoku6', 'network=SymbolTRM there, TRM here'), (tmp_path/'none', 'no such run')):
        status, _, err = call(trm_train, *demo[:5], *new, '--start', start)
        assert (status, err.count('\n')) == (2, 1) and says in err
    (tmp_path/'new').mkdir()
    save_tokenizer(train_tokenizer(mine, 270), tmp_path/'new'/'tokenizer.json')
    status, _, err = call(trm_train, *demo[:5], *new, '--start', run_folder)
    assert (status, err.count('\n')) == (2, 1) and 'tokenizer' in err
    assert [p.name for p in (tmp_path/'new').iterdir()] == ['tokenizer.json']


def test_starting_boards(call, board_run, tmp_path):
    run = 'sudoku4', '--out', tmp_path/'run', '--sets', small_board+' clues=7 seed=1', '--start'
    assert call(trm_train, *run, board_run)[0] == 0
    for start in ('sudoku6', tmp_path):
        status, _, err = call(trm_train, 'sudoku4', '--out', tmp_path/'new', '--sets', small_board, '--start', start)
        assert (status, err.count('\n'), (tmp_path/'new').exists()) == (2, 1, False)


# Predictions, and problems from a file

def lines(path): return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def test_predictions_of_text(call, run_folder, tmp_path):
    told, scores = tmp_path/'told.jsonl', tmp_path/'scores.json'
    assert call(trm_eval, run_folder, '--limit', 9, '--predictions', told, '--json', scores)[0] == 0
    rows = lines(told)
    assert len(rows) == 9 and list(rows[0])[:4] == ['problem', 'gold', 'response', 'answer']
    assert {'exact', 'by_step', 'group'} <= set(rows[0]) and list(rows[0]['by_step']) == ['1', '2', '3', '4']
    assert sum(r['exact'] for r in rows)/9 == pytest.approx(read_json(scores)['exact'], abs=1e-4)
    assert all('####' in r['gold'] and '?' in r['problem'] and 'Input' not in r['problem'] for r in rows)


def test_predictions_of_boards(call, board_run, tmp_path):
    for more in [], ['--restarts', 2]:
        assert call(trm_eval, board_run, '--limit', 9, '--predictions', tmp_path/'told.jsonl', *more)[0] == 0
        rows = lines(tmp_path/'told.jsonl')
        assert list(rows[0])[:3] == ['question', 'answer', 'prediction'] and {'exact', 'valid'} <= set(rows[0])
        assert all((r['prediction'] == r['answer']) == (r['exact'] == 1) and len(r['answer']) == 16 for r in rows)


def test_predictions_of_a_task_of_ones_own(own_run):
    model, task = open_run(own_run, device='cpu', task=Backwards)
    df, s = score_run(model, task, limit=8, keep=True)
    row = prediction_rows(df)[0]
    assert row['gold'] == row['problem'][::-1] and len(row['response']) == 6 and s == score_run(model, task, limit=8)[1]


@pytest.mark.parametrize('place, says', [('no/where.jsonl', 'is no folder'), ('.', 'is a folder')])
def test_the_place_for_predictions_is_looked_at_first(call, run_folder, tmp_path, place, says):
    for cmd in ([trm_eval, run_folder], [trm_solve, run_folder, '1+1?']):
        status, out, err = call(*cmd, '--predictions', tmp_path/place)
        assert (status, out, err.count('\n')) == (2, '', 1) and f'predictions={tmp_path/place}' in err and says in err


problems = ['What comes next: 1, 2, 3?', 'Which is larger, "12" or 21?', '1+'*300]
answered = dict(txt='\n'.join(problems), csv='id,Problem\n'+'\n'.join(f'''{i},"{p.replace('"', '""')}"''' for i, p in enumerate(problems)),
                jsonl='\n'.join(json.dumps(dict(id=i, problem=p)) for i, p in enumerate(problems)))


@pytest.mark.parametrize('form', [*answered, 'parquet'])
def test_problems_from_a_file(call, run_folder, tmp_path, form):
    file, told = tmp_path/f'ask.{form}', tmp_path/'told.jsonl'
    if form == 'parquet': pq.write_table(pa.table(dict(note=['x']*3, problem=problems)), file)
    else: file.write_text(answered[form]+'\n')
    status, out, err = call(trm_solve, run_folder, '--file', file, '--predictions', told)
    rows = lines(told)
    assert (status, out, err.count('\n')) == (2, '', 2) and f'{file}: row 3: problem of' in err and '2 of 3 answered' in err
    assert [r['problem'] for r in rows] == problems and [r['error'] == '' for r in rows] == [True, True, False]
    alone = [call(trm_solve, run_folder, p, '--steps', 4)[1].split('\n', 1)[1].strip() for p in problems[:2]]
    assert [plain(r['response']).strip() for r in rows[:2]] == alone
    status, out, _ = call(trm_solve, run_folder, '--file', file)
    assert status == 2 and out.startswith('problem,response,answer\n')


def test_the_column_of_problems(call, run_folder, tmp_path):
    pq.write_table(pa.table(dict(one=['1+1?'], two=['2+2?'])), tmp_path/'ask.parquet')
    status, _, err = call(trm_solve, run_folder, '--file', tmp_path/'ask.parquet')
    assert (status, err.count('\n')) == (2, 1) and '--column, among one, two' in err
    told = tmp_path/'told.jsonl'
    assert call(trm_solve, run_folder, '--file', tmp_path/'ask.parquet', '--column', 'two', '--predictions', told)[0] == 0
    assert lines(told)[0]['problem'] == '2+2?'
    status, _, err = call(trm_solve, run_folder, '--file', tmp_path/'ask.parquet', '--column', 'three')
    assert (status, err.count('\n')) == (2, 1) and 'no column three' in err


# Checkpoints of the paper's code

@pytest.fixture
def published(tmp_path):
    "Weights under the paper's names, wrapped as Lightning does, and their settings"
    settings = dict(seq_len=16, puzzle_emb_ndim=16, num_puzzle_identifiers=1, vocab_size=6, H_cycles=1, L_cycles=1, L_layers=1,
                    hidden_size=16, expansion=4, num_heads=2, pos_encodings='rope', halt_max_steps=2, mlp_t=False, puzzle_emb_len=2)
    torch.manual_seed(0)
    weights = PrefixTRM(published_config(settings)).state_dict()
    theirs = {f'model._orig_mod.model.inner.{published_name(k)}': v for k, v in weights.items()}
    torch.save(dict(state_dict=theirs, epoch=3, global_step=7), tmp_path/'step_7.ckpt')
    (tmp_path/'settings.json').write_text(json.dumps(settings))
    return tmp_path/'step_7.ckpt', '--published', tmp_path/'settings.json'


def test_a_published_checkpoint(call, published, board_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = '--predictions', tmp_path/'told.jsonl'
    status, out, err = call(trm_eval, *published, '--data', board_run/'puzzles.parquet', '--limit', 5, *told)
    assert (status, err, len(lines(told[1]))) == (0, '', 5) and 'of the all split' in out
    assert call(trm_solve, *published, '--board', '12..34....1....2')[0] in (0, 1)
    (tmp_path/'b.csv').write_text('12..34....1....2\n')
    assert call(trm_solve, *published, '--file', tmp_path/'b.csv', *told)[0] == 0 and lines(told[1])[0]['board'] == '12..34....1....2'


def test_what_is_no_published_checkpoint(call, published, run_folder, tmp_path):
    file, option, config = published
    bad = tmp_path/'bad.json'
    bad.write_text(json.dumps(read_json(config) | dict(hidden_size=32)))
    other = tmp_path/'other.json'
    other.write_text('{"arch": 1}')
    for args, says in (([file], '--published CONFIG.json'), ([file, option, bad], 'should be ('), ([file, option, other], 'no usable setting'),
                       ([file, option, tmp_path/'none.json'], 'no such file'), ([tmp_path/'none.ckpt', option, config], 'no such file'),
                       ([run_folder/'model.safetensors', option, config], 'should hold the weights'), ([file, option, config], 'should be given by --data')):
        status, out, err = call(trm_eval, *args)
        assert (status, out, err.count('\n')) == (2, '', 1) and says in err, err


def test_a_folder_with_a_test_file_is_scored_on_it(call, board_run, tmp_path):
    df = pd.read_parquet(board_run/'puzzles.parquet').drop(columns='split')
    df[:40].to_parquet(tmp_path/'train.parquet', index=False)
    df[40:50].to_parquet(tmp_path/'test.parquet', index=False)
    status, out, _ = call(trm_eval, board_run, '--data', tmp_path)
    assert status == 0 and 'on 10 of the test split' in out
