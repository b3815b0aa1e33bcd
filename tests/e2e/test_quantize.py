"""gavel quantize: from GGUFs and from Hugging Face folders, what it refuses, and what the engine makes of its files."""
import array
import json
import math
import os
import re
import random
import resource
import shutil
import signal
import statistics
import struct

import st_files
import support
from ggufs import tensors
from support import DATA, refused, run, tiny, write

ORACLE = os.path.join(DATA, "oracle", "logits")
SEQUENCES = ("one", "seven", "text64", "rand64")


def hf(arch, kind="bf16"):
    return os.path.join(DATA, "oracle", "models", arch, "hf-" + kind)


def quantize(model, out, kind, *more, want=0):
    return run("quantize", model, out, "--type", kind, *more, want=want)


def logits(folder, model, ids, *more):
    out = os.path.join(folder, "logits.bin")
    run("logits", "-", "--model", model, "--kv", "f32", "--ctx", "128", "--out", out, *more, stdin=[{"ids": ids}], want=0)
    values = array.array("f")
    values.frombytes(support.read(out))
    return values


def blobs(path, found, start):
    """{name: the tensor's bytes and what fills up to the next one's}."""
    data, names = support.read(path)[start:], sorted(found, key=lambda name: found[name][2])
    ends = [found[name][2] for name in names[1:]] + [len(data)]
    return {name: data[found[name][2]:end] for name, end in zip(names, ends)}


def nmse(got, want):
    return sum((a - b) ** 2 for a, b in zip(got, want)) / sum(b * b for b in want)


def a_folder_becomes_the_converters_tensors(folder):
    """F32 from a folder: names, shapes and bytes are those of convert_hf_to_gguf's file, q and k rows turned, experts merged."""
    for arch in ("llama", "llama3", "mistral", "mixtral", "qwen2"):
        out = os.path.join(folder, arch + ".gguf")
        quantize(hf(arch, "f32"), out, "f32")
        ours, our_start, our_keys = tensors(out)
        theirs, their_start, their_keys = tensors(tiny(arch, "f32"))
        assert {k: v[:2] for k, v in ours.items()} == {k: v[:2] for k, v in theirs.items()}, arch
        a, b = blobs(out, ours, our_start), blobs(tiny(arch, "f32"), theirs, their_start)
        for name, (shape, kind, _) in ours.items():
            n = 4 * math.prod(shape)
            assert kind == 0 and a[name][:n] == b[name][:n], (arch, name)
        for key in ("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.eos_token_id",
                    "tokenizer.chat_template", "general.architecture", "general.file_type"):
            assert our_keys.get(key) == their_keys.get(key), (arch, key)


def every_type_is_read_again_and_equal_inputs_give_equal_bytes(folder):
    for kind in ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_k_s", "q5_0", "q5_1", "q4_0", "q4_1", "bf16", "f16", "f32"):
        a, b, c = (os.path.join(folder, n) for n in "abc")
        quantize(tiny("mistral", "f32"), a, kind, "--threads", "1")
        quantize(tiny("mistral", "f32"), b, kind, "--threads", "3")
        quantize(hf("mistral", "f32"), c, kind)
        assert support.read(a) == support.read(b), kind
        run("inspect", a, want=0)
        found, start, _ = tensors(a)
        same, same_start, _ = tensors(c)
        assert {k: v[:2] for k, v in found.items()} == {k: v[:2] for k, v in same.items()}, kind
        assert blobs(a, found, start) == blobs(c, same, same_start), kind


def a_folder_quantised_while_loading_computes_what_the_file_does(folder):
    for arch, kind in (("mistral", "q4_k"), ("qwen2", "q8_0"), ("mixtral", "q5_k_m")):
        out = os.path.join(folder, "m.gguf")
        quantize(hf(arch), out, kind)
        ids = list(range(5, 45))
        assert logits(folder, out, ids).tobytes() == logits(folder, hf(arch), ids, "--weights", kind).tobytes(), (arch, kind)


