#!/usr/bin/env python3
"""A sharded model of the Hub, whose config.json names its base model: what it is called by each command that reads or writes it.

    test_hub_names.py GAVEL_BINARY [PART OF A TEST'S NAME]
"""
import json
import os
import struct

import hub_support as hs
import support

BASE = "mistralai/Mistral-7B-Instruct-v0.2"
NAME = "prometheus-eval/prometheus-7b-v2.0"
SHORT = ["--max-tokens", "8"]


def repository():
    """The tiny mistral in two shards."""
    source = os.path.join(support.DATA, "oracle", "models", "mistral", "hf-bf16")
    files = {n: support.read(os.path.join(source, n)) for n in os.listdir(source)}
    files["config.json"] = json.dumps(dict(json.loads(files["config.json"]), _name_or_path=BASE)).encode()
    whole = files.pop("model.safetensors")
    size = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8:8 + size]), whole[8 + size:]
    header.pop("__metadata__", None)
    where = {}
    for i in range(2):
        part, body, shard = {}, b"", "model-%05d-of-00002.safetensors" % (i + 1)
        for name in sorted(header)[i::2]:
            begin, end = header[name]["data_offsets"]
            part[name] = dict(header[name], data_offsets=[len(body), len(body) + end - begin])
            body += data[begin:end]
            where[name] = shard
        text = json.dumps(part).encode()
        files[shard] = struct.pack("<Q", len(text)) + text + body
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": where}).encode()
    return {"models/%s/%s" % (NAME, n): content for n, content in files.items()}


def pipeline(path):
    return support.write(path, """pipeline:
  name: p
  steps:
  - step:
      name: task
      mode: absolute
      rubric: helpfulness
      llm:
        model: %s
        generation_kwargs: {max_new_tokens: 8, temperature: 0.0}
        type_info: {module: distilabel.llms.vllm, name: vLLM}
      type_info: {module: distilabel.steps.tasks.prometheus_eval, name: PrometheusEval}
  - step:
      name: load
      data_files: rows.jsonl
      type_info: {module: distilabel.steps.generators.huggingface, name: LoadDataFromFileSystem}
  connections:
  - {from: load, to: [task]}
  - {from: task, to: []}
distilabel: {version: 1.5.3}
""" % NAME)


def names(path):
    return [r["model_name"] for r in support.table(path)]


def a_sharded_model_of_the_hub_is_called_as_its_repository(folder):
    with hs.hub(os.path.join(folder, "sim"), repository()) as sim:
        def gavel(*args, want=0, **more):
            return hs.gavel(folder, sim.url, *args, want=want, **more)

        rows = support.write("rows.jsonl", support.rows(1))
        gavel("judge", rows, "--model", NAME, "--rubric", "helpfulness", "--out", "a.jsonl", *SHORT)
        gavel("judge", rows, "--model", NAME + "@main", "--rubric", "helpfulness", "--out", "b.jsonl", *SHORT)
        assert names("a.jsonl") == names("b.jsonl") == [NAME], names("a.jsonl")
        assert "all equal" in gavel("verify", "a.jsonl.run", HF_HUB_OFFLINE="1").out
        gavel("run", pipeline("p.yaml"), "--out", "c.jsonl", want=3)
        gavel("run", "p.yaml", "--out", "d.jsonl", "--model", NAME, want=3)
        assert names("c.jsonl") == names("d.jsonl") == [NAME], names("c.jsonl")
        gavel("quantize", NAME, "q.gguf", "--type", "q8_0", "-q")
        assert 'general.name = "%s"' % NAME in gavel("inspect", "q.gguf").out
        gavel("judge", rows, "--model", "q.gguf", "--rubric", "helpfulness", "--out", "e.jsonl", *SHORT)
        assert names("e.jsonl") == [NAME], names("e.jsonl")


def quantize_takes_a_model_of_the_hub_for_both_of_its_works(folder):
    with hs.hub(os.path.join(folder, "sim"), repository()) as sim:
        support.write("prompts.jsonl", [{"prompt": "Name a number."}])
        done = hs.gavel(folder, sim.url, "quantize", NAME, "imatrix.gguf", "--calibrate", "prompts.jsonl", want=0)
        assert "downloaded" in done.err and os.path.getsize("imatrix.gguf") > 0, done.err
        done = hs.gavel(folder, sim.url, "quantize", NAME, "q.gguf", "--type", "q4_k", "--imatrix", "imatrix.gguf", want=0)
        assert "downloaded" not in done.err, done.err
        wrong = hs.gavel(folder, sim.url, "quantize", "org/none", "q.gguf", "--type", "q4_k", want=1)
        assert "org/none" in wrong.err and "cannot open" not in wrong.err, wrong.err


def validate_knows_a_model_that_is_in_the_cache_and_asks_for_no_other(folder):
    files = repository()
    config = {"model_type": "llama", "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40, "vocab_size": 32000}
    files["models/%s/config.json" % NAME] = json.dumps(config).encode()  # Prometheus 1
    warning = "Prometheus 1 was trained with reference answers"
    with hs.hub(os.path.join(folder, "sim"), files) as sim:
        support.write("rows.jsonl", support.rows(1))
        before = hs.gavel(folder, sim.url, "validate", pipeline("p.yaml"), want=0)
        assert warning not in before.err and sim.admin("log") == [], before.err
        hs.gavel(folder, sim.url, "tokenize", support.write("t.jsonl", [{"text": "a"}]), "--model", NAME, want=0)
        sim.admin("clear")
        after = hs.gavel(folder, sim.url, "validate", "p.yaml", want=0)
        assert warning in after.err and sim.admin("log") == [], after.err


support.main([validate_knows_a_model_that_is_in_the_cache_and_asks_for_no_other, a_sharded_model_of_the_hub_is_called_as_its_repository, quantize_takes_a_model_of_the_hub_for_both_of_its_works])
