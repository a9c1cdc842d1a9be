"""Make a folder of weights to ship out of a trained run of puzzles: bfloat16 weights, settings, the held-out puzzles, and a card.

    python tests/ship.py RUN trm/weights/NAME
    python tests/ship.py RUN trm/weights/NAME PUZZLES WORDS    a run on data of one's own: its held-out puzzles are those of a file, and WORDS
                                                               is a file that says what it was trained on

The scores on the card are of the weights as they are shipped.
"""
import json
import sys
from pathlib import Path

import torch

from trm.engine.checkpoint import changed_settings, provenance
from trm.engine.log import read_metrics
from trm.config import get_preset, read_config
from trm.files import write_file
from trm.puzzles.files import read_puzzles, write_puzzles
from trm.runs import open_run, score_run
from trm.files import read_json

card = """# {preset}: a tiny recursive model that solves {side}×{side} Sudokus

{weights:,} weights in bfloat16, {kib:.0f} KiB. Open it with `TRM.from_pretrained('{folder}')`, or from the command line:

    trm_solve {folder} --board {board}
    trm_eval  {folder} --split minimal

- **Data**: {data}
- **Recipe**: preset `{preset}`{sets}; {steps:,} steps of {batch} boards in {seconds:.0f} s on {device}. Seed {seed}. `config.json` has all
  settings. The weights are those with the best validation score.
- **Code**: commit {commit}, torch {torch}, Python {python}.
- **Use**: Sudokus of {side}×{side} with one solution. A board with several solutions, or with none, has no right answer here; `trm_solve` checks
  the rules and says "not solved" rather than show a wrong board. Licence: Apache 2.0, as the code.

| {n} held-out puzzles | exact after all {t} steps, % | exact when it stops by itself, % | steps it takes | calibration error of q |
| --- | --- | --- | --- | --- |
{rows}

Exact answers on the validation puzzles while it was trained:

| step | {curve_steps} |
| --- | {lines} |
| exact, % | {curve} |
"""


made = """{train:,} puzzles made by `trm.puzzles.splits.make_puzzles` from seed {seed}{drawn}, shown with {clues} clues
  on average. Held out are puzzles whose solution is, up to relabelling, none of those trained on: `puzzles.parquet` has the {valid} of
  the validation and the {test} of the test."""


def main(run, folder, puzzles='', words=''):
    run, folder = Path(run), Path(folder)
    cfg, log = read_json(run/'config.json'), read_metrics(run/'metrics.csv')
    model, task = open_run(run, device='cpu')
    boards = task.boards('all')
    if puzzles: boards, cfg['train']['data'] = read_puzzles(puzzles, task.chars), ''
    model.save_pretrained(folder, dtype=torch.bfloat16, **{k: v for k, v in cfg.items() if k!='model'})
    write_puzzles(boards[boards.table.split!='train'], folder/'puzzles.parquet', task.chars)
    model, task = open_run(folder, device='cpu')
    rows, found = [], {}
    for split, name in dict(test=f"{cfg['train']['clues']} clues on average", minimal='as few clues as they can have').items():
        found[split] = s = score_run(model, task, split)[1]
        h = s['halting']
        rows.append(f"| {name} | {100*s['exact']:.1f} | {100*h['exact']:.1f} | {h['mean_steps']:.2f} | {h['calibration_error']:.3f} |")
    looks = [(r['step'], r['valid_exact']) for r in log if 'valid_exact' in r]
    looks = looks[::max(len(looks)//8, 1)]
    preset, own = cfg['preset'], read_config(run)[0].change(data=cfg['train']['data'])
    changed = changed_settings(get_preset(preset), own)
    sets = ', '.join(f"{k}={v}" for k, (_, v) in changed.items() if 'every' not in k and k not in ('vocab_size', 'seq_len'))
    counts, drawn = boards.table.split.value_counts(), ', a symmetry of each drawn every time' if cfg['train']['augment'] else ''
    if words: data = Path(words).read_text().strip()
    else: data = made.format(train=counts['train'], valid=counts['valid'], test=counts['test'], clues=cfg['train']['clues'],
                             seed=cfg['train']['seed'], drawn=drawn)
    text = card.format(
        preset=preset, side=cfg['train']['side'], weights=sum(p.numel() for p in model.parameters()), folder=folder.name, data=data,
        kib=(folder/'model.safetensors').stat().st_size/1024, board=task.boards('test')[:1].to_frame(task.chars).question.iloc[0],
        seed=cfg['train']['seed'], sets=f' with {sets}' if sets else '',
        steps=cfg['train']['steps'], batch=cfg['train']['batch_size'], seconds=log[-1]['seconds'], n=found['test']['n'], t=found['test']['steps'],
        device=cfg['device'], commit=cfg['commit'], torch=cfg['torch'], python=cfg['python'], rows='\n'.join(rows),
        curve_steps=' | '.join(f"{s:,.0f}" for s, _ in looks), lines=' | '.join('---' for _ in looks), curve=' | '.join(f"{100*e:.1f}" for _, e in looks))
    write_file(folder/'README.md', lambda p: p.write_text(text, encoding='utf-8'))
    print(json.dumps(found | provenance(), indent=1))


if __name__=='__main__': main(*sys.argv[1:])
