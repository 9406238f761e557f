"""Sluice Networks (Ruder et al. 2019): a column a task, whose channels are subspaces that are mixed with all others'.

The channels behind every layer are S groups. With f^{t,s} for group s of task t, the columns go on with

    [g^{1,1}, …, g^{T,S}] = α_l · [f^{1,1}, …, f^{T,S}]

and the head of task t reads Σ_l β_l^t · g_l^t over its layers. A penalty keeps the parts of a layer's weight that make
different subspaces from doing the same. α, β and all weights train together. Nothing is searched or dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import name_of
from trunkline.graph.output_layer import output_convolution
from trunkline.recipe import Count, NotNegative, Phase, Positive
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.origin import BackboneWeight
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.columns import ColumnsMethod, ColumnsOptions, joint_phase, start_of_own
from trunkline.supermodel.work import WeightTerm

ORTHOGONALITY = "orthogonality"
"""The loss term over weights."""
Form = Literal["paper", "small"]


class SluiceOptions(ColumnsOptions):
    """What can be set about Sluice Networks."""

    subspaces: Count = Field(2, description="groups of channels of each layer")
    start: Literal["imbalanced", "balanced"] = Field(
        "imbalanced", description="whether a subspace starts mostly as itself, or as the mean of all"
    )
    alpha: float | None = Field(
        None, gt=0, le=1, description="a subspace's own share, imbalanced; 0.9 for two tasks, 0.8 for more, if absent"
    )
    beta: float = Field(0.9, gt=0, le=1, description="the last layer's share of what a head reads, at the start")
    sites: Literal["stages", "blocks"] = Field("blocks", description="mix behind every stage, or behind every block")
    orthogonality: NotNegative = Field(0.1, description="weight of the penalty; 0 for none")
    orthogonality_form: Form = Field(
        "paper", description="`paper`: ‖G1ᵀG2‖² with units as rows; `small`: ‖G1G2ᵀ‖², 0 where units are orthogonal"
    )
    rate_factor: Positive = Field(1.0, description="how many times as fast as all other weights α and β learn")


class Sluice(ColumnsMethod[SluiceOptions]):
    """Columns with mixes of subspaces; see the module's text."""

    name = "sluice"
    needs = "single-task models, which it trains first; then one joint training of columns and mixes"
    decides = "nothing: how subspaces and layers mix is trained with their weights"
    yields = "a column a task, and trained mixes between them"
    source = "Ruder, Bingel, Augenstein, Søgaard: Latent Multi-task Architecture Learning (AAAI 2019)"
    Options = SluiceOptions

    def joins_at(self, sites: Sequence[str]) -> list[Join]:
        """Return a mix of subspaces for each site and task, and each task's mix of layers."""
        tasks = self.setup.tasks
        joins = [self._subspaces(site, task) for site in sites for task in tasks]
        layers = _alike(self.setup.backbone, sites)
        # Of one layer the head reads all there is.
        if len(layers) > 1:
            joins += [self._layers(layers, task) for task in tasks]
        return joins

    def terms(self, plan: SharingPlan) -> dict[str, WeightTerm]:
        """Return the penalty, where there are subspaces to keep apart."""
        # A layer has several subspaces only where several columns are mixed.
        if plan.joins and self.options.orthogonality and self.options.subspaces > 1:
            return {ORTHOGONALITY: self.orthogonality(plan)}
        return {}

    def joint_phase(self, terms: Sequence[str]) -> Phase:
        """Return the pipeline's phase, in which α and β learn at a rate of their own, with the penalty."""
        weights = dict.fromkeys(terms, self.options.orthogonality)
        return joint_phase(self.setup, self.options.rate_factor, terms=weights)

    def orthogonality(self, plan: SharingPlan) -> Orthogonality:
        """Return the penalty on the weights of a plan's columns that make subspaces.

        Raises:
            InvalidConfig: No layer has such a weight.
        """
        made_by = {_weight_behind(self.setup.backbone, site) for site in self.sites()}
        # By origin: names of weights mean nothing.
        origin = lower(plan, self.setup.backbone, self.setup.heads).origin
        names = [key for key, own in origin.items() if isinstance(own, BackboneWeight) and own.name in made_by]
        if not names:
            text = "no block ends in a convolution with a stored weight, so there is nothing to keep orthogonal"
            raise InvalidConfig(text, place="search.orthogonality", advice="write `orthogonality = 0`")
        return Orthogonality(tuple(names), self.options.subspaces, self.options.orthogonality_form)

    def _subspaces(self, site: str, task: str) -> Join:
        tasks = self.setup.tasks
        return Join(
            name=f"{site}.{task}",
            kind="subspaces",
            settings={"starts": [self._square(own=other == task) for other in tasks]},
            site=site,
            task=task,
            # In one order for all columns, so that the file puts the maps behind each other once.
            reads=tuple(Read.column(site, other) for other in tasks),
            gives="site",
        )

    def _square(self, *, own: bool) -> list[list[float]]:
        """Return α from the subspaces of a column, its own or another's, to those of a column."""
        count, tasks = self.options.subspaces, len(self.setup.tasks)
        if self.options.start == "balanced":
            return [[1 / (tasks * count)] * count for _ in range(count)]
        alpha = start_of_own(self.options.alpha, tasks)
        others = (1 - alpha) / (tasks * count - 1)
        square = [[others] * count for _ in range(count)]
        if own:
            for group in range(count):
                square[group][group] = alpha
        return square

    def _layers(self, sites: Sequence[str], task: str) -> Join:
        earlier, last = sites[:-1], sites[-1]
        share = (1 - self.options.beta) / len(earlier)
        return Join(
            name=f"layers.{task}",
            kind="mix",
            settings={"starts": [*[share] * len(earlier), self.options.beta]},
            site=last,
            task=task,
            reads=tuple(Read.of(f"{site}.{task}") for site in sites),
            gives="tap",
        )


