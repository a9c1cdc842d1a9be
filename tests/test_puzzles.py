"Boards from the command line: solved, refused in one line, and read from the published formats"
import json
import re
import shutil

import pytest
from test_bad_input import refused

from conftest import root, shared, small_board, trm
from trm.puzzles.board import maze_chars, sudoku_chars
from trm.puzzles.files import read_puzzles, write_puzzles
from trm.puzzles.maze import make_mazes
from trm.puzzles.solver import make_sudoku
from trm.runs import open_run

good = '12..34....1....2'  # one solution: 1243342123144132
bad = {'12..34....1....': '15 cells', '12..34....1...z2': 'row 4, column 3', '11..34....1....2': 'row 1, column 1 and row 1, column 2',
       '12..34....1...2.': 'no solution', '.'*16: 'more than one solution', '.'*81: '81 cells; should be 16'}


@pytest.mark.parametrize('board', bad, ids=bad.values())
def test_bad_board(board, board_run):
    refused(trm('solve', board_run, '--board', board), bad[board].split(';')[0])


def told(r):
    "Exit status 0 and the answer, or 1 and no board at all; else the test fails"
    *_, verdict = r.stdout.rstrip().split('\n')
    lines = [line for line in r.stdout.split('\n') if re.fullmatch(r'([\d.]+)    (\d+)', line)]
    if r.returncode == 1:
        assert verdict.startswith('not solved in ') and '--restarts' in verdict and not lines and not r.stderr
        return None
    assert r.returncode == 0 and verdict.startswith('rules hold: yes'), r.stderr
    return ''.join(line.split()[1] for line in lines)


def test_solve_board(board_run):
    "A right answer or none, with the steps' lines before it"
    r = trm('solve', board_run, '--board', good)
    assert told(r) in (None, '1243342123144132')
    assert 1 <= r.stdout.count('step ') <= 4+1
    r = trm('solve', board_run, '--board', '12433421231441.2', '--restarts', 32)  # one cell is left
    assert told(r) in (None, '1243342123144132')


@pytest.mark.parametrize('select', ['halt', 'first', 'majority', 'residual', 'rules'])
def test_unsolved_board(select, unlearned):
    "A network that has learned nothing: exit status 1, and no board, whoever chooses"
    r = trm('solve', unlearned, '--board', good, '--restarts', 3, '--select', select)
    assert r.returncode == 1 and told(r) is None
    assert '3 tries of 4 steps' in r.stdout and f'chosen by {select}' in r.stdout


@pytest.fixture(scope='session')
def unlearned(tmp_path_factory):
    "A run of one step"
    run = tmp_path_factory.mktemp('boards') / 'unlearned'
    r = trm('train', 'sudoku4', '--out', run, '--sets', small_board.replace('steps=30', 'steps=1').replace('warmup_steps=3', 'warmup_steps=0'))
    assert r.returncode == 0, r.stderr
    return run


def test_solve_file(board_run, unlearned, tmp_path):
    "Good boards are answered or left empty, each bad one has its line; unsolved boards are no error"
    (tmp_path/'boards.csv').write_text('\n'.join(['board', good, *list(bad)[:3], good]))
    r = trm('solve', board_run, '--file', 'boards.csv', cwd=tmp_path)
    assert r.returncode == 2
    assert r.stdout.count(good) == 2
    lines = [o for o in r.stderr.splitlines() if 'row ' in o]
    assert len(lines) == 3 and all(w in o for w, o in zip(list(bad.values())[:3], lines))
    refused(trm('solve', board_run, '--file', 'none.csv', cwd=tmp_path), 'none.csv')
    (tmp_path/'good.csv').write_text(f'board\n{good}\n')
    r = trm('solve', unlearned, '--file', 'good.csv', '--restarts', 4, cwd=tmp_path)
    assert r.returncode == 0 and r.stderr == '0 of 1 solved by the rules\n'
    assert r.stdout.splitlines()[1].startswith(f'{good},,False,16,')


def test_eval_restarts(board_run, tmp_path):
    "The scores say how they came about"
    for select in 'rules', 'majority':
        r = trm('eval', board_run, '--limit', 30, '--restarts', 4, '--select', select, '--json', tmp_path/'eval.json')
        assert r.returncode == 0, r.stderr
        found = json.loads((tmp_path/'eval.json').read_text())
        assert (found['restarts'], found['select'], found['n']) == (4, select, 30)
    r = trm('eval', board_run, '--limit', 30, '--json', tmp_path/'eval.json')
    found = json.loads((tmp_path/'eval.json').read_text())
    assert (found['restarts'], found['select']) == (1, None)


