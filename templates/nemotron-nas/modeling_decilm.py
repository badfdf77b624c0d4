"""A Llama whose layers differ, or lack attention or an FFN."""

import copy

from torch import nn
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaForCausalLM, LlamaMLP, LlamaModel, LlamaRMSNorm

from .configuration_decilm import DeciLMConfig, intermediate_size_of


class LinearAttention(nn.Module):
    """One matrix in place of attention."""

    def __init__(self, config):
        super().__init__()
        self.linear_attn = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, hidden_states, **_):
        return self.linear_attn(hidden_states), None


class LinearMLP(nn.Module):
    """One matrix in place of an FFN."""

    def __init__(self, config):
        super().__init__()
        self.linear_mlp = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, hidden_states):
        return self.linear_mlp(hidden_states)


class DeciLMDecoderLayer(nn.Module):
    """Each part is there only where the block has it."""

    def __init__(self, config, block, cache_index):
        super().__init__()
        attention, ffn = block.attention, block.ffn
        self.has_attention, self.has_ffn = not attention.no_op, not ffn.no_op
        own = copy.copy(config)
        if self.has_attention:
            self.input_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            if attention.replace_with_linear:
                self.self_attn = LinearAttention(config)
            else:
                own.num_key_value_heads = config.num_attention_heads // attention.n_heads_in_group
                self.self_attn = LlamaAttention(own, cache_index)
        if self.has_ffn:
            self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            if ffn.replace_with_linear:
                self.mlp = LinearMLP(config)
            else:
                own.intermediate_size = intermediate_size_of(ffn, config.hidden_size)
                self.mlp = LlamaMLP(own)

    def forward(self, hidden_states, **context):
        if self.has_attention:
            hidden_states = hidden_states + self.self_attn(hidden_states=self.input_layernorm(hidden_states), **context)[0]
        if self.has_ffn:
            hidden_states = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        return hidden_states


def caches(block):
    return not block.attention.no_op and not block.attention.replace_with_linear


def decoder_layers(config):
    """Layers that cache something are counted alone: transformers reads the length of a cache from its first layer."""
    blocks = config.block_configs
    indices = [sum(map(caches, blocks[:layer])) for layer in range(len(blocks))]
    return nn.ModuleList(DeciLMDecoderLayer(config, block, index) for block, index in zip(blocks, indices))


class DeciLMForCausalLM(LlamaForCausalLM):
    config_class = DeciLMConfig

    def __init__(self, config):
        # A Llama without layers first: its own would all be alike.
        layers, config.num_hidden_layers = config.num_hidden_layers, 0
        super().__init__(config)
        config.num_hidden_layers = layers
        self.model.layers = decoder_layers(config)
        self.post_init()
