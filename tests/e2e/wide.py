"""Judges that gavel knows, for tests: one narrow layer of zeros, as wide outside and with as many tokens as the real ones, in files that take no room on the disk.
Standard library only."""
import json
import os
import shutil
import struct

import support

MISTRAL = os.path.join(support.DATA, "oracle", "models", "mistral", "hf-bf16")


def folder(path, tokenizer=MISTRAL, template=True, **config):
    """Prometheus 2 7B unless config says otherwise; without template it has none of its own."""
    c = dict(model_type="mistral", hidden_size=4096, intermediate_size=256, num_hidden_layers=1, num_attention_heads=2,
             num_key_value_heads=1, head_dim=64, vocab_size=32000, max_position_embeddings=32768, rope_theta=1e6, rms_norm_eps=1e-5, sliding_window=None,
             tie_word_embeddings=True, torch_dtype="bfloat16")
    c.update(config)
    os.mkdir(path)
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if os.path.exists(os.path.join(tokenizer, name)) and (template or name != "chat_template.jinja"):
            shutil.copyfile(os.path.join(tokenizer, name), os.path.join(path, name))
    support.write(os.path.join(path, "config.json"), json.dumps(c))
    width, ff = c["hidden_size"], c["intermediate_size"]
    q, kv = c["head_dim"] * c["num_attention_heads"], c["head_dim"] * c["num_key_value_heads"]
    layer = "model.layers.0."
    shapes = {"model.embed_tokens": [c["vocab_size"], width], "model.norm": [width], layer + "input_layernorm": [width],
              layer + "post_attention_layernorm": [width], layer + "self_attn.q_proj": [q, width], layer + "self_attn.k_proj": [kv, width],
              layer + "self_attn.v_proj": [kv, width], layer + "self_attn.o_proj": [width, q], layer + "mlp.gate_proj": [ff, width],
              layer + "mlp.up_proj": [ff, width], layer + "mlp.down_proj": [width, ff]}
    if c["model_type"] == "qwen2":
        shapes.update({layer + "self_attn.%s_proj.bias" % n: [rows] for n, rows in (("q", q), ("k", kv), ("v", kv))})
    if c["model_type"] == "mixtral":
        shapes = {name: shape for name, shape in shapes.items() if ".mlp." not in name}
        moe = layer + "block_sparse_moe."
        shapes[moe + "gate"] = [c["num_local_experts"], width]
        for i in range(c["num_local_experts"]):
            shapes.update({moe + "experts.%d.%s" % (i, n): [ff, width] if n != "w2" else [width, ff] for n in ("w1", "w2", "w3")})
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name if name.endswith(".bias") else name + ".weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)
    return path