def test_bad_puzzles(tmp_path):
    df = make_sudoku(200, 4).to_frame(sudoku_chars(4))
    for name, table, word in [('column', df.drop(columns='answer'), 'no answers'),
                              ('short', df.assign(answer=[a[:-1] for a in df.answer]), 'side=4'),
                              ('false', df.assign(answer=df.answer.iloc[::-1].values), 'breaks the rules'),
                              ('sign', df.assign(question=['z'+q[1:] for q in df.question]), "'z'"),
                              ('six', make_sudoku(40, 6).to_frame(sudoku_chars(6)), '36 cells')]:
        table.to_csv(tmp_path/f'{name}.csv', index=False)
        refused(trm('train', 'sudoku4', '--data', f'{name}.csv', '--out', 'run', '--sets', small_board, cwd=tmp_path), word)
    refused(trm('train', 'sudoku4', '--data', 'nowhere', '--out', 'run', '--sets', small_board, cwd=tmp_path), 'nowhere')
    refused(trm('train', 'sudoku_extreme', '--out', 'run', cwd=tmp_path), 'data')
    refused(trm('train', 'sudoku4', '--out', 'run', '--sets', 'mask=causal', cwd=tmp_path), 'full')
    assert not (tmp_path/'run').exists()


@pytest.mark.parametrize('form', ['train.csv', 'train.parquet', 'train'])
def test_train_on_published_formats(form, tmp_path):
    "A folder with a train and a test split, in each format"
    boards = make_sudoku(120, 4)
    (tmp_path/'data').mkdir()
    write_puzzles(boards[:90], tmp_path/'data'/form, sudoku_chars(4))
    write_puzzles(boards[90:], tmp_path/'data'/form.replace('train', 'test'), sudoku_chars(4))
    r = trm('train', 'sudoku4', '--data', tmp_path/'data', '--out', tmp_path/'run', '--sets', small_board.replace('steps=30', 'steps=5'))
    assert r.returncode == 0, r.stderr
    r = trm('eval', tmp_path/'run', '--json', tmp_path/'eval.json')
    assert r.returncode == 0, r.stderr
    found = json.loads((tmp_path/'eval.json').read_text())
    assert (list(found)[0], found['n'], found['split']) == ('exact', 30, 'test')


@pytest.mark.parametrize('name,task,side,n', [('sudoku_extreme', 'sudoku', 9, 10_000), ('maze_hard', 'maze', 30, 500)])
def test_whole_test_files(name, task, side, n):
    "The real test files are read, and every answer in them obeys the rules"
    from trm.config import get_preset
    from trm.puzzles.kinds import puzzle_task
    from trm.puzzles.task import to_batch
    folder, cfg = shared(name), get_preset(name)
    boards = puzzle_task(cfg)(cfg, folder)
    d = boards.dataset('test')
    assert d['inputs'].shape == (n, side*side)
    s = boards.score(d['labels'], to_batch(d['inputs'], d['labels']))
    assert all(v.mean() == 1 for v in s.values())
    assert len(read_puzzles(folder/'test.parquet', boards.chars)) == n


def test_shipped_weights(tmp_path):
    "What the card says: a held-out board is solved, and nearly all of the others"
    run = shutil.copytree(root/'trm/weights/sudoku6', tmp_path/'sudoku6')  # scoring draws figures into the folder
    r = trm('solve', run, '--board', '.6..2.......65.1...1...6....13..4...')
    assert r.returncode == 0 and told(r) == '361524245631653142412356526413134265'
    r = trm('eval', run, '--split', 'minimal', '--limit', 100, '--json', tmp_path/'eval.json')
    assert r.returncode == 0, r.stderr
    assert json.loads((tmp_path/'eval.json').read_text())['exact'] >= .97
    (run/'puzzles.parquet').unlink()  # whoever brings boards does not need it
    assert trm('solve', run, '--board', '.6..2.......65.1...1...6....13..4...').returncode == 0
    r = trm('eval', run)
    assert r.returncode == 2 and 'puzzles.parquet' in r.stderr and len(r.stderr.splitlines()) == 1


