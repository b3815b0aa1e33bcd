"""Writes the purpose-made GGUF models of this folder (README.md), with struct only.

    python3 make_tiny.py FOLDER

tiny-llama.gguf   llama: 1 layer, hidden 32, 2 heads on 1 K/V head, ffn 32, tied embeddings, byte-level vocabulary with merges
tiny-qwen2.gguf   qwen2: the same shape with q/k/v bias and untied output
tiny-mixtral.gguf llama with 2 experts, of which 1 is used: merged tensors for gate and down, one for each expert for up
tiny-spm.gguf     no tensors: a SentencePiece vocabulary with byte fallback, whose 256 byte tokens leave no room for a model

Each has at most 8,192 bytes, so that a test can flip every byte and cut it at every length.  Weights are random from a
fixed linear congruential generator, drawn as block scales and quantised values directly; nothing is trained.
"""

import struct
import sys

F32, Q4_0, Q4_1, Q8_0 = 0, 2, 3, 8
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
BLOCK = {F32: (1, 4), Q4_0: (32, 18), Q4_1: (32, 20), Q8_0: (32, 34)}


class Random:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state >> 33

    def uniform(self, low, high):
        return low + (high - low) * self.next() / 2**31


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, v):
    if kind == STRING:
        return string(v)
    return struct.pack({U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}[kind], v)


def key(name, kind, v):
    return string(name) + struct.pack("<I", kind) + value(kind, v)


def array(name, kind, values):
    return string(name) + struct.pack("<IIQ", ARRAY, kind, len(values)) + b"".join(value(kind, v) for v in values)


