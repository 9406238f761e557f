"""What each unit of a backbone takes on a device, in milliseconds: a small JSON file, measured or written by hand.

Multiply-accumulates and parameters follow from the backbone. Time does not, so a search that is to save time is given
a table for one backbone, one image size and one device. Its format is documented in ``docs/automtl.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.files.read import in_file, read_own
from trunkline.files.write import atomic_write
from trunkline.graph.cost import node_macs
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.plan import BackboneId
from trunkline.sharing.skip import Skip
from trunkline.sharing.units import Unit

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeTime(_Entry):
    """What one run of a node takes, for one image, and whether its samples described one steady time."""

    ms: Milliseconds
    stable: bool = True


class UnitTime(NodeTime):
    """What one run of a unit takes, with its normalisation, and what runs in its place where a task skips it."""

    skip_ms: Milliseconds = 0.0


class CostTable(_Entry):
    """Times of a backbone's units.

    Attributes:
        backbone: The backbone that was measured.
        input_size: Height and width of its image.
        device: What it was measured on, in words.
        units: Every operator unit, by name.
        nodes: Nodes of no unit. Those that multiply two computed values must be there; any other may be.
    """

    format: Literal["trunkline-costs"] = "trunkline-costs"
    version: Literal[1] = 1
    backbone: BackboneId
    input_size: tuple[int, int]
    device: str = ""
    units: dict[str, UnitTime]
    nodes: dict[str, NodeTime] = {}

    @property
    def node_ms(self) -> dict[str, float]:
        """Milliseconds by node; a unit's by its first node, which has its name."""
        return {name: entry.ms for name, entry in (*self.units.items(), *self.nodes.items())}

    def save(self, path: Path) -> None:
        """Write the table to ``path``, atomically."""
        atomic_write(path, (self.model_dump_json(indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: Path, backbone: Graph | Backbone) -> CostTable:
        """Read a table and check that it is one of ``backbone``.

        Raises:
            InvalidConfig: The file is no table, or for another backbone or image size, or it lacks units or names
                unknown ones; every problem is named with its place.
        """
        try:
            table = cls.model_validate_json(read_own(path, "cost table"))
        except ValidationError as error:
            raise InvalidConfig([_problem(path, item) for item in error.errors()]) from error
        with in_file(path):
            check_table(table, backbone)
        return table


def check_table(table: CostTable, backbone: Graph | Backbone) -> None:
    """Check that a table fits a backbone.

    Raises:
        InvalidConfig: As :meth:`CostTable.load`.
    """
    found = Backbone.of(backbone)
    problems = list(_identity_problems(table, found))
    if not problems:
        operators = found.table("operator")
        problems += _unit_problems(table, operators.units, operators.skips)
        problems += _node_problems(table, found.graph, operators.units)
    if not problems and not any(table.node_ms.values()):
        problems = [Problem("every time is 0: there is nothing to save", place="units")]
    if problems:
        raise InvalidConfig(problems)


def _identity_problems(table: CostTable, backbone: Backbone) -> Iterator[Problem]:
    if table.backbone.fingerprint != backbone.fingerprint:
        yield Problem(
            f"the table is for another backbone: {table.backbone.name!r} is not this {backbone.name!r}",
            place="backbone.fingerprint",
            advice="measure this backbone, or pass the file that the table was made for",
        )
    size = shape_of(backbone.graph.input)[2:]
    if table.input_size != size:
        yield Problem(
            f"measured at {table.input_size[0]} x {table.input_size[1]}, the backbone runs at {size[0]} x {size[1]}",
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
            yield Problem(f"unit {name!r} is missing", place="units", advice="every unit needs its time")
    for name, skip in zip(names, skips, strict=True):
        runs = skip is not None and not skip.is_identity
        if name in table.units and table.units[name].skip_ms and not runs:
            kind = "is the identity, which takes no time" if skip is not None else "does not exist"
            yield Problem(f"the skip of {name!r} {kind}", place=f"units.{name}.skip_ms", advice="leave it out")


def _node_problems(table: CostTable, backbone: Graph, units: Sequence[Unit]) -> Iterator[Problem]:
    unit_of = {node: unit.name for unit in units for node in unit.nodes}
    free = [node for node in backbone.nodes if name_of(node) not in unit_of]
    names = list(map(name_of, free))
    for name in table.nodes:
        if name in unit_of:
            yield Problem(f"is part of unit {unit_of[name]!r}", f"nodes.{name}", "its time belongs to the unit's")
        elif name not in names:
            yield Problem("the backbone has no such node", f"nodes.{name}", did_you_mean(name, names))
    for node in free:
        if node_macs(node) and name_of(node) not in table.nodes:
            text = f"{node.op_type} {name_of(node)!r} is missing: it multiplies, and belongs to no unit"
            yield Problem(text, place="nodes")


def _problem(path: Path, item: Any) -> Problem:
    keys = [str(part) for part in item["loc"]]
    place = f"{path}: {'.'.join(keys)}" if keys else str(path)
    if item["type"] != "extra_forbidden":
        return Problem(item["msg"], place)
    tables: dict[str, type[BaseModel]] = {"units": UnitTime, "nodes": NodeTime, "backbone": BackboneId}
    known = tables[keys[0]] if len(keys) > 1 else CostTable
    return Problem("unknown key", place, did_you_mean(keys[-1], known.model_fields))
