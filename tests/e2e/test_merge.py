"""gavel merge: against mergekit's results, DARE's masks, what it refuses, and that a merged model judges."""
import array
import hashlib
import json
import os
import resource
import shutil
import struct

import support
from st_files import put_tensors, read_tensors as tensors
from support import DATA, read, refused, run, write

MERGE = os.path.join(DATA, "merge")
MODELS = os.path.join(MERGE, "models")
MIXTRAL = os.path.join(DATA, "oracle", "models", "mixtral", "hf-bf16")
ALL = ("a", "b", "base")


def merge(recipe, out, *more, want=0, **options):
    return run("merge", recipe, out, "--quiet", *more, want=want, **options)


def named(name):
    return os.path.join(MERGE, "recipes", name + ".yaml")


def values(tensor):
    dtype, _, raw = tensor
    if dtype == "F16":
        return list(struct.unpack("<%de" % (len(raw) // 2), raw))
    if dtype == "BF16":
        raw = b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2))
    out = array.array("f")
    out.frombytes(raw)
    return list(out)


def order(tensor):
    """Elements of a 16-bit type as whole numbers, one apart where they are one ulp apart."""
    numbers = struct.unpack("<%dh" % (len(tensor[2]) // 2), tensor[2])
    return [v if v >= 0 else -(v & 0x7FFF) for v in numbers]


def digest(content):
    h = hashlib.sha256()
    for name in sorted(content):
        h.update(content[name][2])
    return h.hexdigest()


def recipe(path, text):
    """A recipe whose models lie in tests/data/merge."""
    return write(path, text)


def in_models(test):
    """Runs with a copy of the models as a, b and base in the test's folder."""

    def with_models(folder):
        for m in ALL:
            shutil.copytree(os.path.join(MODELS, m), m)
        test(folder)

    with_models.__name__ = test.__name__
    return with_models


def make_mixtrals():
    """mixtral, and rolled: the same with each tensor's elements moved on by one (make_merge.py does so too)."""
    for m in ("mixtral", "rolled"):
        shutil.copytree(MIXTRAL, m)
    weights = tensors("mixtral/model.safetensors")
    put_tensors("rolled/model.safetensors", {k: (kind, shape, raw[-2:] + raw[:-2]) for k, (kind, shape, raw) in weights.items()})


@in_models
def linear_is_mergekits_bit_for_bit(folder):
    make_mixtrals()
    for line in read(os.path.join(MERGE, "expected", "sha256.txt")).decode().splitlines():
        want, name = line.split("  ")
        merge(named(name), name)
        assert digest(tensors(name + "/model.safetensors")) == want, name


@in_models
def other_methods_are_mergekits_within_one_ulp(folder):
    """Elements one 16-bit ulp apart are counted; dare with mergekit's formulas under the masks of seed 7.  No element may be further away."""
    for file in sorted(os.listdir(os.path.join(MERGE, "expected"))):
        name, kind = os.path.splitext(file)
        if kind != ".safetensors":
            continue
        merge(named(name), name, "--seed", "7")
        ours, theirs = tensors(name + "/model.safetensors"), tensors(os.path.join(MERGE, "expected", file))
        assert {k: v[:2] for k, v in ours.items()} == {k: v[:2] for k, v in theirs.items()}, name
        far = {k: max(abs(x - y) for x, y in zip(order(ours[k]), order(theirs[k]))) for k in ours}
        apart = sum(x != y for k in ours for x, y in zip(order(ours[k]), order(theirs[k])))
        print("      %-16s %d of %d elements one ulp apart" % (name, apart, sum(len(v[2]) // 2 for v in ours.values())))
        assert max(far.values()) <= 1, (name, far)


@in_models
def equal_inputs_and_seeds_give_equal_bytes(folder):
    for name in ("dare_ties", "ties", "slerp"):
        for out, more in (("one", ("--threads", "1")), ("three", ("--threads", "3")), ("shards", ("--max-shard", "30000"))):
            merge(named(name), out, "--seed", "5", *more)
        assert read("one/model.safetensors") == read("three/model.safetensors"), name
        parts = {}
        for file in os.listdir("shards"):
            if file.endswith(".safetensors"):
                parts.update(tensors("shards/" + file))
        assert len([f for f in os.listdir("shards") if f.startswith("model-")]) > 1 and parts == tensors("one/model.safetensors"), name
        for out in ("one", "three", "shards"):
            shutil.rmtree(out)
    merge(named("dare_ties"), "five", "--seed", "5")
    merge(named("dare_ties"), "six", "--seed", "6")
    assert read("five/model.safetensors") != read("six/model.safetensors")


@in_models
def dare_drops_the_share_it_should_and_keeps_the_sum(folder):
    """One model, f32: each delta is 0 or the model's times one scale.  Of n elements density * n stay, within 5 standard deviations; the scale is the
    ratio of sums of magnitudes, near 1 / density."""
    p = 0.3
    write("r.yaml", "merge_method: dare_linear\nbase_model: base\ndtype: float32\nmodels:\n- model: a\n  parameters: {weight: 1, density: %g}\n" % p)
    merge("r.yaml", "out", "--seed", "11")
    ours, base, a = (tensors(m + "/model.safetensors") for m in ("out", "base", "a"))
    masks = {}
    for name in ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight"):
        delta = [x - y for x, y in zip(values(a[name]), values(base[name]))]
        got = [x - y for x, y in zip(values(ours[name]), values(base[name]))]
        n = sum(d != 0 for d in delta)
        kept = [i for i, g in enumerate(got) if g != 0]
        masks[name] = kept
        assert abs(len(kept) - p * n) < 5 * (n * p * (1 - p)) ** 0.5, (name, len(kept), n)
        scale = sum(map(abs, delta)) / sum(abs(delta[i]) for i in kept)
        # 1 / (scale p) = sum of kept magnitudes / (p sum of all): mean 1, variance (1 - p) / p * sum of squares / (sum of magnitudes)^2
        deviation = ((1 - p) / p * sum(d * d for d in delta)) ** 0.5 / sum(map(abs, delta))
        assert abs(1 / (scale * p) - 1) < 5 * deviation, (name, scale, deviation)
        assert all(abs(got[i] - scale * delta[i]) < 1e-5 * (1 + abs(got[i])) for i in kept), name
    assert masks["model.layers.0.mlp.up_proj.weight"] != masks["model.layers.2.mlp.up_proj.weight"]


@in_models
def a_merged_model_is_whole_and_computes(folder):
    done = run("merge", named("ties"), "out", "--json", want=0)
    assert len(done.events("tensor")) == len(tensors("out/model.safetensors")) and done.events("done")
    assert sorted(os.listdir("out")) == ["README.md", "chat_template.jinja", "config.json", "mergekit_config.yml", "model.safetensors", "tokenizer.model",
                                         "tokenizer_config.json"]
    config = json.loads(read("out/config.json"))
    assert config == dict(json.loads(read("base/config.json")), torch_dtype="bfloat16")
    assert read("out/mergekit_config.yml") == read(named("ties")) and read("out/tokenizer.model") == read("base/tokenizer.model")
    card = read("out/README.md").decode()
    for m in ALL:
        assert '- "%s"\n' % m in card
        for file in sorted(os.listdir(m)):
            assert "    %s  %s/%s\n" % (hashlib.sha256(read(os.path.join(m, file))).hexdigest(), m, file) in card, file
    assert "    merge_method: ties\n" in card and "seed 0" in card
    run("inspect", "out", want=0)
    run("logits", "-", "--model", "out", "--out", "l.bin", stdin=[{"ids": [1, 5, 9]}], want=0)
    logits = array.array("f")
    logits.frombytes(read("l.bin"))
    assert len(logits) == 3 * 611 and all(abs(v) < 1e4 for v in logits) and len(set(logits)) > 1000
    rows = write("rows.jsonl", support.rows(2))
    support.judge(rows, "judged.jsonl", "--max-tokens", "4", "--quiet", model="out", want=0)
    assert len(support.table("judged.jsonl")) == 2


@in_models
def recipes_that_say_nothing_clear_are_refused(folder):
    def slices(*each):
        text = "merge_method: linear\nparameters: {weight: 1}\nslices:\n"
        for one in each:
            sources = ["{model: %s, layer_range: [%s, %s]}" % tuple(source.split()) for source in one.split(", ")]
            text += "- sources: [%s]\n" % ", ".join(sources)
        return text

    two = "models:\n- model: a\n  parameters: {weight: 1}\n- model: b\n  parameters: {weight: 1}\n"
    cases = [
        ("merge_method: tie\n" + two, "unknown merge_method tie; did you mean ties?"),
        ("merge_method: karcher\n" + two, "unknown merge_method karcher; there are linear, slerp,"),
        (two, "merge_method is missing"),
        ("merge_method: linear\n", "models is missing"),
        ("merge_method: linear\nmodels: []\n", "models is an empty array, expected a list"),
        ("- 1\n", "the recipe is a array, expected a mapping"),
        ("merge_method: linear\nmodel:\n- model: a\n", "unknown key model; did you mean models?"),
        ("merge_method: linear\nslices: []\n", "slices is an empty array, expected a list"),
        ("merge_method: linear\nslices: [{sources: []}]\n", "slices[0]: sources is an empty array, expected a list"),
        ("merge_method: linear\nslices: [{sources: [{model: a, layer_range: [0, 3]}]}]\n" + two, "models and slices exclude each other"),
        (slices("a 0 3, a 0 3"), "slices[0]: sources[1]: a stands in sources already"),
        (slices("a 0 3, b 0 2"), "slices[0]: sources[1]: layer_range [0, 2], sources[0] has [0, 3]: layers are merged at their own places"),
        (slices("a 1 3, b 1 3"), "slices[0]: sources[0]: layer_range begins at 1, expected 0: slices must take all layers in order"),
        (slices("a 0 2, b 0 2", "a 1 3, b 1 3"), "slices[1]: sources[0]: layer_range begins at 1, expected 2"),
        (slices("a 0 2, b 0 2", "b 2 3, a 2 3"), "slices[1]: sources[0]: model b, where slices[0] has a: every slice must have the same models"),
        (slices("a 0 2, b 0 2", "a 2 3"), "slices[1]: 1 sources, slices[0] has 2"),
        (slices("a 0 2, b 0 2"), "slices[0]: layer_range ends at 2, a has 3 layers: slices must take all layers in order"),
        (slices("a 3 3, b 0 3"), "slices[0]: sources[0]: layer_range is not [FIRST, END] with 0 <= FIRST < END"),
        (slices("a x 3, b 0 3"), "layer_range is not [FIRST, END]"),
        (slices("a 0 3, b 0 3") + "base_model: base\n", "base_model base is none of the slices' sources"),
        (slices("a 0 3, b 0 3").replace("sources", "source"), "slices[0]: unknown key source; did you mean sources?"),
        ("merge_method: linear\nmodels:\n- model: a\n  parameters: {wieght: 1}\n", "models[0]: parameters: unknown key wieght; did you mean weight?"),
        ("merge_method: linear\nmodels:\n- model: a\n  parameters: {density: 1}\n", "density means nothing to merge_method linear"),
        ("merge_method: linear\nmodels:\n- model: a\n  parameters: {normalize: true}\n", "normalize is of all models"),
        ("merge_method: linear\nmodels:\n- model: a\n", "model a has no weight, and parameters has none for all"),
        ("merge_method: linear\nmodels:\n- model: a\n- model: a\n", "models[1]: a stands in models already"),
        ("merge_method: linear\n" + two + "dtype: int8\n", "dtype is int8, expected float32, bfloat16 or float16"),
        ("merge_method: linear\n" + two + "tokenizer_source: base2\n", "tokenizer_source base2 is none of the recipe's models"),
        ("merge_method: linear\n" + two + "tokenizer_source: a\ntokenizer: {source: b}\n", "tokenizer and tokenizer_source exclude each other"),
        ("merge_method: linear\n" + two + "tokenizer: {tokens: {x: {source: a}}}\n", "tokenizer: tokens is not supported: gavel merges equal vocabularies"),
        ("merge_method: linear\n" + two + "tokenizer: {pad_to_multiple_of: 64}\n", "tokenizer: pad_to_multiple_of is not supported"),
        ("merge_method: linear\n" + two + "chat_template: chatmi\n", "chat_template chatmi is no template; give its text, auto, or one of:"),
        ("merge_method: linear\n" + two + "parameters: {normalize: 2}\n", "normalize is 2, expected true or false"),
        ("merge_method: linear\n" + two + "parameters: {normalize: 0.5}\n", "normalize is 0.5, expected true or false"),
        ("merge_method: linear\nmodels:\n- model: {model: {path: a}, lora: b}\n", "models[0]: model: lora is not supported"),
        ("merge_method: linear\nmodels:\n- model: {model: {pth: a}}\n", "models[0]: model: unknown key pth; did you mean path?"),
        ("merge_method: linear\n" + two + "parameters: {weight: heavy}\n", "weight is a string, expected a number"),
        ("merge_method: linear\n" + two.replace("weight: 1", "weight: []"), "weight is an empty list"),
        ("merge_method: linear\n" + two.replace("weight: 1", "weight: [{filter: q, vale: 1}]"), "weight: unknown key vale; did you mean value?"),
        ("merge_method: ties\n" + two, "merge_method ties needs a base_model"),
        ("merge_method: ties\nbase_model: base\n" + two + "parameters: {density: 1.5}\n", "density is 1.5, expected 0 to 1"),
        ("merge_method: slerp\nbase_model: a\n" + two.replace("{weight: 1}", "{}"), "merge_method slerp needs the parameter t"),
        ("merge_method: slerp\nbase_model: base\nparameters: {t: 0.5}\n" + two.replace("{weight: 1}", "{}"), "slerp takes two models, the base one of them; the recipe has 3"),
        ("merge_method: linear\nmerge_method: ties\n", "duplicate key"),
    ]
    for text, message in cases:
        write("r.yaml", text)
        done = merge("r.yaml", "out", want=None)
        assert done.code in (1, 2), (text, done.code)
        refused(done, done.code, "r.yaml: ", message)
        assert not os.path.exists("out") and not os.path.exists("out.partial")
    write("r.yaml", "merge_method: linear\nmodels:\n- model: a\n  parameters: {weight: [{filter: mlp, value: 1}]}\n")
    refused(merge("r.yaml", "out", want=2), 2, "r.yaml: tensor model.embed_tokens.weight: no filter of a's weight takes it")
    write("r.yaml", "merge_method: slerp\nbase_model: a\nparameters: {t: [{filter: mlp, value: 1}]}\n" + two.replace("{weight: 1}", "{}"))
    refused(merge("r.yaml", "out", want=2), 2, "r.yaml: tensor model.embed_tokens.weight: no filter of t takes it")
    write("r.yaml", "merge_method: linear\n" + two.replace("1}", "0}"))
    refused(merge("r.yaml", "out", want=2), 2, "r.yaml: tensor model.embed_tokens.weight: the weights have the sum 0")
    assert sorted(os.listdir(".")) == ["a", "b", "base", "r.yaml"]


@in_models
def models_that_do_not_fit_together_are_refused(folder):
    def fails(code, message):
        refused(merge(named("linear_f32"), "out", want=code), code, message)
        shutil.rmtree("b")
        shutil.copytree(os.path.join(MODELS, "b"), "b")
        assert sorted(os.listdir(".")) == list(ALL)

    weights = tensors("b/model.safetensors")
    tokens = read("b/tokenizer.model")
    at = tokens.index(b"\xe2\x96\x81the") + 3
    write("b/tokenizer.model", tokens[:at] + b"zqx" + tokens[at + 3:])
    fails(1, "vocabularies differ: token ")
    name = "model.layers.1.mlp.up_proj.weight"
    without = dict(weights)
    del without[name]
    put_tensors("b/model.safetensors", without)
    fails(1, "b: tensor model.layers.1.mlp.up_proj.weight is missing")
    config = json.loads(read("b/config.json"))
    write("b/config.json", json.dumps(dict(config, intermediate_size=32)))
    cut = dict(weights)
    for i in range(3):
        for part, shape in (("gate_proj", [32, 32]), ("up_proj", [32, 32]), ("down_proj", [32, 32])):
            key = "model.layers.%d.mlp.%s.weight" % (i, part)
            cut[key] = ("BF16", shape, weights[key][2][:2 * 32 * 32])
    put_tensors("b/model.safetensors", cut)
    fails(1, "tensor model.layers.0.mlp.down_proj.weight: shape [32, 48] in a, [32, 32] in b")
    write("b/config.json", json.dumps(dict(config, tie_word_embeddings=False)))
    put_tensors("b/model.safetensors", dict(weights, **{"lm_head.weight": weights["model.embed_tokens.weight"]}))
    fails(1, "tie_word_embeddings is true in a, false in b")
    write("b/config.json", json.dumps(dict(config, num_attention_heads=4, num_key_value_heads=2)))
    fails(1, "2 heads with 1 of keys in a, 4 with 2 in b")
    raw = bytearray(weights["model.norm.weight"][2])
    raw[6:8] = b"\xc0\x7f"
    put_tensors("b/model.safetensors", dict(weights, **{"model.norm.weight": ("BF16", [32], bytes(raw))}))
    fails(1, "tensor model.norm.weight: element 3 is no finite number")
    shutil.rmtree("b")
    write("b", b"GGUF")
    refused(merge(named("linear_f32"), "out", want=2), 2, "model b is a file; merging takes Hugging Face folders")


@in_models
def the_output_appears_whole_or_not_at_all(folder):
    os.mkdir("there")
    refused(merge(named("ties"), "there", want=2), 2, "there exists already; give another name for the output")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))  # noqa: E731
    done = merge(named("ties"), "out", want=1, preexec_fn=limit)
    assert "File too large" in done.err, done.err
    assert not os.path.exists("out") and not os.path.exists("out.partial")
    os.mkdir("out.partial")
    write("out.partial/model.safetensors.tmp-1", b"left by a killed merge")
    merge(named("ties"), "out/")
    assert "model.safetensors" in os.listdir("out") and not [f for f in os.listdir("out") if "tmp" in f] and not os.path.exists("out.partial")


@in_models
def forms_that_mean_the_same_give_the_same_weights(folder):
    """mergekit's other ways to name models, tokenizers and flags, beside one plain recipe."""
    plain = "merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 0.25}}\n- {model: b, parameters: {weight: 0.5}}\n"
    sliced = ("merge_method: linear\nparameters: {weight: 0.25}\nslices:\n"
              "- sources: [{model: a, layer_range: [0, 3]}, {model: b, layer_range: [0, 3], parameters: {weight: 0.5}}]\n")
    write("plain.yaml", plain)
    merge("plain.yaml", "plain")
    want = read("plain/model.safetensors")
    for i, text in enumerate((
            plain.replace("model: a", "model: {model: {path: a}}"), plain.replace("model: a", "model: {model: a, lora: null}"), sliced,
            sliced.replace("0.5}}]", "0.5}}]\n  base_model: a"), sliced + "base_model: {model: {path: b}}\n",
            plain + "parameters: {normalize: 1.0, int8_mask: 1}\n", plain + "parameters: {int8_mask: true}\n", plain + "tokenizer_source: union\n",
            plain + "tokenizer_source: base\n", plain + "tokenizer_source: b\n", plain + "tokenizer: {source: {model: {path: b}}, tokens: {}}\n",
            plain + "tokenizer: {source: union}\n", plain + "chat_template: auto\n", plain + "chat_template: chatml\n")):
        write("r.yaml", text)
        merge("r.yaml", "out%d" % i)
        assert read("out%d/model.safetensors" % i) == want, text
        for name in ("config.json", "tokenizer.model"):
            assert read("out%d/%s" % (i, name)) == read("plain/" + name), text
    write("r.yaml", plain + "parameters: {normalize: 0.0}\n")
    merge("r.yaml", "sum")
    assert read("sum/model.safetensors") != want


@in_models
def tokenizer_and_chat_template_are_the_ones_named(folder):
    plain = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: base}, {model: a}, {model: b}]\n"
    own = read("a/chat_template.jinja").decode()
    config = json.loads(read("b/tokenizer_config.json"))
    write("b/tokenizer_config.json", json.dumps(dict(config, note="of b")))
    write("base/generation_config.json", '{"of": "base"}')
    os.remove("base/chat_template.jinja")
    text = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}\n{% endfor %}"

    def merged(more):
        shutil.rmtree("out", ignore_errors=True)
        write("r.yaml", plain + more)
        merge("r.yaml", "out")
        assert read("out/generation_config.json") == b'{"of": "base"}'
        found = json.loads(read("out/tokenizer_config.json"))
        template = read("out/chat_template.jinja").decode() if os.path.exists("out/chat_template.jinja") else None
        if "chat_template" in more:
            assert found.pop("chat_template") == template
            rendered = run("render", "-", "--model", "out", stdin=[{"messages": [{"role": "user", "content": "2 + 2?"}], "add_generation_prompt": True}])
            assert rendered.code in (0, 2), rendered.err
        return found, template

    assert merged("") == (config, None)
    assert merged("tokenizer_source: b\n") == (dict(config, note="of b"), own)
    assert merged("tokenizer_source: b\nchat_template: %s\n" % json.dumps(text)) == (dict(config, note="of b"), text)
    assert merged("chat_template: auto\n") == (config, own)
    write("a/chat_template.jinja", text)
    write("base/chat_template.jinja", text)
    assert merged("chat_template: auto\n") == (config, text)
    assert "<|im_start|>" in merged("chat_template: chatml\n")[1]


@in_models
def tensors_that_loading_ignores_do_not_keep_models_apart(folder):
    merge(named("linear_f32"), "plain")
    for m in ("a", "b", "base"):
        weights = tensors(m + "/model.safetensors")
        for layer in range(3) if m == "b" else (1,):
            weights["model.layers.%d.self_attn.rotary_emb.inv_freq" % layer] = ("F32", [8], struct.pack("<8f", *[0.1 * layer] * 8))
        if m != "b":
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        put_tensors(m + "/model.safetensors", weights)
        merge(named("linear_f32"), "out")
        assert tensors("out/model.safetensors") == tensors("plain/model.safetensors"), m
        shutil.rmtree("out")
    weights["lm_head.weight"] = ("BF16", [8, 32], bytes(512))  # not even its shape is looked at
    put_tensors("base/model.safetensors", weights)
    merge(named("ties"), "out")
    run("inspect", "out", want=0)


@in_models
def each_field_of_config_that_changes_what_weights_compute_is_compared(folder):
    config = json.loads(read("b/config.json"))
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    cases = [({"rms_norm_eps": 1e-6}, ["rms_norm_eps is 1e-05 in a, which the result gets, and 1e-06 in b: such weights may not fit together"]),
             ({"rope_theta": 5e5}, ["rope_theta is 10000 in a, which the result gets, and 500000 in b"]),
             ({"rope_scaling": llama3}, ["rope_type is default in a, which the result gets, and llama3 in b"]), ({"max_position_embeddings": 99}, [])]
    for more, messages in cases:
        write("b/config.json", json.dumps(dict(config, **more)))
        done = merge(named("linear_f32"), "out")
        assert done.err.count("warning: ") == len(messages), (more, done.err)
        assert all(m in done.err for m in messages), (more, done.err)
        shutil.rmtree("out")
    write("a/config.json", json.dumps(dict(config, rope_scaling=dict(llama3, factor=4.0, original_max_position_embeddings=128))))
    write("b/config.json", json.dumps(dict(config, rope_scaling=llama3)))
    done = merge(named("linear_f32"), "out")
    assert done.err.count("warning: ") == 2, done.err
    assert "rope_scaling: factor is 4 in a, which the result gets, and 8 in b" in done.err, done.err
    assert "rope_scaling: original_max_position_embeddings is 128 in a, which the result gets, and 64 in b" in done.err, done.err


def a_mixtral_is_merged_and_computes(folder):
    """Its experts and routers too; linear is compared with mergekit above."""
    make_mixtrals()
    base = tensors("mixtral/model.safetensors")
    write("r.yaml", "merge_method: dare_ties\nbase_model: mixtral\nmodels:\n- {model: rolled, parameters: {weight: 1, density: 0.5}}\ndtype: float32\n")
    merge("r.yaml", "out", "--seed", "3")
    ours = tensors("out/model.safetensors")
    assert {k: v[1] for k, v in ours.items()} == {k: v[1] for k, v in base.items()}
    for name in ("model.layers.1.block_sparse_moe.experts.7.w2.weight", "model.layers.0.block_sparse_moe.experts.0.w1.weight",
                 "model.layers.1.block_sparse_moe.gate.weight"):
        a = values(base[name])
        moved = sum(x != y for x, y in zip(values(ours[name]), a))
        n = sum(x != y for x, y in zip(a, a[-1:] + a[:-1]))
        assert abs(moved - n / 2) < 5 * (n / 4) ** 0.5, (name, moved, n)
    for out in ("mixtral", "out"):
        run("logits", "-", "--model", out, "--out", out + ".bin", stdin=[{"ids": [1, 5, 9, 17, 33]}], want=0)
    assert len(read("out.bin")) == len(read("mixtral.bin")) and read("out.bin") != read("mixtral.bin")
    write("r.yaml", "merge_method: linear\nmodels: [{model: mixtral}, {model: rolled}]\nparameters: {weight: [{filter: experts.9., value: 1}]}\n")
    refused(merge("r.yaml", "other", want=2), 2, "no filter of mixtral's weight takes it")
    config = json.loads(read("rolled/config.json"))
    write("rolled/config.json", json.dumps(dict(config, num_experts_per_tok=1)))
    write("r.yaml", "merge_method: linear\nmodels: [{model: mixtral}, {model: rolled}]\nparameters: {weight: 1}\n")
    assert "num_experts_per_tok is 2 in mixtral, which the result gets, and 1 in rolled" in merge("r.yaml", "other").err


@in_models
def interrupting_leaves_nothing(folder):
    """The interrupt comes while the first line of progress waits for room in a full pipe."""
    before = sorted(os.listdir("."))
    done = support.interrupt_in_progress(["merge", named("ties"), "out", "--json"], lambda: os.path.exists("out.partial/model.safetensors") or
                                         any("tmp" in f for f in os.listdir("out.partial")) if os.path.exists("out.partial") else False)
    assert done.code == 130 and len(done.events("tensor")) == 1, (done.code, done.err)
    assert sorted(os.listdir(".")) == before
    merge(named("ties"), "out")


def the_shipped_recipes_are_recipes(folder):
    examples = os.path.join(support.ROOT, "examples")
    for name in ("merge-prometheus-2-7b.yaml", "merge-prometheus-2-8x7b.yaml"):
        text = read(os.path.join(examples, name)).decode()
        for line in text.splitlines():
            for key in ("model: ", "base_model: "):
                if line.lstrip("- ").startswith(key):
                    model = line.split(": ")[1].split()[0]
                    if not os.path.exists(model):
                        shutil.copytree(os.path.join(MODELS, ALL[len(os.listdir(".")) % 3]), model)
        merge(os.path.join(examples, name), name + ".out")
        run("inspect", name + ".out", want=0)


if __name__ == "__main__":
    support.main([linear_is_mergekits_bit_for_bit, other_methods_are_mergekits_within_one_ulp, equal_inputs_and_seeds_give_equal_bytes,
                  dare_drops_the_share_it_should_and_keeps_the_sum, a_merged_model_is_whole_and_computes, recipes_that_say_nothing_clear_are_refused,
                  models_that_do_not_fit_together_are_refused, the_output_appears_whole_or_not_at_all,
                  forms_that_mean_the_same_give_the_same_weights, tokenizer_and_chat_template_are_the_ones_named,
                  tensors_that_loading_ignores_do_not_keep_models_apart, each_field_of_config_that_changes_what_weights_compute_is_compared,
                  a_mixtral_is_merged_and_computes, interrupting_leaves_nothing, the_shipped_recipes_are_recipes])
