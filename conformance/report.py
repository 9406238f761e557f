"""The table of passes by operator and opset, and the list of refusals, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version

from conformance.judge import ATOL, RTOL
from conformance.operators import CHOSEN, EXCLUDED
from conformance.run import COLUMNS, NEWEST, OWN, Tally, Trial

_ABOUT = f"""\
# Conformance to ONNX's node cases

Written by `python -m conformance` (`make conformance`) with {{versions}}; do not edit.

ONNX generates cases for its operators: one node, its operands, and what it must compute. Each case of an operator that
networks of convolutions use is read by the passes that read whole files, computed by the operator's trainable twin, and
compared in type, shape and value. Values agree within {RTOL:g} relative and {ATOL:g} absolute; ONNX's own runner takes
the same relative and 1e-7 absolute tolerance. What was read is also given to onnxruntime, as the ONNX model that would
be exported, and compared in the same way wherever onnxruntime knows the types.

A case is tried at the opset it was generated for (*{OWN}*) and at each other opset of the table at which ONNX's checker
accepts the node and onnxruntime, or ONNX's reference implementation, computes the expected numbers. It is tried with
all operands as inputs, and with all but the first stored in the model, which is how networks have them: a pass in one
form counts, a wrong number or a crash counts in either. What does not pass is refused by name, before anything is
computed.
"""


def document(floats: Mapping[str, Tally], others: Mapping[str, Tally]) -> str:
    """Return the page for the tallies of floating-point cases and of all others, by operator."""
    names = ("onnx", "onnxruntime", "torch", "numpy")
    about = _ABOUT.format(versions=", ".join(f"{name} {version(name)}" for name in names))
    parts = [
        about,
        "## Floating-point cases: passed of valid\n",
        table(floats),
        "## Integers, truth values and empty tensors: passed of valid\n",
        "A Graph computes on floating-point numbers; these cases are looked at for wrong numbers only.\n",
        "\n".join([*_head(), *_sums(others)]) + "\n",
        "## What is refused, and why\n",
        "\n".join(_refusals(floats)) + "\n",
        "## What is not looked at\n",
        "\n".join(f"- {reason}: {', '.join(names)}." for reason, names in EXCLUDED.items()),
    ]
    return "\n".join(parts) + "\n"


def table(tallies: Mapping[str, Tally]) -> str:
    """Return the table of one row for each operator, and the sums below."""
    rows = [_row(name, tallies[name]) for names in CHOSEN.values() for name in names if name in tallies]
    return "\n".join([*_head(), *rows, *_sums(tallies)]) + "\n"


def faults(tallies: Mapping[str, Tally]) -> list[str]:
    """Return a line for each wrong result and each crash: there must be none."""
    bad = (trial for tally in tallies.values() for trial in tally.failed if trial.outcome.kind in ("wrong", "crash"))
    return [described(trial) for trial in bad]


def described(trial: Trial) -> str:
    """Return one trial in a line."""
    return f"{trial.case.name} at opset {trial.opset}: {trial.outcome.kind}: {trial.outcome.detail}"


def _head() -> list[str]:
    titles = [f"{column} (newest)" if column == NEWEST else str(column) for column in COLUMNS]
    return ["| operator | " + " | ".join(titles) + " |", "| --- |" + " ---: |" * len(titles)]


def _row(name: str, tally: Tally) -> str:
    cells = (f"{tally.passed(column)}/{tally.total(column)}" if tally.total(column) else "" for column in COLUMNS)
    return f"| {name} | " + " | ".join(cells) + " |"


def _sums(tallies: Mapping[str, Tally]) -> Iterator[str]:
    passed = [sum(tally.passed(column) for tally in tallies.values()) for column in COLUMNS]
    total = [sum(tally.total(column) for tally in tallies.values()) for column in COLUMNS]
    yield _line("all", [f"{a}/{b}" for a, b in zip(passed, total, strict=True)])
    yield _line("share", [f"{a / b:.1%}" if b else "" for a, b in zip(passed, total, strict=True)])
    for kind in ("wrong", "crash"):
        counts = [sum(tally.counts.get(c, Counter())[kind] for tally in tallies.values()) for c in COLUMNS]
        yield _line(kind, [str(count) for count in counts])


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| **{name}** | " + " | ".join(f"**{cell}**" for cell in cells) + " |"


def _refusals(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """Yield each reason once, with the cases that met it first."""
    for name, tally in sorted(tallies.items()):
        reason_of = {trial.case.name: trial.outcome.detail for trial in reversed(tally.failed)}
        cases: dict[str, list[str]] = {}
        for case, reason in sorted(reason_of.items()):
            cases.setdefault(reason.removeprefix(f"{name}: "), []).append(case.removeprefix("test_"))
        for reason, names in cases.items():
            yield f"- **{name}** ({', '.join(names)}): {reason}"
