"""The search supermodel: one backbone in which every task may share, copy or skip each unit (AutoMTL, Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import onnx_ir as ir
import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig
from trunkline.ingest.fillers import Filler
from trunkline.ingest.graph import Graph, name_of
from trunkline.ingest.parameters import is_setting, role_of
from trunkline.supermodel import choice
from trunkline.supermodel.choice import Mode, Temperature, check_mode
from trunkline.supermodel.components import Component
from trunkline.supermodel.gradient_sum import SummedWeights
from trunkline.supermodel.lower import check_heads
from trunkline.supermodel.naming import head_name, instance_name, is_instanced, skip_weight_name
from trunkline.supermodel.plan import check_task_names
from trunkline.supermodel.skip import skips_of
from trunkline.supermodel.steps import Column, ElementStep, MatrixStep, Mixing, NormStep, PlainStep, Step
from trunkline.supermodel.taps import read_taps
from trunkline.supermodel.twins.initial import draw, initial_tensor
from trunkline.supermodel.twins.store import WeightStore
from trunkline.supermodel.units import find_units, has_parameters, unit_of_nodes


class Supermodel(nn.Module):
    """A backbone with a choice at every operator unit, and a head per task.

    Weights carry the names that the lowered model will give them: ``conv1.weight`` is shared, ``conv1.weight@2``
    is the second task's own copy, which starts equal to the shared one, ``conv1.skip@2`` its projection.

    Args:
        backbone: Its outputs are the feature maps that the heads read, the last one last.
        heads: A head per task; a task without one outputs the last feature map.
        tasks: Task names in output order.
        mixing: ``weight`` mixes kernels and runs one convolution; ``output`` runs every option (the reference).
        batchnorm: ``tied`` follows its unit's choice; ``task`` is each task's own, as in the release.
        allow_skip: Whether skip is an option at all.
        prefer_shared: Initial logit of "shared" above the others; 0 is the release's start.
        straight_through: One-hot samples forward, soft gradients backward.
        temperature: Of the Gumbel-Softmax, as a function of the step.
        seed: Of initial weights and of the Gumbel noise.
    """

    def __init__(
        self,
        backbone: Graph,
        heads: Mapping[str, Graph],
        tasks: Sequence[str],
        *,
        mixing: Mixing = "weight",
        batchnorm: Literal["tied", "task"] = "tied",
        allow_skip: bool = True,
        prefer_shared: float = 0.0,
        straight_through: bool = False,
        temperature: Temperature | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_task_names(tasks)
        check_heads(tasks, heads, backbone)
        self.tasks = tuple(tasks)
        self.backbone, self.heads = backbone, dict(heads)
        self.batchnorm = batchnorm
        self.straight_through = straight_through
        self.temperature = temperature or Temperature()
        self.seed = seed
        self.units = find_units(backbone, "operator")
        if not self.units:
            raise InvalidConfig(f"{backbone.name} has no operator with weights: there is nothing to share")
        found = skips_of(backbone, self.units)
        self.skips = found if allow_skip else [None] * len(found)
        self.store = WeightStore()
        self._add_backbone_weights()
        self._add_head_weights()
        self.steps = nn.ModuleList(self._steps(mixing))
        self.head_steps = nn.ModuleDict({task: nn.ModuleList(self._head_steps(task)) for task in self.heads})
        logits = torch.zeros(len(self.units), choice.OPTIONS)
        logits[:, choice.SHARED] = prefer_shared
        # One parameter a task: a step on one task's loss must leave the others' policies alone, decay included.
        self.policies = nn.ParameterList(nn.Parameter(logits.clone()) for _ in self.tasks)
        self.register_buffer("allowed", self._allowed(), persistent=False)
        self._mode: Mode = "average"
        self._step = 0
        self._last_use = self._last_uses()

    allowed: Tensor

    def forward(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the predictions of ``tasks`` (default all) for images ``[N, C, H, W]``."""
        summed = SummedWeights()
        return {task: self._run_task(image, task, summed) for task in tasks or self.tasks}

    def parameter_groups(self) -> dict[str, dict[str, nn.Parameter]]:
        """Return trainable parameters by group: ``weights`` under their ONNX names, and a ``policy`` per task."""
        policy = {f"policy.{task}": logits for task, logits in zip(self.tasks, self.policies, strict=True)}
        return {"weights": self.store.trainable(), "policy": policy}

    def components(self) -> tuple[Component, ...]:
        """Return the parts that no common weight joins: while choices are open, every task may reach every weight."""
        return (Component(self.tasks, frozenset(self.weights())),)

    def begin_step(self, step: int, *, mode: Mode) -> dict[str, float]:
        """Set how the coming forward passes choose, and draw this step's noise.

        Args:
            step: Step of the phase; noise and temperature are pure functions of it.
            mode: ``average`` (pre-training), ``sample`` (Gumbel-Softmax), ``soft`` (the learned distribution as
                it is) or ``argmax``.

        Raises:
            InvalidConfig: There is no such mode.
        """
        self._mode, self._step = check_mode(mode), step
        return {"temperature": self.temperature.at(step)} if mode == "sample" else {}

    def option_weights(self, task: int, *, stream: str = "forward") -> Tensor:
        """Return the weights of the options that ``task`` uses now, ``[units, 3]``: P' of Eq. 1 when sampling."""
        logits, allowed = self.policies[task], self.allowed[:, task]
        if self._mode == "average":
            return choice.average(logits.detach(), allowed)
        if self._mode == "argmax":
            return choice.argmax(logits.detach(), allowed)
        if self._mode == "soft":
            return choice.probabilities(logits, allowed)
        name = f"gumbel/{stream}/{self.tasks[task]}"
        noise = choice.gumbel_noise(tuple(logits.shape), seed=self.seed, step=self._step, stream_name=name)
        tau = self.temperature.at(self._step)
        return choice.gumbel_softmax(logits, allowed, noise.to(logits), tau, straight_through=self.straight_through)

    def probabilities(self) -> Tensor:
        """Return the learned distribution π, ``[units, T, 3]``."""
        return choice.probabilities(torch.stack(list(self.policies), dim=1), self.allowed)

    def set_policy(self, logits: Tensor) -> None:
        """Replace all logits, ``[units, T, 3]``."""
        with torch.no_grad():
            for task, own in enumerate(self.policies):
                own.copy_(logits[:, task])

    def weights(self) -> dict[str, Tensor]:
        """Return parameters and running statistics by the names they have in the lowered model."""
        return self.store.weights()

    def _run_task(self, image: Tensor, task: str, summed: SummedWeights) -> Tensor:
        index = self.tasks.index(task)
        p = self.option_weights(index)
        column = Column.of(index, p, summed, hard=self._mode == "argmax")
        values = {name_of(self.backbone.input): image}
        for position, step in enumerate(self.steps):
            assert isinstance(step, Step)
            step.run(values, column, self.store.tensor)
            for name in self._last_use[position]:
                values.pop(name, None)
        taps = [values[name_of(value)] for value in self.backbone.outputs]
        return taps[-1] if task not in self.heads else self._run_head(task, taps, column)

    def _run_head(self, task: str, taps: Sequence[Tensor], column: Column) -> Tensor:
        head = self.heads[task]
        values = {head_name(task, name): tap for name, tap in read_taps(head, taps)}
        steps = self.head_steps[task]
        assert isinstance(steps, nn.ModuleList)
        for step in steps:
            assert isinstance(step, Step)
            step.run(values, column, self.store.tensor)
        return values[head_name(task, name_of(head.outputs[0]))]

    def _steps(self, mixing: Mixing) -> list[Step]:
        unit_of = unit_of_nodes(self.units)
        return [self._step_of(node, unit_of.get(name_of(node)), mixing) for node in self.backbone.nodes]

    def _step_of(self, node: ir.Node, unit: int | None, mixing: Mixing) -> Step:
        if unit is None or not has_parameters(node):
            return PlainStep(node)
        skip = self.skips[unit]
        if name_of(node) == self.units[unit].name:
            return MatrixStep(node, unit, skip, mixing)
        skippable = skip is not None and name_of(node) in self.units[unit].nodes
        if node.op_type == "BatchNormalization":
            per_task = self.batchnorm == "task"
            return NormStep(node, unit, skippable=skippable, mixing=mixing, per_task=per_task)
        return ElementStep(node, unit, skippable=skippable)

    def _head_steps(self, task: str) -> list[Step]:
        return [PlainStep(node, prefix=head_name(task, "")) for node in self.heads[task].nodes]

    def _add_backbone_weights(self) -> None:
        """Store the shared instance of every weight, and an equal copy for each task where it has a choice."""
        unit_of = unit_of_nodes(self.units)
        chosen = {
            id(value)
            for node in self.backbone.nodes
            if name_of(node) in unit_of
            for value in node.inputs
            if is_instanced(value)
        }
        work = []
        for name, value in self.backbone.initializers.items():
            copies = len(self.tasks) if id(value) in chosen else 0
            work.append((value, [instance_name(name, instance) for instance in range(copies + 1)]))
        self._keep_all(work)
        filler = Filler("xavier")
        for unit, skip in zip(self.units, self.skips, strict=True):
            if skip is not None and skip.weight_shape:
                for instance in range(1, len(self.tasks) + 1):
                    name = skip_weight_name(unit.name, instance)
                    self.store.keep_parameter(name, draw(filler, name, skip.weight_shape, self.seed))

    def _add_head_weights(self) -> None:
        heads = self.heads.items()
        self._keep_all([(v, [head_name(task, name)]) for task, head in heads for name, v in head.initializers.items()])

    def _keep_all(self, work: Sequence[tuple[ir.Value, Sequence[str]]]) -> None:
        """Store the initial content of each value under each of its names, in its role.

        Drawing and copying is all that building a supermodel costs, and torch does it outside Python's lock.
        """
        wanted = [(value, names) for value, names in work if not is_setting(value)]
        kinds = {
            "parameter": self.store.keep_parameter,
            "statistic": self.store.keep_statistic,
            "static": self.store.keep_constant,
        }
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            contents = pool.map(lambda item: self._copies(item[0], len(item[1])), wanted)
            for (value, names), tensors in zip(wanted, contents, strict=True):
                for name, tensor in zip(names, tensors, strict=True):
                    kinds[role_of(value)](name, tensor)

    def _copies(self, value: ir.Value, count: int) -> list[Tensor]:
        first = initial_tensor(value, self.seed)
        return [first, *(first.clone() for _ in range(count - 1))]

    def _allowed(self) -> Tensor:
        allowed = torch.ones(len(self.units), len(self.tasks), choice.OPTIONS, dtype=torch.bool)
        for index, skip in enumerate(self.skips):
            allowed[index, :, choice.SKIPPED] = skip is not None
        return allowed

    def _last_uses(self) -> list[list[str]]:
        """Return, for each step, the values that nothing later reads, so that they can be let go."""
        kept = {name_of(value) for value in self.backbone.outputs}
        last: dict[str, int] = {}
        for position, step in enumerate(self.steps):
            assert isinstance(step, Step)
            last.update({read: position for read in step.reads if read is not None})
            last.update({write: position for write in step.writes if write not in last})
        done: list[list[str]] = [[] for _ in self.steps]
        for name, position in last.items():
            if name not in kept:
                done[position].append(name)
        return done
