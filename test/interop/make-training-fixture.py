"""Writes test/graph/training-reference.json: ten AdamW steps of a SwiGLU FFN as PyTorch takes them.

    python test/interop/make-training-fixture.py      (made with PyTorch 2.15.0 on a CPU, float32)

The network, its first weights and its data are given by formulas that test/graph/training-loop.test.ts repeats, so
the file holds results only.
"""

import json
import math
from pathlib import Path

import torch

HIDDEN, WIDTH, TOKENS, STEPS = 16, 24, 32, 10
LEARNING_RATE, WARMUP, TOTAL, FINAL_FRACTION = 2e-2, 3, 12, 0.1
WEIGHT_DECAY, CLIP_NORM, BETAS, EPSILON = 0.1, 0.02, (0.9, 0.95), 1e-8
NORM_EPSILON = 1e-5


def wave(count, frequency, scale, *shape):
    """scale * sin(frequency * (i + 1)), i = 0 .. count - 1, in double precision."""
    values = [scale * math.sin(frequency * (i + 1)) for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape).float()


norm = torch.ones(HIDDEN)
gate = wave(WIDTH * HIDDEN, 0.37, 0.4, WIDTH, HIDDEN)
up = wave(WIDTH * HIDDEN, 0.53, 0.4, WIDTH, HIDDEN)
down = wave(HIDDEN * WIDTH, 0.71, 0.4, HIDDEN, WIDTH)
x = wave(STEPS * TOKENS * HIDDEN, 0.91, 1.0, STEPS, TOKENS, HIDDEN)
y = wave(STEPS * TOKENS * HIDDEN, 1.13, 1.0, STEPS, TOKENS, HIDDEN)

parameters = {"norm": norm, "gate": gate, "up": up, "down": down}
for parameter in parameters.values():
    parameter.requires_grad_()
optimiser = torch.optim.AdamW(
    [
        {"params": [gate, up, down], "weight_decay": WEIGHT_DECAY},
        {"params": [norm], "weight_decay": 0.0},
    ],
    betas=BETAS,
    eps=EPSILON,
)


def learning_rate(number):
    """Of step number 1 .. TOTAL."""
    if number < WARMUP:
        return LEARNING_RATE * number / WARMUP
    progress = (number - WARMUP) / (TOTAL - WARMUP)
    return LEARNING_RATE * (FINAL_FRACTION + (1 - FINAL_FRACTION) * 0.5 * (1 + math.cos(math.pi * progress)))


losses, norms = [], []
for step in range(STEPS):
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step + 1)
    optimiser.zero_grad()
    normed = torch.nn.functional.rms_norm(x[step], (HIDDEN,), norm, NORM_EPSILON)
    hidden = torch.nn.functional.silu(normed @ gate.T) * (normed @ up.T)
    loss = (hidden @ down.T - y[step]).square().sum() / y[step].square().sum()
    loss.backward()
    norms.append(torch.nn.utils.clip_grad_norm_(list(parameters.values()), CLIP_NORM).item())
    optimiser.step()
    losses.append(loss.item())

reference = {
    "losses": losses,
    "gradientNorms": norms,
    "parameterSums": {name: parameter.double().sum().item() for name, parameter in parameters.items()},
    "parameterSquares": {name: parameter.double().square().sum().item() for name, parameter in parameters.items()},
}
path = Path(__file__).parent.parent / "graph" / "training-reference.json"
path.write_text(json.dumps(reference, indent=2) + "\n")
