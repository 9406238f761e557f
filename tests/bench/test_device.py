"""What a device tells of itself, read from made-up files of Linux and a made-up ``nvidia-smi``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_up_device import CPU, QUOTA, VNNI, WITHOUT_VNNI, fake_nvidia_smi, laptop, write_tree

from trunkline.bench.candidate import Candidate
from trunkline.bench.compare import compare
from trunkline.bench.device.conditions import Conditions
from trunkline.bench.device.state import DeviceState, read_device
from trunkline.bench.environment import Environment
from trunkline.bench.instructions import read_instructions
from trunkline.bench.protocol import measure
from trunkline.bench.settings import Settings

if TYPE_CHECKING:
    from tests.bench.conftest import FakeClock, FakeSession

QUICK = Settings(minimum_samples=64, minimum_seconds=0.0, warm_up_seconds=0.0)
GPU = {
    "name": "Made Up 1",
    "clocks.sm": "1380",
    "clocks.max.sm": "1980",
    "temperature.gpu": "84",
    "power.draw": "[N/A]",
    "utilization.gpu": "7",
    "persistence_mode": "Enabled",
}


@pytest.mark.golden
@pytest.mark.parametrize(
    ("line", "family", "has", "int8_dot"),
    [
        (VNNI, "x86", ("avx2", "avx512f", "avx512_vnni", "avx512_bf16"), True),
        (WITHOUT_VNNI, "x86", ("avx2",), False),
        ("flags : sse2 avx2 avx_vnni\n", "x86", ("avx2", "avx_vnni"), True),
        ("Features\t: fp asimd asimddp fphp i8mm\n", "arm", ("asimd", "asimddp", "fphp", "i8mm"), True),
        ("Features\t: fp asimd\n", "arm", ("asimd",), False),
        ("processor : 0\n", "", (), None),
    ],
)
def test_instructions_of_processors(
    tmp_path: Path, line: str, family: str, has: tuple[str, ...], int8_dot: bool | None
) -> None:
    found = read_instructions(write_tree(tmp_path, {"proc/cpuinfo": f"processor : 0\n{line}"}))
    assert (found.family, found.has, found.int8_dot) == (family, has, int8_dot)
    assert read_instructions(tmp_path / "nowhere").int8_dot is None


@pytest.mark.golden
def test_state_of_a_laptop(tmp_path: Path) -> None:
    state = read_device(root=laptop(tmp_path))
    assert state.to_json() == {
        "clock_mhz": 3600.0,
        "max_clock_mhz": 3900.0,
        "base_clock_mhz": 2600.0,
        "governor": "powersave",
        "turbo": True,
        "temperature_c": 61.0,
        "gpu": None,
    }


@pytest.mark.golden
def test_what_is_not_told_is_none(tmp_path: Path) -> None:
    """Of an empty system, and of one whose files say something else."""
    for root in (tmp_path, write_tree(tmp_path / "odd", dict.fromkeys(_files(laptop(tmp_path / "l")), "?"))):
        state = read_device(root=root)
        assert set(state.to_json().values()) <= {None, "?"}  # a governor may be called anything
        conditions = Conditions(state, state)
        assert (conditions.throttled, conditions.watched, conditions.steal_percent) == ((), (), None)
        assert conditions.to_json()["power_w"] is None


def _files(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]


@pytest.mark.golden
def test_a_virtual_machine_tells_one_clock(tmp_path: Path) -> None:
    lines = "processor : 0\ncpu MHz : 2599.998\nprocessor : 1\ncpu MHz : 2600.1\n"
    assert read_device(root=write_tree(tmp_path, {"proc/cpuinfo": lines})).clock.mhz == 2600.1


def between(root: Path, changes: dict[str, object]) -> Conditions:
    """Conditions of a system in which these files change during the measurement."""
    before = read_device(root=root)
    write_tree(root, changes)
    after = read_device(root=root)
    return Conditions(DeviceState(0.0, *_rest(before)), DeviceState(2.0, *_rest(after)))


def _rest(state: DeviceState) -> tuple[object, ...]:
    return state.clock, state.temperature_c, state.power, state.throttling, state.gpu


@pytest.mark.golden
@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ()),
        ({f"{CPU}/cpu1/thermal_throttle/core_throttle_count": 3}, ("heat slowed the processor down",)),
        ({f"{CPU}/cpu0/thermal_throttle/package_throttle_count": 9}, ("heat slowed the processor down",)),
        (
            {f"{CPU}/cpu0/thermal_throttle/core_power_limit_count": 1},
            ("its power limit slowed the processor down",),
        ),
        (
            {QUOTA: "nr_throttled 4\nthrottled_usec 81000"},
            ("a CPU quota stopped the process 4 times, for 81 ms in all",),
        ),
        (
            {"sys/fs/cgroup/pod/cpu.stat": "nr_throttled 5\nthrottled_usec 17000"},
            ("a CPU quota stopped the process twice, for 10 ms in all",),
        ),
    ],
)
def test_what_held_the_device_back(tmp_path: Path, changes: dict[str, object], reasons: tuple[str, ...]) -> None:
    found = between(laptop(tmp_path), changes)
    assert found.throttled == reasons
    assert found.watched == ("heat", "power limit", "CPU quota")


@pytest.mark.golden
def test_a_container_with_older_control_groups(tmp_path: Path) -> None:
    """Its path from outside is not there; its own group is the topmost one, and counts in nanoseconds."""
    cgroup = "8:pids:/docker/1f\n3:cpu,cpuacct:/docker/1f\n"
    stat = "sys/fs/cgroup/cpu,cpuacct/cpu.stat"
    write_tree(tmp_path, {"proc/self/cgroup": cgroup, stat: "nr_throttled 1\nthrottled_time 0"})
    found = between(tmp_path, {stat: "nr_throttled 2\nthrottled_time 50000000"})
    assert found.throttled == ("a CPU quota stopped the process once, for 50 ms in all",)
    assert found.watched == ("CPU quota",)
    outside = write_tree(tmp_path / "other", {"proc/self/cgroup": "0::/../../up", "up/cpu.stat": "nr_throttled 1"})
    assert between(outside, {}).watched == ()


@pytest.mark.golden
def test_a_board_that_cools(tmp_path: Path) -> None:
    """It has no counters: that its clock is held down is all that it tells."""
    device = "sys/class/thermal/cooling_device0"
    write_tree(tmp_path, {f"{device}/type": "thermal-cpufreq-0", f"{device}/cur_state": 0})
    write_tree(tmp_path, {"sys/class/thermal/cooling_device1/type": "pwm-fan"})
    write_tree(tmp_path, {"sys/class/thermal/cooling_device1/cur_state": 3})
    assert between(tmp_path, {}).throttled == ()
    assert between(tmp_path, {f"{device}/cur_state": 2}).throttled == ("heat slowed the processor down",)


@pytest.mark.golden
def test_power_by_whoever_tells(tmp_path: Path) -> None:
    """The processor's counter, which begins anew; else the board; else the battery."""
    rapl = "sys/class/powercap/intel-rapl"
    taken = {f"{rapl}:0/energy_uj": 9_000_000, f"{rapl}:1/energy_uj": 2_000_000, f"{rapl}:0:0/energy_uj": 3_000_000}
    counted = between(laptop(tmp_path / "l"), taken)
    assert counted.to_json()["power_w"] == pytest.approx((5 + 3) / 2)
    assert counted.to_json()["power_from"] == "processor"
    chip = "sys/class/hwmon/hwmon3"
    board = {f"{chip}/name": "ina3221", f"{chip}/in1_label": "VDD_IN", f"{chip}/in1_input": 5000}
    board |= {f"{chip}/curr1_input": 1000, f"{chip}/in2_label": "VDD_SOC", f"{chip}/in2_input": 1}
    jetson = between(write_tree(tmp_path / "j", board), {f"{chip}/curr1_input": 2000}).to_json()
    assert (jetson["power_w"], jetson["power_from"]) == (7.5, "board")
    supply = "sys/class/power_supply/BAT0"
    files = {f"{supply}/status": "Discharging", f"{supply}/power_now": 12_000_000}
    battery = between(write_tree(tmp_path / "b", files), {})
    assert (battery.to_json()["power_w"], battery.to_json()["power_from"]) == (12.0, "battery")
    assert battery.notes == ("the device ran on its battery",)
    assert between(tmp_path / "b", {f"{supply}/status": "Charging"}).to_json()["power_w"] is None


