"""The search supermodel: one backbone in which every task may share, copy or skip each unit (AutoMTL, Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import onnx_ir as ir
import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig
from trunkline.fragments.taps import read_taps
from trunkline.graph.computed_weights import computes_weight, has_parameters, stored_inputs_of
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import is_parameter, role_of
from trunkline.recipe import Mode, check_mode
from trunkline.sharing.lowering.lower import Lowered, check_heads
from trunkline.sharing.origin import BackboneWeight, HeadWeight, Origin, SkipWeight, head_name
from trunkline.sharing.plan import check_task_names
from trunkline.sharing.skip import skips_of
from trunkline.sharing.units import find_units, unit_of_nodes
from trunkline.supermodel import choice
from trunkline.supermodel.choice import Temperature
from trunkline.supermodel.choice_steps import ElementStep, MatrixStep, Mixing, NormStep, PlainStep, Step
from trunkline.supermodel.column import Column
from trunkline.supermodel.leaders import leaders_of
from trunkline.supermodel.mixing.gradient_sum import SummedWeights
from trunkline.supermodel.origin_store import OriginStore
from trunkline.twins.components import Component


class Supermodel(nn.Module):
    """A backbone with a choice at every operator unit, and a head per task.

    Of every weight ``conv1.weight`` is shared, and ``conv1.weight@2`` is the second task's own copy, which starts
    equal to the shared one. ``conv1.skip.weight@depth`` is the projection of task ``depth``, and
    ``conv1_bn.mean~depth`` the running mean of what its column feeds to ``conv1_bn``.

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
        self.store = OriginStore(backbone.initializers, seed=seed)
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
        self._leaders: tuple[list[list[int]], dict[str, dict[str, str]]] = ([], {})
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
        return (Component(self.tasks, frozenset(self.store.weights())),)

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

    def weights(self, lowered: Lowered) -> dict[str, Tensor]:
        """Return what the model of a plan starts from when it goes on from here, by its names, detached.

        Raises:
            InvalidConfig: The plan has other tasks, or the same in another order: copies are numbered by task.
            InvalidModel: It has weights that are not here, such as a copy of a weight that no task has.
        """
        tasks = tuple(name_of(value) for value in lowered.graph.outputs)
        if tasks != self.tasks:
            text = f"the plan is for {', '.join(tasks)}; the search was for {', '.join(self.tasks)}"
            raise InvalidConfig(text, advice="name the tasks in the order of the search, or train from scratch")
        return self.store.starts(lowered.origin)

    def _run_task(self, image: Tensor, task: str, summed: SummedWeights) -> Tensor:
        index = self.tasks.index(task)
        p, hard = self.option_weights(index), self._mode == "argmax"
        # What equal choices compute is computed once in the model that they amount to, with one set of statistics.
        leaders = self._read_statistics()[task] if hard and not self.training else {}
        column = Column.of(task, index, p, summed, hard=hard, leaders=leaders)
        values = {name_of(self.backbone.input): image}
        for position, step in enumerate(self.steps):
            assert isinstance(step, Step)
            step.run(values, column, self.store.at)
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
            step.run(values, column, self.store.at)
        return values[head_name(task, name_of(head.outputs[0]))]

    def _read_statistics(self) -> dict[str, dict[str, str]]:
        """Return the leaders of the most likely choices, by task; all batches of an evaluation make the same."""
        choices = torch.stack([self.option_weights(t).argmax(-1) for t in range(len(self.tasks))], dim=1).tolist()
        if choices != self._leaders[0]:
            found = leaders_of(self.backbone, self.units, self.skips, self.tasks, choices, self.batchnorm)
            self._leaders = (choices, found)
        return self._leaders[1]

    def _steps(self, mixing: Mixing) -> list[Step]:
        unit_of = unit_of_nodes(self.units)
        nodes = [node for node in self.backbone.nodes if not computes_weight(node)]
        return [self._step_of(node, unit_of.get(name_of(node)), mixing) for node in nodes]

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
        return [PlainStep(node, head=task) for node in self.heads[task].nodes if not computes_weight(node)]

    def _add_backbone_weights(self) -> None:
        """Store the shared instance of every weight, and an equal copy for each task where it has a choice.

        A running statistic has no shared instance: each task's column has its own.
        """
        unit_of = unit_of_nodes(self.units)
        chosen = {
            id(value)
            for node in self.backbone.nodes
            if name_of(node) in unit_of and not computes_weight(node)
            for value in stored_inputs_of(node)
            if is_parameter(value)
        }
        work: list[tuple[ir.Value, list[Origin]]] = []
        for name, value in self.backbone.initializers.items():
            copies = len(self.tasks) if id(value) in chosen else 0
            origins: list[Origin] = [BackboneWeight(name, instance) for instance in range(copies + 1)]
            if role_of(value) == "statistic":
                origins = [BackboneWeight(name, column=task) for task in self.tasks]
            work.append((value, origins))
        self.store.keep_all(work)
        for unit, skip in zip(self.units, self.skips, strict=True):
            if skip is not None and skip.weight_shape:
                for task in self.tasks:
                    self.store.keep_projection(SkipWeight(unit.name, task), skip.weight_shape)

    def _add_head_weights(self) -> None:
        for task, head in self.heads.items():
            self.store.keep_all([(value, [HeadWeight(task, name)]) for name, value in head.initializers.items()])

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
