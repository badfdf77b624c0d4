"""Writes tiny randomly initialised models of every family, each with tokens and the logits transformers gives them.

    pip install torch transformers safetensors
    python test/interop/make-huggingface-models.py FOLDER
"""

import json
import pathlib
import sys

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SIZES = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
TOKENS = 40
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "llama-rope-scaling": (LlamaForCausalLM, LlamaConfig, {"rope_scaling": LLAMA3, "head_dim": 16}),
    "mistral-window": (MistralForCausalLM, MistralConfig, {"sliding_window": 7, "head_dim": 8}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {"use_sliding_window": False}),
    "qwen2-window": (
        Qwen2ForCausalLM,
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 12}),
}


def main(folder):
    torch.manual_seed(20260101)
    for name, (model_class, config_class, changes) in FAMILIES.items():
        for tied in (False, True):
            config = config_class(**SIZES, tie_word_embeddings=tied, initializer_range=0.3, **changes)
            model = model_class._from_config(config, attn_implementation="eager").float().eval()
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    # Biases start as zeros and norms as ones: random values show that they are read.
                    if "bias" in key or "norm" in key:
                        parameter.add_(0.3 * torch.randn_like(parameter))
                tokens = torch.randint(0, SIZES["vocab_size"], (1, TOKENS))
                logits = model(tokens).logits[0]
            target = folder / f"{name}-{'tied' if tied else 'untied'}"
            # The second of each pair comes in shards.
            model.save_pretrained(target, max_shard_size="40KB" if tied else "5GB")
            answer = {"tokens": tokens[0].tolist(), "logits": logits.tolist()}
            (target / "answer.json").write_text(json.dumps(answer))


main(pathlib.Path(sys.argv[1]))