def weights(random, kind, n):
    """n values of about +-0.4, as blocks of the type."""
    out = b""
    elems, _ = BLOCK[kind]
    for _ in range(n // elems):
        if kind == F32:
            out += struct.pack("<f", random.uniform(0.5, 1.5))
        elif kind == Q8_0:
            out += struct.pack("<e", random.uniform(0.002, 0.004)) + bytes(random.next() % 256 for _ in range(32))
        elif kind == Q4_0:
            out += struct.pack("<e", random.uniform(0.03, 0.06)) + bytes(random.next() % 256 for _ in range(16))
        elif kind == Q4_1:
            d = random.uniform(0.03, 0.06)
            out += struct.pack("<ee", d, -7.5 * d) + bytes(random.next() % 256 for _ in range(16))
    return out


def gguf(keys, tensors, seed):
    """tensors: (name, type, shape in GGUF order)."""
    random = Random(seed)
    infos, data = b"", b""
    for name, kind, shape in tensors:
        n = 1
        for d in shape:
            n *= d
        infos += string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in shape)
        infos += struct.pack("<IQ", kind, len(data))
        data += weights(random, kind, n)
        data += b"\0" * (-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + infos
    return head + b"\0" * (-len(head) % 32) + data if tensors else head


def shape_keys(arch, theta):
    return [
        key("general.architecture", STRING, arch),
        key(arch + ".context_length", U32, 512),
        key(arch + ".embedding_length", U32, 32),
        key(arch + ".block_count", U32, 1),
        key(arch + ".feed_forward_length", U32, 32),
        key(arch + ".attention.head_count", U32, 2),
        key(arch + ".attention.head_count_kv", U32, 1),
        key(arch + ".attention.layer_norm_rms_epsilon", FLOAT, 1e-5),
        key(arch + ".rope.freq_base", FLOAT, theta),
    ]


def byte_level_keys(pre, pieces, n_control, merges):
    """Byte-level vocabulary: U+0120 stands for a space, U+010A for a newline; the last n_control pieces are control tokens."""
    types = [1] * (len(pieces) - n_control) + [3] * n_control
    return [
        key("tokenizer.ggml.model", STRING, "gpt2"),
        key("tokenizer.ggml.pre", STRING, pre),
        array("tokenizer.ggml.tokens", STRING, pieces),
        array("tokenizer.ggml.token_type", I32, types),
        array("tokenizer.ggml.merges", STRING, merges),
        key("tokenizer.ggml.eos_token_id", U32, len(pieces) - 1),
    ]


def tiny_llama():
    chars = "\u0120etaoinshrdlucmfwypvbgkjqxz0123456789[]().,:;!?#'\"-_/<>|ABESRULTFG\u010a"
    pieces = list(chars) + ["in", "th", "\u0120th", "<s>", "</s>"]
    keys = shape_keys("llama", 1e4) + byte_level_keys("smollm", pieces, 2, ["i n", "t h", "\u0120 th"])
    keys += [
        key("llama.rope.dimension_count", U32, 16),
        key("tokenizer.ggml.bos_token_id", U32, len(pieces) - 2),
        key("tokenizer.ggml.add_bos_token", BOOL, True),
    ]
    tensors = [
        ("token_embd.weight", Q4_0, (32, len(pieces))),
        ("blk.0.attn_norm.weight", F32, (32,)),
        ("blk.0.attn_q.weight", Q4_0, (32, 32)),
        ("blk.0.attn_k.weight", Q4_1, (32, 16)),
        ("blk.0.attn_v.weight", Q8_0, (32, 16)),
        ("blk.0.attn_output.weight", Q4_0, (32, 32)),
        ("blk.0.ffn_norm.weight", F32, (32,)),
        ("blk.0.ffn_gate.weight", Q4_0, (32, 32)),
        ("blk.0.ffn_up.weight", Q4_0, (32, 32)),
        ("blk.0.ffn_down.weight", Q4_0, (32, 32)),
        ("output_norm.weight", F32, (32,)),
    ]
    return gguf(keys, tensors, 1)


def tiny_qwen2():
    pieces = list("\u0120etaoinshrdlu0123456789[]RESULTAB.,\u010a") + ["in", "\u0120t", "<|endoftext|>", "<|im_end|>"]
    keys = shape_keys("qwen2", 1e6) + byte_level_keys("qwen2", pieces, 2, ["i n", "\u0120 t"])
    keys.append(key("tokenizer.ggml.add_bos_token", BOOL, False))
    tensors = [
        ("token_embd.weight", Q4_0, (32, len(pieces))),
        ("blk.0.attn_norm.weight", F32, (32,)),
        ("blk.0.attn_q.weight", Q4_0, (32, 32)),
        ("blk.0.attn_q.bias", F32, (32,)),
        ("blk.0.attn_k.weight", Q8_0, (32, 16)),
        ("blk.0.attn_k.bias", F32, (16,)),
        ("blk.0.attn_v.weight", Q4_0, (32, 16)),
        ("blk.0.attn_v.bias", F32, (16,)),
        ("blk.0.attn_output.weight", Q4_0, (32, 32)),
        ("blk.0.ffn_norm.weight", F32, (32,)),
        ("blk.0.ffn_gate.weight", Q4_0, (32, 32)),
        ("blk.0.ffn_up.weight", Q4_0, (32, 32)),
        ("blk.0.ffn_down.weight", Q4_0, (32, 32)),
        ("output_norm.weight", F32, (32,)),
        ("output.weight", Q4_0, (32, len(pieces))),
    ]
    return gguf(keys, tensors, 2)


def tiny_mixtral():
    pieces = list("\u0120etaoinsh") + ["in", "<s>", "</s>"]
    keys = shape_keys("llama", 1e6) + byte_level_keys("smollm", pieces, 2, ["i n"])
    keys += [
        key("llama.expert_count", U32, 2),
        key("llama.expert_used_count", U32, 1),
        key("tokenizer.ggml.bos_token_id", U32, len(pieces) - 2),
    ]
    tensors = [
        ("token_embd.weight", Q4_0, (32, len(pieces))),
        ("blk.0.attn_norm.weight", F32, (32,)),
        ("blk.0.attn_q.weight", Q4_0, (32, 32)),
        ("blk.0.attn_k.weight", Q4_0, (32, 16)),
        ("blk.0.attn_v.weight", Q4_0, (32, 16)),
        ("blk.0.attn_output.weight", Q4_0, (32, 32)),
        ("blk.0.ffn_norm.weight", F32, (32,)),
        ("blk.0.ffn_gate_inp.weight", F32, (32, 2)),
        ("blk.0.ffn_gate_exps.weight", Q4_0, (32, 32, 2)),
        ("blk.0.ffn_up.0.weight", Q4_0, (32, 32)),
        ("blk.0.ffn_up.1.weight", Q4_1, (32, 32)),
        ("blk.0.ffn_down_exps.weight", Q4_0, (32, 32, 2)),
        ("output_norm.weight", F32, (32,)),
    ]
    return gguf(keys, tensors, 4)


def tiny_spm():
    pieces = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]
    types = [2, 3, 3] + [6] * 256
    words = list("\u2581etaon") + ["in", "\u2581t", "\u2581a", "th", "\u2581th", "\u2581the"]
    keys = [
        key("general.architecture", STRING, "llama"),
        key("tokenizer.ggml.model", STRING, "llama"),
        array("tokenizer.ggml.tokens", STRING, pieces + words),
        array("tokenizer.ggml.scores", FLOAT, [0.0] * len(pieces) + [-float(i) for i in range(len(words))]),
        array("tokenizer.ggml.token_type", I32, types + [1] * len(words)),
        key("tokenizer.ggml.bos_token_id", U32, 1),
        key("tokenizer.ggml.eos_token_id", U32, 2),
        key("tokenizer.ggml.unknown_token_id", U32, 0),
        key("tokenizer.ggml.add_bos_token", BOOL, True),
    ]
    return gguf(keys, [], 3)


def main():
    for name, data in (("tiny-llama.gguf", tiny_llama()), ("tiny-qwen2.gguf", tiny_qwen2()), ("tiny-mixtral.gguf", tiny_mixtral()),
                       ("tiny-spm.gguf", tiny_spm())):
        if len(data) > 8192:
            sys.exit("%s has %d bytes, more than 8192" % (name, len(data)))
        with open(sys.argv[1] + "/" + name, "wb") as f:
            f.write(data)
        print(name, len(data), "bytes")


main()
