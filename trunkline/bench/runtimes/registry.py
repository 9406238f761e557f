"""The runtimes that there are: every file of this folder that defines one."""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.bench.runtimes.base import Runtime
from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.scan import kinds_in
from trunkline.text import quoted

DEFAULT_RUNTIME = "onnxruntime"
"""What models are measured with where nothing else is asked for, and what the outputs of others are compared with."""


def runtimes() -> Mapping[str, type[Runtime]]:
    """Return all runtimes by name. No list is kept, and none of their packages is imported.

    >>> "openvino" in runtimes()
    True
    """
    return kinds_in("trunkline.bench.runtimes", Runtime)  # type: ignore[type-abstract]  # the interface itself


def runtime_class(name: str) -> type[Runtime]:
    """Return a runtime.

    Raises:
        InvalidConfig: There is none of this name.
    """
    known = runtimes()
    if name not in known:
        advice = did_you_mean(name, known) or f"runtimes are {', '.join(known)}"
        raise InvalidConfig(f"there is no runtime {quoted(name[:40])}", place="bench.runtime", advice=advice)
    return known[name]
