"""Writing with and without a cache: tokens a second of 256 new tokens for 16 prompts of 64, by the networks of two presets with random weights.

    OMP_NUM_THREADS=1 python tests/bench_generate.py [TOKENS] [ROWS]

Writes results/generate.json. One thread; tokens a second and the ratio are by the seconds of the process, so that a core that is shared with
others does no harm. No token ends a response, so all rows stay to the end. `same` is the share of tokens that both ways agree on.
"""
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from trm.engine.checkpoint import provenance
from trm.config import get_preset
from trm.thinking.generate import generate
from trm.network.weights import TRM

prompt, seed = 64, 0


def measure(name, tokens, rows):
    "Both ways, one after the other, on the same prompts"
    torch.manual_seed(seed)
    cfg = replace(get_preset(name).model, seq_len=prompt + tokens - 1)
    model = TRM(cfg).eval()
    batch = dict(input_ids=torch.randint(cfg.vocab_size, (rows, prompt)), prefix_len=torch.full((rows,), prompt))
    generate(TRM(replace(cfg, seq_len=prompt + 3)).eval(), batch, -1)  # warm up
    out, row = {}, dict(preset=name, seed=seed, prompt=prompt, tokens=tokens, rows=rows)
    for way, cache in dict(cached=True, recomputed=False).items():
        t0, c0 = time.perf_counter(), time.process_time()
        out[way] = generate(model, batch, -1, cache=cache)
        s, c = time.perf_counter() - t0, time.process_time() - c0
        assert out[way].shape == (rows, tokens)
        row[way] = dict(seconds=round(s, 2), cpu_seconds=round(c, 2), tokens_per_s=round(rows * tokens / c, 1))
    row['times'] = round(row['recomputed']['cpu_seconds'] / row['cached']['cpu_seconds'], 1)
    row['same'] = round((out['cached'] == out['recomputed']).float().mean().item(), 4)
    print(row, flush=True)
    return row


def main(tokens='256', rows='16'):
    torch.set_num_threads(1)
    table = [measure(name, int(tokens), int(rows)) for name in ('demo', 'plan')]
    Path('results').mkdir(exist_ok=True)
    Path('results/generate.json').write_text(json.dumps(dict(provenance(), threads=torch.get_num_threads(), rows=table), indent=1))


if __name__ == '__main__': main(*sys.argv[1:])
