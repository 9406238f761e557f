"""What is printed: results go to stdout, progress, notes and errors to stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.files.write import json_ready
from trunkline.graph.input_size import InputSize
from trunkline.text import printable, quoted

_SIZE = re.compile(r"\s*([0-9]{1,5})\s*[,x]\s*([0-9]{1,5})\s*(?:[,x]\s*([0-9]{1,5})\s*)?")


def emit_json(content: Mapping[str, Any]) -> None:
    """Print a result for machines: standard JSON, in which a number that is not finite is ``null``."""
    sys.stdout.write(json.dumps(json_ready(content), indent=2, allow_nan=False) + "\n")


def emit(text: str) -> None:
    """Print a line of a result."""
    sys.stdout.write(_harmless(text) + "\n")


def say(text: str) -> None:
    """Print a line of progress, or a note."""
    sys.stderr.write(_harmless(text) + "\n")


def complain(kind: str, text: str) -> None:
    """Print an error."""
    say(f"{kind}: {text}")


def emit_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a table; all but the first ``left`` columns are right-aligned."""
    # Not at the top: importing rich would delay every start of the command line, and only tables need it.
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # Names come from files, and rich reads `[bold]` in a text as markup: everything is escaped.
    table = Table(title=escape(_harmless(title)), title_justify="left", title_style="bold", box=None, pad_edge=False)
    # Names are what a user copies from a table, so a long one goes on in the next line instead of ending in "…".
    for index, column in enumerate(columns):
        table.add_column(escape(_harmless(column)), justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_harmless(cell)) for cell in row))
    # Without a terminal rich assumes 80 columns, too few for our tables in a file or a pipe.
    width = None if sys.stdout.isatty() else 120
    Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False).print(table)


def parse_size(text: str | None) -> InputSize | None:
    """Return the size that ``H,W`` or ``C,H,W`` gives.

    Raises:
        InvalidConfig: It is something else.

    >>> parse_size("256,512"), parse_size("1x256x512")
    ((256, 512), (1, 256, 512))
    """
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    sizes = [int(part) for part in found.groups() if part] if found else []
    if not sizes or not all(0 < size <= 65536 for size in sizes):
        advice = "give height and width, for example 256,512, or channels too: 1,256,512"
        raise InvalidConfig(f"--input-size is {quoted(text[:40])}", advice=advice)
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (sizes[0], sizes[1], sizes[2])


def _harmless(text: str) -> str:
    """Return a text in which escape sequences from hostile names are visible, so that no terminal obeys them."""
    return printable(text, keep="\n")
