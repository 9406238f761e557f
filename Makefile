# Every target sets up .venv by itself the first time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# torchvision needs the torch it was built for, so the packages that build real architectures have an environment apart.
ZOO_VENV := .venv-zoo
ZOO_READY := $(ZOO_VENV)/ready
ZOO_PACKAGES := torch torchvision timm pytorchcv segmentation-models-pytorch ultralytics onnxscript
# Two workers with one thread each: more threads than cores make torch slower, not faster.
TEST_ENV := OMP_NUM_THREADS=1 PYTHONHASHSEED=random

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check format bench bench-quick fuzz mutants conformance pictures zoo zoo-check rtx-check clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,dev,openvino]'
	touch $(READY)

demo: $(READY) ## The whole line on generated scenes, in about three minutes on two cores.
	$(BIN)/trunkline demo --out runs/demo

test: $(READY) ## The default test suite.
	$(TEST_ENV) $(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow'

test-slow: $(READY) ## The longer checks too, and properties on examples that are new each time.
	$(TEST_ENV) HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -q -n 2 --dist loadfile

check: $(READY) ## Lint, format and strict types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Put the code in its standard form.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## All benchmarks, both sides interleaved (about half an hour; quiet machine).
	$(BIN)/python -m bench_suite

bench-quick: $(READY) ## The same with few rounds, to see that they run.
	$(BIN)/python -m bench_suite --quick

conformance: $(READY) ## Run ONNX's generated node cases and write docs/conformance.md (a few minutes).
	$(BIN)/python -m conformance

fuzz: $(READY) ## Fuzz the readers for hours on two cores; start it again to go on.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	OMP_NUM_THREADS=1 $(BIN)/python -m fuzz prototxt --runs 10000000
	OMP_NUM_THREADS=1 $(BIN)/python -m fuzz caffemodel --runs 10000000
	OMP_NUM_THREADS=1 $(BIN)/python -m fuzz onnx --runs 1000000
	OMP_NUM_THREADS=1 $(BIN)/python -m fuzz graphs --runs 50000

mutants: $(READY) ## Plant small faults and report which no test notices (hours; start it again to go on).
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mutation]'
	$(BIN)/python -m mutation $(MUTANTS)

pictures: $(READY) ## Draw what each method finds on generated scenes, for docs/img (some ten minutes).
	OMP_NUM_THREADS=1 $(BIN)/python -m docs_pictures

zoo: $(READY) ## Write the packaged backbones anew from their tables.
	$(BIN)/python -m trunkline.ingest.zoo.make

$(ZOO_READY): pyproject.toml zoo_check/constraints.txt
	$(PYTHON) -m venv $(ZOO_VENV)
	$(ZOO_VENV)/bin/python -m pip install --quiet --constraint zoo_check/constraints.txt $(ZOO_PACKAGES) --editable '.[cpu]'
	touch $(ZOO_READY)

zoo-check: $(READY) $(ZOO_READY) ## Export and read hundreds of real architectures, write docs/zoo.md (hours, 30 GB).
	OMP_NUM_THREADS=1 $(BIN)/python -m zoo_check

rtx-check: $(READY) ## Ask TensorRT-RTX whether it takes what every head and method writes, in each precision (95 MB, minutes; no GPU).
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[rtx]'
	$(TEST_ENV) $(BIN)/python -m pytest -q -n 2 tests/export/test_engine_rtx.py

clean: ## Remove what the targets made.
	rm -rf $(VENV) $(ZOO_VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
