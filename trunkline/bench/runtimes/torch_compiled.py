"""``torch.compile`` as a bench runtime: the twin as one graph, made into machine code by inductor.

``TORCHDYNAMO_DISABLE`` and the like make ``torch.compile`` a call of the plain module, without a word. So the compiler
itself is watched: it must have been given the model, once and as one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.torch_session import OpenedTwin, TorchSession, open_twin
from trunkline.bench.settings import Settings
from trunkline.errors import WorkFailed, first_line
from trunkline.graph.graph import Graph

if TYPE_CHECKING:
    import torch

    from trunkline.bench.runtimes.torch_session import Forward

Compiler = Callable[..., Any]

_SWITCHED_OFF = "unset TORCHDYNAMO_DISABLE and TORCH_COMPILE_DISABLE, or measure with --runtime torch"
_NO_COMPILER = "on cpu it needs a C++ compiler (apt install g++); or measure with --runtime torch"


class WatchedCompiler:
    """A backend of ``torch.compile`` that counts what it is given.

    Attributes:
        graphs: How many graphs were compiled.
        nodes: How many operations they held.
    """

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self.graphs = 0
        self.nodes = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Sequence[torch.Tensor], **options: Any) -> Any:
        """Compile one graph."""
        self.graphs += 1
        self.nodes += sum(node.op in ("call_function", "call_method", "call_module") for node in graph.graph.nodes)
        return self._compiler(graph, inputs, **options)


class CompiledSession(TorchSession):
    """A compiled Twin; it describes how many operations the compiler was given."""

    def __init__(self, opened: OpenedTwin, settings: Settings, compiler: WatchedCompiler, place: str) -> None:
        import torch  # slow to load

        # One graph or an error, and no code that would fit other sizes too: the sizes are those that are measured.
        forward = torch.compile(_own_code(opened.twin), fullgraph=True, dynamic=False, backend=compiler)
        self._compiler = compiler
        # Code is generated for the threads that torch has now.
        torch.set_num_threads(settings.threads)
        super().__init__(forward, opened, settings, "compiled")
        if compiler.graphs != 1 or not compiler.nodes:
            raise WorkFailed(
                f"torch.compile was asked for, and its compiler was given {compiler.graphs} graphs",
                place=place,
                advice=_SWITCHED_OFF,
            )

    def describe(self) -> Mapping[str, str]:
        """Return version and options."""
        return {**super().describe(), "compiler": "inductor", "compiled operations": str(self._compiler.nodes)}


class CompiledRuntime(Runtime):
    """Runs Graphs as twins that inductor has compiled."""

    name = "torch-compile"
    providers = ("cpu", "cuda")
    needs = "a C++ compiler on cpu; a CUDA build of torch, with triton, for cuda"
    one_allocator = True

    def prepare(self, model: Path | Graph, settings: Settings) -> CompiledSession:
        """Compile the twin of a Graph; see :class:`~trunkline.bench.runtimes.base.Runtime`."""
        self.require(settings)
        opened = open_twin(model, settings, self._limits)
        place = model.name if isinstance(model, Graph) else str(model)
        compiler = WatchedCompiler(_inductor())
        try:
            return CompiledSession(opened, settings, compiler, place)
        # torch's compilers raise errors of their own, which are all RuntimeErrors.
        except RuntimeError as error:
            raise WorkFailed(
                # What a backend raised is inside an error whose first line names the backend only.
                f"torch.compile cannot compile it: {first_line(getattr(error, 'inner_exception', error))}",
                place=place,
                advice=_NO_COMPILER if compiler.graphs else _SWITCHED_OFF,
            ) from error


def _own_code(twin: torch.nn.Module) -> Forward:
    """Return a function that calls ``twin`` and has code of its own.

    Compiled code is kept by the code that it was made of. All twins have one ``forward``, so each call would look
    through the code of all of them, and after eight models torch would compile no more.
    """

    def forward(image: torch.Tensor) -> Mapping[str, torch.Tensor]:
        return cast("Mapping[str, torch.Tensor]", twin(image))

    return FunctionType(forward.__code__.replace(), globals(), closure=forward.__closure__)


def _inductor() -> Compiler:
    from torch._dynamo import lookup_backend

    compiler: Compiler = lookup_backend("inductor")
    return compiler
