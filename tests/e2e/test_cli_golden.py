"""Chat templates, tokenizers and logits through the binary against the recorded outputs of the originals.  Prompts and verdicts: test_judge_golden.py.

Data: tests/data/templates (transformers), tests/data/tokenizers (sentencepiece, tokenizers), tests/data/oracle (transformers; see the READMEs there).
"""
import array
import collections
import json
import os

import support
from support import DATA, UNXZ, read, refused, run, tiny, write

TOKENIZERS = os.path.join(DATA, "tokenizers")


def golden(*path):
    with open(os.path.join(DATA, *path), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def chat_templates_render_or_fail_as_in_python(_):
    groups = collections.defaultdict(list)
    for record in golden("templates", "goldens.jsonl")[1:]:
        groups[record["template"]].append(record)
    n = errors = 0
    for name, records in groups.items():
        lines = [{k: v for k, v in r.items() if k not in ("text", "error")} for r in records]
        out = run("render", "-", "--template", os.path.join(DATA, "templates", name + ".jinja"), stdin=lines, want=0).lines()
        assert len(out) == len(records)
        for want, got in zip(records, out):
            assert got == ({"error": want["error"]} if "error" in want else {"text": want["text"]}), (want, got)
            n += 1
            errors += "error" in want
    assert n == 384 and errors == 110, (n, errors)
    print("      %d renderings equal, %d of them errors" % (n, errors))


def a_template_line_that_cannot_be_read_is_bad_input(_):
    done = run("render", "--template", "chatml", stdin='{"messages":[{"role":"user","content":"x"}]}\n{"message":[]}\n\nx\n{"messages":[],"add_generation_prompt":1}\n'
               '{"messages":"text"}\n', want=3)
    out = done.lines()
    assert out[0] == {"text": "<|im_start|>user\nx<|im_end|>\n"}, out[0]
    assert [o["status"] for o in out[1:5]] == ["bad_input"] * 4 and 'no member "messages"' in out[1]["message"], out
    assert list(out[5]) == ["error"] and len(out[5]["error"]) == 2, out[5]
    refused(run("render", "--template", "chatlm", stdin="{}"), 2, "did you mean chatml?")
    write("bad.jinja", "{% for %}")
    refused(run("render", "--template", "bad.jinja", stdin="{}"), 1, "--template bad.jinja: TemplateSyntaxError")


SOURCES = [("mistral_v1", "mistral_v1.model"), ("spm_small", "spm"), ("spm_small", "spm/tokenizer.json"), ("spm_small", "spm_small.vocab.gguf"),
           ("qwen2_small", "qwen2"), ("qwen2_small", "qwen2_small.vocab.gguf"), ("llama3_small", "llama3/tokenizer.json"), ("gpt2_small", "gpt2/tokenizer.json"),
           ("llama2", "llama2.model"), ("smollm2", "smollm2.vocab.gguf"), ("qwen25", "qwen25.vocab.gguf")]


def text_and_ids_are_those_of_the_reference_tokenizers(_):
    n = 0
    for name, source in SOURCES:
        path = os.path.join(TOKENIZERS, source)
        if not os.path.exists(path):
            path = os.path.join(UNXZ, source)
        if not os.path.exists(path):
            print("      %s is not unpacked beside the binary: left out" % source)
            continue
        records = golden("tokenizers", name + ".jsonl")
        encode = [r for r in records if r["kind"] == "encode"]
        decode = [r for r in records if r["kind"] == "decode"]
        texts = [{"text": r["text"]} for r in encode]
        for option, key in (([], "ids"), (["--special"], "special")):
            for want, got in zip(encode, run("tokenize", "--model", path, *option, stdin=texts, want=0).lines()):
                assert got == {"ids": want.get(key, want["ids"])}, (source, key, want, got)
        lines = [{"ids": r["ids"]} for r in encode + decode]
        back = run("tokenize", "--model", path, "--decode", stdin=lines, want=0).lines()
        for want, got in zip(encode + decode, back):
            assert got == {"text": want["text"] if want["kind"] == "decode" else want.get("decoded", want["text"])}, (source, want, got)
        for want, got in zip(decode, run("tokenize", "--model", path, "--decode", "--hex", stdin=[{"ids": r["ids"]} for r in decode], want=0).lines()):
            assert got == {"hex": want["hex"]}, (source, want, got)
        n += 2 * len(encode) + len(lines) + len(decode)
    print("      %d answers equal" % n)
    assert n > 10000, n


def lines_that_are_no_text_or_no_ids_are_bad_input(_):
    out = run("tokenize", "--model", tiny("llama"), stdin='{"text":5}\n{"txt":"a"}\n{"text":"a"}\n{"text":"\\ud800"}\n\n', want=3).lines()
    assert ["status" in o for o in out] == [True, True, False, True, True] and 'no column "text"; the row has "txt"' in out[1]["message"], out
    out = run("tokenize", "--model", tiny("llama"), "--decode", stdin='{"ids":"a"}\n{"ids":[611]}\n{"ids":[-1]}\n{"ids":[1.5]}\n{"ids":[]}\n{"ids":[1,610]}\n', want=3).lines()
    assert ["status" in o for o in out] == [True] * 4 + [False] * 2 and out[1]["message"] == "ids[0] is no id of the vocabulary (0 to 610)", out


def difference(want, got):
    """Normalised mean squared error."""
    return sum((w - g) ** 2 for w, g in zip(want, got)) / sum(w * w for w in want)


def logits_are_those_of_transformers(_):
    for arch in ("llama", "qwen2"):
        head = json.load(open(os.path.join(DATA, "oracle", "logits", arch + ".json"), encoding="utf-8"))
        reference, n_vocab = read(os.path.join(DATA, "oracle", "logits", arch + ".bin")), head["n_vocab"]
        names = list(head["sequences"])
        write("ids.jsonl", [{"ids": head["sequences"][name]} for name in names])
        run("logits", "ids.jsonl", "--model", tiny(arch, "f32"), "--kv", "f32", "--out", "all.bin", want=0)
        run("logits", "--model", tiny(arch, "f32"), "--kv", "f32", "--positions", "last", "--out", "last.bin", stdin=read("ids.jsonl"), want=0)
        run("logits", "ids.jsonl", "--model", tiny(arch, "f32"), "--kv", "f32", "--positions", "7", "--out", "seven.bin", want=0)
        every, last, seven = read("all.bin"), read("last.bin"), read("seven.bin")
        size, at, begin = 4 * n_vocab, 0, {}
        for name in names:
            begin[name] = at
            at += len(head["sequences"][name]) * size
        assert len(every) == at and len(last) == len(names) * size, (arch, len(every), len(last))
        for i, name in enumerate(names):
            end = begin[name] + len(head["sequences"][name]) * size
            assert last[i * size:(i + 1) * size] == every[end - size:end], "the last position is the last of all"
        tail = b"".join(every[begin[n] + max(0, len(head["sequences"][n]) - 7) * size:begin[n] + len(head["sequences"][n]) * size] for n in names)
        assert seven == tail, "--positions 7 gives the last seven, or all there are"
        worst = 0
        for name, position, offset in head["variants"]["f32"]["rows"]:
            got = array.array("f", every[begin[name] + position * size:begin[name] + (position + 1) * size])
            worst = max(worst, difference(array.array("f", reference[offset:offset + size]), got))
        assert worst <= 1e-9, (arch, worst)
        run("logits", "ids.jsonl", "--model", tiny(arch, "f32"), "--out", "f16.bin", "--threads", "1", want=0)
        run("logits", "ids.jsonl", "--model", tiny(arch, "f32"), "--out", "f16b.bin", "--threads", "2", "--kernels", "ref", "--prompt-chunk", "7", want=0)
        assert read("f16.bin") == read("f16b.bin") != every, "same bytes for any threads, kernels and chunks; others for f16 pages"
        print("      %s: worst NMSE %.1e over %d rows" % (arch, worst, len(head["variants"]["f32"]["rows"])))


def logits_of_bad_lines_are_refused_and_nothing_is_written(_):
    for line, part in (('{"ids":[611]}', "611"), ('{"ids":[]}', "row 1"), ('{"id":[1]}', 'no column "ids"'), ('{"ids":["a"]}', "ids[0] is no token id"), ("x", "invalid JSON"),
                       (json.dumps({"ids": [5] * 2000}), "2000")):
        done = run("logits", "--model", tiny("llama"), "--out", "o.bin", stdin='{"ids":[1]}\n%s\n' % line)
        assert done.code in (1, 2) and part in done.err and "row 1" in done.err, (line, done.code, done.err)
        assert not os.listdir("."), os.listdir(".")


support.main([chat_templates_render_or_fail_as_in_python, a_template_line_that_cannot_be_read_is_bad_input, text_and_ids_are_those_of_the_reference_tokenizers,
              lines_that_are_no_text_or_no_ids_are_bad_input, logits_are_those_of_transformers, logits_of_bad_lines_are_refused_and_nothing_is_written])
