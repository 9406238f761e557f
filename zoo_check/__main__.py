"""``python -m zoo_check``: export, read and compare real architectures, and write the table to docs/zoo.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch

from trunkline.files.write import atomic_write
from zoo_check.architectures import ARCHITECTURES, families, planned
from zoo_check.checked import Checked, read_checked
from zoo_check.checking import check_all, describe, state_of_sources
from zoo_check.exported import FACTS, MODULES, read_exported
from zoo_check.report import Row, by_family, by_kind, disagreements, document, missed, reasons, totals, unhelpful

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "zoo.md"
STEPS = ("export", "check", "modules", "page")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; 1 where a target is missed, a number is wrong or something crashes."""
    options = _parser().parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    labels = _chosen(options.only, options.sample)
    try:
        _work(options, labels)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; start it again to go on\n")
        return 130
    rows = [row for row in kept_rows(options.folder) if row.facts.label in labels]
    lines = missed(rows)
    if not (options.only or options.sample) and "page" in (options.step or STEPS):
        _write_page(options.folder, rows, labels)
    _tell(options, rows, lines)
    return int(bool(lines))


def _work(options: argparse.Namespace, labels: Sequence[str]) -> None:
    steps = options.step or STEPS
    if "export" in steps:
        _export(options.python, options.folder, labels)
    if "check" in steps:
        _check(options.folder, labels, options.again)
    if "modules" in steps and not options.sample:
        _modules(options.python, options.folder, options.only)


def _write_page(folder: Path, rows: Sequence[Row], labels: Sequence[str]) -> None:
    failed = [facts for facts in read_exported(folder) if facts.error and facts.label in labels]
    atomic_write(PAGE, document(rows, failed, kept_rows(folder / MODULES)).encode())
    sys.stderr.write(f"wrote {PAGE}\n")


def _tell(options: argparse.Namespace, rows: Sequence[Row], lines: Sequence[str]) -> None:
    if options.json:
        results = [row.checked.to_json() for row in rows]
        _say(json.dumps({**totals(rows), "missed": list(lines), "results": results}, indent=1))
        return
    if options.only or options.sample:
        _say("\n".join([by_kind(rows), by_family(rows), *reasons(rows), *unhelpful(rows), *disagreements(rows)]))
    _say("\n".join(lines) or "every kind meets its target, no number is wrong, nothing crashed")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zoo_check", description=__doc__)
    parser.add_argument("--only", action="append", choices=families(), metavar="FAMILY", help="print this one only")
    parser.add_argument("--sample", type=int, metavar="N", help="print N exports only, spread over the table")
    parser.add_argument("--step", action="append", choices=STEPS, help="do this one only; all where none is named")
    parser.add_argument("--again", choices=("changed", "failed", "all"), default="changed", help=_AGAIN)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "zoo", help="where exports and results are kept")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-zoo" / "bin" / "python", help="has the packages")
    return parser


_AGAIN = "check again what was checked with other sources (changed), of these what was not all right (failed), or all"


def _chosen(only: Sequence[str] | None, sample: int | None) -> list[str]:
    exports = [export for export in planned() if not only or export.architecture.family in only]
    labels = [export.label for export in exports]
    return sorted(labels, key=lambda label: zlib.crc32(label.encode()))[:sample] if sample else labels


def _export(python: Path, folder: Path, labels: Sequence[str]) -> None:
    if any(not (folder / f"{label}{FACTS}").exists() for label in labels):
        _in_zoo(python, "zoo_check.exporting", folder, labels)


def _modules(python: Path, folder: Path, only: Sequence[str] | None) -> None:
    labels = [one.label for one in ARCHITECTURES if one.family in only] if only else []
    _in_zoo(python, "zoo_check.modules", folder, labels)


def _in_zoo(python: Path, module: str, folder: Path, labels: Sequence[str]) -> None:
    """Run one of our modules in the environment that has the packages; its progress goes to standard error."""
    if not python.exists():
        raise SystemExit(f"{python} is missing; `make zoo-check` sets it up, --python names another one")
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "", "YOLO_OFFLINE": "true"}
    command = [str(python), "-m", module, str(folder.resolve()), *labels]
    ended = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
    if ended.returncode:
        raise SystemExit(f"{module} ended with {ended.returncode}")


def _check(folder: Path, labels: Sequence[str], again: str) -> None:
    kept = {checked.label: checked for checked in read_checked(folder)}
    state = state_of_sources()
    exports = {facts.label: facts for facts in read_exported(folder) if not facts.error}
    present = [exports[label] for label in labels if label in exports]
    wanted = [facts for facts in present if _is_due(kept.get(facts.label), state, again)]
    for number, checked in enumerate(check_all(wanted, folder), 1):
        sys.stderr.write(f"[{number}/{len(wanted)}] {describe(checked)}\n")


def _is_due(kept: Checked | None, state: str, again: str) -> bool:
    if kept is None or again == "all":
        return True
    if again == "failed":
        return not kept.is_right and kept.state != state
    return kept.state != state


def kept_rows(folder: Path) -> list[Row]:
    """Return what is kept in ``folder``, by name."""
    checks = {checked.label: checked for checked in read_checked(folder)}
    return [Row(facts, checks[facts.label]) for facts in read_exported(folder) if facts.label in checks]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
