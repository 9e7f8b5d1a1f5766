"""Segment Anything, MobileSAM, and Painter and SegGPT, in PyTorch on their published state dicts, plainly after the papers: the yardstick of
tests/bench/bench_sam.py and of make_full_map_model.py. Everything is NHWC but for convolutions. Call under torch.inference_mode().
"""
import math

import torch
from torch.nn import functional as F


def bilinear_rows(table, rows):
    """(L, d) -> (rows, d), linearly where L is another number."""
    if len(table) == rows:
        return table
    return F.interpolate(table.T[None], size=rows, mode="linear")[0].T


class Net:
    def __init__(self, tensors):
        self.w = tensors

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def norm(self, name, x, eps):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], eps)

    def channel_norm(self, name, x):
        """LayerNorm over the channels of each place, NCHW."""
        return self.norm(name, x.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2)

    def conv(self, name, x, **how):
        return F.conv2d(x, self.w[name + ".weight"], self.w.get(name + ".bias"), **how)


class MapVit(Net):
    """Blocks whose attention has decomposed relative positions, in windows or not."""

    def attend(self, at, x):
        """x (B, H, W, d) -> the same: attention among all places of each map, with its projection."""
        b, h, w, d = x.shape
        rel_h = bilinear_rows(self.w[at + "attn.rel_pos_h"], 2 * h - 1)
        rel_w = bilinear_rows(self.w[at + "attn.rel_pos_w"], 2 * w - 1)
        dim = rel_h.shape[1]
        heads = d // dim
        q, k, v = self.linear(at + "attn.qkv", x).reshape(b, h * w, 3, heads, dim).permute(2, 0, 3, 1, 4).reshape(3, b * heads, h * w, dim)
        rows, columns = torch.arange(h), torch.arange(w)
        of_row = rel_h[rows[:, None] - rows + h - 1]              # (h, h, dim)
        of_column = rel_w[columns[:, None] - columns + w - 1]     # (w, w, dim)
        map_q = q.reshape(b * heads, h, w, dim)
        scores = (q * dim ** -0.5) @ k.transpose(-2, -1)
        scores = (scores.view(b * heads, h, w, h, w)
                  + torch.einsum("bhwc,hkc->bhwk", map_q, of_row)[:, :, :, :, None]
                  + torch.einsum("bhwc,wkc->bhwk", map_q, of_column)[:, :, :, None, :]).view(b * heads, h * w, h * w)
        y = torch.softmax(scores, -1) @ v
        y = y.view(b, heads, h, w, dim).permute(0, 2, 3, 1, 4).reshape(b, h, w, d)
        return self.linear(at + "attn.proj", y)

    def attend_windows(self, at, x, side):
        b, h, w, d = x.shape
        down, across = -(-h // side), -(-w // side)
        x = F.pad(x, (0, 0, 0, across * side - w, 0, down * side - h))
        x = x.view(b, down, side, across, side, d).permute(0, 1, 3, 2, 4, 5).reshape(-1, side, side, d)
        x = self.attend(at, x)
        x = x.view(b, down, across, side, side, d).permute(0, 1, 3, 2, 4, 5).reshape(b, down * side, across * side, d)
        return x[:, :h, :w]

    def feed(self, at, x):
        first, second = ("mlp.lin1", "mlp.lin2") if at + "mlp.lin1.weight" in self.w else ("mlp.fc1", "mlp.fc2")
        return self.linear(at + second, F.gelu(self.linear(at + first, self.norm(at + "norm2", x, 1e-6))))


class Sam(MapVit):
    def encode(self, pixels):
        """pixels (1, 3, S, S), normalised and padded -> (1, E, S/16, S/16)"""
        p = "image_encoder."
        patch = self.w[p + "patch_embed.proj.weight"].shape[-1]
        x = self.conv(p + "patch_embed.proj", pixels, stride=patch).permute(0, 2, 3, 1) + self.w[p + "pos_embed"]
        side, i = x.shape[1], 0
        while f"{p}blocks.{i}.norm1.weight" in self.w:
            at = f"{p}blocks.{i}."
            rows = len(self.w[at + "attn.rel_pos_h"])
            y = self.norm(at + "norm1", x, 1e-6)
            x = x + (self.attend(at, y) if rows == 2 * side - 1 else self.attend_windows(at, y, (rows + 1) // 2))
            x = x + self.feed(at, x)
            i += 1
        return self.neck(x.permute(0, 3, 1, 2))

    def neck(self, x):
        p = "image_encoder.neck."
        x = self.channel_norm(p + "1", self.conv(p + "0", x))
        return self.channel_norm(p + "3", self.conv(p + "2", x, padding=1))

    def features(self, at):
        """at (..., 2) in [0, 1], x first -> (..., E)"""
        angle = 2 * math.pi * ((2 * at - 1) @ self.w["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"])
        return torch.cat([angle.sin(), angle.cos()], -1)

    def look(self, at, q, k, v, heads=8):
        q, k, v = (self.linear(f"{at}.{n}_proj", t) for n, t in (("q", q), ("k", k), ("v", v)))
        q, k, v = (t.view(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q, k, v))
        y = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1) @ v
        return self.linear(at + ".out_proj", y.transpose(1, 2).flatten(2))

    def decode(self, embedding, points, size):
        """One foreground point for each prompt, (B, 2) in pixels of the network's picture of `size` -> all masks (B, 4, 4s, 4s), scores (B, 4)"""
        w, p, batch = self.w, "prompt_encoder.", len(points)
        side = embedding.shape[-1]
        point = self.features((points + 0.5) / size) + w[p + "point_embeddings.1.weight"]
        sparse = torch.stack([point, w[p + "not_a_point_embed.weight"].expand(batch, -1)], 1)
        places = (torch.arange(side) + 0.5) / side
        y, x = torch.meshgrid(places, places, indexing="ij")
        position = self.features(torch.stack([x, y], -1)).flatten(0, 1)[None].expand(batch, -1, -1)
        d = "mask_decoder."
        own = torch.cat([w[d + "iou_token.weight"], w[d + "mask_tokens.weight"]])
        tokens = torch.cat([own[None].expand(batch, -1, -1), sparse], 1)
        keys = (embedding + w[p + "no_mask_embed.weight"].reshape(1, -1, 1, 1)).flatten(2).transpose(1, 2)
        keys, queries = keys.repeat_interleave(batch, 0), tokens
        for i in range(2):
            at = f"{d}transformer.layers.{i}."
            if i == 0:
                queries = self.look(at + "self_attn", queries, queries, queries)
            else:
                q = queries + tokens
                queries = queries + self.look(at + "self_attn", q, q, queries)
            queries = self.norm(at + "norm1", queries, 1e-5)
            k = keys + position
            queries = queries + self.look(at + "cross_attn_token_to_image", queries + tokens, k, keys)
            queries = self.norm(at + "norm2", queries, 1e-5)
            queries = queries + self.linear(at + "mlp.lin2", torch.relu(self.linear(at + "mlp.lin1", queries)))
            queries = self.norm(at + "norm3", queries, 1e-5)
            keys = keys + self.look(at + "cross_attn_image_to_token", k, queries + tokens, queries)
            keys = self.norm(at + "norm4", keys, 1e-5)
        at = d + "transformer."
        queries = queries + self.look(at + "final_attn_token_to_image", queries + tokens, keys + position, keys)
        queries = self.norm(at + "norm_final_attn", queries, 1e-5)
        up = keys.transpose(1, 2).reshape(batch, -1, side, side)
        turned = lambda n, t: F.conv_transpose2d(t, w[n + ".weight"], w[n + ".bias"], stride=2)
        up = F.gelu(self.channel_norm(d + "output_upscaling.1", turned(d + "output_upscaling.0", up)))
        up = F.gelu(turned(d + "output_upscaling.3", up))
        perceptron = lambda n, t: self.linear(n + "2", torch.relu(self.linear(n + "1", torch.relu(self.linear(n + "0", t)))))
        hyper = torch.stack([perceptron(f"{d}output_hypernetworks_mlps.{m}.layers.", queries[:, 1 + m]) for m in range(4)], 1)
        masks = (hyper @ up.flatten(2)).view(batch, 4, *up.shape[-2:])
        return masks, perceptron(d + "iou_prediction_head.layers.", queries[:, 0])


class MobileSam(Sam):
    """The encoder is a TinyViT; everything else is Segment Anything's. Maps are NCHW."""

    def unit(self, name, x, **how):
        """A convolution and the batch norm behind it."""
        norm = [self.w[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(F.conv2d(x, self.w[name + ".c.weight"], **how), *norm, training=False, eps=1e-5)

    def apart(self, name, x, stride=1):
        return self.unit(name, x, stride=stride, padding=1, groups=x.shape[1])

    def attend_places(self, at, x, side):
        """x (B, N, C), the places of windows of `side`: all that happens to a window by itself."""
        b, n, c = x.shape
        biases = self.w[at + "attention_biases"]
        heads = len(biases)
        y, x_at = torch.arange(n) // side, torch.arange(n) % side
        index = (y[:, None] - y).abs() * side + (x_at[:, None] - x_at).abs()
        qkv = self.linear(at + "qkv", self.norm(at + "norm", x, 1e-5)).view(b, n, heads, 3, c // heads)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(c // heads) + biases[:, index]
        return self.linear(at + "proj", (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(b, n, c))

    def attend_map(self, at, x):
        b, c, h, w = x.shape
        side = math.isqrt(self.w[at + "attention_biases"].shape[1])
        down, across = -(-h // side), -(-w // side)
        x = F.pad(x, (0, across * side - w, 0, down * side - h))
        x = x.view(b, c, down, side, across, side).permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, c)
        x = self.attend_places(at, x, side).view(b, down, across, side, side, c)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(b, c, down * side, across * side)[:, :, :h, :w]

    def block(self, at, x):
        if at + "conv1.c.weight" in self.w:
            y = F.gelu(self.apart(at + "conv2", F.gelu(self.unit(at + "conv1", x))))
            return F.gelu(self.unit(at + "conv3", y) + x)
        x = x + self.attend_map(at + "attn.", x)
        x = self.apart(at + "local_conv", x)
        y = self.norm(at + "mlp.norm", x.permute(0, 2, 3, 1), 1e-5)
        return x + self.linear(at + "mlp.fc2", F.gelu(self.linear(at + "mlp.fc1", y))).permute(0, 3, 1, 2)

    def encode(self, pixels):
        p = "image_encoder."
        x = F.gelu(self.unit(p + "patch_embed.seq.0", pixels, stride=2, padding=1))
        x = self.unit(p + "patch_embed.seq.2", x, stride=2, padding=1)
        for stage in range(4):
            i = 0
            while any(f"{p}layers.{stage}.blocks.{i}.{name}.weight" in self.w for name in ("conv1.c", "attn.qkv")):
                x = self.block(f"{p}layers.{stage}.blocks.{i}.", x)
                i += 1
            if stage < 3:
                at = f"{p}layers.{stage}.downsample."
                x = F.gelu(self.unit(at + "conv1", x))
                x = F.gelu(self.apart(at + "conv2", x, stride=2 if stage < 2 else 1))
                x = self.unit(at + "conv3", x)
        return self.neck(x)


def sam_of(tensors):
    """The Segment Anything, or MobileSAM, of a state dict."""
    return (MobileSam if "image_encoder.patch_embed.seq.0.c.weight" in tensors else Sam)(tensors)


class SegGpt(MapVit):
    def paint(self, pictures, targets, semantic=False):
        """One canvas pair, (1, 3, 2r, r) each, normalised -> (1, 3, 2r, r); the lower half of the targets is hidden."""
        w = self.w
        patch = w["patch_embed.proj.weight"].shape[-1]
        a, b = (self.conv("patch_embed.proj", t, stride=patch).permute(0, 2, 3, 1) for t in (pictures, targets))
        h, across = a.shape[1:3]
        b[:, h // 2:] = w["mask_token"]
        side = math.isqrt(w["pos_embed"].shape[1] - 1)
        pos = w["pos_embed"][:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        pos = F.interpolate(pos, size=(h, across), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
        a, b = a + w["segment_token_x"] + pos, b + w["segment_token_y"] + pos
        if "type_token_cls" in w:
            kind = w["type_token_cls" if semantic else "type_token_ins"]
            a, b = a + kind, b + kind
        z, taps, i = torch.cat([a, b]), [], 0
        while f"blocks.{i}.norm1.weight" in w:
            at = f"blocks.{i}."
            z = z + self.attend(at, self.norm(at + "norm1", z, 1e-6))
            z = z + self.feed(at, z)
            if i == 2:
                z = (z[:1] + z[1:]) / 2
            if i in (5, 11, 17, 23):
                taps.append(self.norm("norm", z, 1e-6))
            i += 1
        x = self.linear("decoder_embed", torch.cat(taps, -1))
        wide = x.shape[-1] // patch ** 2
        x = x.view(1, h, across, patch, patch, wide).permute(0, 5, 1, 3, 2, 4).reshape(1, wide, h * patch, across * patch)
        x = F.gelu(self.channel_norm("decoder_pred.1", self.conv("decoder_pred.0", x, padding=1)))
        return self.conv("decoder_pred.3", x)
