"""What an exported file records about where it came from.

No times, hosts or paths: equal inputs give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.version import __version__

PREFIX = "trunkline."
PRECISION_KEY = f"{PREFIX}precision"
"""On a file that does not compute in float32 throughout."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model came from.

    Attributes:
        backbone: Name of the backbone.
        plan_sha256: SHA-256 of the sharing plan's JSON; empty where there is none.
        config_sha256: SHA-256 of the resolved configuration.
        mean: Per-channel mean subtracted from an image in [0, 1] before it is fed in.
        std: Per-channel standard deviation it is then divided by.
    """

    backbone: str = ""
    plan_sha256: str = ""
    config_sha256: str = ""
    mean: Sequence[float] = ()
    std: Sequence[float] = ()

    def to_metadata(self) -> dict[str, str]:
        """Return the model's ``metadata_props``; what is not known is left out."""
        known = {"backbone": self.backbone, "plan_sha256": self.plan_sha256, "config_sha256": self.config_sha256}
        if self.mean:
            known["normalisation"] = json.dumps({"mean": list(self.mean), "std": list(self.std)})
        return {PREFIX + key: text for key, text in sorted(known.items()) if text}


def stamp() -> dict[str, str]:
    """Return the metadata of every exported file: the version of Trunkline."""
    return {PREFIX + "version": __version__}


def sha256_of(text: str) -> str:
    """Return the SHA-256 of a plan's or configuration's text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
