"""A measurement shows how far it is on a terminal, and only between rounds."""

from __future__ import annotations

import threading
from io import StringIO

import pytest

from trunkline.cli.bench_bar import bench_bar

pytestmark = pytest.mark.golden


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_rounds_are_shown_without_a_thread() -> None:
    """A thread that draws by itself would take time from what is timed."""
    terminal, before = Terminal(), threading.active_count()
    with bench_bar(terminal) as progress:
        assert progress is not None
        progress(11, 64)
        assert threading.active_count() == before
        assert "11/64" in terminal.getvalue()
        shown = len(terminal.getvalue())
        progress(12, 64)  # at once: not drawn for each round of a quick model
        assert len(terminal.getvalue()) == shown
        progress(80, 64)  # rounds go on for the least time


def test_files_and_pipes_show_nothing() -> None:
    stream = StringIO()
    with bench_bar(stream) as progress:
        assert progress is None
    assert not stream.getvalue()
