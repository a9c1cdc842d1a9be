"The hard inputs of the chapters on puzzles, and laws that take many boards to see."
import gzip
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from trm.config import Config, ModelConfig, TrainConfig
from trm.data.tables import read_batches
from trm.engine.strangers import read_carefully
from trm.files import InputError
from trm.puzzles.board import (Boards, board_keys, box_shape, decode_boards, draw_board,
                               encode_boards, from_keys, maze_chars, sudoku_chars)
from trm.puzzles.files import find_split, read_boards, read_puzzles, write_puzzles
from trm.puzzles.hard import _library, count_guesses, count_left, make_hard, vary_clues
from trm.puzzles.kinds import MazeTask, SudokuTask, puzzle_task, sudoku_moves
from trm.puzzles.maze import check_maze, make_mazes, maze_distances, maze_variants, solve_maze
from trm.puzzles.solver import check_sudoku, make_sudoku, solve_sudoku
from trm.puzzles.spelling import parse_board, parse_boards
from trm.puzzles.splits import board_number, make_puzzles, pick_split
from trm.puzzles.sudoku import valid_sudoku
from trm.puzzles.task import PuzzleTask
from trm.puzzles.units import UnitConfig, UnitTRM
from trm.thinking.restarts import try_boards

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
    assert {s: box_shape(s) for s in (4, 6, 8, 9, 10, 12, 16)} == {
        4: (2, 2), 6: (2, 3), 8: (2, 4), 9: (3, 3), 10: (2, 5), 12: (3, 4), 16: (4, 4)}
    refuses('from 1 to 35', sudoku_chars, 36)
    refuses('has no boxes', box_shape, 7)


def test_encode():
    assert decode_boards(encode_boards(['#S oG  #'], maze_chars), maze_chars) == ['#S oG  #']
    assert encode_boards([], maze_chars).shape == (0, 0)
    assert same(encode_boards(['1003'], four), encode_boards(['1..3'], four))


