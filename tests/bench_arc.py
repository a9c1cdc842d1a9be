"""1D-ARC and Mini-ARC on one core: arms trained for equal seconds, scored by votes on questions that were never trained on. Writes results/arc.json.

    python tests/bench_arc.py [SETS] [SEEDS] [ARMS] [SECONDS] [RATES]   `1d,mini`, 0, all arms, 150, 1 if nothing is said
    python tests/bench_arc.py shown RUN...                              what the page draws of trained runs: results/arc_shown.json

The tasks are read from the folder in TRM_SHARED_DATA (arc/1d_dev_challenges.json, arc/mini_dev_challenges.json). An arm trains for as many steps
as fit into SECONDS of process time, by the milliseconds of some steps in the same process; RATES are factors on its learning rates. An average of
the weights has a half-life of a tenth of the steps; of raw and averaged weights those are scored that have more questions of the validation
tasks right, and of several rates the one that had. Scores are pass@1, pass@2 and pass@all of the test tasks, with the votes of all augmentations,
and without votes.

`alone` trains a network for each of the test tasks, of 1D-ARC for 20 chosen by a fixed shuffle, on its own pairs, for 20 seconds each. `blank` and `swapped` are
the network of `looped` with its vectors at zero, or each task with the vectors of another; `first_step` is its answer after one step.
"""
import os
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from bench_race import seconds_per_step, timed
from race_clock import half_life
from results import have, keep

from trm.config import apply_sets, get_preset
from trm.engine.checkpoint import provenance
from trm.engine.device import flush_denormals
from trm.engine.log import read_metrics
from trm.files import read_json
from trm.puzzles.arc import read_tasks
from trm.puzzles.arc_runs import ArcTask
from trm.puzzles.grids import crop
from trm.runs import open_run
from trm.thinking.tasks import answer_tasks, count_votes, repaired_questions, score_tasks, summarize_tasks
from trm.training.loop import TrainState

shared = Path(os.environ.get('TRM_SHARED_DATA', '../shared/data'))/'arc'
ALONE = {'1d': 20, 'mini': None}  # of the test tasks; None: all
paper = 'states=2 n_latent=2 n_recurrence=6 detach=true halt=true inject=false norm=post supervision=carried'
arms = {k: f'network=PrefixTRM {v}' for k,v in dict(looped='', paper=paper, dense='n_recurrence=1', no_augment='augment=false').items()}
arms |= dict(told='network=ToldTRM')
names = {'1d': ('arc_1d', '1d_dev'), 'mini': ('arc_mini', 'mini_dev')}


def scores(model, task, split, **how):
    "Scores of a split with all votes, and of the answer without an augmentation"
    answers = answer_tasks(model, task, split, **how)
    found = summarize_tasks(score_tasks(count_votes(answers), task, split))
    once = summarize_tasks(score_tasks(count_votes(answers[answers.augmentation==0]), task, split))
    return found | dict(no_votes=once['pass@1'])


def trained(cfg, task, seconds):
    "A state, trained for so many seconds, and its steps, milliseconds and seconds"
    each = seconds_per_step(TrainState(cfg, task))
    steps = max(int(seconds/each), 8)
    s = TrainState(cfg.change(steps=steps, ema=half_life(steps)), task)
    spent = sum(took for _, took in timed(s, islice(task.batches(cfg.train.batch_size), steps)))
    return s, dict(steps=steps, ms_per_step=round(1000*each, 1), train_seconds=round(spent, 1), parameters=sum(p.numel() for p in s.model.parameters()))


def better(s, task, split='valid'):
    "The raw or the averaged network, whichever has more questions of a split right; ties go to the surer cells"
    found = {}
    for name, net in dict(raw=s.model, averaged=s.eval_model).items():
        net.eval()
        right = [task.score(net.think(b).logits[-1].argmax(-1), b) for b in task.eval_batches(split, 64)]
        found[name] = tuple(float(torch.cat([r[k] for r in right]).mean()) for k in ('exact', 'cell'))
    best = max(found, key=found.get)
    return best, dict(raw=s.model, averaged=s.eval_model)[best], found[best]


@torch.no_grad()
def changed_vectors(model, task, how):
    "A copy of the network with other vectors"
    other = type(model)(model.cfg).eval()
    other.load_state_dict(model.state_dict())
    if how=='blank': other.puzzle.weight.zero_()
    else:
        order = np.random.default_rng(0).permutation(len(task.names))
        for a, b in zip(task.names, [task.names[i] for i in order]):
            n = min(len(task.augmented[a]), len(task.augmented[b]))
            other.puzzle.weight[task.first[a]:task.first[a]+n] = model.puzzle.weight[task.first[b]:task.first[b]+n]
    return other


def arm(which, name, seed, seconds, rate):
    "Train one arm: a row of numbers, and rows of what is asked of its network in other ways"
    preset, file = names[which]
    cfg = apply_sets(get_preset(preset).change(seed=seed), arms[name])
    c = cfg.train
    cfg = cfg.change(learning_rate=rate*c.learning_rate, muon_lr=rate*c.muon_lr)
    task = ArcTask(cfg, read_tasks(shared/f'{file}_challenges.json'))
    s, about = trained(cfg, task, seconds)
    with torch.no_grad(): weights, model, valid = better(s, task)
    began = time.perf_counter()
    same = dict(set=which, seed=seed, seconds=seconds, rate=rate, sets=arms[name], valid=valid[0], valid_cells=valid[1], weights=weights, **about)
    rows = [same | dict(arm=name) | scores(model, task, 'test')]
    rows[0]['score_seconds'] = round(time.perf_counter()-began, 1)
    if name=='looped':
        for how in 'blank', 'swapped': rows.append(same | dict(arm=how) | scores(changed_vectors(model, task, how), task, 'test'))
        rows.append(same | dict(arm='first_step') | scores(model, task, 'test', steps=1))
    return rows


