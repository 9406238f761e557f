"""What can be fuzzed: a reader, where its inputs come from, and what counts as a crash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from trunkline.errors import TrunklineError

SLOW_S = 5.0
"""An input that takes longer is a finding."""
MEMORY_BYTES = 2**30
"""A reader that grows beyond this is a finding."""

Mutate = Callable[[bytes, bytes, Random], bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """A reader to be fuzzed.

    Attributes:
        name: As on the command line.
        read: Reads an input; must return, or raise a :class:`TrunklineError`. Anything else is a crash.
        seeds: Good and almost good inputs, always the same.
        mutate: Makes an input from two others.
        package: Whose coverage counts.
        guided: Whether coverage can guide it; a generator's inputs are numbers, which it cannot.
        longest: Bytes of an input at most.
    """

    name: str
    read: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutate
    package: str
    guided: bool = True
    longest: int = 4096

    def accepts(self, data: bytes) -> bool:
        """Read ``data``; whether it was accepted. Whatever else the reader raises comes through."""
        try:
            self.read(data)
        except TrunklineError as error:
            if not error.problems or not all(problem.message for problem in error.problems):
                raise AssertionError("an error without a message") from error
            return False
        return True

    def input(self, seeds: Sequence[bytes], seed: int, index: int) -> bytes:
        """Return input number ``index`` of the stream ``seed``: the same on every machine, in any order."""
        rng = Random(f"{self.name}:{seed}:{index}")
        data = rng.choice(seeds)
        for _ in range(1 + int(rng.expovariate(0.7))):
            data = self.mutate(data, rng.choice(seeds), rng)
        return data[: self.longest]


def fingerprint(error: BaseException) -> str:
    """Return type and place of a crash, by which equal findings are known."""
    trace, place = error.__traceback__, "?"
    while trace is not None:
        code = trace.tb_frame.f_code
        if "trunkline" in code.co_filename:
            place = f"{code.co_filename.rpartition('trunkline/')[2]}:{code.co_name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} in {place}"
