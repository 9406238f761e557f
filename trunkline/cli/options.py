"""Options that several commands share, with one help text each, and what is read from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.graph.branching_rule import Branching, MergeDirection
from trunkline.limits import Limits
from trunkline.text import quoted

_NAMES = tuple(field.name for field in fields(Limits))
_VALUE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][0-9]{1,2})?)\s*(?:([KMGT])(i)?)?B?", re.ASCII)
# ONNX stores sizes as int64, so no model can need a larger limit.
_LARGEST = 2**63 - 1
_POWERS = {None: 0, "K": 1, "M": 2, "G": 3, "T": 4}

# cyclopts adds `--no-json`, and `--empty-allow` for a list, to everything that has no `negative=""`.
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")]
InputSize = Annotated[str | None, Parameter(name="--input-size", help="Image size, H,W or C,H,W; default the file's.")]
Model = Annotated[str, Parameter(help="Prototxt or ONNX file, or zoo:NAME for a packaged backbone.")]
Weights = Annotated[Path | None, Parameter(name="--weights", help="Caffemodel or safetensors file with the weights.")]
AllowMissing = Annotated[
    bool, Parameter(name="--allow-missing", negative="", help="Weights the file lacks start untrained.")
]
Out = Annotated[Path, Parameter(help="File to write.")]
Fold = Annotated[
    bool,
    Parameter(name="--fold", help="Fold BatchNormalization into convolutions, and store weights that are computed."),
]
FreeSize = Annotated[
    bool,
    Parameter(
        name="--free-size", negative="", help="Leave the image's height and width free, compared at several sizes."
    ),
]
ParityInputs = Annotated[int, Parameter(name="--parity-inputs", help="Seeded inputs to compare on, at each size.")]
Pipeline = Annotated[Path, Parameter(help="Pipeline file (TOML).")]
RunFolder = Annotated[Path, Parameter(name="--out", help="The run's folder; run again, it goes on from there.")]
Quiet = Annotated[bool, Parameter(negative="", help="Show no progress.")]
Features = Annotated[
    str | None,
    Parameter(name="--features", help="End the network at these values or nodes, as NAME,NAME,…"),
]
BranchMerge = Annotated[
    MergeDirection,
    Parameter(name="--branch-merge", help="Which neighbour takes in what has no layers between two branching points."),
]
BranchAfter = Annotated[
    str | None, Parameter(name="--branch-after", help="Tasks may part after these values or nodes too: NAME,NAME,…")
]
NoBranchAfter = Annotated[
    str | None, Parameter(name="--no-branch-after", help="Tasks may not part after these values or nodes.")
]
Allow = Annotated[
    list[str] | None,
    Parameter(
        name="--allow",
        negative="",
        help=f"Raise a limit for a model you trust, as NAME=VALUE: macs=1e15, file_bytes=8GiB. Repeatable. "
        f"Limits: {', '.join(_NAMES)}.",
    ),
]


def branching_of(merge: MergeDirection, after: str | None, not_after: str | None) -> Branching:
    """Return where tasks may part.

    Raises:
        InvalidConfig: A name is empty.
    """
    return Branching(merge, names_of(after, "--branch-after"), names_of(not_after, "--no-branch-after"))


def features_of(text: str | None) -> tuple[str, ...]:
    """Return the names that ``--features`` lists, without repetitions.

    Raises:
        InvalidConfig: A name is empty.

    >>> features_of("layer1, layer4")
    ('layer1', 'layer4')
    """
    return names_of(text, "--features")


def names_of(text: str | None, option: str) -> tuple[str, ...]:
    """Return the names that an option lists, without repetitions.

    Raises:
        InvalidConfig: A name is empty.
    """
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InvalidConfig(f"{option} {quoted(text[:60])} holds an empty name", advice="for example layer1,layer4")
    return tuple(dict.fromkeys(names))


def limits_of(allow: Sequence[str] | None) -> Limits:
    """Return the limits with those that ``--allow`` names replaced.

    Raises:
        InvalidConfig: A name or value that is not one; all of them at once.

    >>> limits = limits_of(["macs=1e15", "file_bytes=8GiB"])
    >>> limits.macs == 10**15, limits.file_bytes == 8 * 2**30
    (True, True)
    """
    raised: dict[str, int] = {}
    problems: list[Problem] = []
    for entry in allow or ():
        name, _, text = entry.partition("=")
        value = number_of(text)
        if name not in _NAMES:
            advice = did_you_mean(name, _NAMES) or f"limits are {', '.join(_NAMES)}"
            problems.append(Problem(f"there is no limit {quoted(name[:40])}", "--allow", advice))
        elif value is None:
            advice = f"give a whole number from 1 on: --allow {name}=2e9, or 8GiB"
            problems.append(Problem(f"{quoted(text[:40])} is no value for {name}", "--allow", advice))
        else:
            raised[name] = value
    if problems:
        raise InvalidConfig(problems)
    return Limits(**raised)


def number_of(text: str) -> int | None:
    """Return the whole number that a text gives, such as ``2e9`` or ``8GiB``; ``None`` where it is no number."""
    found = _VALUE.fullmatch(text.strip().replace("_", "").replace(",", ""))
    if found is None:
        return None
    digits, prefix, binary = found.groups()
    unit = 1024 if binary else 1000
    scale = unit ** _POWERS[prefix]
    # Whole numbers stay whole: a float holds only 53 bits, and a limit may have 63.
    value = int(digits) * scale if digits.isdigit() else float(digits) * scale
    if value != int(value) or not 1 <= value <= _LARGEST:
        return None
    return int(value)
