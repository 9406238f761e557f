"""Whether a supermodel, its lowered twin and its exported file compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from trunkline.supermodel.methods.automtl import AutoMTL


def shaken(model: AutoMTL) -> AutoMTL:
    """Move all weights apart, statistics too, so that no two instances are equal."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in model.store.weights().values():
            tensor.mul_(1 + 0.2 * torch.rand(tensor.shape, generator=generator))
            tensor.add_(0.05 * torch.rand(tensor.shape, generator=generator))
    return model.eval()


def relative(a: np.ndarray | torch.Tensor, b: np.ndarray | torch.Tensor) -> float:
    """Return the largest difference, as a part of the largest magnitude of ``b``."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6))


def run_onnx(path: Path, image: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the outputs of a file with one image input, by name."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: image.numpy()}), strict=True))
