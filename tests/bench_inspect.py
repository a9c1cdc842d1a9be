"""Rows per second and peak memory of `inspect`: python tests/bench_inspect.py [ROWS] [ROWS_PER_GROUP]

Writes a synthetic parquet of ROWS rows in a temporary folder, a row group at a time, inspects it in a fresh process
and prints one JSON object. Every hundredth problem is a duplicate, and the count of duplicates is checked."""
import json, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

child = """
import json, resource, sys, time
from trm.data.inspection import inspect
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
ins = inspect(sys.argv[1])
seconds = time.perf_counter()-start
scale = 2**20 if sys.platform=='darwin' else 2**10
print(json.dumps(dict(rows=ins.rows, seconds=round(seconds, 1), rows_per_s=round(ins.rows/seconds),
    peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/scale), imports_mb=round(base/scale),
    duplicates=ins.duplicates)))"""

def write(path, rows, group):
    "`rows` word problems of some 90 to 400 characters with their working, made by numpy and arrow alone"
    r = np.random.default_rng(0)
    families = pa.array(['buy','share','walk','save'])
    steps = pa.array([' '.join(f'Step {i}: carry the {i} and add it to what was there before.' for i in range(k)) for k in range(6)])
    def text(*parts): return pc.binary_join_element_wise(*[p if isinstance(p, pa.Array) else pa.scalar(p) for p in parts], '')
    schema = pa.schema(dict(problem=pa.string(), solution=pa.string(), family=pa.string()))
    with pq.ParquetWriter(path, schema, compression='snappy') as w:
        for lo in range(0, rows, group):
            i = np.arange(lo, min(lo+group, rows))
            n = pa.array(np.where(i%100==99, i-1, i)).cast(pa.string())
            price = pa.array(r.integers(1, 10**6, len(i))).cast(pa.string())
            kind = families.take(pa.array(i//100%4))
            p = text('In problem ', n, ' somebody wants to ', kind, ' ', n, ' apples; how many coins does that take?')
            s = text(steps.take(pa.array(r.integers(0, 6, len(i)))), ' So it is ', price, '.\n#### ', price)
            w.write_table(pa.table([p,s,kind], schema), row_group_size=group)

if __name__=='__main__':
    rows = int(sys.argv[1]) if len(sys.argv)>1 else 1_000_000
    group = int(sys.argv[2]) if len(sys.argv)>2 else 100_000
    if len(sys.argv)>3: sys.exit(write(sys.argv[3], rows, group))
    with tempfile.TemporaryDirectory() as d:
        path = Path(d)/'synthetic.parquet'
        start = time.perf_counter()
        # not in this process: Linux hands the peak memory of a parent on to its children
        subprocess.run([sys.executable, __file__, str(rows), str(group), str(path)], check=True)
        made = time.perf_counter()-start
        out = json.loads(subprocess.run([sys.executable, '-c', child, str(path)], check=True, capture_output=True, text=True).stdout)
        assert out['duplicates']==rows//100, out
        print(json.dumps(out | dict(file_mb=round(path.stat().st_size/2**20), group_rows=group, write_seconds=round(made, 1))))
