#!/usr/bin/env python3
"""Times a CLIP in PyTorch, as the yardstick for tests/bench/bench_clip.c.

    bench_clip.py checkpoint.pt [--images N] [--texts N] [--length L] [--threads T] [--runs R] [--device cpu|cuda] [--precision ...]

Measures, after two runs that do not count, the image tower on N images and the text tower on N texts of L tokens (PyTorch's callers
run all 77), each from submission to the end, and prints one JSON object with the medians in milliseconds; cpu_ms is the least time
of the processor that a run took, which other busy programs disturb less. On the CPU it is tuned first: OpenBLAS told the processor's real
type where it has AVX-512 (Debian's takes some new ones for a Prescott), OpenMP's threads told not to spin.
"""
import argparse
import json
import os
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
import torch.nn.functional as F  # noqa: E402

import blas  # noqa: E402

blas.refuse_reference()


def attention(q, k, v, causal):
    """softmax(q k^T / sqrt(d)) v for (B, heads, T, d)."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if causal:
        scores += torch.full(scores.shape[-2:], float("-inf"), dtype=q.dtype, device=q.device).triu_(1)
    return torch.softmax(scores, -1) @ v


class Clip:
    def __init__(self, tensors):
        self.w = tensors

    def linear(self, x, weight, bias):
        return F.linear(x, self.w[weight], self.w[bias])

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-5)

    def blocks(self, prefix, x, causal):
        b, t, c = x.shape
        heads, i = c // 64, 0
        while f"{prefix}.{i}.ln_1.weight" in self.w:
            at = f"{prefix}.{i}."
            qkv = self.linear(self.norm(at + "ln_1", x), at + "attn.in_proj_weight", at + "attn.in_proj_bias")
            q, k, v = qkv.reshape(b, t, 3, heads, 64).permute(2, 0, 3, 1, 4)
            y = attention(q, k, v, causal).transpose(1, 2).reshape(b, t, c)
            x = x + self.linear(y, at + "attn.out_proj.weight", at + "attn.out_proj.bias")
            y = self.linear(self.norm(at + "ln_2", x), at + "mlp.c_fc.weight", at + "mlp.c_fc.bias")
            x = x + self.linear(y * torch.sigmoid(1.702 * y), at + "mlp.c_proj.weight", at + "mlp.c_proj.bias")
            i += 1
        return x

    def images(self, pixels):
        w = self.w
        x = F.conv2d(pixels, w["visual.conv1.weight"], stride=w["visual.conv1.weight"].shape[-1])
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([w["visual.class_embedding"].expand(x.shape[0], 1, -1), x], 1) + w["visual.positional_embedding"]
        x = self.blocks("visual.transformer.resblocks", self.norm("visual.ln_pre", x), False)
        return F.normalize(self.norm("visual.ln_post", x[:, 0]) @ w["visual.proj"], dim=-1)

    def texts(self, tokens):
        w = self.w
        x = w["token_embedding.weight"][tokens] + w["positional_embedding"][:tokens.shape[1]]
        x = self.norm("ln_final", self.blocks("transformer.resblocks", x, True))
        x = x[torch.arange(len(tokens), device=tokens.device), tokens.argmax(-1)]
        return F.normalize(x @ w["text_projection"], dim=-1)


def load(path, device, dtype):
    try:
        tensors = torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError:  # no archive of TorchScript's
        tensors = torch.load(path, map_location="cpu")
    return {n: t.detach().to(device, dtype if t.is_floating_point() else t.dtype) for n, t in tensors.items()}


def medians(work, runs, device):
    """(median of the wall's clock, least of the processor's) in milliseconds."""
    wall, cpu = [], []
    for _ in range(runs + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        wall.append((time.perf_counter() - start) * 1e3)
        cpu.append((time.process_time() - start_cpu) * 1e3)
    return statistics.median(wall[2:]), min(cpu[2:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--length", type=int, default=77)
    parser.add_argument("--threads", type=int, default=int(THREADS))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = torch.float16 if args.precision == "fp16" else torch.float32
    with torch.inference_mode():
        clip = Clip(load(args.checkpoint, args.device, dtype))
        grid = round((len(clip.w["visual.positional_embedding"]) - 1) ** 0.5)
        side = grid * clip.w["visual.conv1.weight"].shape[-1]
        torch.manual_seed(0)
        pixels = torch.randn(args.images, 3, side, side).to(args.device, dtype)
        tokens = torch.randint(0, 49406, (args.texts, args.length)).to(args.device)
        tokens[:, -1] = 49407
        image, image_cpu = medians(lambda: clip.images(pixels), args.runs, args.device)
        text, text_cpu = medians(lambda: clip.texts(tokens), args.runs, args.device)
    print(json.dumps({
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "threads": args.threads,
        "precision": args.precision,
        "images_ms": image, "images_cpu_ms": image_cpu,
        "texts_ms": text, "texts_cpu_ms": text_cpu,
    }))


if __name__ == "__main__":
    main()
