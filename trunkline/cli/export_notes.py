"""Notes on a file that was written: which BatchNormalizations could not be folded, and why."""

from __future__ import annotations

from trunkline.cli.console import say
from trunkline.export.exporter import ExportResult

_SHOWN = 4
"""Nodes that are named, at most: a DenseNet keeps a hundred."""


def say_not_folded(result: ExportResult) -> None:
    """Print on stderr why BatchNormalizations are left in a file that was to be folded."""
    for left in result.not_folded[:_SHOWN]:
        say(f"note: {left.node} is not folded: {left.reason}")
    if len(result.not_folded) > _SHOWN:
        say(f"note: {len(result.not_folded) - _SHOWN} more are not folded; --json names them all")
