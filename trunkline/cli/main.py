"""The command ``trunkline``. Each command is a small file that is imported when it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from trunkline import __version__
from trunkline.cli.console import complain
from trunkline.errors import TrunklineError, did_you_mean

INPUT_AT_FAULT = 2
INTERRUPTED = 130

COMMANDS = {
    "doctor": "Say what is installed, what is missing, and how to get it.",
    "inspect": "Show what a model holds and costs, where it branches, and what is wrong with it.",
    "convert": "Convert a model to canonical ONNX, parity checked.",
    "build": "Write the multi-task model of a plan or layout, without training it.",
    "run": "Search, train, export, measure and report, as a pipeline file says.",
    "search": "Learn which parts the tasks should share; ends with a plan.",
    "train": "Train the multi-task model of a plan.",
    "export": "Export a trained run to ONNX, parity checked.",
    "bench": "Measure the latency of models, interleaved.",
    "report": "Write a run's report: tables and pictures.",
    "demo": "Do all of it on generated scenes, in minutes, on a CPU.",
}

app = App(
    name="trunkline",
    help="One backbone, several vision tasks, one deployable model in which everything shared is computed once.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for _name, _help in COMMANDS.items():
    app.command(f"trunkline.cli.{_name}_command:{_name}_command", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 the input is at fault, 3 the work failed, 130/143 interrupted."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Bad input never shows a traceback."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        advice = did_you_mean(arguments[0], COMMANDS) or "see `trunkline --help`"
        complain("Usage", f"there is no command {arguments[0]!r}; {advice}")
        return INPUT_AT_FAULT
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False)
    except TrunklineError as error:
        complain(type(error).__name__, str(error))
        return error.exit_code
    except CycloptsError as error:
        complain("Usage", f"{error}\nSee `trunkline --help`.")
        return INPUT_AT_FAULT
    except KeyboardInterrupt as error:
        complain("Interrupted", str(error) or "stopped")
        return int(getattr(error, "exit_code", INTERRUPTED))
    except BrokenPipeError:
        # The reader of our output went away (`| head`); keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
