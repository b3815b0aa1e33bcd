#!/usr/bin/env python3
"""Makes three tiny models and what mergekit merges them to.

    python3 make_merge.py    (in this folder; mergekit 0.1.5, torch, safetensors, numpy: versions in README.md)

The recipe mixtral_linear.yaml merges mixtral (tests/data/oracle/models/mixtral/hf-bf16) and rolled, the same with each tensor's elements moved on by one.

Each recipes/NAME.yaml is run by mergekit's own run_merge; expected/NAME.safetensors is its result, or, for results that must be equal bit for bit,
a line in expected/sha256.txt (tensors in byte order of their names).  Where the recipe is of dare, torch.bernoulli is replaced by gavel's mask for
seed 7, so that everything after the mask is mergekit's: key = the first 8 bytes of SHA-256("SEED\\nTENSOR"), Philox4x32-10 at counter
(element / 4, input, 0), kept where word < density * 2^32.

ties keeps the k largest deltas by torch.argsort, which is not stable: of equal magnitudes, frequent in bf16, it keeps whichever the CPU's sort leaves in
front.  Here it is asked to be stable, so the first ones are kept, as gavel does.
"""
import hashlib
import os
import shutil
import struct
import tempfile

import numpy as np
import torch
import yaml
from mergekit import sparsify
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from mergekit.merge_methods import task_adapter
from safetensors.torch import load_file, save_file

SEED = 7
BITWISE = ("linear_f32", "linear_bf16", "linear_gradient", "linear_sum", "slices_linear", "mixtral_linear")
HERE = os.path.dirname(os.path.abspath(__file__))
ORACLE = os.path.join(HERE, "..", "oracle", "models", "llama", "hf-bf16")
MIXTRAL = os.path.join(HERE, "..", "oracle", "models", "mixtral", "hf-bf16")
HIDDEN, HEADS, KV, FFN, LAYERS, VOCAB = 32, 2, 1, 48, 3, 611

CONFIG = """{
  "architectures": ["LlamaForCausalLM"],
  "bos_token_id": 1,
  "eos_token_id": 2,
  "hidden_act": "silu",
  "hidden_size": %d,
  "intermediate_size": %d,
  "max_position_embeddings": 4096,
  "model_type": "llama",
  "num_attention_heads": %d,
  "num_hidden_layers": %d,
  "num_key_value_heads": %d,
  "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0,
  "tie_word_embeddings": true,
  "torch_dtype": "bfloat16",
  "vocab_size": %d
}
""" % (HIDDEN, FFN, HEADS, LAYERS, KV, VOCAB)


def shapes():
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    yield "model.norm.weight", (HIDDEN,)
    for i in range(LAYERS):
        p = "model.layers.%d." % i
        yield p + "input_layernorm.weight", (HIDDEN,)
        yield p + "post_attention_layernorm.weight", (HIDDEN,)
        yield p + "self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield p + "self_attn.k_proj.weight", (HIDDEN // HEADS * KV, HIDDEN)
        yield p + "self_attn.v_proj.weight", (HIDDEN // HEADS * KV, HIDDEN)
        yield p + "self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield p + "mlp.gate_proj.weight", (FFN, HIDDEN)
        yield p + "mlp.up_proj.weight", (FFN, HIDDEN)
        yield p + "mlp.down_proj.weight", (HIDDEN, FFN)


def make_models():
    rng = np.random.default_rng(2025)
    models = {"base": {}, "a": {}, "b": {}}
    for name, shape in shapes():
        start = 1.0 if len(shape) == 1 else 0.0
        base = start + 0.15 * rng.standard_normal(shape)
        models["base"][name] = base
        for m in ("a", "b"):
            # in layer 1 the models are nearly parallel, in o_proj b points away from the base: slerp's straight lines
            width = 0.002 if "layers.1." in name else 0.1
            models[m][name] = base + width * rng.standard_normal(shape)
        if "layers.2.self_attn.o_proj" in name:
            models["b"][name] = -base
    for m, weights in models.items():
        folder = os.path.join(HERE, "models", m)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        save_file({n: torch.tensor(v, dtype=torch.bfloat16) for n, v in weights.items()}, os.path.join(folder, "model.safetensors"), {"format": "pt"})
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
            f.write(CONFIG)
        for name in ("tokenizer.model", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(os.path.join(ORACLE, name), folder)


def make_mixtrals():
    """Made again by the test, so not kept: {name} of their tensors."""
    weights = load_file(os.path.join(MIXTRAL, "model.safetensors"))
    for m in ("mixtral", "rolled"):
        shutil.rmtree(os.path.join(HERE, "models", m), ignore_errors=True)
        shutil.copytree(MIXTRAL, os.path.join(HERE, "models", m))
    rolled = {n: torch.roll(t.flatten(), 1).reshape(t.shape) for n, t in weights.items()}
    save_file(rolled, os.path.join(HERE, "models", "rolled", "model.safetensors"), {"format": "pt"})
    return set(weights)


def apart(weights):
    """mergekit writes a layer's experts as two tensors, as transformers 5 names them; gavel keeps the names that it finds, one matrix each."""
    out = {}
    for name, t in weights.items():
        moe = name.replace(".mlp.", ".block_sparse_moe.")
        for e in range(len(t) if ".experts." in name else 0):
            expert = moe[: moe.index("experts.")] + "experts.%d." % e
            if name.endswith("gate_up_proj"):
                out[expert + "w1.weight"], out[expert + "w3.weight"] = t[e].chunk(2)
            else:
                out[expert + "w2.weight"] = t[e]
        if ".experts." not in name:
            out[moe if name.endswith(".mlp.gate.weight") else name] = t
    return out


def philox(counter, key):
    c, k = [np.uint64(v) for v in counter], [np.uint64(v) for v in key]
    mask = np.uint64(0xFFFFFFFF)
    c = [np.broadcast_to(v, np.broadcast(*counter).shape).astype(np.uint64) for v in counter]
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k[0], p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + np.uint64(0x9E3779B9)) & mask, (k[1] + np.uint64(0xBB67AE85)) & mask]
    return np.stack(c, axis=-1).reshape(-1)


