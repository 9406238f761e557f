"""onnxruntime on the CPU, as parity uses it: no fall-back, its own errors turned into ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.errors import ParityFailure, WorkFailed
from trunkline.export.parity.probes import Probe
from trunkline.text import escaped

Array = np.ndarray[Any, np.dtype[Any]]
Model = str | Path | bytes
"""An ONNX file, or the bytes of one that needs no file beside it."""

HELD_BYTES = 2**28
"""Results that are kept while the runtime is open."""


def require_onnxruntime() -> Any:
    """Import onnxruntime and return it.

    Raises:
        WorkFailed: It is not installed, or cannot be loaded.
    """
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        raise WorkFailed(
            f"onnxruntime cannot be imported ({error}); without it an exported model cannot be checked",
            advice="pip install onnxruntime   (or onnxruntime-gpu, never both)",
        ) from error
    return onnxruntime


class ParitySession:
    """An opened model with one image input.

    Args:
        model: Path or bytes.
        folder: Where the external data of a model given as bytes lies.
        fuse: Whether the runtime may replace nodes by others, as it does when it delivers.

    Raises:
        ParityFailure: onnxruntime refuses the model.
    """

    def __init__(self, model: Model, *, folder: Path | None = None, fuse: bool = True) -> None:
        runtime = require_onnxruntime()
        options = runtime.SessionOptions()
        # Errors only: what matters is raised, and warnings would be printed into the user's terminal.
        options.log_severity_level = 3
        if not fuse:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Spinning threads of the runtime would take the cores from the twin, which computes in between.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A model given as bytes has no path that its external data could lie beside.
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        content = model if isinstance(model, bytes) else str(Path(model).absolute())
        try:
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise _session_error("load", error) from error
        self.image = self._session.get_inputs()[0]
        self.outputs: list[str] = [output.name for output in self._session.get_outputs()]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The image's ``[C, H, W]``."""
        return tuple(self.image.shape[1:])

    def run(self, image: Array) -> dict[str, Array]:
        """Return every output by name for an image batch ``[N, C, H, W]``.

        Raises:
            ParityFailure: onnxruntime ends with an error.
        """
        try:
            results = self._session.run(self.outputs, {self.image.name: image})
        except Exception as error:
            raise _session_error("run", error) from error
        return dict(zip(self.outputs, results, strict=True))


def run_file(model: Model, batches: Sequence[Probe]) -> Iterator[tuple[Probe, dict[str, Array] | ParityFailure]]:
    """Yield each probe with what the model gives for it; after a failure to load or run it, no more.

    The runtime holds the weights once more. So it is opened for as many probes as give results of a bounded size, and
    is gone when these are looked at.
    """
    waiting = iter(batches)
    for first in waiting:
        held: list[tuple[Probe, dict[str, Array]]] = []
        probe = first
        try:
            session = ParitySession(model)
            for probe in chain([first], waiting):
                held.append((probe, session.run(probe.image)))
                if _size_of(held) > HELD_BYTES:
                    break
        except ParityFailure as error:
            yield from held
            yield probe, error
            return
        # Freed before anything is yielded: the caller then runs the twin, which holds the weights itself.
        del session
        yield from held


def _size_of(held: Sequence[tuple[Probe, dict[str, Array]]]) -> int:
    return sum(array.nbytes for _, found in held for array in found.values())


def _session_error(action: str, error: Exception) -> ParityFailure:
    """Return our error for one of onnxruntime's, whose types share no base but ``Exception``."""
    reason = escaped(str(error), 400) or type(error).__name__
    return ParityFailure(f"onnxruntime cannot {action} the exported model: {reason}")
