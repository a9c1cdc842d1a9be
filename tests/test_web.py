"In a browser: the JavaScript step equals PyTorch's, and the page solves, refuses, tries again and fits a phone."
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from trm.config import Config, ModelConfig, TrainConfig, network_class
from trm.files import InputError
from trm.network.model import TRM
from trm.puzzles.kinds import MazeTask, SudokuTask
from trm.runs import open_run
from trm.thinking.export import export_onnx, export_web, read_web, web_model, web_page

shipped = 'sudoku4', 'sudoku6', 'sudoku9', 'sudoku_laptop'
needs_node = pytest.mark.skipif(not shutil.which('node'), reason='node is not installed')
script = '''
import {Model, think} from './trm.mjs';
import {readFileSync} from 'fs';
const {web, ids, states, steps} = JSON.parse(readFileSync('asked.json')), model = new Model(web);
const one = states.map(s => { const {logits, q} = model.step(ids[0], s.map(v => Float32Array.from(v))); return [[...logits], q]; });
console.log(JSON.stringify({one, answers: ids.map(i => [...think(model, i, steps)].at(-1).answer)}));
'''


@torch.no_grad()
def compare(model, task, ids, steps, folder):
    "Logits and q of each step from PyTorch's state, and the answers after all steps, in both"
    state, states, outs = model.start(model.prepare(dict(input_ids=ids[:1])).x), [], []
    for _ in range(steps):
        states.append([s[0].flatten().tolist() for s in state])
        outs.append(model(dict(input_ids=ids[:1]), state))
        state = outs[-1].state
    asked = dict(web=web_model(model, task), ids=ids.tolist(), states=states, steps=steps)
    (folder/'asked.json').write_text(json.dumps(asked))
    (folder/'trm.mjs').write_text(read_web('trm.js'))
    (folder/'run.mjs').write_text(script)
    said = json.loads(subprocess.run(['node', 'run.mjs'], cwd=folder, capture_output=True, text=True, check=True).stdout)
    for (logits, q), out in zip(said['one'], outs, strict=True):
        assert torch.allclose(torch.tensor(logits).view_as(out.logits[0]), out.logits[0], atol=1e-3)
        if out.halt_logits is None: assert q is None
        else: assert abs(q-out.halt_logits.sigmoid().item())<1e-3
    return torch.tensor(said['answers']), model.think(dict(input_ids=ids), steps).logits[-1].argmax(-1)


@needs_node
@pytest.mark.parametrize('name', shipped)
def test_networks_that_ship(name, tmp_path):
    "Each step from PyTorch's state, and the final answers of fifty boards"
    model, task = open_run(name)
    ids = next(task.eval_batches('test', 50))['input_ids']
    ours, theirs = compare(model, task, ids, 4, tmp_path)
    assert (ours==theirs).all()


kinds = [dict(mixer='mlp'), dict(mixer='mlp', norm='pre', gate='normed', position='learned'), dict(mixer='attention'),
         dict(mixer='attention', position='learned', norm='pre', gate='normed'), dict(states=1, n_latent=0, n_cycles=1, inject=True),
         dict(states=1, n_latent=0, n_cycles=1, position='none', halt=False),
         dict(network='SymbolTRM', mixer='mlp', position='none', gate='normed', symbols=4, d_model=4),
         dict(network='UnitTRM', mixer='mlp', position='none', symbols=4, d_model=4, n_cycles=2)]


@needs_node
@pytest.mark.parametrize('kw', kinds, ids=lambda kw: '-'.join(map(str, kw.values())))
def test_every_kind(kw, tmp_path):
    "Mixers, norms, gates, positions, one state or two, with random weights: each step from PyTorch's state"
    torch.manual_seed(0)
    network = network_class(kw.pop('network', 'TRM'))
    cfg = network.config(**dict(d_model=16, n_heads=2, n_layers=2, mask='full', vocab_size=6, seq_len=16, states=2, n_latent=2, n_cycles=1,
                                halt=True) | kw)
    model = network(cfg).eval()
    with torch.no_grad():
        for p in model.state_dict().values(): p.copy_((p+.1*torch.randn_like(p)).bfloat16())
    task = SudokuTask(Config(cfg, TrainConfig(task='sudoku', side=4)))
    for ids in torch.randint(1, 6, (3, 1, 16)): compare(model, task, ids, 3, tmp_path)


def test_what_is_refused(run_folder, tmp_path):
    "Text, unknown networks, and a page for other puzzles than Sudokus"
    with pytest.raises(InputError, match='answers in text; should be a network of boards'): export_web(*open_run(run_folder), tmp_path/'no')
    cfg = ModelConfig(d_model=8, mask='full', vocab_size=6, seq_len=16)
    with pytest.raises(InputError, match='the page knows Sudokus'): web_page(dict(a=(TRM(cfg), MazeTask(Config(cfg, TrainConfig(task='maze', side=4))))))
    assert not (tmp_path/'no').exists()


