"""Make this folder's helpers, the networks of ``tests/ingest`` and the plans of ``tests/supermodel`` importable."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / room) for room in ("verbs", "ingest", "supermodel")]
