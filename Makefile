# Two commands: `make chat` answers a spoken question, `make test` checks everything.
# Each makes .venv and installs what it needs; the second time that takes no time.
# And `make compat` has stock clients talk to the server; it needs a network, node and npm.
# `make ray` installs Ray, some 250 MB, and has it make a corpus.

PYTHON ?= python3
BIN := .venv/bin

# Installs this checkout and the extras named in EXTRAS, with uv where there is one.
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "voiceglm needs Python 3.11 or newer: make PYTHON=python3.12")'
@test -x $(BIN)/python || $(PYTHON) -m venv .venv
@{ command -v uv >/dev/null && uv pip install --python $(BIN)/python -e '.$(EXTRAS)'; } \
	|| $(BIN)/python -m pip install --disable-pip-version-check -e '.$(EXTRAS)'
@touch $@
endef

.PHONY: chat test compat ray

chat: .venv/chat.stamp
	@$(BIN)/voiceglm chat

test: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q -m "not browser"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m browser

compat: .venv/test.stamp
	OMP_NUM_THREADS=1 $(BIN)/python compat/run.py

ray: .venv/ray.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/data_synth/test_ray.py

.venv/chat.stamp: pyproject.toml
	$(install)

.venv/test.stamp: EXTRAS := [synth,train,dev]
.venv/test.stamp: pyproject.toml
	$(install)

.venv/ray.stamp: EXTRAS := [synth,dev,ray]
.venv/ray.stamp: pyproject.toml
	$(install)
