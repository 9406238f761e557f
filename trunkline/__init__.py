"""Trunkline: one backbone, several vision tasks, one deployable model.

The verbs of the command line are functions: ``trunkline.inspect``, ``convert``, ``build``, ``methods``, ``run``,
``compare``, ``demo``, ``doctor``, ``engine``, and ``trunkline.read`` for a Graph. ``train``, ``export`` and ``bench``
are also sub-packages, so these three verbs are imported from :mod:`trunkline.verbs`. Nothing heavy is imported until it
is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trunkline.version import __version__

if TYPE_CHECKING:
    from trunkline.ingest.read import read
    from trunkline.verbs.build import build
    from trunkline.verbs.compare import compare
    from trunkline.verbs.convert import convert
    from trunkline.verbs.demo import demo
    from trunkline.verbs.doctor import doctor
    from trunkline.verbs.engine import engine
    from trunkline.verbs.inspect import inspect
    from trunkline.verbs.methods import methods
    from trunkline.verbs.run import run
    from trunkline.verbs.search import search

__all__ = [
    "__version__",
    "build",
    "compare",
    "convert",
    "demo",
    "doctor",
    "engine",
    "inspect",
    "methods",
    "read",
    "run",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in __all__ or name == "__version__":
        raise AttributeError(f"module 'trunkline' has no attribute {name!r}")
    module = "trunkline.ingest.read" if name == "read" else f"trunkline.verbs.{name}"
    return getattr(import_module(module), name)
