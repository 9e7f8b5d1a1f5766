#!/usr/bin/python3
"""Writes tests/golden/vqgan_adversary.safetensors: a small patch discriminator under the published names, painted pictures (a
decoder's last layer over given features) and real ones, and what PyTorch makes of them: the losses of both sides, the adaptive
weight, the gradient of reconstruction + weight generator at the last layer and at the features, and those of the discriminator's
loss at its parameters. And tests/golden/vqgan_lpips.safetensors: a small LPIPS under the names that it has in a VQGAN's checkpoint, two
batches of pictures, their distance and its gradients.

The networks are PyTorch's own layers in the order of the published code (Esser et al. 2021, NLayerDiscriminator and LPIPS), in double
precision, BatchNorm as in training. Needs python3-torch. The same file comes out each time.
"""
import json
import os
import struct

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
BATCH, HEIGHT, WIDTH, CHANNELS, FIRST = 2, 26, 32, 4, 3


def fill(module, rng):
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape, generator=rng).double()
        p.data = noise * (1.5 * p[0].numel() ** -0.5) if p.dim() > 1 else noise * 0.1 + (1 if name.endswith("weight") else 0)
        p.data = p.data.float().double()  # as the file holds it
    return module


def discriminator(rng):
    layers, width = [nn.Conv2d(3, FIRST, 4, 2, 1), nn.LeakyReLU(0.2)], FIRST
    for stride in (2, 2, 1):
        layers += [nn.Conv2d(width, 2 * width, 4, stride, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
        width *= 2
    d = fill(nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1)).double().train(), rng)
    d[-1].weight.data *= 2  # so that some patches lie beyond the hinge
    return d


def adversary(d, pixels, painted, last, features, reconstruction):
    generator = -d(painted).mean()
    real, fake = d(pixels), d(painted.detach())
    opposed = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    of_reconstruction, of_generator = (torch.autograd.grad(x, last, retain_graph=True)[0] for x in (reconstruction, generator))
    weight = 0.8 * (of_reconstruction.norm() / (of_generator.norm() + 1e-4)).clamp(0, 1e4).detach()
    grads = torch.autograd.grad(reconstruction + weight * generator, (last, features))
    names, parameters = zip(*d.named_parameters())
    out = {"reconstruction": reconstruction, "generator": generator, "discriminator": opposed, "weight": weight}
    out = {k: v.reshape(1) for k, v in out.items()}
    out["grad.last"], out["grad.features"] = grads[0], nhwc(grads[1])
    out.update({f"grad.loss.discriminator.main.{k}": g for k, g in zip(names, torch.autograd.grad(opposed, parameters))})
    return out


# VGG-16 up to its thirteenth convolution: where each stands in torchvision's list of modules; widths of our own.
SLICES = [[(0, 6), (2, 8)], [(5, 5), (7, 8)], [(10, 6), (12, 7), (14, 8)], [(17, 9), (19, 8), (21, 10)], [(24, 9), (26, 11), (28, 12)]]
SHIFT, SCALE = torch.tensor([-.030, -.088, -.188]).double(), torch.tensor([.458, .448, .450]).double()


def lpips_weights(rng):
    weights, width = {}, 3
    for s, convs in enumerate(SLICES):
        for place, out in convs:
            name = f"net.slice{s + 1}.{place}"
            weights[f"{name}.weight"] = torch.randn(out, width, 3, 3, generator=rng) * (2 / (9 * width)) ** 0.5
            weights[f"{name}.bias"] = torch.randn(out, generator=rng) * 0.2 + 0.5
            width = out
        weights[f"lin{s}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=rng)
    return {k: v.double() for k, v in weights.items()}


def lpips_features(weights, x):
    x = (x - SHIFT.view(1, 3, 1, 1)) / SCALE.view(1, 3, 1, 1)
    for s, convs in enumerate(SLICES):
        x = F.max_pool2d(x, 2, 2) if s > 0 else x
        for place, _ in convs:
            name = f"net.slice{s + 1}.{place}"
            x = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1).relu()
        length = x.square().sum(1, keepdim=True).sqrt()
        assert length.min() > 1e-3  # a place of zeros has no gradient in PyTorch
        yield x / (length + 1e-10)


def lpips(weights, a, b):
    pairs = zip(lpips_features(weights, a), lpips_features(weights, b))
    parts = [F.conv2d((x - y).square(), weights[f"lin{s}.model.1.weight"]).mean((2, 3)) for s, (x, y) in enumerate(pairs)]
    return sum(parts).mean()


def write_lpips():
    rng = torch.Generator().manual_seed(12)
    a, b = ((torch.rand(2, 3, 35, 38, generator=rng) * 2 - 1).double().requires_grad_() for _ in range(2))
    weights = lpips_weights(rng)
    distance = lpips(weights, a, b)
    grads = torch.autograd.grad(distance, (a, b))
    print("lpips", distance.item())
    tensors = {f"loss.perceptual_loss.{k}": v for k, v in weights.items()}
    tensors.update({"a": nhwc(a), "b": nhwc(b), "distance": distance.reshape(1), "grad.a": nhwc(grads[0]), "grad.b": nhwc(grads[1])})
    write("vqgan_lpips.safetensors", tensors)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def write(name, tensors):
    tensors = {k: v.detach().float().contiguous() for k, v in tensors.items()}
    header, at = {}, 0
    for key, t in tensors.items():
        header[key] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + 4 * t.numel()]}
        at += 4 * t.numel()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(GOLDEN, name)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.numpy().tobytes())
    print(name, os.path.getsize(path))


def main():
    rng = torch.Generator().manual_seed(11)
    features = torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH, generator=rng).double().requires_grad_()
    last = (torch.randn(3, CHANNELS, 3, 3, generator=rng) * 0.1).double().requires_grad_()
    pixels = (torch.rand(BATCH, 3, HEIGHT, WIDTH, generator=rng) * 2 - 1).double()
    d = discriminator(rng)
    painted = F.conv2d(features, last, padding=1)
    inputs = {"features": nhwc(features), "last": last, "pixels": nhwc(pixels)}
    inputs.update({f"loss.discriminator.main.{k}": v for k, v in d.named_parameters()})
    results = adversary(d, pixels, painted, last, features, (pixels - painted).abs().mean())
    print({k: v.item() for k, v in results.items() if v.numel() == 1})
    write("vqgan_adversary.safetensors", {**inputs, **results})
    write_lpips()


main()
