# The two commands of the README are `make demo` and `make test`; everything else serves them.

PYTHON ?= python3
# Most tests wait for engines and processes most of the time, so that two cores carry four.
WORKERS ?= 4
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RAY := $(VENV)/ray
RAY_STAMP := $(RAY)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo registry image manifests test soak chaos fuzz corpus check bench format clean

help:  ## Show what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: $(STAMP)  ## Make .venv with Longshore and its tools in it
	@deploy/dev/setup.sh

$(STAMP): pyproject.toml deploy/dev/setup.sh
	@deploy/dev/setup.sh --python
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Longshore and its tools into $(VENV)"
	@$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -qq --editable '.[postgres,kubernetes]' --group dev
	@touch $@

demo: setup  ## Train, pack, push, register, serve and call a real model, then clean up
	@$(BIN)/python examples/demo.py

registry: setup  ## Run an image registry on localhost:5001 until Ctrl-C
	@$(BIN)/python examples/parts/oci_registry.py --port 5001

image: setup  ## Build the platform's own image and push it: make image IMAGE=registry.example.com/longshore:0.1.0
	@test -n "$(IMAGE)" || { echo "Say where to push it: make image IMAGE=registry.example.com/longshore:0.1.0" >&2; exit 2; }
	@$(BIN)/python deploy/image.py "$(IMAGE)"

manifests: $(STAMP)  ## Render the Helm chart for those who install with kubectl alone
	@{ echo "# Rendered by make manifests from deploy/helm/longshore; change that."; \
		$(BIN)/helm template longshore deploy/helm/longshore --namespace longshore \
		--values deploy/kubernetes/values.yaml; } > deploy/kubernetes/longshore.yaml

# What failed beside others is named and runs again alone; only what fails twice fails. On a busy
# machine a real engine is late now and then, and a thousand tests in a row tell of that day only.
test: $(STAMP)  ## Run all tests, the real parts included
	@deploy/dev/setup.sh --tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile || deploy/dev/again.sh $$? $(BIN)/python

soak: $(STAMP)  ## Ten million requests through a router whose memory must stay flat
	@LONGSHORE_SOAK=$${LONGSHORE_SOAK:-10000000} $(BIN)/python -m pytest -s tests/soak

chaos: $(STAMP)  ## Load for 20 minutes while much goes wrong; writes docs/reliability.md
	@deploy/dev/setup.sh --tests
	@LONGSHORE_CHAOS=$${LONGSHORE_CHAOS:-1200} LONGSHORE_CHAOS_PAGE=1 $(BIN)/python -m pytest -s tests/chaos

fuzz: $(STAMP)  ## Fuzz what parses requests, answers and image layers, for FUZZ_SECONDS (300)
	@$(BIN)/python tests/fuzz/run.py $${FUZZ_SECONDS:-300}

corpus: $(STAMP)  ## Measure what is told of images with known contents; writes docs/hardware.md
	@LONGSHORE_CORPUS=1 LONGSHORE_CORPUS_PAGE=1 $(BIN)/python -m pytest -s tests/hardware/test_corpus.py

check: $(STAMP)  ## Types, style, and who may import whom
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy src tests examples bench deploy
	@$(BIN)/lint-imports --no-cache

bench: $(STAMP) $(RAY_STAMP)  ## Measure the request path beside nginx, Ray Serve and others; writes docs/performance.md
	@$(BIN)/python -m bench --ray-python $(RAY)/bin/python

# Apart from Longshore's own packages, which it would hold to older ones.
$(RAY_STAMP): | $(STAMP)
	@echo "Installing Ray Serve, which is only measured, into $(RAY)"
	@$(PYTHON) -m venv $(RAY)
	@$(RAY)/bin/python -m pip install -qq --upgrade 'pip>=25.1'
	@$(RAY)/bin/python -m pip install -qq 'ray[serve]>=2.60,<3'
	@touch $@

format: $(STAMP)  ## Put the code into shape
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean:  ## Remove what was made
	@rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache
