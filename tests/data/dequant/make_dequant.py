"""Writes TYPE.bin (blocks in file layout) and TYPE.f32 (gguf-py's dequantisation, little-endian float32) for every type gavel reads.

    pip install gguf==0.19.0 numpy==2.4.6
    python3 make_dequant.py FOLDER

16 blocks of 256 elements (128 of 32) a type: random bytes with random finite scales, then the hand-set ones: all bytes 0, all bytes 255 but
the scales, and scales of +0, -0, the least and greatest subnormal, the least and greatest normal, and their negatives.
"""

import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

N = 4096
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208]}
EDGES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x7BFF, 0xFBFF]


def finite_halves(rng, n):
    v = rng.integers(0, 65536, n, dtype=np.uint16)
    v[(v & 0x7C00) == 0x7C00] ^= 0x4000  # infinities and NaN become ordinary numbers
    return v


def quantised(rng, name):
    elems, size = GGML_QUANT_SIZES[T[name]]
    blocks = rng.integers(0, 256, (N // elems, size), dtype=np.uint8)
    blocks[0] = 0
    blocks[1] = 255
    for k, at in enumerate(SCALES[name]):
        halves = finite_halves(rng, len(blocks))
        halves[2 : 2 + len(EDGES)] = np.roll(np.array(EDGES, np.uint16), k * 3)
        blocks[:, at : at + 2] = halves.astype("<u2").view(np.uint8).reshape(-1, 2)
    return blocks


def main():
    rng = np.random.Generator(np.random.PCG64(20240817))
    for name in ["F32", "F16", "BF16"] + list(SCALES):
        if name == "F32":
            bits = rng.integers(0, 2**32, N, dtype=np.uint32)
            bits[(bits & 0x7F800000) == 0x7F800000] ^= 0x40000000
            raw, out = bits.astype("<u4").view(np.uint8), bits.view(np.float32)
        elif name == "F16":
            halves = finite_halves(rng, N)
            halves[: len(EDGES)] = EDGES
            raw, out = halves.astype("<u2").view(np.uint8), halves.view(np.float16).astype(np.float32)
        elif name == "BF16":
            halves = rng.integers(0, 65536, N, dtype=np.uint16)
            halves[(halves & 0x7F80) == 0x7F80] ^= 0x4000
            raw = halves.astype("<u2").view(np.uint8)
            out = dequantize(raw, T.BF16)
        else:
            raw = quantised(rng, name)
            out = dequantize(raw, T[name])
        out = np.ascontiguousarray(out, np.float32).reshape(-1)
        assert out.size == N and np.isfinite(out).all(), name
        raw.tofile("%s/%s.bin" % (sys.argv[1], name))
        out.astype("<f4").tofile("%s/%s.f32" % (sys.argv[1], name))
        print(name, raw.size, "bytes")


main()