class Masks:
    tensor, inputs = None, []

    @classmethod
    def bernoulli(cls, p):
        key = struct.unpack(">II", hashlib.sha256(b"%d\n%s" % (SEED, cls.tensor.encode())).digest()[:8])
        groups = np.arange((p.numel() + 3) // 4, dtype=np.uint64)
        words = philox((groups, np.uint64(0), np.uint64(cls.inputs.pop(0)), np.uint64(0)), key)[: p.numel()]
        return torch.tensor(words < cls.density * 2.0**32).reshape(p.shape).to(p.dtype)


def patch():
    run = task_adapter.ExecuteMergeMethodTask.execute

    def execute(self, tensors, **more):
        Masks.tensor = self.output_weight.name
        Masks.inputs = [i for i, m in enumerate(self.model_order) if m != self.base_model]
        return run(self, tensors, **more)

    task_adapter.ExecuteMergeMethodTask.execute = execute
    whole = sparsify.bernoulli

    def bernoulli(tensor, density, rescale_norm=None):
        if density >= 1:
            Masks.inputs.pop(0)
        Masks.density = density
        return whole(tensor, density, rescale_norm)

    sparsify.bernoulli = bernoulli
    argsort = torch.argsort
    torch.argsort = lambda w, descending: argsort(w, descending=descending, stable=True)
    torch.bernoulli = Masks.bernoulli


def main():
    make_models()
    mixtral_names = make_mixtrals()
    patch()
    os.chdir(os.path.join(HERE, "models"))
    os.makedirs(os.path.join(HERE, "expected"), exist_ok=True)
    lines = []
    for file in sorted(os.listdir(os.path.join(HERE, "recipes"))):
        name = file[: -len(".yaml")]
        with open(os.path.join(HERE, "recipes", file), encoding="utf-8") as f:
            config = MergeConfiguration.model_validate(yaml.safe_load(f))
        with tempfile.TemporaryDirectory() as out:
            run_merge(config, out, MergeOptions(copy_tokenizer=False, quiet=True, write_model_card=False, device="cpu"))
            result = {}
            for part in sorted(os.listdir(out)):
                if part.endswith(".safetensors"):
                    result.update(load_file(os.path.join(out, part)))
        result = apart(result)
        assert set(result) == (mixtral_names if name.startswith("mixtral") else {n for n, _ in shapes()})
        if name in BITWISE:
            h = hashlib.sha256()
            for tensor in sorted(result):
                h.update(result[tensor].contiguous().view(torch.uint8).numpy().tobytes())
            lines.append("%s  %s\n" % (h.hexdigest(), name))
        else:
            save_file(result, os.path.join(HERE, "expected", name + ".safetensors"))
    with open(os.path.join(HERE, "expected", "sha256.txt"), "w", encoding="utf-8") as f:
        f.writelines(lines)
    for m in ("mixtral", "rolled"):
        shutil.rmtree(os.path.join(HERE, "models", m))


if __name__ == "__main__":
    main()
