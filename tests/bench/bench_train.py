#!/usr/bin/env python3
"""Times a training step of the masked autoencoder in PyTorch, as the yardstick for `tessera bench --only train`.

    bench_train.py [--threads N] [--batch N] [--budget SECONDS]

The model is that of `tessera train mae --preset tiny`: encoder 256 wide, 6 blocks, 8 heads; decoder 192 wide, 4 blocks, 6 heads; 196
patches of 16 pixels, 49 of them visible; 1024 codes. A step is: a batch of normalised pixels and given labels in, forward,
cross entropy at the 147 hidden places, backward, AdamW (0.9, 0.95, weight decay 0.05), the loss out. No VQGAN. What PyTorch offers to
be fast with is tried and the faster is taken: AdamW one parameter at a time or all at once (`foreach`). Printed is one JSON object, `ms`
being the median and `cpu_ms` the processor's time of a step, all threads together, which a busy machine does not lengthen. The environment is set as in bench_pytorch.py: OpenBLAS told the processor's real type, OpenMP's threads told not to
spin.
"""
import argparse
import json
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--budget", type=float, default=4, help="seconds for each variant")
args = parser.parse_args()

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
try:
    with open("/proc/cpuinfo") as cpuinfo:
        if "avx512f" in cpuinfo.read():
            os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
except OSError:
    pass

import torch  # noqa: E402  (after the environment that it reads)
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import blas  # noqa: E402

blas.refuse_reference()

SIDE, PATCH, VISIBLE, CODES = 14, 16, 49, 1024
PLACES = SIDE * SIDE


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), -1) @ v
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Model(nn.Module):
    def __init__(self, dim=256, depth=6, heads=8, decoder_dim=192, decoder_depth=4, decoder_heads=6):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.register_buffer("pos", torch.randn(1, 1 + PLACES, dim) * 0.02)
        self.register_buffer("decoder_pos", torch.randn(1, 1 + PLACES, decoder_dim) * 0.02)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.decoder_blocks = nn.Sequential(*(Block(decoder_dim, decoder_heads) for _ in range(decoder_depth)))
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=1e-6)
        self.pred = nn.Linear(decoder_dim, CODES)

    def forward(self, pixels, keep, restore, hidden):
        """pixels (B, 3, H, W), keep (B, V), restore (B, L) into visible then masked, hidden (B, T) -> logits (B, T, K)."""
        b = pixels.shape[0]
        rows = lambda x, i: torch.gather(x, 1, i[:, :, None].expand(-1, -1, x.shape[2]))
        x = self.patch_embed(pixels).flatten(2).transpose(1, 2) + self.pos[:, 1:]
        x = torch.cat([(self.cls_token + self.pos[:, :1]).expand(b, -1, -1), rows(x, keep)], 1)
        x = self.decoder_embed(self.norm(self.blocks(x)))
        masked = self.mask_token.expand(b, PLACES - VISIBLE, -1)
        x = torch.cat([x[:, :1], rows(torch.cat([x[:, 1:], masked], 1), restore)], 1) + self.decoder_pos
        x = self.decoder_norm(self.decoder_blocks(x))
        return self.pred(rows(x, 1 + hidden))


def measure(foreach, budget):
    torch.manual_seed(0)
    model = Model()
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0}]
    try:
        optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), foreach=foreach)
    except TypeError:  # older than the option
        optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95))
    pixels = torch.randn(args.batch, 3, SIDE * PATCH, SIDE * PATCH)
    order = torch.rand(args.batch, PLACES).argsort(1)
    keep, hidden = order[:, :VISIBLE].sort(1)[0], order[:, VISIBLE:].sort(1)[0]
    restore = torch.cat([keep, hidden], 1).argsort(1)
    target = torch.randint(CODES, (args.batch, PLACES - VISIBLE))

    def step():
        optimizer.zero_grad(set_to_none=True)
        logits = model(pixels, keep, restore, hidden)
        loss = F.cross_entropy(logits.reshape(-1, CODES), target.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(2):
        step()
    times, first, cpu = [], time.perf_counter(), time.process_time()
    while len(times) < 3 or time.perf_counter() - first < budget:
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return {"ms": statistics.median(times), "cpu_ms": (time.process_time() - cpu) * 1e3 / len(times), "runs": len(times)}


torch.set_num_threads(args.threads)
results = {name: measure(foreach, args.budget) for name, foreach in (("one by one", False), ("foreach", True))}
best = min(results, key=lambda n: results[n]["cpu_ms"])
print(json.dumps({"torch": torch.__version__, "threads": args.threads, "batch": args.batch, "adamw": best, **results[best],
                  "all": results}))
