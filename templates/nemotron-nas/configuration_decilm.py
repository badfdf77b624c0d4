"""Configuration of a Llama whose layers differ, or lack attention or an FFN: `block_configs` says how."""

from transformers.models.llama.configuration_llama import LlamaConfig


class BlockConfig(dict):
    """A layer's block, or a part of it: a JSON object whose members are attributes too."""

    def __init__(self, members):
        super().__init__((name, BlockConfig(value) if isinstance(value, dict) else value) for name, value in members.items())

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __deepcopy__(self, memo):
        return BlockConfig(self)


class DeciLMConfig(LlamaConfig):
    model_type = "nemotron-nas"

    def __init__(self, block_configs=None, **fields):
        # Fields that have no one value for all layers are null in the file; Llama wants numbers there.
        given = {name: value for name, value in fields.items() if value is not None}
        super().__init__(**given)
        self.block_configs = [BlockConfig(block) for block in block_configs or []]


def intermediate_size_of(ffn, hidden_size):
    """Width of a layer's FFN: given, or ceil256(int(2 * ffn_mult * hidden / 3))."""
    multiplier = ffn.get("ffn_mult")
    if multiplier is None:
        return ffn.intermediate_size
    width = int(2 * multiplier * hidden_size / 3)
    return (width + 255) // 256 * 256
