"""Layouts as files: a JSON list with one entry per block, each a list of groups of task names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.files.read import in_file, read_own
from trunkline.sharing.layouts.layout import Layout


def load_layout(path: Path, tasks: Sequence[str]) -> Layout:
    """Read a layout of these tasks.

    Raises:
        InvalidConfig: The file cannot be read, has another form, or is no layout of these tasks.
    """
    try:
        content: Any = json.loads(read_own(path, "layout"))
    except (ValueError, RecursionError) as error:  # brackets nested deep enough exhaust json's stack
        raise InvalidConfig(f"cannot read the layout: {error}", place=str(path)) from error
    with in_file(path):
        return parse_layout(content, tasks)


def parse_layout(content: object, tasks: Sequence[str]) -> Layout:
    """Return the layout that a file's content describes.

    Raises:
        InvalidConfig: It has another form, or is no layout of these tasks.
    """
    if not isinstance(content, list) or not all(_is_groups(entry) for entry in content):
        text = "a layout is a list with one entry per block, each a list of groups of task names"
        raise InvalidConfig(text, advice='for example [[["a", "b"]], [["a"], ["b"]]]')
    return Layout.of(tasks, content)


def _is_groups(entry: object) -> bool:
    return isinstance(entry, list) and all(map(_is_group, entry))


def _is_group(entry: object) -> bool:
    return isinstance(entry, list) and all(isinstance(task, str) for task in entry)
