#!/usr/bin/env python3
"""Write a GGUF with the exact shape and tokenizer of a Prometheus model (Mistral-7B), random weights and any number of layers.

For speed measurements only: cost depends on shape, not on the values of weights.  The tokenizer is Mistral's SentencePiece model (PyPI package
mistral-common, data/tokenizer.model.v1), so prompts have their real length in tokens.  script/bench runs it in an environment of its own with numpy,
gguf, sentencepiece and mistral-common (the last with pip's --no-deps).

  make_shape_model.py --layers 8 --out m8.q8_0.gguf      # 8 of 32 layers, Q8_0
"""
import argparse, importlib.util, os
import numpy as np
import sentencepiece
from gguf import GGUFWriter, GGMLQuantizationType as Q

ap = argparse.ArgumentParser()
ap.add_argument("--layers", type=int, default=32)
ap.add_argument("--out", required=True)
ap.add_argument("--tokenizer", help="path of a SentencePiece model; default: mistral-common's tokenizer.model.v1")
ap.add_argument("--experts", type=int, default=0, help="8 for the Mixtral shape (2 used)")
a = ap.parse_args()
tok = a.tokenizer
if not tok:
    root = importlib.util.find_spec("mistral_common").submodule_search_locations[0]
    tok = os.path.join(root, "data", "tokenizer.model.v1")
sp = sentencepiece.SentencePieceProcessor(model_file=tok)
L, D, F, H, KV, HD, V = a.layers, 4096, 14336, 32, 8, 128, sp.vocab_size()
w = GGUFWriter(a.out, "llama")
w.add_name("random-mistral-shape"); w.add_context_length(32768); w.add_embedding_length(D); w.add_block_count(L)
w.add_feed_forward_length(F); w.add_head_count(H); w.add_head_count_kv(KV); w.add_layer_norm_rms_eps(1e-5)
w.add_rope_freq_base(1e6); w.add_rope_dimension_count(HD); w.add_vocab_size(V); w.add_file_type(7)
if a.experts:
    w.add_expert_count(a.experts); w.add_expert_used_count(2)
w.add_tokenizer_model("llama")
w.add_token_list([sp.id_to_piece(i).encode() for i in range(V)])
w.add_token_scores([sp.get_score(i) for i in range(V)])
w.add_token_types([2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in range(V)])
w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_unk_token_id(0); w.add_add_bos_token(True)
rng = np.random.default_rng(0)


def add(name, *shape):
    """Q8_0 blocks: a float16 scale and 32 int8, roughly Gaussian with standard deviation 0.02."""
    nb = int(np.prod(shape)) // 32
    blocks = np.empty((nb, 34), dtype=np.uint8)
    blocks[:, :2] = np.full((nb, 1), 0.02 / 40, dtype=np.float16).view(np.uint8).reshape(nb, 2)
    for i in range(0, nb, 1 << 20):
        n = min(1 << 20, nb - i)
        blocks[i:i + n, 2:] = np.clip(np.rint(rng.standard_normal((n, 32), dtype=np.float32) * 40), -127, 127).astype(np.int8).view(np.uint8)
    w.add_tensor(name, blocks.reshape(*shape[:-1], shape[-1] // 32 * 34), raw_dtype=Q.Q8_0)


add("token_embd.weight", V, D)
for l in range(L):
    p = "blk.%d." % l
    w.add_tensor(p + "attn_norm.weight", np.ones(D, dtype=np.float32))
    w.add_tensor(p + "ffn_norm.weight", np.ones(D, dtype=np.float32))
    add(p + "attn_q.weight", H * HD, D); add(p + "attn_k.weight", KV * HD, D); add(p + "attn_v.weight", KV * HD, D)
    add(p + "attn_output.weight", D, H * HD)
    if a.experts:
        w.add_tensor(p + "ffn_gate_inp.weight", (rng.standard_normal((a.experts, D)) * 0.02).astype(np.float32))
        add(p + "ffn_gate_exps.weight", a.experts, F, D); add(p + "ffn_up_exps.weight", a.experts, F, D)
        add(p + "ffn_down_exps.weight", a.experts, D, F)
    else:
        add(p + "ffn_gate.weight", F, D); add(p + "ffn_up.weight", F, D); add(p + "ffn_down.weight", D, F)
w.add_tensor("output_norm.weight", np.ones(D, dtype=np.float32))
add("output.weight", V, D)
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
