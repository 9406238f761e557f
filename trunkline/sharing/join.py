"""A join, as a plan gives it: a fragment between columns of tasks, what it reads, and who reads it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trunkline.sharing.file_entry import FileEntry


class Read(FileEntry):
    """One value that a join reads: a column's value as its unit left it, or another join's.

    Attributes:
        at: Name of a value of the backbone.
        task: The task in whose column that value is read.
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


class Join(FileEntry):
    """A fragment that reads values of columns, or of other joins.

    All joins of a site read before any of them replaces a value, so the order of tasks does not matter.

    Attributes:
        name: Name of the join, under which other joins may read its value.
        kind: Kind of its fragment: the name that a file of ``fragments/joins/`` gives.
        settings: Settings of that kind.
        owner: Name under which its weights are stored; joins with one owner share them. The join's own if absent.
        site: Name of the backbone's value after which it runs.
        task: Task whose column it belongs to.
        reads: Values that it reads, in the order of the fragment's inputs.
        left_out: Numbers of reads that a search turned off: they are not read, and count as zeros. The others keep
            their numbers, and so the names of their weights.
        gives: ``site``: the column goes on with its value instead of its own; ``tap``: the task's head reads it as the
            last feature map; ``joins``: only other joins read it.

    A cross-stitch unit of the column of ``depth`` (Misra et al. 2016, Eq. 1), which mixes 0.1 of ``seg`` into it:

    >>> join = Join(
    ...     name="stitch1.depth",
    ...     kind="mix",
    ...     settings={"starts": (0.9, 0.1)},
    ...     site="pool1",
    ...     task="depth",
    ...     reads=(Read.column("pool1", "depth"), Read.column("pool1", "seg")),
    ... )
    >>> join.gives, join.weights_of
    ('site', 'stitch1.depth')
    """

    name: str = Field(min_length=1)
    kind: str
    settings: dict[str, Any] = Field(default_factory=dict)
    owner: str = ""
    site: str
    task: str
    reads: tuple[Read, ...] = Field(min_length=1)
    left_out: tuple[Annotated[int, Field(strict=True)], ...] = ()
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
        """Owner of its weights: ``owner``, or its own name."""
        return self.owner or self.name
