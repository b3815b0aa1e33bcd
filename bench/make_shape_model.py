#!/usr/bin/env python3
"""Makes a GGUF with random weights and the exact shapes and tokenizer of Mistral-7B or Mixtral-8x7B, with any number of layers, in Q8_0.

For measurements of speed and memory: cost depends on shapes, not on values, and prompts have their real length in tokens, because the tokenizer is
Mistral's own (PyPI package mistral-common, data/tokenizer.model.v1).
Needs: pip install numpy gguf sentencepiece, and mistral-common with --no-deps.

  make_shape_model.py --layers 8 --out mistral8.q8_0.gguf
  make_shape_model.py --layers 2 --experts 8 --out mixtral2.q8_0.gguf      Mixtral's, 2 experts a token
"""
import argparse
import importlib.util
import os

import numpy as np
import sentencepiece
from gguf import GGMLQuantizationType, GGUFWriter

EMBD, FF, HEADS, HEADS_KV, HEAD_DIM = 4096, 14336, 32, 8, 128
CHUNK = 1 << 20  # blocks made at a time


def tokenizer_path():
    root = importlib.util.find_spec("mistral_common").submodule_search_locations[0]
    return os.path.join(root, "data", "tokenizer.model.v1")


def add_metadata(w, layers, experts, sp):
    n = sp.vocab_size()
    w.add_name("random-mistral-shape")
    w.add_context_length(32768)
    w.add_embedding_length(EMBD)
    w.add_block_count(layers)
    w.add_feed_forward_length(FF)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
    w.add_head_count(HEADS)
    w.add_head_count_kv(HEADS_KV)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(1e6)
    w.add_rope_dimension_count(HEAD_DIM)
    w.add_vocab_size(n)
    w.add_file_type(7)
    w.add_tokenizer_model("llama")
    w.add_token_list([sp.id_to_piece(i).encode() for i in range(n)])
    w.add_token_scores([sp.get_score(i) for i in range(n)])
    w.add_token_types([2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in range(n)])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_add_bos_token(True)


def q8_0(rng, rows, columns):
    """Blocks of a float16 scale and 32 int8, values roughly Gaussian with standard deviation 0.02."""
    n = rows * columns // 32
    blocks = np.empty((n, 34), dtype=np.uint8)
    blocks[:, :2] = np.array([0.02 / 40], dtype=np.float16).view(np.uint8)
    for i in range(0, n, CHUNK):
        m = min(CHUNK, n - i)
        values = np.rint(rng.standard_normal((m, 32), dtype=np.float32) * 40)
        blocks[i:i + m, 2:] = np.clip(values, -127, 127).astype(np.int8).view(np.uint8)
    return blocks.reshape(rows, columns // 32 * 34)


def add_tensors(w, layers, experts, n_vocab):
    rng = np.random.default_rng(0)
    ones = np.ones(EMBD, dtype=np.float32)

    def add(name, rows, columns, *matrices):
        values = q8_0(rng, int(np.prod(matrices)) * rows, columns)
        w.add_tensor(name, values.reshape(*matrices, rows, -1), raw_dtype=GGMLQuantizationType.Q8_0)

    add("token_embd.weight", n_vocab, EMBD)
    for i in range(layers):
        p = "blk.%d." % i
        w.add_tensor(p + "attn_norm.weight", ones)
        w.add_tensor(p + "ffn_norm.weight", ones)
        add(p + "attn_q.weight", HEADS * HEAD_DIM, EMBD)
        add(p + "attn_k.weight", HEADS_KV * HEAD_DIM, EMBD)
        add(p + "attn_v.weight", HEADS_KV * HEAD_DIM, EMBD)
        add(p + "attn_output.weight", EMBD, HEADS * HEAD_DIM)
        if experts:
            w.add_tensor(p + "ffn_gate_inp.weight", (rng.standard_normal((experts, EMBD)) * 0.02).astype(np.float32))
        for kind, rows, columns in (("gate", FF, EMBD), ("up", FF, EMBD), ("down", EMBD, FF)):
            if experts:
                add(p + "ffn_%s_exps.weight" % kind, rows, columns, experts)
            else:
                add(p + "ffn_%s.weight" % kind, rows, columns)
    w.add_tensor("output_norm.weight", ones)
    add("output.weight", n_vocab, EMBD)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--experts", type=int, default=0, help="8 for Mixtral's shape; 0: one dense block")
    parser.add_argument("--out", required=True)
    parser.add_argument("--tokenizer", help="a SentencePiece model; default: mistral-common's tokenizer.model.v1")
    a = parser.parse_args()
    sp = sentencepiece.SentencePieceProcessor(model_file=a.tokenizer or tokenizer_path())
    w = GGUFWriter(a.out, "llama", use_temp_file=True)
    add_metadata(w, a.layers, a.experts, sp)
    add_tensors(w, a.layers, a.experts, sp.vocab_size())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main()
