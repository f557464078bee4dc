# `make` alone says what there is. PYTHON names the Python that makes .venv (3.11 or newer).
PYTHON ?= python3
VENV := .venv/bin/python
ifeq ($(OS),Windows_NT)
VENV := .venv/Scripts/python
endif
ONE := $(if $(NB),--nb $(NB))

.PHONY: help setup run test check notebooks docs exercises slides lab lint mutants flaky clean

help:  ## Say what there is (this)
	@echo "make run            set up, execute every notebook, print the ledger of claims"
	@echo "make run NB=07      the same for one notebook"
	@echo "make test           set up, run all tests, check that the committed outputs are fresh"
	@echo "make lab            open JupyterLab on the notebooks"
	@echo "make check          compare the committed outputs with a fresh run (NB=07 for one)"
	@echo "make notebooks      execute in place, renewing the committed outputs (NB=07 for one)"
	@echo "make docs           renew docs/claims.md from the catalogue and the ledger"
	@echo "make exercises      renew exercises/student from exercises/source"
	@echo "make slides         make slides of the lectures in build/slides (NB=07 for one)"
	@echo "make lint           formatting, style and types"
	@echo "make mutants        break dpo_edu token by token: what does no test notice? (about an hour)"
	@echo "make flaky          unit tests under thirty Hypothesis seeds and in three orders"
	@echo "make clean          remove build/, caches and .venv"
	@echo
	@echo "PYTHON=python3.12   which Python makes .venv (3.11 or newer)"
	@echo "TORCH_INDEX=https://download.pytorch.org/whl/cpu"
	@echo "                    take PyTorch from there: on Linux, the small build without CUDA"

setup:
	@"$(PYTHON)" tools/bootstrap.py $(TORCH_INDEX)

run: setup
	@$(VENV) -m tools.run $(ONE)

test: setup
	@$(VENV) -m pytest -n 2 --cov=dpo_edu

check: setup
	@$(VENV) -m tools.check $(ONE)

notebooks: setup
	@$(VENV) -m tools.run --in-place $(ONE)

docs: setup
	@$(VENV) -m tools.claims

exercises: setup
	@$(VENV) -m tools.exercises

slides: setup
	@$(VENV) -m tools.slides $(ONE)

lab: setup
	@$(VENV) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks

lint: setup
	@$(VENV) -m ruff format --check .
	@$(VENV) -m ruff check .
	@$(VENV) -m mypy

mutants: setup
	@$(VENV) -m tools.mutants

flaky: setup
	@$(VENV) -m tools.flaky

clean:
	rm -rf build .venv .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
