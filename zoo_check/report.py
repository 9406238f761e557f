"""The tables, by kind and by family, and the lists of what is not right, as Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from zoo_check.bounded import Json
from zoo_check.checked import Agreement, Checked, Verdict
from zoo_check.compare import LARGEST_ERROR
from zoo_check.exported import Exported

KINDS = ("cnn", "hybrid", "transformer")
TARGETS: Mapping[str, float] = {"cnn": 0.98, "hybrid": 0.90, "transformer": 0.90}
"""The share of the exports of each kind that must be all right."""

ABOUT = f"""\
# Exports of real architectures

Written by `python -m zoo_check` (`make zoo-check`); do not edit. [How it works](../zoo_check/README.md).

Networks that people use, built by the packages that people build them with, are exported to ONNX by both of torch's
exporters, at opsets old and new, with a fixed and a free batch. All weights and statistics are random, no two alike.
Each file is read. What was read must compute what onnxruntime computes from the file itself, within {LARGEST_ERROR:g}
of an output's largest magnitude: written by `convert`, as a batch of two and image by image, and as a twin in torch.
Where float32 cannot tell, float64 does (below). An export that is right for the traced image only is a failure of the
exporter's, and not counted.

- **count**: the number of trainable parameters is the number that torch counts in the module. It is compared where the
  exporter has kept every weight; in the others it folds BatchNormalization into convolutions, or computes with weights.
- **map**: the feature that `inspect` takes by default is the last map before the network pools, as the package that
  built it says. Where the file has that map only as a sequence of tokens, to find none is right too.
- **pyramid**: likewise the maps at strides 4 to 32, for a head that reads several; finer ones that the package does
  not name may stand before them.
- **all right**: read, with parity, and each of the three right where it is known.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One export, and what came of it."""

    facts: Exported
    checked: Checked


def document(rows: Sequence[Row], failed: Sequence[Exported], modules: Sequence[Row]) -> str:
    """Return the page.

    Args:
        rows: All exports that were checked.
        failed: The exporter's own failures, which are not counted.
        modules: Modules that were read without a file.
    """
    parts = [
        ABOUT,
        versions(rows),
        "## By kind\n",
        by_kind(rows),
        "## By exporter\n",
        by_exporter(rows),
        "## By family\n",
        by_family(rows),
        "## What is not read, and why\n",
        _lines([*reasons(rows), *unhelpful(rows)]),
        "## What is read, and not all right\n",
        _lines(disagreements(rows)),
        "## Judged in float64\n",
        "Here float32 decides nothing: random weights magnify rounding, or onnxruntime computes a file badly. So",
        "ONNX's own reference implementation computes these files in float64, and the twin does too.\\n",
        _lines(judged_in_float64(rows)),
        "## torch modules, read without a file\n",
        "One architecture of each family. The count is of the parameters that require a gradient.\n",
        by_kind(modules),
        _lines([*reasons(modules), *unhelpful(modules), *disagreements(modules)]),
        "## What torch's exporter cannot write\n",
        "These are not counted above.\n",
        _lines(f"- {facts.label}: {_cut(facts.error)}" for facts in failed),
    ]
    return "\n".join(parts).rstrip() + "\n"


def versions(rows: Sequence[Row]) -> str:
    """Return the sentence that names what was used."""
    made, read = _joined(row.facts.versions for row in rows), _joined(row.checked.versions for row in rows)
    states = {row.checked.state for row in rows}
    mixed = "" if len(states) < 2 else f" Results are of {len(states)} states of the sources: not all were tried again."
    return f"Exported with {made}; read with {read}.{mixed}\n"


def by_kind(rows: Sequence[Row]) -> str:
    """Return the table of the three kinds."""
    found = [(kind, [row for row in rows if row.facts.kind == kind]) for kind in KINDS]
    head = ["kind", "architectures", *_COLUMNS, "all right", "target"]
    lines = [
        [kind, _architectures(some), *_cells(some), _share(some), f"{TARGETS[kind]:.0%}"]
        for kind, some in found
        if some
    ]
    return _table(head, [*lines, ["**all**", _architectures(rows), *_cells(rows), _share(rows), ""]])


def by_exporter(rows: Sequence[Row]) -> str:
    """Return the table of exporters, opsets and batches."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        batch = "free batch" if row.facts.batch is None else "batch 1"
        groups.setdefault(f"{row.facts.exporter}, opset {row.facts.opset}, {batch}", []).append(row)
    return _table(
        ["exporter", *_COLUMNS, "all right"],
        [[name, *_cells(groups[name]), _share(groups[name])] for name in sorted(groups)],
    )


def by_family(rows: Sequence[Row]) -> str:
    """Return the table of families."""
    groups: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((KINDS.index(row.facts.kind), row.facts.family), []).append(row)
    lines = [
        [name, KINDS[kind], *_cells(groups[kind, name]), _share(groups[kind, name])] for kind, name in sorted(groups)
    ]
    return _table(["family", "kind", *_COLUMNS, "all right"], lines)


