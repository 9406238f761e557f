"""``python -m docs_pictures``: run every method on generated scenes, and draw what it found.

Each gets ``docs/img/NAME.png``. Methods are those of the registry, so that a new one is drawn without a change here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from docs_pictures.found import draw_found, drawn_methods

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "img"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what the command line asks for."""
    known = drawn_methods()
    parser = argparse.ArgumentParser(prog="python -m docs_pictures", description=__doc__)
    parser.add_argument("--only", action="append", choices=known, metavar="METHOD", help="draw this one only")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures; docs/img if absent")
    options = parser.parse_args(arguments)
    # Other numbers of threads add up in other orders, and a search that is nearly undecided might end elsewhere.
    torch.set_num_threads(1)
    for name in options.only or known:
        with tempfile.TemporaryDirectory() as folder:
            path = draw_found(name, Path(folder) / "run", options.out)
        sys.stdout.write(f"{path}  {path.stat().st_size / 1000:.0f} kB\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
