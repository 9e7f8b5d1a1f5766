"""Writes prompts.expected.safetensors: loss, gradients and a few steps of the prompt methods that no published golden
file covers (UPT with either attention, reprogramming, MaPLe), from PyTorch's own autograd on the small CLIP of the golden files.

    python3 make_prompt_golden.py ../../../shared/golden ../golden

and small checkpoints as the published trainers of CoOp, CoCoOp, VP and MaPLe write them (the names and shapes, not their training).

With --check it first repeats what that folder's clip_tiny.expected.safetensors holds for the other methods, so that the towers below
are known to be right. The towers are written from the papers' equations; no published code is used."""
import json
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def read(path):
    """All tensors of a safetensors file."""
    raw = open(path, "rb").read()
    size = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + at for at in entry["data_offsets"])
        kind = {"F32": "<f4", "I64": "<i8"}[entry["dtype"]]
        out[name] = torch.from_numpy(np.frombuffer(raw[begin:end], kind).reshape(entry["shape"]).copy())
    return out


def write(path, tensors, meta):
    header, data, at = {"__metadata__": meta}, [], 0
    for name, t in tensors.items():
        raw = t.detach().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


class Clip:
    def __init__(self, path):
        self.w = {k: v.float() for k, v in torch.jit.load(path, map_location="cpu").state_dict().items()}
        self.scale = self.w["logit_scale"].exp()

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-5)

    def blocks(self, x, prefix, causal, deep=None, last=False):
        """deep[i], i >= 1: tokens that take places 1 ... at the input of block i, or the last places."""
        count = len([k for k in self.w if k.startswith(prefix) and k.endswith("in_proj_weight")])
        for i in range(count):
            b = "%s%d." % (prefix, i)
            if deep is not None and 1 <= i < len(deep):
                n = deep[i].shape[0]
                at = x.shape[1] - n if last else 1
                x = torch.cat([x[:, :at], deep[i].expand(x.shape[0], -1, -1), x[:, at + n :]], 1)
            width = x.shape[-1]
            heads = width // 64
            qkv = F.linear(self.norm(x, b + "ln_1"), self.w[b + "attn.in_proj_weight"], self.w[b + "attn.in_proj_bias"])
            q, k, v = (t.reshape(*t.shape[:2], heads, 64).transpose(1, 2) for t in qkv.chunk(3, -1))
            score = q @ k.transpose(-1, -2) / 8
            if causal:
                score = score + torch.full(score.shape[-2:], float("-inf")).triu(1)
            a = (score.softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
            x = x + F.linear(a, self.w[b + "attn.out_proj.weight"], self.w[b + "attn.out_proj.bias"])
            h = F.linear(self.norm(x, b + "ln_2"), self.w[b + "mlp.c_fc.weight"], self.w[b + "mlp.c_fc.bias"])
            h = h * torch.sigmoid(1.702 * h)
            x = x + F.linear(h, self.w[b + "mlp.c_proj.weight"], self.w[b + "mlp.c_proj.bias"])
        return x

    def patches(self, pixels):
        w = self.w["visual.conv1.weight"]
        x = F.conv2d(pixels, w, stride=w.shape[-1]).flatten(2).transpose(1, 2)
        first = self.w["visual.class_embedding"].expand(x.shape[0], 1, -1)
        return torch.cat([first, x], 1) + self.w["visual.positional_embedding"]

    def vision(self, tokens, deep=None, last=False):
        x = self.blocks(self.norm(tokens, "visual.ln_pre"), "visual.transformer.resblocks.", False, deep, last)
        return F.normalize(self.norm(x[:, 0], "visual.ln_post") @ self.w["visual.proj"], dim=-1)

    def text(self, embedded, end, deep=None):
        x = self.blocks(embedded + self.w["positional_embedding"][: embedded.shape[1]], "transformer.resblocks.", True, deep)
        x = self.norm(x, "ln_final")[torch.arange(len(end)), end]
        return F.normalize(x @ self.w["text_projection"], dim=-1)


class Data:
    def __init__(self, golden):
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).reshape(3, 1, 1)
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).reshape(3, 1, 1)
        self.images, self.labels = (golden["images"] - mean) / std, golden["labels"]
        tokens = golden["tokens"]  # "a photo of a NAME."
        self.end = tokens.argmax(-1)
        self.tokens = tokens[:, : self.end.max() + 1]


