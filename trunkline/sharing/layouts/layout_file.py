"""Layouts as files: a JSON list with one entry per block, each a list of groups of task names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from trunkline.errors import InvalidConfig
from trunkline.files.read import in_file, read_own
from trunkline.sharing.layouts.layout import Layout


def load_layout(path: Path, tasks: Sequence[str]) -> Layout:
    """Read a layout of these tasks.

    Raises:
        InvalidConfig: The file cannot be read, has another form, or is no layout of these tasks.
    """
    content = _content_of(path)
    with in_file(path):
        return parse_layout(content, tasks)


def load_layouts(path: Path, tasks: Sequence[str]) -> list[Layout]:
    """Read a file of one layout, or of a list of layouts.

    Raises:
        InvalidConfig: As :func:`load_layout`.
    """
    content = _content_of(path)
    with in_file(path):
        if not isinstance(content, list) or not content or _is_layout(content):
            return [parse_layout(content, tasks)]
        return [parse_layout(entry, tasks) for entry in content]


def _content_of(path: Path) -> Any:
    try:
        return json.loads(read_own(path, "layout"))
    except (ValueError, RecursionError) as error:  # brackets nested deep enough exhaust json's stack
        raise InvalidConfig(f"cannot read the layout: {error}", place=str(path)) from error


def parse_layout(content: object, tasks: Sequence[str]) -> Layout:
    """Return the layout that a file's content describes.

    Raises:
        InvalidConfig: It has another form, or is no layout of these tasks.
    """
    if not _is_layout(content):
        text = "a layout is a list with one entry per block, each a list of groups of task names"
        raise InvalidConfig(text, advice='for example [[["a", "b"]], [["a"], ["b"]]]')
    return Layout.of(tasks, content)


def _is_layout(content: object) -> TypeGuard[list[list[list[str]]]]:
    return isinstance(content, list) and all(_is_groups(entry) for entry in content)


def _is_groups(entry: object) -> bool:
    return isinstance(entry, list) and all(map(_is_group, entry))


def _is_group(entry: object) -> bool:
    return isinstance(entry, list) and all(isinstance(task, str) for task in entry)