def alone(which, seed, rate, seconds=20):
    "A network for each of some tasks, on its own pairs"
    preset, file = names[which]
    tasks = read_tasks(shared/f'{file}_challenges.json')
    cfg = get_preset(preset).change(seed=seed)
    all_tasks = ArcTask(cfg, tasks)
    test = [k for k in all_tasks.names if all_tasks.split_of(k)=='test']
    chosen = [test[i] for i in np.random.default_rng(0).permutation(len(test))[:ALONE[which]]]
    found, about = [], {}
    for k in chosen:
        task = ArcTask(cfg, {k: tasks[k]})
        s, about = trained(cfg, task, seconds)
        found.append(score_tasks(count_votes(answer_tasks(s.eval_model.eval(), task, 'all')), task, 'all').iloc[0])
    return [dict(set=which, arm='alone', seed=seed, seconds=seconds*len(chosen), rate=rate, sets='', **about) | summarize_tasks(pd.DataFrame(found))]


def nearest(model, task):
    "For each kind, of which kind the task is whose vector is nearest: counts. Of several vectors the mean of those whose augmentations leave left and right"
    plain = {k: [0] if task.told else [i for i,a in enumerate(task.augmented[k]) if a.symmetry==0] for k in task.names}
    v = torch.stack([model.puzzle.weight[[task.first[k]+i for i in plain[k]]].mean(0) for k in task.names]).detach()
    v = torch.nn.functional.normalize(v-v.mean(0), dim=-1)
    near = (v@v.T).fill_diagonal_(-2).argmax(1).tolist()
    kinds = sorted({task.kinds[k] for k in task.names})
    count = pd.crosstab(pd.Series([task.kinds[k] for k in task.names]), pd.Series([task.kinds[task.names[i]] for i in near]))
    return dict(kinds=kinds, counts=count.reindex(index=kinds, columns=kinds, fill_value=0).values.tolist())


def film(model, task, split='test'):
    "The question of which most cells were repaired: its grids"
    (_, preds, _, row), = repaired_questions(model, task, split, 1, None)
    name,_,e = task.questions(split)[row]
    pairs = [[g.tolist() for g in p] for p in task.tasks[name]['train']]
    return dict(task=name, pairs=pairs, question=e.input.tolist(), steps=[crop(p, task.shape).tolist() for p in preds], truth=e.output.tolist())


def shown(*runs):
    "Score trained runs, and write what the page draws of them"
    for run in map(Path, runs):
        model,task = open_run(run)
        c, log = read_json(run/'config.json'), read_metrics(run/'metrics.csv')
        about = dict(commit=c['commit'], device=c['device'], train_seconds=log[-1]['seconds'], steps=log[-1]['step'], seed=c['train']['seed'])
        row = dict(set={v[0]: k for k,v in names.items()}.get(run.name, run.name), arm='preset', parameters=sum(p.numel() for p in model.parameters()),
                   rate=1., seconds=0., sets='', **about) | scores(model, task, 'test') | dict(all=scores(model, task, 'all'))
        keep('results/arc.json', row, ('set', 'arm', 'seed', 'seconds', 'rate'), __doc__.split('\n')[0])
        print({k: row[k] for k in ('set', 'seed', 'steps', 'train_seconds', 'pass@1', 'pass@2', 'pass@all', 'no_votes')}, {k: row['all'][k] for k in ('pass@1', 'pass@2', 'n')}, flush=True)
        drawn = dict(run=run.name, film=film(model, task)) | about
        if len({*task.kinds.values()})<len(task.names): drawn |= nearest(model, task)
        keep('results/arc_shown.json', drawn, ('run',), 'Trained runs on ARC tasks: a question solved, and which kinds have vectors near each other.')


def main(sets='1d,mini', seeds='0', which='', seconds='150', rates='1', out='results/arc.json'):
    flush_denormals(torch.device('cpu'))
    same = ('set', 'arm', 'seed', 'seconds', 'rate')
    for data in sets.split(','):
        for seed in map(int, seeds.split(',')):
            for name in which.split(',') if which else [*arms, 'alone']:
                for rate in map(float, rates.split(',')):
                    key = dict(set=data, arm=name, seed=seed, rate=rate)
                    if have(out, **key, **({} if name=='alone' else dict(seconds=float(seconds)))): continue
                    rows = alone(data, seed, rate) if name=='alone' else arm(data, name, seed, float(seconds), rate)
                    for row in rows:
                        keep(out, row | dict(threads=torch.get_num_threads()) | provenance(torch.device('cpu')), same, __doc__.split('\n')[0])
                        columns = ('set', 'arm', 'seed', 'rate', 'steps', 'valid', 'weights', 'pass@1', 'pass@2', 'pass@all', 'no_votes')
                        print({k: row[k] for k in columns if k in row}, flush=True)


if __name__=='__main__': shown(*sys.argv[2:]) if sys.argv[1:2]==['shown'] else main(*sys.argv[1:])
