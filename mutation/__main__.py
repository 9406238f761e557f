"""``python -m mutation``: plant a sample of small faults in each module, and report which no test notices."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mutation.equivalents import Rule, load_rules, reason_for
from mutation.report import UNNOTICED, ModuleReport, Survivor, share, survivors, table
from mutation.sample import sample
from mutation.targets import GROUPS, Group
from mutation.workspace import MutationFailed, Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what is left of the sample; returns 1 where too few are killed, or a module could not be tried."""
    options = _parser().parse_args(arguments)
    groups = [group for group in (_narrowed(whole, options.only) for whole in GROUPS) if group.modules]
    if not groups:
        known = "\n".join(module for group in GROUPS for module in group.modules)
        _say(f"nothing is called like {' or '.join(options.only)}; known are:\n{known}")
        return 2
    rules = load_rules()
    reports = []
    for group in groups:
        _say(f"{group.name}: {', '.join(group.modules)}")
        reports += _tried(group, rules, options)
    killed, survived = (sum(getattr(report, key) for report in reports) for key in ("killed", "survived"))
    found = share(killed, survived)
    if options.json:
        _print(json.dumps({"share_killed": found, "modules": [report.to_json() for report in reports]}, indent=2))
    else:
        _print(survivors(reports))
        _print(table(reports))
    failed = any(report.failed for report in reports)
    return int(failed or found is None or found < options.at_least)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mutation", description=__doc__)
    parser.add_argument("only", nargs="*", help="groups, or parts of module paths such as sampling; default all")
    parser.add_argument("--sample", type=int, default=25, help="mutants of each module (default 25)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes at once (default 1)")
    parser.add_argument(
        "--again", action="store_true", help="try those that survived once more, after tests were added"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what was tried before")
    parser.add_argument("--report", action="store_true", help="try nothing, only report")
    parser.add_argument("--at-least", type=float, default=0.85, help="share that must be killed (default 0.85)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _narrowed(group: Group, parts: Sequence[str]) -> Group:
    """Return the group with those of its modules that are asked for; asked for by its own name, all of them."""
    if not parts or group.name in parts:
        return group
    return replace(group, modules=tuple(module for module in group.modules if any(part in module for part in parts)))


def _tried(group: Group, rules: list[Rule], options: argparse.Namespace) -> list[ModuleReport]:
    space = Workspace(next(whole for whole in GROUPS if whole.name == group.name))
    if options.fresh:
        shutil.rmtree(space.folder, ignore_errors=True)
    space.prepare()
    names = {module: space.names(module) for module in group.modules}
    chosen = {module: sample(names[module], options.sample, options.seed) for module in group.modules}
    failed = "" if options.report else _run(space, chosen, again=options.again, workers=options.workers)
    reports = []
    for module in group.modules:
        known = space.verdicts(module)
        verdicts = {name: known[name] for name in chosen[module] if name in known}
        lived = [_survivor(space, module, *item, rules) for item in verdicts.items() if item[1] in UNNOTICED]
        counts = dict(Counter(verdicts.values()))
        reports.append(ModuleReport(module, len(names[module]), len(chosen[module]), counts, tuple(lived), failed))
    return reports


def _run(space: Workspace, chosen: Mapping[str, Sequence[str]], *, again: bool, workers: int) -> str:
    """Try what has no verdict yet; returns why that failed, if it did."""
    waiting = []
    for module, names in chosen.items():
        known = space.verdicts(module)
        waiting += [name for name in names if name not in known or (again and known[name] in UNNOTICED)]
    try:
        if waiting:
            space.run(waiting, workers=workers)
    except MutationFailed as error:
        _say(str(error))
        return str(error)
    return ""


def _survivor(space: Workspace, module: str, name: str, verdict: str, rules: list[Rule]) -> Survivor:
    diff = space.diff(module, name)
    return Survivor(name, diff, verdict == "survived", reason_for(module, diff, rules))


def _say(text: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(text + "\n")


def _print(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n\n")


if __name__ == "__main__":
    sys.exit(main())
