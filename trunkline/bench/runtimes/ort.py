"""ONNX Runtime as a bench runtime. The provider that really loaded is read back; there is no silent fall-back."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.fill import fill
from trunkline.bench.runtimes.inputs import Array, Declared, FedInput, Feeds, make_feeds
from trunkline.bench.runtimes.start_up import StartUp
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidModel, Problem, WorkFailed, first_line
from trunkline.graph.graph import Graph

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
# Of ONNX Runtime's severities 0 (verbose) to 4 (fatal); what matters is raised as an error.
_SILENT = 4

_ADVICE_SIZE = "the sizes given may not fit each other or the network; many want multiples of 32"
_ADVICE_MISSING = {
    "cuda": "check the driver and the CUDA libraries; `trunkline doctor` says what is missing",
    # onnxruntime-gpu 1.31 links libnvinfer.so.10.
    "tensorrt": "onnxruntime-gpu needs TensorRT 10; where TensorRT is newer, measure with --runtime tensorrt",
}
_ADVICE_DEVICE = "every node must run on the provider asked for; measure on cpu, or replace the node"
_ADVICE = {
    "cpu": "`trunkline inspect` on the file names what is wrong with it, where Trunkline knows its operators",
    "cuda": _ADVICE_DEVICE,
    "tensorrt": _ADVICE_DEVICE,
}


class OrtSession:
    """A loaded model with all inputs and outputs bound to memory of its device beforehand."""

    def __init__(
        self,
        ort: ModuleType,
        session: Any,
        settings: Settings,
        inputs: tuple[FedInput, ...],
        feeds: Feeds,
        place: str,
        start_up: StartUp,
    ) -> None:
        self._ort, self._session, self._place = ort, session, place
        self.inputs = inputs
        self._device = "cpu" if settings.provider == "cpu" else "cuda"
        self.provider = settings.provider
        self.threads = settings.threads
        self.spinning: bool | None = settings.spinning
        where = "host memory" if self._device == "cpu" else "device memory, no copies from or to the host"
        self.region = f"one run of the session, inputs and outputs bound in {where}, until the outputs are complete"
        # A binding does not keep the host arrays behind its values alive.
        self._held: list[Any] = []
        with start_up.part():
            first = session.run(None, feeds[0])
        self.start_up_ms = start_up.ms
        self._bindings = [
            self._bind(feeds[0], first),
            *(self._bind(feed, session.run(None, feed)) for feed in feeds[1:]),
        ]
        self._binding = self._bindings[0]
        self.run()

    @property
    def device_memory_bytes(self) -> int | None:
        """Unknown: onnxruntime does not say what its arena has taken."""
        return None

    @property
    def device_ms(self) -> float | None:
        """None: onnxruntime does not tell what its devices take."""
        return None

    def feed(self, index: int) -> None:
        """Choose one of the bound inputs."""
        self._binding = self._bindings[index % len(self._bindings)]

    def run(self) -> None:
        """Run once and wait for the device."""
        self._session.run_with_iobinding(self._binding)
        # A GPU returns before it has finished.
        if self._device != "cpu":
            self._binding.synchronize_outputs()

    def outputs(self) -> dict[str, Array]:
        """Return copies of the last outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        arrays = self._binding.copy_outputs_to_cpu()
        return {name: np.array(array) for name, array in zip(names, arrays, strict=True)}

    def describe(self) -> Mapping[str, str]:
        """Return version and options."""
        name = _PROVIDERS[self.provider]
        # As read back; the CPU's has none.
        options = self._session.get_provider_options().get(name, {})
        return {
            "runtime": f"onnxruntime {self._ort.__version__}",
            "provider": name,
            "graph optimisation": "all",
            "execution": "sequential",
            **{f"provider option {key}": options[key] for key in ("use_tf32",) if key in options},
        }

    def close(self) -> None:
        """Let go of the bindings and the session."""
        self._bindings.clear()
        self._binding = self._session = None
        self._held.clear()

    def _bind(self, feed: dict[str, Array], results: list[Any]) -> Any:
        """Bind one set of inputs, and outputs of the shapes that a run of it has given."""
        # Outputs whose shapes depend on numbers, as a detector's, are only known from a run.
        binding = self._session.io_binding()
        for name, array in feed.items():
            binding.bind_ortvalue_input(name, self._hold(array))
        for meta, result in zip(self._session.get_outputs(), results, strict=True):
            if not isinstance(result, np.ndarray):
                raise InvalidModel(
                    f'output "{meta.name}" is a {meta.type}, and only tensors can be measured', place=self._place
                )
            binding.bind_ortvalue_output(meta.name, self._hold(np.zeros_like(result)))
        return binding

    def _hold(self, array: Array) -> Any:
        value = self._ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)
        self._held.append(value)
        return value


