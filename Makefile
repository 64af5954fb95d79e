# edgeseg: every job of the repository is one word. Needs a python3 (3.10 to 3.13) and make; `make help` lists the words.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
EXTRAS := train,export,openvino,tensorrt-rtx,ros,web,dev
# One environment, filled in two steps: the demo needs a tenth of what training does.
LIGHT := $(VENV)/.installed-light
FULL := $(VENV)/.installed-full
INPUTS := setup.py pyproject.toml constraints.txt
# Debian packages that real tests need: what the cv2 wheel with windows links to, a display to open one on, what fetches
# TensorRT, GStreamer for Python (a real RTSP server, and the sources gst: and csi:), a browser that opens the web page, and
# for Jetson's side a compiler for its architecture and what runs its programs.
# python3-gi loads only into a Python of Debian's own version (elsewhere those tests are skipped); the set "bad" has the
# H.264 decoder, "ugly" the encoder.
SYSTEM_PACKAGES := libgl1 libglib2.0-0 libxcb1 libx11-6 libxext6 libsm6 libice6 xvfb maven chromium \
  g++-aarch64-linux-gnu qemu-user-static \
  python3-gi gir1.2-gst-plugins-base-1.0 gir1.2-gst-rtsp-server-1.0 \
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly

export UV_PYTHON_DOWNLOADS := never
export UV_HTTP_TIMEOUT ?= 300
export UV_LINK_MODE ?= hardlink
ifdef CI
# Turing, Orin, Hopper: what differs most, in a third of the time. Of Jetson's side Orin and one TensorRT.
export EDGESEG_ARCHITECTURES ?= 75 87 90
AARCH64_ARCHITECTURES ?= 87
AARCH64_TENSORRT ?= 10.15
endif
AARCH64_ARCHITECTURES ?= 87 110
AARCH64_TENSORRT ?= 10.6 10.15 11.2
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

INSTALL = $(UV) pip install --quiet --python $(BIN)/python --constraints constraints.txt

.DELETE_ON_ERROR:
.PHONY: help setup demo test lint type format bench wheel test-pythons tensorrt cuda ext test-ext plugin-matrix test-aarch64 test-nvrtc proof system-packages constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

setup: $(FULL) ## make .venv with everything that development needs

demo: $(if $(wildcard $(FULL)),$(FULL),$(LIGHT)) ## segment the clip that ships, on the CPU, into demo.mp4
	@show=$$($(BIN)/python -c 'from edgeseg.runtime.sinks.window import why_no_window as w; print("" if w() else "--show")'); \
	$(BIN)/edgeseg run demo --save demo.mp4 $$show

# Side by side what downloads and what computes; tests alone, since some of them look at the clock.
test: $(FULL) ## everything CI checks: lint, types, all tests, and those without torch on each Python
	@$(MAKE) --no-print-directory -j4 -Oline lint type $(if $(CI),tensorrt test-nvrtc)
	$(if $(CI),@$(MAKE) --no-print-directory test-ext test-aarch64)
	$(BIN)/python -m pytest
	@EDGESEG_TESTED=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])') \
	  $(MAKE) --no-print-directory test-pythons

lint: $(FULL) ## ruff: mistakes and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(FULL) ## let ruff lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(FULL) ## mypy, strict
	$(BIN)/mypy

bench: $(FULL) ## time the shipped model on every backend of this machine, into benchmarks/results/bench.json
	@mkdir -p benchmarks/results
	$(BIN)/edgeseg bench --model person --backend all --precision all --json benchmarks/results/bench.json

wheel: $(FULL) ## build the wheel, install it into a fresh environment, run its tests from another directory
	@sh tests/wheel.sh $(UV) $(BIN)/python

test-pythons: $(FULL) ## the same for each Python from 3.10 to 3.13 found here
	@sh tests/wheel.sh $(UV) all

tensorrt: $(foreach version,$(or $(VERSION),10.6 10.15 11.2),.tensorrt/$(version)/complete) ## full TensorRT into .tensorrt, to build against without a GPU; VERSION=10.6, 10.15 or 11.2 for one alone

.tensorrt/%/complete: | $(FULL)
	@sh tests/tensorrt.sh $(UV) $(BIN)/python $* .tensorrt/$*

