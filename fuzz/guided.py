"""One stretch of coverage-guided work: atheris chooses inputs by what they reach, and its corpus grows."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from random import Random

import atheris

# Only the reader under test tells what it reaches: every instrumented line costs time.
with atheris.instrument_imports(include=[f"trunkline.ingest.{sys.argv[1]}"], enable_loader_override=False):
    from fuzz.targets import TARGETS

from fuzz.counter import Counter
from fuzz.findings import Findings
from fuzz.target import MEMORY_BYTES, SLOW_S
from fuzz.worker import Watch


def main() -> None:
    """Run ``python -m fuzz.guided TARGET SEED RUNS COUNTER FINDINGS CORPUS``."""
    name, seed, runs, counter, findings, corpus = sys.argv[1:7]
    warnings.simplefilter("error")
    target = TARGETS[name]
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    for index, content in enumerate(target.seeds()):
        (folder / f"seed-{index:04}").write_bytes(content)
    watch = Watch(target, Counter(Path(counter)), Findings(Path(findings)))

    def mutate(data: bytes, longest: int, number: int) -> bytes:
        rng = Random(number)
        if rng.random() < 0.2:
            return bytes(atheris.Mutate(data, longest))
        return target.mutate(data, rng.choice(target.seeds()), rng)[:longest]

    options = [
        f"-seed={seed}",
        f"-runs={runs}",
        f"-max_len={target.longest}",
        f"-timeout={int(SLOW_S) * 4}",
        f"-rss_limit_mb={2 * MEMORY_BYTES >> 20}",
        f"-artifact_prefix={findings}/libfuzzer-",
        "-print_final_stats=1",
        "-reload=1",
    ]
    Path(findings).mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], *options, corpus], watch, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