@pytest.mark.parametrize('texts,chars,says', [
    (['12', '1z'], four, "my.csv: row 2: cell 2 (row 2, column 1): 'z'"),
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
    refuses('my.csv: no answers among question, source; should', frame,
            two.drop(columns='answer'), four, 'my.csv')
    refuses("my.csv, answer: row 1: cell 2 (row 1, column 2): 'z'", frame,
            two.assign(answer=['1z'*8]*2), four, 'my.csv')
    refuses('my.csv, question: row 1: 16 cells; should be 36, for side=6', frame,
            two, four, 'my.csv', 36)
    refuses('row 2 has no question', frame, two.assign(question=['1', None]), four)
    long = frame(two, four)
    refuses('2 and 16 cells', Boards.join, [long, Boards(long.inputs[:, :2], long.labels, long.table)])


grid = '53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79'
rows = [grid[k:k+9] for k in range(0, 81, 9)]
drawn = [' | '.join(r[k:k+3] for k in (0, 3, 6)) for r in rows]
ruled = [*drawn[:3], '----+-----+----', *drawn[3:6], '---------------', *drawn[6:]]
numbers = [[int(c) for c in r.replace('.', '0')] for r in rows]


def with_blank(c): return grid.replace('.', c)


@pytest.mark.parametrize('text', [
    *(with_blank(c) for c in '0_*-?xX '), '\n'.join(rows), '\r\n'.join(rows)+'\r\n', ' '.join(rows),
    ' '.join(grid), '\n'.join(drawn), '\n'.join(ruled), '\n'.join('  '+r for r in ruled),
    '\n'.join(ruled).replace('.', '-'), '\n'.join(ruled).replace('.', '_'),
    '\n'.join(['*-----------*', *(f'|{r.replace(" | ", "|")}|' for r in drawn), '*-----------*']),
    '\n'.join(['.-------.-------.-------.', *(f'| {" ".join(r)} |' for r in rows), "'-------'"]),
    '\n'.join(['╔═══════╗', *(f'║{"│".join(r)}║' for r in rows), '╚═══════╝']),
    '\n'.join(rows).replace('.', ' '), '\n'.join(r.rstrip() for r in with_blank(' ').split('\n')),
    '\n'.join(r.replace('.', ' ').rstrip() for r in rows),
    ','.join(with_blank('0')), ', '.join(grid), ','.join(grid).replace('.', ''),
    '\n'.join(','.join(r).replace('.', '') for r in rows), '\n'.join(';'.join(r) for r in rows),
    json.dumps(numbers), json.dumps(numbers, indent=2), str(np.array(numbers)), json.dumps(rows),
    json.dumps(numbers).replace('0', 'null'), numbers, np.array(numbers), np.array(numbers).ravel(),
    np.array(numbers, float), rows, list(map(int, with_blank('0'))), grid.encode(), '\ufeff'+grid])
def test_spellings(text):
    "Each is the same board, with and without a side, alone and in a column"
    nine = sudoku_chars(9)
    assert parse_board(text, nine) == parse_board(text, nine, 81) == grid
    assert check_sudoku(text) == check_sudoku(text, 9) == (grid, 9)
    got = decode_boards(parse_boards([grid, text, grid], nine, 'my.csv'), nine)
    assert got == [grid]*3


def test_rows_of_dashes():
    "A row of nine dashes is a row where dashes are blanks, and a ruler elsewhere"
    empty = ['53--7----', '---------', '-98----6-']*3
    assert parse_board('\n'.join(empty), sudoku_chars(9)).count('.') == 81-18
    assert parse_board('\n'.join([*rows[:3], '---------', *rows[3:]]), sudoku_chars(9)) == grid


def sixteen(spelling):
    "A board of side 16 with each digit, in one of the spellings"
    return ''.join(spelling)+'.'*240


@pytest.mark.parametrize('text,first', [
    (sixteen('123456789ABCDEFG'), '123456789ABCDEFG'), (sixteen('0123456789abcdef'), '123456789ABCDEFG'),
    (sixteen('ABCDEFGHIJKLMNOP'), '123456789ABCDEFG'),
    (sixteen('123456789ABCDEFG').replace('.', '0'), '123456789ABCDEFG'),
    (sixteen('0123456789ABCDEF').replace('.', '_'), '123456789ABCDEFG'),
    (' '.join(map(str, [*range(1, 17), *[0]*240])), '123456789ABCDEFG'),
    ([[*range(1, 17)], *[[0]*16]*15], '123456789ABCDEFG'),
    ('0123456789ABCDEF'+'0'*240, '.123456789ABCDEF')])  # nothing decides: 0 is a blank
def test_sixteen(text, first):
    assert parse_board(text, sudoku_chars(16)) == first+'.'*240


def test_hexadecimal_answers_follow_their_questions():
    b = make_sudoku(1, 4)  # any grid: what is tested is the alphabet
    rows = '0123456789ABCDEF'
    grid16 = ''.join(rows[(4*(r % 4)+r//4+c) % 16] for r in range(16) for c in range(16))
    df = pd.DataFrame(dict(question=['.'+grid16[1:]], answer=[grid16]))
    boards = Boards.from_frame(df, sudoku_chars(16))
    assert boards.labels.min() == 2 and boards.labels.max() == 17 and boards.inputs[0, 0] == 1
    assert len(b) == 1


@pytest.mark.parametrize('bad,says', [
    (grid[:-1], '80 cells; should be 81, for side=9'), ('\n'.join(rows[:8]), '72 cells; should be 81'),
    (grid[:80]+'k', "cell 81 (row 9, column 9): 'k'"), (rows[:8]+['41'], '74 cells'),
    (grid[:40]+'\n'+grid[41:], '80 cells'), ('中'+grid[1:], "'中'"), ('\0'+grid[1:], "'\\x00'"),
    ('', '0 cells'), ('.'*10**7, '10,000,000 characters; should be 81'), (7, '1 cells')])
def test_bad_spellings(bad, says):
    with pytest.raises(InputError, match='my.csv: row 2: .*'+re.escape(says)):
        parse_boards([grid, bad], sudoku_chars(9), 'my.csv')
    with pytest.raises(InputError): check_sudoku(bad)


@pytest.mark.parametrize('side', [6, 8, 10, 12])
def test_sides(side):
    "What is made is solved, typed in lower case, in lines"
    b = make_sudoku(1, side)
    q, a = (decode_boards(t, sudoku_chars(side))[0] for t in (b.inputs, b.labels))
    typed = '\n'.join(' '.join(q[i:i+side]).lower() for i in range(0, side*side, side))
    assert check_sudoku(typed) == (q, side) and solve_sudoku(q, side) == [a]
    task = SudokuTask(sudoku4.change(side=side))
    assert same(task.prompt([typed])['input_ids'][0], b.inputs[0])


def test_large_sides_are_not_solved_here():
    "Of more than 16 only the clues are checked, since the solver would take too long"
    side = 25
    assert check_sudoku('1'+'.'*624, side) == ('1'+'.'*624, 25)
    refuses('both 1', check_sudoku, '11'+'.'*623, side)


def test_draw_refuses(): refuses('should be a square', draw_board, '1.3', four)


def test_solve_sudoku_refuses():
    assert solve_sudoku([1, 0, 0, 0, 0, 0, 4, 0, 0, 3, 0, 0, 0, 0, 0, 2], 4) == ['1423324123144132']
    refuses('should be 16', solve_sudoku, '1...', 4)
    refuses('should be 0 to 4', solve_sudoku, [7]+[0]*15, 4)


@pytest.mark.parametrize('bad,says', [
    ('1.....4..3.....', '15 cells; should be a square of cells with boxes, 16, 36, 64, 81'),
    ('1.....4..3.....9', "(row 4, column 4): '9'; should be one of '.1234'"),
    ('1...1.4..3.....2', 'row 1, column 1 and row 2, column 1: both 1; should differ, '
                         'being in the same column'),
    ('1....14..3.....2', 'being in the same box'), ('1.....4..4.3...2', 'no solution'),
    ('1.....4..3......', 'more than one solution')])
def test_check_sudoku_refuses(bad, says): refuses(says, check_sudoku, bad)


def test_check_sudoku():
    framed = '1 0 | . .\n. . | 4 .\n----+----\n. 3 | . .\n. . | . 2'
    assert check_sudoku(framed) == ('1.....4..3.....2', 4)
    refuses('16 cells; should be 36, for side=6', check_sudoku, framed, 6)


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
    ('S  x', "(row 2, column 2): 'x'"), ('S GG', "2 cells 'G'"), ('', "0 cells 'S'"), ('S##G', 'maze: no way')])
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


q, a = two.question[0], two.answer[0]


@pytest.mark.parametrize('name,text,says', [
    ('empty.csv', 'question,answer\n', 'no rows'), ('nothing.csv', '', 'no rows'),
    ('other.csv', 'a,b\n1,2\n', 'other.csv, question: row 1: 2 cells; should be 16, for side=4'),
    ('bad.parquet', 'no parquet', 'not a parquet file'), ('x.txt', '', 'no rows'),
    ('hello.txt', 'Hello', 'row 1: 5 cells; should be 16'),
    ('only.csv', f'board\n{q}\n', 'no answers among board; should have a column answer'),
    ('gap.csv', f'board,solution\n{q},{a}\n{q},\n', 'solution: row 2: 0 cells; should be 16'),
    ('lines.txt', '1...\n..4.\n.3..\n', 'line 1 begins a board of 3 lines; should have 4'),
    ('twice.csv', 'question,answer,answer\n1,2,3\n', 'column answer twice'),
    ('sign.csv', f'question,answer\n{q},{a}\n{q},{a[1:]}z\n',
     "sign.csv, answer: row 2: cell 16 (row 4, column 4): 'z'; should be one of '.1234'")])
def test_read_puzzles_refuses(name, text, says, tmp_path):
    (tmp_path/name).write_text(text)
    refuses(says, read_puzzles, tmp_path/name, four)


def test_read_puzzles_finds_nothing(tmp_path):
    for name in 'gone.csv', 'gone*.csv':
        refuses('no data file there', read_puzzles, tmp_path/name, four)


tables = {
    'kaggle.csv': lambda df: df.set_axis(['quizzes', 'solutions'], axis=1).to_csv(index=False),
    'upper.csv': lambda df: df.set_axis(['Puzzle', 'SOLUTION'], axis=1).to_csv(index=False),
    'unsolved.tsv': lambda df: df.set_axis(['unsolved', 'solved'], axis=1).to_csv(sep='\t'),
    'ids.csv': lambda df: df.set_axis(['quiz', 'solution'], axis=1).to_csv(index_label='id'),
    'strange.csv': lambda df: df.set_axis(['first', 'second'], axis=1).to_csv(index=False),
    'bare.csv': lambda df: df.to_csv(header=False, index=False),
    'bare_ids.csv': lambda df: df.to_csv(header=False),
    'semicolons.csv': lambda df: df.to_csv(header=False, index=False, sep=';'),
    'underscores.csv': lambda df: df.replace('[.]', '_', regex=True).to_csv(header=False, index=False),
    'stars.txt': lambda df: df.replace('[.]', '*', regex=True).to_csv(index=False, sep=';'),
    'tabs.txt': lambda df: df.to_csv(header=False, index=False, sep='\t'),
    'lines.csv': lambda df: df.map(lambda b: '\n'.join([b[i:i+4] for i in (0, 4, 8, 12)])).to_csv(),
    'lists.csv': lambda df: df.map(as_lists).astype(str).to_csv(index=False),
    'lists.json': lambda df: df.map(as_lists).to_json(orient='records'),
    'columns.json': lambda df: df.to_json(),
    'lines.jsonl': lambda df: df.to_json(orient='records', lines=True)}


def as_lists(b): return [[int(c) for c in b.replace('.', '0')[i:i+4]] for i in (0, 4, 8, 12)]


@pytest.mark.parametrize('end', ['', '.gz', '.zst'])
@pytest.mark.parametrize('name', tables)
def test_tables(name, end, tmp_path):
    "The same boards for training and for solving, whatever the table"
    made, path = make_sudoku(20, 4), tmp_path/f'{name}{end}'
    df = made.to_frame(four)
    with pa.output_stream(str(path), compression={'.gz': 'gzip', '.zst': 'zstd'}.get(end)) as f:
        f.write(tables[name](df).encode())
    read = read_puzzles(path, four)
    assert same(read.inputs, made.inputs) and same(read.labels, made.labels)
    assert read_boards(path, four) == df.question.tolist()


def test_parquets(tmp_path):
    "Lists of lists, encodings of DuckDB, other endings"
    made = make_sudoku(20, 4)
    df = made.to_frame(four)
    lists = pa.table({k: pa.array(df[k].map(as_lists).tolist(), pa.list_(pa.list_(pa.int64()))) for k in df})
    pq.write_table(lists, tmp_path/'lists.parquet')
    pq.write_table(pa.Table.from_pandas(df), tmp_path/'duck.PARQUET', use_dictionary=False,
                   column_encoding='DELTA_LENGTH_BYTE_ARRAY')
    pq.write_table(pa.Table.from_pandas(df), tmp_path/'short.pq')
    for name in 'lists.parquet', 'duck.PARQUET', 'short.pq':
        for read in (read_batches, read_carefully):
            assert same(read_puzzles(tmp_path/name, four, read).inputs, made.inputs)


@pytest.mark.parametrize('head', ['', 'Grid {:02}\n', '\n', '[Puzzle]\n', '# {}\n'])
@pytest.mark.parametrize('blank', '.0-_')
def test_several_lines_a_board(head, blank, tmp_path):
    made = make_sudoku(20, 4)
    df = made.to_frame(four)
    with open(tmp_path/'b.sdk', 'w') as f:
        for i, b in enumerate(df.question):
            lines = [b[k:k+4].replace('.', blank)+'\n' for k in (0, 4, 8, 12)]
            f.write(head.format(i)+''.join([*lines[:2], '--+--\n', *lines[2:]]))
    assert read_boards(tmp_path/'b.sdk', four) == df.question.tolist()


def test_columns_by_hand(tmp_path):
    "The settings name the columns, and a name that is not there is refused"
    made = make_sudoku(40, 4)
    df = made.to_frame(four).set_axis(['q', 'a'], axis=1).assign(question=made.to_frame(four).answer)
    df.to_csv(tmp_path/'x.csv', index=False)
    by_hand = dict(question='q', answer='a')
    assert same(read_puzzles(tmp_path/'x.csv', four, by_hand=by_hand).inputs, made.inputs)
    refuses('no column b among q, a, question', read_puzzles, tmp_path/'x.csv', four,
            by_hand=dict(question='b'))


def test_splits_by_name(tmp_path):
    "Words in the names of files and folders, in any format, as hub snapshots have them"
    made = make_sudoku(40, 4)
    for name in ('train.csv.gz', 'data/train-00000-of-00001.parquet', 'my_train.jsonl', 'train/x.csv'):
        folder = tmp_path/name.replace('/', '_').replace('.', '_')
        for split in 'train', 'dev', 'test':
            path = folder/name.replace('train', split)
            path.parent.mkdir(parents=True, exist_ok=True)
            df = made.to_frame(four)
            if name.endswith('parquet'): df.to_parquet(path)
            elif name.endswith('gz'): path.write_bytes(gzip.compress(df.to_csv(index=False).encode()))
            elif name.endswith('jsonl'): df.to_json(path, orient='records', lines=True)
            else: df.to_csv(path, index=False)
        assert {s: len(find_split(folder, s)) for s in ('train', 'valid', 'test')} == dict(train=1, valid=1, test=1)
        task = SudokuTask(sudoku4, folder)
        assert {s: len(task.boards(s)) for s in ('train', 'valid', 'test')} == dict(train=40, valid=40, test=40)
    assert find_split(tmp_path/'none', 'train') is None and find_split('', 'train') is None


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
    refuses('1 cells; should be 6', read_puzzles, tmp_path/'odd-*.csv', maze_chars)


def test_read_boards_refuses(tmp_path):
    (tmp_path/'b.txt').write_text('\n\n')
    refuses('no boards', read_boards, tmp_path/'b.txt', four)
    refuses('no such file', read_boards, tmp_path/'none.csv', four)
    (tmp_path/'b.jsonl').write_text('{"id": 3}\n')
    refuses('no column of boards among id', read_boards, tmp_path/'b.jsonl', four)


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
    refuses('no data given', dataset, None, puzzles=0)
    assert len(dataset(None)['inputs'])==500  # made as the settings say
    refuses('PuzzleTask: has no alphabet; should be a kind of puzzle', PuzzleTask, sudoku4)


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


# A network that is told the units, and puzzles that need guesses

@pytest.mark.parametrize('side', [4, 6, 9])
def test_a_moved_board_gets_the_moved_answer(side):
    cfg = UnitConfig(d_model=8, n_heads=2, vocab_size=side+2, seq_len=side*side, symbols=side, mixer='mlp', mask='full',
                     position='none', states=2, n_latent=1, halt=True)
    net, ids = UnitTRM(cfg).double(), make_sudoku(3, side, seed=1).inputs.long()
    torch.nn.init.normal_(net.halt_head.weight)
    with torch.no_grad():
        plain = net.think(dict(input_ids=ids), 3)
        for w, n in zip(*sudoku_moves(side, 5, seed=2)):
            moved = net.think(dict(input_ids=n[ids[:, w]]), 3)
            assert (plain.logits[:, :, w]-moved.logits[..., n]).abs().max() < 1e-9
            assert (plain.halt_logits-moved.halt_logits).abs().max() < 1e-9
    assert plain.logits[-1].std() > .01  # it says something


def test_units_refuse():
    kw = dict(d_model=8, n_heads=2, vocab_size=11, mixer='mlp', mask='full', position='none')
    refuses('symbols=9: boards of 80 cells; should be a Sudoku of 81', UnitTRM, UnitConfig(seq_len=80, symbols=9, **kw))
    net, task = UnitTRM(UnitConfig(seq_len=16, **kw | dict(vocab_size=6, symbols=4))), SudokuTask(sudoku4, make_sudoku(20, 4))
    batch = dict(input_ids=make_sudoku(3, 4).inputs.long())
    refuses('vary=relabel: the network answers a moved board with the moved answer', try_boards, net, task, batch, 2, 3, 'relabel')
    preds = try_boards(net, task, batch, 2, 3, noise=2.)['preds'][0]  # by default by noise, where there is no room for a guess
    assert (preds[0] != preds[1]).any() and (preds[1] != preds[2]).any()
    refuses('vary=guess: wants boards with empty cells, and a network that sees them at every step', try_boards, net, task, batch, 8, 3, 'guess')
    net = UnitTRM(UnitConfig(seq_len=16, **kw | dict(vocab_size=6, symbols=4, states=2, n_latent=1)))
    guessed = try_boards(net, task, batch, 8, 3, every=4)['residual'][0]
    assert same(guessed, try_boards(net, task, batch, 8, 3, 'guess', every=4)['residual'][0]) and (guessed[0] != guessed[1]).any()
    refuses('vary=guess: wants boards with empty cells', try_boards, net, MazeTask(sudoku4.change(task='maze')), batch, 8, 3, 'guess')


def test_guesses(monkeypatch):
    hard = make_hard(3, least=20, seed=5, patience=40)
    assert valid_sudoku(hard.labels, hard.inputs, 9).all() and hard.table.guesses.min() >= 20
    assert count_guesses(hard.inputs).tolist() == hard.table.guesses.tolist()
    for puzzle, answer in zip(*(decode_boards(t, sudoku_chars(9)) for t in (hard.inputs, hard.labels))):
        assert solve_sudoku(puzzle, 9) == [answer]  # minimal: without any of its clues there are more solutions
        assert all(len(solve_sudoku(puzzle[:i]+'.'+puzzle[i+1:], 9)) == 2 for i in range(81) if puzzle[i] != '.')
    assert same(make_hard(2, least=20, seed=5, patience=40).inputs, hard.inputs[:2])
    assert not same(make_hard(2, least=20, seed=6, patience=40).inputs, hard.inputs[:2])
    assert not count_left(hard.inputs).any() and not len(vary_clues(hard))  # probing solves them all
    deep = '8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..'
    answer, = solve_sudoku(deep, 9)
    deep, answer = (encode_boards([t], sudoku_chars(9)) for t in (deep, answer))
    more = vary_clues(Boards(deep, answer, pd.DataFrame(dict(name=['a']))), 3, tries=2000)
    assert len(more) and count_left(more.inputs).all() and valid_sudoku(more.labels, more.inputs, 9).all()
    assert not (more.inputs == deep).all(-1).any() and same(more.labels, answer.expand(len(more), -1).byte())
    refuses('guesses=3: counts for Sudokus of 9×9', make_puzzles, sudoku4.change(guesses=3))
    monkeypatch.setenv('PATH', '')
    monkeypatch.delenv('CXX', raising=False)
    _library.cache_clear()
    refuses('no C++ compiler found', make_hard, 1)
    _library.cache_clear()
