"""What a table with 8-bit models says of a processor that has no instructions for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

WITHOUT_DOT = {
    "x86": "this processor has no VNNI: int8 gains less, and 16-bit sums may overflow",
    "arm": "this processor has no dot product of 8-bit integers: int8 gains less",
}


def int8_note(instructions: Json | None) -> str:
    """Return the note by what was recorded of a processor; empty where it has them, or where that is not known.

    >>> int8_note({"family": "arm", "int8_dot": False})
    'this processor has no dot product of 8-bit integers: int8 gains less'
    """
    if not instructions or instructions.get("int8_dot") is not False:
        return ""
    return WITHOUT_DOT.get(instructions.get("family", ""), WITHOUT_DOT["arm"])


def int8_note_of(bench: Json) -> str:
    """Return the note on a measurement; empty where none of its models is known to compute in 8 bits."""
    if not any(is_int8(model) for model in bench["models"]):
        return ""
    return int8_note((bench.get("environment") or {}).get("instructions"))


def is_int8(model: Json) -> bool:
    """Return whether a model of a measurement is said to compute in 8-bit integers."""
    # The program of a bundle writes no more of this than its format.
    return bool(model.get("quantised")) or "int8" in str(model.get("format") or "")
