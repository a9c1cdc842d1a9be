"ARC: files, the published layout, and tasks through all commands, in this process"
import hashlib
import json
import subprocess

import pytest
from conftest import shared
from test_training import env, last, torchrun

from trm.cli import trm_eval, trm_solve, trm_train
from trm.config import apply_sets, get_preset
from trm.files import InputError, read_json
from trm.puzzles.arc import kinds_of, read_tasks, write_tasks
from trm.puzzles.arc_runs import ArcTask
from trm.puzzles.augment import Augmentation, augmentations, task_key
from trm.puzzles.grids import crop, lay_out, toy_tasks
from trm.runs import open_run

tiny = ('network=PrefixTRM d_model=16 n_heads=2 n_layers=1 hidden_multiple=16 n_recurrence=2 side=12 augmentations=3 steps=4 eval_every=4 save_every=4 '
        'eval_rows=20 batch_size=8 log_every=1 device=cpu')
sets = ['arc-agi_training', 'arc-agi_evaluation', 'arc-agi_training2', 'arc-agi_evaluation2', 'arc-agi_concept', '1d_dev', 'mini_dev']
grid, pair = [[1, 2], [3, 4]], dict(input=[[1, 2], [3, 4]], output=[[1]])
task = dict(train=[pair], test=[dict(input=grid)])


def said(f, args, capsys):
    "What a command that refuses its input writes: one line, exit status 2"
    with pytest.raises(SystemExit) as e: f(args)
    out = capsys.readouterr()
    assert e.value.code==2, out.err
    lines = [o for o in out.err.splitlines() if o]
    assert len(lines)==1, out.err
    return lines[0]


@pytest.fixture(scope='module')
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toys')
    write_tasks(toy_tasks(10), folder/'toys.json')
    return folder/'toys.json'


@pytest.fixture(scope='module')
def run(toys, tmp_path_factory):
    out = tmp_path_factory.mktemp('arc')/'run'
    trm_train(['arc_1d', '--data', str(toys), '--out', str(out), '--sets', tiny])
    return out


@pytest.mark.parametrize('text, words', [
    ('[1, 2]', 'holds no tasks'), ('{}', 'holds no tasks'), ('{"a": 1}', 'holds no tasks'), ('{"a": {', 'not readable as json'),
    ({'a': dict(train=[pair])}, 'a: no pairs under test'), ({'a': task | dict(train=[])}, 'a: no pairs under train'),
    ({'a': task | dict(train=[dict(input=grid)])}, 'train pair 1: no output'),
    ({'a': task | dict(train=[dict(output=grid)])}, 'train pair 1: input: None is no grid'),
    ({'a': task | dict(test=[dict(input=[[1, 2], [3]])])}, 'row 2 has 1 cells; should have 2'),
    ({'a': task | dict(test=[dict(input=[[1, 10]])])}, "'10' is no colour"), ({'a': task | dict(test=[dict(input=[[True]])])}, 'no colour'),
    ({'a': task | dict(test=[dict(input=[[1.5]])])}, 'no colour'), ({'a': task | dict(test=[dict(input=[['1']])])}, 'no colour'),
    ({'a': task | dict(test=[dict(input=[[0]*31]*31)])}, '31 rows of 31 cells'), ({'a': task | dict(test=[dict(input=[])])}, 'is no grid'),
    ({'a': task | dict(test=[dict(input=[[]])])}, '1 rows of 0 cells')])
def test_broken_files_get_one_line(text, words, tmp_path, capsys):
    path = tmp_path/'broken.json'
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    line = said(trm_train, ['arc_mini', '--data', str(path), '--out', str(tmp_path/'run')], capsys)
    assert 'broken.json' in line and words in line, line
    assert not (tmp_path/'run').exists()


def test_solutions_that_do_not_fit(tmp_path, capsys):
    (tmp_path/'x_challenges.json').write_text(json.dumps({'a': task}))
    for answers, words in (({'a': []}, '0 solutions for 1 tests'), ({'b': [grid]}, 'lacks b'), ([1], 'holds a list'), ({'a': [[[11]]]}, 'no colour')):
        (tmp_path/'x_solutions.json').write_text(json.dumps(answers))
        with pytest.raises(InputError, match=words): read_tasks(tmp_path/'x_challenges.json')
    (tmp_path/'x_solutions.json').write_text(json.dumps({'a': [grid]}))
    assert read_tasks(tmp_path)['a']['test'][0].output.tolist()==grid


