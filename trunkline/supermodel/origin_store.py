"""The weights of a supermodel, stored and read by origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import free_name
from trunkline.graph.roles import is_setting, role_of
from trunkline.sharing.origin import BackboneWeight, Origin, SkipWeight, wanted_name
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
        self._taken = set(reserved)
        self._seed = seed

    def at(self, origin: Origin) -> Tensor:
        """Return the tensor of an origin; raises ``KeyError``."""
        return self.tensor(self._names[origin])

    def keep_all(self, work: Sequence[tuple[ir.Value, Sequence[Origin]]]) -> None:
        """Store the initial content of each value for each of its origins, in its role.

        Drawing and copying is all that building a supermodel costs, and torch does it outside Python's lock.
        """
        wanted = [(value, origins) for value, origins in work if not is_setting(value)]
        kinds = {"parameter": self.keep_parameter, "statistic": self.keep_statistic, "static": self.keep_constant}
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            contents = pool.map(lambda item: self._copies(item[0], len(item[1])), wanted)
            for (value, origins), tensors in zip(wanted, contents, strict=True):
                for origin, tensor in zip(origins, tensors, strict=True):
                    kinds[role_of(value)](self._named(origin), tensor)

    def keep_projection(self, origin: SkipWeight, shape: tuple[int, ...]) -> None:
        """Store the weight of a skip's 1×1 convolution."""
        name = self._named(origin)
        self.keep_parameter(name, draw(Filler("xavier"), name, shape, self._seed))

    def starts(self, origins: Mapping[str, Origin]) -> dict[str, Tensor]:
        """Return the tensors of a lowered model's weights by the names they have there, detached.

        Raises:
            InvalidModel: Some of them are not here; all are named.
        """
        held = {name: self._held(origin) for name, origin in origins.items()}
        advice = "train the plan from scratch"
        problems = [Problem("the search has no such weight", name, advice) for name, own in held.items() if own is None]
        if problems:
            raise InvalidModel(problems)
        return {name: self.at(own).detach() for name, own in held.items() if own is not None}

    def _held(self, origin: Origin) -> Origin | None:
        """Return where a weight is kept: a column has statistics of its own, and instances have the rest."""
        candidates = [origin]
        if isinstance(origin, BackboneWeight) and origin.column:
            statistic = BackboneWeight(origin.name, column=origin.column)
            candidates = [statistic, BackboneWeight(origin.name, origin.instance)]
        return next((found for found in candidates if found in self._names), None)

    def _named(self, origin: Origin) -> str:
        name = wanted_name(origin)
        if origin != BackboneWeight(name):
            name = free_name(name, self._taken)
        self._names[origin] = name
        self._taken.add(name)
        return name

    def _copies(self, value: ir.Value, count: int) -> list[Tensor]:
        first = initial_tensor(value, self._seed)
        return [first, *(first.clone() for _ in range(count - 1))]