cuda: $(UV) ## nvcc and CMake as wheels into .cuda, where the machine has none
	@sh cpp_ext/toolchain.sh $(UV) $(BIN)/python .cuda

ext: cuda ## the TensorRT plugin with its CUDA kernels, build/libedgeseg_plugin.so; EDGESEG_ARCHITECTURES=87 for one GPU
	@sh cpp_ext/build.sh plugin $(abspath $(BIN)/python) .cuda

test-ext: cuda $(FULL) ## tests of kernels and plugin: on the CPU under sanitizers, and on the GPU where there is one
	@sh cpp_ext/build.sh tests $(abspath $(BIN)/python) .cuda

plugin-matrix: cuda tensorrt ## the plugin over each of several headers, loaded into each TensorRT of make tensorrt
	@sh cpp_ext/build.sh matrix $(abspath $(BIN)/python) .cuda
	@$(BIN)/python cpp_ext/tests/plugin_matrix.py build/ext .tensorrt --json build/plugin-matrix.json

test-aarch64: cuda $(FULL) ## Jetson's side without a Jetson: cross-compiled; tests, TensorRT's registry and the SDK under qemu
	@for version in $(AARCH64_TENSORRT); do \
	  sh tests/tensorrt.sh $(UV) $(BIN)/python $$version .tensorrt/arm64-$$version arm64 || exit 1; done
	@EDGESEG_ARCHITECTURES="$(AARCH64_ARCHITECTURES)" sh cpp_ext/aarch64.sh $(UV) $(abspath $(BIN)/python) .cuda \
	  $(AARCH64_TENSORRT:%=.tensorrt/arm64-%)
	@sh tests/aarch64.sh $(UV) $(BIN)/python .cuda/aarch64-python

test-nvrtc: ext $(FULL) ## the kernels compiled with JetPack 6's CUDA 12.6, by NVRTC
	@sh cpp_ext/nvrtc.sh $(UV) $(BIN)/python .cuda

proof: $(FULL) ## all of the above for all GPUs, into benchmarks/results/proof.json: what a change to cpp_ext is proved with
	@$(BIN)/python benchmarks/proof.py

system-packages: ## Debian packages that real tests need (as root)
	@command -v dpkg-query >/dev/null || { echo "error: no Debian system: dpkg-query is missing. Install what" \
	  "$(SYSTEM_PACKAGES) stand for by hand." >&2; exit 1; }
	@missing=; for name in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$name"; done; \
	if [ -z "$$missing" ]; then echo "system packages: all there"; exit 0; fi; \
	[ "$$(id -u)" = 0 ] || { echo "error: only root installs system packages: missing are$$missing." \
	  "Run sudo make system-packages." >&2; exit 1; }; \
	echo "system packages for cv2 windows, a display to test them on, make tensorrt, GStreamer, a browser, and make test-aarch64:$$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing

constraints: $(UV) ## resolve constraints.txt anew
	@sh tests/constraints.sh $(UV)

clean: ## remove environments and what was built
	rm -rf $(VENV) .tensorrt .cuda build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache demo.mp4

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || { echo "error: no fitting" \
	  "Python: $$($(PYTHON) -V 2>&1). Give one from 3.10 to 3.13: make PYTHON=python3.11 $(MAKECMDGOALS)." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: this Python cannot make environments:" \
	  "$$(command -v $(PYTHON)). Install its venv module (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# A wheel of cv2 with windows needs libGL and friends of the system; where they are missing, its twin without does.
define need-cv2
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { echo "cv2 cannot be loaded here: taking opencv-python-headless" \
	  "(no windows; make system-packages has what the other needs)"; \
	$(UV) pip uninstall --quiet --python $(BIN)/python opencv-python; $(INSTALL) opencv-python-headless; }
endef

$(LIGHT): $(INPUTS) | $(UV)
	@echo "installing what running a model needs"
	@$(INSTALL) --editable .
	$(need-cv2)
	@touch $@

$(FULL): $(INPUTS) | $(UV)
	@echo "installing what development needs ($(EXTRAS))"
	@$(INSTALL) --editable '.[$(EXTRAS)]'
	$(need-cv2)
	@touch $(LIGHT) $@
