"""When does a network that recurs beat one that does not, on text? Writes results/text.json.

    python tests/bench_text.py [FAMILIES] [ARMS] [SEEDS]      joined by +, +, and commas; a run that is there already is not run again

The families are those of `trm.data.depth`. A network is trained on depths up to that of the bundled file, on 40,000 problems, for the seconds
in `families` of one core (process time; the last optimiser step is planned from the milliseconds of some), and scored on held-out problems of
all depths. Exact: all tokens of the response are right. Arms that write token by token are scored with the true tokens before each one;
that gives the same share of exact answers as writing does, since a response with a wrong token is wrong either way. Looks at validation
rows, eight on the way, are not counted. Seed 0 tries each learning rate of `rates`; the other seeds have the one that was better on the
validation rows of all depths.
"""
import hashlib
import random
import re
import sys
import time
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from bench_race import seconds_per_step, timed
from results import have, keep

from trm.config import apply_sets, get_preset
from trm.data.depth import deep
from trm.data.tokenizer import train_tokenizer
from trm.engine.checkpoint import provenance
from trm.engine.device import flush_denormals
from trm.thinking.scores import answer, writes
from trm.training.canvas import text_task
from trm.training.loss import step_scores
from trm.training.loop import TrainState

families = dict(parity=150, logic=120, permute=150, dereference=100, reach=100)  # seconds to train
base = ('families= eval_rows=100000 tokenizer=wordlevel group_by_length=false d_model=64 n_heads=4 n_layers=2 n_recurrence=6 norm=pre inject=true '
        'position=learned optimizer=muon batch_size=32 warmup_steps=20 ema=0')
token, whole = 'mask=prefix', 'mask=full canvas={canvas}'
once, layers = 'n_recurrence=1', 'n_recurrence=1 n_layers=12'
two = 'states=2 inject=false n_latent=2'
paper = f'{two} n_cycles=2 detach=true norm=post'
arms = {
    'token, once': f'{token} {once}', 'token, 12 layers': f'{token} {layers}', 'token, looped': token,
    'token, drawn steps': f'{token} random_steps=true', 'token, paper': f'{token} {paper}', 'token, once, steps written': f'{token} {once}',
    'whole, once': f'{whole} {once}', 'whole, 12 layers': f'{whole} {layers}', 'whole, looped': whole,
    'whole, drawn steps': f'{whole} random_steps=true', 'whole, paper': f'{whole} {paper} halt=true supervision=carried',
    # between the looped transformer and the paper's network: one change after the other
    'whole, cut': f'{whole} detach=true', 'whole, cut, carried': f'{whole} detach=true supervision=carried',
    'whole, y and z': f'{whole} {two}', 'whole, y and z, cut': f'{whole} {two} detach=true',
    'whole, y and z, cut, carried': f'{whole} {two} detach=true supervision=carried', 'whole, paper, norms first': f'{whole} {paper} norm=pre halt=true supervision=carried'}
rates = (.01, .02)  # of Muon; AdamW's is .15 of it
marks = (1, 2, 3, 6, 12, 24)


def held(form):
    "Is this form of a problem kept for validation and test?"
    return hashlib.md5(form.encode()).digest()[0]%5==0


def in_order(answer, *signs):
    "The answer from its end on: its parts between the first of the signs, and within them those between the next, the other way round"
    if not signs: return answer
    return signs[0].join(in_order(part, *signs[1:]) for part in reversed(answer.split(signs[0])))


def chains(problem):
    "Each entry of a dereference with all the letters on the way to its value"
    said = dict(o.split(' = ') for o in problem[:-1].split(' ', 1)[1].split(', '))
    def way(x): return [x, *(way(said[x]) if x in said else [])]
    return ', '.join(' = '.join(way(x)) for x in said)


def steps_written(family, problem, answer):
    "A solution in which each entry needs earlier ones only"
    if family=='parity': return f'#### {answer[::-1]}'
    if family=='logic': return f"#### {in_order(answer, '; ', ' ')}"
    if family=='permute': return f"#### {in_order(answer, '; ', ', ')}"
    return f'#### {chains(problem)}'


def make_rows(family, depths, n, test, r, written=False):
    "`n` rows of a family, as many of each depth; `test`: of forms that are held out"
    kind, rows = deep[family], []
    while len(rows)<n:
        d = depths[len(rows)%len(depths)]
        problem, right = kind.make(r, d)
        form = kind.canonical(problem)
        if d<=kind.most and held(form)!=test and (family, d)!=('dereference', 1): continue  # all problems of depth 1 have one form
        solution = steps_written(family, problem, right) if written else f'#### {right}'
        rows.append(dict(problem=problem, solution=solution, family=f'{d:02d}', canonical=f'{len(rows)} {test}'))
    return rows


def data(family, written, root=Path('runs/text')):
    "The folder of a family's rows, made once"
    folder = root/(family+'_written'*written)
    if (folder/'test.parquet').exists(): return folder
    folder.mkdir(parents=True, exist_ok=True)
    r, near, far = random.Random(family), range(1, deep[family].most+1), range(1, deep[family].deepest+1)
    for split, depths, n in (('train', near, 40_000), ('valid', far, 20*len(far)), ('test', far, 60*len(far))):
        rows = make_rows(family, depths, n, split!='train', r, written)
        pq.write_table(pa.Table.from_pylist(rows), folder/f'{split}.parquet')
    return folder


