"""Measure the model beside this file on this machine: python bench.py [--threads 1] [--seconds 10] [--out bench.json]

As `trunkline bench` does: one image after the other until the running median is flat, then for so many seconds. It tells
the median, with an interval at 99 % by order statistics, and whether the machine was steady. The file is for
`trunkline report`.
"""

import argparse
import gc
import json
import math
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

HERE, INPUTS, WINDOW = Path(__file__).parent, 4, 8
INT8_DOT = {"avx_vnni", "avx_vnni_int8", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}


def middle(samples):
    """Return the median, and its interval: of n samples Binomial(n, 1/2) lie below the true one."""
    ordered, count = sorted(samples), len(samples)
    chances = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(count)]
    below = np.cumsum(np.exp(np.array(chances) - count * math.log(2)))
    rank = int(np.searchsorted(below, 0.005, side="right"))
    return float(np.median(ordered)), ordered[rank - 1], ordered[count - rank]


def doubt(samples):
    """Return why the samples are not one steady latency; nothing where they are."""
    parts = np.array_split(samples, 4 if len(samples) >= 44 else 2) if len(samples) >= 22 else [samples]
    medians = [middle(part) for part in parts]
    fast, slow = min(medians), max(medians)
    if slow[1] > fast[2] and slow[0] > 1.05 * fast[0]:
        start, end = sorted((medians.index(fast), medians.index(slow)))
        what = "slowed down" if slow == medians[end] else "sped up"
        return f"{what} while it was measured: from {medians[start][0]:.4g} ms to {medians[end][0]:.4g} ms"
    median, low, high = middle(samples)
    return f"too noisy: the median is somewhere in {low:.4g} to {high:.4g} ms" if high - low > 0.1 * median else ""


def measure(run, seconds):
    """Return how long runs took in ms, and why they may not be trusted."""

    def times(is_enough):
        start, taken = time.perf_counter(), []
        while not is_enough(taken, time.perf_counter() - start):
            number = len(taken) % INPUTS  # an input that is repeated at once could be quicker than a new one
            begun = time.perf_counter_ns()
            run(number)
            taken.append((time.perf_counter_ns() - begun) / 1e6)
        return taken

    def is_flat(taken):
        earlier, later = np.median(taken[-2 * WINDOW : -WINDOW]), np.median(taken[-WINDOW:])
        return abs(later - earlier) <= 0.03 * earlier

    gc.disable()
    warm = times(lambda taken, past: len(taken) >= 2 * WINDOW and past > 1 and (is_flat(taken) or past > 10))
    samples = times(lambda taken, past: len(taken) >= 11 and past >= seconds)
    return samples, doubt(samples) or ("" if is_flat(warm) else "the running median was not flat after 10 s of warm-up")


def session_of(manifest, threads):
    """Return the name of the provider, and a function that runs the model on the random image of a number."""
    settings, image = onnxruntime.SessionOptions(), manifest["input"]
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = HERE / manifest["model"]["file"]
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    feeds, shape = [session.io_binding() for _ in range(INPUTS)], (1, 3, image["height"], image["width"])
    for number, feed in enumerate(feeds):
        feed.bind_cpu_input(image["name"], np.random.default_rng(number).standard_normal(shape).astype(np.float32))
        for output in session.get_outputs():
            feed.bind_output(output.name, "cpu")
    return session.get_providers()[0], lambda number: session.run_with_iobinding(feeds[number])


def environment():
    """Return on what, and with what, this measures."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    versions = {"python": platform.python_version(), "numpy": np.__version__, "onnxruntime": onnxruntime.__version__}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    cpu = named[0] if named else platform.processor() or platform.machine()
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    has = {"has": sorted(flags & INT8_DOT), "int8_dot": bool(flags & INT8_DOT) if flags else None}
    told = {"family": "x86" if "flags" in flags else "arm" if flags else "", **has}
    where = {"cpu": cpu, "cores": cores, "system": platform.platform(), "load": load}
    return {**where, "instructions": told, "versions": versions}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    if options.threads < 1 or not 0 <= options.seconds < math.inf:
        parser.error("--threads must be 1 or more, and --seconds a number of seconds")
    manifest, where = json.loads((HERE / "manifest.json").read_bytes()), environment()
    provider, run = session_of(manifest, options.threads)
    samples, reason = measure(run, options.seconds)
    (median, low, high), model = middle(samples), manifest["model"]
    row = {"name": manifest["name"], "format": f"ONNX, {model['precision']}", "file_bytes": model["file_bytes"]}
    row |= {"p50_ms": median, "p50_ci_ms": [low, high], "stable": not reason, "reason": reason}
    for name, share, needed in (("p90_ms", 0.9, 64), ("p99_ms", 0.99, 662)):
        row[name] = float(np.quantile(samples, share, method="median_unbiased")) if len(samples) >= needed else None
    row |= {"samples": len(samples), "samples_ms": samples, "provider": provider, "threads": options.threads}
    row |= {"spinning": False, "runtime": {"runtime": f"onnxruntime {onnxruntime.__version__}"}}
    row |= {"region": "one run of the session, inputs bound in host memory, until the outputs are complete"}
    row |= {"model_sha256": model["sha256"]}
    content = {"format": "trunkline-bench", "models": [row], "environment": where}
    print(f"{median:.3f} ms [{low:.3f}, {high:.3f}], {len(samples)} runs{f'; UNSTABLE: {reason}' if reason else ''}")
    try:
        options.out.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        sys.exit(f"{options.out} cannot be written: {error.strerror}")


if __name__ == "__main__":
    main()
