"""The data path on one core, at a million rows and at ten: rows a second, peak memory, seconds to go on; and every row counted. Writes results/data.json.

    python tests/bench_data.py [ROWS [MANY [COUNTED]]]      1000000, 10000000 and 200000 unless told; about 40 minutes and 3 GB of disk
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

os.environ['RAYON_NUM_THREADS'] = os.environ['OMP_NUM_THREADS'] = '1'

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

max_len, size, most = 160, 64, 2_000_000  # no measured pass over a stream is longer than `most` rows


def make(folder, rows, shards):
    "Shards of distinct problems: the bundled ones, numbered, written in pieces"
    from trm.data.problems import bundled
    base, per = pq.read_table(bundled()), -(-int(rows) // int(shards))
    for s in range(int(shards)):
        with pq.ParquetWriter(f'{folder}/{s:03}.parquet', base.schema) as w:
            for k in range(s * per, min((s + 1) * per, int(rows)), len(base)):
                part = base.slice(0, min(len(base), (s + 1) * per - k, int(rows) - k))
                names = pa.array([f'{p} ({k})' for p in part['problem'].to_pylist()])
                w.write_table(part.set_column(0, 'problem', names).cast(base.schema))


class Anonymous(threading.Thread):
    "The largest part of the memory that is no file's, looked at ten times a second"
    daemon, peak = True, 0
    def run(self):
        while True:
            lines = Path('/proc/self/status').read_text().splitlines()
            self.peak = max(self.peak, *(int(o.split()[1]) for o in lines if o.startswith('RssAnon')))
            time.sleep(.1)


def rows_in(batches):
    "Rows, until `most`"
    n = 0
    for b in batches:
        n += len(b['input_ids'])
        if n >= most: break
    return n


def stage(name, folder):
    "Run one stage in this process; its figures"
    import torch
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    from trm.engine.checkpoint import provenance
    from trm.data.dataset import Encoder, MathDataset, collate, length_batches
    from trm.engine.cache import CachedMathDataset
    from trm.engine.stream import StreamingMathDataset
    from trm.data.pairs import open_pairs
    from trm.data.problems import bundled
    from trm.data.tokenizer import train_tokenizer
    tok, anon = train_tokenizer(bundled(), 512), Anonymous()
    anon.start()
    of, note = open_pairs(folder).num_rows, {}
    def stream(**kw): return StreamingMathDataset(folder, tok, max_len, batch_size=size, **kw)
    if name.startswith('batches'):
        cached = name.endswith('cache')
        ds = CachedMathDataset(f'{folder}/cache', folder, tok, max_len) if cached else MathDataset(folder, tok, max_len)
    t0 = time.perf_counter()
    if name == 'read': n = sum(b.num_rows for b in open_pairs(folder).batches())
    if name == 'tokenize into memory': n = len(MathDataset(folder, tok, max_len))
    if name == 'build the cache': n = len(CachedMathDataset(f'{folder}/cache', folder, tok, max_len))
    if name == 'open the cache': n = len(CachedMathDataset(f'{folder}/cache', folder, tok, max_len))
    if name.startswith('batches'):
        order = length_batches(ds.lens, size, np.random.default_rng(0))
        note['order_s'], n = round(time.perf_counter() - t0, 2), 0
        t0 = time.perf_counter()
        for b in order[:5000]: n += len(collate([ds[int(i)] for i in b])['row'])
    if name == 'stream': n = rows_in(stream(epochs=1))
    if name.startswith('go on in the middle'):  # at the last batch of a buffer, where most is to be read again
        s, plain, seen = stream(), Encoder.__call__, []
        half, last = of // 2 // s.buffer * s.buffer, s.buffer // size - 1
        at = torch.tensor([[0, 0, half, last, s.place[0, 4]]])
        t0 = time.perf_counter()
        s = stream(place=at) if name.endswith('place') else stream(start=half // size)
        Encoder.__call__ = lambda self, b: seen.append(len(b)) or plain(self, b)
        next(iter(s))
        n = sum(seen)
    s = time.perf_counter() - t0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return dict(stage=name, of=of, rows=n, seconds=round(s, 2), rows_per_s=None if name == 'open the cache' else round(n / s), peak_mb=round(peak),
                anonymous_mb=round(anon.peak / 1024), **note, **provenance())


def count(world, workers, folder):
    "How often each row comes in one epoch, shared by `world` devices with `workers` processes each"
    import torch
    from trm.engine.checkpoint import provenance
    from trm.engine.cache import CachedMathDataset
    from trm.engine.stream import StreamingMathDataset
    from trm.data.problems import bundled
    from trm.data.tokenizer import train_tokenizer
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore', 'This DataLoader will create')
    world, workers, tok, t0 = int(world), int(workers), train_tokenizer(bundled(), 512), time.perf_counter()
    def name(ids): return hash(ids.astype(np.int32).tobytes())
    ds = CachedMathDataset(f'{folder}/cache', folder, tok, max_len)
    want = Counter(name(ds.tokens[e - n:e - 1]) for e, n in zip(ds.ends, ds.lens))
    for rank in range(world):
        s = StreamingMathDataset(folder, tok, max_len, batch_size=size, rank=rank, world=world, workers=max(workers, 1), epochs=1)
        for b in torch.utils.data.DataLoader(s, batch_size=None, num_workers=workers):
            ids, lens = b['input_ids'].numpy(), b['attention_mask'].sum(1).tolist()
            want.subtract(name(r[:n]) for r, n in zip(ids, lens))
    return dict(devices=world, workers=workers, rows=len(ds), different=len(want), missing=sum(v > 0 for v in want.values()),
                twice=sum(v < 0 for v in want.values()), seconds=round(time.perf_counter() - t0, 1), **provenance())


def alone(*args):
    "Run a stage or a count in a process of its own: a child would inherit our peak memory"
    r = subprocess.run([sys.executable, __file__, *map(str, args)], stdout=subprocess.PIPE, text=True, check=True)
    out = json.loads(r.stdout.splitlines()[-1] if r.stdout else '{}')
    print({k: v for k, v in out.items() if k not in ('commit', 'python', 'torch', 'device')}, flush=True)
    return out


def main(rows=1_000_000, many=10_000_000, counted=200_000):
    place = 'go on in the middle, by place'
    parts = [(many, 1, ['stream', place, 'build the cache', 'open the cache', 'batches from the cache'], []),
             (rows, 8, ['read', 'tokenize into memory', 'batches from memory', 'stream', place, 'go on in the middle, the slow way',
                        'build the cache', 'open the cache', 'batches from the cache'], []),
             (counted, 8, [], [(world, workers) for world in (1, 2, 3) for workers in (0, 2)])]
    stages, counts = [], []
    for n, shards, names, shares in parts:
        with tempfile.TemporaryDirectory() as d:
            alone('make', d, n, shards)
            stages += [alone('stage', name, d) for name in names]
            counts += [alone('count', *share, d) for share in shares]
    stages.sort(key=lambda o: o['of'])
    Path('results/data.json').write_text(json.dumps(dict(stages=stages, counts=counts), indent=1))


if __name__ == '__main__':
    if sys.argv[1:2] == ['make']: make(*sys.argv[2:])
    elif sys.argv[1:2] in (['stage'], ['count']): print(json.dumps(dict(stage=stage, count=count)[sys.argv[1]](*sys.argv[2:])))
    else: main(*map(int, sys.argv[1:]))