def test_ids_in_two_files_and_answers_that_would_be_learned(toys, tmp_path, capsys):
    other = tmp_path/'again.json'
    other.write_text(toys.read_text())
    line = said(trm_train, ['arc_1d', '--data', f'{toys},{other}', '--out', str(tmp_path/'run'), '--sets', tiny], capsys)
    assert 'move_0 is in' in line
    line = said(trm_train, ['arc_1d', '--data', str(toys), '--out', str(tmp_path/'run'), '--sets', f'{tiny} extra={other}'], capsys)
    assert 'its answer is asked' in line
    line = said(trm_train, ['arc_1d', '--data', str(toys), '--out', str(tmp_path/'run'), '--sets', f'{tiny} side=6'], capsys)
    assert 'no task fits on 1×6 cells' in line


def test_tasks_through_all_commands(run, toys, tmp_path, capsys):
    scores = tmp_path/'eval.json'
    trm_eval([str(run), '--split', 'all', '--json', str(scores), '--predictions', str(tmp_path/'eval_submission.json')])
    found = read_json(scores)
    assert [*found][0]=='exact' and found['exact']==found['pass@2'] and found['pass@1']<=found['pass@2']<=found['pass@all']
    assert found['n']==10 and set(found['by_kind'])=={'move', 'fill', 'mirror', 'swap'} and set(found['by_step'])=={'1', '2'}
    assert (run/'figures'/'steps.png').exists()
    capsys.readouterr()
    submission = tmp_path/'submission.json'
    trm_solve([str(run), '--file', str(toys), '--predictions', str(submission)])
    given, tasks = read_json(submission), read_tasks(toys)
    assert {k: len(v) for k, v in given.items()}=={k: len(t['test']) for k, t in tasks.items()}
    assert all(set(a)=={'attempt_1', 'attempt_2'} for v in given.values() for a in v)
    assert given==read_json(tmp_path/'eval_submission.json')
    trm_solve([str(run), 'move_0 0330000000'])
    assert '2 steps' in capsys.readouterr().out
    line = said(trm_solve, [str(run), 'other 0330000000'], capsys)
    assert 'no task of this run' in line


def test_other_tasks_are_refused_and_can_be_added(run, toys, tmp_path, capsys):
    more = tmp_path/'more.json'
    write_tasks(toy_tasks(12), more)
    line = said(trm_eval, [str(run), '--data', str(more)], capsys)
    assert 'is no task of this run' in line and '--start' in line
    line = said(trm_train, ['arc_1d', '--data', str(more), '--out', str(tmp_path/'other'), '--start', str(run), '--sets', f'{tiny} seed=1'], capsys)
    assert 'belong to other augmentations' in line
    second = tmp_path/'second'
    trm_train(['arc_1d', '--data', str(more), '--out', str(second), '--start', str(run), '--sets', f'{tiny} vectors_first=3'])
    (before, old), (after, new) = open_run(run), open_run(second)
    assert len(new.names)==12 and {k: new.first[k] for k in old.first}==old.first
    assert len(after.puzzle.weight)>len(before.puzzle.weight)
    trm_eval([str(second), '--data', str(more), '--split', 'all'])


def test_answers_that_were_trained_on_are_never_scored(toys, tmp_path, capsys):
    "Not by their own run, not by one that starts from it, and not when they are asked for"
    both, own, run = toy_tasks(20), tmp_path/'own.json', tmp_path/'run'
    extra = tmp_path/'extra.json'
    write_tasks({k: t for i, (k, t) in enumerate(both.items()) if i<8}, own)
    write_tasks({k: t for i, (k, t) in enumerate(both.items()) if i>=8}, extra)
    trm_train(['arc_1d', '--data', str(own), '--out', str(run), '--sets', f'{tiny} extra={extra}'])
    _, task = open_run(run)
    learned = {k for k in task.extra if task.split_of(k)=='train'}
    assert learned and {k for k, *_ in task.questions('test')}==set(read_tasks(own)) and not learned & {k for k, *_ in task.questions('all')}
    assert all(len(task.pairs_of(k))==4 for k in learned) and all(len(task.pairs_of(k))==3 for k in read_tasks(own))
    line = said(trm_eval, [str(run), '--data', str(extra)], capsys)
    assert 'its answer trained on' in line
    trm_train(['arc_1d', '--data', str(own), '--out', str(tmp_path/'next'), '--start', str(run), '--sets', tiny])
    _, later = open_run(tmp_path/'next')
    assert later.extra==task.extra and not learned & {k for k, *_ in later.questions('all')}
    line = said(trm_train, ['arc_1d', '--data', str(extra), '--out', str(tmp_path/'third'), '--start', str(run), '--sets', tiny], capsys)
    assert 'its answer was trained on' in line


