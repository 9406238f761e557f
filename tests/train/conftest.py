"""Lets the tests of this room import their fakes: with importlib, pytest adds no folder to the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
