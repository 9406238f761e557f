"""``--runtime``, ``--provider`` and ``--batch-sizes``: on what models are measured."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from cyclopts import Parameter

from trunkline.bench.runtimes.registry import runtimes
from trunkline.errors import InvalidConfig
from trunkline.text import quoted

_BATCHES = re.compile(r"[0-9]{1,6}(,[0-9]{1,6})*", re.ASCII)

RUNTIME_HELP = f"What runs them: {', '.join(runtimes())}."
Provider = Annotated[
    Literal["cpu", "cuda", "tensorrt"] | None,
    Parameter(name="--provider", help="Read back, never replaced; default the runtime's own."),
]
Precision = Annotated[
    Literal["float32", "bfloat16", "float16"],
    Parameter(name="--precision", help="What float32 may be computed in; openvino has all. Read back node by node."),
]


def batches_of(text: str | None) -> tuple[int, ...]:
    """Return the batch sizes that ``--batch-sizes`` lists.

    Raises:
        InvalidConfig: It is no list of whole numbers.

    >>> batches_of("1,2,8")
    (1, 2, 8)
    """
    if text is None:
        return ()
    if not _BATCHES.fullmatch(text.replace(" ", "")):
        raise InvalidConfig(f"--batch-sizes is {quoted(text[:40])}", advice="give whole numbers, for example 1,2,4,8")
    return tuple(int(part) for part in text.replace(" ", "").split(","))
