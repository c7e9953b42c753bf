# make compare   set up, run the comparison in the lab, write a report
# make test      set up, lint, types, layers, unit tests, lab tests, every scenario of the catalogue; how long each took
# make test-kernel      the lab's tests and suites on another kernel, with IPIP, in user-mode Linux: what fits into eight minutes
# make test-kernel-all  the same, everything
# make reports   the page of a report in Chromium: what it shows, zoom, keyboard, dark mode, paper, axe-core; the Allure site
# make programs  programs in the places of Gardener's doubles: reference programs, a real API server, EC2; `hitless conform`
# make kind      what of the kind backend can be tested without images: docker, router, a real API server; skips say what is missing
# make kind-images  every image that a kind cluster needs, from package registries alone; skips what is there and unchanged
# make kind-ci      a real kind cluster with real Calico, in an engine of its own: what fits into the time of CI; or says what is missing
# make kind-suites  the same, everything
# make kind-compare  one scenario in the lab and on a real kind cluster: the events of both side by side
# make bench     accuracy, CPU per probe, largest rate and mesh, bring-up, causes; beside fping, irtt, iperf3, ping and mininet
# make bench-peers  install these from Debian; the bench skips who is missing
# make fuzz      coverage-guided fuzzing of what reads packets and files, FUZZ_S seconds a target; what breaks a promise is kept
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Two cores carry two labs at the rates of the tests.
PARALLEL ?= -n 2 --dist worksteal
# Those of the catalogue wait more than they probe.
SUITES_PARALLEL ?= -n 3 --dist worksteal
# What a busy machine kept the instrument from knowing is asked again; a FAIL never is.
REPEATED := --reruns 2 --only-rerun "AssertionError: INCONCLUSIVE"
# The lab's own tests wait more than they work.
LAB_PARALLEL ?= -n 4 --dist worksteal
# They start a control plane each and have a time of their own in CI.
PROGRAMS := tests/lab/test_programs.py tests/lab/test_conform.py
FUZZ_S ?= 60
FUZZED ?= wire reflector sender settings record scenario

.PHONY: compare test lint unit reports lab suites programs test-kernel test-kernel-all kind kube-apiserver kind-images kind-ci kind-suites kind-compare bench bench-peers fuzz format clean

compare: .venv/.ready
	$(BIN)/hitless compare $(ARGS)

test: .venv/.ready-dev
	@for parts in "-j2 --output-sync=target lint unit" lab suites; do \
		began=$$(date +%s); $(MAKE) --no-print-directory $$parts || exit 1; \
		echo "make $${parts##*=target }: $$(($$(date +%s) - began)) s"; \
	done

lint: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

unit: .venv/.ready-dev
	$(BIN)/pytest tests/unit $(PARALLEL)

reports: .venv/.ready-dev
	$(BIN)/pytest tests/browser

lab: .venv/.ready-dev
	$(BIN)/pytest tests/lab $(PROGRAMS:%=--ignore=%) $(LAB_PARALLEL)

programs: .venv/.ready-dev
	$(BIN)/pytest $(PROGRAMS) $(PARALLEL)

suites: .venv/.ready-dev
	$(BIN)/pytest suites/ --backend lab -p no:hypothesispytest $(SUITES_PARALLEL) $(REPEATED) $(ARGS)

test-kernel: .venv/.ready-dev
	$(BIN)/python -m tests.kernel.run some

test-kernel-all: .venv/.ready-dev
	$(BIN)/python -m tests.kernel.run all

kind: .venv/.ready-dev
	$(BIN)/pytest tests/kind

kube-apiserver: .venv/.ready-dev
	$(BIN)/python -m tests.kind.build_apiserver

kind-images: .venv/.ready-dev
	$(BIN)/python -m tests.kind.images $(ARGS)

kind-ci: .venv/.ready-dev
	$(BIN)/python -m tests.kind.real_cluster --ci $(ARGS)

kind-compare: .venv/.ready-dev
	$(BIN)/python -m tests.kind.compare $(ARGS)

kind-suites: .venv/.ready-dev
	$(BIN)/python -m tests.kind.real_cluster $(ARGS)

bench: .venv/.ready-dev
	$(BIN)/python -m bench $(ARGS)

bench-peers:
	$(if $(filter 0,$(shell id -u)),,sudo) apt-get install --yes --no-install-recommends fping irtt iperf3 iputils-ping mininet

fuzz: .venv/.ready-fuzz
	for target in $(FUZZED); do $(BIN)/python -m tests.fuzz.harness $$target -max_total_time=$(FUZZ_S) || exit 1; done

format: .venv/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.ready: pyproject.toml probes/_datagrams.c
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.ready-dev: .venv/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,load]'
	touch $@

.venv/.ready-fuzz: .venv/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	touch $@

clean:
	rm -rf .venv .cache build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
