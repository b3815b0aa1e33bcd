#!/usr/bin/env python3
"""Prints the hashes of tests/unit/test_kern_product.c (order_golden): the formulas of docs/numerics.md, "Products", worked out with exact
rationals and rounded to float32 where the contract rounds, independent of gavel's code.  Weights are dequantised to integers through
gguf-py's blocks.  Needs: pip install gguf==0.19.0."""
import hashlib
import struct
from fractions import Fraction

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

ROWS, COLUMNS = 19, 5
SCALES = {"F32": [2], "F16": [0], "BF16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
M64 = (1 << 64) - 1


class Rng:
    def __init__(self, seed):
        self.s = seed

    def next(self):
        self.s = (self.s + 0x9E3779B97F4A7C15) & M64
        z = self.s
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M64
        return (z ^ z >> 31) >> 32

    def float(self):
        v = self.next()
        return rounded(Fraction(v - (1 << 32) if v >> 31 else v)) / Fraction(2**31)


def rounded(x):
    """The float32 nearest to a rational (ties to even; no overflow), as a rational."""
    if x == 0:
        return x
    e = max(x.numerator.bit_length() - x.denominator.bit_length(), -200)  # off by one at most
    for exp in (e + 1, e, e - 1):
        if abs(x) >= Fraction(2) ** exp:
            break
    unit = Fraction(2) ** (max(exp, -126) - 23)
    q = x / unit
    n = q.numerator // q.denominator
    rest = q - n
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and n & 1):
        n += 1
    return n * unit


def fma(a, b, c):
    return rounded(a * b + c)


def blocks_of(name, rng, n):
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    out = []
    for _ in range(n):
        b = bytearray(rng.next() & 255 for _ in range(size))
        for at in SCALES[name]:
            hi = b[at + 1]
            b[at + 1] = (hi & 0x80) | 0x3C | (hi & 3) if name in ("F32", "BF16") else hi & 0xC3
        out.append(bytes(b))
    return out


def with_scales(name, block, d, dm):
    """The block with its scales replaced, dequantised by gguf-py: with d = 1, dm = 0 or d = 0, dm = 1 the values are integers."""
    b = bytearray(block)
    for at, v in zip(SCALES[name], (d, dm)):
        b[at:at + 2] = np.float16(v).tobytes()
    kind = GGMLQuantizationType[name]
    return [int(v) for v in quants.dequantize(np.frombuffer(bytes(b), np.uint8).reshape(1, -1), kind).ravel()]


def quantise(x, n):
    q, d = [], []
    for i in range(0, len(x), n):
        part = x[i:i + n]
        amax = max(abs(v) for v in part)
        if amax < Fraction(1, 2**100):
            q += [0] * n
            d.append(Fraction(0))
            continue
        d.append(rounded(amax / 127))
        inverse = rounded(127 / amax)
        for v in part:
            r = min(max(rounded(v * inverse), -127), 127)
            q.append(round(r))  # Fraction rounds half to even
    return q, d


def f16(block, at):
    return Fraction(float(np.frombuffer(block[at:at + 2], np.float16)[0]))


def product(name, row, x):
    kind, acc = GGMLQuantizationType[name], Fraction(0)
    if len(SCALES[name]) == 1 and name in ("F32", "F16", "BF16"):
        values = quants.dequantize(np.frombuffer(b"".join(row), np.uint8).reshape(1, -1), kind).ravel()
        for w, v in zip(values, x):
            acc = fma(Fraction(float(w)), v, acc)
        return acc
    n, (q, d) = GGML_QUANT_SIZES[kind][0], x
    minima = len(SCALES[name]) == 2
    for b, block in enumerate(row):
        a = q[b * n:(b + 1) * n]
        isum = sum(w * v for w, v in zip(with_scales(name, block, 1, 0), a))
        acc = fma(rounded(Fraction(isum)), rounded(f16(block, SCALES[name][0]) * d[b]), acc)
        if minima:  # gguf-py's value is - mn for K-quants and + m for Q4_1 and Q5_1: the sign is in msum
            msum = sum(w * v for w, v in zip(with_scales(name, block, 0, 1), a))
            acc = fma(rounded(Fraction(msum)), rounded(f16(block, SCALES[name][1]) * d[b]), acc)
    return acc


for t, name in enumerate(SCALES):
    n = GGML_QUANT_SIZES[GGMLQuantizationType[name]][0]
    cols = 96 if n == 1 else 384 if n == 32 else 768
    rng = Rng(1000 + t)
    weights = blocks_of(name, rng, ROWS * cols // n)
    x = []
    for i in range(cols * COLUMNS):
        v = rng.float()
        x.append(rounded(rounded(rounded(v * v) * v) * 40) if i % 7 == 0 else v)
    columns = [x[c * cols:(c + 1) * cols] for c in range(COLUMNS)]
    if n > 1:
        columns = [quantise(c, n) for c in columns]
    per_row = cols // n
    h = hashlib.sha256()
    for c in columns:
        h.update(struct.pack(f"<{ROWS}f", *(float(product(name, weights[r * per_row:(r + 1) * per_row], c)) for r in range(ROWS))))
    if n > 1:
        for q, _ in columns:
            h.update(struct.pack(f"<{cols}b", *q))
        for _, d in columns:
            h.update(struct.pack(f"<{per_row}f", *(float(v) for v in d)))
    print(f'    "{h.hexdigest()}", /* {name} */')
