#!/usr/bin/env python3
"""Writes the small files of tests/golden/weights_* that test_weights.c reads: what torch.save and torch.jit.save make of every
element type, of views, parameters and shared storages, and the values that must come out, as doubles or int64 in safetensors.

    python3 tests/reference/make_weights_golden.py        (needs torch)
"""
import argparse
import collections
import json
import pathlib
import struct
import zipfile

import torch
from torch import nn

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden"


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, t in tensors.items():
        t = t.detach().contiguous()
        t = t.double() if t.is_floating_point() else t.long()
        raw = t.numpy().tobytes()
        header[name] = {"dtype": "F64" if t.is_floating_point() else "I64", "shape": list(t.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def checkpoint():
    torch.manual_seed(5)
    base = torch.randn(4, 6)
    shared = torch.randn(10)
    model = collections.OrderedDict(
        f32=torch.randn(3, 5), f16=torch.randn(7).half(), bf16=torch.randn(2, 3).bfloat16(), f64=torch.randn(3).double(),
        i64=torch.tensor([-(2**40), 3, 2**62]), i32=torch.tensor([[-7, 2**30]], dtype=torch.int32),
        i16=torch.tensor([-300, 300], dtype=torch.int16), i8=torch.tensor([-128, 127], dtype=torch.int8),
        u8=torch.tensor([0, 255], dtype=torch.uint8), bool=torch.tensor([True, False, True]),
        scalar=torch.tensor(2.5), empty=torch.zeros(0, 3), transposed=base.t(), rows=base[1:3], columns=base[:, 2:5],
        step=base[::2, ::3], permuted=torch.randn(2, 3, 4).permute(2, 0, 1), half_transposed=torch.randn(3, 4).half().t(),
        bytes_transposed=torch.arange(6, dtype=torch.uint8).reshape(2, 3).t(), double_transposed=torch.randn(2, 3).double().t(),
        long_transposed=torch.arange(6).reshape(2, 3).t(), expanded=torch.randn(3, 1).expand(3, 4),
        channels_last=torch.randn(1, 2, 3, 3).contiguous(memory_format=torch.channels_last),
        shared_a=shared[:6], shared_b=shared[4:], parameter=nn.Parameter(torch.randn(2, 2)),
        f16_special=torch.tensor([float("inf"), float("-inf"), 6e-8, -6.1e-5, 65504.0, 0.0]).half(),
    )
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "loss": 0.25, "big": 2**100, "negative": -(2**40), "args": argparse.Namespace(lr=1e-3, name="x", betas=(0.9, 0.95)),
            "optimizer": optimizer.state_dict(), "sizes": {1, 2}, "tags": frozenset(["a"]), "blob": b"\0\1", "model": model}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer("mask", torch.tensor([1, 0, 2]))
        self.factor = 3

    def forward(self, x):
        return self.fc(x) * self.factor + torch.tensor([0.5, 0.25])


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.blocks = nn.Sequential(Block(), Block())
        self.tied = self.blocks[0].fc

    def forward(self, x):
        return self.blocks(torch.cat([x, x[:, :1]], 1)[:, :3]) * self.scale if x.shape[1] < 3 else self.blocks[0](x)


def main():
    OUT.mkdir(exist_ok=True)
    full = checkpoint()
    torch.save(full, OUT / "weights_types.pth")
    torch.save(full, OUT / "weights_types_p4.pth", pickle_protocol=4)
    write_safetensors(OUT / "weights_types.expected.safetensors", full["model"])

    torch.manual_seed(6)
    tower = Tower().half()
    torch.save({"state_dict": tower.state_dict(), "hyper_parameters": argparse.Namespace(a=1)}, OUT / "weights_state_dict.ckpt")
    torch.save(tower.state_dict(), OUT / "weights_bare.pth", pickle_protocol=5)
    torch.jit.save(torch.jit.script(tower), OUT / "weights_script.pt")
    write_safetensors(OUT / "weights_tower.expected.safetensors", tower.state_dict())

    torch.save(tower.state_dict(), OUT / "weights_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(tower, OUT / "weights_module.pth")
    torch.save({"w": torch.randn(2, 2).to_sparse()}, OUT / "weights_sparse.pth")
    torch.save({"w": torch.randn(2, 2).to(torch.complex64)}, OUT / "weights_complex.pth")
    for name, storages in ("packed", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(OUT / "weights_bare.pth") as old, zipfile.ZipFile(OUT / f"weights_{name}.pth", "w") as new:
            for entry in old.namelist():
                method = zipfile.ZIP_DEFLATED if entry.endswith("data.pkl") else storages
                new.writestr(zipfile.ZipInfo(entry), old.read(entry), method)


main()
