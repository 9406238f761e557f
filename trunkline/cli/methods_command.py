"""``trunkline methods``: which methods there are, or the options of one."""

from __future__ import annotations

import json as json_text
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json, emit_table
from trunkline.cli.options import Json
from trunkline.verbs.methods import MethodFacts, OptionFacts, methods


def methods_command(
    name: Annotated[str | None, Parameter(help="Show this method and its options.")] = None, /, *, json: Json = False
) -> int:
    """List the methods that decide who shares what: what each needs, decides and yields."""
    found = methods(name)
    if json:
        emit_json({"methods": [method.to_json() for method in found]})
    elif name is None:
        columns = ("name", "kind", "units", "decides", "needs", "yields")
        rows = [[getattr(method, column) for column in columns] for method in found]
        emit_table("Methods", columns, rows, left=len(columns))
        emit("\n`trunkline methods NAME` shows the options of one, which are keys of [search] in a pipeline file.")
    else:
        _show(found[0])
    return 0


def _show(method: MethodFacts) -> None:
    emit(f"{method.name}: {method.kind}; {method.source}")
    for what in ("units", "needs", "decides", "yields"):
        emit(f"  {what:<8} {getattr(method, what)}")
    if method.options:
        emit("")
        rows = [[option.name, option.type, _default(option), option.description] for option in method.options]
        emit_table("Options, under [search]", ["option", "takes", "default", "what it is"], rows, left=4)


def _default(option: OptionFacts) -> str:
    if option.required:
        return "must be given"
    return "none" if option.default is None else json_text.dumps(option.default)
