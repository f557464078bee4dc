# `make` alone says what there is: what stands behind two number signs.

## PYTHON=python3.12   which Python makes .venv (3.11 or newer)
## TORCH_INDEX=https://download.pytorch.org/whl/cpu
##                     take PyTorch from there: on Linux, the small build without CUDA

PYTHON ?= python3
VENV := .venv/bin/python
ifeq ($(OS),Windows_NT)
VENV := .venv/Scripts/python
endif
ONE := $(if $(NB),--nb $(NB))

.PHONY: help setup run test quick check notebooks docs exercises slides lab lint mutants flaky controls hostile class proofs proof-controls clean lm planted-logs bench picture site pdf browser-test

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1                /p' Makefile | sed 's/^\(.\{20\}\) */\1/'
	@echo
	@sed -n 's/^## //p' Makefile

setup:  ## make .venv from the pinned versions
	@"$(PYTHON)" tools/bootstrap.py $(TORCH_INDEX)

run: setup  ## set up, execute every notebook, print the ledger of claims (NB=07 for one)
	@$(VENV) -m tools.run $(ONE)

test: setup  ## set up, run all tests, check that the committed outputs are fresh
	@$(VENV) -m pytest -n 2 --cov=dpo_edu

quick: setup  ## unit tests, doctests, graders, style and types: the inner loop
	@$(VENV) -m pytest -n 2 -q -m "not slow" tests dpo_edu

check: setup  ## compare the committed outputs with a fresh run (NB=07 for one)
	@$(VENV) -m tools.check $(ONE)

notebooks: setup  ## execute in place, renewing the committed outputs (NB=07 for one)
	@$(VENV) -m tools.run --in-place $(ONE)

docs: setup  ## write what comes from elsewhere: numbers, links, tables, counts, evidence
	@$(VENV) -m tools.docs

picture: setup  ## train the 800 policies of the README's moving picture and draw it
	@$(VENV) -m tools.picture

exercises: setup  ## renew exercises/student from exercises/source
	@$(VENV) -m tools.exercises

site: setup  ## make the website in build/site (needs npm; fetches Sphinx and MathJax once)
	@$(VENV) -m pip install -q -c constraints.txt -e ".[dev,site]"
	@$(VENV) -m tools.site

pdf: setup  ## make the website and print its notebooks into build/pdf (needs Chromium)
	@$(VENV) -m pip install -q -c constraints.txt -e ".[dev,site]"
	@$(VENV) -m tools.site --pdf

browser-test: setup  ## build the website and try it, and the playground, in Chromium
	@$(VENV) -m pip install -q -c constraints.txt -e ".[dev,site]"
	@$(VENV) -m pytest -n 2 -m browser tests

slides: setup  ## make slides of the lectures in build/slides (NB=07 for one)
	@$(VENV) -m tools.slides $(ONE)

lab: setup  ## open JupyterLab on the README, which leads to the notebooks
	@$(VENV) -m jupyterlab --config=tools/lab/conf.py

lint: setup  ## formatting, style and types
	@$(VENV) -m ruff format --check .
	@$(VENV) -m ruff check .
	@$(VENV) -m mypy
	@for grader in exercises/source/*/grader.py; do $(VENV) -m mypy $$grader || exit 1; done

mutants: setup  ## break dpo_edu token by token: what does no test notice? (about an hour)
	@$(VENV) -m tools.mutants

controls: setup  ## break one formula at a time: every line of evidence must notice (half an hour)
	@$(VENV) -m tests.falsify $(NB)

hostile: setup  ## try every hostile hand-in on the judge (some minutes; needs bubblewrap)
	@$(VENV) -m pytest -m hostile tests/test_hostile.py

class: setup  ## grade thirty synthetic students, compare with known points; try the guide's commands
	@$(VENV) -m pytest -q -s -m classroom tests/test_classroom.py tests/test_guide.py

proofs: setup  ## compile the Coq proofs, print what they prove, renew their record (needs coq)
	@$(VENV) -m tools.proofs

proof-controls: setup  ## break each theorem in one place: its proof must fail (two minutes)
	@$(VENV) -m tools.proofs --check --controls

lm: setup  ## train a real language model and renew its notebooks (forty minutes; SHORT=1: some)
	@$(VENV) -m pip install -q -c constraints.txt -e ".[dev,lm]"
	@$(VENV) -m tools.lm $(if $(SHORT),--short,--in-place) $(ONE)

planted-logs: setup  ## train with TRL, a fault in each run, and renew tests/logs (the extra lm; some minutes)
	@$(VENV) -m pip install -q -c constraints.txt -e ".[dev,lm]"
	@$(VENV) benchmarks/planted_logs.py

bench: setup  ## measure speed and scale beside peers, and record it (NB=table for one; half an hour)
	@$(VENV) -m tools.bench --in-place $(NB)
	@$(VENV) -m tools.docs

flaky: setup  ## unit tests under thirty Hypothesis seeds and in three orders
	@$(VENV) -m tools.flaky

clean:  ## remove build/, caches and .venv
	rm -rf build .venv .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
