"""Marks on stored tensors, written into a file's metadata: which are constants, and whose axes were turned.

ONNX has no field for either. Without them, a file that is read again would train its author's buffers and coefficients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx_ir as ir

from trunkline.graph.graph import AXES_KEY, CONSTANT, PARAMETER, ROLE_KEY

MARKS_KEY = "trunkline.marks"
"""The key of the model's metadata that holds them, as JSON: for each kind of mark, its text by initializer."""

_ROLES = (CONSTANT, PARAMETER)


def marks_of(graph: ir.Graph) -> dict[str, str]:
    """Return the metadata that keeps the marks of ``graph``; empty where there are none."""
    marks: dict[str, dict[str, str]] = {}
    for name, value in sorted(graph.initializers.items()):
        for key in (AXES_KEY, ROLE_KEY):
            if key in value.metadata_props:
                marks.setdefault(key, {})[name] = value.metadata_props[key]
    return {MARKS_KEY: json.dumps(marks)} if marks else {}


def restore_marks(model: ir.Model) -> None:
    """Mark the initializers of ``model`` by its metadata; what makes no sense there is left out."""
    # Another tool may have renamed or removed tensors, or written what it likes under our key.
    for name, text in marked(model.metadata_props, ROLE_KEY).items():
        value = model.graph.initializers.get(name)
        if value is not None and text in _ROLES:
            value.metadata_props[ROLE_KEY] = text
    for name, text in marked(model.metadata_props, AXES_KEY).items():
        value = model.graph.initializers.get(name)
        if value is None or value.shape is None:
            continue
        is_permutation = sorted(text.split(",")) == sorted(map(str, range(len(value.shape))))
        if is_permutation:
            value.metadata_props[AXES_KEY] = text


def marked(metadata: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the marks of one kind, by initializer, that a model's metadata holds."""
    try:
        content = json.loads(metadata.get(MARKS_KEY, "{}"))
    except (ValueError, RecursionError):  # brackets nested deep enough exhaust the parser's stack
        return {}
    marks = content.get(key) if isinstance(content, dict) else None
    if not isinstance(marks, dict):
        return {}
    return {name: text for name, text in marks.items() if isinstance(text, str)}
