"""A join, as a plan says it: a fragment between columns of tasks, what it reads, and who reads it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Read(_Entry):
    """One value that a join reads: a column's value as its unit left it, or another join's.

    Attributes:
        at: Name of a value of the backbone.
        task: Whose column it is read in.
        join: Name of a join that came before.
    """

    at: str | None = None
    task: str | None = None
    join: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        of_column = self.at is not None and self.task is not None and self.join is None
        of_join = self.at is None and self.task is None and self.join is not None
        if not of_column and not of_join:
            raise ValueError("a read is either `at` and `task`, or `join`")
        return self

    @classmethod
    def column(cls, at: str, task: str) -> Self:
        """Return the read of ``task``'s value ``at``."""
        return cls(at=at, task=task)

    @classmethod
    def of(cls, join: str) -> Self:
        """Return the read of a join's value."""
        return cls(join=join)


class Join(_Entry):
    """A fragment that reads values of columns, or of other joins.

    All joins of a site read before any of them replaces a value, so the order of tasks does not matter.

    Attributes:
        name: Its own; other joins may read its value under it.
        kind: Which fragment it is: a file of ``fragments/joins/``.
        settings: Of the kind.
        owner: Whose weights it uses; joins with one owner share them. Its own name if absent.
        site: The value of the backbone after which it runs.
        task: The column that it belongs to.
        reads: What it reads, in the order of the fragment's inputs.
        left_out: Numbers of reads that a search turned off: they are not read, and count as zeros. The others keep
            their numbers, and so the names of their weights.
        gives: ``site``: the column goes on with its value instead of its own; ``tap``: the task's head reads it as the
            last feature map; ``joins``: only other joins read it.
    """

    name: str = Field(min_length=1)
    kind: str
    settings: dict[str, Any] = {}
    owner: str = ""
    site: str
    task: str
    reads: tuple[Read, ...] = Field(min_length=1)
    left_out: tuple[int, ...] = ()
    gives: Literal["site", "tap", "joins"] = "site"

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        unknown = [number for number in self.left_out if not 0 <= number < len(self.reads)]
        if unknown:
            raise ValueError(f"there is no read {unknown[0]} to leave out")
        if not self.taken:
            raise ValueError("a join reads something")
        return self

    @property
    def taken(self) -> dict[int, Read]:
        """The reads that are not left out, by their number."""
        return {number: read for number, read in enumerate(self.reads) if number not in self.left_out}

    @property
    def weights_of(self) -> str:
        """The owner of its weights."""
        return self.owner or self.name
