"""A space with open choices as a torch module that can be trained: the supermodel of every search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.fragments.taps import check_heads
from trunkline.graph.graph import HEAD, JOIN, Graph, name_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join_check import fragments_of
from trunkline.sharing.lowering.lower import Lowered
from trunkline.sharing.lowering.walk import Walk
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.origin import BackboneWeight, Leading, Origin
from trunkline.sharing.space import Space
from trunkline.supermodel.cell_steps import ForwardPass, Mixing, OptionWeights
from trunkline.supermodel.cells import Cells, Operators
from trunkline.supermodel.choice_policy import ChoicePolicy
from trunkline.supermodel.choices import Relaxation
from trunkline.supermodel.mixing.gradient_sum import SummedWeights
from trunkline.supermodel.origin_store import OriginStore
from trunkline.supermodel.users import users_of
from trunkline.text import quoted
from trunkline.twins.components import Component

LossTerm = Callable[[Mapping[str, Tensor]], Tensor]
"""Makes a differentiable scalar that is added to the loss, from the losses of the step by task."""


class ChoiceModel(ChoicePolicy):
    """The cells of a space run in torch, with a choice wherever several options are open.

    Of every weight ``conv1.weight`` is instance 0, and ``conv1.weight@2`` is instance 2, which starts equal to it.
    Running statistics belong to a column: ``conv1_bn.mean~depth``.

    While a mode chooses softly, all options run, mixed by their weights. Where it chooses one option of each
    (``argmax``, a warm-up), what runs are the cells of the plan that the choices amount to: the very computation that
    is lowered from it, with each equal part computed once.

    Args:
        space: What is open.
        heads: A head per task; a task without one outputs the last feature map.
        modes: Relaxations by mode, beside ``average``, ``soft`` and ``argmax``.
        mixing: How the options of operator units are mixed: ``weight`` or ``output``; both are exact.
        frozen: Content of stored tensors of the backbone that are held at one number, by name.
        seed: Of initial weights and of all noise.

    Raises:
        InvalidConfig: A head does not fit.

    >>> import torch
    >>> from trunkline.ingest.read import read
    >>> from trunkline.recipe import Moment
    >>> from trunkline.sharing.backbone import Backbone
    >>> from trunkline.sharing.option import Option
    >>> two = (Option(0), Option(1))
    >>> space = Space.over(Backbone(read("zoo:tiny")), ("depth", "edges"), "block", lambda unit, task: two)
    >>> model = ChoiceModel(space, {}, {}).eval()
    >>> {name: tuple(p.shape) for name, p in model.probabilities().items()}
    {'depth': (7, 2), 'edges': (7, 2)}
    >>> scalars = model.at(Moment("search", "argmax"))
    >>> outputs = model(torch.zeros(1, 3, 64, 64))
    >>> bool(torch.equal(outputs["depth"], outputs["edges"]))  # nothing is learned yet, and ties go to sharing
    True
    """

    def __init__(
        self,
        space: Space,
        heads: Mapping[str, Graph],
        modes: Mapping[str, Relaxation],
        *,
        mixing: Mixing = "weight",
        frozen: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(space, modes, seed=seed)
        check_heads(space.tasks, heads, space.backbone.graph)
        self.heads, self.tasks = dict(heads), space.tasks
        self.mixing: Mixing = mixing
        joins = fragments_of(tuple(join.made_for for join in space.joins), space.backbone)
        fragments = _fragments(heads, joins)
        self.operators = Operators(space.backbone, fragments)
        walk = Walk(space, heads, joins)
        outputs = walk.run()
        self._statistics = walk.statistics
        self._users = users_of(walk.numbering, outputs)
        self.store = OriginStore(space.backbone.graph.initializers, seed=seed)
        self.store.keep_cells(walk.numbering.cells, space, fragments, frozen or {})
        self._open_cells = Cells(walk.numbering, outputs, self.operators, space.table, _as_asked, mixing)
        self._fixed_cells: tuple[dict[ChoiceId, int], Cells] | None = None
        self._run_space, self._run_heads = space, self.heads

    def run_on(self, backbone: Backbone, heads: Mapping[str, Graph]) -> None:
        """Run these graphs from now on: the same backbone and heads, read for images of another size.

        Weights, choices and loss terms stay as they are, and so does the space, whose plans hold at any size.

        Raises:
            InvalidConfig: They have other units, skips or weights than at the size that the model was made for.
        """
        space = self.space.read_again(backbone)
        joins = fragments_of(tuple(join.made_for for join in space.joins), backbone)
        walk = Walk(space, heads, joins)
        outputs = walk.run()
        self.operators = Operators(backbone, _fragments(heads, joins)).train(self.training)
        self._open_cells = Cells(walk.numbering, outputs, self.operators, space.table, _as_asked, self.mixing)
        self._run_space, self._run_heads, self._fixed_cells = space, dict(heads), None

    def forward(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the predictions of ``tasks`` (default all) for images ``[N, C, H, W]``."""
        wanted = self.tasks if tasks is None else tasks
        if self.relaxation.hard:
            # The open cells would compute the same with weights of 0 and 1, but run every option for it.
            now = ForwardPass({}, self.store.at, {}, SummedWeights())
            return self._cells_of(self.picks()).run(image, wanted, now)
        now = ForwardPass({}, self.store.at, self._option_weights(wanted), SummedWeights())
        return self._open_cells.run(image, wanted, now)

    def groups(self) -> dict[str, dict[str, nn.Parameter]]:
        """Return what may be trained: ``weights.backbone``, ``weights.joins``, ``weights.heads`` and ``policy``."""
        logits = zip(self.groups_of_choices, self.policies, strict=True)
        policy = {_logits_name(name): parameter for name, parameter in logits}
        return {**self.store.trainable_by_part(), "policy": policy}

    def users(self) -> dict[str, frozenset[str]]:
        """Return the tasks that may use each weight and each policy's logits: those whose outputs they can change.

        Through joins these may be other columns' too.
        """
        users = {name: self._users[origin] for name, origin in self.store.trainable_origins().items()}
        for name, group in self.groups_of_choices.items():
            of_choices = [self._users.get(choice, frozenset()) for choice in group.choices]
            users[_logits_name(name)] = frozenset().union(*of_choices)
        return users

    def components(self) -> tuple[Component, ...]:
        """Return the parts that no common weight joins: while choices are open, every task may reach every weight."""
        return (Component(self.tasks, frozenset(self.store.weights())),)

    def statistics(self) -> dict[str, Tensor]:
        """Return all running statistics by name."""
        return self.store.statistics()

    def reset_statistics(self) -> None:
        """Set running means to 0 and variances to 1."""
        self.store.reset_statistics()

    def terms(self, names: Sequence[str], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return loss terms by name, made of the ``losses`` of this step and of what is learned.

        Raises:
            InvalidConfig: There is no such term.
        """
        makers = self.loss_terms()
        for name in names:
            if name not in makers:
                advice = did_you_mean(name, makers)
                raise InvalidConfig(f"the search has no loss term {quoted(name)}", place=f"terms.{name}", advice=advice)
        return {name: makers[name](losses) for name in names}

    def loss_terms(self) -> Mapping[str, LossTerm]:
        """Return what makes each term; methods that have some override it."""
        return {}

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
        return self.store.starts({name: self._kept_at(origin) for name, origin in lowered.origin.items()})

    def load(self, lowered: Lowered, weights: Mapping[str, Tensor]) -> None:
        """Start from weights of a plan's model, by its names: the inverse of :meth:`weights`. Others stay as they are.

        Raises:
            KeyError: The plan has weights that are not here.
        """
        with torch.no_grad():
            for name, content in weights.items():
                self.store.at(self._kept_at(lowered.origin[name])).copy_(content)

    def _option_weights(self, tasks: Sequence[str]) -> dict[ChoiceId, OptionWeights]:
        found: dict[ChoiceId, OptionWeights] = {}
        for name, group in self.groups_of_choices.items():
            if group.choices[0].task not in tasks and not self.space.crosses:
                continue  # no other column reads this task's
            rows = self.option_weights(name).unbind(0)
            weights = (OptionWeights(row, row.unbind(0)) for row in rows)
            found.update(zip(group.choices, weights, strict=True))
        return found

    def _cells_of(self, picks: dict[ChoiceId, int]) -> Cells:
        """Return the cells of the plan that picks amount to."""
        # Only the last are kept: all batches of an evaluation, and of a warm-up, make the same picks.
        if self._fixed_cells is None or self._fixed_cells[0] != picks:
            fixed = self._run_space.fixed(picks)
            joins = fragments_of(tuple(join.join for join in fixed.joins), fixed.backbone)
            walk = Walk(fixed, self._run_heads, joins)
            outputs = walk.run()
            operators = self._operators_of(joins)
            cells = Cells(walk.numbering, outputs, operators, fixed.table, self._kept_at, self.mixing)
            self._fixed_cells = (picks, cells)
        return self._fixed_cells[1]

    def _operators_of(self, joins: Mapping[str, Graph]) -> Operators:
        """Return operators that know these joins' fragments: one with reads left out has other nodes."""
        if all(join.open == "none" for join in self.space.joins):
            return self.operators
        operators = Operators(self._run_space.backbone, _fragments(self._run_heads, joins))
        self.fixed_operators = operators.train(self.training)  # registered, so that it follows `train` and `eval`
        return operators

    def _kept_at(self, wanted: Origin | Leading) -> Origin | Leading:
        """Return where a weight is kept that a plan's model, or a cell of it, asks for."""
        # Where nothing was ever open, the cells are the plan's own, with a clone for each input of an untied one.
        if not self.space.choices:
            return wanted
        if isinstance(wanted, Leading):
            inner = self._kept_at(wanted.weight)
            assert not isinstance(inner, Leading)
            return Leading(inner, wanted.axis, wanted.size)
        if not isinstance(wanted, BackboneWeight):
            return wanted
        # A running statistic: the one of the column that reads it.
        if wanted in self._statistics:
            return self._statistics[wanted]
        # Anything else: an untied plan has a clone for each input, all of which go on from the one set of the search.
        return BackboneWeight(wanted.name, wanted.instance)


def _logits_name(group: str) -> str:
    """Return the name that the logits of a group of choices have as a parameter."""
    return f"policy.{group}"


def _fragments(heads: Mapping[str, Graph], joins: Mapping[str, Graph]) -> dict[tuple[str, str], Graph]:
    """Return heads and joins by part and owner."""
    by_task = {(HEAD, task): head for task, head in heads.items()}
    return by_task | {(JOIN, owner): made for owner, made in joins.items()}


def _as_asked(wanted: Origin | Leading) -> Origin | Leading:
    """While choices are open, every weight is kept under the origin that its cell names."""
    return wanted
