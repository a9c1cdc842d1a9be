"The hard inputs of the chapters on puzzles, and laws that take many boards to see."
import re

import numpy as np
import pandas as pd
import pytest
import torch

from trm.config import Config, ModelConfig, TrainConfig
from trm.files import InputError
from trm.puzzles.board import (Boards, board_keys, box_shape, decode_boards, draw_board,
                               encode_boards, from_keys, maze_chars, sudoku_chars)
from trm.puzzles.files import (board_number, make_puzzles, pick_split, read_boards, read_puzzles,
                               write_puzzles)
from trm.puzzles.kinds import MazeTask, SudokuTask, puzzle_task
from trm.puzzles.maze import check_maze, make_mazes, maze_distances, maze_variants, solve_maze
from trm.puzzles.solver import check_sudoku, make_sudoku, solve_sudoku
from trm.puzzles.sudoku import valid_sudoku

four = sudoku_chars(4)
two = pd.DataFrame(dict(question=['1.....4..3.....2', '2.....4..3.....1'],
                        answer=['1423324123144132', '2413314213244231'], source=['a', 'b']))

sudoku4 = Config(ModelConfig(mask='full'), TrainConfig(task='sudoku', side=4, puzzles=300))


def refuses(says, f, *args, **kw):
    "Does the call raise an `InputError` that contains `says`?"
    with pytest.raises(InputError, match=re.escape(says)): f(*args, **kw)


def same(a, b): return torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_alphabets():
    assert sudoku_chars(4) == '.1234'
    assert {s: box_shape(s) for s in (4, 6, 9, 12, 16)} == {
        4: (2, 2), 6: (2, 3), 9: (3, 3), 12: (3, 4), 16: (4, 4)}
    refuses('at most 35', sudoku_chars, 36)
    refuses('has no boxes', box_shape, 7)


def test_encode():
    assert decode_boards(encode_boards(['#S oG  #'], maze_chars), maze_chars) == ['#S oG  #']
    assert encode_boards([], maze_chars).shape == (0, 0)
    assert same(encode_boards(['1003'], four), encode_boards(['1..3'], four))


@pytest.mark.parametrize('texts,chars,says', [
    (['12', '1x'], four, "my.csv: row 2, position 2: 'x'"),
    (['12', '123'], four, 'row 2: 3 characters; should be 2'), (['1½'], four, "'½'"),
    ([None], maze_chars, 'row 1: None'), (['S0'], maze_chars, "'0'")])  # 0: a blank in Sudoku only
def test_encode_refuses(texts, chars, says): refuses(says, encode_boards, texts, chars, 'my.csv')


def test_decode_refuses(): refuses('from 0 to 5', decode_boards, [[7]], four)


def test_boards_stay_together():
    "Question, answer and table, however rows are picked"
    boards = Boards.from_frame(two, four)
    assert boards.inputs.dtype == torch.uint8
    assert same(boards.inputs, encode_boards(two.question, four).byte())
    for rows in slice(1, 2), [1], np.array([False, True]), boards.table.source == 'b':
        assert boards[rows].to_frame(four).equals(two[1:])
    both = Boards.join([boards[1:], boards.assign(source='c')])
    assert both.table.to_dict('list') == dict(source=['b', 'c', 'c'])
    assert len(boards[:0].to_frame(four)) == 0
    assert len(set(board_keys(both.inputs))) == 2 and from_keys([], 16).shape == (0, 16)


def test_boards_refuse():
    frame = Boards.from_frame
    refuses('my.csv: no column answer among question, source', frame,
            two.drop(columns='answer'), four, 'my.csv')
    refuses("my.csv, answer: row 1, position 2: 'x'", frame,
            two.assign(answer=['1x'*8]*2), four, 'my.csv')
    refuses('my.csv, question: row 1: 16 cells; should be 36, for side=6', frame,
            two, four, 'my.csv', 36)
    refuses('row 2 has no question', frame, two.assign(question=['1', None]), four)
    boards = [frame(two, four), frame(two.assign(question='12'), four)]
    refuses('2 and 16 cells', Boards.join, boards)


def test_draw_refuses(): refuses('should be a square', draw_board, '1.3', four)


def test_solve_sudoku_refuses():
    assert solve_sudoku([1, 0, 0, 0, 0, 0, 4, 0, 0, 3, 0, 0, 0, 0, 0, 2], 4) == ['1423324123144132']
    refuses('should be 16', solve_sudoku, '1...', 4)
    refuses('should be 0 to 4', solve_sudoku, [7]+[0]*15, 4)


@pytest.mark.parametrize('bad,says', [
    ('1.....4..3.....', 'of 15 cells; should be 16, 36, 81 or 256'),
    ('1.....4..3.....9', "row 4, column 4: '9'; should be one of .1234"),
    ('1...1.4..3.....2', 'row 1, column 1 and row 2, column 1: both 1; should differ, '
                         'being in the same column'),
    ('1....14..3.....2', 'being in the same box'), ('1.....4..4.3...2', 'no solution'),
    ('1.....4..3......', 'more than one solution')])
