"""``python -m trunkline``: the command line, where its script is not on the path."""

from __future__ import annotations

from trunkline.cli.main import main

if __name__ == "__main__":
    main()
