"""Parity of a quantised file: the runtime's 8-bit kernels compute what the file says, step by step.

What a quantised file computes is defined by its nodes: dequantise, compute in float32, quantise. A runtime fuses these
into integer kernels. Whether those are right is found by running the same file without any fusion. On most images both
agree to the last bit. On some a number lies on the border of two steps and falls to the other side, which later layers
carry on: as quantising does, but rarer. So the yardstick is what quantising itself does to an output.

What that costs the tasks is no matter of parity: it is measured by their metrics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trunkline.export.parity.check import ParityReport
from trunkline.export.parity.reference import Array
from trunkline.export.parity.session import Model, ParitySession
from trunkline.export.parity.tally import OutputParity

MARGIN = 2.0
"""In a deep network one number on the border may end in another quantisation of everything behind it: then both differ
from the truth by as much as quantising does, each in its own way."""
FLOOR = 1e-2
"""Error that is always allowed, as a part of the output's largest magnitude: where little is quantised, little is lost
by it, and a number may still fall to the other side."""


def check_quantised(model: Model, float32: Model, images: Sequence[Array]) -> ParityReport:
    """Compare a quantised file as the runtime fuses it with the same file as it is written.

    Kernels that add products of unsigned and signed 8-bit numbers up in 16 bits, as those of x86 processors without
    VNNI do, can overflow. What they miss then is beyond what quantising explains.

    Args:
        model: The file, with QuantizeLinear and DequantizeLinear nodes.
        float32: The file that it was made of.
        images: Real batches ``[N, C, H, W]``.

    Raises:
        ParityFailure: onnxruntime refuses a file.
    """
    fused, plain, whole = ParitySession(model), ParitySession(model, fuse=False), ParitySession(float32)
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in fused.outputs}
    for image in images:
        found, written, truth = fused.run(image), plain.run(image), whole.run(image)
        for name, row in rows.items():
            row.append(
                (_largest(found[name] - written[name]), _largest(written[name] - truth[name]), _largest(truth[name]))
            )
    verdicts = [_verdict(name, *map(max, zip(*row, strict=True))) for name, row in rows.items()]
    return ParityReport(tuple(verdicts), len(images), precision="int8")


def _verdict(name: str, error: float, quantised: float, scale: float) -> OutputParity:
    tolerance = MARGIN * quantised + FLOOR * scale
    passed = bool(np.isfinite(error)) and error <= tolerance
    note = "" if passed else "the runtime's 8-bit kernels do not compute what the file says"
    return OutputParity(name, error, error / scale if scale else 0.0, 0.0, tolerance, passed, note)


def _largest(array: Array) -> float:
    return float(np.abs(array).max(initial=0.0))