@pytest.mark.golden
def test_governor_turbo_and_neighbours_are_notes(tmp_path: Path) -> None:
    found = between(laptop(tmp_path), {"proc/stat": "cpu  180 0 50 800 10 0 0 60 100 0"})
    assert found.steal_percent == pytest.approx(20.0)
    governor, turbo, stolen = found.notes
    assert "governor powersave" in governor and "base 2600 MHz" in turbo and "20.0 %" in stolen
    assert found.throttled == ()
    quiet = {f"{CPU}/cpu{core}/cpufreq/scaling_governor": "performance" for core in range(2)}
    assert between(tmp_path, {**quiet, f"{CPU}/intel_pstate/no_turbo": 1}).notes == ()


@pytest.mark.golden
def test_a_gpu_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that the process sees; what it has no sensor for is not known."""
    counters = "clocks_event_reasons_counters"
    answers = {
        **GPU,
        "clocks_event_reasons.active": "0x0000000000000001",
        f"{counters}.sw_power_cap": "1000 us",
        f"{counters}.sw_thermal_slowdown": "0",
        f"{counters}.hw_thermal_slowdown": "5",
        f"{counters}.hw_power_brake_slowdown": "0",
    }
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    fake_nvidia_smi(tmp_path / "bin", monkeypatch, answers)
    before = read_device(gpu=True, root=tmp_path)
    assert (tmp_path / "bin/asked").read_text().startswith("--id=3 ")
    assert before.to_json()["gpu"] == {
        "name": "Made Up 1",
        "clock_mhz": 1380.0,
        "max_clock_mhz": 1980.0,
        "temperature_c": 84.0,
        "power_w": None,
        "busy_percent": 7.0,
        "persistence": True,
        "limits": (),
    }
    fake_nvidia_smi(tmp_path / "bin", monkeypatch, {**answers, f"{counters}.sw_power_cap": "251000 us"})
    found = Conditions(before, read_device(gpu=True, root=tmp_path))
    assert found.throttled == ("power held the GPU's clock down for 250 ms",)
    assert found.watched == ("GPU",)
    json.dumps(found.to_json())


@pytest.mark.golden
@pytest.mark.parametrize("field", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
@pytest.mark.parametrize(
    ("mask", "limits"),
    [("0x0000000000000003", ()), ("0x0000000000000024", ("power", "heat")), ("[N/A]", None)],
)
def test_a_gpu_that_tells_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, mask: str, limits: tuple[str, ...] | None
) -> None:
    """An older driver knows neither counters nor the newer names, and answers nothing to who asks for them."""
    fake_nvidia_smi(tmp_path / "bin", monkeypatch, {**GPU, field: mask})
    state = read_device(gpu=True, root=tmp_path)
    assert state.gpu is not None and state.gpu.limits == limits
    found = Conditions(DeviceState(), state)
    assert found.throttled == tuple(f"{limit} held the GPU's clock down at the end" for limit in limits or ())
    assert found.watched == (() if limits is None else ("GPU",))
    assert read_device(root=tmp_path).gpu is None  # nobody asked


@pytest.mark.abuse
def test_a_broken_driver_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path / "bin", monkeypatch, {})
    assert read_device(gpu=True, root=tmp_path).gpu is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert read_device(gpu=True, root=tmp_path).gpu is None


@pytest.mark.golden
def test_what_was_throttled_is_unstable(
    tmp_path: Path, clock: FakeClock, session: Callable[..., FakeSession], environment: Environment
) -> None:
    """All latencies of the measurement, however steady their samples are; and ratios, and what they are shown with."""
    root = laptop(tmp_path)
    readings = iter(({}, {QUOTA: "nr_throttled 1\nthrottled_usec 9000"}))

    def device() -> DeviceState:
        return read_device(root=write_tree(root, next(readings)))

    candidates = [Candidate("a", (session(4.0),)), Candidate("b", (session(2.0),), quantised=True)]
    found = compare(measure(candidates, QUICK, clock=clock, environment=environment, device=device))
    reason = "a CPU quota stopped the process once, for 9 ms in all"
    assert [(latency.stable, latency.reason) for latency in found.latencies] == [(False, reason)] * 2
    assert not found.stable and not found.ratios[0].stable
    content = found.to_json()
    assert content["device"]["throttled"] == [reason]
    assert content["device"]["before"]["temperature_c"] == 61.0
    assert [model["quantised"] for model in content["models"]] == [None, True]
    assert not {"device", "environment"} & content["models"][0].keys()
