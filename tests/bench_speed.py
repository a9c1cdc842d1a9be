"""One supervised step on this CPU, forward and backward, as a share of what the matrix unit can do; beside another package's.

    python tests/bench_speed.py [THREADS...]       1 and 2 if nothing is said; writes results/speed.json

The paper's MLP network at width 128, 32 boards of 81 cells, three rounds of six updates, float32; and the network of `sudoku9`,
as it is trained. The other package is tiny-recursive-model 0.0.15 (the extra `bench`) with its own MLP mixer of the same width and depth; its operations are counted by
PyTorch's counter, as ours are. The variants take turns, five times; the best of each counts.
"""
import json
import sys
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from trm.engine.checkpoint import provenance
from trm.config import ModelConfig, get_preset
from trm.network.weights import TRM
from trm.engine.speed import matmul_flops, matmul_share, time_calls, train_one
from trm.puzzles.prefix import PrefixConfig, PrefixTRM
from trm.puzzles.units import UnitTRM

paper = ModelConfig(d_model=128, n_heads=4, states=2, n_recurrence=16, n_cycles=3, n_latent=6, mixer='mlp', position='none', mask='full',
                    detach=True, halt=True, hidden_multiple=256, vocab_size=11, seq_len=81)


def theirs(batch):
    "A supervised step of tiny-recursive-model"
    from tiny_recursive_model import MLPMixer1D, TinyRecursiveModel
    net = TinyRecursiveModel(dim=128, num_tokens=11, network=MLPMixer1D(dim=128, depth=2, seq_len=81), num_refinement_blocks=3, num_latent_refinements=6)
    y, z = (o.detach().expand(32, 81, 128) for o in net.get_initial())
    def f():
        net(batch['input_ids'], y, z, labels=batch['labels'])[0].backward()
        net.zero_grad()
    return net, f


def main(threads=(1, 2), out='results/speed.json'):
    rows = []
    for n in map(int, threads):
        torch.set_num_threads(n); torch.manual_seed(0); torch._dynamo.reset()
        batch = dict(input_ids=torch.randint(11, (32, 81)), labels=torch.randint(11, (32, 81)))
        def ours(model, **kw): return model, train_one(model, **kw)
        model = TRM(paper)
        arms = {'as it is': ours(model), 'compiled': ours(deepcopy(model)), 'loss in float64': ours(deepcopy(model), loss='stablemax'),
                '97 positions': ours(PrefixTRM(PrefixConfig(**vars(paper), puzzle_tokens=16))), 'tiny-recursive-model': theirs(batch)}
        units = UnitTRM(replace(get_preset('sudoku9').model, vocab_size=11, seq_len=81))
        arms |= {'sudoku9': ours(units), 'sudoku9, compiled': ours(deepcopy(units))}
        for k in 'compiled', 'sudoku9, compiled': arms[k][0].block.compile(dynamic=False)
        t0 = time.perf_counter(); arms['compiled'][1](); compiling = time.perf_counter()-t0
        top, times = 0., {k: [] for k in arms}
        for _ in range(5):
            top = max(top, matmul_flops())
            for k, (_, f) in arms.items(): times[k] += time_calls(f, 1).tolist()
        for k, (net, f) in arms.items():
            if 'compiled' not in k:
                with FlopCounterMode(display=False) as c: f()
                flops = c.get_total_flops()
            else: flops = rows[-1]['gflop']*1e9
            s = min(times[k])
            rows.append(dict(what=k, threads=n, seconds=round(s, 4), all_seconds=times[k], gflop=flops/1e9, parameters=sum(p.numel() for p in net.parameters()),
                             ceiling_gflops=top/1e9, gflop_per_s=flops/s/1e9, share=round(flops/s/top, 3), in_products=round(matmul_share(f), 3),
                             compile_seconds=round(compiling, 1) if k=='compiled' else None))
            print({a: b for a, b in rows[-1].items() if a!='all_seconds'}, flush=True)
    Path(out).write_text(json.dumps(dict(provenance(), seed=0, rows=rows), indent=1))


if __name__=='__main__': main(sys.argv[1:] or (1, 2))
