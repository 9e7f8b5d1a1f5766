#!/usr/bin/env python3
"""Times an MAE-VQGAN checkpoint in PyTorch, as the yardstick for `tessera bench --model`.

    bench_pytorch.py checkpoint.pth [--device cpu|cuda] [--precision fp32|fp16] [--runs N]

Measures, after two runs that do not count, the MAE with the 147 visible patches of the published layout (encoder, decoder, argmax
at every place) and the VQGAN's decoder on those codes, each from submission to the end, and prints one JSON object with the
medians in milliseconds. On the CPU it is tuned first: as many threads as cores, OpenBLAS told the processor's real type where it has
AVX-512 (Debian's takes some new ones for a Prescott), OpenMP's threads told not to spin.
"""
import argparse
import json
import os
import statistics
import sys
import time

CORES = len(os.sched_getaffinity(0))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", str(CORES))
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(CORES))
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


def attention(q, k, v):
    """softmax(q k^T / sqrt(d)) v for (B, heads, T, d)."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v


def heads_of(width, told):
    known = {1280: 16, 1024: 16, 512: 16, 768: 12, 384: 12}
    if told:
        return told
    if width not in known:
        sys.exit(f"nothing tells the heads at width {width}: give --heads and --decoder-heads")
    return known[width]


class Model:
    def __init__(self, tensors, heads, decoder_heads):
        self.w = tensors
        self.dim = tensors["pos_embed"].shape[2]
        self.decoder_dim = tensors["decoder_pos_embed"].shape[2]
        self.side = round((tensors["pos_embed"].shape[1] - 1) ** 0.5)
        self.patch = tensors["patch_embed.proj.weight"].shape[2]
        self.heads = heads_of(self.dim, heads)
        self.decoder_heads = heads_of(self.decoder_dim, decoder_heads)

    def depth(self, prefix):
        return 1 + max(int(n[len(prefix):].split(".")[0]) for n in self.w if n.startswith(prefix))

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-6)

    def blocks(self, prefix, heads, x):
        b, t, c = x.shape
        for i in range(self.depth(prefix)):
            at = f"{prefix}{i}."
            qkv = self.linear(at + "attn.qkv", self.norm(at + "norm1", x))
            q, k, v = qkv.reshape(b, t, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
            x = x + self.linear(at + "attn.proj", attention(q, k, v).transpose(1, 2).reshape(b, t, c))
            x = x + self.linear(at + "mlp.fc2", F.gelu(self.linear(at + "mlp.fc1", self.norm(at + "norm2", x))))
        return x

    def codes(self, pixels, keep):
        """pixels (B, 3, H, W), keep (V) -> codes (B, L)."""
        w, b = self.w, pixels.shape[0]
        x = F.conv2d(pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=self.patch)
        x = x.flatten(2).transpose(1, 2) + w["pos_embed"][:, 1:]
        token = (w["cls_token"] + w["pos_embed"][:, :1]).expand(b, -1, -1)
        x = self.norm("norm", self.blocks("blocks.", self.heads, torch.cat([token, x[:, keep]], 1)))
        x = self.linear("decoder_embed", x)
        full = w["mask_token"].expand(b, self.side ** 2, -1).clone()
        full[:, keep] = x[:, 1:]
        x = torch.cat([x[:, :1], full], 1) + w["decoder_pos_embed"]
        x = self.norm("decoder_norm", self.blocks("decoder_blocks.", self.decoder_heads, x))
        return self.linear("decoder_pred", x)[:, 1:].argmax(-1)

    def conv(self, name, x):
        weight = self.w["vae." + name + ".weight"]
        return F.conv2d(x, weight, self.w["vae." + name + ".bias"], padding=weight.shape[2] // 2)

    def group_norm(self, name, x):
        return F.group_norm(x, 32, self.w["vae." + name + ".weight"], self.w["vae." + name + ".bias"], 1e-6)

    def residual(self, at, x):
        y = self.conv(at + ".conv1", F.silu(self.group_norm(at + ".norm1", x)))
        y = self.conv(at + ".conv2", F.silu(self.group_norm(at + ".norm2", y)))
        return y + (self.conv(at + ".nin_shortcut", x) if f"vae.{at}.nin_shortcut.weight" in self.w else x)

    def self_attention(self, at, x):
        b, c, h, w = x.shape
        y = self.group_norm(at + ".norm", x)
        q, k, v = (self.conv(f"{at}.{n}", y).reshape(b, 1, c, h * w).transpose(2, 3) for n in "qkv")
        return x + self.conv(at + ".proj_out", attention(q, k, v).transpose(2, 3).reshape(b, c, h, w))

    def paint(self, codes):
        """codes (B, L) -> (B, 3, H, W) in [0, 1]."""
        z = self.w["vae.quantize.embedding.weight"][codes].reshape(codes.shape[0], self.side, self.side, -1)
        x = self.conv("decoder.conv_in", self.conv("post_quant_conv", z.permute(0, 3, 1, 2).contiguous()))
        x = self.residual("decoder.mid.block_1", x)
        x = self.self_attention("decoder.mid.attn_1", x)
        x = self.residual("decoder.mid.block_2", x)
        for level in reversed(range(self.depth("vae.decoder.up."))):
            up = f"decoder.up.{level}"
            for i in range(self.depth(f"vae.{up}.block.")):
                x = self.residual(f"{up}.block.{i}", x)
                if f"vae.{up}.attn.{i}.q.weight" in self.w:
                    x = self.self_attention(f"{up}.attn.{i}", x)
            if level > 0:
                x = self.conv(f"{up}.upsample.conv", F.interpolate(x, scale_factor=2.0, mode="nearest"))
        x = self.conv("decoder.conv_out", F.silu(self.group_norm("decoder.norm_out", x)))
        return (x.clamp(-1, 1) + 1) / 2


def load(path, device, dtype):
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    except TypeError:  # older than the option
        checkpoint = torch.load(path, map_location="cpu")
    tensors = checkpoint.get("model", checkpoint)
    return {n: t.to(device, dtype if t.is_floating_point() else t.dtype) for n, t in tensors.items()}


def median_ms(work, runs, device):
    times = []
    for i in range(runs + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[2:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--heads", type=int, default=0)
    parser.add_argument("--decoder-heads", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(CORES)
    dtype = torch.float16 if args.precision == "fp16" else torch.float32
    with torch.inference_mode():
        model = Model(load(args.checkpoint, args.device, dtype), args.heads, args.decoder_heads)
        size = model.side * model.patch
        torch.manual_seed(0)
        pixels = torch.randn(args.batch, 3, size, size).to(args.device, dtype)
        half = model.side // 2
        keep = torch.tensor([p for p in range(model.side ** 2) if p // model.side < half or p % model.side < half],
                            device=args.device)
        codes = model.codes(pixels, keep)
        report = {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
            "threads": CORES,
            "precision": args.precision,
            "visible": len(keep),
            "batch": args.batch,
            "mae_ms": median_ms(lambda: model.codes(pixels, keep), args.runs, args.device),
            "decode_ms": median_ms(lambda: model.paint(codes), args.runs, args.device),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
