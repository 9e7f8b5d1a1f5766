#!/usr/bin/env python3
"""Times a step of CoOp in PyTorch, as the yardstick for `tessera clip tune coop`.

    bench_coop.py checkpoint.pt [--images N] [--classes N] [--context M] [--length L] [--threads T] [--runs R]

A step as CoOp's own code makes it (Zhou et al. 2021): the frozen image tower on a batch (given pixels), the text tower on every
class's prompt of L places (77 there, what stands after a prompt's end too), cross entropy, backward to the M context vectors, SGD.
Measured with the image tower and, as where the pictures' features are at hand, without. Prints one JSON object, medians in milliseconds
after two steps that do not count. Tuned as in bench_clip.py.
"""
import argparse
import json

import bench_clip  # first: it sets the environment that torch reads
import torch
import torch.nn.functional as F


def encode_prompts(clip, prompts, ends):
    """(K, L, T) embeddings -> (K, E) unit features, read at each prompt's end."""
    w = clip.w
    x = prompts + w["positional_embedding"][:prompts.shape[1]]
    x = clip.norm("ln_final", clip.blocks("transformer.resblocks", x, True))
    return F.normalize(x[torch.arange(len(ends)), ends] @ w["text_projection"], dim=-1)


class Step:
    def __init__(self, clip, args):
        self.clip = clip
        side = round((len(clip.w["visual.positional_embedding"]) - 1) ** 0.5) * clip.w["visual.conv1.weight"].shape[-1]
        width, embed = clip.w["text_projection"].shape
        torch.manual_seed(0)
        self.pixels = torch.randn(args.images, 3, side, side)
        self.features = F.normalize(torch.randn(args.images, embed), dim=-1)
        self.target = torch.randint(args.classes, (args.images,))
        self.ends = 1 + args.context + 1 + torch.arange(args.classes) % 4 + 1  # start, context, one to four of a name, "."
        tokens = torch.randint(0, 49406, (args.classes, args.length))
        with torch.no_grad():
            embedded = clip.w["token_embedding.weight"][tokens]
        self.start, self.rest = embedded[:, :1], embedded[:, 1 + args.context:]
        self.context = torch.nn.Parameter(torch.randn(args.context, width) * 0.02)
        self.optimizer = torch.optim.SGD([self.context], lr=0.002, momentum=0.9, weight_decay=5e-4)

    def run(self, tower):
        features = self.features
        if tower:
            with torch.no_grad():
                features = self.clip.images(self.pixels)
        prompts = torch.cat([self.start, self.context.expand(len(self.ends), -1, -1), self.rest], 1)
        logits = self.clip.w["logit_scale"].exp() * features @ encode_prompts(self.clip, prompts, self.ends).T
        loss = F.cross_entropy(logits, self.target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--context", type=int, default=16)
    parser.add_argument("--length", type=int, default=77)
    parser.add_argument("--threads", type=int, default=int(bench_clip.THREADS))
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    if args.length < args.context + 7:
        parser.error(f"--length {args.length}: the longest prompt has {args.context + 7} places")
    torch.set_num_threads(args.threads)
    step = Step(bench_clip.Clip(bench_clip.load(args.checkpoint, "cpu", torch.float32)), args)
    whole, _ = bench_clip.medians(lambda: step.run(True), args.runs, "cpu")
    text, _ = bench_clip.medians(lambda: step.run(False), args.runs, "cpu")
    print(json.dumps({"torch": torch.__version__, "threads": args.threads, "step_ms": whole, "given_ms": text}))


if __name__ == "__main__":
    main()
