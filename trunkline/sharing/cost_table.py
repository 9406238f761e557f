"""What each unit of a backbone, and each join, takes on a device, in ms: a small JSON file, measured or by hand.

Multiply-accumulates and parameters follow from the backbone. Time does not, so a search that is to save time is given
a table for one backbone, one image size and one device. Its format is documented in ``docs/automtl.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from trunkline.errors import InvalidConfig, Problem, did_you_mean, problems_of
from trunkline.files.read import in_file, read_own
from trunkline.files.write import atomic_write
from trunkline.graph.cost import node_macs
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.file_entry import FileEntry
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.plan import BackboneId
from trunkline.sharing.skip import Skip
from trunkline.sharing.units import Unit
from trunkline.text import quoted

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class NodeTime(FileEntry):
    """How long one run of a node takes.

    Attributes:
        ms: Milliseconds for one image.
        stable: Whether the samples that it was measured by agreed on one time.
    """

    ms: Milliseconds
    stable: bool = True


class UnitTime(NodeTime):
    """How long one run of a unit takes, its normalisation included.

    Attributes:
        skip_ms: Milliseconds of what runs in its place where a task skips it; 0 for an identity.
    """

    skip_ms: Milliseconds = 0.0


class JoinTime(NodeTime):
    """How long one run of a join takes, with all that it may read.

    Attributes:
        own_ms: The same where it reads its column's own map alone.
        reads: How many maps it may read, its own among them.
    """

    own_ms: Milliseconds
    reads: Annotated[int, Field(ge=1)]


class CostTable(FileEntry):
    """Times of a backbone's units, and of joins between its columns.

    Attributes:
        format: Tells a cost table from Trunkline's other JSON files.
        version: Version of the format.
        backbone: The backbone that was measured.
        input_size: Height and width of its image in pixels.
        device: What it was measured on, in words.
        units: The time of every operator unit, by its name.
        nodes: Times of nodes of no unit, by name. Those that multiply two computed values must be there; any other may.
        joins: Times of joins, by name; of those whose reads a search chooses, none may be missing.

    >>> table = CostTable(
    ...     backbone=BackboneId(name="net", fingerprint="12ab"),
    ...     input_size=(240, 320),
    ...     units={"conv1": UnitTime(ms=0.31, skip_ms=0.04), "conv2": UnitTime(ms=0.52)},
    ...     nodes={"attention": NodeTime(ms=0.12)},
    ... )
    >>> table.node_ms
    {'conv1': 0.31, 'conv2': 0.52, 'attention': 0.12}
    """

    format: Literal["trunkline-costs"] = "trunkline-costs"
    version: Literal[1] = 1
    backbone: BackboneId
    input_size: tuple[int, int]
    device: str = ""
    units: dict[str, UnitTime]
    nodes: dict[str, NodeTime] = Field(default_factory=dict)
    joins: dict[str, JoinTime] = Field(default_factory=dict)

    @property
    def node_ms(self) -> dict[str, float]:
        """Milliseconds by name of a node; a unit's are those of its first node, which it is named after."""
        times: dict[str, NodeTime] = {**self.units, **self.nodes}
        return {name: time.ms for name, time in times.items()}

    def save(self, path: Path) -> None:
        """Write the table to ``path``, atomically."""
        atomic_write(path, (self.model_dump_json(indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: Path, backbone: Graph | Backbone, joins: Sequence[OpenJoin] = ()) -> CostTable:
        """Read a table and check that it is one of ``backbone``, and has the ``joins`` whose reads are chosen.

        Raises:
            InvalidConfig: The file is no table, is for another backbone or image size, lacks units or names unknown
                ones; every problem is named with its place.
        """
        try:
            table = cls.model_validate_json(read_own(path, "cost table"))
        except ValidationError as error:
            raise InvalidConfig(problems_of(error, cls, str(path))) from error
        with in_file(path):
            check_table(table, backbone, joins)
        return table


def check_table(table: CostTable, backbone: Graph | Backbone, joins: Sequence[OpenJoin] = ()) -> None:
    """Check that a table fits a backbone, and joins between its columns.

    Raises:
        InvalidConfig: As :meth:`CostTable.load`.
    """
    backbone = Backbone.of(backbone)
    problems = list(_identity_problems(table, backbone))
    # A table of another backbone would have every one of its units reported as unknown, which does not help.
    if not problems:
        operators = backbone.table("operator")
        problems += _unit_problems(table, operators.units, operators.skips)
        problems += _node_problems(table, backbone.graph, operators.units)
        # It may have more: another method's search, or none, may read the same table.
        problems += _join_problems(table, [join for join in joins if join.choices])
    # The cost term is a share of the whole, and a share of nothing is no number.
    if not problems and not any(table.node_ms.values()):
        problems = [Problem("every time is 0: there is nothing to save", place="units")]
    if problems:
        raise InvalidConfig(problems)


def _identity_problems(table: CostTable, backbone: Backbone) -> Iterator[Problem]:
    if table.backbone.fingerprint != backbone.fingerprint:
        yield Problem(
            f"the table is for another backbone: {quoted(table.backbone.name)} is not this {quoted(backbone.name)}",
            place="backbone.fingerprint",
            advice="measure this backbone, or pass the file that the table was made for",
        )
    measured, size = table.input_size, shape_of(backbone.graph.input)[2:]
    # The fingerprint leaves the image size out, because a plan holds at any size; a time does not.
    if measured != size:
        yield Problem(
            f"measured at {measured[0]} x {measured[1]}, the backbone runs at {size[0]} x {size[1]}",
            place="input_size",
            advice="measure it at the size it runs at: time does not follow size",
        )


def _unit_problems(table: CostTable, units: Sequence[Unit], skips: Sequence[Skip | None]) -> Iterator[Problem]:
    names = [unit.name for unit in units]
    for name in table.units:
        if name not in names:
            yield Problem("the backbone has no such unit", f"units.{name}", did_you_mean(name, names))
    for name in names:
        if name not in table.units:
            yield Problem(f"unit {quoted(name)} is missing", place="units", advice="every unit needs its time")
    for name, skip in zip(names, skips, strict=True):
        given = name in table.units and table.units[name].skip_ms > 0
        # A time for a skip that does not run is more likely one that belongs to another unit.
        if given and skip is None:
            yield _skip_problem(name, "does not exist")
        elif given and skip is not None and skip.is_identity:
            yield _skip_problem(name, "is the identity, which takes no time")


def _skip_problem(unit: str, text: str) -> Problem:
    return Problem(f"the skip of {quoted(unit)} {text}", place=f"units.{unit}.skip_ms", advice="leave it out")


def _node_problems(table: CostTable, backbone: Graph, units: Sequence[Unit]) -> Iterator[Problem]:
    unit_of = {node: unit.name for unit in units for node in unit.nodes}
    free = [node for node in backbone.nodes if name_of(node) not in unit_of]
    names = list(map(name_of, free))
    for name in table.nodes:
        if name in unit_of:
            yield Problem(f"is part of unit {quoted(unit_of[name])}", f"nodes.{name}", "its time belongs to the unit's")
        elif name not in names:
            yield Problem("the backbone has no such node", f"nodes.{name}", did_you_mean(name, names))
    for node in free:
        # A product of two computed values, as in attention, may take as long as a convolution; pooling and the like,
        # whose MACs count as none, may be left out.
        if node_macs(node) and name_of(node) not in table.nodes:
            text = f"{node.op_type} {quoted(name_of(node))} is missing: it multiplies, and belongs to no unit"
            yield Problem(text, place="nodes")


def _join_problems(table: CostTable, joins: Sequence[OpenJoin]) -> Iterator[Problem]:
    advice = "measure it with `trunkline costs` and this pipeline: its joins follow from tasks and options"
    for name, reads in ((join.join.name, len(join.join.reads)) for join in joins):
        if name not in table.joins:
            yield Problem(f"join {quoted(name)} is missing", "joins", advice)
        elif table.joins[name].reads != reads:
            text = f"was measured with {table.joins[name].reads} reads; here it may have {reads}"
            yield Problem(text, f"joins.{name}.reads", advice)
