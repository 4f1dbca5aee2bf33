# `make help` lists what there is to do. Needs Python 3.11 or newer and a package index.
# Paths here are relative and .venv's tools run as `python -m`, so that the checkout may stand
# anywhere, in a path with spaces too.

python := .venv/bin/python
# Those that the others start, and the server of a real model, do not end by themselves; faults
# are a target of their own.
bench := $(filter-out benchmarks/scripted.py benchmarks/serve.py benchmarks/faults.py, $(wildcard benchmarks/*.py))
not_everywhere := slow or browser or gpu

.DEFAULT_GOAL := help
.PHONY: help demo leaderboard zoo circuits setup test test-slow test-browser bench faults lint format clean
.NOTPARALLEL: # -j changes nothing: each step keeps the processor busy by itself
unexport PYTHONHOME PYTHONPATH

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 16

demo: setup ## explain 16 features of a real SAE, print a table, write a report
	@$(python) -m sagescope.experiments.cli demo $(ARGS)

leaderboard: setup ## explainers and controls on the demo's SAE and on planted features, as leaderboard.html
	@$(python) -m sagescope.experiments.cli leaderboard demo $(ARGS)

zoo: setup ## train eight kinds of SAEs, explain 48 features of each, compare them: hours
	@$(python) -m sagescope.experiments.cli zoo $(ARGS)

circuits: setup ## train a transcoder and a head SAE, explain 48 features of each by looking inside: hours
	@sh benchmarks/circuits.sh $(ARGS)

setup: ## make .venv and install everything into it (PYTHON=... chooses the Python)
	@sh .ci/setup

# A process for each core, with one thread each.
test: setup ## run the tests that need a few minutes at most (ARGS=... goes to pytest)
	@OMP_NUM_THREADS=1 $(python) -m pytest -n auto --dist loadfile -m 'not ($(not_everywhere))' $(ARGS)

test-slow: setup ## run the slow tests: real model, real installs, kill and resume
	@$(python) -m pytest -m 'slow and not browser and not gpu' $(ARGS)

test-browser: setup ## run the tests that look at pages in a Chromium
	@$(python) -m pytest -m browser $(ARGS) || [ $$? -eq 5 ] # 5: no such test yet

bench: setup ## run the benchmarks; each prints its own figures
	@set -e; for file in $(bench); do echo "== $$file"; $(python) "$$file"; done
	@$(python) -m benchmarks.architectures

faults: setup ## make everything go wrong in real processes, and write the table of docs/faults.md
	@$(python) benchmarks/faults.py

lint: setup ## check style, formatting and types
	@status=0; \
	$(python) -m ruff check || status=1; \
	$(python) -m ruff format --check || status=1; \
	$(python) -m pyright || status=1; \
	exit $$status

format: setup ## put the code into the project's format
	@$(python) -m ruff check --fix --exit-zero
	@$(python) -m ruff format

clean: ## remove .venv and everything else that can be made again (not your runs)
	rm -rf .venv .venv.lock build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find agents benchmarks experiments prompts sae tests -name __pycache__ -prune -exec rm -rf {} +
