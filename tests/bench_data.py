"""The data path on one core: rows a second of reading, tokenizing and batching, and peak memory, at N rows: writes results/data.json.

    python tests/bench_data.py [ROWS]      1000000 unless told
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ['RAYON_NUM_THREADS'] = os.environ['OMP_NUM_THREADS'] = '1'

import pyarrow as pa
import pyarrow.parquet as pq


def make(path, rows):
    "A file of distinct problems: the bundled ones, numbered, written in pieces"
    from trm.problems import bundled
    base = pq.read_table(bundled())
    with pq.ParquetWriter(path, base.schema) as w:
        for k in range(0, rows, len(base)):
            part = base.slice(0, min(len(base), rows - k))
            names = pa.array([f'{p} ({k})' for p in part['problem'].to_pylist()])
            w.write_table(part.set_column(0, 'problem', names).cast(base.schema))


def stage(name, path):
    "Run one stage in this process and print its figures"
    import torch
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    from trm.checkpoint import provenance
    from trm.dataset import MathDataset, StreamingMathDataset, collate, length_batches
    from trm.pairs import open_pairs
    from trm.problems import bundled
    from trm.tokenizer import train_tokenizer
    import numpy as np
    tok = train_tokenizer(bundled(), 512)
    t0, n = time.perf_counter(), 0
    if name == 'read': n = sum(b.num_rows for b in open_pairs(path).batches())
    if name in ('tokenize', 'batch'): ds = MathDataset(path, tok, 160)
    if name == 'tokenize': n = len(ds)
    if name == 'batch':
        t0 = time.perf_counter()
        for b in length_batches(ds.lens, 64, np.random.default_rng(0))[:3000]: n += len(collate([ds[int(i)] for i in b])['row'])
    if name == 'stream': n = sum(len(b['input_ids']) for b in StreamingMathDataset(path, tok, 160, batch_size=64, epochs=1))
    s = time.perf_counter() - t0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(stage=name, rows=n, seconds=round(s, 2), rows_per_s=round(n / s), peak_mb=round(peak), **provenance())))


def main(rows='1000000'):
    with tempfile.TemporaryDirectory() as d:
        path = f'{d}/data.parquet'
        # not in this process: a child would inherit its peak memory
        subprocess.run([sys.executable, __file__, 'make', path, rows], check=True)
        out = [json.loads(subprocess.run([sys.executable, __file__, name, path], check=True, capture_output=True, text=True).stdout.splitlines()[-1])
               for name in ('read', 'tokenize', 'batch', 'stream')]
    for o in out: print(o)
    Path('results/data.json').write_text(json.dumps(out, indent=1))


if __name__ == '__main__':
    if sys.argv[1:2] == ['make']: make(sys.argv[2], int(sys.argv[3]))
    elif len(sys.argv) == 3: stage(*sys.argv[1:])
    else: main(*sys.argv[1:])
