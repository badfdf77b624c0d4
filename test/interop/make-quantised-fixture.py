"""Makes test/tensor/quantised-fixture.json: random blocks of every encoding and what `gguf` decodes them to, and
encoded-fixture.json: floats and what `gguf` encodes them to.

    pip install gguf==0.19.0 && python test/interop/make-quantised-fixture.py
"""

import base64
import json
import pathlib

import gguf
import numpy

ENCODINGS = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
# Byte offsets of the halves (scale, offset) in each block; the rest of a block may be any bytes.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
BLOCKS = 3


def base64_of(array):
    return base64.b64encode(array.tobytes()).decode()


def main():
    random = numpy.random.default_rng(20260101)
    fixture = {}
    for name in ENCODINGS:
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        if name in HALVES:
            raw = random.integers(0, 256, (BLOCKS, size), dtype=numpy.uint8)
            for at in HALVES[name]:
                halves = random.normal(0, 0.05, (BLOCKS, 1)).astype(numpy.float16)
                raw[:, at : at + 2] = halves.view(numpy.uint8)
            values = gguf.quants.dequantize(raw.reshape(-1), kind).reshape(-1)
        else:
            floats = random.normal(0, 1, 96).astype(numpy.float32)
            raw = gguf.quants.quantize(floats, kind)
            values = gguf.quants.dequantize(raw, kind).reshape(-1)
        fixture[name] = {"bytes": base64_of(raw), "floats": base64_of(values.astype(numpy.float32))}
    write("quantised-fixture.json", fixture)
    # Ordinary weights, small ones, a block of zeros, two largest of opposite signs, one element alone.
    floats = random.normal(0, 0.1, (8, 32)).astype(numpy.float32)
    floats[1] *= 1e-3
    floats[2] = 0
    floats[3, 5], floats[3, 9] = -0.5, 0.5
    floats[4] = 0
    floats[4, 31] = -3
    encoded = {
        name: base64_of(gguf.quants.quantize(floats, gguf.GGMLQuantizationType[name]))
        for name in ["F16", "BF16", "Q8_0", "Q4_0"]
    }
    write("encoded-fixture.json", {"floats": base64_of(floats), "encoded": encoded})


def write(name, content):
    target = pathlib.Path(__file__).parents[1] / "tensor" / name
    target.write_text(json.dumps(content, indent=1) + "\n")


main()
