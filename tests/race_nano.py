"""The arm of nano-trm in tests/bench_race.py: reads rows.npz and asked.json of a folder, writes found.json. Runs in an environment with
nano-trm 0.1.0 (Python 3.12.1), without `trm`: python tests/race_nano.py FOLDER

The settings are those of its experiments trm_sudoku_4x4 and 6x6 but for the width, the batch of 32, 100 steps of warm-up instead of 2,000, the
learning rate and the half-life of its average, which are asked for.
"""
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningDataModule, Trainer, seed_everything
from src.nn.callbacks.ema import EMACallback
from src.nn.models.trm import TRMModule

GOAL = .95
folder = Path(sys.argv[1])
asked, rows = json.loads((folder/'asked.json').read_text()), dict(np.load(folder/'rows.npz'))


def batch_of(split, at):
    "Rows as its network wants them"
    ids, labels = (torch.from_numpy(rows[f'{split}_{k}'][at]) for k in ('input_ids', 'labels'))
    return dict(input=ids, output=labels, puzzle_identifiers=torch.zeros(len(ids), dtype=torch.long))


class Rows(LightningDataModule):
    "The batches of the race, in their order"
    batch_size, num_train_groups = 32, len(rows['train_labels'])
    train_dataset = range(num_train_groups)
    def train_dataloader(self): return torch.utils.data.DataLoader([batch_of('train', slice(i, i+32)) for i in range(0, self.num_train_groups-31, 32)], batch_size=None)


@torch.no_grad()
def shares(model, split, full=True, size=100):
    "Exact boards and right cells after all steps; unless `full`, of the first `size` alone if less than half are right"
    model.eval()
    exact, cells, n = 0., 0., 0
    for i in range(0, len(rows[f'{split}_labels']), size):
        batch = batch_of(split, slice(i, i+size))
        carry = model.initial_carry(batch)
        for _ in range(model.hparams.N_supervision_val): carry, out = model(carry, batch)
        right = out['logits'].argmax(-1)==batch['output']
        exact, cells, n = exact+right.all(1).sum().item(), cells+right.float().mean(1).sum().item(), n+len(right)
        if not full and exact<n/2: break
    model.train()
    return round(exact/n, 4), round(cells/n, 4)


class Looks(Callback):
    "The clock of the race: looks are not on it"
    def __init__(self, limit, ema, look=True):
        self.limit, self.ema, self.look = limit, ema, look
        self.seconds, self.next, self.hit, self.curve, self.steps = 0., .5, None, [], 0

    def score(self, model, *how):
        found = dict(raw=shares(model, *how))
        self.ema._swap_to_ema(model)
        found['averaged'] = shares(model, *how)
        self.ema._restore_original(model)
        name = max(found, key=lambda k: found[k])
        return *found[name], name

    def on_train_start(self, trainer, model): self.start = time.perf_counter()

    def on_train_batch_end(self, trainer, model, *_):
        now = time.perf_counter()
        self.seconds, self.steps = self.seconds+now-self.start, self.steps+1
        over = self.seconds>=self.limit
        if self.look and (self.seconds>=self.next or over):
            self.next = 1.5*self.seconds
            self.curve.append((self.steps, round(self.seconds, 2), *self.score(model, 'valid', over, 20)))
            if self.curve[-1][2]>=GOAL: self.hit = self.seconds
        trainer.should_stop = over or self.hit is not None
        self.start = time.perf_counter()


def run(limit, decay, look):
    "Train from the start until `limit` seconds are over"
    seed_everything(asked['seed'])
    model = TRMModule(hidden_size=asked['width'], num_layers=2, num_heads=8, max_grid_size=asked['side'], H_cycles=3, L_cycles=6, N_supervision=16,
                      N_supervision_val=16, ffn_expansion=4, learning_rate=asked['rate'], weight_decay=1., warmup_steps=100, lr_min_ratio=.01,
                      halt_exploration_prob=.1, puzzle_emb_dim=0, puzzle_emb_len=0, pos_emb_type=None, use_mlp_t=True, vocab_size=asked['vocab_size'],
                      num_puzzles=1, batch_size=32, pad_value=0, seq_len=rows['train_labels'].shape[1])
    ema = EMACallback(decay=decay)
    looks = Looks(limit, ema, look)
    Trainer(max_epochs=1, accelerator='cpu', devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=[ema, looks], default_root_dir=folder).fit(model, datamodule=Rows())
    return model, looks


torch.set_num_threads(1)
torch.set_flush_denormal(True)
trial = min(asked['limit'], 5)
decay = .5**(10/max(run(trial, .999, False)[1].steps*asked['limit']/trial, 10))
model, looks = run(asked['limit'], decay, True)
found = dict(curve=looks.curve, seconds=looks.seconds, hit=looks.hit, steps=looks.steps, ema=decay, parameters=sum(p.numel() for p in model.parameters()),
             test=looks.score(model, 'test')[0] if asked['test'] else None)
(folder/'found.json').write_text(json.dumps(found))
