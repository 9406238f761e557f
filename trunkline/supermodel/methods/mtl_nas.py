"""MTL-NAS (Gao et al. 2020): a column a task, and a search over which column reads what of the others.

Columns are single-task models that are trained first and stay whole. Behind block i, column A goes on with

    x_i^A ← act(BN(W · [x_i^A, a_1 · x_j1^B, a_2 · x_j2^C, …])),      a = σ(α), or a sample of Bernoulli(σ(α))

where edges come from the other columns' blocks j ≤ i of the same shape, i − j < ``window``, as these blocks left their
maps. W is a 1×1 convolution. Every edge has a logit α of its own, which starts at 0.

1. *Search*: steps of the logits and of the weights take turns, each on its half of the data, which is halved anew in
   every pass. In the logits' step the mean entropy of all edges is added to the loss, so that every edge comes to be
   decided: what is dropped then has counted for nothing already, and what stays has counted in full.
2. Edges with α > 0 are kept, or edges are drawn; the others' columns are cut out of W. Nothing is trained again.

Relaxation (a is σ(α), or a sample) and discretisation (``sampling``: ``argmax``, or ``draw``) may each be
deterministic or stochastic, with or without the entropy: the eight combinations of the supplement's Table S3. Without
it, deterministic twice is DARTS without retraining, stochastic twice SNAS. ``supernet`` keeps every edge instead of
searching (S1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from trunkline.graph.graph import Graph
from trunkline.recipe import Count, Move, NotNegative, Optimiser, Part, Phase, Turn
from trunkline.sharing.join import Join, Read
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.space import Space
from trunkline.supermodel.by_turn import ByTurn
from trunkline.supermodel.choice_model import ChoiceModel, LossTerm
from trunkline.supermodel.choices import Gumbel, Relaxation, Soft
from trunkline.supermodel.cost_term import cost_term
from trunkline.supermodel.decision import Sampling, choose
from trunkline.supermodel.learned_policy import Policy
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.columns import columns_plan, start_of_own
from trunkline.supermodel.methods.cost_options import COST, CostOptions
from trunkline.supermodel.methods.projections import ProjectionsMethod, ProjectionsOptions
from trunkline.supermodel.temperature import Polynomial
from trunkline.supermodel.work import Found, Trained, Work

ENTROPY = "entropy"
"""The loss term that drives every edge to be kept or dropped."""


class MTLNASOptions(ProjectionsOptions, CostOptions):
    """What can be set about MTL-NAS.

    >>> MTLNASOptions().sampling.kind, MTLNASOptions(supernet="nddr").entropy
    ('argmax', 10.0)
    """

    alpha: float | None = Field(
        None,
        gt=0,
        le=1,
        description="a column's own share at the start; if absent, 1 in a search, else as NDDR-CNN",
    )
    sites: Literal["stages", "blocks"] = Field("blocks", description="where columns meet: behind blocks, or stages")
    window: Count = Field(3, description="how many sites back edges reach: 1 for the same one only")
    supernet: Literal["mtl-nas", "nddr"] | None = Field(
        None, description="search nothing, keep all edges: mtl-nas, or nddr for those between equal sites"
    )
    relaxation: Literal["stochastic", "deterministic"] = Field(
        "stochastic", description="what an edge counts in a search: a relaxed sample, or its probability"
    )
    hard_weights: bool = Field(
        False, description="weights learn under edges that are drawn whole: what the release calls stochastic"
    )
    entropy: NotNegative = Field(10.0, description="λ of the mean entropy of the edges; 0 is DARTS or SNAS")
    steps: Count | None = Field(
        None, description="steps of the search, of logits and weights together; twice those of [train] if absent"
    )
    policy_fraction: float = Field(0.5, gt=0, lt=1, description="share of the training data that trains the logits")
    remix: bool = Field(True, description="draw anew for every pass over the data which share that is")
    # 20 times 1e-3 a thousand steps is what the release's rate moves a logit by at most; a short search gets as far.
    policy_optimiser: Optimiser = Field(
        Optimiser(lr=1e-2, betas=(0.5, 0.999), weight_decay=1e-3), description="of the logits"
    )
    sampling: Sampling = Field(
        Sampling(), description="discretisation: argmax keeps edges with α > 0, draw samples them; within which budget"
    )


class MTLNASModel(ChoiceModel):
    """The supermodel with the terms ``entropy`` and ``cost``."""

    def __init__(self, space: Space, heads: Mapping[str, Graph], options: MTLNASOptions, seed: int) -> None:
        super().__init__(space, heads, {"search": _relaxation(options)}, seed=seed)
        self.expected_cost = cost_term(space, heads, options.cost, options.cost_table)

    def loss_terms(self) -> Mapping[str, LossTerm]:
        """Return what makes each term."""
        return {ENTROPY: lambda losses: self.entropy(), COST: lambda losses: self.cost()}

    def entropy(self) -> Tensor:
        """Return the mean over columns of the mean entropy of their edges, in nats: ln 2 at α = 0."""
        # softplus(α) − α·σ(α) is −p·ln p − (1−p)·ln(1−p) of p = σ(α), with a gradient where p is 0 or 1 too.
        columns = [torch.nn.functional.softplus(logits) - logits * torch.sigmoid(logits) for logits in self.policies]
        return torch.stack([column.mean() for column in columns]).mean()

    def cost(self) -> Tensor:
        """Return the expected cost as a share of T independent backbones."""
        cost: Tensor = self.expected_cost(self.probabilities())
        return cost.float()


class MTLNAS(ProjectionsMethod[MTLNASOptions]):
    """Columns with edges between them that are searched for; see the module's text.

    Attributes:
        columns: The plan with all edges.
        space: The same, with every edge open; nothing is open in a supernet.
    """

    name = "mtl-nas"
    units = "edges"
    needs = "single-task models, which it trains first; then a search, which trains the weights that are delivered"
    decides = "for each block and task: which maps of the other tasks' columns it reads"
    yields = "a column a task, and trained projections with the edges that were kept"
    source = "Gao, Bai, Jie, Ma, Jia, Liu: MTL-NAS: Task-Agnostic Neural Architecture Search (CVPR 2020)"
    Options = MTLNASOptions

    def __init__(self, setup: Setup, options: MTLNASOptions) -> None:
        super().__init__(setup, options)
        self.columns = columns_plan(setup, self.joins(), self.name)
        joins = tuple(OpenJoin(join, "none" if options.supernet else "each") for join in self.columns.joins)
        self.space = replace(Space.of_plan(self.columns, setup.backbone), joins=joins)

    @cached_property
    def model(self) -> MTLNASModel:
        """The supermodel."""
        return MTLNASModel(self.space, self.setup.heads, self.options, self.setup.seed)

    def check(self) -> None:
        """Read the cost table, which nothing asks for before the single-task models are trained."""
        if self.options.cost_table is not None and self.space.choices:
            cost_term(self.space, self.setup.heads, self.options.cost, self.options.cost_table)

    def find(self, work: Work) -> Found:
        """Train single-task models, search which edges to keep, and cut out the others."""
        setup = self.setup
        if not self.space.choices:  # a supernet, or a task alone: one joint training as of other columns
            return super().find(work)
        self._go_on_from(work.train("single", independent(setup.backbone, setup.tasks)))
        phase = self.search_phase()
        work.fit("search", self.model, [phase])
        plan = choose(self.space, setup.heads, self.model.probabilities(), self.options.sampling, self.name, setup.seed)
        # Single-shot: the search's weights are the model's, and no phase follows.
        moved = setup.phase.steps + phase.turn_steps("weights")
        return Found(plan, start=self.model.weights, goes_on=True, phases=(), policy=self.policy(), steps=moved)

    def joins_at(self, sites: Sequence[str]) -> list[Join]:
        """Return a projection for each site and task, with all edges that may lead to it."""
        return [self._projection(sites, number, task) for number in range(len(sites)) for task in self.setup.tasks]

    def search_phase(self) -> Phase:
        """Return the search: a step of the logits, one of the weights, and so on."""
        options, cut = self.options, self.options.policy_fraction
        entropy = {ENTROPY: options.entropy} if options.entropy else {}
        policy = Turn(
            name="policy",
            data=Part(share=(0.0, cut), remix=options.remix),
            moves=(Move(group="policy", optimiser=options.policy_optimiser),),
            terms={**entropy, **options.cost_terms},
        )
        (joint,) = self.joint_phase(()).turns
        data = Part(share=(cut, 1.0), remix=options.remix)
        weights = joint.model_copy(update={"name": "weights", "steps": 1, "data": data})
        # Twice: as many of them move weights as [train] says.
        steps = 2 * self.setup.phase.steps if options.steps is None else options.steps
        return self.setup.search_phase("search", "search", steps, [policy, weights])

    def policy(self) -> Policy:
        """Return the probability that each edge is kept; a column has no edge from itself: 0 for both options."""
        tasks, sites = self.space.tasks, self.sites()
        edges: list[tuple[str, Read]] = []
        for number, site in enumerate(sites):
            edges += [(site, Read.column(source, task)) for source in self._sources(sites, number) for task in tasks]
        probabilities = np.zeros((len(edges), len(tasks), 2))
        joins = {join.join.name: join.join for join in self.space.joins}
        for name, p in self.model.probabilities().items():
            for choice, row in zip(self.model.groups_of_choices[name].choices, p.detach().tolist(), strict=True):
                join = joins[choice.place]
                edge = join.site, join.reads[choice.read or 0]
                probabilities[edges.index(edge), tasks.index(choice.task)] = row
        # Long names lose their middle in pictures, so whose map it is comes first, and where it leads to last.
        names = tuple(f"{read.task}.{read.at} > {site}" for site, read in edges)
        return Policy(("off", "on"), names, tasks, probabilities)

    @classmethod
    def open_joins(cls, setup: Setup, options: MTLNASOptions) -> tuple[OpenJoin, ...]:
        """Return the projections, with all edges that may lead to them."""
        return cls(setup, options).space.joins

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """Which edges are kept may change after the search: another draw, another budget."""
        return ("sampling",)

    def _projection(self, sites: Sequence[str], number: int, task: str) -> Join:
        site = sites[number]
        # The column's own map first: it is what no search drops.
        reads = [Read.column(site, task)]
        for source in self._sources(sites, number):
            reads += [Read.column(source, other) for other in self.setup.tasks if other != task]
        return Join(
            name=f"{site}.{task}",
            kind="project",
            settings=self.projection_settings(self._starts(len(reads) - 1), site),
            site=site,
            task=task,
            reads=tuple(reads),
            gives="site",
        )

    def _sources(self, sites: Sequence[str], number: int) -> list[str]:
        """Return the sites from which edges lead to a site, the nearest first."""
        shapes = self.setup.backbone.shapes
        back = 1 if self.options.supernet == "nddr" else self.options.window
        near = reversed(sites[max(0, number - back + 1) : number + 1])
        # The paper's search space is inside one resolution, where maps can be put behind each other.
        return [source for source in near if shapes[source] == shapes[sites[number]]]

    def _starts(self, edges: int) -> list[float]:
        own = self.options.alpha
        if own is None:
            # 1 and 0 in the release's searches, 0.9 and 0.1 in its supernet of two tasks.
            own = 1.0 if self.options.supernet is None else start_of_own(None, len(self.setup.tasks))
        return [own, *[(1 - own) / edges] * edges]

    def _go_on_from(self, single: Trained) -> None:
        """Let the supermodel's columns and heads start as the single-task models ended."""
        lowered = lower(self.columns, self.setup.backbone, self.setup.heads)
        self.model.load(lowered, single.start(lowered))


def _relaxation(options: MTLNASOptions) -> Relaxation:
    """Return what edges count while the search trains."""
    # The release's temperature: from 1 to 0 with the square of what is left.
    soft: Relaxation = Gumbel(Polynomial(1.0, 2.0)) if options.relaxation == "stochastic" else Soft()
    return ByTurn({"weights": Gumbel(straight_through=True)}, soft) if options.hard_weights else soft
