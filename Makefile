# `make demo` and `make test` set up everything they need in .venv: with uv when it is here, else with venv and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DEMO_STAMP := $(VENV)/.demo-ready
BENCH_STAMP := $(VENV)/.bench-ready

GATEWAY := $(VENV)/litellm
GATEWAY_STAMP := $(GATEWAY)/.ready
CLIENTS := $(VENV)/clients
CLIENTS_STAMP := $(CLIENTS)/.ready

ifeq ($(shell command -v uv),)
MAKE_VENV = "$(PYTHON)" -m venv $(1)
INSTALL = $(1)/bin/python -m pip install --quiet --disable-pip-version-check
else
MAKE_VENV = uv venv --quiet --python "$(PYTHON)" $(1)
INSTALL = uv pip install --quiet --python $(1)/bin/python
endif

CHECK_CLIENTS_PYTHON := import sys; sys.version_info >= (3, 11) or sys.exit("make clients: pipecat needs Python 3.11 or later: make clean, then make ... PYTHON=python3.12")
CHECK_CLIENTS_NODE := process.exitCode = Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0
CHECK_PYTHON := import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or later is needed: make ... PYTHON=python3.12")

.PHONY: demo room livekit-server test clients can-have-clients matrix simulate fuzz soak bench lint format clean

demo: $(DEMO_STAMP)
	$(BIN)/python -m livekit_plugins_openai_ga.devtools.demo $(if $(WAV),--wav "$(WAV)") $(if $(LIVE),--live) $(if $(OUT),--out "$(OUT)")

# A LiveKit server, a worker and a caller in a room. OPEN=1: you are the caller.
room: livekit-server
	$(BIN)/python -m livekit_plugins_openai_ga.devtools.room $(if $(WAV),--wav "$(WAV)") $(if $(LIVE),--live) \
		$(if $(OUT),--out "$(OUT)") $(if $(AGENT),--agent "$(AGENT)") $(if $(OPEN),--open)

# The one on the PATH, else one built with Go into the user's cache.
livekit-server: $(DEMO_STAMP)
	$(BIN)/python -m livekit_plugins_openai_ga.devtools.livekit_server

# Most tests wait for a real network most of the time, so two processes are twice as fast; JOBS=0 for one.
JOBS ?= 2
test: $(STAMP) $(GATEWAY_STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

# The clients of tests/clients that want other packages than this plugin does. Without them `make test` skips their tests.
# They need Python 3.11 and Node 20 with npm.
clients: $(CLIENTS_STAMP)

# Whether `make clients` can work here; one sentence if not.
can-have-clients: | $(BIN)/python
	@$(BIN)/python -c '$(CHECK_CLIENTS_PYTHON)'
	@{ node -e '$(CHECK_CLIENTS_NODE)' && command -v npm; } > /dev/null 2>&1 || { \
		echo "make clients: OpenAI's client for Node needs Node 20 or later, and npm: install them (https://nodejs.org)" >&2; exit 1; }

# One wheel with every release of LiveKit Agents that it is made for; ROWS="oldest newest" for some of them.
matrix: $(STAMP)
	$(BIN)/python -m tests.matrix $(ROWS)

# Calls on a hostile network in virtual time, from seeds: COUNT of them from START on. `make test` plays a few.
COUNT ?= 20000
START ?= 0
simulate: $(STAMP)
	$(BIN)/python -m tests.simulation --count $(COUNT) --start $(START) --jobs 2
	$(BIN)/python -m tests.simulation --count $(COUNT) --start $(START) --jobs 2 --stt

# Frames with something wrong in them, from seeds, decoded. `make test` decodes a few thousand.
fuzz: COUNT = 1000000
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --count $(COUNT) --start $(START) --jobs 2

# Calls at the pace of speech, on a real network that breaks every few seconds.
MINUTES ?= 10
soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

# This plugin and the official one, side by side: one table, benchmarks/results.json, a plot for each figure.
# ONLY="uplink duplex" for some of them; QUICK=1 tries whether all of them work.
bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks.bench $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A Python that is too old, or has no pip, leaves no half-made .venv behind for the next run to trip over.
$(BIN)/python:
	@$(call MAKE_VENV,$(VENV)) && $(BIN)/python -c '$(CHECK_PYTHON)' || { rm -rf $(VENV); exit 1; }

# The demo needs the package and its emulator; the tests need the development tools as well.
$(DEMO_STAMP): pyproject.toml | $(BIN)/python
	$(call INSTALL,$(VENV)) -e ".[emulator]"
	touch $@

$(BENCH_STAMP): pyproject.toml | $(BIN)/python
	$(call INSTALL,$(VENV)) -e ".[bench]"
	touch $@

$(STAMP): pyproject.toml | $(BIN)/python
	$(call INSTALL,$(VENV)) -e ".[emulator,dev]"
	touch $@ $(DEMO_STAMP)

# The gateway that tests/gateways starts wants an older openai than the tests compare with, so it has a home of its own.
$(GATEWAY_STAMP): tests/gateways/requirements.txt | $(BIN)/python
	rm -rf $(GATEWAY)
	$(call MAKE_VENV,$(GATEWAY))
	$(call INSTALL,$(GATEWAY)) -r $<
	touch $@

$(CLIENTS_STAMP): tests/clients/requirements.txt tests/clients/package.json | can-have-clients
	rm -rf $(CLIENTS)
	$(call MAKE_VENV,$(CLIENTS))
	$(call INSTALL,$(CLIENTS)) -r $<
	mkdir $(CLIENTS)/js && cp tests/clients/package.json $(CLIENTS)/js
	npm install --prefix $(CLIENTS)/js --no-audit --no-fund --silent
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
