"""One stretch of work in a process of its own, whose parent survives whatever happens here."""

from __future__ import annotations

import gc
import resource
import sys
import time
import warnings
from pathlib import Path

from fuzz.counter import Count, Counter
from fuzz.findings import Findings
from fuzz.target import MEMORY_BYTES, SLOW_S, Target
from fuzz.targets import TARGETS

_LARGEST_BYTES = 4 * MEMORY_BYTES
_ASK_MEMORY_EVERY = 500


class Watch:
    """Reads inputs one by one, counts them, and keeps what goes wrong."""

    def __init__(self, target: Target, counter: Counter, findings: Findings) -> None:
        self.target, self.counter, self.findings = target, counter, findings
        self.count = counter.read()
        self._base = _memory_bytes()
        gc.freeze()
        gc.disable()  # looking for cycles after every few inputs takes a quarter of the time

    def __call__(self, data: bytes) -> None:
        """Read one input; it is kept if the reader crashes, takes too long, or takes too much."""
        self.counter.write(self.count)
        started = time.monotonic()
        try:
            self.count.accepted += self.target.accepts(data)
        except Exception as error:
            self.findings.crash(data, error)
        if time.monotonic() - started > SLOW_S:
            self.findings.add(data, f"slow: more than {SLOW_S} s")
        self.count.runs += 1
        self.count.index += 1
        if self.count.runs % _ASK_MEMORY_EVERY:
            self.counter.write(self.count)
            return
        gc.collect()
        if _memory_bytes() > self._base + MEMORY_BYTES:
            self.findings.add(data, "memory: the reader grew by more than 1 GiB; the input is near the one that did it")
            self.counter.write(self.count)
            sys.exit(3)
        self.counter.write(self.count)


def plain(target: Target, seed: int, stop: int, watch: Watch) -> None:
    """Read the inputs from the counter's index up to ``stop``."""
    seeds = target.seeds()
    while watch.count.index < stop:
        watch(target.input(seeds, seed, watch.count.index))


def _memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Run ``python -m fuzz.worker TARGET SEED STOP COUNTER FINDINGS``."""
    name, seed, stop, counter, findings = sys.argv[1:6]
    warnings.simplefilter("error")  # a warning from a library is ours to foresee
    resource.setrlimit(resource.RLIMIT_AS, (_LARGEST_BYTES, _LARGEST_BYTES))
    watch = Watch(TARGETS[name], Counter(Path(counter)), Findings(Path(findings)))
    plain(TARGETS[name], int(seed), int(stop), watch)


if __name__ == "__main__":
    main()

__all__ = ["Count", "Watch", "main", "plain"]
