"""Arguments of ``trunkline doctor``, and its table of findings."""

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
        findings = diagnosis.findings
        rows = [[finding.status, finding.name, finding.found, finding.advice] for finding in findings]
        emit_table("Trunkline's surroundings", ["status", "what", "found", "how to get it"], rows, left=4)
    # So that a script can ask before it begins; 3 as where a runtime turns out to be missing in the midst of work.
    return 0 if diagnosis.healthy else 3
