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


@in_models
def linear_is_mergekits_bit_for_bit(folder):
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
        assert abs(scale * p - 1) < 0.15, (name, scale)
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
    two = "models:\n- model: a\n  parameters: {weight: 1}\n- model: b\n  parameters: {weight: 1}\n"
    cases = [
        ("merge_method: tie\n" + two, "unknown merge_method tie; did you mean ties?"),
        ("merge_method: karcher\n" + two, "unknown merge_method karcher; there are linear, slerp,"),
        (two, "merge_method is missing"),
        ("merge_method: linear\n", "models is missing"),
        ("merge_method: linear\nmodels: []\n", "models is an empty array, expected a list of models"),
        ("- 1\n", "the recipe is a array, expected a mapping"),
        ("merge_method: linear\nmodel:\n- model: a\n", "unknown key model; did you mean models?"),
        ("merge_method: linear\nslices: []\n", "slices are not supported"),
        ("merge_method: linear\nmodels:\n- model: a\n  parameters: {wieght: 1}\n", "models[0]: parameters: unknown key wieght; did you mean weight?"),
        ("merge_method: linear\nmodels:\n- model: a\n  parameters: {density: 1}\n", "density means nothing to merge_method linear"),
        ("merge_method: linear\nmodels:\n- model: a\n  parameters: {normalize: true}\n", "normalize is of all models"),
        ("merge_method: linear\nmodels:\n- model: a\n", "model a has no weight, and parameters has none for all"),
        ("merge_method: linear\nmodels:\n- model: a\n- model: a\n", "models[1]: a stands in models already"),
        ("merge_method: linear\n" + two + "dtype: int8\n", "dtype is int8, expected float32, bfloat16 or float16"),
        ("merge_method: linear\n" + two + "tokenizer_source: union\n", "tokenizer_source must be base or absent"),
        ("merge_method: linear\n" + two + "parameters: {normalize: 2}\n", "normalize is a number, expected true or false"),
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
    refused(merge("r.yaml", "out", want=2), 2, "tensor model.embed_tokens.weight: no filter of a's weight takes it")
    write("r.yaml", "merge_method: linear\n" + two.replace("1}", "0}"))
    refused(merge("r.yaml", "out", want=2), 2, "the weights have the sum 0")
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
    fails(1, "tensor lm_head.weight is in b, but not in a")
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
                  models_that_do_not_fit_together_are_refused, the_output_appears_whole_or_not_at_all, the_shipped_recipes_are_recipes])
