"""``python -m zoo_check.modules``: read torch modules without a file between; run by the zoo's own environment."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trunkline.errors import TrunklineError
from trunkline.ingest.read import read
from zoo_check.architectures import ARCHITECTURES
from zoo_check.bounded import Bounds, Json, run_bounded
from zoo_check.checked import CHECK, Checked
from zoo_check.checking import describe, judged, refusal, state_of_sources
from zoo_check.exported import MODULES, Exported
from zoo_check.makers import make, tensors_of
from zoo_check.noise import Array
from zoo_check.plan import Architecture
from zoo_check.truth import maps_of, used_parameters
from zoo_check.weights import images, randomise


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the modules that are named on the command line and whose results are not of these sources."""
    parser = argparse.ArgumentParser(prog="python -m zoo_check.modules", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("labels", nargs="*", help="of architectures; the sample where none is named")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folder, state = options.folder / MODULES, state_of_sources()
    folder.mkdir(parents=True, exist_ok=True)
    listed = [one for one in ARCHITECTURES if one.label in options.labels] if options.labels else sample()
    for number, architecture in enumerate(listed, 1):
        if options.labels or state not in _kept(folder / f"{architecture.label}{CHECK}"):
            checked = replace(_bounded(architecture, folder), state=state)
            checked.write(folder)
            sys.stdout.write(f"[{number}/{len(listed)}] {describe(checked)}\n")
            sys.stdout.flush()
    return 0


def sample() -> list[Architecture]:
    """Return the first architecture of each family and kind."""
    first: dict[tuple[str, str], Architecture] = {}
    for architecture in ARCHITECTURES:
        first.setdefault((architecture.family, architecture.kind), architecture)
    return list(first.values())


def _kept(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _bounded(architecture: Architecture, folder: Path) -> Checked:
    ended = run_bounded(_read, architecture, log=folder / f"{architecture.label}.log", bounds=Bounds())
    if ended.result is None:
        facts, checked = _facts(architecture), Checked(architecture.label, "crash", ended.why)
    else:
        facts, checked = Exported(**ended.result["facts"]), Checked(**ended.result["checked"])
    facts.write(folder)
    versions = {package: version(package) for package in ("torch", "onnx", "onnxruntime", "numpy", "onnxscript")}
    return replace(checked, cpu_s=round(ended.cpu_s, 1), peak_bytes=ended.peak_bytes, versions=versions)


def _facts(architecture: Architecture, **known: Any) -> Exported:
    return Exported(
        label=architecture.label,
        architecture=architecture.label,
        maker=architecture.maker,
        family=architecture.family,
        kind=architecture.kind,
        exporter="",
        opset=0,
        keeps_batchnorm=True,
        size=list(architecture.size),
        batch=None,
        **known,
    )


def _read(architecture: Architecture) -> Json:
    module = make(architecture)
    randomise(module, architecture.size)
    used = used_parameters(module, architecture.size).values()
    trained = sum(parameter.numel() for parameter in used if parameter.requires_grad)
    maps = maps_of(module, architecture)
    # A module's parameters are all there, so its count is always to be compared.
    facts = _facts(
        architecture,
        parameters=trained,
        stored=trained,
        maps_known=maps.known,
        last=maps.last,
        last_too=maps.last_too,
        tokens=maps.tokens,
        pyramid=list(maps.pyramid),
    )
    return {"facts": facts.to_json(), "checked": _judged(module, architecture, facts).to_json()}


def _judged(module: nn.Module, architecture: Architecture, facts: Exported) -> Checked:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the packages' own, while their code is traced
            graph = read(module, images(1, architecture.size))
    except TrunklineError as error:
        return refusal(architecture.label, error, "")

    @torch.no_grad()
    def right(batch: Array) -> list[Array]:
        return [np.asarray(output) for output in tensors_of(module(torch.from_numpy(batch)))]

    @torch.no_grad()
    def precise(batch: Array) -> list[Array]:
        wide = module.double()(torch.from_numpy(batch).double())
        return [np.asarray(output) for output in tensors_of(wide)]

    return judged(graph, facts.to_json(), right, precise)


if __name__ == "__main__":
    sys.exit(main())