def test_answers_that_become_known(tmp_path):
    "A solution file that is put beside the tasks later is read, also if an answer is larger than the canvas"
    tasks = toy_tasks(6)
    path = tmp_path/'my_challenges.json'
    write_tasks({k: t | dict(test=[e._replace(output=None) for e in t['test']]) for k, t in tasks.items()}, path)
    other = tmp_path/'helps.json'
    write_tasks({f'h_{k}': t for k, t in toy_tasks(24, seed=3).items()}, other)
    trm_train(['arc_1d', '--data', str(path), '--out', str(tmp_path/'run'), '--sets', f'{tiny} extra={other}'])
    assert not open_run(tmp_path/'run')[1].questions('test')
    answers = {k: [e.output.tolist() for e in t['test']] for k, t in tasks.items()} | {'move_0': [[[1]*20]]}
    (tmp_path/'my_solutions.json').write_text(json.dumps(answers))
    _, task = open_run(tmp_path/'run')
    assert len(task.questions('test'))==5 and task.left_out('test')==0
    trm_eval([str(tmp_path/'run'), '--json', str(tmp_path/'eval.json')])
    assert read_json(tmp_path/'eval.json')['n']==6


def test_only_vectors_move_at_first(toys, tmp_path):
    run = tmp_path/'run'
    trm_train(['arc_1d', '--data', str(toys), '--out', str(run), '--sets', f'{tiny} vectors_first=4 ema=0 warmup_steps=0'])
    from trm.training.loop import init_model
    model, _ = open_run(run)
    first = init_model(apply_sets(get_preset('arc_1d'), tiny).change(**{k: getattr(model.cfg, k) for k in ('vocab_size', 'seq_len', 'puzzle_kinds')}))
    for k, v in first.state_dict().items(): assert (k=='puzzle.weight') != bool((v==model.state_dict()[k]).all()), k


def test_a_run_resumes_to_the_bit(toys, tmp_path):
    parts = tmp_path/'parts'
    for n in 4, 8: trm_train(['arc_1d', '--data', str(toys), '--out', str(parts), '--resume', '--sets', f'{tiny} steps={n} min_lr=1'])
    again = tmp_path/'again'
    trm_train(['arc_1d', '--data', str(toys), '--out', str(again), '--sets', f'{tiny} steps=8 min_lr=1'])
    a, b = (open_run(r)[0].state_dict() for r in (parts, again))
    assert all((a[k]==b[k]).all() for k in a)


def test_two_processes_are_one(toys, tmp_path):
    "Each process sees half of the rows, and moves the vectors of all"
    args = ['arc_1d', '--data', str(toys), '--sets', f'{tiny} steps=12 eval_every=12 save_every=12 precision=float64']
    trm_train([*args, '--out', str(tmp_path/'one')])
    r = subprocess.run(torchrun(2, args, tmp_path/'two'), capture_output=True, text=True, timeout=300, env=env)
    assert r.returncode==0, r.stderr[-3000:]
    a, b = last(tmp_path/'two'), last(tmp_path/'one')
    for k in b: assert (a[k].double()-b[k].double()).abs().max()<1e-7, k


def test_questions_are_never_trained_on(toys):
    cfg = apply_sets(get_preset('arc_1d'), f'{tiny} data={toys} augment=false')
    t = ArcTask(cfg)
    asked = {e.input.tobytes(): k for k, _, e in t.questions('all')}
    stream = t.batches(16)
    for b in (next(stream) for _ in range(20)):
        for x, i in zip(b['input_ids'], b['puzzle_ids'].tolist()): assert asked.get(crop(x, t.shape).tobytes())!=t.names[i]


@pytest.mark.parametrize('name', sets)
def test_there_and_back_on_every_task(name):
    tasks = read_tasks(shared(f'arc/{name}_challenges.json'))
    shape = (1, 128) if name=='1d_dev' else (30, 30)
    for k, t in tasks.items():
        keys = {task_key(t)}
        for a in augmentations(t, 4, symmetries=(0, 2, 5, 7) if shape[0]==1 else range(8))[1:]:
            keys.add(task_key(a.apply_to(t)))
            for e in t['train']+t['test']:
                for g in e: assert (a.undo(crop(lay_out(a.apply(g), shape), shape))==g).all(), k
        assert len(keys)>1, k
    assert len(kinds_of(tasks))==len(tasks)


def test_the_layout_is_the_published_one():
    "1,344 rows of the published builder (TinyRecursiveModels e7b6871), under one permutation of colours and the eight moves"
    colors, digest, n = (0, 3, 1, 2, 4, 9, 5, 6, 7, 8), hashlib.sha256(), 0
    for name in sets[:2]:
        tasks = read_tasks(shared(f'arc/{name}_challenges.json'))
        for e in (e for k in sorted(tasks)[:10] for e in tasks[k]['train']+tasks[k]['test']):
            rows = [[lay_out(Augmentation(m, colors).apply(g), (30, 30)).tobytes() for g in e] for m in range(8)]
            for both in sorted(rows):
                for row in both: digest.update(row)
                n += 2
    assert (n, digest.hexdigest())==(1344, 'b997c2e9052d9998acf8c5cd8b99cd77d3a8ee621b9227cf950ef7b385e72429')
