"""OpenVINO's CPU plugin as a bench runtime, in the precision and with the threads that are asked for, both read back.

By itself OpenVINO takes bfloat16 where the processor has it, and as many threads as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.inputs import Array
from trunkline.bench.runtimes.onnx_inputs import OpenedModel, open_model
from trunkline.bench.runtimes.start_up import StartUp
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidModel, WorkFailed, first_line
from trunkline.graph.graph import Graph
from trunkline.text import escaped

_DEVICE = "CPU"
_NAMES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""Precisions as the plugin calls them."""


class OpenVinoSession:
    """A compiled model with a request whose inputs are memory of ours."""

    def __init__(self, ov: Any, compiled: Any, settings: Settings, opened: OpenedModel, start_up: StartUp) -> None:
        self._ov, self._compiled = ov, compiled
        self._request = compiled.create_infer_request()
        self.inputs, self._output_names = opened.inputs, opened.output_names
        self.provider = settings.provider
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self.spinning: bool | None = None
        self.region = "one inference request, inputs and outputs in host memory, until the outputs are complete"
        # By position: a name that the file gives an input may be one of several that OpenVINO keeps for it.
        names = [one.declared.name for one in opened.inputs]
        self._tensors = [[ov.Tensor(feed[name], shared_memory=True) for name in names] for feed in opened.feeds]
        self.feed(0)
        with start_up.part():
            self.run()
        self.start_up_ms = start_up.ms

    @property
    def device_memory_bytes(self) -> int | None:
        """None: its device is the processor."""
        return None

    @property
    def device_ms(self) -> float | None:
        """None: its device is the processor."""
        return None

    def feed(self, index: int) -> None:
        """Choose one of the inputs."""
        for position, tensor in enumerate(self._tensors[index % len(self._tensors)]):
            self._request.set_input_tensor(position, tensor)

    def run(self) -> None:
        """Run once; returns when the request is complete."""
        self._request.infer()

    def outputs(self) -> dict[str, Array]:
        """Return copies of the last outputs by name."""
        return {
            name: np.array(self._request.get_output_tensor(position).data)
            for position, name in enumerate(self._output_names)
        }

    def describe(self) -> Mapping[str, str]:
        """Return version and options, as read back."""
        kinds = [node.get_rt_info()["layerType"].astype(str) for node in self._compiled.get_runtime_model().get_ops()]
        return {
            "runtime": f"openvino {self._ov.__version__.split('-')[0]}",
            "provider": ", ".join(self._compiled.get_property("EXECUTION_DEVICES")),
            "precision": str(self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()),
            "streams": str(self._compiled.get_property("NUM_STREAMS")),
            "executed nodes": str(sum(kind not in ("Const", "Input", "Output") for kind in kinds)),
        }

    def close(self) -> None:
        """Let go of the request and the model."""
        self._request = self._compiled = None
        self._tensors.clear()


class OpenVinoRuntime(Runtime):
    """Runs ONNX files, and Graphs, with OpenVINO on the CPU."""

    name = "openvino"
    providers = ("cpu",)
    precisions = ("float32", "bfloat16", "float16")
    needs = "openvino"

    def prepare(self, model: Path | Graph, settings: Settings) -> OpenVinoSession:
        """Compile a model for the CPU; see :class:`~trunkline.bench.runtimes.base.Runtime`."""
        self.require(settings)
        ov, start_up = _import(), StartUp()
        opened = open_model(model, settings)
        place = opened.place
        with _translated(place, "read", InvalidModel), start_up.part():
            core = ov.Core()
            # By its path where it has one: weights may lie beside it.
            network = core.read_model(opened.content if isinstance(model, Graph) else str(model))
            network.reshape({position: one.shape for position, one in enumerate(opened.inputs)})
        with _translated(place, "compile", WorkFailed), start_up.part():
            compiled = core.compile_model(network, _DEVICE, _options(settings))
        require_asked_for(compiled, settings, place)
        with _translated(place, "run", WorkFailed):
            return OpenVinoSession(ov, compiled, settings, opened, start_up)


def require_asked_for(compiled: Any, settings: Settings, place: str) -> None:
    """Refuse a compiled model that runs elsewhere, in another precision, or with other threads than asked for.

    Raises:
        WorkFailed: It does; the message says what was found.
    """
    devices = list(compiled.get_property("EXECUTION_DEVICES"))
    threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
    asked = _NAMES[settings.precision]
    # Beside what was asked for there may be float32: not every node has a kernel for less.
    lower = sorted({precision for precision in _precisions(compiled) if precision in _NAMES.values()} - {"f32", asked})
    found = ""
    if devices != [_DEVICE]:
        found = f"device {_DEVICE} was asked for, and it runs on {', '.join(devices) or 'nothing'}"
    elif threads != settings.threads:
        found = f"{settings.threads} threads were asked for, and it uses {threads}"
    elif lower:
        found = f"{settings.precision} was asked for, and nodes run in {', '.join(lower)}"
    elif asked not in (_NAMES["float32"], *_precisions(compiled)):
        found = f"{settings.precision} was asked for, and no node runs in it: this processor may not have it"
    if found:
        raise WorkFailed(f"OpenVINO: {found}", place=place, advice="ask for no more than the processor has")


def _precisions(compiled: Any) -> Iterator[str]:
    """Yield what each node really runs in."""
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "runtimePrecision" in info and info["layerType"].astype(str) != "Const":
            yield info["runtimePrecision"].astype(str)


def _import() -> Any:
    try:
        # Optional, and slow to load.
        import openvino
    except (ImportError, OSError) as error:
        raise WorkFailed(
            f"OpenVINO cannot be imported: {first_line(error)}", advice="pip install 'trunkline[openvino]'"
        ) from error
    return openvino


def _options(settings: Settings) -> dict[str, object]:
    return {
        "INFERENCE_PRECISION_HINT": _NAMES[settings.precision],
        "EXECUTION_MODE_HINT": "ACCURACY" if settings.precision == "float32" else "PERFORMANCE",
        "INFERENCE_NUM_THREADS": settings.threads,
        "NUM_STREAMS": 1,
        # Candidates take turns in one process: threads that are pinned to cores would get in each other's way.
        "ENABLE_CPU_PINNING": False,
    }


@contextmanager
def _translated(place: str, action: str, kind: type[InvalidModel | WorkFailed]) -> Iterator[None]:
    """Turn OpenVINO's errors, all of them RuntimeErrors, into ours."""
    try:
        yield
    except RuntimeError as error:
        # The last line says what is wrong; those before it say in which file of OpenVINO.
        lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
        raise kind(f"OpenVINO cannot {action} it: {escaped(lines[-1], 400)}", place=place) from error
