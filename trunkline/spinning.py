"""While others need the cores, threads that wait for each other sleep; on a quiet machine they spin.

torch's builds for Linux split an operator over the threads of libgomp, which meet at its end. Who comes first spins for
some milliseconds before it sleeps. On a quiet machine that is right, because to wake a thread takes longer than many an
operator: with passive waiting (``OMP_WAIT_POLICY``) a step of a small network takes twice as long. But where another
program holds a core, the thread that all wait for is queueing, and the others spin away the time that they will need
next: a training on two cores falls to a tenth of its speed, or less.

The variables that set this are read once, when libgomp is loaded, and mean always or never. Yet libgomp gives up
spinning by itself, and asks anew at every wait, as long as it manages more threads than there are cores
(``config/linux/wait.h`` in its source). So a watch looks at how long this process's threads queue for a core, and while
that is long it holds an idle team. The team computes nothing and changes no number: an operator is split over as many
threads as before.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""With any of these a user has said how threads should wait."""

PERIOD_S = 0.25
BUSY, QUIET = 0.25, 0.10
"""Shares of the threads' time spent queueing for a core at which sleeping begins and ends."""
LEAST_WORK = 0.2
"""Cores' worth of work in a period below which its share means nothing."""

_NAME = "trunkline-spinning"
_TASKS = Path("/proc/self/task")
_NS_PER_S = 1e9

Times = Mapping[str, tuple[int, int]]
"""By thread: nanoseconds on a core, and nanoseconds of queueing for one."""


@contextmanager
def spin_only_when_quiet() -> Iterator[None]:
    """Watch over the waiting of torch's threads; also a decorator. It may be nested.

    Nothing is done where there is nothing to do or to know: with one thread, where the user has set one of
    :data:`WAIT_VARIABLES`, with another OpenMP runtime than libgomp, and where the system does not tell queueing times.
    """
    if not _can_help():
        yield
        return
    _WATCH.enter()
    try:
        yield
    finally:
        _WATCH.leave()


def wait_policy() -> str:
    """Return what the user's variables say about waiting threads, or ``default``."""
    said = [f"{name}={os.environ[name]}" for name in WAIT_VARIABLES if name in os.environ]
    return ", ".join(said) or "default"


def queueing(before: Times, after: Times) -> float | None:
    """Return the share of the threads' time that they queued for a core; ``None`` where they hardly did anything.

    Args:
        before: A reading of :func:`thread_times`.
        after: Another, :data:`PERIOD_S` later. A thread that is not in both is left out.
    """
    both = before.keys() & after.keys()
    on_core = sum(after[thread][0] - before[thread][0] for thread in both)
    queued = sum(after[thread][1] - before[thread][1] for thread in both)
    if on_core + queued < LEAST_WORK * PERIOD_S * _NS_PER_S:
        return None
    return queued / (on_core + queued)


def thread_times() -> Times:
    """Read the times of this process's threads; empty where the system does not tell."""
    times = {}
    for path in _TASKS.glob("*/schedstat"):
        try:
            on_core, queued, _ = path.read_text().split()
        except (OSError, ValueError):  # the thread has just ended
            continue
        times[path.parent.name] = int(on_core), int(queued)
    return times


class IdleTeam:
    """Threads of libgomp, asleep, that together with torch's are more than there are cores.

    Args:
        paths: The libgomp libraries of this process.
        threads: Torch's threads, which are not made again: where threads are rationed, libgomp ends the process.
    """

    def __init__(self, paths: Sequence[str], threads: int) -> None:
        self._paths, self._threads = paths, threads
        self._made, self._over = threading.Event(), threading.Event()
        # A team ends with the thread that started it, hence a thread of its own.
        self._thread = threading.Thread(target=self._hold, name=f"{_NAME}-team", daemon=True)
        self._thread.start()
        self._made.wait()

    def let_go(self) -> None:
        """End the team's threads."""
        self._over.set()
        self._thread.join()

    def _hold(self) -> None:
        for path in self._paths:
            _make_team(ctypes.CDLL(path), self._threads)
        self._made.set()
        self._over.wait()


def _make_team(library: ctypes.CDLL, threads: int) -> None:
    """Let every thread of a new team do nothing once; libgomp keeps the team for the thread that calls this."""
    size = max(2, library.omp_get_num_procs() - threads + 2)
    nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # of no pointer; needs no lock of Python's
    # void GOMP_parallel(void (*fn)(void *), void *data, unsigned num_threads, unsigned flags)
    library.GOMP_parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    library.GOMP_parallel.restype = None
    library.GOMP_parallel(nothing, None, size, 0)


class Watch:
    """A thread that holds an idle team while the cores are contended; it runs while anybody is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._team: IdleTeam | None = None

    @property
    def sleeping(self) -> bool:
        """Whether waiting threads sleep at once."""
        return self._team is not None

    def enter(self) -> None:
        """Begin, if this is the first to enter."""
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._ended.clear()
                self._thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
                self._thread.start()

    def leave(self) -> None:
        """End, if this is the last to leave; libgomp is then as it was."""
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._thread is not None:
                self._ended.set()
                self._thread.join()

    def follow(self, share: float | None) -> None:
        """Hold a team or let it go, by the share of time spent queueing."""
        if share is None:
            return
        if self._team is None and share > BUSY:
            self._team = IdleTeam(libgomps(), _torch_threads())
        elif self._team is not None and share < QUIET:
            self._let_go()

    def _run(self) -> None:
        before = thread_times()
        while not self._ended.wait(PERIOD_S):
            after = thread_times()
            self.follow(queueing(before, after))
            before = after
        self._let_go()

    def _let_go(self) -> None:
        if self._team is not None:
            self._team.let_go()
            self._team = None


_WATCH = Watch()


def libgomps() -> list[str]:
    """Return the paths of the libgomp libraries that this process has loaded."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    paths = dict.fromkeys(line.split(maxsplit=5)[-1] for line in lines)
    # Wheels of older torch rename it, as in libgomp-a34b3233.so.1.
    return [path for path in paths if Path(path).name.startswith("libgomp")]


def _can_help() -> bool:
    return _torch_threads() > 1 and wait_policy() == "default" and bool(libgomps()) and bool(thread_times())


def _torch_threads() -> int:
    import torch  # whoever is here has loaded it

    return torch.get_num_threads()
