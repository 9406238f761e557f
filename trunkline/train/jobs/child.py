"""What a job's own process does: take the job, do it, say how it ended."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from types import FrameType

from trunkline.errors import TrunklineError
from trunkline.train.jobs.job import Job


def main() -> None:
    """Do the job that comes by stdin; the answer goes to the file whose number is the argument."""
    # By default SIGTERM ends Python at once, without `finally`: temporary files would stay.
    signal.signal(signal.SIGTERM, _stopped)
    job: Job = pickle.load(sys.stdin.buffer)  # noqa: S301  # from the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with os.fdopen(int(sys.argv[1]), "wb") as answers:
        pickle.dump(failure_of(job), answers)


def failure_of(job: Job) -> str:
    """Do a job here; return why it failed, or an empty text. What nobody expected is told in full on stderr."""
    try:
        job.work()
    except TrunklineError as error:
        text = f"{type(error).__name__}: {error}"
        sys.stderr.write(f"{text}\n")
        return text
    except MemoryError:
        return "there is not enough memory"
    except KeyboardInterrupt as error:
        return str(error) or "stopped"
    except Exception as error:  # a fault of ours must not pass for a job that is done
        traceback.print_exc()
        return f"{type(error).__name__}: {error}; more in {job.log}"
    return ""


def _end_with_parent() -> None:
    """End, as on SIGTERM, when the process that waits for this one is gone: nobody else would ever stop it."""
    # Not through sys.stdin: a thread that waits there holds a lock, and Python could not end.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _stopped(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")
