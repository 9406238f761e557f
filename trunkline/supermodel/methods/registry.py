"""The methods that there are: every file of this folder that defines one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.scan import kinds_in
from trunkline.supermodel.methods.base import Method, MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod
from trunkline.text import quoted


def methods() -> Mapping[str, type[Method[Any]]]:
    """Return all methods by name. No list is kept: a file put beside the others is one of them.

    >>> "automtl" in methods()
    True
    """
    return kinds_in("trunkline.supermodel.methods", Method)  # type: ignore[type-abstract]  # the interface itself


def method_named(name: str) -> type[Method[Any]]:
    """Return a method.

    Raises:
        InvalidConfig: There is none of this name.
    """
    known = methods()
    if name not in known:
        advice = did_you_mean(name, known) or f"methods are {', '.join(known)}"
        raise InvalidConfig(f"there is no method {quoted(name)}", place="search.method", advice=advice)
    return known[name]


def baseline_named(text: str) -> tuple[type[FixedMethod[Any]], MethodOptions]:
    """Return the fixed method that ``NAME`` or ``NAME:ARGUMENT`` stands for, with its options.

    >>> method, options = baseline_named("share-until:2")
    >>> method.name, options.block
    ('share-until', '2')

    Raises:
        InvalidConfig: There is no such fixed method, or it takes no argument, or needs one.
    """
    name, colon, argument = text.partition(":")
    known = {key: kind for key, kind in methods().items() if issubclass(kind, FixedMethod)}
    if name not in known:
        forms = [_form(kind) for kind in known.values()]
        advice = did_you_mean(name, known) or f"baselines are {', '.join(forms)}"
        raise InvalidConfig(f"there is no baseline {quoted(text)}", place="train.baselines", advice=advice)
    kind = known[name]
    if colon and not kind.argument:
        raise InvalidConfig(f"{quoted(name)} takes nothing behind a colon", place="train.baselines")
    try:
        # From strings: what stands behind a colon is text, and the option may be a number or a path.
        return kind, kind.Options.model_validate_strings({kind.argument: argument} if colon else {})
    except ValidationError as error:
        text = f"{quoted(text)}: {error.errors()[0]['msg']}"
        raise InvalidConfig(text, place="train.baselines", advice=f"write {_form(kind)}") from error


def _form(kind: type[FixedMethod[Any]]) -> str:
    return f"{kind.name}:{kind.argument.upper()}" if kind.argument else kind.name
