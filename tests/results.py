"""Rows of measured numbers in results/NAME.json, one for each run"""
import fcntl
import json
from pathlib import Path


def have(path, **what):
    "The rows of a file with these values"
    path = Path(path)
    rows = json.loads(path.read_text())['rows'] if path.exists() else []
    return [r for r in rows if all(r.get(k)==v for k, v in what.items())]


def keep(path, row, names, about=''):
    "Add a row to a file, in place of one with equal `names`, sorted by these; two processes may do so at once"
    path = Path(path)
    path.parent.mkdir(exist_ok=True, parents=True)
    with open(path.with_suffix('.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [o for o in have(path) if any(o.get(n)!=row[n] for n in names)]+[row]
        rows.sort(key=lambda o: [str(o.get(n, '')) for n in names])
        path.write_text(json.dumps(dict(what=about, rows=rows), indent=1))