def reasons(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each reason why something is not read, the most frequent first, with those that met it."""
    groups: dict[tuple[str, str], list[Checked]] = {}
    for row in rows:
        if row.checked.verdict != "read":
            groups.setdefault((row.checked.verdict, _kind_of(row.checked.message)), []).append(row.checked)
    for (verdict, _), found in sorted(groups.items(), key=lambda item: -len(item[1])):
        first = found[0]
        place = f" at `{first.place}`" if first.place else ""
        advice = f" Advice: {first.advice}." if first.advice else ""
        labels = ", ".join(checked.label for checked in found)
        yield f"- **{verdict}, {len(found)}**: {_cut(first.message)}{place}.{advice} {labels}."


def unhelpful(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each refusal that does not say which file, where in it, or what to do."""
    for row in rows:
        checked = row.checked
        said = {"the file": checked.names_file, "the place": checked.place, "advice": checked.advice}
        lacking = [what for what, there in said.items() if not there]
        if checked.verdict == "refused" and lacking:
            yield f"- {checked.label}: the refusal lacks {' and '.join(lacking)}"


def disagreements(rows: Iterable[Row]) -> Iterator[str]:
    """Yield what is read with parity, but with another count or other maps than are right."""
    for row in rows:
        found = list(_differences(row)) if row.checked.verdict == "read" else []
        if found:
            yield f"- {row.checked.label}: {'; '.join(found)}"


def judged_in_float64(rows: Iterable[Row]) -> Iterator[str]:
    """Yield what could not be compared in float32, with both errors."""
    for row in rows:
        checked = row.checked
        if checked.verdict == "read" and checked.float32_error:
            ours = f"the twin in float64 is off by {checked.error:.1g}"
            yield f"- {checked.label}: the file in float32 is off by {checked.float32_error:.1g}, {ours}"


def totals(rows: Sequence[Row]) -> Json:
    """Return the shares by kind as plain JSON types."""
    found = {kind: [row for row in rows if row.facts.kind == kind] for kind in KINDS}
    return {
        kind: {
            "exports": len(some),
            "verdicts": dict(Counter(row.checked.verdict for row in some)),
            "all_right": sum(row.checked.is_right for row in some),
            "target": TARGETS[kind],
        }
        for kind, some in found.items()
    }


def missed(rows: Sequence[Row]) -> list[str]:
    """Return a line for each kind that misses its target, and for each wrong number and crash."""
    lines = [f"{row.checked.label}: {row.checked.verdict}" for row in rows if row.checked.verdict in ("wrong", "crash")]
    for kind, target in TARGETS.items():
        some = [row for row in rows if row.facts.kind == kind]
        if some and sum(row.checked.is_right for row in some) < target * len(some):
            lines.append(f"{kind}: {_share(some)} are all right; the target is {target:.0%}")
    return lines


_VERDICTS: tuple[Verdict, ...] = ("read", "refused", "not written", "wrong", "crash")
_AGREEMENTS: Mapping[str, Callable[[Checked], Agreement]] = {
    "count": lambda checked: checked.count,
    "map": lambda checked: checked.last_map,
    "pyramid": lambda checked: checked.several,
}
_COLUMNS = ("exports", *_VERDICTS, *_AGREEMENTS)


def _cells(rows: Sequence[Row]) -> list[str]:
    verdicts = Counter(row.checked.verdict for row in rows)
    read = [row.checked for row in rows if row.checked.verdict == "read"]
    agreements = []
    for agreement_of in _AGREEMENTS.values():
        known = [agreement_of(checked) for checked in read if agreement_of(checked) != "unknown"]
        agreements.append(f"{known.count('right')}/{len(known)}" if known else "")
    return [str(len(rows)), *(str(verdicts[verdict] or "") for verdict in _VERDICTS), *agreements]


def _architectures(rows: Sequence[Row]) -> str:
    return str(len({row.facts.architecture for row in rows}))


def _share(rows: Sequence[Row]) -> str:
    right = sum(row.checked.is_right for row in rows)
    return f"{right} ({right / len(rows):.1%})" if rows else ""


def _differences(row: Row) -> Iterator[str]:
    checked, facts = row.checked, row.facts
    if checked.count == "wrong":
        yield f"{checked.trainable:,} parameters train, torch counts {facts.parameters:,}"
    if checked.last_map in ("wrong", "none"):
        yield f"the map is {_map(checked.features)}, right is {_map(facts.last)}"
    if checked.several in ("wrong", "none"):
        yield f"the pyramid is {_maps(checked.pyramid)}, right is {_maps(facts.pyramid)}"


def _map(shape: Sequence[int] | None) -> str:
    return "×".join(map(str, shape)) if shape else "none"


def _maps(shapes: Sequence[Sequence[int]]) -> str:
    return " ".join(map(_map, shapes)) or "none"


def _kind_of(message: str) -> str:
    """Return a message without the names and numbers that differ from file to file."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|[-+\d.e]*\d[\d.,]*", "…", message)


def _cut(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 240 else line[:237] + "…"


def _joined(versions: Iterable[Mapping[str, str]]) -> str:
    found = {f"{name} {number}" for packages in versions for name, number in packages.items()}
    return ", ".join(sorted(found))


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"
