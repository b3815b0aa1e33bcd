"""Real models judge rows of vicuna_eval as llama.cpp does (tests/data/real, its README tells how that was recorded), and their safetensors twins as they do.

Of each model, if it is in the cache, the first rows of what was recorded: 2, or with GAVEL_LONG all of them.
"""
import array
import functools
import hashlib
import json
import os

import ggufs
import support
from support import DATA, Skip, read, run, table, write

LONG = bool(os.environ.get("GAVEL_LONG"))
TAG = "[RESULT]"
ANSWER_TOKENS = 64  # of llama.cpp's answers
SMOLLM2 = ("smollm2-135m-q4_1", support.SMOLLM2)
QWEN = ("qwen2.5-coder-0.5b-q4_k_m", os.path.join(support.CACHE, "models", "qwen2.5-coder-0.5b-instruct.gguf"))
CLEAR, CLOSE = 0.1, 0.5  # nat: verdicts preferred by more are equal; answers part only at tokens preferred by less


def recorded(model):
    name, path = model
    golden = os.path.join(DATA, "real", name + ".json")
    if not os.path.exists(path):
        raise Skip("%s is not in the cache (script/fetch.py)" % path)
    if model is QWEN and not LONG:
        raise Skip("it takes minutes; set GAVEL_LONG")
    with open(golden, encoding="ascii") as f:
        return json.load(f)[:None if LONG else 2]


def write_rows(golden):
    with open(os.path.join(DATA, "vicuna", "vicuna_eval.json"), encoding="utf-8") as f:
        rows = json.load(f)
    return write("in.jsonl", [{"prompt": rows[g["row"]]["instruction"]} for g in golden])


def tokenize(path, texts, *more):
    return [line["ids"] for line in run("tokenize", "-", "--model", path, *more, stdin=[{"text": t} for t in texts], want=0).lines()]


def judge(source, out, *more, model, tokens):
    run("judge", source, "--model", model, "--prompt", "raw", "--ctx", "4096", "--max-tokens", str(tokens), "--out", out, *more, want=0)
    return read(out)


def the_verdict_after_llama_cpps_feedback_is_its_verdict(model, _):
    golden, path = recorded(model), model[1]
    prompts = [line["prompt"] for line in run("render", write_rows(golden), "--prompt", "raw", "--model", path, want=0).lines()]
    choices = {tuple(ids[-1] for ids in tokenize(path, ["x %s %d" % (TAG, v) for v in range(1, 6)]))}.pop()
    tails = tokenize(path, ["%s %s 1" % (g["feedback"], TAG) for g in golden])
    rows = [{"ids": p + t[:-1]} for p, t in zip(tokenize(path, prompts, "--special"), tails)]
    for g, row in zip(golden, rows):
        assert hashlib.sha256(",".join(map(str, row["ids"])).encode()).hexdigest() == g["digest"], ("other tokens", g["row"])
    write("ids.jsonl", rows)
    run("logits", "ids.jsonl", "--model", path, "--ctx", "4096", "--positions", "last", "--out", "l.bin", want=0)
    logits = array.array("f", read("l.bin"))
    n_vocab = len(logits) // len(rows)
    clear, worst = 0, 0.0
    for i, g in enumerate(golden):
        got = [logits[i * n_vocab + c] for c in choices]
        best, second = sorted(g["verdict"], reverse=True)[:2]
        worst = max(worst, max(abs((a - got[0]) - (b - g["verdict"][0])) for a, b in zip(got, g["verdict"])))
        if best - second > CLEAR:
            clear += 1
            assert got.index(max(got)) == g["verdict"].index(best), (g["row"], got, g["verdict"])
    assert clear, "no row has a clear verdict"
    print("      %s: verdicts of %d of %d rows have a margin above %g nat, all equal; log-odds of verdicts differ by at most %.3f nat" %
          (model[0], clear, len(golden), CLEAR, worst))


