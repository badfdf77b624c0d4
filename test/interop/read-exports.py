"""Reads exports with software that we did not write, and prints what it found as JSON.

    python read-exports.py transformers FOLDER=TOKEN,... ...   log-probabilities of what follows, a greedy continuation
    python read-exports.py per-layer FOLDER                    the layers of a per_layer_config
    python read-exports.py gguf FILE...                        metadata and tensors
"""

import json
import sys


def transformers(*jobs):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)

    def read(job):
        folder, tokens = job.split("=")
        model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).float().eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        ids = torch.tensor([[int(token) for token in tokens.split(",")]])
        with torch.no_grad():
            logits = model(ids).logits[0, -1].double()
            made = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
        return {
            "class": type(model).__name__,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "logProbabilities": torch.log_softmax(logits, -1).tolist(),
            "greedy": made[0, ids.shape[1] :].tolist(),
            "tokens": tokenizer("The others gather, it's 2024.").input_ids,
        }

    return [read(job) for job in jobs]


def per_layer(folder):
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    return [
        {"width": layer.intermediate_size, "kvHeads": layer.num_key_value_heads, "skip": list(layer.skip)}
        for layer in config.per_layer_config
    ]


def read_gguf(*paths):
    return [read_gguf_file(path) for path in paths]


def read_gguf_file(path):
    import gguf
    import numpy

    reader = gguf.GGUFReader(path)
    return {
        "metadata": {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.")},
        "tensors": {
            tensor.name: {
                "type": tensor.tensor_type.name,
                "shape": [int(extent) for extent in reversed(tensor.shape)],
                "sum": float(numpy.sum(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=numpy.float64)),
            }
            for tensor in reader.tensors
        },
    }


command, *rest = sys.argv[1:]
print(json.dumps({"transformers": transformers, "per-layer": per_layer, "gguf": read_gguf}[command](*rest)))
