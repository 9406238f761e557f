"""Operators that are welcome in a file only where they compute sizes and constants, and so are gone once it is read."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import Problem, UnsupportedOp
from trunkline.ingest.graph import name_of
from trunkline.ingest.onnx_file.operators import SUPPORTED


def refuse_leftovers(graph: ir.Graph) -> None:
    """Check that all such operators were folded.

    Raises:
        UnsupportedOp: Some work on what is computed from the image; all of them are named.
    """
    text = "works on sizes and constants only; here it works on what is computed from the image"
    problems = [Problem(f"{n.op_type}: {text}", name_of(n)) for n in graph if n.op_type not in SUPPORTED]
    if problems:
        raise UnsupportedOp(problems)