def insert(tokens, prompts):
    return torch.cat([tokens[:, :1], prompts.expand(tokens.shape[0], -1, -1), tokens[:, 1:]], 1)


def with_context(clip, data, ctx):
    """The four words of each prompt replaced by ctx (4, T) or (K, 4, T)."""
    e = clip.w["token_embedding.weight"][data.tokens]
    return torch.cat([e[:, :1], ctx.expand(e.shape[0], -1, -1), e[:, 5:]], 1)


def constant(clip, data):
    with torch.no_grad():
        return clip.text(clip.w["token_embedding.weight"][data.tokens], data.end)


def frozen(clip, data):
    with torch.no_grad():
        return clip.vision(clip.patches(data.images))


def coop(clip, data, p):
    c = clip.text(with_context(clip, data, p["ctx"]), data.end)
    return clip.scale * frozen(clip, data) @ c.T


def cocoop(clip, data, p):
    rows = []
    for f in frozen(clip, data):
        shift = F.linear(f, p["meta_net.linear1.weight"], p["meta_net.linear1.bias"]).relu()
        shift = F.linear(shift, p["meta_net.linear2.weight"], p["meta_net.linear2.bias"])
        rows.append(clip.scale * f @ clip.text(with_context(clip, data, p["ctx"] + shift), data.end).T)
    return torch.stack(rows)


def vp_padding(clip, data, p):
    middle = torch.zeros(1, 3, p["left"].shape[2], data.images.shape[3] - 2 * p["left"].shape[3])
    frame = torch.cat([p["up"], torch.cat([p["left"], middle, p["right"]], 3), p["down"]], 2)
    return clip.scale * clip.vision(clip.patches(data.images + frame)) @ constant(clip, data).T


def vpt(clip, data, p):
    prompts = p["prompts"]
    deep = prompts if prompts.dim() == 3 else None
    tokens = insert(clip.patches(data.images), prompts[0] if prompts.dim() == 3 else prompts)
    return clip.scale * clip.vision(tokens, deep) @ constant(clip, data).T


