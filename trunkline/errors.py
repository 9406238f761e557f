"""The errors a user can meet, each with a place and advice.

Every error that is the user's to mend is a :class:`TrunklineError`. The command line prints it without a
traceback and ends with its ``exit_code``: 2 where the input is at fault, 3 where the work itself failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where it is, and what to do about it.

    Attributes:
        message: What was found and what was expected.
        place: ``path:line:column``, a node name, or a dotted configuration key; empty where there is none.
        advice: What the user can do; empty where the message says it all.
        excerpt: The offending source line, without its line break.
        column: 1-based column of the first offending character in ``excerpt``; 0 for no caret.
        width: Number of characters to underline.
        line: 1-based line number of ``excerpt``.
    """

    message: str
    place: str = ""
    advice: str = ""
    excerpt: str = ""
    column: int = 0
    width: int = 1
    line: int = 0

    def __str__(self) -> str:
        head = f"{self.place}: {self.message}" if self.place else self.message
        if not self.excerpt:
            return f"{head}\n  {self.advice}" if self.advice else head
        gutter = f"{self.line:>6} | "
        excerpt = self.excerpt.replace("\t", " ")
        rows = [head, gutter + excerpt]
        if self.column:
            caret = " " * (self.column - 1) + "^" * max(1, self.width)
            rows.append(" " * (len(gutter) - 2) + "| " + caret + (f"  {self.advice}" if self.advice else ""))
        elif self.advice:
            rows.append(" " * len(gutter) + self.advice)
        return "\n".join(rows)


class TrunklineError(Exception):
    """Base of every error meant for the user; carries all problems found, not only the first."""

    exit_code = 2

    def __init__(self, problems: str | Problem | Sequence[Problem], *, place: str = "", advice: str = "") -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, place=place, advice=advice)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InvalidModel(TrunklineError):
    """The model file is wrong: it cannot be read, or it breaks a rule that every model keeps."""


class UnsupportedOp(InvalidModel):
    """The file is fine, but it holds an operator or layer that Trunkline cannot handle."""


class InvalidConfig(TrunklineError):
    """A configuration, plan, option or data folder is wrong."""


class CorruptCheckpoint(TrunklineError):
    """A checkpoint is incomplete, or its content does not match its SHA-256 manifest."""


class WorkFailed(TrunklineError):
    """The input was accepted, but the work did not succeed (non-finite loss, no space, missing runtime)."""

    exit_code = 3


class ParityFailure(WorkFailed):
    """An exported model does not compute what its trained twin computes."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean "…"?`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else ""