class OrtRuntime(Runtime):
    """Runs ONNX files, and Graphs, with ONNX Runtime."""

    name = "onnxruntime"
    providers = ("cpu", "cuda", "tensorrt")
    needs = "onnxruntime; onnxruntime-gpu for cuda and tensorrt"

    def prepare(self, model: Path | Graph, settings: Settings) -> OrtSession:
        """Load a model on ``settings.provider``; see :class:`~trunkline.bench.runtimes.base.Runtime`."""
        self.require(settings)
        ort, start_up = _import(settings.provider), StartUp()
        place = model.name if isinstance(model, Graph) else str(model)
        _require_provider(ort, settings.provider)
        with _translated(ort, place, settings, "load"), start_up.part():
            session = _load(ort, model, settings)
        _require_loaded(session, settings.provider, place)
        inputs = fill(_declared(session, place), settings, place=place)
        feeds = make_feeds(inputs, settings, place=place)
        with _translated(ort, place, settings, "run"):
            return OrtSession(ort, session, settings, inputs, feeds, place, start_up)


def _import(provider: str) -> ModuleType:
    try:
        # Optional, and slow to load.
        import onnxruntime
    except ImportError as error:
        extra = "cpu" if provider == "cpu" else "gpu"
        raise WorkFailed("onnxruntime is not installed", advice=f"pip install trunkline[{extra}]") from error
    return onnxruntime  # type: ignore[no-any-return]


def _require_provider(ort: ModuleType, provider: str) -> None:
    available = ort.get_available_providers()
    if _PROVIDERS[provider] in available:
        return
    raise WorkFailed(
        f'provider "{provider}" needs {_PROVIDERS[provider]}, and this onnxruntime has only {", ".join(available)}',
        advice="pip uninstall onnxruntime, then pip install trunkline[gpu] (never both: they share a folder)",
    )


def _load(ort: ModuleType, model: Path | Graph, settings: Settings) -> Any:
    content = _serialised(model) if isinstance(model, Graph) else str(model)
    # The binding prints its fall-backs; what it did is read back instead.
    with contextlib.redirect_stdout(io.StringIO()):
        preload(ort, settings.provider)
        return ort.InferenceSession(
            content, _options(ort, settings), providers=[_provider(settings.provider)], enable_fallback=0
        )


def _provider(provider: str) -> str | tuple[str, dict[str, str]]:
    # Otherwise convolutions would round float32 to 10 bits of mantissa, and be compared with those that do not.
    return (_PROVIDERS[provider], {"use_tf32": "0"}) if provider == "cuda" else _PROVIDERS[provider]


def preload(ort: ModuleType, provider: str) -> None:
    """Load the CUDA libraries that a CUDA build of torch brings, which onnxruntime does not look for by itself."""
    if provider != "cpu" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()


def _options(ort: ModuleType, settings: Settings) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spinning else "0")
    # Otherwise nodes that the GPU's provider lacks would run on the CPU, and the time would be of neither.
    if settings.provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _require_loaded(session: Any, provider: str, place: str) -> None:
    """Refuse a session that runs elsewhere. The list of *available* providers proves nothing; the session's does."""
    loaded = session.get_providers()
    if loaded and loaded[0] == _PROVIDERS[provider]:
        return
    raise WorkFailed(
        f'provider "{provider}" was asked for, and the session runs on {", ".join(loaded) or "nothing"}',
        place=place,
        advice=_ADVICE_MISSING.get(provider, "`trunkline doctor` says what is missing"),
    )


def _declared(session: Any, place: str) -> list[Declared]:
    unknown = [
        Problem(f'input "{meta.name}" has type {meta.type}, which the bench cannot draw', place)
        for meta in session.get_inputs()
        if meta.type not in _TYPES
    ]
    if unknown:
        raise InvalidModel(unknown)
    return [Declared(meta.name, tuple(meta.shape), np.dtype(_TYPES[meta.type])) for meta in session.get_inputs()]


@contextlib.contextmanager
def _translated(ort: ModuleType, place: str, settings: Settings, action: str) -> Iterator[None]:
    """Turn the runtime's own exceptions into ours: the file's fault, or the runtime's."""
    state = ort.capi.onnxruntime_pybind11_state
    files = (state.NoSuchFile, state.InvalidProtobuf, state.InvalidGraph, state.NoModel, state.InvalidArgument)
    # Many networks run at some sizes only, so after a size was given that is the likeliest reason.
    sized = action == "run" and (settings.input_size is not None or bool(settings.axes))
    work = (state.Fail, state.RuntimeException, state.EPFail, state.NotImplemented, state.EngineError, RuntimeError)
    try:
        yield
    except files as error:
        text = f"onnxruntime cannot {action} it: {first_line(error)}"
        raise InvalidModel(text, place=place, advice=_ADVICE_SIZE if sized else "") from error
    except work as error:
        raise WorkFailed(
            f'onnxruntime cannot {action} it on "{settings.provider}": {first_line(error)}',
            place=place,
            advice=_ADVICE_SIZE if sized else _ADVICE[settings.provider],
        ) from error


def _serialised(graph: Graph) -> bytes:
    # Only needed for models that are not files.
    import onnx_ir as ir

    content: bytes = ir.to_proto(graph.model).SerializeToString()
    return content