def upt_layer(p, degenerate):
    u = p["uni_ctx"][0]
    q, k, v = F.linear(u, p["self_attn.in_proj_weight"], p["self_attn.in_proj_bias"]).chunk(3, -1)
    a = v if degenerate else (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v
    a = F.linear(a, p["self_attn.out_proj.weight"], p["self_attn.out_proj.bias"])
    s = F.layer_norm(u + a, u.shape[-1:], p["norm1.weight"], p["norm1.bias"], 1e-5)
    t = F.layer_norm(s, u.shape[-1:], p["norm2.weight"], p["norm2.bias"], 1e-5)
    h = F.linear(t, p["linear1.weight"], p["linear1.bias"]).relu()
    return s + F.linear(h, p["linear2.weight"], p["linear2.bias"])


def upt(degenerate):
    def logits(clip, data, p):
        out = upt_layer(p, degenerate)
        n = out.shape[0] // 2
        c = clip.text(with_context(clip, data, out[:n]), data.end)
        prompts = F.linear(out[n:], p["mlp.weight"], p["mlp.bias"])
        return clip.scale * clip.vision(insert(clip.patches(data.images), prompts)) @ c.T

    return logits


def maple(clip, data, p):
    """The vision tokens behind the patches, as published."""
    deep_text, deep_vision, i = [None], [None], 0
    while "compound_prompts_text.%d" % i in p:
        t, layer = p["compound_prompts_text.%d" % i], "compound_prompt_projections.%d." % i
        deep_text.append(t)
        deep_vision.append(F.linear(t, p[layer + "weight"], p[layer + "bias"]))
        i += 1
    e = clip.w["token_embedding.weight"][data.tokens]
    n = p["ctx"].shape[0]
    e = torch.cat([e[:, :1], p["ctx"].expand(e.shape[0], -1, -1), e[:, 1 + n :]], 1)
    c = clip.text(e, data.end, deep_text)
    first = F.linear(p["ctx"], p["proj.weight"], p["proj.bias"])
    tokens = torch.cat([clip.patches(data.images), first.expand(len(data.images), -1, -1)], 1)
    return clip.scale * clip.vision(tokens, deep_vision, last=True) @ c.T


SIDE = 38  # of the picture within the program


def reprogram(clip, data, p):
    """The pictures' top left corner stands for the small picture."""
    side = data.images.shape[-1]
    border = (side - SIDE) // 2
    place = (border, side - SIDE - border) * 2
    mask = F.pad(torch.zeros(SIDE, SIDE), place, value=1.0)
    program = torch.tanh(p["program"] * mask[..., None]).permute(2, 0, 1)
    whole = F.pad(data.images[:, :, :SIDE, :SIDE], place) + program
    return clip.scale * clip.vision(clip.patches(whole)) @ constant(clip, data).T


def train(clip, data, method, start, lr, steps=5):
    """-> losses before each of the steps, the first gradients, the last parameters."""
    p = {k: v.clone().requires_grad_() for k, v in start.items()}
    sgd = torch.optim.SGD(p.values(), lr=lr, momentum=0.9, weight_decay=5e-4)
    losses, grads = [], None
    for _ in range(steps):
        loss = F.cross_entropy(method(clip, data, p), data.labels)
        sgd.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if grads is None:
            grads = {k: torch.zeros_like(v) if v.grad is None else v.grad.clone() for k, v in p.items()}
        sgd.step()
    return torch.tensor(losses), grads, p


def check(clip, data, golden):
    methods = [("coop", coop, 1e-4), ("coop_csc", coop, 1e-4), ("cocoop", cocoop, 2e-3), ("vp_padding", vp_padding, 0.1)]
    for name, method, lr in methods + [("vpt_shallow", vpt, 2e-3), ("vpt_deep", vpt, 2e-3)]:
        start = {k.split(".", 2)[2]: v for k, v in golden.items() if k.startswith(name + ".init.")}
        losses, grads, _ = train(clip, data, method, start, lr)
        print(name, losses.tolist(), golden[name + ".losses"].tolist())
        for k, g in grads.items():
            want = golden["%s.grad.%s" % (name, k)]
            print("   ", k, ((g - want).abs().max() / want.abs().max()).item())


def start(number, shape, offset, bound):
    """Numbers that the C test makes too, so that they need not be stored; `number` of the tensor."""
    i = np.arange(int(np.prod(shape)), dtype=np.float64) + 100000.0 * number
    u = np.sin(i + 1) * 43758.5453
    return torch.from_numpy((offset + bound * (2 * (u - np.floor(u)) - 1)).reshape(shape)).float()


# name, shape, offset, bound: the same list stands in test_methods.c
T, W, N = 64, 128, 4
UPT = [
    ("uni_ctx", (1, 2 * N, T), 0, 1.0),
    ("self_attn.in_proj_weight", (3 * T, T), 0, 0.3),
    ("self_attn.in_proj_bias", (3 * T,), 0, 0.1),
    ("self_attn.out_proj.weight", (T, T), 0, 0.125),
    ("self_attn.out_proj.bias", (T,), 0, 0.1),
    ("norm1.weight", (T,), 1, 0.1),
    ("norm1.bias", (T,), 0, 0.1),
    ("norm2.weight", (T,), 1, 0.1),
    ("norm2.bias", (T,), 0, 0.1),
    ("linear1.weight", (T, T), 0, 0.125),
    ("linear1.bias", (T,), 0, 0.125),
    ("linear2.weight", (T, T), 0, 0.125),
    ("linear2.bias", (T,), 0, 0.125),
    ("mlp.weight", (W, T), 0, 0.125),
    ("mlp.bias", (W,), 0, 0.125),
]
REPROGRAM = [("program", (64, 64, 3), 0, 2.0)]
MAPLE = [("ctx", (2, T), 0, 0.1), ("proj.weight", (W, T), 0, 0.125), ("proj.bias", (W,), 0, 0.125)]
for i in range(2):
    MAPLE += [
        ("compound_prompts_text.%d" % i, (2, T), 0, 0.1),
        ("compound_prompt_projections.%d.weight" % i, (W, T), 0, 0.125),
        ("compound_prompt_projections.%d.bias" % i, (W,), 0, 0.125),
    ]
STEP = 8  # of a gradient with more than STEP rows, the file holds every eighth


def checkpoints(folder):
    classes, ctx, frame = 2, start(0, (4, T), 0, 1.0), 3
    # the suffix, ignored as it is, is 72 tokens long in a real one
    text = {"token_prefix": torch.zeros(classes, 1, T), "token_suffix": torch.zeros(classes, 2, T)}
    meta_net = {
        "meta_net.linear1.weight": start(1, (4, 64), 0, 1.0),
        "meta_net.linear1.bias": start(2, (4,), 0, 1.0),
        "meta_net.linear2.weight": start(3, (T, 4), 0, 1.0),
        "meta_net.linear2.bias": start(4, (T,), 0, 1.0),
    }
    vp = {
        "pad_up": start(0, (1, 3, frame, 64), 0, 1.0),
        "pad_down": start(1, (1, 3, frame, 64), 0, 1.0),
        "pad_left": start(2, (1, 3, 64 - 2 * frame, frame), 0, 1.0),
        "pad_right": start(3, (1, 3, 64 - 2 * frame, frame), 0, 1.0),
    }
    # the whole model's state: its prompts under a prefix, and (here one tensor of) the towers
    maple = {"prompt_learner." + key: start(i, shape, 0, 1.0) for i, (key, shape, _, _) in enumerate(MAPLE)}
    maple["image_encoder.class_embedding"] = torch.zeros(W)
    optimizer = torch.optim.SGD([ctx.clone().requires_grad_()], lr=0.002, momentum=0.9).state_dict()
    around = {"epoch": 50, "optimizer": optimizer, "scheduler": None, "val_result": None}
    torch.save({"state_dict": {"ctx": ctx, **text}, **around}, folder + "/prompt_coop.pth.tar")
    torch.save({"state_dict": {"ctx": ctx, **text, **meta_net}, **around}, folder + "/prompt_cocoop.pth.tar")
    small = {k: v.half() for k, v in maple.items()}
    torch.save({"state_dict": small, **around}, folder + "/prompt_maple.pth.tar")
    torch.save({"epoch": 7, "state_dict": vp, "best_acc1": 50.0, "optimizer": optimizer}, folder + "/prompt_vp.pth.tar")


def main():
    folder, out = [a for a in sys.argv[1:] if not a.startswith("--")]
    clip = Clip(folder + "/clip_tiny.pt")
    golden = read(folder + "/clip_tiny.expected.safetensors")
    data = Data(golden)
    if "--check" in sys.argv:
        check(clip, data, golden)
    tensors = {}
    for name, method, parameters, lr in [
        ("upt", upt(False), UPT, 1e-4),
        ("upt_degenerate", upt(True), UPT, 1e-4),
        ("reprogram", reprogram, REPROGRAM, 0.3),
        ("maple", maple, MAPLE, 1e-4),
    ]:
        p = {key: start(i, *rest) for i, (key, *rest) in enumerate(parameters)}
        losses, grads, _ = train(clip, data, method, p, lr)
        print(name, losses.tolist())
        tensors[name + ".losses"] = losses
        for key, g in grads.items():
            g = g[0] if key == "uni_ctx" else g
            tensors["%s.grad.%s" % (name, key)] = g[::STEP] if g.dim() > 1 and g.shape[0] > STEP else g
    meta = {"momentum": "0.9", "weight_decay": "0.0005", "lr": "upt 0.0001; reprogram 0.3; maple 0.0001", "picture": str(SIDE)}
    write(out + "/prompts.expected.safetensors", tensors, meta)
    checkpoints(out)


if __name__ == "__main__":
    main()
