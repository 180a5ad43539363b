# make demo   build a corpus from phantom data and look at it
# make test   run the test suite
# Each sets up its own environment first: Python 3.11 or later is all that must be there.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BENCH  ?= .venv-bench

export PYTHONPATH := $(CURDIR)

.PHONY: help demo test formats stores engines fetch-engines kills hostile fusion-world fuzz lint types check torch bench-preprocess bench-stream bench-pipeline bench-scale bench-identity check-infra constraints schemas clean

help:
	@sed -n 's/^# make/make/p' Makefile

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/python -m pipelines demo

test: $(READY)
	$(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile

# make lint   style and formatting
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# make types  the type checker
types: $(READY)
	$(BIN)/mypy

# make check  lint, types and tests
check: lint types test

# make torch  add PyTorch, for the tests of the torch data set
torch: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0

# make bench-preprocess / bench-stream   side by side with peers, in an environment of their own
# make bench-pipeline   a whole build against its bare kernels
# make bench-scale   plan and publish for a million cases (6 GB in build/scale), and what the graph costs
$(BENCH)/.ready: benchmarks/constraints.txt pyproject.toml
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/constraints.txt
	@touch $@

bench-preprocess: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.preprocess

bench-pipeline: $(READY)
	$(BIN)/python -m benchmarks.pipeline

bench-scale: $(READY)
	rm -rf build/scale && mkdir -p build/scale
	$(BIN)/python -m benchmarks.graph build/scale/graph
	$(BIN)/python -m benchmarks.scale build/scale/million

# make bench-identity   what fingerprints recognise, and a hundred thousand of them joined
bench-identity: $(READY)
	$(BIN)/python -m benchmarks.identity

bench-stream: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.stream

# make stores   real object stores on this machine, and what was proved on each (STORES=versitygw for one of them)
stores: $(READY)
	$(BIN)/python -m infra.servers prove $(STORES)

# make engines  one corpus on every engine, byte by byte the same (ENGINES="local spark-local" for some of them)
# make fetch-engines   Prism, the job servers of Spark and Flink, and Spark itself, pinned, into the cache
engines: $(READY)
	$(BIN)/python -m infra.engines prove $(ENGINES)

fetch-engines: $(READY)
	$(BIN)/python -m infra.engines fetch

# make kills    what dies, races and fails, and what is left of it (KILLS=ci for the part that is quick)
kills: $(READY)
	$(BIN)/python -m tests.kills $(KILLS)

# make formats  every real file of MDFP_TESTDATA against what independent tools measured
formats: $(READY)
	$(BIN)/python -m tests.formats

# make hostile  broken and hostile inputs beside sound ones: each refused by its own reason, none of the others harmed
hostile: $(READY)
	$(BIN)/python -m tests.hostile

# make fusion-world  300 generated people in 12 data sets, fused: who is who, splits and states against the truth (SIZE=small)
fusion-world: $(READY)
	$(BIN)/python -m tests.world $(SIZE)

# make fuzz     mutated files before each reader: only rejects may come out (SECONDS=600 a reader, READERS="nifti dicom")
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz $(or $(SECONDS),60) $(READERS)

# make check-infra  Dockerfiles, scripts and Terraform modules (needs terraform, go, npm, shellcheck)
check-infra: $(READY)
	bash infra/terraform/check/check.sh
	$(BIN)/python -m pytest -q -rs tests/infra

# make schemas      write the JSON Schemas of sources and recipes anew
schemas: $(READY)
	$(BIN)/python -m schemas.json_schema

# make constraints  pin what is installed now
constraints: $(READY)
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt

# make clean        remove the environments and what the demo made
clean:
	rm -rf $(VENV) $(BENCH) out build dist