def first_difference(pieces, text, gaps):
    """The first token of llama.cpp's answer after which our text does not go on as its does; None if there is none up to its length and to a tag."""
    so_far = ""
    for i, piece in enumerate(pieces):
        so_far += piece
        if not text.startswith(so_far.split(TAG)[0]):
            return i
        if TAG in so_far:
            return None
    return len(pieces) if len(gaps) > len(pieces) and len(text) > len(so_far) else None


def greedy_answers_part_from_llama_cpps_only_where_it_is_close(model, _):
    golden, path = recorded(model), model[1]
    judge(write_rows(golden), "out.jsonl", model=path, tokens=ANSWER_TOKENS + 16)
    run("export", "out.jsonl.run", "--all", "--out", "all.jsonl", want=0)
    pieces = run("tokenize", "-", "--decode", "--model", path, stdin=[{"ids": [t]} for g in golden for t in g["answer"]], want=0).lines()
    records = table("all.jsonl")
    ours = tokenize(path, [record["raw"].split(TAG)[0] for record in records])
    at, parted, equal = 0, [], 0
    for g, record, ids in zip(golden, records, ours):
        assert record["status"] == "ok" and record["prompt_tokens"] == g["prompt_tokens"], (g["row"], record)
        own = [p["text"] for p in pieces[at:at + len(g["answer"])]]
        at += len(own)
        i = first_difference(own, record["raw"].split(TAG)[0], g["gap"])
        if i is not None:  # our token may be longer than its: "instructions" beside "instruction", so ids are compared too
            i = next((j for j in range(i) if ids[j:j + 1] != g["answer"][j:j + 1]), i)
        equal += len(own) if i is None else i
        if i is not None:
            parted.append(g["gap"][i])
            assert g["gap"][i] < CLOSE, ("row", g["row"], "token", i, "gap", g["gap"][i], record["raw"])
    print("      %s: %d of %d answers part within %d tokens, the widest gap there is %.3f nat; %.1f tokens are equal before" %
          (model[0], len(parted), len(golden), ANSWER_TOKENS, max(parted, default=0), equal / len(golden)))


def a_safetensors_twin_judges_as_what_quantize_writes_from_it(model, _):
    golden, path = recorded(model), model[1]
    source = write_rows(golden)
    run("quantize", path, "whole.gguf", "--type", "bf16", "--requantize", want=0)
    twin = ggufs.to_folder("whole.gguf", "twin")
    write("ids.jsonl", [{"ids": golden[0]["answer"][:8]}])
    for name in ("whole.gguf", twin):
        run("logits", "ids.jsonl", "--model", name, "--ctx", "128", "--out", os.path.basename(name) + ".bin", want=0)
    assert read("whole.gguf.bin") == read("twin.bin")
    prompts = [line["prompt"] for line in run("render", source, "--prompt", "raw", "--model", twin, want=0).lines()]
    assert tokenize(twin, prompts, "--special") == tokenize(path, prompts, "--special")
    os.remove("whole.gguf")
    for weights in ("q8_0", "q4_k") if LONG else ("q4_k",):
        run("quantize", twin, "small.gguf", "--type", weights, want=0)
        outs = [judge(source, name, "--keep", "feedback,result,status", "--fresh", *more, model=which, tokens=ANSWER_TOKENS if LONG else 16)
                for name, which, more in (("file.jsonl", "small.gguf", []), ("folder.jsonl", twin, ["--weights", weights]))]
        assert outs[0] == outs[1] and outs[0].count(b'"ok"') == len(golden), weights
        print("      %s: %d rows judged alike by the folder with --weights %s and the file of that type" % (model[0], len(golden), weights))


def of(test, model, name):
    bound = functools.partial(test, model)
    bound.__name__ = "%s_%s" % (name, test.__name__)
    return bound


support.main([of(test, model, name) for model, name in ((SMOLLM2, "smollm2"), (QWEN, "qwen"))
              for test in (the_verdict_after_llama_cpps_feedback_is_its_verdict, greedy_answers_part_from_llama_cpps_only_where_it_is_close,
                           a_safetensors_twin_judges_as_what_quantize_writes_from_it)])
