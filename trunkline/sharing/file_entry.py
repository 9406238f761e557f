"""What the entries of plan files and cost tables have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FileEntry(BaseModel):
    """Part of a file that a person may write: an unknown key is an error, and a value that was read stays as it is."""

    # Frozen: what was checked when it was read cannot turn into something that was not.
    model_config = ConfigDict(extra="forbid", frozen=True)