def test_check_sudoku_refuses(bad, says): refuses(says, check_sudoku, bad)


def test_check_sudoku():
    framed = '1 0 | . .\n. . | 4 .\n----+----\n. 3 | . .\n. . | . 2'
    assert check_sudoku(framed) == ('1.....4..3.....2', 4)
    refuses('board of 4x4; should be 6x6', check_sudoku, framed, 6)


def test_make_sudoku():
    "The seed decides, other seeds give other puzzles, and all are valid and of the usual sizes"
    one, again, other = (make_sudoku(5, 6, seed=s).inputs for s in (1, 1, 2))
    assert same(one, again) and not set(board_keys(one)) & set(board_keys(other))
    boards = {side: make_sudoku(n, side) for side, n in ((4, 200), (6, 200), (9, 60))}
    clues = {side: (b.inputs > 1).sum(1).float() for side, b in boards.items()}
    assert (clues[4].min(), clues[4].max() <= 6) == (4, True)
    assert 9 < clues[6].mean() < 11 and 23 < clues[9].mean() < 26
    assert all(valid_sudoku(b.labels, b.inputs, side).all() for side, b in boards.items())


lines = ['S  #    ', '   # ## ', '##    # ', '   ## # ',
         '      # ', '  #    #', '#   #   ', '    #  G']
maze = ''.join(lines)


def test_solve_maze():
    "A path in the question does no harm; what cannot be solved is refused by its row"
    x = encode_boards([maze], maze_chars)
    once = solve_maze(x, 8)
    assert same(solve_maze(once, 8), once)
    cut = [maze, maze[:-2]+'#G', maze[:-9]+'#'+maze[-8:-2]+'#G']
    refuses('row 3: no way', solve_maze, encode_boards(cut, maze_chars), 8)
    goals = decode_boards(once, maze_chars)[0].replace('o', 'G')
    refuses("14 cells 'G'", solve_maze, encode_boards([goals], maze_chars), 8)
    refuses('should be (n, 81)', maze_distances, x, 9)
    no_start = encode_boards([maze, maze.replace('S', '#')], maze_chars)
    refuses("row 2: 0 cells 'S'", maze_distances, no_start, 8)


@pytest.mark.parametrize('text,says', [
    ('S \n#', 'line 2 has 1'), ('S G\n###', 'line 1 has 3'), ('S #G ', '5 cells'),
    ('S  x', "has 'x'"), ('S GG', "2 cells 'G'"), ('', "0 cells 'S'"), ('S##G', 'maze: no way')])
def test_check_maze_refuses(text, says): refuses(says, check_maze, text)


def test_check_maze():
    for text in maze, '\n'.join(lines): assert check_maze(text) == (maze, 8)
    assert check_maze('S.\n#G\n') == ('S #G', 2)
    refuses('maze of 8x8; should be 10x10', check_maze, maze, 10)


def test_make_mazes():
    small = make_mazes(500, side=12, seed=1)
    seen = set(board_keys(small.inputs))
    assert len(seen) == 500 and small.table.path_len.min() >= 39
    assert not seen & set(board_keys(make_mazes(50, side=12, seed=2).inputs))
    refuses('min_path=30: 0 of 1 mazes', make_mazes, 1, side=6, min_path=30, tries=5000)
    refuses('at least 2 and 1', make_mazes, 1, side=6, min_path=0)
    assert len(make_mazes(0, side=6)) == 0


@pytest.fixture
def two_mazes():
    df = pd.DataFrame(dict(question=[' S #G ', 'S   G '], answer=[' S #Go', 'S o G ']))
    return Boards.from_frame(df, maze_chars)


@pytest.mark.parametrize('name,text,says', [
    ('empty.csv', 'question,answer\n', 'no rows'), ('nothing.csv', '', 'cannot be read'),
    ('other.csv', 'puzzle,solution\n1,2\n', 'no column question'),
    ('bad.parquet', 'no parquet', 'not a parquet file'), ('x.txt', '', 'is no puzzle file'),
    ('twice.csv', 'question,answer,answer\n1,2,3\n', 'column answer twice'),
    ('sign.csv', 'question,answer\n1,2\n.,x\n', "sign.csv, answer: row 2, position 1: 'x'")])
def test_read_puzzles_refuses(name, text, says, tmp_path):
    (tmp_path/name).write_text(text)
    refuses(says, read_puzzles, tmp_path/name, '.12')


def test_read_puzzles_finds_nothing(tmp_path):
    for name in 'gone.csv', 'gone*.csv':
        refuses('no such file', read_puzzles, tmp_path/name, '.12')


