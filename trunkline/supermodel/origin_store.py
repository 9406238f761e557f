"""The weights of a supermodel, stored and read by origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import onnx_ir as ir
import torch
from torch import Tensor, nn

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import is_setting, role_of, statistic_starts
from trunkline.graph.unique_names import UniqueNames
from trunkline.sharing.lowering.numbering import Cell
from trunkline.sharing.origin import BackboneWeight, FragmentWeight, Leading, Origin, SkipWeight, wanted_name
from trunkline.sharing.space import Space
from trunkline.twins.initial_weights import draw, initial_tensor
from trunkline.twins.weight_store import WeightStore


class OriginStore(WeightStore):
    """Tensors by origin. Each has a name too, for checkpoints and optimisers, numbered where another has it.

    Args:
        reserved: Names that only instance 0 of the backbone's weights may have.
        seed: Of what is drawn.
    """

    def __init__(self, reserved: Iterable[str], *, seed: int) -> None:
        super().__init__()
        self._names: dict[Origin, str] = {}
        self._unique = UniqueNames(reserved)
        self._seed = seed
        self._statistics: dict[str, float] = {}

    def at(self, origin: Origin | Leading) -> Tensor:
        """Return the tensor of an origin, or its leading part; raises ``KeyError``."""
        if isinstance(origin, Leading):
            return self.tensor(self._names[origin.weight]).narrow(origin.axis, 0, origin.size)
        return self.tensor(self._names[origin])

    def keep_cells(
        self,
        cells: Sequence[Cell],
        space: Space,
        fragments: Mapping[tuple[str, str], Graph],
        frozen: Mapping[str, float],
    ) -> None:
        """Store the initial content of everything that cells read.

        Args:
            cells: Of a walk over the space.
            space: With the backbone, and the skips whose projections are drawn.
            fragments: Heads and joins, by part and owner.
            frozen: What is held at one number, by the backbone's name for it.
        """
        # A dictionary as an ordered set: a set of strings has another order in every process, and names that clash
        # are numbered in this one.
        read: dict[Origin, None] = {}
        for cell in cells:
            read.update(dict.fromkeys(whole_origin(weight) for weight in cell.weights))
        backbone = space.backbone.graph
        self._keep_all(_of_backbone(read, backbone), frozen, backbone)
        for unit, skip in zip(space.table.units, space.table.skips, strict=True):
            for task in space.tasks:
                origin = SkipWeight(unit.name, task)
                if origin in read and skip is not None:
                    self._keep_projection(origin, skip.weight_shape)
        for (part, owner), fragment in fragments.items():
            self._keep_all(_of_fragment(read, fragment, part, owner), {}, fragment)

    def trainable_by_part(self) -> dict[str, dict[str, nn.Parameter]]:
        """Return the parameters as the groups ``weights.backbone``, ``weights.joins`` and ``weights.heads``."""
        groups: dict[str, dict[str, nn.Parameter]] = {"weights.backbone": {}, "weights.joins": {}, "weights.heads": {}}
        parameters = self.trainable()
        for name, origin in self.trainable_origins().items():
            part = f"{origin.part}s" if isinstance(origin, FragmentWeight) else "backbone"
            groups[f"weights.{part}"][name] = parameters[name]
        return {name: group for name, group in groups.items() if group}

    def statistics(self) -> dict[str, Tensor]:
        """Return all running statistics by name."""
        return {name: self.tensor(name) for name in self._statistics}

    def reset_statistics(self) -> None:
        """Set running means to 0 and variances to 1."""
        for name, start in self._statistics.items():
            self.tensor(name).fill_(start)

    def starts(self, origins: Mapping[str, Origin | Leading]) -> dict[str, Tensor]:
        """Return the tensors of a lowered model's weights by the names they have there, detached.

        Raises:
            InvalidModel: Some of them are not here; all are named.
        """
        missing = [name for name, weight in origins.items() if whole_origin(weight) not in self._names]
        if missing:
            advice = "train the plan from scratch"
            raise InvalidModel([Problem("the search has no such weight", name, advice) for name in missing])
        return {name: self.at(origin).detach() for name, origin in origins.items()}

    def trainable_origins(self) -> dict[str, Origin]:
        """Return the origin of every parameter, by its name."""
        parameters = self.trainable()
        return {name: origin for origin, name in self._names.items() if name in parameters}

    def _keep_all(
        self, work: Sequence[tuple[ir.Value, Sequence[Origin]]], frozen: Mapping[str, float], graph: Graph
    ) -> None:
        """Store the initial content of each value for each of its origins, in its role."""
        wanted = [(value, origins) for value, origins in work if not is_setting(value)]
        starts = statistic_starts(graph)
        # Drawing and copying is all that building a supermodel costs, and torch does it outside Python's lock.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            contents = pool.map(lambda item: self._copies(*item), wanted)
            for (value, origins), tensors in zip(wanted, contents, strict=True):
                for origin, tensor in zip(origins, tensors, strict=True):
                    self._keep(value, origin, tensor, frozen.get(name_of(value)))
                    if role_of(value) == "statistic":
                        self._statistics[self._names[origin]] = starts[name_of(value)]

    def _keep(self, value: ir.Value, origin: Origin, tensor: Tensor, held: float | None) -> None:
        if held is not None:
            # Neither trained nor saved. A model that goes on from here has a parameter again, which starts from this.
            self.keep_constant(self._named(origin), torch.full_like(tensor, held))
            return
        keep_as = {"parameter": self.keep_parameter, "statistic": self.keep_statistic, "static": self.keep_constant}
        keep_as[role_of(value)](self._named(origin), tensor)

    def _keep_projection(self, origin: SkipWeight, shape: tuple[int, ...]) -> None:
        name = self._named(origin)
        self.keep_parameter(name, draw(Filler("xavier"), name, shape, self._seed))

    def _named(self, origin: Origin) -> str:
        name = wanted_name(origin)
        # Only the backbone's own weight has a right to its name: a backbone may have a `conv1.weight@1` by itself.
        if origin != BackboneWeight(name):
            name = self._unique.take(name)
        self._names[origin] = name
        return name

    def _copies(self, value: ir.Value, origins: Sequence[Origin]) -> list[Tensor]:
        first = initial_tensor(value, self._seed)
        return [_part_of(first, origin, first=index == 0) for index, origin in enumerate(origins)]


def whole_origin(weight: Origin | Leading) -> Origin:
    """Return the origin of the tensor that is stored: a leading part has no memory of its own."""
    return weight.weight if isinstance(weight, Leading) else weight


def _part_of(content: Tensor, origin: Origin, *, first: bool) -> Tensor:
    """Return a tensor of its own for an origin; of a view's statistics, the leading channels."""
    channels = origin.channels if isinstance(origin, BackboneWeight) and origin.narrow else 0
    if channels:
        return content[:channels].clone()
    return content if first else content.clone()


def _of_backbone(read: Mapping[Origin, None], graph: Graph) -> list[tuple[ir.Value, list[Origin]]]:
    by_name: dict[str, list[BackboneWeight]] = {}
    for origin in read:
        if isinstance(origin, BackboneWeight):
            by_name.setdefault(origin.name, []).append(origin)
    found: list[tuple[ir.Value, list[Origin]]] = []
    for name, value in graph.initializers.items():
        if name in by_name:
            found.append((value, [*sorted(by_name[name], key=lambda origin: origin.instance)]))
    return found


def _of_fragment(
    read: Mapping[Origin, None], fragment: Graph, part: str, owner: str
) -> list[tuple[ir.Value, list[Origin]]]:
    by_name: dict[str, list[Origin]] = {}
    for origin in read:
        if isinstance(origin, FragmentWeight) and (origin.part, origin.owner) == (part, owner):
            by_name.setdefault(origin.name, []).append(origin)
    return [(value, by_name[name]) for name, value in fragment.initializers.items() if name in by_name]
