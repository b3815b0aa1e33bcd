"""GGUF files for tests: a reader of GGUF v3, the Hugging Face folder that a file could have been made from, and its parts.  Standard library only."""
import json
import mmap
import os
import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
DTYPES = {0: ("F32", 4), 1: ("F16", 2), 30: ("BF16", 2)}
NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
IN_LAYER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
            "ffn_down": "mlp.down_proj"}
QWEN2 = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")


def tensors(path):
    """{name: (shape, type number, offset)}, start of the data, keys as raw bytes."""
    return layout(path)[:3]


def layout(path):
    """The same, and the type and value of each key as they stand in the file."""
    with open(path, "rb") as f:
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    at = 24

    def string():
        nonlocal at
        n = struct.unpack_from("<Q", data, at)[0]
        at += 8 + n
        return data[at - n:at]

    def value(kind):
        nonlocal at
        if kind == 8:
            return string()
        if kind == 9:
            elem, n = struct.unpack_from("<IQ", data, at)
            at += 12
            return [value(elem) for _ in range(n)]
        at += SIZES[kind]
        return data[at - SIZES[kind]:at]

    n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)
    keys, found, entries = {}, {}, {}
    for _ in range(n_keys):
        name = string().decode()
        begin = at
        at += 4
        keys[name] = value(struct.unpack_from("<I", data, begin)[0])
        entries[name] = data[begin:at]
    for _ in range(n_tensors):
        name = string().decode()
        n_dims = struct.unpack_from("<I", data, at)[0]
        shape = struct.unpack_from("<%dQ" % n_dims, data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * n_dims)
        at += 16 + 8 * n_dims
        found[name] = (shape, kind, offset)
    return found, (at + 31) // 32 * 32, keys, entries


def raw(path):
    """A file to be written again: {"keys": {name: type and value as bytes}, "tensors": [(name, shape, type number, data)]}."""
    found, start, _, entries = layout(path)
    with open(path, "rb") as f:
        data = f.read()
    ends = sorted(offset for _, _, offset in found.values())[1:] + [len(data) - start]
    return {"keys": entries, "tensors": [(name, shape, kind, data[start + offset:start + min(e for e in ends if e > offset)])
                                         for name, (shape, kind, offset) in found.items()]}


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def whole_number(v, kind=4):
    """Type and value of a key: u16 is 2, u32 4, i32 5."""
    return struct.pack("<I" + {2: "H", 4: "I", 5: "i"}[kind], kind, v)


def put(path, content):
    """Writes what raw gives."""
    out, at = b"GGUF" + struct.pack("<IQQ", 3, len(content["tensors"]), len(content["keys"])), 0
    for name, entry in content["keys"].items():
        out += string(name) + entry
    for name, shape, kind, data in content["tensors"]:
        out += string(name) + struct.pack("<I%dQIQ" % len(shape), len(shape), *shape, kind, at)
        at += len(data)
    with open(path, "wb") as f:
        f.write(out + b"\0" * (-len(out) % 32) + b"".join(data for _, _, _, data in content["tensors"]))
    return path


