"""The trainable twin of a Graph: same operators, same names, same numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from trunkline.collector import collector_paused
from trunkline.errors import InvalidConfig, Problem, UnsupportedOp, did_you_mean
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.graph.roles import is_setting, is_static_input, role_of, statistic_starts
from trunkline.text import shape_text
from trunkline.twins.components import Component, components_of
from trunkline.twins.initial_weights import initial_tensor, to_tensor
from trunkline.twins.op import Op
from trunkline.twins.precise import BLOCK_NUMBERS
from trunkline.twins.registry import make_op
from trunkline.twins.schedule import ScheduledOp, schedule
from trunkline.twins.weight_store import WeightStore

Watch = Callable[[str, Tensor], Tensor]


class Twin(WeightStore):
    """A Graph as a torch module.

    There is one parameter for each float initializer and one buffer for each running statistic, under their ONNX
    names: ``state_dict`` keys *are* ONNX names. A weight that several nodes read is one parameter.

    In evaluation mode a float64 image is computed in float64, though the weights stay in float32: each is cast when
    an operator reads it.

    Args:
        graph: A verified Graph. The twin keeps no reference to it.
        seed: Seed of the weights that are drawn; a weight depends on its name and the seed alone.
        weights: Content that replaces the initial one, by ONNX name; other weights start as the Graph defines.

    Raises:
        UnsupportedOp: Operators without a twin, all of them at once.
        InvalidModel: An unknown name or a wrong shape in ``weights``.

    >>> from trunkline.graph.builder import GraphBuilder
    >>> from trunkline.graph.fillers import Filler
    >>> builder = GraphBuilder("net")
    >>> image, weight = builder.image("image", (3, 4, 4)), builder.weight("conv/w:0", (8, 3, 1, 1), Filler("msra"))
    >>> twin = Twin(builder.finish([builder.node("Conv", [image, weight], name="maps")]))
    >>> twin(torch.zeros(2, 3, 4, 4))["maps"].shape
    torch.Size([2, 8, 4, 4])
    >>> list(twin.state_dict())
    ['conv/w:0']
    """

    @collector_paused()
    def __init__(
        self,
        graph: Graph,
        *,
        seed: int = 0,
        weights: Mapping[str, np.ndarray[Any, Any] | Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.operators = nn.ModuleList(_make_ops(graph.nodes))
        self.input_name = name_of(graph.input)
        self.image_shape = shape_of(graph.input)
        self.output_names = tuple(name_of(value) for value in graph.outputs)
        self._steps = tuple(_step(index, node) for index, node in enumerate(graph.nodes))
        self._statistic_starts = statistic_starts(graph)
        self._keep_weights(graph, seed, weights or {})
        self._schedules: dict[tuple[str, ...], tuple[ScheduledOp, ...]] = {}
        self._schedule(self.output_names)

    def forward(self, image: Tensor, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the outputs by name, computing only what they need.

        Args:
            image: ``[N, C, H, W]``.
            outputs: Names of the wanted outputs, or of any other value; all outputs by default.

        Raises:
            InvalidConfig: The image has the wrong number of channels, or there is no such output.
        """
        self._check_image(image)
        wanted = self.output_names if outputs is None else tuple(outputs)
        values, precise = {self.input_name: image}, self._is_precise(image)
        for step in self._schedule(wanted):
            self._run(step, values, precise)
            for name in step.drops:
                values.pop(name, None)
        return {name: self._read(name, values) for name in wanted}

    def components(self) -> tuple[Component, ...]:
        """Return the parts of the model that no common weight joins, by outputs."""
        stored = self.weights().keys()
        reads = {}
        for output in self.output_names:
            read = {name for step in self._schedule((output,)) for name in step.reads}
            reads[output] = stored & read
        return components_of(reads)

    def users(self) -> dict[str, frozenset[str]]:
        """Return, by weight, the outputs that are computed from it."""
        stored = self.weights()
        found: dict[str, set[str]] = {name: set() for name in stored}
        for output in self.output_names:
            for step in self._schedule((output,)):
                for name in step.reads:
                    if name is not None and name in found:
                        found[name].add(output)
        return {name: frozenset(outputs) for name, outputs in found.items()}

    def statistics(self) -> dict[str, Tensor]:
        """Return all running statistics by name."""
        return {name: self.tensor(name) for name in self._statistic_starts}

    def reset_statistics(self) -> None:
        """Set running means to 0 and variances to 1, as before anything was seen."""
        for name, start in self._statistic_starts.items():
            self.tensor(name).fill_(start)

    def run_values(self, image: Tensor, watch: Watch | None = None) -> dict[str, Tensor]:
        """Return every value of the Graph by name, the image included: for finding where two runs part.

        Args:
            image: ``[N, C, H, W]``.
            watch: Is shown the name and content of each value as soon as it is computed; what it returns is what
                later nodes read.
        """
        self._check_image(image)
        values, precise = {self.input_name: image}, self._is_precise(image)
        for step in self._steps:
            self._run(step, values, precise)
            for name in step.writes:
                if watch is not None and name in values:
                    values[name] = watch(name, values[name])
        return values

    def _is_precise(self, image: Tensor) -> bool:
        return image.dtype == torch.float64 and not self.training

    def _run(self, step: ScheduledOp, values: dict[str, Tensor], precise: bool) -> None:
        operator = self.operators[step.op]
        inputs = [None if name is None else self._read(name, values) for name in step.reads]
        if precise:
            inputs = [None if tensor is None else _precise(tensor, operator) for tensor in inputs]
        result = operator(*inputs)
        # Not strict: a node may declare outputs that nothing reads, and the operator then computes only the first.
        values.update(zip(step.writes, (result,) if isinstance(result, Tensor) else result, strict=False))

    def _read(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        return values[name] if name in values else self.tensor(name)

    def _schedule(self, outputs: tuple[str, ...]) -> tuple[ScheduledOp, ...]:
        # The same few sets of outputs are wanted in every step of a training.
        if outputs not in self._schedules:
            self._check_outputs(outputs)
            self._schedules[outputs] = schedule(self._steps, outputs)
        return self._schedules[outputs]

    def _keep_weights(self, graph: Graph, seed: int, given: Mapping[str, np.ndarray[Any, Any] | Tensor]) -> None:
        for name, value in graph.initializers.items():
            role = role_of(value)
            if role == "static":
                # Settings are fixed in the operators by now; constants and integers that are data are still read.
                if not is_setting(value):
                    self.keep_constant(name, initial_tensor(value, seed))
                continue
            keep = self.keep_parameter if role == "parameter" else self.keep_statistic
            # Content that is replaced at once is neither drawn nor read from the file.
            keep(name, _empty(value) if name in given else initial_tensor(value, seed))
        self.load_weights(given, strict=False)

    def _check_image(self, image: Tensor) -> None:
        if image.dim() != len(self.image_shape) or image.shape[1] != self.image_shape[1]:
            raise InvalidConfig(
                f"the image is {shape_text(image.shape)}, but the model needs {shape_text(self.image_shape)}",
                place=self.input_name,
            )

    def _check_outputs(self, outputs: tuple[str, ...]) -> None:
        known = {self.input_name, *(name for step in self._steps for name in step.writes)}
        unknown = [name for name in outputs if name not in known]
        if unknown:
            problems = [Problem("the model has no such output", name, did_you_mean(name, known)) for name in unknown]
            raise InvalidConfig(problems)


def _precise(tensor: Tensor, operator: nn.Module) -> Tensor:
    """Return a float32 tensor in float64, but for a large weight of an operator that casts by itself, in blocks."""
    is_single = tensor.dtype == torch.float32
    if not is_single or (getattr(operator, "casts", False) and tensor.numel() > BLOCK_NUMBERS):
        return tensor
    return tensor.double()


def _step(index: int, node: ir.Node) -> ScheduledOp:
    reads: list[str | None] = []
    for position, value in enumerate(node.inputs):
        # A static argument is fixed in the operator, which is then called with None in its place.
        if value is None or is_static_input(node, position):
            reads.append(None)
        else:
            reads.append(name_of(value))
    return ScheduledOp(index, tuple(reads), tuple(value.name or "" for value in node.outputs))


def _make_ops(nodes: Sequence[ir.Node]) -> list[Op]:
    """Build all operators; what is not supported is reported together, each kind of problem once."""
    ops: list[Op] = []
    problems: dict[str, list[Problem]] = {}
    for node in nodes:
        try:
            ops.append(make_op(node))
        except UnsupportedOp as error:
            for problem in error.problems:
                problems.setdefault(problem.message, []).append(problem)
    if problems:
        raise UnsupportedOp([_once_with_count(repeated) for repeated in problems.values()])
    return ops


def _once_with_count(repeated: Sequence[Problem]) -> Problem:
    first, more = repeated[0], len(repeated) - 1
    return replace(first, place=f"{first.place} and {more} more") if more else first


def _empty(value: ir.Value) -> Tensor:
    """Return a tensor of an initializer's shape and type, without drawing or reading its content."""
    assert value.const_value is not None
    kind = to_tensor(np.zeros(0, value.const_value.dtype.numpy())).dtype
    return torch.empty(value.const_value.shape.numpy(), dtype=kind)