@dataclass(frozen=True, slots=True)
class Orthogonality:
    """The penalty over weights, for each unit of a subspace: Σ over layers and pairs of subspaces / Σ C_l/S.

    Attributes:
        names: The weights that make subspaces, ``[C, …]``, by name.
        subspaces: S.
        form: Which product of the parts is squared.
    """

    names: tuple[str, ...]
    subspaces: int
    form: Form

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the penalty: a scalar."""
        made = [weights[name] for name in self.names]
        units = sum(len(weight) for weight in made) / self.subspaces
        return torch.stack([penalty(weight, self.subspaces, self.form) for weight in made]).sum() / units


def penalty(weight: Tensor, subspaces: int, form: Form) -> Tensor:
    """Return Σ_{a<b} of ‖G_aᵀG_b‖² or, small, ‖G_aG_bᵀ‖², where G_a are the rows of a weight that make subspace a.

    >>> rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    >>> penalty(rows, 2, "paper"), penalty(rows, 2, "small")
    (tensor(4.), tensor(0.))
    """
    total = weight.new_zeros(())
    for one, other in itertools.combinations(weight.flatten(1).chunk(subspaces), 2):
        if form == "paper":
            # ‖AᵀB‖² = ⟨AAᵀ, BBᵀ⟩, which is far smaller: AᵀB has a row and a column for each number of a kernel.
            total = total + ((one @ one.T) * (other @ other.T)).sum()
        else:
            total = total + (one @ other.T).square().sum()
    return total


def _alike(backbone: Backbone, sites: Sequence[str]) -> list[str]:
    """Return the last sites, as far back as they have the last one's shape: others cannot be added to it."""
    shapes = backbone.shapes
    alike = itertools.takewhile(lambda site: shapes[site] == shapes[sites[-1]], reversed(sites))
    return list(alike)[::-1]


def _weight_behind(backbone: Backbone, site: str) -> str | None:
    """Return the name of the stored weight that makes the channels of a block's map, if there is one."""
    value = backbone.values[site]
    # A last feature map may lie inside a block, before what the block hands on.
    maker = value.producer()
    assert maker is not None
    block = next(unit for unit in backbone.table("block").units if name_of(maker) in unit.nodes)
    convolution = output_convolution([backbone.nodes[name] for name in block.nodes], value)
    weight = None if convolution is None else convolution.inputs[1]
    return name_of(weight) if weight is not None and weight.is_initializer() else None
