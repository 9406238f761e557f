"""The command line ``trunkline``: which commands there are, and the exit code of each outcome."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import TextIO

from cyclopts import App, CycloptsError

from trunkline import __version__
from trunkline.cli.console import complain, say
from trunkline.errors import TrunklineError, did_you_mean
from trunkline.text import quoted

INPUT_AT_FAULT = 2
WORK_FAILED = 3
INTERRUPTED = 130

# Help texts are written here again: to take them from the commands would import all of them, and torch with them.
COMMANDS = {
    "doctor": "Say what is installed, what is missing, and how to get it.",
    "inspect": "Show what a model holds and costs, where it branches, and what is wrong with it.",
    "convert": "Convert a model to canonical ONNX or to Caffe, parity checked.",
    "build": "Write the multi-task model of a plan or layout, without training it.",
    "run": "Search, train, export, measure and report, as a pipeline file says.",
    "search": "Learn which parts the tasks should share; ends with a plan.",
    "compare": "Train ways of sharing with several seeds each, measure all of them, and write one table.",
    "recommend": "Recommend trees of blocks by a table of two-task models, without training any.",
    "two-task": "Train every two tasks at every branching point, and write the table that `recommend` ranks trees by.",
    "bundle": "Write a folder with the model, a manifest, predict.py and bench.py, for a machine without Trunkline.",
    "sweep": "Measure what each branching point costs on this device, from N models to one, without training any.",
    "methods": "List the methods that decide who shares what: what each needs, decides and yields.",
    "costs": "Measure what each unit of a backbone takes, for a search that pays in milliseconds.",
    "train": "Train the multi-task model of a plan.",
    "export": "Export a trained run to ONNX, parity checked.",
    "engine": "Build a TensorRT engine of an ONNX file, or check without a GPU that it could be built.",
    "bench": "Measure the latency of models, interleaved.",
    "report": "Write a run's report: tables and pictures, or one page to be shown.",
    "demo": "Do all of it on generated scenes, in minutes, on a CPU.",
}

KNOWN = (*COMMANDS, "--help", "-h", "--version")

app = App(
    name="trunkline",
    help="One backbone, several vision tasks, one deployable model in which everything shared is computed once.",
    version=__version__,
    # Otherwise cyclopts ends the process itself, with a command's result or with 130, before `run` can say why.
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
# Given as a path, a command is imported only when it is run: most of them import torch, which takes seconds.
for _name, _help in COMMANDS.items():
    _module = _name.replace("-", "_")
    app.command(f"trunkline.cli.{_module}_command:{_module}_command", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 the input is at fault, 3 the work failed, 130/143 interrupted."""
    # By default SIGTERM ends Python at once, without `finally`: temporary files would stay.
    signal.signal(signal.SIGTERM, _terminated)
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without "×" is no reason to fail
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Bad input never shows a traceback."""
    command = arguments[0] if arguments else ""
    # Checked before cyclopts does, which calls a misspelt option a command.
    if command and command not in KNOWN:
        what = "option" if command.startswith("-") else "command"
        advice = did_you_mean(command, KNOWN) or "see `trunkline --help`"
        complain("Usage", f"there is no {what} {quoted(command)}; {advice}")
        return INPUT_AT_FAULT
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False)
        # What is buffered is otherwise written at exit, where nothing catches a full disk or a closed pipe.
        sys.stdout.flush()
    except TrunklineError as error:
        complain(type(error).__name__, str(error))
        return error.exit_code
    except CycloptsError as error:
        complain("Usage", f"{error}\nSee `trunkline {command} --help`.")
        return INPUT_AT_FAULT
    except KeyboardInterrupt as error:
        complain("Interrupted", str(error) or "stopped")
        return int(getattr(error, "exit_code", INTERRUPTED))
    except (OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            # As `| head` does; keep Python from complaining about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        complain("WorkFailed", _machine_fault(error))
        return WORK_FAILED
    return code if isinstance(code, int) else 0  # --help and --version return None


class Terminated(KeyboardInterrupt):
    """SIGTERM outside training, which has its own way to end: clean up and go."""

    exit_code = 143


def _terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated(f"stopped by {signal.Signals(number).name}")


def _reader_is_gone() -> bool:
    """Tell whether nobody reads our output any more: pipes to other processes break too, and that is no success."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except OSError:  # stdout is no file
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _machine_fault(error: OSError | MemoryError) -> str:
    """Return what the machine refused; neither the input nor the program is at fault."""
    if isinstance(error, MemoryError):
        return "there is not enough memory\n  use a smaller batch, input size or model"
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}\n  check that there is room, and that you may read and write there"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print the text of a warning, without the line of code that gave it: it is a library's, not the user's."""
    say(f"warning: {message}")


if __name__ == "__main__":
    main()