def settings(family, arm, rate, seed):
    "The run's settings and its tokenizer"
    folder = data(family, 'written' in arm)
    tok = train_tokenizer(folder/'train.parquet', 512, model='wordlevel')
    rows = [r for s in ('train', 'test') for r in pq.read_table(folder/f'{s}.parquet').to_pylist()[:5000]]
    n = max(len(tok.encode(f"Input: {r['problem']} \n Output:").ids) for r in rows)
    m = max(len(tok.encode(' '+r['solution']).ids) for r in rows)+1
    sets = f"{base} {arms[arm].format(canvas=m)} muon_lr={rate} learning_rate={.15*rate} seed={seed}"
    return apply_sets(get_preset('demo').change(data=str(folder), max_seq_len=max(n, m)+1 if 'canvas' in sets else n+m), sets), tok


@torch.no_grad()
def score(model, task, split, steps):
    "Exact answers as {steps: {depth: share}}, and rows of each depth"
    right, depth = [], []
    for batch in task.eval_batches(split, 64):
        out = model.think(batch, max(steps)).logits.argmax(-1)
        right.append(step_scores(out, batch['labels'])['exact'][[s-1 for s in steps]])
        depth += [int(g) for g in task.groups(batch, split)]
    right, depth = torch.cat(right, 1), torch.tensor(depth)
    return {s: {d: round(row[depth==d].mean().item(), 4) for d in sorted(set(depth.tolist()))} for s, row in zip(steps, right)}


def mean(by_depth, near, far):
    "The mean over depths of the one side or the other"
    found = [v for d, v in by_depth.items() if (d>near)==far]
    return sum(found)/len(found)


@torch.no_grad()
def seconds_per_answer(model, task, n=32):
    "Process time of an answer, in a batch of `n` problems, with as many steps as trained"
    batch = next(task.eval_batches('test', n, n))
    batch = task.prompt([re.sub(r'^Input: | \n Output:$', '', task.text(row[:k])) for row, k in zip(batch['input_ids'].tolist(), batch['prefix_len'].tolist())])
    start = time.process_time()
    answer(model, batch)
    return (time.process_time()-start)/n


def train(family, arm, rate, seed, looks=8):
    "Train, look at validation rows now and then; a row of numbers"
    cfg, tok = settings(family, arm, rate, seed)
    task, near, seconds = text_task(cfg)(cfg, tok), deep[family].most, families[family]
    steps = max(int(seconds/seconds_per_step(TrainState(cfg, task), 60)), looks)
    looks = {round(steps*i/looks) for i in range(1, looks+1)}
    cfg = cfg.change(steps=steps)
    s, spent, curve = TrainState(cfg, task), 0., []
    R = cfg.model.n_recurrence
    for k, (log, took) in enumerate(timed(s, islice(task.batches(32), steps)), 1):
        spent += took
        if k in looks:
            s.model.eval()
            got = score(s.model, task, 'valid', [R])[R]
            s.model.train()
            curve.append(dict(step=k, examples=32*k, seconds=round(spent, 1), loss=float(log['loss']), near=mean(got, near, False), far=mean(got, near, True)))
    s.model.eval()
    found = score(s.model, task, 'test', marks if R>1 else [1])
    row = dict(family=family, arm=arm, rate=rate, seed=seed, sets=arms[arm], trained_to=near, parameters=sum(p.numel() for p in s.model.parameters()),
               steps=steps, examples=32*steps, seconds=round(spent, 1), n_recurrence=R, rows_per_depth=60, exact=found, curve=curve,
               seconds_per_answer=round(seconds_per_answer(s.model, task), 4), by_token=writes(s.model),
               threads=torch.get_num_threads(), **provenance(torch.device('cpu')))
    last = found[R]
    print(f"{family:12} {arm:30} rate {rate} seed {seed}: {steps} steps, {spent:.0f} s, near {mean(last, near, False):.3f}, far {mean(last, near, True):.3f}, by steps",
          {t: round(mean(v, near, True), 3) for t, v in found.items()}, flush=True)
    return row


path, about = 'results/text.json', __doc__.split('\n')[0]


def best_rate(family, arm):
    "The rate with which an arm answers most validation rows, of trained and of greater depths"
    return max(have(path, family=family, arm=arm, seed=0), key=lambda r: r['curve'][-1]['near']+r['curve'][-1]['far'])['rate']


def main(which='', names='', seeds='0'):
    flush_denormals(torch.device('cpu'))
    for seed in map(int, seeds.split(',')):
        for family in which.split('+') if which else families:
            for arm in names.split('+') if names else arms:
                for rate in [best_rate(family, arm)] if seed else rates:
                    if not have(path, family=family, arm=arm, seed=seed, rate=rate):
                        keep(path, train(family, arm, rate, seed), ('family', 'arm', 'seed', 'rate'), about)


if __name__=='__main__': main(*sys.argv[1:])
