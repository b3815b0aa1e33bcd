"""Writes rope_scaling.txt: frequencies and attention factors of RoPE scaling, by transformers' own functions.

    pip install --no-deps transformers==4.57.6 numpy==2.2.6 (and what importing transformers asks for)
    python3 make_rope_scaling.py FOLDER

The functions of transformers.modeling_rope_utils run over numpy's float32 in place of torch's: the stand-in below has the few operations they
use, of which all but the power are IEEE operations and so give the same bits.  The power is rounded correctly (longdouble, then float32).
"""
import math
import os
import re
import sys
import types

import numpy as np


class Tensor(np.ndarray):
    def to(self, device=None, dtype=None):
        return self if dtype is None else self.astype(dtype)

    def __rpow__(self, base):
        return (np.longdouble(base) ** self.astype(np.longdouble)).astype(np.float32).view(Tensor)


def arange(*args, dtype=np.int64):
    return np.arange(*args, dtype=dtype).view(Tensor)


torch = types.SimpleNamespace(float=np.float32, float32=np.float32, int64=np.int64, arange=arange, clamp=np.clip, where=np.where,
                              Tensor=Tensor, device=object)


def source():
    """The module's functions without its imports: those ask for torch."""
    folder = next(p for p in sys.path if os.path.exists(os.path.join(p, "transformers", "modeling_rope_utils.py")))
    with open(os.path.join(folder, "transformers", "modeling_rope_utils.py"), encoding="utf-8") as f:
        text = f.read()
    return "\n".join(re.findall(r"^def _compute_(?:default|linear|yarn|llama3)\w*\(.*?(?=^\S(?!.*->)|\Z)", text, re.M | re.S))


CASES = [  # theta, n_rot, max_position_embeddings, rope_scaling
    (1e4, 128, 4096, {"rope_type": "linear", "factor": 2.0}),
    (1e6, 64, 32768, {"rope_type": "linear", "factor": 3.7}),
    (1e6, 128, 32768, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}),
    (1e4, 128, 65536, {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096}),
    (1e4, 64, 131072, {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "beta_fast": 64, "beta_slow": 2}),
    (1e4, 16, 512, {"rope_type": "yarn", "factor": 2.5, "original_max_position_embeddings": 128}),
    (1e6, 16, 512, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "attention_factor": 1.25}),
    (1.5e5, 64, 131072, {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False}),
    (1e4, 64, 163840, {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 0.707, "mscale_all_dim": 1.0}),
    (1e4, 4, 64, {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 8}),  # both ends of the ramp are 0
    (5e5, 128, 131072, {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    (5e5, 64, 131072, {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
]


def main():
    names = {"math": math, "torch": torch}
    exec("from __future__ import annotations\n" + source(), names)  # the functions that make the table
    compute = {"linear": "_compute_linear_scaling_rope_parameters", "yarn": "_compute_yarn_parameters", "llama3": "_compute_llama3_parameters"}
    with open(os.path.join(sys.argv[1], "rope_scaling.txt"), "w", encoding="utf-8") as out:
        for theta, n_rot, positions, scaling in CASES:
            config = types.SimpleNamespace(rope_theta=theta, head_dim=n_rot, hidden_size=n_rot, num_attention_heads=1,
                                           max_position_embeddings=positions, rope_scaling=scaling)
            inv_freq, attention = names[compute[scaling["rope_type"]]](config, None)
            llama3 = scaling["rope_type"] == "llama3"
            first = scaling["low_freq_factor"] if llama3 else scaling.get("beta_fast", 32)
            second = scaling["high_freq_factor"] if llama3 else scaling.get("beta_slow", 1)
            out.write("%s %r %d %r %d %r %r %d %r %r %r %s\n" % (
                scaling["rope_type"], theta, n_rot, scaling["factor"], scaling.get("original_max_position_embeddings", 0), float(first), float(second),
                scaling.get("truncate") is False, scaling.get("mscale", 0.0), scaling.get("mscale_all_dim", 0.0), scaling.get("attention_factor", 0.0),
                float(np.float32(attention)).hex()))
            out.write(" ".join(float(v).hex() for v in np.asarray(inv_freq, dtype=np.float32)) + "\n")


main()