def a_llama_folder_with_biases_becomes_the_file_that_computes_the_same(folder):
    """attention_bias: q, k and v have vectors; those of q and k stand in RoPE's other order in a folder."""
    model, out, ids = os.path.join(folder, "m"), os.path.join(folder, "m.gguf"), list(range(5, 45))
    shutil.copytree(hf("llama", "f32"), model)
    with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    write(os.path.join(model, "config.json"), json.dumps(dict(config, attention_bias=True)))
    weights = st_files.read_tensors(os.path.join(model, "model.safetensors"))
    for name, (_, shape, _) in sorted(weights.items()):
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            bias = array.array("f", (((i * 37 + len(weights)) % 101 - 50) * 0.02 for i in range(shape[0])))
            weights[name.replace(".weight", ".bias")] = ("F32", [shape[0]], bias.tobytes())
    st_files.put_tensors(os.path.join(model, "model.safetensors"), weights)
    plain = logits(folder, hf("llama", "f32"), ids)
    for kind in ("f32", "q8_0", "q4_k"):
        quantize(model, out, kind)
        found, start, _ = tensors(out)
        assert found["blk.0.attn_q.bias"][:2] == ((config["hidden_size"],), 0), found["blk.0.attn_q.bias"]
        got = logits(folder, out, ids)
        assert got.tobytes() == logits(folder, model, ids, *([] if kind == "f32" else ["--weights", kind])).tobytes(), kind
        assert nmse(got, plain) > 0.01, kind  # the biases count
    width = config["head_dim"]
    stored = weights["model.layers.0.self_attn.k_proj.bias"][2]
    turned = [h * width + i % 2 * (width // 2) + i // 2 for h in range(config["num_key_value_heads"]) for i in range(width)]
    assert blobs(out, found, start)["blk.0.attn_k.bias"][:len(stored)] == b"".join(stored[4 * i:4 * i + 4] for i in turned)
    raw = bytearray(stored)
    struct.pack_into("<f", raw, 4 * turned[5], float("inf"))
    st_files.put_tensors(os.path.join(model, "model.safetensors"), dict(weights, **{"model.layers.0.self_attn.k_proj.bias": ("F32", [len(turned)], bytes(raw))}))
    refused(run("quantize", model, out, "--type", "q8_0", "--quiet"), 1, model + ": tensor blk.0.attn_k.bias: row 0, column 5 is not a finite number")


def the_oracles_bounds_hold_for_our_files(folder):
    """Against F32 arithmetic on the same weights: at most 1.25 times llama.cpp's distance for a file of that type, as tests/golden/test_logits_golden.c
    has it.  The distance of one or seven rows is a sum of few independent errors: between two files of one type its logarithm varies by about 0.3, so of
    12 files the geometric mean varies by 0.3 / sqrt(12) = 0.09.  It may be 1.25 = exp(2.5 * 0.09), one file exp(3 * 0.3) = 2.5.  Against the unquantised
    model: in the geometric mean no further away than llama-quantize's files."""
    logs, few = [], {}
    for arch in ("llama", "mistral", "qwen2"):
        with open(os.path.join(ORACLE, arch + ".json"), encoding="utf-8") as f:
            oracle = json.load(f)
        for kind in ("Q4_0", "Q4_K_M", "Q5_K_M", "Q8_0"):
            ours, flat = os.path.join(folder, "q.gguf"), os.path.join(folder, "flat.gguf")
            quantize(tiny(arch, "f32"), ours, kind)
            quantize(ours, flat, "f32")
            for name in SEQUENCES:
                ids = oracle["sequences"][name]
                got, exact, whole = logits(folder, ours, ids), logits(folder, flat, ids), logits(folder, tiny(arch, "f32"), ids)
                theirs = oracle["llama_cpp"][kind + " kv=f32 fa=0"]["nmse"][name]
                ratio = nmse(got, exact) / theirs
                assert ratio <= (1.25 if len(ids) >= 64 else 2.5), (arch, kind, name, ratio, theirs)
                if len(ids) < 64:
                    few.setdefault(name, []).append(math.log(ratio))
                else:
                    logs.append(math.log(nmse(got, whole) / nmse(logits(folder, tiny(arch, kind), ids), whole)))
    assert sorted(map(len, few.values())) == [12, 12]
    for name, values in few.items():
        mean = math.exp(sum(values) / len(values))
        print("  distance from F32 arithmetic on the same weights, sequence %s, ours to llama.cpp's: %.3f" % (name, mean))
        assert mean <= 1.25, (name, mean)
    mean = math.exp(sum(logs) / len(logs))
    print("  distance from the unquantised model, ours to llama-quantize's: %.3f" % mean)
    assert mean <= 1.02, mean


def make_wide(folder, seed, experts):
    """A folder of random bf16 weights, 256 wide, so that every row is a K-quant's: a mistral, or a mixtral with so many experts."""
    os.makedirs(folder)
    source, wide, heads, heads_kv = hf("mixtral"), 256, 4, 2
    with open(os.path.join(source, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    vocab = config["vocab_size"]
    config.update(hidden_size=wide, intermediate_size=wide, num_hidden_layers=2, num_attention_heads=heads, num_key_value_heads=heads_kv,
                  head_dim=wide // heads, sliding_window=None)
    if experts:
        config.update(num_local_experts=experts, num_experts_per_tok=2)
    else:
        config.update(model_type="mistral", architectures=["MistralForCausalLM"])
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(os.path.join(source, name), folder)
    write(os.path.join(folder, "config.json"), json.dumps(config))
    rng, weights = random.Random(seed), {}
    # high bytes of bf16: magnitudes 1/128 to 1/8 of mean square 1/230, both signs
    high = bytes((0xBC if i % 4 == 0 else 0xBD) - 0x80 * (i // 128) for i in range(256))

    def matrix(name, rows):
        raw = bytearray(2 * rows * wide)
        raw[0::2], raw[1::2] = rng.randbytes(rows * wide), rng.randbytes(rows * wide).translate(high)
        weights[name + ".weight"] = ("BF16", [rows, wide], bytes(raw))

    def ones(name):
        weights[name + ".weight"] = ("BF16", [wide], b"\x80\x3f" * wide)

    matrix("model.embed_tokens", vocab)
    for layer in ("model.layers.0.", "model.layers.1."):
        ones(layer + "input_layernorm")
        ones(layer + "post_attention_layernorm")
        for part, rows in (("q", wide), ("k", wide * heads_kv // heads), ("v", wide * heads_kv // heads), ("o", wide)):
            matrix(layer + "self_attn.%s_proj" % part, rows)
        for e in range(experts):
            for part in ("w1", "w2", "w3"):
                matrix(layer + "block_sparse_moe.experts.%d.%s" % (e, part), wide)
        if experts:
            matrix(layer + "block_sparse_moe.gate", experts)
        else:
            for part in ("gate", "up", "down"):
                matrix(layer + "mlp.%s_proj" % part, wide)
    ones("model.norm")
    matrix("lm_head", vocab)
    st_files.put_tensors(os.path.join(folder, "model.safetensors"), weights)
    return folder


def a_mixtral_of_k_quants_is_as_near_to_its_f32_twin_as_a_dense_model(folder):
    """256 wide, so experts are Q4_K and Q6_K (the tiny mixtral's rows of 64 are not), each against F32 arithmetic on the same weights.

    Both models round activations before the same products.  A mixtral's block is w1 e1 + w2 e2 of two experts whose errors and values are independent, so
    both shrink alike and its relative error is an expert's.  To it comes the router's: with input error E (NMSE) and router logits of variance s the weights
    move by w1 w2 times the change of l1 - l2, whose variance is 2 s E; that adds (w1 w2)^2 2 s E |e1 - e2|^2, at w = 1/2 and |e1 - e2|^2 = 2 |e|^2 against
    a value of |e|^2 / 2: 0.5 s E.  With s = 1.1 (256 weights of mean square 1/230, inputs of mean square 1) that is 1.55 times the dense model's at
    most, the same in either layer.  Rows whose choice of experts changes are few and do not move a median.  A row's NMSE varies by 0.3 in its logarithm, the
    medians of 64 rows of each model by 1.25 * 0.3 / 8 = 0.05, their ratio by 0.07: 1.55 exp(3 * 0.07) = 1.9."""
    ids, out, flat = [(i * 97 + 11) % 600 for i in range(64)], os.path.join(folder, "q.gguf"), os.path.join(folder, "flat.gguf")
    models = [(make_wide(os.path.join(folder, "m%d" % n), 5, n), n) for n in (0, 4)]
    for kind, number in (("q4_k", 12), ("q6_k", 14)):
        medians = []
        for model, experts in models:
            quantize(model, out, kind)
            quantize(out, flat, "f32")
            found = tensors(out)[0]
            experts_or_dense = [v[1] for k, v in found.items() if "ffn" in k and "norm" not in k and "gate_inp" not in k]
            assert experts_or_dense == [number] * 6, found
            assert all(("ffn_gate_exps" in k) == (experts > 0) for k in found if k.startswith("blk.0.ffn_gate") and "inp" not in k)
            got, exact = logits(folder, out, ids), logits(folder, flat, ids)
            n = len(got) // len(ids)
            medians.append(statistics.median(nmse(got[i:i + n], exact[i:i + n]) for i in range(0, len(got), n)))
            assert got.tobytes() == logits(folder, model, ids, "--weights", kind).tobytes(), (kind, experts)
        print("  %s: median NMSE of rows, dense %.3g, mixtral %.3g, ratio %.2f" % (kind, *medians, medians[1] / medians[0]))
        assert 0 < medians[1] <= 1.9 * medians[0], (kind, medians)


def quantised_weights_are_quantised_again_only_when_asked(folder):
    out = os.path.join(folder, "out.gguf")
    refused(quantize(tiny("mistral", "Q4_0"), out, "q8_0", want=2), 2, "mistral-Q4_0.gguf: tensor output.weight is Q6_K already, and Q8_0 made of it", "--requantize")
    assert not os.path.exists(out)
    quantize(tiny("mistral", "Q4_0"), out, "q8_0", "--requantize")
    quantize(tiny("mistral", "Q4_0"), out, "f16")
    quantize(tiny("mistral", "Q8_0"), out, "q8_0")
    assert {k: v[1] for k, v in tensors(out)[0].items()} == {k: v[1] for k, v in tensors(tiny("mistral", "Q8_0"))[0].items()}


def the_last_message_tells_both_sizes(folder):
    """Also where the result is the larger one."""
    for source, kind in (("Q4_0", "bf16"), ("f32", "q4_0")):
        out = os.path.join(folder, kind + ".gguf")
        said = quantize(tiny("mistral", source), out, kind, "--requantize").err.splitlines()[-1]
        to, made_of = (float(n) for n in re.search(r": ([0-9.]+) MiB made of ([0-9.]+) MiB, ", said).groups())
        for told, path in ((to, out), (made_of, tiny("mistral", source))):
            bytes_of_tensors = os.path.getsize(path) - tensors(path)[1]
            assert told > 0 and abs(told - bytes_of_tensors / 2**20) < 0.06, (said, path, bytes_of_tensors)


def what_cannot_be_done_is_refused_and_leaves_no_file(folder):
    model = os.path.join(folder, "m.gguf")
    quantize(tiny("mistral", "f16"), model, "f16")
    before = support.read(model)
    out = os.path.join(folder, "out.gguf")
    refused(quantize(model, out, "q5_k_n", want=2), 2, "unknown type q5_k_n; did you mean q5_k_m?")
    refused(run("quantize", model, out), 2, "no type given; add --type q4_k_m or another")
    refused(quantize(model, model, "q8_0", want=2), 2, "m.gguf is the model itself; give another name for the output")
    os.symlink(model, os.path.join(folder, "link.gguf"))
    refused(quantize(model, os.path.join(folder, "link.gguf"), "q8_0", want=2), 2, "is the model itself")
    refused(quantize(os.path.join(folder, "none.gguf"), out, "q8_0", want=1), 1, "none.gguf", "No such file")
    refused(quantize(model, os.path.join(folder, "no", "out.gguf"), "q8_0", want=1), 1, "out.gguf", "No such file")
    refused(quantize(write(os.path.join(folder, "text"), "hello"), out, "q8_0", want=1), 1, "text", "GGUF")
    refused(quantize(model, out, "q8_0", "--imatrix", model, want=1), 1, "m.gguf: general.type", "expected \"imatrix\"")
    assert support.read(model) == before
    assert sorted(os.listdir(folder)) == ["link.gguf", "m.gguf", "text"]


def no_space_leaves_no_file(folder):
    out = os.path.join(folder, "out.gguf")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))  # noqa: E731
    refused(run("quantize", tiny("mistral", "f32"), out, "--type", "q8_0", "--quiet", preexec_fn=limit), 1, "out.gguf", "File too large")
    assert os.listdir(folder) == []
    write(out, "what was there")
    run("quantize", tiny("mistral", "f32"), out, "--type", "q8_0", preexec_fn=limit, want=1)
    assert support.read(out) == b"what was there"


def a_value_that_is_not_finite_is_named(folder):
    model = os.path.join(folder, "m.gguf")
    data = bytearray(support.read(tiny("mistral", "f32")))
    found, start, _ = tensors(tiny("mistral", "f32"))
    shape, _, offset = found["blk.1.attn_k.weight"]
    struct.pack_into("<f", data, start + offset + 4 * (3 * shape[0] + 7), float("nan"))
    write(model, bytes(data))
    refused(run("quantize", model, os.path.join(folder, "o.gguf"), "--type", "q4_k", "--quiet"), 1,
            "m.gguf: tensor blk.1.attn_k.weight: row 3, column 7 is not a finite number")
    assert os.listdir(folder) == ["m.gguf"]


def importance(path, entries):
    """A file as llama-imatrix writes it: name -> (sums, count)."""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()
    keys = [text("general.type") + struct.pack("<I", 8) + text("imatrix"), text("imatrix.chunk_count") + struct.pack("<II", 4, 1)]
    infos, blob = b"", b""
    for name, (sums, counts) in entries.items():
        for suffix, values, shape in ((".in_sum2", sums, (len(sums) // len(counts), len(counts))), (".counts", counts, (1, len(counts)))):
            infos += text(name + suffix) + struct.pack("<IQQIQ", 2, *shape, 0, len(blob))
            blob += array.array("f", values).tobytes()
            blob += bytes(-len(blob) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, 2 * len(entries), len(keys)) + b"".join(keys) + infos
    return write(path, head + bytes(-len(head) % 32) + blob)


def importance_changes_the_tensors_it_names(folder):
    name, model = "blk.1.attn_q.weight", tiny("mistral", "f32")
    cols = tensors(model)[0][name][0][0]
    good = importance(os.path.join(folder, "i.gguf"), {name: ([float(i % 7) for i in range(cols)], [2.0])})
    plain, weighted = os.path.join(folder, "a.gguf"), os.path.join(folder, "b.gguf")
    quantize(model, plain, "q4_k")
    done = quantize(model, weighted, "q4_k", "--imatrix", good, "--quiet")
    assert "has 1 matrices, 1 of them were used" in done.err, done.err
    (a, a_start, _), (b, b_start, keys) = tensors(plain), tensors(weighted)
    x, y = support.read(plain), support.read(weighted)
    ends = sorted(v[2] for v in a.values()) + [len(x) - a_start]
    changed = [k for k, v in a.items() if x[a_start + v[2]:a_start + ends[ends.index(v[2]) + 1]] != y[b_start + b[k][2]:][:ends[ends.index(v[2]) + 1] - v[2]]]
    assert changed == [name], changed
    assert len(keys["quantize.imatrix.sha256"]) == 64
    for entries, part in (({name: ([1.0] * (cols - 32), [1.0])}, "importance of %s: shape [%d, 1], the matrix has [%d, 1] inputs" % (name, cols - 32, cols)),
                          ({name: ([-1.0] * cols, [1.0])}, "tensor %s.in_sum2: value -1 at 0, expected 0 or more" % name),
                          ({name: ([1.0] * cols, [float("nan")])}, "tensor %s.counts: count nan" % name)):
        bad = importance(os.path.join(folder, "bad.gguf"), entries)
        refused(quantize(model, plain, "q4_k", "--imatrix", bad, "--quiet", want=1), 1, part)
    old = write(os.path.join(folder, "old.dat"), struct.pack("<II", 1, len(name)) + name.encode() + struct.pack("<II8f", 1, 8, *[1.0] * 8))
    refused(quantize(model, plain, "q4_k", "--imatrix", old, "--quiet", want=1), 1,
            "old.dat is in llama.cpp's old form (.dat); llama-imatrix --in-file %s -o NEW.gguf converts it" % old)
    refused(quantize(model, plain, "q4_k", "--imatrix", write(old, "1234"), "--quiet", want=1), 1, "old.dat: not a GGUF file")


def calibration_measures_every_matrix_and_all_of_it_is_used(folder):
    """Each layer's matrices, experts apart; the same bytes whatever the threads and kernels."""
    prompts = write(os.path.join(folder, "p.jsonl"), [{"prompt": "<s>[INST] Rate answer %d. [/INST]" % i} for i in range(6)])
    for arch, n in (("mistral", 7), ("mixtral", 7), ("qwen2", 7)):
        a, b, out = (os.path.join(folder, name) for name in ("a.gguf", "b.gguf", "out.gguf"))
        run("quantize", tiny(arch, "f32"), a, "--calibrate", prompts, "--threads", "1", want=0)
        run("quantize", tiny(arch, "f32"), b, "--calibrate", prompts, "--threads", "3", "--kernels", "ref", want=0)
        assert support.read(a) == support.read(b), arch
        found = tensors(a)[0]
        layers = len({k.split(".")[1] for k in found})
        assert len(found) == 2 * n * layers, (arch, sorted(found))
        done = quantize(tiny(arch, "f32"), out, "q4_k_m", "--imatrix", a, "--quiet")
        assert "has %d matrices, %d of them were used" % (n * layers, n * layers) in done.err, done.err
        assert ("blk.0.ffn_down_exps.weight.in_sum2" in found) == (arch == "mixtral")


def calibration_refuses_what_it_cannot_use(folder):
    out, model = os.path.join(folder, "i.gguf"), tiny("mistral")
    empty, wrong = write(os.path.join(folder, "e.jsonl"), ""), write(os.path.join(folder, "w.jsonl"), [{"prompt": 3}])
    refused(run("quantize", model, out, "--calibrate", empty), 1, "e.jsonl: the file is empty")
    refused(run("quantize", model, out, "--calibrate", wrong), 1, "w.jsonl: row 0: prompt is a number, expected a string")
    refused(run("quantize", model, out, "--calibrate", wrong, "--type", "q8_0"), 2, "--calibrate only measures: leave out --type, --imatrix and --requantize")
    assert not os.path.exists(out)


def interrupting_leaves_no_file(folder):
    """The interrupt comes while the first line of progress waits for room in a full pipe: after the first tensor, before the last."""
    model, out = tiny("mistral", "f32"), os.path.join(folder, "out.gguf")
    done = support.interrupt_in_progress(["quantize", model, out, "--type", "q4_k", "--json"], lambda: any(".tmp-" in n for n in os.listdir(folder)))
    assert done.code == 130 and len(done.events("tensor")) == 1, (done.code, done.err)
    assert os.listdir(folder) == []
    write(out, "what was there")
    done = support.interrupt_in_progress(["quantize", model, out, "--type", "q4_k", "--json"], lambda: any(".tmp-" in n for n in os.listdir(folder)))
    assert done.code == 130 and support.read(out) == b"what was there" and os.listdir(folder) == ["out.gguf"], (done.code, done.err)


support.main([a_folder_becomes_the_converters_tensors, every_type_is_read_again_and_equal_inputs_give_equal_bytes,
              a_folder_quantised_while_loading_computes_what_the_file_does,
              a_llama_folder_with_biases_becomes_the_file_that_computes_the_same, the_oracles_bounds_hold_for_our_files,
              a_mixtral_of_k_quants_is_as_near_to_its_f32_twin_as_a_dense_model,
              quantised_weights_are_quantised_again_only_when_asked, the_last_message_tells_both_sizes,
              what_cannot_be_done_is_refused_and_leaves_no_file, no_space_leaves_no_file,
              a_value_that_is_not_finite_is_named, importance_changes_the_tensors_it_names, calibration_measures_every_matrix_and_all_of_it_is_used,
              calibration_refuses_what_it_cannot_use, interrupting_leaves_no_file])
