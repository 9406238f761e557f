"""``methods``: the ways to find out who shares what, what each needs, decides and yields, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from trunkline.supermodel.methods.base import Method
from trunkline.supermodel.methods.registry import method_named
from trunkline.supermodel.methods.registry import methods as all_methods

_KINDS = ("fixed", "ranked", "searched", "soft", "taught")
"""In the order in which a user meets them."""


@dataclass(frozen=True, slots=True)
class OptionFacts:
    """An option of a method.

    Attributes:
        name: The key under ``[search]``.
        type: What may be given, in words.
        default: What counts if nothing is given, as JSON content; ``None`` where it must be given, or is none.
        required: Whether it must be given.
        description: What it decides.
    """

    name: str
    type: str
    default: Any
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """A method.

    Attributes:
        name: What a pipeline file calls it.
        kind: ``fixed``, ``ranked``, ``searched``, ``soft`` or ``taught``.
        units: What its plans decide about.
        needs: What is trained for it.
        decides: What it decides, for each unit or task.
        yields: What it comes to.
        source: The paper that it is from.
        options: What ``[search]`` may say.
    """

    name: str
    kind: str
    units: str
    needs: str
    decides: str
    yields: str
    source: str
    options: tuple[OptionFacts, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON content."""
        return {**asdict(self), "options": [asdict(option) for option in self.options]}


def methods(name: str | None = None) -> tuple[MethodFacts, ...]:
    """Return all methods, fixed ones first, or the one of a name.

    Raises:
        InvalidConfig: There is none of this name.

    >>> [(found.name, found.kind) for found in methods("cross-stitch")]
    [('cross-stitch', 'soft')]
    """
    if name is not None:
        return (_facts(method_named(name)),)
    found = sorted(all_methods().values(), key=lambda kind: (_KINDS.index(kind.kind), kind.name))
    return tuple(_facts(kind) for kind in found)


def _facts(kind: type[Method[Any]]) -> MethodFacts:
    return MethodFacts(
        name=kind.name,
        kind=kind.kind,
        units=kind.units,
        needs=kind.needs,
        decides=kind.decides,
        yields=kind.yields,
        source=kind.source,
        options=_options(kind.Options),
    )


def _options(model: type[BaseModel]) -> tuple[OptionFacts, ...]:
    schema = model.model_json_schema()
    found: list[OptionFacts] = []
    for name, field in model.model_fields.items():
        is_required = field.is_required()
        default = None if is_required or field.default is PydanticUndefined else to_jsonable_python(field.default)
        words = _in_words(schema["properties"][name], schema.get("$defs", {}))
        found.append(OptionFacts(name, words, default, is_required, field.description or ""))
    return tuple(found)


def _in_words(schema: Mapping[str, Any], tables: Mapping[str, Any]) -> str:
    """Return what a JSON schema allows, as a pipeline file would have it."""
    if "$ref" in schema:
        table = tables[schema["$ref"].rpartition("/")[2]]
        return f"table of {', '.join(table['properties'])}" if "properties" in table else _in_words(table, tables)
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    for key in ("anyOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_in_words(each, tables) for each in schema[key]))
    return _plain_type(schema, tables)


def _plain_type(schema: Mapping[str, Any], tables: Mapping[str, Any]) -> str:
    name = schema.get("type", "")
    if name == "array":
        items = [*schema.get("prefixItems", [])] or [schema.get("items", {})]
        inner = ", ".join(_in_words(item, tables) for item in items)
        return f"[{inner}]" if "prefixItems" in schema else f"list of {inner}s"
    if name == "object":
        return f"table of {_in_words(schema.get('additionalProperties', {}), tables)}s by name"
    if schema.get("format") == "path":
        return "file"
    words = {"integer": "whole number", "boolean": "true or false", "string": "text", "null": "nothing"}
    return words.get(name, name or "anything")
