"""``python -m conformance``: run ONNX's node cases and write the table of what passes to docs/conformance.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from conformance.cases import collect
from conformance.operators import chosen
from conformance.report import described, document, faults, table
from conformance.run import COLUMNS, OWN, Tally, trials
from trunkline.files.write import atomic_write

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conformance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns 1 where a result is wrong or a crash, else 0."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    columns = (OWN,) if options.own else COLUMNS
    floats, others = _tally(options.only or chosen(), columns, talkative=bool(options.only))
    if options.only or options.own:
        _say(table(floats))
    else:
        atomic_write(PAGE, document(floats, others).encode())
        _say(f"wrote {PAGE}")
    bad = [*faults(floats), *faults(others)]
    _say("\n".join(bad) or "nothing is wrong, nothing crashed")
    return int(bool(bad))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--only", action="append", choices=chosen(), metavar="OPERATOR", help="print this one only")
    parser.add_argument("--own", action="store_true", help="print the cases at their own opset only")
    return parser


def _tally(
    names: Sequence[str], columns: Sequence[str | int], *, talkative: bool
) -> tuple[dict[str, Tally], dict[str, Tally]]:
    """Return the tallies of floating-point cases and of the others, by operator."""
    cases = collect()
    floats: dict[str, Tally] = {}
    others: dict[str, Tally] = {}
    for name in names:
        for trial in trials(cases.get(name, []), columns):
            (floats if trial.case.is_float else others).setdefault(name, Tally()).add(trial)
            if talkative and trial.outcome.kind != "pass":
                _say(described(trial))
    return floats, others


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
