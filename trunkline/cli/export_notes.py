"""Notes on a file: what could not be folded, and why; whether nodes were fused; which sizes its images may have."""

from __future__ import annotations

from trunkline.cli.console import emit, say
from trunkline.export.exporter import ExportResult

_SHOWN = 4
"""Nodes that are named, at most: a DenseNet keeps a hundred."""


def say_not_folded(result: ExportResult) -> None:
    """Print on stderr why BatchNormalizations are left in a file that was to be folded."""
    for left in result.not_folded[:_SHOWN]:
        say(f"note: {left.node} is not folded: {left.reason}")
    if len(result.not_folded) > _SHOWN:
        say(f"note: {len(result.not_folded) - _SHOWN} more are not folded; --json names them all")


def say_fusion(result: ExportResult) -> None:
    """Print whether parallel convolutions were fused, where that was asked for."""
    fusion = result.fusion
    if fusion is None or fusion.mode == "off":
        return
    measured = ""
    if fusion.ratio is not None and fusion.ci is not None:
        low, high = fusion.ci
        measured = f"; {fusion.ratio:.3f} [{low:.3f}, {high:.3f}] of the time without, on {fusion.measured_on}"
    emit(f"fusion  {'yes' if fusion.fused else 'no'}: {fusion.reason}{measured}")


def show_free_size(result: ExportResult) -> None:
    """Print which sizes a file's images may have, where that is not one."""
    if result.free_size is not None:
        emit(f"image sizes: {result.free_size}")
