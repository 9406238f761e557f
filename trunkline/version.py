"""The version of this package, for files that say what wrote them."""

from __future__ import annotations

__version__ = "0.1.0"
