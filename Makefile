# `make demo` and `make test` set up all they need. PYTHON names the Python to make the environment
# with, VENV its folder:  make test PYTHON=python3.12 VENV=/scratch/mmkd
PYTHON ?= python3
VENV ?= .venv
# Two workers, one for each core that the suite is made for; a file's tests share what they set up.
PYTEST_ARGS ?= -n 2 --dist loadfile
DEMO_ARGS ?=
FLOWNAS ?= work_dirs/flownas

PY := $(VENV)/bin/python
# The environment keeps the Python it was made with; only one that was asked for is compared.
ASKED_PYTHON := $(if $(filter file default undefined,$(origin PYTHON)),,$(PYTHON))

SOURCES := mmkd_ext configs tools tests setup.py

.PHONY: help demo demo-dense demo-flownas bench-dense test test-all env lint clean
help:
	@echo "make demo         train a teacher, a student alone and a distilled student on real digits"
	@echo "make demo-dense   the same for detection, instance and semantic segmentation, shortened"
	@echo "make demo-flownas train a super-network of optical flow, search in it, export, test"
	@echo "make bench-dense  that with three seeds and in full; goes on where it stopped"
	@echo "make test         lint and the default tests;  make test-all: the slow ones, too"
	@echo "make env          only the environment in VENV=$(VENV);  make lint;  make clean"

demo: env
	"$(PY)" -m mmkd_ext demo $(DEMO_ARGS)

demo-flownas: env
	rm -rf "$(FLOWNAS)/supernet" "$(FLOWNAS)/search" "$(FLOWNAS)/subnet"
	"$(PY)" -m mmkd_ext train flow_digits_flownas_supernet.py --work-dir "$(FLOWNAS)/supernet"
	"$(PY)" -m mmkd_ext test flow_digits_flownas_search.py "$(FLOWNAS)/supernet/epoch_6.pth" \
	    --work-dir "$(FLOWNAS)/search"
	"$(PY)" -m mmkd_ext flownas-export flow_digits_flownas_supernet.py "$(FLOWNAS)/supernet/epoch_6.pth" \
	    --genotype "$(FLOWNAS)/search/best_genotype.json" --out-dir "$(FLOWNAS)/subnet" --name subnet \
	    --input-size 192 256
	"$(PY)" -m mmkd_ext test "$(FLOWNAS)/subnet/subnet.py" "$(FLOWNAS)/subnet/subnet.pth" \
	    --work-dir "$(FLOWNAS)/subnet/test"

demo-dense: env
	"$(PY)" -m mmkd_ext demo --task dense --seeds 1 --scale-epochs 0.6 $(DEMO_ARGS)

bench-dense: env
	"$(PY)" -m mmkd_ext demo --task dense --seeds 3 --resume --work-dir work_dirs/bench $(DEMO_ARGS)

test: lint
	"$(PY)" -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: lint
	"$(PY)" -m pytest $(PYTEST_ARGS)

env:
	@command -v "$(PYTHON)" > /dev/null || { \
	    echo "There is no $(PYTHON). Name a Python 3.10, 3.11 or 3.12: make env PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" tools/setup_env.py --venv "$(VENV)" --asked-python "$(ASKED_PYTHON)"

lint: env
	"$(PY)" -m ruff check $(SOURCES)
	"$(PY)" -m ruff format --check $(SOURCES)
	"$(PY)" -m codespell_lib $(SOURCES) requirements docs $(wildcard *.md)

# Results in work_dirs/ and the environment stay.
clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -path "./$(VENV)" -prune -o -name ".venv*" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
