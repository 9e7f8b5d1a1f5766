#!/usr/bin/env python3
"""Measures the memory of a step of CoOp with many classes: the most that `tessera clip tune coop` has resident, the mapped file of the
model counted in, with 16 context vectors, 32 pictures a step, random crops through both towers.

    memory_coop.py CHECKPOINT [--classes 1000] [--memory 1024] [--steps 2] [--threads T] [--limit 4000]

--memory is what the program is told, in MB. It is stopped after two steps: the second one begins with all that the first one left. The
exit status is 1 where it had more than --limit MB. $TESSERA is the program (build/tessera). A full-size file with random weights:
tests/reference/make_full_clip.py --model B/16.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def steps_in(log):
    try:
        with open(log) as f:
            return [json.loads(line) for line in f if line.endswith("\n")]
    except FileNotFoundError:
        return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--memory", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=int, default=4000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, f"{HERE}/make_classes.py", folder, "--classes", str(args.classes)], check=True)
        command = [os.environ.get("TESSERA", f"{HERE}/../../build/tessera"), "clip", "tune", "coop", "--model", args.checkpoint,
                   "--vocab", f"{folder}/bpe_simple_vocab_16e6.txt", "--data", f"{folder}/split_noise.json", "--out", f"{folder}/out",
                   "--ctx", "16", "--batch", "32", "--epochs", "1", "--memory", str(args.memory), "--threads", str(args.threads),
                   "--device", "cpu", "--no-eval"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as tuning:
            while tuning.poll() is None and len(steps_in(f"{folder}/out/log.jsonl")) < args.steps:
                time.sleep(0.05)
            tuning.kill()
        steps = steps_in(f"{folder}/out/log.jsonl")
    if len(steps) < args.steps:
        sys.exit(f"memory_coop.py: the tuning ended before its step {args.steps}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1.024e-3  # of the largest child, in MB
    seconds = 32 / steps[-1]["images_per_s"]
    print(f"{args.classes} classes, --memory {args.memory}: {peak:.0f} MB at most, {seconds:.1f} s a step")
    sys.exit(peak > args.limit)


if __name__ == "__main__":
    main()
