"""Runs workers side by side until the wanted number of inputs is done, and goes on where it was stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from fuzz.counter import Count, Counter
from fuzz.findings import Findings
from fuzz.target import SLOW_S, Target

Engine = Literal["guided", "plain"]
CHUNK = 25_000
"""Inputs of one process at most; a chunk that was interrupted is done again."""
_START_S = 30.0


@dataclass
class State:
    """What is done so far, over all starts.

    Attributes:
        seed: Of the stream of inputs.
        engine: What chooses them.
        chunk: Inputs of one process.
        done: Numbers of the chunks that are finished.
        runs: Inputs read.
        accepted: Those the reader accepted.
        seconds: Time it took, workers side by side.
    """

    seed: int
    engine: Engine
    chunk: int
    done: list[int] = field(default_factory=list)
    runs: int = 0
    accepted: int = 0
    seconds: float = 0.0


@dataclass
class Job:
    """A worker at work."""

    number: int
    process: subprocess.Popen[bytes]
    counter: Counter
    stop: int
    seen: Count
    moved: float


class Driver:
    """Fuzzes one target in a folder of its own, ``out/TARGET``."""

    def __init__(
        self, target: Target, out: Path, *, engine: Engine, seed: int, workers: int, chunk: int = CHUNK
    ) -> None:
        self.target, self.workers = target, workers
        self.folder = out / f"{target.name}-{engine}-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.findings = Findings(self.folder / "findings")
        self._state_file = self.folder / "state.json"
        self.state = State(seed, engine, chunk)
        if self._state_file.exists():
            self.state = State(**json.loads(self._state_file.read_text(encoding="utf-8")))

    def run(self, runs: int) -> State:
        """Work until ``runs`` inputs are done in all, in whole chunks; what an earlier start did counts."""
        jobs: dict[int, Job] = {}
        last = time.monotonic()
        try:
            while jobs or self.state.runs < runs:
                for slot in range(self.workers):
                    if slot not in jobs and self.state.runs + len(jobs) * self.state.chunk < runs:
                        jobs[slot] = self._start(slot, self._next(jobs))
                time.sleep(0.1)
                now = time.monotonic()
                self.state.seconds, last = self.state.seconds + now - last, now
                for slot in [slot for slot, job in jobs.items() if self._finished(job, slot)]:
                    self._account(jobs.pop(slot))
        finally:
            for job in jobs.values():
                job.process.kill()
                job.process.wait()
            self._save()
        return self.state

    def _next(self, jobs: dict[int, Job]) -> int:
        """Return the first chunk that is neither done nor in work."""
        taken = {*self.state.done, *(job.number for job in jobs.values())}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _account(self, job: Job) -> None:
        count = job.counter.read()
        self.state.done.append(job.number)
        self.state.runs += count.runs
        self.state.accepted += count.accepted
        self._save()
        rate = self.state.runs / max(self.state.seconds, 1e-9)
        found = len(self.findings.list())
        sys.stdout.write(f"{self.target.name}: {self.state.runs:,} runs, {rate:,.0f} a second, {found} findings\n")
        sys.stdout.flush()

    def _save(self) -> None:
        self._state_file.write_text(json.dumps(asdict(self.state)), encoding="utf-8")

    def _start(self, slot: int, number: int) -> Job:
        path = self.folder / f"counter-{slot}"
        path.unlink(missing_ok=True)
        counter = Counter(path)
        counter.write(Count(index=number * self.state.chunk))
        return self._spawn(slot, number, counter)

    def _spawn(self, slot: int, number: int, counter: Counter) -> Job:
        count, stop = counter.read(), (number + 1) * self.state.chunk
        guided = self.state.engine == "guided"
        # The libFuzzer stream differs between chunks; the plain one is numbered by its index.
        numbers = [self.state.seed + stop, stop - count.index] if guided else [self.state.seed, stop]
        command = [sys.executable, "-m", "fuzz.guided" if guided else "fuzz.worker", self.target.name]
        command += [*map(str, numbers), str(self.folder / f"counter-{slot}"), str(self.findings.folder)]
        command += [str(self.folder / "corpus")] if guided else []
        log = (self.folder / f"log-{slot}.txt").open("ab")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        with log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return Job(number, process, counter, stop, count, time.monotonic() + _START_S)

    def _finished(self, job: Job, slot: int) -> bool:
        """Whether a chunk is done. A worker that died or hangs is a finding, and the next goes on behind the input."""
        count, now = job.counter.read(), time.monotonic()
        if count != job.seen:
            job.seen, job.moved = count, now
        code = job.process.poll()
        if code is None and now - job.moved < 4 * SLOW_S:
            return False
        if code is None:
            job.process.kill()
            job.process.wait()
        if code == 1 or (code == 0 and not count.runs):
            raise RuntimeError(f"the worker itself failed: see {self.folder / f'log-{slot}.txt'}")
        if code == 0 or count.index >= job.stop:
            return True
        self._note(count, "hang" if code is None else f"the process died with {code}")
        count.index += 1
        count.runs += 1
        job.counter.write(count)
        new = self._spawn(slot, job.number, job.counter)
        job.process, job.seen, job.moved = new.process, new.seen, new.moved
        return False

    def _note(self, count: Count, what: str) -> None:
        if self.state.engine == "plain":
            data = self.target.input(self.target.seeds(), self.state.seed, count.index)
            self.findings.add(data, f"{what}, input {count.index}")
        else:  # libFuzzer has kept the input itself
            self.findings.add(b"", f"{what}, see libfuzzer-* in this folder")
