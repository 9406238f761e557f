"""``trunkline doctor``."""

from __future__ import annotations

from trunkline.cli.console import emit_json, emit_table
from trunkline.cli.options import Json
from trunkline.verbs.doctor import doctor


def doctor_command(*, json: Json = False) -> int:
    """Say what is installed, what is missing, and how to get it."""
    diagnosis = doctor()
    if json:
        emit_json(diagnosis.to_json())
    else:
        rows = [[f.status, f.name, f.found, f.advice] for f in diagnosis.findings]
        emit_table("Trunkline's surroundings", ["status", "what", "found", "how to get it"], rows, left=4)
    return 0 if diagnosis.healthy else 3
