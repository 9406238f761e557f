"""How a model file is read: one value for all that read one, from the command line down to the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from trunkline.graph.branching_rule import DEFAULT_BRANCHING, Branching
from trunkline.graph.input_size import InputSize
from trunkline.limits import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a network, besides where it is.

    Every function that reads one takes these as ``options``, or each by its name, as :class:`ReadKeywords`.

    Attributes:
        input_size: Height and width in pixels, or channels, height and width, in place of the file's own; a Graph and
            a torch module keep theirs.
        features: Values or nodes to end at, in place of the file's outputs; what follows need not be readable.
        weights: A caffemodel or safetensors file whose weights replace the network's own.
        allow_missing: With ``weights``: what that file lacks starts as the network sets it, with a note, instead of
            being an error.
        limits: What the files may ask for.
        branching: Where tasks may part.
    """

    input_size: InputSize | None = None
    features: Sequence[str] = ()
    weights: str | Path | None = None
    allow_missing: bool = False
    limits: Limits = DEFAULT_LIMITS
    branching: Branching = DEFAULT_BRANCHING

    def but(self, reading: ReadKeywords) -> ReadOptions:
        """Return these options with others in their place; limits of None are the defaults."""
        changes: dict[str, Any] = {**reading}
        if changes.get("limits", self.limits) is None:
            changes["limits"] = DEFAULT_LIMITS
        return replace(self, **changes)


class ReadKeywords(TypedDict, total=False):
    """The fields of :class:`ReadOptions` as keyword arguments."""

    input_size: InputSize | None
    features: Sequence[str]
    weights: str | Path | None
    allow_missing: bool
    limits: Limits | None
    branching: Branching


AS_THE_FILE_SAYS = ReadOptions()
"""Read the network as it is, within the default limits."""
