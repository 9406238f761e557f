"""Whether parallel convolutions of an exported model are fused: as the user says, or as both ways measure here."""

from __future__ import annotations

import filecmp
import tempfile
from pathlib import Path

from trunkline.bench.compare import Ratio
from trunkline.bench.models import bench_groups
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.export.fusion import FuseMode, Fusion
from trunkline.pipeline.project import Project
from trunkline.verbs.bench import runtime_named, settings_of
from trunkline.verbs.train import TrainResult

PLAIN, FUSED = "plain", "fused"
"""Names of the candidates."""


def decide_fusion(project: Project, trained: TrainResult, mode: FuseMode) -> Fusion:
    """Return whether the file is to have fused nodes.

    With ``measure`` both files are written to a temporary folder, and run in turns as ``[bench]`` says.

    Raises:
        WorkFailed: The runtime or provider is not there, or the disk is full.
    """
    if mode == "off":
        return Fusion(mode, fused=False, reason="fusion is off")
    with tempfile.TemporaryDirectory() as folder:
        plain, fused = (_written(project, trained, Path(folder), name) for name in (PLAIN, FUSED))
        # Equal graphs give equal bytes.
        if filecmp.cmp(plain, fused, shallow=False):
            return Fusion(mode, fused=False, reason="no convolutions lie side by side")
        if mode == "on":
            return Fusion(mode, fused=True, reason="fusion is on")
        config = project.config.bench
        settings = settings_of(config)
        groups = {PLAIN: [plain], FUSED: [fused]}
        runtime = runtime_named(config.runtime, project.limits)
        compared = bench_groups(groups, settings, runtime=runtime, limits=project.limits)
    return judged(compared.ratios[0], config.runtime, settings)


def judged(ratio: Ratio, runtime: str, settings: Settings) -> Fusion:
    """Return what a measurement decides: the fused file is kept only where it is proved to be faster."""
    kept = ratio.verdict == "faster" and ratio.stable
    reason = f"the fused file measures {ratio.verdict}"
    if not ratio.stable:
        reason += f", but not steadily: {ratio.reason}"
    threads = f"{settings.threads} thread{'' if settings.threads == 1 else 's'}"
    measured_on = f"{runtime}, {settings.provider}, {threads}, batch {settings.batch}"
    return Fusion("measure", kept, reason, ratio.ratio, ratio.ci, measured_on)


def _written(project: Project, trained: TrainResult, folder: Path, name: str) -> Path:
    path = folder / name / "model.onnx"
    path.parent.mkdir()
    fold = project.config.export.fold
    return write_onnx(trained.graph, path, weights=trained.weights, fold=fold, fuse=name == FUSED)
