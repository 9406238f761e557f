"""A device that is not there: files of Linux under a folder, and an ``nvidia-smi`` that says what it is told to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

CPU = "sys/devices/system/cpu"
QUOTA = "sys/fs/cgroup/pod/box/cpu.stat"

VNNI = "flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16\n"
WITHOUT_VNNI = "flags\t\t: fpu sse2 avx2\n"


def write_tree(root: Path, files: Mapping[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def laptop(root: Path) -> Path:
    """Two cores with turbo, sensors, counters, and a quota for the control group above the process' own."""
    files: dict[str, object] = {
        f"{CPU}/intel_pstate/no_turbo": 0,
        "sys/class/thermal/thermal_zone0/type": "acpitz",
        "sys/class/thermal/thermal_zone0/temp": 99000,
        "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp",
        "sys/class/thermal/thermal_zone1/temp": 61000,
        "sys/class/hwmon/hwmon0/name": "coretemp",
        "sys/class/hwmon/hwmon0/temp1_input": 58000,
        "sys/class/powercap/intel-rapl:0/energy_uj": 4_000_000,
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 10_000_000,
        "sys/class/powercap/intel-rapl:0:0/energy_uj": 1,
        "sys/class/powercap/intel-rapl:1/energy_uj": 9_000_000,
        "sys/class/powercap/intel-rapl:1/max_energy_range_uj": 10_000_000,
        "proc/cpuinfo": f"cpu MHz\t\t: 800.5\n{VNNI}",
        "proc/stat": "cpu  100 0 50 800 10 0 0 40 100 0\ncpu0 1 2 3",
        "proc/self/cgroup": "0::/pod/box",
        QUOTA: "usage_usec 9\nnr_periods 5\nnr_throttled 0\nthrottled_usec 0",
        "sys/fs/cgroup/pod/cpu.stat": "nr_periods 5\nnr_throttled 3\nthrottled_usec 7000",
    }
    for core, khz in enumerate((2_100_000, 3_600_000)):
        files |= {
            f"{CPU}/cpu{core}/cpufreq/scaling_cur_freq": khz,
            f"{CPU}/cpu{core}/cpufreq/cpuinfo_max_freq": 3_900_000,
            f"{CPU}/cpu{core}/cpufreq/base_frequency": 2_600_000,
            f"{CPU}/cpu{core}/cpufreq/scaling_governor": "powersave",
            f"{CPU}/cpu{core}/thermal_throttle/core_throttle_count": 2,
            f"{CPU}/cpu{core}/thermal_throttle/package_throttle_count": 1,
            f"{CPU}/cpu{core}/thermal_throttle/core_power_limit_count": 0,
        }
    return write_tree(root, files)


def fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, str]) -> None:
    """Put a program on PATH that knows these fields, says nothing of others, and keeps what it was asked."""
    cases = "\n".join(f'    {name}) out="$out, {value}" ;;' for name, value in answers.items())
    script = f"""#!/bin/sh
echo "$@" >> {folder}/asked
out=""
for field in $(echo "$2" | sed 's/--query-gpu=//; s/,/ /g'); do
  case "$field" in
{cases}
    *) echo "Field \\"$field\\" is not a valid field to query."; exit 2 ;;
  esac
done
echo "${{out#, }}"
"""
    folder.mkdir(exist_ok=True)
    tool = folder / "nvidia-smi"
    tool.write_text(script)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
