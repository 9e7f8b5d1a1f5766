"""Writes retrieval.safetensors: cosines of three small pictures as a whole and place by place by the small golden models, the order
of a list with ties and names that stand twice, and three steps of SupPR's head, from PyTorch and numpy.

    python3 make_retrieval_golden.py ../../../shared/golden ../golden

The pictures are clip/pre_37x53.png, clip/pre_53x37.png and clip/pre_31x34.png of the second folder. The models are written from the
papers' equations; no published code is used."""
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from make_prompt_golden import Clip, write

torch.set_num_threads(1)
PICTURES = ["pre_37x53.png", "pre_53x37.png", "pre_31x34.png"]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
MAE_MEAN, MAE_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def normalised(image, mean, std):
    x = torch.from_numpy(np.asarray(image, np.float32) / 255)
    return ((x - torch.tensor(mean)) / torch.tensor(std)).permute(2, 0, 1)


def cropped(image, side):
    """Shorter side to `side`, the middle of it: as CLIP's own transform."""
    w, h = image.size
    short = min(w, h)
    size = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
    image = image.resize(size if short != side else image.size, Image.BICUBIC)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def cosines(rows):
    rows = F.normalize(rows, dim=-1)
    return rows @ rows.T


def by_place(tokens):
    """(B, P, D) -> (B, P D), each place of length 1."""
    return F.normalize(tokens, dim=-1).flatten(1)


def clip_tokens(clip, images):
    side = clip.w["visual.conv1.weight"].shape[-1] * int((clip.w["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    pixels = torch.stack([normalised(cropped(i, side), CLIP_MEAN, CLIP_STD) for i in images])
    x = clip.blocks(clip.norm(clip.patches(pixels), "visual.ln_pre"), "visual.transformer.resblocks.", False)
    return clip.norm(x[:, 1:], "visual.ln_post"), clip.vision(clip.patches(pixels))


def mae_tokens(path, images, heads):
    w = {k: v.float() for k, v in torch.load(path, map_location="cpu")["model"].items() if isinstance(v, torch.Tensor)}
    patch = w["patch_embed.proj.weight"].shape[-1]
    side = patch * int((w["pos_embed"].shape[1] - 1) ** 0.5)
    pixels = torch.stack([normalised(i.resize((side, side), Image.BICUBIC), MAE_MEAN, MAE_STD) for i in images])
    x = F.conv2d(pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=patch).flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], 1) + w["pos_embed"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], 1e-6)

    def linear(x, name):
        return F.linear(x, w[name + ".weight"], w[name + ".bias"])

    for i in range(len([k for k in w if k.startswith("blocks.") and k.endswith("attn.qkv.weight")])):
        b = "blocks.%d." % i
        qkv = linear(norm(x, b + "norm1"), b + "attn.qkv")
        q, k, v = (t.reshape(*t.shape[:2], heads, -1).transpose(1, 2) for t in qkv.chunk(3, -1))
        a = ((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        x = x + linear(a, b + "attn.proj")
        x = x + linear(F.gelu(linear(norm(x, b + "norm2"), b + "mlp.fc1")), b + "mlp.fc2")
    return norm(x, "norm")[:, 1:]


def order():
    """As the published scripts make their lists: argsort, reversed, of equal names the first."""
    rng = np.random.RandomState(3)
    likeness = np.round(rng.rand(60), 1)  # many are equal
    name = rng.randint(0, 40, 60)
    reversed_order = np.argsort(likeness, kind="stable")[::-1]
    taken = list(dict.fromkeys(name[i] for i in reversed_order))
    first = [next(i for i in reversed_order if name[i] == n) for n in taken]
    return torch.tensor(likeness), torch.tensor(name), torch.tensor(first)


def head():
    """Three steps of SGD on InfoNCE over a head of two layers."""
    torch.manual_seed(5)
    width, hidden, out, batch = 6, 5, 4, 3
    p = {"head.0.weight": torch.randn(hidden, width) / 2, "head.0.bias": torch.randn(hidden) / 4,
         "head.2.weight": torch.randn(out, hidden) / 2, "head.2.bias": torch.randn(out) / 4}
    saved = {k: v.clone() for k, v in p.items()}
    p = {k: v.requires_grad_() for k, v in p.items()}
    opt = torch.optim.SGD(p.values(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    rows = F.normalize(torch.randn(3, 3 * batch, width), dim=-1)
    apart = torch.zeros(3, batch, 2 * batch)
    apart[:, 0, 1] = apart[:, 2, 5] = -1e4
    losses, made = [], None
    for step in range(3):
        y = F.linear(rows[step], p["head.0.weight"], p["head.0.bias"]).relu()
        y = F.normalize(F.linear(y, p["head.2.weight"], p["head.2.bias"]), dim=-1)
        if made is None:
            made = y.detach().clone()
        alike = y[:batch] @ y[batch:].T / 0.1 + apart[step]
        loss = F.cross_entropy(alike, torch.arange(batch))
        opt.param_groups[0]["lr"] = 0.1 - 0.02 * step
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    out = {"start." + k: v for k, v in saved.items()}
    out.update({"end." + k: v.detach() for k, v in p.items()})
    out.update({"rows": rows, "apart": apart, "losses": torch.tensor(losses), "made": made})
    return out


def main():
    golden, to = sys.argv[1:3]
    images = [Image.open("%s/clip/%s" % (to, name)).convert("RGB") for name in PICTURES]
    with torch.no_grad():
        places, whole = clip_tokens(Clip(golden + "/clip_tiny.pt"), images)
        tokens = mae_tokens(golden + "/mae_vqgan_tiny.pth", images, 4)
        out = {"clip.whole": cosines(whole), "clip.places": cosines(by_place(places)), "mae.whole": cosines(tokens.mean(1)),
               "mae.places": cosines(by_place(tokens))}
    likeness, name, first = order()
    out.update({"order.likeness": likeness.float(), "order.name": name.float(), "order.first": first.float()})
    out.update(head())
    write(to + "/retrieval.safetensors", out, {"made by": "make_retrieval_golden.py"})


if __name__ == "__main__":
    main()
