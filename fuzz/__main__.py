"""``python -m fuzz TARGET``: fuzz a reader until a number of inputs is done; start it again to go on."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import signal
import sys
from pathlib import Path

from fuzz.covered import covered
from fuzz.driver import CHUNK, Driver, Engine
from fuzz.targets import TARGETS


def main() -> int:
    """Parse the arguments and work; 1 where there are findings, 130 where it was stopped."""
    options = _options()
    target = TARGETS[options.target]
    if options.coverage:
        return _coverage(options.target, options.seed, options.coverage)
    os.nice(options.nice)
    engine: Engine = options.engine or ("guided" if target.guided and _has_atheris() else "plain")
    driver = Driver(
        target,
        options.out,
        engine=engine,
        seed=options.seed,
        workers=options.workers,
        chunk=min(CHUNK, -(-options.runs // options.workers)),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its workers must not outlive it
    try:
        state = driver.run(options.runs)
    except KeyboardInterrupt:
        sys.stderr.write(f"stopped after {driver.state.runs:,} runs; start it again to go on\n")
        return 130
    found = driver.findings.list()
    result = {
        "target": target.name,
        "engine": engine,
        "seed": options.seed,
        "runs": state.runs,
        "accepted": state.accepted,
        "seconds": round(state.seconds, 1),
        "runs_a_second": round(state.runs / max(state.seconds, 1e-9), 1),
        "workers": options.workers,
        "python": platform.python_version(),
        "findings": found,
    }
    with (options.out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz a reader. Start it again to go on.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=100_000, help="inputs in all, those of earlier starts too")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side")
    parser.add_argument("--seed", type=int, default=0, help="of everything random; another one is another stream")
    parser.add_argument("--engine", choices=("guided", "plain"), help="guided needs atheris; what fits if absent")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="state, corpus, findings, results.jsonl")
    parser.add_argument("--nice", type=int, default=10, help="how much to yield to other programs")
    parser.add_argument("--coverage", type=int, metavar="N", help="only say which lines the first N inputs reach")
    return parser.parse_args()


def _has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def _coverage(name: str, seed: int, count: int) -> int:
    lines = covered(TARGETS[name], seed, count)
    for path, (reached, known) in lines.items():
        sys.stdout.write(f"{100 * reached / known:5.1f} %  {reached:4} of {known:4}  {path}\n")
    reached, known = (sum(column) for column in zip(*lines.values(), strict=True))
    sys.stdout.write(f"{100 * reached / known:5.1f} %  {reached:4} of {known:4}  in all, with {count:,} inputs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
