"""``--runtime``, ``--provider`` and ``--batch-sizes``: on what models are measured."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from cyclopts import Parameter

from trunkline.errors import InvalidConfig
from trunkline.text import quoted

_BATCHES = re.compile(r"[0-9]{1,6}(,[0-9]{1,6})*", re.ASCII)

# The names are not written here: runtimes are found by scanning, which an unknown name is answered with.
RUNTIME_HELP = "What runs them: onnxruntime, openvino, tensorrt, torch, torch-compile, cuda-graph."
Provider = Annotated[
    Literal["cpu", "cuda", "tensorrt"] | None,
    Parameter(name="--provider", help="Read back, never replaced; default the runtime's own."),
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
