#!/usr/bin/env python3
"""Writes dequant.bin: file blocks of every weight type and what gguf-py dequantises them to.  Needs: pip install gguf==0.19.0.

For each type: u32 GGUF type number, u32 elements, the blocks' bytes, the elements as little-endian float32.
Blocks are random bytes from a fixed seed; the exponent of each f16 scale is kept finite (signed and subnormal scales do occur)."""
import pathlib
import struct

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

HIGH_BYTES = {  # offsets of the high bytes of f16 scales (or of the element itself) in a block
    "F32": [3], "F16": [1], "BF16": [1], "Q4_0": [1], "Q4_1": [1, 3], "Q5_0": [1], "Q5_1": [1, 3], "Q8_0": [1],
    "Q2_K": [81, 83], "Q3_K": [109], "Q4_K": [1, 3], "Q5_K": [1, 3], "Q6_K": [209],
}
rng = np.random.default_rng(20240607)
with open(pathlib.Path(__file__).parent / "dequant.bin", "wb") as out:
    for name, offsets in HIGH_BYTES.items():
        kind = GGMLQuantizationType[name]
        elems, size = GGML_QUANT_SIZES[kind]
        n_blocks = 4 if elems == 256 else 16 if elems == 32 else 64
        raw = rng.integers(0, 256, (n_blocks, size), dtype=np.uint8)
        for offset in offsets:
            raw[:, offset] = np.where(raw[:, offset] & 0x7C == 0x7C, raw[:, offset] & 0xBF, raw[:, offset])
        values = quants.dequantize(raw.reshape(1, -1), kind).astype("<f4")
        assert values.size == n_blocks * elems
        out.write(struct.pack("<II", kind, values.size) + raw.tobytes() + values.tobytes())
