# The whole study from a fresh machine: Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
PROFILE ?= quick
TORCH ?=
STUDY ?= notebooks/studies/overnight.yaml
BIN := .venv/bin
BUILT := .venv/built
LOCK := requirements.lock
# Where bytecode may not be written, each process compiles the sources of torch again: 6 seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help env study batch figures docs executed site test test-all lint fast notebooks lock clean

help: ## list what can be made (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

env: $(BUILT) ## build .venv from the lock (PYTHON=python3.12; TORCH=cpu for no CUDA)

study: $(BUILT) ## run the main notebook (PROFILE=quick, or lfw, paper)
	$(BIN)/cure study --profile $(PROFILE)

batch: $(BUILT) ## run a study of many runs (STUDY=...), collect it and write its report
	$(BIN)/cure batch run $(STUDY); status=$$?; \
		$(BIN)/cure batch collect $(STUDY) && $(BIN)/cure batch report $(STUDY); exit $$status

figures: $(BUILT) ## redraw every figure from its table (FROM=runs/... adds a run's tables first)
	$(BIN)/cure figures $(if $(FROM),--from $(FROM))

docs: $(BUILT) ## write the tables of README.md and docs/*.md, from figures/*.csv and the code
	$(BIN)/python docs/tables.py

executed: $(BUILT) ## run notebooks and lessons that changed, and write notebooks/executed/
	$(BIN)/python docs/executed.py

site: $(BUILT) ## build the website from the pages and notebooks/executed: build/site/html
	$(BIN)/python docs/build.py

test: lint ## every check, in six minutes on two cores; one process per core, one thread each
	OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 8 --dist loadgroup

test-all: lint ## make test and what takes long: fuzzing, kills, lowest versions, Python 3.12 and 3.13
	OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 8 --dist loadgroup -m "slow or not slow"

lint: $(BUILT) ## lint, types, import order
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: lint ## lint, and notebooks in step: what the pre-commit hook runs
	$(BIN)/pytest tests/test_notebooks.py -k "not repeats and not test_notebook_runs"

notebooks: $(BUILT) ## bring .ipynb and .py in step (the newer wins) and strip outputs
	$(BIN)/jupytext --sync $$(ls notebooks/*.py notebooks/course/source/*/*.py)
	$(BIN)/jupyter nbconvert --clear-output --inplace \
		$$(ls notebooks/*.ipynb notebooks/course/source/*/*.ipynb)

lock: | $(BIN)/uv ## resolve the dependencies again after a change to pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--no-header --no-annotate -o $(LOCK)

clean: ## remove .venv and caches; runs/ stays
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamp is written last: a .venv without it is half-built and is built again.
ifeq ($(wildcard $(BUILT)),)
.PHONY: $(BIN)/uv
endif

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The study needs \
	Python 3.11 or newer, but $(PYTHON) is %d.%d; name another: make env PYTHON=python3.12" \
	% sys.version_info[:2])'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet "$$(grep '^uv==' $(LOCK))"

# Another build of torch brings its own CUDA packages, or none, so the lock's are left out.
$(BUILT): $(LOCK) pyproject.toml | $(BIN)/uv
	@rm -f $@
	$(if $(TORCH),grep -vE '^(cuda|nvidia|triton)',cat) $(LOCK) | $(BIN)/uv pip install \
		--python $(BIN)/python $(if $(TORCH),--torch-backend $(TORCH)) -r -
	$(BIN)/uv pip install --python $(BIN)/python --no-deps -e .
	@touch $@
