"""A folder in which mutmut works on a group of modules: configuration, mutants, and what became of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutation.targets import Group

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / "runs" / "mutation"

_SEEN_BY_TESTS = ("trunkline", "tests", "docs", "examples", "conformance", "bench_suite", "fuzz", "README.md")
_PROSE = r'"[A-Za-z{][^"]*[a-z}:] [a-z{][^"]*"'
"""Lines with text for people are left as they are: whether a message is well worded is not for tests to say."""

_CONFIGURATION = """
[tool.mutmut]
source_paths = ["trunkline"]
only_mutate = {modules}
do_not_mutate_patterns = ['''{prose}''']
also_copy = {copied}
pytest_add_cli_args = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow", "--hypothesis-seed=0"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
use_git_change_detection = false
track_dependencies = false
timeout_multiplier = 10.0
timeout_constant = 5.0
"""
# torch is not safe to fork once it has run, so mutants come out of a process that has only imported it. A module is
# asked about by its own functions: what others change around it is a reason to start anew (`--fresh`), not each time.


class MutationFailed(Exception):
    """mutmut did not get as far as mutants; its own words are in the log that the message names."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where mutmut mutates one group; each has its own selection of tests."""

    group: Group

    @property
    def folder(self) -> Path:
        """Holds mutmut's state."""
        return STATE / self.group.name

    @property
    def log(self) -> Path:
        """What mutmut said last."""
        return self.folder / "log.txt"

    def prepare(self) -> None:
        """Write the configuration; sources and tests are the repository's own, which mutmut copies before it begins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in _SEEN_BY_TESTS:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(ROOT / name)
        copied = [name for name in _SEEN_BY_TESTS if name not in ("trunkline", "tests")]
        modules, tests = list(self.group.modules), list(self.group.tests)
        own = _CONFIGURATION.format(modules=modules, prose=_PROSE, copied=copied, tests=tests)
        (self.folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + own)

    def names(self, module: str) -> list[str]:
        """Return the names of all mutants of a module as it is now."""
        from mutmut.mutation.file_mutation import mutate_file_contents

        with self._entered():
            mutated = mutate_file_contents(module, (ROOT / module).read_text())
        package = module.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        return [f"{package}.{name}" for name in mutated.mutant_names]

    def verdicts(self, module: str) -> dict[str, str]:
        """Return what became of each of a module's mutants that was tried and whose function is as it was then."""
        from mutmut.mutation.data import SourceFileMutationData
        from mutmut.stats import status_by_exit_code

        with self._entered():
            data = SourceFileMutationData(path=module)
            data.load()
        return {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items() if code is not None}

    def diff(self, module: str, name: str) -> str:
        """Return what a mutant of a module changes, as a unified diff."""
        from mutmut.mutation.diff_apply import get_diff_for_mutant

        with self._entered():
            return str(get_diff_for_mutant(name, path=module))

    def run(self, names: Sequence[str], *, workers: int) -> None:
        """Try mutants, until done or interrupted; what was tried is kept either way.

        Raises:
            MutationFailed: The tests fail without any fault, or mutmut itself did.
        """
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(workers), *names]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        with self.log.open("w") as log:
            done = subprocess.run(command, cwd=self.folder, env=environment, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise MutationFailed(f"mutmut ended with {done.returncode}; see {self.log}")

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        """Work inside the folder: mutmut finds configuration and state there."""
        from mutmut.configuration import reset_config

        with contextlib.chdir(self.folder):
            reset_config()
            yield
