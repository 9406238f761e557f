"""``python -m bench_suite``: run the benchmarks and print their tables."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench_suite.result import Result, table
from trunkline.bench.environment import Environment, read_environment
from trunkline.files.write import atomic_write, json_bytes

BENCHMARKS = (
    "cli_start",
    "layout_ranking",
    "compile_supermodel",
    "compile_export",
    "saved_memory",
    "shared_latency",
    "naive_export",
    "int8_latency",
    "horizontal_fusion",
    "search_reuse",
    "ingest_speed",
    "ingest_memory",
    "convert_memory",
    "busy_machine",
    "policy_step",  # last: it changes how its process allocates memory
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = _parser().parse_args(arguments)
    environment = read_environment()
    _print_title(environment, options.quick)
    results = {name: _run(name, options.quick) for name in options.only or BENCHMARKS}
    if options.json:
        _write(options.json, results, environment, options.quick)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench_suite", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes: only to see that all runs")
    names = f"one of {', '.join(BENCHMARKS)}; may be given again"
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=names)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    return parser


def _run(name: str, quick: bool) -> list[Result]:
    """Run one benchmark, which is the module of its name with a function ``run(quick)``."""
    module = importlib.import_module(f"bench_suite.{name}")
    print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
    start = time.perf_counter()
    results: list[Result] = module.run(quick)
    print(f"{table(results, judged=not quick)}\n({time.perf_counter() - start:.0f} s)", flush=True)
    return results


def _print_title(environment: Environment, quick: bool) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    print("Trunkline benchmarks" + (" (quick: sizes are small, so targets are shown but not judged)" if quick else ""))
    print(f"{environment.cpu}, {environment.cores} cores, load {environment.load}, {environment.system}\n{versions}")
    print("ratio: theirs / ours, unless the name says otherwise; its interval is at 99 %")


def _write(path: Path, results: dict[str, list[Result]], environment: Environment, quick: bool) -> None:
    content = {
        "quick": quick,
        "environment": environment.to_json(),
        "benchmarks": {name: [one.to_json(judged=not quick) for one in rows] for name, rows in results.items()},
    }
    atomic_write(path, json_bytes(content, indent=2))


if __name__ == "__main__":
    sys.exit(main())
