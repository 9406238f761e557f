"""TensorRT's Python package, or TensorRT-RTX's, which has the same functions: imported, checked, and kept quiet."""

from __future__ import annotations

import re
from typing import Any

from trunkline.errors import WorkFailed
from trunkline.text import escaped

LEAST = (10, 13)
"""The oldest version that this was written for."""
_SHOWN = 3


def require_tensorrt() -> Any:
    """Import TensorRT's Python bindings and return them.

    Raises:
        WorkFailed: The package is missing or too old, or one of its libraries is missing.
    """
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        raise WorkFailed(
            "TensorRT is not installed: there is no Python package called tensorrt",
            advice="pip install tensorrt   (10.13 or newer; its libraries come from NVIDIA's own package index)",
        ) from error
    except (ImportError, OSError) as error:
        raise WorkFailed(
            f"TensorRT's Python package is installed, but a library it needs is not: {error}",
            advice="install the tensorrt libraries of the same version, and put their folder on LD_LIBRARY_PATH",
        ) from error
    version = tuple(int(part) for part in re.findall(r"[0-9]+", str(tensorrt.__version__))[:2])
    if version < LEAST:
        text = f"TensorRT {tensorrt.__version__} is older than {LEAST[0]}.{LEAST[1]}"
        raise WorkFailed(text, advice="pip install --upgrade tensorrt")
    return tensorrt


class Log:
    """What TensorRT has said, by severity; its own logger would print it among results.

    Attributes:
        logger: What TensorRT is given.
        errors: Errors, in order.
    """

    def __init__(self, trt: Any) -> None:
        self.errors: list[str] = []
        self.logger = _logger(trt, self.errors)

    def reason(self, otherwise: str) -> str:
        """Return the last errors as one line."""
        # TensorRT's log lines may have sources and line numbers before them; they are kept, as its forums ask for them.
        return "; ".join(escaped(line, 400) for line in self.errors[-_SHOWN:]) or otherwise


def _logger(trt: Any, errors: list[str]) -> Any:
    severe = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

    class KeptLogger(trt.ILogger):  # type: ignore[misc]  # the base is known only when TensorRT is
        def __init__(self) -> None:
            # pybind11 asks for the base's own constructor by name.
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in severe:
                errors.append(msg)

    return KeptLogger()
