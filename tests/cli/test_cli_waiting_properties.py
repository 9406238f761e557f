"""Properties: whatever a run trains or evaluates with torch is watched over, and what it times is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import invoke, pipeline
from torch import nn
from watching import is_watching

from trunkline import spinning
from trunkline.verbs import run as run_verb

pytestmark = pytest.mark.properties


@pytest.mark.skipif(not spinning.libgomps() or not spinning.thread_times(), reason="there is nothing to watch here")
def test_torch_is_never_watched_while_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every forward pass of search, training, parity and pictures; and every one of the bench's eager runs."""
    for name in spinning.WAIT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    seen: dict[str, set[bool]] = {"run": set(), "bench": set()}
    stage = "run"

    def look(module: nn.Module, arguments: object) -> None:
        seen[stage].add(is_watching())

    def benched(*arguments: object, **options: object) -> object:
        nonlocal stage
        stage = "bench"
        return measured(*arguments, **options)

    measured = run_verb.bench_run
    monkeypatch.setattr(run_verb, "bench_run", benched)
    monkeypatch.setattr(
        run_verb, "check_last_stages", lambda project: None
    )  # it loads the bench's runtime for a moment
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    hook = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        config = pipeline(
            tmp_path,
            ("steps = [2, 4]", "steps = [1, 2]"),
            ("steps = 4\n", "steps = 1\n"),
            ("[bench]", '[bench]\nruntime = "torch"'),
        )
        said = invoke("run", config, "--out", "run", "--quiet", "--json")
    finally:
        hook.remove()
        torch.set_num_threads(threads)
    assert said.code == 0, said.err
    assert seen == {"run": {True}, "bench": {False}}
    assert said.json["bench"]["environment"]["wait_policy"] == "default"
