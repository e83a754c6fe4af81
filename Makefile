# Every habit is one command; each does all of its own set-up. See CONTRIBUTING.md.
.PHONY: lock demo test lint format bench scale bench-seal fuzz torture attacks honest docs clean setup system installers

VENV := .venv
BIN := $(VENV)/bin
# Programs that the tests start would compile the whole house every time.
export PYTHONDONTWRITEBYTECODE :=
STAMP := $(VENV)/.installed
INSTALLERS := .installers

demo: $(STAMP)  ## the whole story in a minute, ending in attacks that fail
	$(BIN)/assay demo

test: $(STAMP) system installers  ## every test
	$(BIN)/pytest -n auto --dist loadfile $(PYTEST_ARGS)

lint: $(STAMP)  ## formatting, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

attacks: $(STAMP) system  ## the table of attacks, each cell from a test that ran
	$(BIN)/pytest -q -rN --attack-table tests/attacks

torture: $(STAMP) system  ## faults without end: make torture SECONDS=3600 SEED=1
	cd tests && nice ../$(BIN)/python -m faults.torture --seconds $(or $(SECONDS),3600) $(if $(SEED),--seed $(SEED))

honest: $(STAMP)  ## ten thousand random honest operations, and not one false refusal
	HONEST_OPERATIONS=10000 $(BIN)/pytest -q -s -n 0 tests/witness/test_honest.py

bench: $(STAMP)  ## speed, side by side with peers on this machine
	sh scripts/system-packages bench
	$(BIN)/python bench/run.py

SIZES := 10000 100000 1000000 8000000
scale: $(STAMP)  ## the engine at SIZES files: import, open, uploads, memory, clients; hours and 30 GB for the largest
	$(BIN)/python bench/scale.py $(SIZES)
	$(BIN)/python bench/scale.py --signed-only $(SIZES)

bench-seal: $(STAMP)  ## one sealing ceremony of FILES files: time, memory, sizes of roles
	$(BIN)/python bench/seal.py $(FILES)

FUZZ_SECONDS := 600
FUZZ := wheel tar metadata entry-points form content-type
fuzz: $(STAMP)  ## every parser of uploads for FUZZ_SECONDS each, coverage-guided; what is found stays in .fuzz
	for target in $(FUZZ); do \
		mkdir -p .fuzz/$$target && PYTHONPATH=src:tests $(BIN)/python tests/fuzz/fuzz_uploads.py $$target .fuzz/$$target \
			-max_total_time=$(FUZZ_SECONDS) -max_len=20000 -artifact_prefix=.fuzz/$$target- || exit 1; \
	done

# Without the cloud extras: securesystemslib loads every cloud library it finds, at each start, for more than a second.
EXTRAS := index hsm provenance sbom
lock: $(STAMP)  ## resolve the development environment again
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --python-version 3.11 \
		$(EXTRAS:%=--extra %) --group test --group lint --group bench pyproject.toml -o requirements/dev.txt
	echo uv | $(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 - -o requirements/uv.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --python-version 3.11 \
		requirements/installers.in -o requirements/installers.txt

setup: $(STAMP)

$(STAMP): pyproject.toml requirements/dev.txt scripts/make-venv
	sh scripts/make-venv $(VENV)
	touch $@

installers: $(STAMP)  ## pip, poetry, pdm and the others that the tests start
	sh scripts/make-installers $(INSTALLERS)

system: $(STAMP)
	sh scripts/system-packages test

clean:
	rm -rf $(VENV) $(INSTALLERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis
