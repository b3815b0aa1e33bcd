"""Models from Hugging Face folders: what a folder gives is what the GGUF made from it gives, whole, in shards, and quantised while loading."""
import hashlib
import json
import os
import shutil
import struct
import time

import support
from support import refused, DATA, RUBRIC, Skip, judge, read, rows, run, table, write

MODELS = os.path.join(DATA, "oracle", "models")
IDS = [1, 5, 9, 200, 33, 17, 4, 100, 11, 12, 45]


def hf(name, kind="f32"):
    return os.path.join(MODELS, name, "hf-" + kind)


def gguf(name, kind="f32"):
    return os.path.join(MODELS, name, "%s-%s.gguf" % (name, kind))


def logits(model, *args):
    run("logits", "-", "--model", model, "--out", "l.bin", *args, stdin=[{"ids": IDS}], want=0)
    return read("l.bin")


def split(source, target, n):
    """The folder again, its safetensors in n shards with an index."""
    shutil.copytree(source, target)
    with open(os.path.join(source, "model.safetensors"), "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    header.pop("__metadata__", None)
    os.remove(os.path.join(target, "model.safetensors"))
    names, where = sorted(header), {}
    for i in range(n):
        part, body = {}, b""
        for name in names[i::n]:
            begin, end = header[name]["data_offsets"]
            part[name] = dict(header[name], data_offsets=[len(body), len(body) + end - begin])
            body += data[begin:end]
            where[name] = "model-%05d-of-%05d.safetensors" % (i + 1, n)
        text = json.dumps(part).encode()
        with open(os.path.join(target, "model-%05d-of-%05d.safetensors" % (i + 1, n)), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + body)
    write(os.path.join(target, "model.safetensors.index.json"), json.dumps({"metadata": {}, "weight_map": where}))
    return target


def a_folder_gives_the_logits_of_its_gguf(_):
    for name in ("llama", "llama3", "mistral", "mixtral", "qwen2"):
        want = logits(gguf(name))
        assert logits(hf(name)) == want, name
        assert logits(split(hf(name), name, 3)) == want, name
        for weights in ("q8_0", "q4_k_m"):
            quantised = logits(gguf(name), "--weights", weights)
            assert quantised != want and logits(name, "--weights", weights) == quantised, (name, weights)


def a_folder_gives_the_verdicts_of_its_gguf(_):
    write("in.jsonl", rows(6))
    args = ["--max-tokens", "40", "--keep", "feedback,result,status"]
    for extra in ([], ["--weights", "q5_k"]):
        judge("in.jsonl", "gguf.jsonl", *args, *extra, "--fresh", model=gguf("llama"), want=0)
        judge("in.jsonl", "folder.jsonl", *args, *extra, "--fresh", model=hf("llama"), want=0)
        assert read("folder.jsonl") == read("gguf.jsonl"), extra


def what_gavel_quantize_writes_has_the_same_bytes(_):
    if run("quantize", "--help").code != 0:
        raise Skip("this build has no gavel quantize")
    for name in ("mistral", "mixtral", "qwen2"):
        for weights in ("q8_0", "q6_k", "q5_k", "q4_k", "q4_k_m"):
            out = "%s-%s.gguf" % (name, weights)
            run("quantize", hf(name, "bf16"), out, "--type", weights, want=0)
            assert logits(out) == logits(hf(name, "bf16"), "--weights", weights), out


def a_run_records_what_its_weights_were_quantised_to(_):
    write("in.jsonl", rows(4))
    folder = split(hf("mistral", "bf16"), "sharded", 2)
    args = ["--max-tokens", "30", "--weights-cache", "cache", "--weights"]
    first = judge("in.jsonl", "out.jsonl", *args, "q4_k_m", model=folder, want=0)
    assert "quantised in" in first.err, first.err
    shown = run("inspect", "out.jsonl.run", want=0).out
    assert "w=Q4_K+Q6_K(q4_k_m)" in shown, shown
    lines = ""
    for name in ["config.json"] + sorted(n for n in os.listdir(folder) if n.endswith(".safetensors")):
        with open(os.path.join(folder, name), "rb") as f:
            lines += "%s  %s\n" % (hashlib.sha256(f.read()).hexdigest(), name)
    assert hashlib.sha256(lines.encode()).hexdigest() in shown, shown
    assert "all equal" in run("verify", "out.jsonl.run", "--rows", "4", want=0).out
    other = judge("in.jsonl", "out.jsonl", *args, "q8_0", model=folder, want=1)
    assert "numerics" in other.err, other.err
    again = judge("in.jsonl", "again.jsonl", *args, "q4_k_m", model=folder, want=0)
    assert "from the cache" in again.err and read("again.jsonl") == read("out.jsonl"), again.err
    assert len(os.listdir("cache")) == 2, os.listdir("cache")  # q4_k_m and q8_0


def wrong_folders_and_types_are_refused(_):
    os.mkdir("empty")
    shutil.copytree(hf("llama"), "broken")
    refusals = [(["empty"], "empty: no config.json in it, so it is no model folder"),
                ([hf("llama"), "--weights", "q4k"], "--weights: unknown type q4k; did you mean q4_k?"),
                ([gguf("llama", "Q8_0"), "--weights", "q4_k"], "only F32, F16 and BF16 weights can be quantised to q4_k")]
    for args, message in refusals:
        done = run("logits", "-", "--out", "l.bin", "--model", *args, stdin=[{"ids": IDS}])
        assert done.code in (1, 2) and message in done.err, done.err
    config = json.load(open("broken/config.json"))
    for name in ("broken/config.json", "broken/model.safetensors"):
        refused(run("inspect", name), 2, "%s: a part of a model folder; name the folder" % name)
    write("empty/judge.Q8_0.gguf", "")
    refused(run("inspect", "empty"), 1, "so it is no model folder; it holds GGUF files: name one of them")
    write("broken/config.json", json.dumps(dict(config, model_type="phi3")))
    done = run("inspect", "broken")
    assert done.code == 1 and "broken: config.json: model_type \"phi3\" is not supported" in done.err, done.err
    os.remove("broken/model.safetensors")
    write("broken/config.json", json.dumps(config))
    done = run("inspect", "broken")
    assert done.code == 1 and "broken: neither model.safetensors nor model.safetensors.index.json is in it\n" in done.err, done.err
    for name, hint in (("pytorch_model-00001-of-00002.bin", "its weights are in PyTorch's own format: only safetensors are read"),
                       ("adapter_model.safetensors", "it holds an adapter, which has to be merged into its base model first")):
        write("broken/" + name, "x")
        refused(run("inspect", "broken"), 1, "is in it; " + hint)
        os.remove("broken/" + name)


def a_padding_token_without_a_row_does_no_harm(_):
    write("in.jsonl", rows(3))
    args = ["--max-tokens", "20", "--keep", "feedback,result,status"]
    shutil.copytree(hf("llama"), "padded")
    n = json.load(open("padded/config.json"))["vocab_size"]
    config = json.load(open("padded/tokenizer_config.json"))
    config["added_tokens_decoder"][str(n)] = {"content": "<pad>", "special": True}
    write("padded/tokenizer_config.json", json.dumps(config))
    judge("in.jsonl", "plain.jsonl", *args, model=hf("llama"), want=0)
    done = judge("in.jsonl", "padded.jsonl", *args, model="padded", want=0)
    assert read("padded.jsonl") == read("plain.jsonl")
    assert "the model has no row for the last 1 tokens of its tokenizer, from \"<pad>\" on" in done.err, done.err
    run("quantize", "padded", "p.gguf", "--type", "f32", want=0)
    run("quantize", hf("llama"), "q.gguf", "--type", "f32", want=0)
    assert run("tokenize", "-", "--model", "p.gguf", stdin=[{"text": "<pad> a"}], want=0).out == \
        run("tokenize", "-", "--model", "q.gguf", stdin=[{"text": "<pad> a"}], want=0).out
    refused = run("logits", "-", "--out", "l.bin", "--model", "padded", stdin=[{"ids": [1, n]}])
    assert refused.code == 1 and "is outside the vocabulary of %d" % n in refused.err, refused.err
    config["added_tokens_decoder"][str(n + 1)] = {"content": "<word>", "special": False}
    write("padded/tokenizer_config.json", json.dumps(config))
    done = run("logits", "-", "--out", "l.bin", "--model", "padded", stdin=[{"ids": IDS}])
    assert done.code == 1 and "the model's output %d rows: \"<pad>\" has none" % n in done.err, done.err


def inspect_shows_a_folder(_):
    folder = split(hf("mistral", "bf16"), "sharded", 2)
    shown = run("inspect", folder, want=0).out
    for text in ("folder of model_type mistral, 21 tensors", "model-00002-of-00002.safetensors", "BF16     21 tensors", "chat template: in the folder",
                 "one is used"):
        assert text in shown, (text, shown)
    assert "known model" not in shown


def a_model_of_seven_billion_weights_loads_in_eight_gib(where):
    """GAVEL_FOLDER_LAYERS=4 is a smaller one."""
    if not os.environ.get("GAVEL_LONG"):
        raise Skip("it writes 14.5 GB and runs for minutes; set GAVEL_LONG")
    layers = int(os.environ.get("GAVEL_FOLDER_LAYERS", "32"))
    support.subprocess.run([os.path.join(os.path.dirname(support.GAVEL), "make_folder"), where, str(layers)], check=True)
    for name in ("tokenizer.model", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(os.path.join(hf("mistral"), name), where)
    files = [os.path.join(where, n) for n in os.listdir(where) if n.endswith(".safetensors")]
    size = sum(map(os.path.getsize, files))
    start = time.time()
    for path in files:
        with open(path, "rb", buffering=0) as f:
            while f.readinto(bytearray(1 << 24)):
                pass
    read_s = time.time() - start
    write("in.jsonl", [{"prompt": "hello"}])
    p = support.start("judge", "in.jsonl", "--model", where, "--weights", "q4_k", "--prompt", "raw", "--verdict", "strict", "--max-tokens", "2", "--ctx", "256",
                      "--memory", "8G", "--out", "out.jsonl")
    _, status, usage = os.wait4(p.pid, 0)
    said = p.stderr.read().decode()
    assert os.waitstatus_to_exitcode(status) in (0, 3), said
    took = float(said.split("quantised in ")[1].split(" s")[0])
    print("      %.2f GB: read alone %.1f s (%.2f GB/s); quantised to q4_k in %.1f s (%.2f GB/s, %.0f %% of the reading speed), process %.1f s of CPU; %.2f GiB resident" %
          (size * 1e-9, read_s, size * 1e-9 / read_s, took, size * 1e-9 / took, 100 * read_s / took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1048576))
    assert usage.ru_maxrss < 8 << 20, usage.ru_maxrss


if __name__ == "__main__":
    support.main([a_folder_gives_the_logits_of_its_gguf, a_folder_gives_the_verdicts_of_its_gguf, what_gavel_quantize_writes_has_the_same_bytes,
                  a_run_records_what_its_weights_were_quantised_to, wrong_folders_and_types_are_refused,
                  a_padding_token_without_a_row_does_no_harm, inspect_shows_a_folder,
                  a_model_of_seven_billion_weights_loads_in_eight_gib])
