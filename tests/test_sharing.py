"A run on the hub: pushed to a stand-in, opened by its address in another process, with the same answers."
import base64
import hashlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from conftest import HubReply, hub_env, refused, root, serve, trm

from trm.config import apply_sets, get_preset
from trm.sharing import model_card, train_command

commit = HubReply.commit


@pytest.fixture
def hub():
    "A hub that keeps what it is sent"
    files, made = {}, []

    class Hub(HubReply):
        def do_POST(self):
            sent = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            path = unquote(self.path).partition('?')[0]
            if path == '/api/repos/create':
                made.append(json.loads(sent)['name'])
                return self.reply(200, dict(url='https://huggingface.co/owner/name', id='owner/name'))
            if path == '/api/models/owner/name/preupload/main':
                asked = json.loads(sent)['files']
                return self.reply(200, dict(files=[dict(path=f['path'], uploadMode='regular', shouldIgnore=False) for f in asked]))
            if path == '/api/models/owner/name/commit/main':
                for line in map(json.loads, sent.splitlines()):
                    if line['key'] == 'file': files[line['value']['path']] = base64.b64decode(line['value']['content'])
                return self.reply(200, dict(commitUrl=f'https://huggingface.co/owner/name/commit/{commit}', commitOid=commit, success=True))
            if path == '/api/validate-yaml': return self.reply(200, dict(errors=[], warnings=[]))
            self.reply(404)

        def do_GET(self):
            path = unquote(self.path).partition('?')[0]
            name = path.removeprefix('/owner/name/resolve/').partition('/')[2]
            if path.startswith('/api/models/owner/name'): return self.reply(200, dict(id='owner/name', sha=commit, siblings=[]))
            if not path.startswith('/owner/name/resolve/'): return self.reply(404, X_Error_Code='RepoNotFound')
            if name not in files: return self.reply(404, X_Error_Code='EntryNotFound')
            self.reply(200, files[name], ETag=f'"{hashlib.sha1(files[name]).hexdigest()}"')

        do_HEAD = do_GET

    with serve(Hub) as url: yield SimpleNamespace(url=url, files=files, made=made)


def env_of(tmp_path, endpoint):
    "A machine of its own, as far as the hub's library can tell"
    return hub_env(tmp_path/'home', endpoint) | dict(HF_TOKEN='hf_none')


@pytest.mark.parametrize('kind', ['run_folder', 'board_run'])
def test_there_and_back(kind, hub, tmp_path, request):
    "A run on text and one on boards: its files arrive, and it answers as before"
    run, env = request.getfixturevalue(kind), env_of(tmp_path, hub.url)
    r = trm('export', run, '--out', 'hf://owner/name', env=env)
    assert (r.returncode, r.stdout.strip()) == (0, 'hf://owner/name'), r.stderr[-2000:]
    own = 'tokenizer.json' if kind == 'run_folder' else 'puzzles.parquet'
    assert sorted(hub.files) == sorted(['README.md', 'config.json', 'model.safetensors', own]) and hub.made == ['name']
    card, kept = hub.files['README.md'].decode(), json.loads(hub.files['config.json'])
    assert 'trm_solve hf://owner/name' in card and '`trm_train ' in card and 'on rows of the validation' in card
    assert os.sep not in kept['train']['data'] and kept['commit'] and kept['model'] == json.loads((run/'config.json').read_text())['model']
    asked = ['Which is larger, 12 or 21?'] if kind == 'run_folder' else ['--board', '1.....4..3.....2']
    here, there = (trm('solve', r, *asked, env=env) for r in (run, 'hf://owner/name'))
    assert (here.stdout, here.returncode) == (there.stdout, there.returncode), there.stderr[-2000:]


def test_what_is_refused(hub, tmp_path, board_run):
    "No address, no hub, and a network that is not there: one line each, and told apart"
    env, nowhere = env_of(tmp_path, hub.url), env_of(tmp_path, 'http://127.0.0.1:9')
    refused(trm('export', board_run, '--out', 'hf://owner', env=env), 'should be hf://owner/name')
    refused(trm('export', board_run, '--out', 'hf://owner/name', env=nowhere), 'hub not reached')
    refused(trm('solve', 'hf://owner/none', '--board', '1', env=env), 'no such network')
    refused(trm('solve', 'hf://owner/none', '--board', '1', env=nowhere), 'hub not reached')


def test_command_makes_the_same_settings():
    "What the card says is what was run"
    cfg = apply_sets(get_preset('sudoku4'), "network=TRM d_model=96 steps=7 'answer_pattern=is (.*)'").change(data='/a/b c.csv')
    said = subprocess.run([sys.executable, '-c', 'import shlex, sys, json; print(json.dumps(shlex.split(sys.argv[1])))', train_command(cfg)],
                          capture_output=True, text=True, cwd=root).stdout
    name, preset, *rest = json.loads(said)
    options = dict(zip(rest[::2], rest[1::2]))
    assert (name, preset, options['--data']) == ('trm_train', 'sudoku4', 'b c.csv')
    assert apply_sets(get_preset(preset), options['--sets']) == cfg.change(data='')


def test_card_has_the_scores(board_run, tmp_path):
    "Those of eval.json, if they were written"
    assert 'which chose the weights' in model_card(board_run)
    r = trm('eval', board_run, '--limit', 20, '--json', board_run/'eval.json')
    assert r.returncode == 0, r.stderr
    try: assert 'on 20 of the test split, 4 steps, 1 try' in model_card(board_run)
    finally: (board_run/'eval.json').unlink()
