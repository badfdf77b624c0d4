"""Runs an exported decoder by what its decoder.json says, with a cache that grows, and checks the file.

    python3 run-onnx.py FOLDER TOKENS PROMPT

prints JSON: logits of what follows the prompt and each further token, one at a time; and of all tokens in one run.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

folder, tokens, prompt = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
description = json.loads((folder / "decoder.json").read_text())
model = folder / description["model"]

onnx.checker.check_model(str(model), full_check=True)
weights = onnx.load(str(model)).graph.initializer
session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
assert {port.name: port.shape for port in session.get_inputs()} == {
    name: port["shape"] for name, port in description["inputs"].items()
}
assert {port.name for port in session.get_outputs()} == set(description["outputs"])


def empty_cache():
    element = np.dtype(description["dtype"])
    return {
        name: np.zeros((1, entry["kvHeads"], 0, entry["headDim"]), element)
        for entry in description["cache"]
        for name in entry["past"].values()
    }


def run(new, cache, length, kept):
    names = [port.name for port in session.get_outputs()]
    feeds = {
        "input_ids": np.array([new], np.int64),
        "attention_mask": np.ones((1, length + len(new)), np.int64),
        "num_logits_to_keep": np.array(kept, np.int64),
        **cache,
    }
    outputs = dict(zip(names, session.run(names, feeds)))
    grown = {
        entry["past"][part]: outputs[entry["present"][part]] for entry in description["cache"] for part in ("keys", "values")
    }
    return outputs["logits"][0], grown


whole, _ = run(tokens, empty_cache(), 0, 0)
logits, cache = run(tokens[:prompt], empty_cache(), 0, 1)
steps = [logits[0]]
for position in range(prompt, len(tokens)):
    logits, cache = run([tokens[position]], cache, position, 1)
    steps.append(logits[0])
print(
    json.dumps(
        {
            "weights": len(weights),
            "elements": int(sum(np.prod(weight.dims) for weight in weights)),
            "whole": whole.tolist(),
            "steps": [step.tolist() for step in steps],
        }
    )
)
