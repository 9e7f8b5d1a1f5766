#!/usr/bin/env python3
"""Times a Segment Anything or a SegGPT in PyTorch, as the yardstick for tests/bench/bench_sam.c; the models are those of
tests/reference/map_torch.py.

    bench_sam.py FILE.pth [--threads T] [--runs R] [--device cpu|cuda] [--precision fp32|fp16]

Prints one JSON object like bench_sam's. On the CPU it is tuned first: OpenBLAS told the processor's real type where it has AVX-512
(Debian's takes some new ones for a Prescott), OpenMP's threads told not to spin.
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time


def told(option, default):
    return sys.argv[sys.argv.index(option) + 1] if option in sys.argv[:-1] else default


THREADS = told("--threads", str(len(os.sched_getaffinity(0))))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = THREADS
try:
    with open("/proc/cpuinfo") as cpuinfo:
        if "avx512f" in cpuinfo.read():
            os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
except OSError:
    pass

import torch  # noqa: E402  (after the environment that it reads)

import blas  # noqa: E402

blas.refuse_reference()
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))

import map_torch  # noqa: E402


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6


def measure(name, runs, device, work):
    """{NAME_ms: median of the wall's clock, NAME_cpu_ms: least of the processor's}, after a run that does not count."""
    wall, cpu = [], []
    for _ in range(runs + 1):
        if device == "cuda":
            torch.cuda.synchronize()
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        wall.append((time.perf_counter() - start) * 1e3)
        cpu.append((time.process_time() - start_cpu) * 1e3)
    return {name + "_ms": statistics.median(wall[1:]), name + "_cpu_ms": min(cpu[1:])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=int(THREADS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    kind = {"device": a.device, "dtype": torch.float16 if a.precision == "fp16" else torch.float32}
    if a.device == "cuda":
        torch.set_default_tensor_type(torch.cuda.HalfTensor if a.precision == "fp16" else torch.cuda.FloatTensor)
    tensors = torch.load(a.file, map_location=a.device)
    tensors = {n: t.to(**kind) for n, t in tensors.get("model", tensors).items()}
    out = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if a.device == "cuda" else "cpu", "threads": a.threads,
           "precision": a.precision}
    loaded = peak_mb()
    with torch.inference_mode():
        if "decoder_embed.weight" in tensors:
            net = map_torch.SegGpt(tensors)
            canvases = torch.randn(2, 1, 3, 896, 448, **kind)
            out |= measure("pair", a.runs, a.device, lambda: net.paint(canvases[0], canvases[1]))
            out["peak_mb"] = peak_mb() - loaded
        else:
            net = map_torch.sam_of(tensors)
            pixels = torch.randn(1, 3, 1024, 1024, **kind)
            out |= measure("encoder", a.runs, a.device, lambda: net.encode(pixels))
            out["peak_mb"] = peak_mb() - loaded
            embedding, points = net.encode(pixels), torch.rand(64, 2, **kind) * 1024
            out |= measure("one", 5 * a.runs, a.device, lambda: net.decode(embedding, points[:1], 1024))
            out |= measure("many", a.runs, a.device, lambda: net.decode(embedding, points, 1024))
    print(json.dumps(out))


if __name__ == "__main__":
    main()
