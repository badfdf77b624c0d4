"""Replace-one-block scores in PyTorch: per candidate, the block and the layers after it, then KL over the vocabulary.

Reads a folder written by bench/scoring.ts: `model.json` (extents, tokens, slots, candidates) and `weights.safetensors`
(`stream.*`, `slot.<i>.*`, `candidate.<i>.*`). The first line it prints is its version; then, for every candidate
number on stdin, `<seconds> <mean KL>`.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

folder, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
model = json.load(open(f"{folder}/model.json"))
weights = load_file(f"{folder}/weights.safetensors")
windows, window = model["windows"], model["window"]
tokens = torch.tensor(model["ids"]).view(windows, window)


def part(prefix):
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def rope():
    half = model["headDim"] // 2
    frequencies = model["ropeTheta"] ** (-torch.arange(half).double() / half)
    angles = torch.outer(torch.arange(window).double(), frequencies)
    return angles.cos().float(), angles.sin().float()


cos, sin = rope()


def rotate(x):  # (windows, heads, window, headDim)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def norm(x, weight):
    return F.rms_norm(x, (x.shape[-1],), weight, model["normEpsilon"])


def block(x, kind, w):
    if kind == "no-op":
        return x
    h = norm(x, w["norm"])
    if kind == "linear":
        return x + F.linear(h, w["linear"])
    if kind == "swiglu":
        return x + F.linear(F.silu(F.linear(h, w["gate"])) * F.linear(h, w["up"]), w["down"])
    heads = lambda y: y.view(windows, window, -1, model["headDim"]).transpose(1, 2)
    q, k, v = (heads(F.linear(h, w[name])) for name in "qkv")
    context = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True, enable_gqa=True)
    return x + F.linear(context.transpose(1, 2).reshape(windows, window, -1), w["o"])


def log_probabilities(x):
    return F.log_softmax(F.linear(norm(x, weights["stream.norm"]), weights["stream.embedding"]), dim=-1)


slots = [(kind, part(f"slot.{i}.")) for i, kind in enumerate(model["slots"])]
candidates = [(c["slot"], c["kind"], part(f"candidate.{i}.")) for i, c in enumerate(model["candidates"])]

with torch.inference_mode():
    states = [weights["stream.embedding"][tokens]]
    for kind, w in slots:
        states.append(block(states[-1], kind, w))
    teacher = log_probabilities(states[-1])
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        slot, kind, w = candidates[int(line)]
        started = time.perf_counter()
        x = block(states[slot], kind, w)
        for later, own in slots[slot + 1 :]:
            x = block(x, later, own)
        kl = 0.0
        for i in range(windows):  # window by window: the product of two (1536, 49152) tables would not fit the cache
            kl += F.kl_div(log_probabilities(x[i]), teacher[i], reduction="none", log_target=True).sum(-1)[:-1].mean().item()
        print(time.perf_counter() - started, kl / windows, flush=True)
