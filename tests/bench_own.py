"""The preset `text` on three kinds of data: number of steps, learning rate, size. Writes results/own.json.

    python tests/bench_own.py GSM8K_FOLDER SHAREGPT_FOLDER [DATA] [ARMS] [SECONDS]

DATA (gsm8k+worked+sharegpt) and ARMS are joined by +. An arm trains for SECONDS (100) of process time, with as many optimiser steps as fit by
the milliseconds of some. Measured on 256 validation rows: bits per character of the solutions, which can be compared whatever the vocabulary
is, and, with the bundled worked problems, the share whose answer, written token by token, is right. A run that is there already is not run again.
"""
import math
import sys
from itertools import islice
from pathlib import Path

import torch
from bench_race import seconds_per_step, timed
from results import have, keep

from trm.config import apply_sets, get_preset
from trm.data.pairs import open_data
from trm.data.problems import bundled
from trm.data.tokenizer import train_tokenizer
from trm.engine.checkpoint import provenance
from trm.engine.device import flush_denormals
from trm.thinking.scores import evaluate
from trm.training.loop import TrainState
from trm.training.loss import token_losses
from trm.training.task import TextTask

worked = 'compare,sort,chain,equation,boolean'
arms = {
    '1 step': 'n_recurrence=1', '2 steps': 'n_recurrence=2', '3 steps': 'n_recurrence=3', '6 steps': 'n_recurrence=6',
    '2 steps, half the rate': 'n_recurrence=2 learning_rate=.0015 muon_lr=.01', '2 steps, twice the rate': 'n_recurrence=2 learning_rate=.006 muon_lr=.04',
    '1 step, 4 layers': 'n_recurrence=1 n_layers=4', '1 step, size 2': 'size=2', '2 steps, size 2': 'size=2 n_recurrence=2', '1 step, size 3': 'size=3'}
names = ('data', 'budget', 'arm', 'seed')


def settings(data, arm, folders):
    "The preset on one of the data sets"
    cfg = apply_sets(get_preset('text'), arms[arm])
    if data=='worked': return cfg.change(data=str(bundled()), families=worked)
    return cfg.change(data=str(Path(folders[data])/'train-00000-of-00001.parquet'))


@torch.no_grad()
def bits_per_character(model, task, rows=256):
    "Of the solutions of validation rows, with their ends, after the last step"
    nats = characters = 0
    for batch in task.eval_batches('valid', 16, rows):
        nats += token_losses(model.think(batch).logits[-1], batch['labels']).sum().item()
        characters += sum(len(task.text(row)) for row in batch['labels'].tolist())
    return nats/characters/math.log(2)


def train(data, arm, folders, seed, seconds):
    "Train for `seconds`; a row of numbers"
    cfg = settings(data, arm, folders).change(seed=seed)
    tok = train_tokenizer(open_data(cfg.train), cfg.train.max_vocab)
    task = TextTask(cfg, tok)
    steps = int(seconds/seconds_per_step(TrainState(cfg, task)))
    cfg = cfg.change(steps=steps)
    s = TrainState(cfg, task)
    spent = sum(t for _, t in timed(s, islice(task.batches(cfg.train.batch_size), steps)))
    s.model.eval()
    found = {w: bits_per_character(m.eval(), task) for w, m in dict(raw=s.model, averaged=s.eval_model).items()}
    row = dict(data=data, arm=arm, seed=seed, budget=seconds, sets=arms[arm], parameters=sum(p.numel() for p in s.model.parameters()), max_seq_len=task.seq_len, steps=steps,
               rows_seen=steps*cfg.train.batch_size, seconds=round(spent, 1), bits_per_character={k: round(v, 4) for k, v in found.items()},
               threads=torch.get_num_threads(), **provenance(torch.device('cpu')))
    if data=='worked':
        df = evaluate(s.eval_model, task, 'valid', [cfg.model.n_recurrence], 256)
        row |= dict(exact=round(float(df.exact.mean()), 4), by_family=df.groupby('group').exact.mean().round(3).to_dict())
    print({k: row[k] for k in ('data', 'arm', 'seed', 'parameters', 'max_seq_len', 'steps', 'seconds', 'bits_per_character', 'exact', 'by_family') if k in row}, flush=True)
    return row


def main(gsm8k, sharegpt, data='', which='', seconds='100', seeds='0', path='results/own.json'):
    flush_denormals(torch.device('cpu'))
    folders = dict(gsm8k=gsm8k, sharegpt=sharegpt)
    for seed in map(int, seeds.split(',')):
        for name in data.split('+') if data else ('gsm8k', 'worked', 'sharegpt'):
            for arm in which.split('+') if which else arms:
                if not have(path, data=name, arm=arm, seed=seed, budget=float(seconds)): keep(path, train(name, arm, folders, seed, float(seconds)), names, __doc__.split('\n')[0])


if __name__=='__main__': main(*sys.argv[1:])