def test_onnx(tmp_path):
    "The first step and a later one, of any number of boards, equal PyTorch's"
    pytest.importorskip('onnxscript', reason='onnx is not installed')
    runtime = pytest.importorskip('onnxruntime')
    model, task = open_run('sudoku4')
    first, later = (runtime.InferenceSession(p) for p in export_onnx(model, tmp_path))
    for rows in (1, 3):
        batch = next(task.eval_batches('minimal', rows))
        ids = batch['input_ids'].numpy()
        _, _, y, z = first.run(None, dict(input_ids=ids))
        logits, q, _, _ = later.run(None, dict(input_ids=ids, y=y, z=z))
        with torch.no_grad(): out = model.think(batch, 2)
        assert torch.allclose(torch.tensor(logits), out.logits[1], atol=1e-3)
        assert torch.allclose(torch.tensor(q), out.halt_logits[1].sigmoid(), atol=1e-3)


# The page, in Chromium

@pytest.fixture(scope='module')
def browser():
    play = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    found = next((p for p in map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome')) if p), None)
    with play.sync_playwright() as p:
        try: b = p.chromium.launch(executable_path=found, args=['--no-sandbox'])
        except play.Error: pytest.skip('no Chromium is installed')
        yield b
        b.close()


@pytest.fixture(scope='module')
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('web')/'solver.html'
    path.write_text(web_page({n: open_run(n) for n in shipped}), encoding='utf-8')
    return path


@pytest.fixture
def page(browser, page_file):
    "The page, opened from the disk; what it writes on the console fails the test"
    tab, said = browser.new_page(viewport=dict(width=390, height=800)), []
    tab.on('console', lambda m: said.append(m.text))
    tab.on('pageerror', lambda e: said.append(str(e)))
    tab.goto(Path(page_file).as_uri())
    yield tab
    assert said==[]
    tab.close()


def think(tab):
    "Press think, wait; what it says"
    tab.click('#think')
    tab.wait_for_function("document.getElementById('think').textContent==='think'", timeout=120_000)
    return tab.inner_text('#status')


def slide(tab, name, value):
    tab.evaluate(f"document.getElementById('{name}').value = {value}; document.getElementById('{name}').dispatchEvent(new Event('input'))")


def cells(tab): return tab.eval_on_selector_all('#board button', 'bs => bs.map(b => [b.textContent, b.className])')


def whole(tab, side):
    "Is there a digit once in each row, and is every found cell shown as settled?"
    found = cells(tab)
    rows = [''.join(t for t, _ in found[i:i+side]) for i in range(0, side*side, side)]
    return all(sorted(r)==sorted('123456789'[:side]) for r in rows) and all('given' in c or 'settled' in c for _, c in found)


@pytest.mark.parametrize('label', ['4×4', '6×6', '9×9'])
def test_page_solves(page, label):
    "An example of each size, with the digits once in each row"
    page.get_by_role('button', name=label, exact=True).click()
    page.select_option('#examples', index=2)
    assert think(page).startswith('Solved: the rules hold.')
    assert whole(page, int(label[0]))


def test_page_is_typed_and_pasted(page):
    "Digits by the keyboard and by the pad, a board as text of another size, nonsense"
    page.click('#clear')
    page.locator('#board button').first.click()
    page.keyboard.press('5')
    page.keyboard.press('ArrowRight')
    page.get_by_role('group', name='Digits').get_by_role('button', name='3').click()
    assert [t for t, _ in cells(page)[:3]]==['5', '3', '']
    page.keyboard.press('Backspace')
    assert cells(page)[1][0]==''
    page.fill('#text', '.6..2. ......|65.1.. .1...6\n....13 ..4...')
    page.press('#text', 'Enter')
    assert len(cells(page))==36 and think(page).startswith('Solved')
    page.fill('#text', '12x')
    page.press('#text', 'Enter')
    assert '“x” is no cell of this board' in page.inner_text('#status')


def test_page_refuses(page):
    "A digit twice in a row, an empty board; the cells are marked"
    page.click('#clear')
    assert think(page).startswith('An empty board')
    page.fill('#text', '55'+'.'*79)
    page.press('#text', 'Enter')
    assert think(page)=='Not a Sudoku: 5 stands twice in a row, column or box.'
    assert ['wrong' in c for _, c in cells(page)[:3]]==[True, True, False]


def test_page_tries_again(page):
    "What one step does not solve is no answer; more tries find one"
    hard = '.6..2.......65.1...1...6....13..4...'
    page.fill('#text', hard)
    page.press('#text', 'Enter')
    slide(page, 'steps', 1)
    slide(page, 'restarts', 0)
    said = think(page)
    assert said.startswith('Not solved in 1 steps') and 'a thought, not an answer' in said and not whole(page, 6)
    slide(page, 'steps', 16)
    slide(page, 'restarts', 20)
    assert think(page).startswith('Solved') and whole(page, 6)


def test_page_without_a_solution(page):
    "A board that keeps the rules and cannot be filled is not answered"
    page.get_by_role('button', name='4×4', exact=True).click()
    page.fill('#text', '12....34........')
    page.press('#text', 'Enter')
    slide(page, 'restarts', 2)
    assert think(page).startswith('Not solved') and not whole(page, 4)


def test_page_fits_a_phone(page):
    "No page wider than the screen, and buttons that a finger can hit"
    assert page.evaluate('document.documentElement.scrollWidth')<=390
    assert min(page.eval_on_selector_all('#board button', 'bs => bs.map(b => b.getBoundingClientRect().width)'))>=36
