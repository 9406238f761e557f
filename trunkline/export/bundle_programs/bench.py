"""Measure the model beside this file on this machine: python bench.py [--threads 1] [--seconds 10] [--out bench.json]

One run after the other of one image, after a warm-up until the running median is flat; then the median with an interval
at 99 % by order statistics, p90 from 64 samples on and p99 from 662. The result is for `trunkline report`.
"""

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).parent
INPUTS, WINDOW, FLAT, WARM_UP_S = 4, 8, 0.03, 1.0
INT8_DOT = {"avx_vnni", "avx_vnni_int8", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}


def cpu():
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    has = {"has": sorted(flags & INT8_DOT), "int8_dot": bool(flags & INT8_DOT) if flags else None}
    family = "x86" if "flags" in flags else "arm" if flags else ""
    return {"cpu": named[0] if named else platform.machine(), "instructions": {"family": family, **has}}


def interval(samples, share, confidence=0.99):
    """Return a percentile with its interval: of n samples, Binomial(n, share) lie below it."""
    ordered, count = sorted(samples), len(samples)
    logs = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(count + 1)]
    terms = [log + k * math.log(share) + (count - k) * math.log(1 - share) for k, log in enumerate(logs)]
    below = np.cumsum(np.exp(terms))
    tail = (1 - confidence) / 2
    low = int(np.searchsorted(below, tail, side="right")) - 1
    high = int(np.searchsorted(below, 1 - tail))
    if low < 0 or high > count - 1:
        return None
    return float(np.quantile(ordered, share)), ordered[low], ordered[high]


def is_flat(samples):
    if len(samples) < 2 * WINDOW:
        return False
    earlier, later = np.median(samples[-2 * WINDOW : -WINDOW]), np.median(samples[-WINDOW:])
    return abs(later - earlier) <= FLAT * earlier


def measure(session, feeds, seconds):
    def timed(turn):
        feed = feeds[turn % INPUTS]  # a repeated input could be quicker than a new one
        start = time.perf_counter_ns()
        session.run_with_iobinding(feed)
        return (time.perf_counter_ns() - start) / 1e6

    start, warm, turn = time.perf_counter(), [], 0
    while True:
        passed = time.perf_counter() - start
        # A noisy machine may never be flat.
        if passed > WARM_UP_S and (is_flat(warm) or passed > 10 * WARM_UP_S):
            break
        warm.append(timed(turn))
        turn += 1
    start, samples = time.perf_counter(), []
    while len(samples) < 11 or time.perf_counter() - start < seconds:
        samples.append(timed(turn))
        turn += 1
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    manifest = json.loads((HERE / "manifest.json").read_text())
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = HERE / manifest["model"]["file"]
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    image = manifest["input"]
    rng, feeds = np.random.default_rng(0), []
    for _ in range(INPUTS):
        feed = session.io_binding()
        pixels = rng.standard_normal((1, 3, image["height"], image["width"])).astype(np.float32)
        feed.bind_cpu_input(image["name"], pixels)
        for output in session.get_outputs():
            feed.bind_output(output.name, "cpu")
        feeds.append(feed)
    samples = measure(session, feeds, options.seconds)
    median, low, high = interval(samples, 0.5)
    row = {"name": manifest["name"], "format": f"ONNX, {manifest['model']['precision']}"}
    row |= {"p50_ms": median, "p50_ci_ms": [low, high]}
    for share, needed in ((0.9, 64), (0.99, 662)):
        enough = len(samples) >= needed
        row[f"p{round(100 * share)}_ms"] = float(np.quantile(samples, share)) if enough else None
    row |= {"samples": len(samples), "samples_ms": samples, "file_bytes": path.stat().st_size}
    row |= {"threads": options.threads, "provider": session.get_providers()[0]}
    row |= {"model_sha256": manifest["model"]["sha256"]}
    where = {**cpu(), "cores": os.cpu_count(), "system": platform.platform()}
    where["versions"] = {"onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
    content = {"format": "trunkline-bench", "models": [row], "environment": where}
    options.out.write_text(json.dumps(content, indent=2) + "\n")
    print(f"{median:.3f} ms [{low:.3f}, {high:.3f}], {len(samples)} runs: {options.out}")


if __name__ == "__main__":
    main()