def test_read_arrays_refuses(two_mazes, tmp_path):
    write_puzzles(two_mazes, tmp_path/'m', maze_chars)
    refuses('inputs: row 1, position 2: 3; should be one of the tokens 1 to 2',
            read_puzzles, tmp_path/'m', '.1')
    labels = tmp_path/'m/all__labels.npy'
    labels.write_bytes(labels.read_bytes()[:-3])
    refuses('cannot be read', read_puzzles, tmp_path/'m', maze_chars)
    (tmp_path/'m/dataset.json').unlink()
    refuses('dataset.json: no such file', read_puzzles, tmp_path/'m', maze_chars)


def test_write_puzzles_refuses(two_mazes, tmp_path):
    refuses('no rows', write_puzzles, two_mazes[:0], tmp_path/'x.csv', maze_chars)
    short = Boards(two_mazes.inputs, two_mazes.labels[:, :1], two_mazes.table)
    refuses('as long as', write_puzzles, short, tmp_path/'y', maze_chars)
    for i, b in enumerate((short, two_mazes)): write_puzzles(b, tmp_path/f'odd-{i}.csv', maze_chars)
    refuses('1 and 6 cells', read_puzzles, tmp_path/'odd-*.csv', maze_chars)


def test_read_boards_refuses(tmp_path):
    (tmp_path/'b.csv').write_text('')
    refuses('no boards', read_boards, tmp_path/'b.csv')
    refuses('no such file', read_boards, tmp_path/'none.csv')


def test_splits():
    "What decides is the number; what is made here has it too, and the asked sizes"
    some = np.array([0, 19, 20, 24, 25, 99])
    assert pick_split(some, 'valid').tolist() == [False, False, True, True, False, False]
    mz = make_mazes(30, 8)
    turned = Boards(maze_variants(mz.inputs, 8)[3], mz.labels, mz.table)
    assert same(board_number(mz, 'maze', 8), board_number(turned, 'maze', 8))
    assert len(board_number(mz[:0], 'maze', 8)) == 0
    sizes = dict(make_puzzles(sudoku4).table.split.value_counts())
    assert sizes == dict(test=500, train=300, valid=200)
    mazes = make_puzzles(sudoku4.change(task='maze', side=6, puzzles=40))
    assert dict(mazes.table.split.value_counts()) == dict(test=500, valid=200, train=40)
    refuses('puzzles=N', make_puzzles, sudoku4.change(puzzles=0))


def test_bad_rows_are_named():
    "By the row of the data, counted by place, or by the setting"
    def dataset(data, **kw): return SudokuTask(sudoku4.change(**kw), data).dataset('test')
    made = make_puzzles(sudoku4)
    wrong = Boards(made.inputs, made.labels.flip(0), made.table)
    refuses('breaks the rules or changes the question; should be a solution', dataset, wrong)
    named = wrong.to_frame(four).set_index('split', drop=False)
    refuses('answer of row 1', dataset, named)
    refuses('for side=6', dataset, made, side=6)
    refuses('symbols=6: should be 4', dataset, made, network='SymbolTRM', symbols=6, mixer='mlp')
    refuses('no data given', dataset, None)


@pytest.mark.parametrize('form', ['boards', 'plain', 'csv', 'folder'])
def test_opened_task(form, tmp_path):
    "It has the rows of the saved one, split by split, and saving it again writes nothing"
    made, run = make_puzzles(sudoku4), tmp_path/'run'
    plain = Boards(made.inputs, made.labels, made.table.drop(columns='split'))
    write_puzzles(plain, tmp_path/'one.csv', four)
    for name, b in ('train.parquet', plain[:500]), ('test.csv', plain[500:]):
        (tmp_path/'two').mkdir(exist_ok=True)
        write_puzzles(b, tmp_path/'two'/name, four)
    data = dict(boards=made, plain=plain, csv=tmp_path/'one.csv', folder=tmp_path/'two')[form]
    run.mkdir()
    before = SudokuTask(sudoku4, data)
    before.save(run)
    after = SudokuTask.open(run, sudoku4)
    for s in 'train', 'valid', 'test':
        a, b = (t.boards(s).to_frame(four)[['question', 'answer']].values for t in (after, before))
        assert (a == b).all()
    written = (run/'puzzles.parquet').stat().st_mtime_ns
    after.save(run)
    assert (run/'puzzles.parquet').stat().st_mtime_ns == written


def test_prompts():
    task, q = SudokuTask(sudoku4), two.question[0]
    ids = task.prompt([q])['input_ids']
    assert same(ids, encode_boards([q], four)) and task.left_out('test') == 0
    assert task.text(ids[0]).replace('\n', '') == q
    refuses('both 1', task.prompt, ['1'*16])
    refuses('should be 10x10', MazeTask(sudoku4.change(task='maze', side=10)).prompt, ['SG'+' '*14])
    refuses('or its class be given', puzzle_task, sudoku4.change(task='own'))
