"""Which of a processor's instructions decide how fast int8, bfloat16 and float16 can be there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

_X86 = (
    *("avx2", "avx_vnni", "avx_vnni_int8", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
)
_ARM = ("asimd", "asimddp", "asimdhp", "fphp", "i8mm", "bf16", "sve", "sve2", "sme")
_DOT = frozenset({"avx_vnni", "avx_vnni_int8", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
"""Those that multiply 8-bit integers and add the products up in 32 bits, at once."""
_FAMILIES = {"flags": ("x86", _X86), "Features": ("arm", _ARM)}
"""What Linux calls the line with the instructions, by the family that a processor is of."""


@dataclass(frozen=True, slots=True)
class Instructions:
    """The instructions of a processor, by the names that Linux has for them.

    Attributes:
        family: ``x86`` or ``arm``; empty where the system does not tell.
        has: Those of its instructions that matter for numbers of 16 and 8 bits.
    """

    family: str = ""
    has: tuple[str, ...] = ()

    @property
    def int8_dot(self) -> bool | None:
        """Whether it has dot products of 8-bit integers (VNNI on x86); ``None`` where the system does not tell."""
        return not _DOT.isdisjoint(self.has) if self.family else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"family": self.family, "has": list(self.has), "int8_dot": self.int8_dot}


def read_instructions(root: Path = Path("/")) -> Instructions:
    """Return what Linux says of this processor's instructions; nothing on other systems.

    Args:
        root: Folder that ``proc`` is in.
    """
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Instructions()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in _FAMILIES:
            family, names = _FAMILIES[key.strip()]
            told = set(value.split())
            # All cores are listed; Linux tells of each what all of them have.
            return Instructions(family, tuple(name for name in names if name in told))
    return Instructions()