def parts(source, n, empty_first=False):
    """What gguf-split of llama.cpp makes of a file: n contents for put, all keys in the first, tensors in order."""
    whole, count = raw(source), n - empty_first
    every = -(-len(whole["tensors"]) // count)
    made = [{"keys": {}, "tensors": whole["tensors"][i * every:(i + 1) * every]} for i in range(count)]
    if empty_first:
        made.insert(0, {"keys": {}, "tensors": []})
    for i, part in enumerate(made):
        part["keys"] = dict(whole["keys"] if i == 0 else {}, **{
            "split.no": whole_number(i, 2), "split.tensors.count": whole_number(len(whole["tensors"]), 5), "split.count": whole_number(n, 2)})
    return made


def put_parts(stem, contents):
    """Writes STEM-00001-of-N.gguf and so on; their paths."""
    return [put("%s-%05d-of-%05d.gguf" % (stem, i + 1, len(contents)), part) for i, part in enumerate(contents)]


def u32(keys, name):
    return struct.unpack("<I", keys[name])[0]


def hf_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return "model.layers.%s.%s.%s" % (parts[1], IN_LAYER[parts[2]], parts[3])
    return "%s.%s" % (NAMES[parts[0]], parts[1])


def halves_apart(rows, heads):
    """The order of rows in which RoPE turns row i with row i + half: GGUFs of llama have the two side by side."""
    size = rows // heads
    return [h * size + 2 * i + j for h in range(heads) for j in range(2) for i in range(size // 2)]


def write_safetensors(source, heads, target):
    """heads: {part of a name: heads whose rows change places}."""
    found, start, _ = tensors(source)
    with open(source, "rb") as f:
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    header, at = {}, 0
    for name, (shape, kind, _) in found.items():
        size = DTYPES[kind][1]
        for n in shape:
            size *= n
        header[hf_name(name)] = {"dtype": DTYPES[kind][0], "shape": list(reversed(shape)), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, (shape, _, offset) in found.items():
            begin, end = header[hf_name(name)]["data_offsets"]
            body = data[start + offset:start + offset + end - begin]
            part = name.split(".")[2] if name.startswith("blk.") else ""
            if part in heads and len(shape) == 2:
                row = (end - begin) // shape[1]
                body = b"".join(body[r * row:(r + 1) * row] for r in halves_apart(shape[1], heads[part]))
            out.write(body)


def tokenizer(keys):
    tokens = [t.decode() for t in keys["tokenizer.ggml.tokens"]]
    types = [struct.unpack("<i", t)[0] for t in keys["tokenizer.ggml.token_type"]]
    merges = [m.decode().split(" ") for m in keys["tokenizer.ggml.merges"]]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    parts = [{"type": "Digits", "individual_digits": True}, byte_level]
    if keys["tokenizer.ggml.pre"] == b"qwen2":
        parts = [{"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}, dict(byte_level, use_regex=False)]
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": kind == 3}
                         for i, (t, kind) in enumerate(zip(tokens, types)) if kind in (3, 4)],
        "normalizer": {"type": "NFC"} if keys["tokenizer.ggml.pre"] == b"qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": parts},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind == 1},
                  "merges": merges},
    }


def to_folder(source, folder):
    """The Hugging Face folder of a GGUF of F32, F16 or BF16 tensors, architecture llama or qwen2, byte-level tokenizer smollm or qwen2."""
    found, _, keys = tensors(source)
    arch = keys["general.architecture"].decode()
    tokens = keys["tokenizer.ggml.tokens"]
    heads, heads_kv = u32(keys, arch + ".attention.head_count"), u32(keys, arch + ".attention.head_count_kv")
    os.mkdir(folder)
    config = {
        "architectures": [{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[arch]],
        "model_type": arch,
        "hidden_act": "silu",
        "hidden_size": u32(keys, arch + ".embedding_length"),
        "intermediate_size": u32(keys, arch + ".feed_forward_length"),
        "num_hidden_layers": u32(keys, arch + ".block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": heads_kv,
        "max_position_embeddings": u32(keys, arch + ".context_length"),
        "rms_norm_eps": struct.unpack("<f", keys[arch + ".attention.layer_norm_rms_epsilon"])[0],
        "rope_theta": struct.unpack("<f", keys[arch + ".rope.freq_base"])[0],
        "tie_word_embeddings": "output.weight" not in found,
        "vocab_size": len(tokens),
        "bos_token_id": u32(keys, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": u32(keys, "tokenizer.ggml.eos_token_id"),
    }
    names = {k: tokens[config[k + "_id"]].decode() for k in ("bos_token", "eos_token")}
    settings = dict(names, add_bos_token=False, chat_template=keys["tokenizer.chat_template"].decode())
    for name, content in (("config.json", config), ("tokenizer.json", tokenizer(keys)), ("tokenizer_config.json", settings)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(content, f)
    write_safetensors(source, {"attn_q": heads, "attn_k": heads_kv} if arch == "llama" else {}, os.path.join(folder, "model.safetensors"))
    return folder
