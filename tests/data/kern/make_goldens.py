#!/usr/bin/env python3
"""Writes the tables of this folder with mpmath 1.3.0 at 200 bits; arguments are fixed or from a fixed-seed generator.

usage: make_goldens.py FOLDER
"""
import random
import struct
import sys

import mpmath
from mpmath import mp, mpf

mp.prec = 200


def f32(x):
    """Nearest float32 (half even) of an mpf, directly: no rounding through a double."""
    if x == 0:
        return 0.0
    m, e = mpmath.frexp(abs(x))
    step = mpf(2) ** max(int(e) - 24, -149)
    return float(mpmath.sign(x) * mpmath.nint(abs(x) / step) * step)


def as_f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def expf_table(out, rng):
    xs = [0.0, 1.0, -1.0, 88.0, -87.0, 1e-30, -1e-7, as_f32(0.34657359), as_f32(-0.34657359), as_f32(0.34657363)]
    xs += [as_f32(rng.uniform(-87, 88)) for _ in range(1500)] + [as_f32(rng.uniform(-2, 2)) for _ in range(500)]
    for x in xs:  # the exact value to double precision: the error of the double is 2^-29 ulp of a float
        out.write("%s %s\n" % (x.hex(), float(mpmath.exp(mpf(x))).hex()))


def double_table(out, rng):
    """kind x value: value is the nearest double, and its error in units of 2^-10 ulp follows, so that ulps can be counted exactly."""
    xs = [("exp", rng.uniform(-700, 700)) for _ in range(300)] + [("exp", rng.uniform(-1, 1)) for _ in range(200)]
    xs += [("log", rng.uniform(0.5, 2)) for _ in range(300)] + [("log", 2.0 ** rng.uniform(-1000, 1000)) for _ in range(200)]
    xs += [("log", 1.0), ("log", 5e-324), ("exp", 0.0), ("log", 1e4), ("log", 1e6), ("log", 5e5)]
    for kind, x in xs:
        exact = mpmath.exp(mpf(x)) if kind == "exp" else mpmath.log(mpf(x))
        near = float(exact)
        _, e = mpmath.frexp(mpf(near)) if near else (0, 0)
        part = int(mpmath.nint((exact - mpf(near)) / mpf(2) ** (int(e) - 53) * 1024)) if near else 0
        out.write("%s %s %s %d\n" % (kind, x.hex(), near.hex(), part))


def rope_table(out, rng):
    for theta, n_rot in ((10000.0, 16), (10000.0, 128), (500000.0, 64), (1000000.0, 128), (1000000.0, 80)):
        positions = [0, 1, 2, 31, 1000, 4095, 32767, 131071] + [rng.randrange(131072) for _ in range(8)]
        for i in range(0, n_rot // 2, 3):
            exponent = as_f32(2.0 * i / n_rot)  # one division, rounded twice only if a double were inexact here: n_rot divides small integers
            power = f32(mpf(theta) ** mpf(exponent))
            inv_freq = f32(mpf(1) / mpf(power))
            for pos in positions:
                angle = f32(mpf(pos) * mpf(inv_freq))
                out.write("%g %d %d %d %s %s\n" % (theta, n_rot, pos, i, f32(mpmath.cos(mpf(angle))).hex(), f32(mpmath.sin(mpf(angle))).hex()))


def main():
    rng = random.Random(20240607)
    for name, make in (("expf.txt", expf_table), ("exp_log.txt", double_table), ("rope.txt", rope_table)):
        with open(sys.argv[1] + "/" + name, "w") as out:
            make(out, rng)


main()
