# `make demo` trains and scores the bundled data, `make test` runs all that CI runs,
# `make lab` opens the book, `make docs` makes its pages in _docs with Quarto, `make page` serves the page that solves Sudokus.
# `make hooks` keeps notebooks clean in git, `make dist` builds the package.
# Each sets up its own .venv first. An interrupted demo goes on where it was; `rm -r runs/demo runs/deep` begins anew. PYTHON and TORCH can be set: make demo TORCH=torch
PYTHON ?= python3
TORCH  ?= torch==2.13.0
BIN    := .venv/bin
DEMO   ?= runs/demo
DEEP   ?= runs/deep

.PHONY: demo test lab docs quarto page export readme hooks dist results clean

$(BIN)/.ready: settings.ini setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q "$(TORCH)"
	$(BIN)/pip install -q -e ".[dev]"
	touch $@

demo: $(BIN)/.ready
	$(BIN)/trm_train demo --out $(DEMO) --resume
	$(BIN)/trm_eval $(DEMO) --json $(DEMO)/eval.json
	$(BIN)/trm_train deep --out $(DEEP) --resume
	$(BIN)/trm_eval $(DEEP) --json $(DEEP)/eval.json

test: $(BIN)/.ready
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 2 --pause 0.5 --timing
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest

lab: $(BIN)/.ready
	$(BIN)/jupyter lab --allow-root nbs/index.ipynb

docs: quarto $(BIN)/.ready
	@rm -rf _proc _docs
	@PATH="$(BIN):$$PATH" nbdev_proc_nbs
	@PATH="$(abspath $(BIN)):$$PATH" && cd _proc && quarto render --no-cache
	@mv _proc/_docs _docs
	@$(BIN)/python tests/page.py _docs/solver.html

page: $(BIN)/.ready
	$(BIN)/python tests/page.py _page/index.html
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _page

quarto:
	@PATH="$(BIN):$$PATH" && command -v quarto >/dev/null || { echo "The pages need Quarto: see \
	https://quarto.org/docs/get-started, or pip install quarto-cli, which downloads it." >&2; exit 1; }

export: $(BIN)/.ready
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

readme: $(BIN)/.ready
	$(BIN)/python tests/readme.py --write

# JupyterLab cleans each notebook of this repository when it is saved, and git when it is merged
hooks: $(BIN)/.ready
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nbdev_install_hooks

dist: $(BIN)/.ready
	rm -rf dist
	$(BIN)/pip install -q build twine
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

# the measurements in results/, some hours
results: $(BIN)/.ready
	$(BIN)/python tests/bench_demo.py
	$(BIN)/python tests/bench_data.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench_puzzles.py sudoku4
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench_puzzles.py sudoku6
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench_puzzles.py ablation
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench_puzzles.py parts
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench_text.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench_race.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench_answers.py sudoku6
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench_generate.py
	$(BIN)/python tests/bench_speed.py
	$(BIN)/python tests/bench_distributed.py
	$(BIN)/python tests/hostile.py
	$(BIN)/python tests/soak.py

clean:
	rm -rf .venv build *.egg-info _docs _proc _page dist