def test_kaggle_file(tmp_path):
    "A csv of quizzes and solutions is trained on, scored and solved as it stands, whatever `clues` a preset has"
    df = make_sudoku(300, 4).to_frame(sudoku_chars(4))
    (tmp_path/'k.csv').write_text(df.set_axis(['quizzes', 'solutions'], axis=1).replace('[.]', '0', regex=True).to_csv(index=False))
    (tmp_path/'q.csv').write_text(df.set_axis(['q', 'a'], axis=1).assign(puzzle=df.answer).to_csv(index=False))
    steps = small_board.replace('steps=30', 'steps=5').replace('puzzles=', 'seed=0 puzzles=')
    for out, sets, clues in [('k', '', 0), ('more', ' clues=8', 8)]:
        r = trm('train', 'sudoku4', '--data', 'k.csv', '--out', out, '--sets', steps+sets, cwd=tmp_path)
        assert r.returncode == 0, r.stderr
        assert json.loads((tmp_path/out/'config.json').read_text())['train']['clues'] == clues
        r = trm('eval', out, '--data', 'q.csv', '--problem', 'q', '--solution', 'a', '--json', 'e.json', cwd=tmp_path)
        assert r.returncode == 0, r.stderr
        assert json.loads((tmp_path/'e.json').read_text())['n'] == 300 and '4-5 clues' in r.stdout and '8-9 clues' not in r.stdout
    r = trm('solve', 'k', '--file', 'k.csv', cwd=tmp_path)
    assert r.returncode == 0 and r.stderr.endswith('of 300 solved by the rules\n')
    assert r.stdout.splitlines()[1].startswith(df.question[0]+',')


@pytest.mark.parametrize('side', [8, 10, 12])
def test_other_sides(side, tmp_path):
    "What trains can be asked: a board of side 8, 10 or 12 pasted with bars"
    df = make_sudoku(60, side).to_frame(sudoku_chars(side))
    df.to_csv(tmp_path/'x.csv', index=False)
    r = trm('train', 'sudoku4', '--data', 'x.csv', '--out', 'run', '--sets', small_board.replace('steps=30', 'steps=2')+f' side={side} symbols={side}', cwd=tmp_path)
    assert r.returncode == 0, r.stderr
    q, n = df.question[0], side//2
    lines = [f"| {' '.join(q[i:i+n])} | {' '.join(q[i+n:i+side])} |" for i in range(0, side*side, side)]
    r = trm('solve', 'run', '--board', '\n'.join(['+---+---+', *lines, '+---+---+']), cwd=tmp_path)
    assert not r.stderr and told(r) is None


def shown(run, file, **changes):
    "The rows of `file` that a run with other settings is asked, as it scores them"
    path = run/'config.json'
    kept = path.read_text()
    d = json.loads(kept)
    for k, v in changes.items(): d['model' if k in d['model'] else 'train'][k] = v
    path.write_text(json.dumps(d))
    try:
        _, task = open_run(run, file)
        rows = [b for s in ('valid', 'test', 'all') for b in task.eval_batches(s, 64)]
        return task.left_out('all'), [(b['input_ids'].tolist(), b['labels'].tolist()) for b in rows]
    finally: path.write_text(kept)


@pytest.mark.parametrize('kind, changes', [
    ('board', dict(clues=12)), ('board', dict(augment=False)), ('board', dict(puzzles=7, seed=3)), ('board', dict(guesses=5)),
    ('maze', dict(augment=False)), ('text', dict(families='compare')), ('text', dict(loss_on='all', mask='causal')), ('text', dict(augment=False)),
    ('text', dict(seed=3)), ('text', dict(streaming=True))], ids=str)
def test_no_setting_changes_what_is_brought(kind, changes, board_run, run_folder, data, tmp_path):
    "A file that is scored is asked as it stands, whatever a run was trained with"
    if kind=='text': run, file = run_folder, data
    elif kind=='board':
        run, file = board_run, tmp_path/'x.parquet'
        write_puzzles(make_sudoku(150, 4, seed=9), file, sudoku_chars(4))
    else:
        run, file = tmp_path/'run', tmp_path/'x.parquet'
        sets = small_board.replace('steps=30', 'steps=2')+' task=maze side=6 network=TRM'
        r = trm('train', 'sudoku4', '--out', run, '--sets', sets)
        assert r.returncode == 0, r.stderr
        write_puzzles(make_mazes(60, 6, seed=9), file, maze_chars)
    run = shutil.copytree(run, tmp_path/'copy')
    assert shown(run, file, **changes) == shown(run, file)
