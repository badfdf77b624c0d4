"""BLD steps of a SwiGLU FFN in PyTorch, on request: reads a mode a line, answers milliseconds per step.

Modes: eager (foreach AdamW), fused (fused AdamW), compiled (torch.compile of loss and fused AdamW).
Started by bench/bld-step.ts with its shape on the command line: tokens hidden width steps threads.
"""

import sys
import time

import torch
import torch.nn.functional as F

tokens, hidden, width, steps, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)


def training_step(mode):
    torch.manual_seed(0)
    gate, up = (torch.randn(width, hidden).mul_(0.04).requires_grad_() for _ in range(2))
    down = torch.randn(hidden, width).mul_(0.04).requires_grad_()
    parameters = [gate, up, down]
    implementation = {"foreach": True} if mode == "eager" else {"fused": True}
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, **implementation)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 10_000)
    x = torch.randn(steps, tokens, hidden)
    y = torch.randn(steps, tokens, hidden)

    def loss_of(x, y):
        output = F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)
        return (output - y).square().sum() / y.square().sum()

    loss_function = torch.compile(loss_of) if mode == "compiled" else loss_of

    def step(index):
        optimiser.zero_grad()
        loss = loss_function(x[index], y[index])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        return loss

    return step


prepared = {}
print(torch.__version__, flush=True)
for line in sys.stdin:
    mode = line.strip()
    if mode not in prepared:
        prepared[mode] = training_step(mode)
        for index in range(2):
            prepared[mode](index)
    started = time.perf_counter()
    for index in range(steps):
        loss = prepared[mode](index)
    loss.item()
    print((time.perf_counter() - started) * 1000 / steps, flush=True)
