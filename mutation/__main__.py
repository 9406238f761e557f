"""``python -m mutation``: plant a sample of small faults in each module, and report which no test notices."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence

from mutation.equivalents import Rule, load_rules, reason_for
from mutation.report import UNNOTICED, ModuleReport, Survivor, share, survivors, table
from mutation.sample import sample
from mutation.targets import TARGETS
from mutation.workspace import MutationFailed, Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what is left of the sample; returns 1 where too few are killed, or a module could not be tried."""
    options = _parser().parse_args(arguments)
    modules = [module for module in TARGETS if _wanted(module, options.modules)]
    if not modules:
        _say(f"no module is called like {' or '.join(options.modules)}; known are:\n" + "\n".join(TARGETS))
        return 2
    rules = load_rules()
    reports = []
    for number, module in enumerate(modules, 1):
        _say(f"[{number}/{len(modules)}] {module}", quiet=options.json)
        reports.append(_tried(module, rules, options))
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
    parser.add_argument("modules", nargs="*", help="parts of module paths, such as sampling or verbs/; default all")
    parser.add_argument("--sample", type=int, default=25, help="mutants of each module (default 25)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes at once (default 1)")
    parser.add_argument("--again", action="store_true", help="try those that survived once more, after tests were added")
    parser.add_argument("--fresh", action="store_true", help="forget what was tried before")
    parser.add_argument("--report", action="store_true", help="try nothing, only report")
    parser.add_argument("--at-least", type=float, default=0.85, help="share that must be killed (default 0.85)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _wanted(module: str, parts: Sequence[str]) -> bool:
    return not parts or any(part in module for part in parts)


def _tried(module: str, rules: list[Rule], options: argparse.Namespace) -> ModuleReport:
    space = Workspace(module, TARGETS[module])
    if options.fresh:
        shutil.rmtree(space.folder, ignore_errors=True)
    space.prepare()
    names = space.names()
    chosen = sample(names, options.sample, options.seed)
    failed = ""
    if not options.report:
        failed = _run(space, chosen, options)
    known = space.verdicts()
    verdicts = {name: known[name] for name in chosen if name in known}
    lived = [_survivor(space, name, verdict, rules) for name, verdict in verdicts.items() if verdict in UNNOTICED]
    return ModuleReport(module, len(names), len(chosen), dict(Counter(verdicts.values())), tuple(lived), failed)


def _run(space: Workspace, chosen: Sequence[str], options: argparse.Namespace) -> str:
    """Try what has no verdict yet; returns why that failed, if it did."""
    known = space.verdicts()
    waiting = [name for name in chosen if name not in known or (options.again and known[name] in UNNOTICED)]
    if not waiting:
        return ""
    try:
        space.run(waiting, workers=options.workers)
    except MutationFailed as error:
        _say(str(error))
        return str(error)
    return ""


def _survivor(space: Workspace, name: str, verdict: str, rules: list[Rule]) -> Survivor:
    diff = space.diff(name)
    return Survivor(name, diff, verdict == "survived", reason_for(space.module, diff, rules))


def _say(text: str, *, quiet: bool = False) -> None:
    """Tell how far it is."""
    if not quiet:
        sys.stderr.write(text + "\n")


def _print(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n\n")


if __name__ == "__main__":
    sys.exit(main())
