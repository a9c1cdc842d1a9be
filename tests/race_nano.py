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
from race_clock import Clock, better, half_life, no_look, shares
from src.nn.callbacks.ema import EMACallback
from src.nn.models.trm import TRMModule

folder = Path(sys.argv[1])
asked, rows = json.loads((folder/'asked.json').read_text()), dict(np.load(folder/'rows.npz'))


def batches_of(split, size):
    "Rows as its network wants them, and with the names that `shares` knows"
    ids, labels = (torch.from_numpy(rows[f'{split}_{k}']).split(size) for k in ('input_ids', 'labels'))
    return [dict(input=x, output=y, labels=y, puzzle_identifiers=torch.zeros(len(x), dtype=torch.long)) for x, y in zip(ids, labels)]


class Rows(LightningDataModule):
    "The batches of the race, in their order"
    batch_size, num_train_groups = 32, len(rows['train_labels'])
    train_dataset = range(num_train_groups)
    def train_dataloader(self): return torch.utils.data.DataLoader(batches_of('train', 32), batch_size=None)


@torch.no_grad()
def answers(model, batch):
    "Its answer after all steps"
    carry = model.initial_carry(batch)
    for _ in range(model.hparams.N_supervision_val): carry, out = model(carry, batch)
    return out['logits'].argmax(-1)


class Looks(Callback):
    "The clock of the race: looks are not on it"
    def __init__(self, limit, ema, look=True):
        self.ema, self.steps = ema, 0
        self.clock = Clock((lambda full: better(self.score('valid', full, 20))) if look else no_look, limit)

    def score(self, split, full=True, size=100):
        model, batches = self.model, batches_of(split, size)
        def found(): return shares(lambda b: answers(model, b), batches, full)
        model.eval()
        both = dict(raw=found())
        self.ema._swap_to_ema(model)
        both['averaged'] = found()
        self.ema._restore_original(model)
        model.train()
        return both

    def on_train_start(self, trainer, model): self.model, self.start = model, time.perf_counter()

    def on_train_batch_end(self, trainer, model, *_):
        self.steps += 1
        trainer.should_stop = self.clock.tick(time.perf_counter()-self.start, self.steps)
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
decay = half_life(run(trial, .999, False)[1].steps*asked['limit']/trial)
model, looks = run(asked['limit'], decay, True)
found = dict(curve=looks.clock.curve, seconds=looks.clock.seconds, hit=looks.clock.hit, steps=looks.steps, ema=decay, parameters=sum(p.numel() for p in model.parameters()),
             test=looks.score('test')[looks.clock.weights][0] if asked['test'] else None)
(folder/'found.json').write_text(json.dumps(found))
