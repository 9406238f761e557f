"""Store every weight once: initializers with the same content become one.

Runtimes compare weights by name, never by bytes, so two columns with equal weights under different names are
computed twice. After this pass equal content is equal identity, which value numbering builds on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import Shape, array_of, shape_of
from trunkline.graph.passes.editor import redirect
from trunkline.graph.roles import Role, roles_of

_Form = tuple[ir.DataType | None, Shape, tuple[Role, ...]]


@dataclass(frozen=True, slots=True)
class Deduplicate:
    """Merges equal initializers, keeping the first name.

    Equal means the same SHA-256 over element type, shape and bytes: +0 and -0 differ, equal NaN patterns agree. What
    trains is never merged with what does not (a fresh BN's scale and variance are both ones), so that the file can
    be read and trained again.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Merge equal initializers of ``graph``, and return how many went."""
        stored = graph.initializers
        counts = Counter(_form(value) for value in stored.values())
        kept: dict[tuple[_Form, bytes], ir.Value] = {}
        merged = []
        for name, value in list(stored.items()):
            # A form that occurs once has no equal: large weights are mostly spared the digest.
            if counts[_form(value)] == 1 or value.is_graph_output():
                continue
            first = kept.setdefault((_form(value), _digest(value)), value)
            if first is not value:
                redirect(value, first)
                merged.append(name)
        for name in merged:
            del stored[name]
        return len(merged)


def _form(value: ir.Value) -> _Form:
    return value.dtype, shape_of(value), tuple(sorted(roles_of(value)))


def _digest(value: ir.Value) -> bytes:
    content = np.ascontiguousarray(array_of(value)).reshape(-1)
    return hashlib.sha256(content.view(np.uint8).data).digest()
