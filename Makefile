# Every target makes .venv by itself and installs what it needs. A target that also needs system
# packages says so, prints the command, and runs it when it can (root, or sudo without a password).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=
JOBS   ?= 3
PACKAGES := shared edge center firmware-sim

.PHONY: help setup system demo test check format bench bench-peers bench-placement bench-edge-or-core bench-failover soak clean
help:
	@echo "make demo    a fleet on this machine (ARGS=--exit: ends by itself, exit code 0 if all was true)"
	@echo "make test    every test, JOBS=3 files side by side    make check   ruff, mypy, import contracts"
	@echo "make bench   the measured promises, report in bench/report.json"
	@echo "make bench-peers  the same work by Salt and Ansible, which are installed from PyPI for it; bench/report-peers.json"
	@echo "make bench-placement TRACE=folder  [SEEDS=10] how well and how fast tasks are placed on a trace of openb's form"
	@echo "make bench-edge-or-core  whether the side that is chosen for a batch is the better one; three minutes"
	@echo "make bench-failover  how soon work goes on when one of 1,000 nodes is killed; bench/report-failover.json"
	@echo "make soak    SEEDS=1000 simulated worlds, then kills of real processes and brokers: 15 minutes and more"
	@echo "make setup   only the environment   make system  only the system packages (for tests)"

$(STAMP): constraints.txt pyproject.toml $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit("Farshore needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt $(PACKAGES:%=-e ./%) --group dev
	@touch $@

setup: $(STAMP)

system:
	@sh deploy/system-packages.sh

demo: $(STAMP)
	$(BIN)/farshore-sim demo $(ARGS)

test: $(STAMP) system
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES:%=%/src) tests bench soak
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m bench $(ARGS)

bench-peers: $(STAMP)
	$(BIN)/python -m bench.peers $(ARGS)

TRACE  ?=
bench-placement: $(STAMP)
	@test -n "$(TRACE)" || { echo "make bench-placement TRACE=folder: name a folder with a trace of openb's form (docs/bench.md)"; exit 2; }
	$(BIN)/python -m bench.placement "$(TRACE)" --seeds $(if $(filter file,$(origin SEEDS)),10,$(SEEDS)) $(ARGS)

bench-edge-or-core: $(STAMP)
	$(BIN)/python -m bench.edge_or_core $(ARGS)

bench-failover: $(STAMP)
	$(BIN)/python -m bench.failover $(ARGS)

SEEDS  ?= 1000
REPORT ?=
REPORTED = $(if $(REPORT),--report $(REPORT))
soak: $(STAMP) system
	$(BIN)/python -m soak world --seeds $(SEEDS) $(REPORTED) $(ARGS)
	$(BIN)/python -m soak kills $(REPORTED)
	$(BIN)/python -m soak brokers $(REPORTED)
	$(BIN)/python -m soak config $(REPORTED)
	$(BIN)/python -m soak jobs $(REPORTED)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
