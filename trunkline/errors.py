"""The errors a user can meet, each with a place and advice.

Every error that is the user's to mend is a :class:`TrunklineError`. The command line prints it without a
traceback and ends with its ``exit_code``: 2 where the input is at fault, 3 where the work itself failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from trunkline.text import escaped, quoted

if TYPE_CHECKING:  # pydantic takes a good part of the command line's start, and most commands never meet it
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where it is, and what to do about it.

    Attributes:
        message: What was found and what was expected.
        place: ``path:line:column``, a node name, or a dotted configuration key; empty where there is none.
        advice: What the user can do; empty where the message is enough.
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


def first_line(error: BaseException) -> str:
    r"""Return the first line of a library's message, or the error's kind where it has none.

    >>> first_line(ValueError("no such thing\n  in a.cpp"))
    'no such thing'
    """
    text = str(error).strip()
    return escaped(text.splitlines()[0], 400) if text else type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean "…"?`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {quoted(close[0])}?" if close else ""


def problems_of(error: ValidationError, model: type[BaseModel], place: str = "", table: str = "") -> list[Problem]:
    """Return what pydantic found wrong with the content of ``model``, as one located problem each.

    Args:
        error: What validating raised.
        model: The class that was validated; it knows the keys that an unknown one may have meant.
        place: The file; empty where there is none.
        table: Dotted path of the table that ``model`` describes within the file; empty for the whole file.
    """
    return [_problem_of(item, model, place, table) for item in error.errors()]


def _problem_of(item: ErrorDetails, model: type[BaseModel], place: str, table: str) -> Problem:
    path, known = _keys_of(item["loc"], model)
    dotted = ".".join([*([table] if table else []), *path])
    where = ": ".join(part for part in (place, dotted) if part)
    if item["type"] == "extra_forbidden":
        return Problem("unknown key", where, did_you_mean(path[-1], known) or f"known keys: {', '.join(known)}")
    if item["type"] == "missing":
        return Problem("this key is needed", where)
    if item["type"] == "value_error":  # a rule of ours, whose message is enough
        return Problem(item["msg"].removeprefix("Value error, "), where)
    message = f"{item['msg'][:1].lower()}{item['msg'][1:]}"
    if not path:  # the input is the whole text, too much to show
        return Problem(message, where)
    return Problem(f"{escaped(repr(item['input']))}: {message}", where)


def _keys_of(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[list[str], list[str]]:
    """Return the keys of a finding as the user wrote them, and those that may stand where the last one does.

    pydantic names the member of a union after the key that holds it, as ``data.scenes.size``; no file has that part. A
    union that tells its members apart itself names them in angle brackets, which no key begins and ends with.
    """
    path: list[str] = []
    loc = tuple(part for part in loc if not _is_tag(part))
    models, is_union = [model], False
    for index, part in enumerate(loc):
        if is_union and index < len(loc) - 1:
            models = [each for each in models if part in _names_of(each)] or models
            is_union = False
            continue
        path.append(str(part) or '""')  # as TOML writes a key without a letter
        known = [key for each in models for key in each.model_fields]
        fields = [each.model_fields[str(part)] for each in models if str(part) in each.model_fields]
        found = [inner for field in fields for inner in _models_in(field.annotation)]
        if index < len(loc) - 1 and found:
            models, is_union = found, len(found) > 1
    return path, list(dict.fromkeys(known)) if path else []


def _is_tag(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _names_of(model: type[BaseModel]) -> set[object]:
    """Return what pydantic may call a member of a union: its class, or the value of a field that tells it apart."""
    values = {value for field in model.model_fields.values() for value in get_args(field.annotation)}
    return {model.__name__, *values}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a field may hold, alone, in a union or in a collection."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
