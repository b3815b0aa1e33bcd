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
END = "<|im_end|>"  # of an answer, in the template of all these models
ANSWER_TOKENS = 64  # of llama.cpp's answers
ROWS_A_RUN = 8  # the logits of their answers are a file of 316 MB
SECONDS = 1800  # for one command, on a busy machine
SMOLLM2 = ("smollm2-135m-q4_1", support.SMOLLM2)
QWEN_S = ("qwen2.5-coder-0.5b-q4_k_m", os.path.join(support.CACHE, "models", "qwen2.5-coder-0.5b-instruct.gguf"))
QWEN_M = ("qwen2.5-coder-1.5b-q4_k_m", os.path.join(support.CACHE, "models", "qwen2.5-coder-1.5b-instruct.gguf"))
CLEAR, CLOSE = 0.1, 0.5  # nat: verdicts preferred by more are equal (but see check_others); answers part only at tokens preferred by less


def recorded(model):
    name, path = model
    golden = os.path.join(DATA, "real", name + ".json")
    if not os.path.exists(path):
        raise Skip("%s is not in the cache (script/fetch.py)" % path)
    if model is not SMOLLM2 and not LONG:
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
    run("judge", source, "--model", model, "--prompt", "raw", "--ctx", "4096", "--max-tokens", str(tokens), "--out", out, *more, timeout=SECONDS, want=0)
    return read(out)


def prompt_ids(golden, path):
    prompts = [line["prompt"] for line in run("render", write_rows(golden), "--prompt", "raw", "--model", path, want=0).lines()]
    return tokenize(path, prompts, "--special")


def logits(path, rows, positions):
    """Of each row of ids, the logits of its last positions (a number of them, or all there are), in order."""
    write("ids.jsonl", [{"ids": ids} for ids in rows])
    run("logits", "ids.jsonl", "--model", path, "--ctx", "4096", "--positions", str(positions), "--out", "l.bin", timeout=SECONDS, want=0)
    n = sum(min(len(ids), positions) for ids in rows)
    with open("l.bin", "rb") as f:
        n_vocab = os.path.getsize("l.bin") // 4 // n
        for ids in rows:
            of_row = [array.array("f") for _ in range(min(len(ids), positions))]
            for v in of_row:
                v.fromfile(f, n_vocab)
            yield of_row


def the_verdict_after_llama_cpps_feedback_is_its_verdict(model, _):
    golden, path = recorded(model), model[1]
    choices = {tuple(ids[-1] for ids in tokenize(path, ["x %s %d" % (TAG, v) for v in range(1, 6)]))}.pop()
    tails = tokenize(path, ["%s %s 1" % (g["feedback"], TAG) for g in golden])
    rows = [p + t[:-1] for p, t in zip(prompt_ids(golden, path), tails)]
    for g, ids in zip(golden, rows):
        assert hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest() == g["digest"], ("other tokens", g["row"])
    clear, worst, others = 0, 0.0, []
    for g, ids, of_row in zip(golden, rows, logits(path, rows, 1)):
        got = [of_row[-1][c] for c in choices]
        best, second = sorted(g["verdict"], reverse=True)[:2]
        worst = max(worst, max(abs((a - got[0]) - (b - g["verdict"][0])) for a, b in zip(got, g["verdict"])))
        if best - second > CLEAR:
            clear += 1
            if got.index(max(got)) != g["verdict"].index(best):
                others.append((g, ids, got))
    assert clear, "no row has a clear verdict"
    print("      %s: of %d rows the verdicts of %d have a margin above %g nat, %d are equal; log-odds of verdicts differ by at most %.3f nat" %
          (model[0], len(golden), clear, CLEAR, clear - len(others), worst))
    check_others(path, others, choices)


def check_others(path, others, choices):
    """Both engines round activations to 8 bits, which moves log-odds by about 0.1 nat either way, so llama.cpp's own margin may be noise.  Another verdict
    is right only where the weights in exact arithmetic (as F32; test_logits_golden compares that with transformers) do not prefer llama.cpp's by CLEAR."""
    if not others:
        return
    run("quantize", path, "exact.gguf", "--type", "f32", "--requantize", timeout=SECONDS, want=0)
    for (g, _, got), of_row in zip(others, logits("exact.gguf", [ids for _, ids, _ in others], 1)):
        exact = [of_row[-1][c] for c in choices]
        theirs, ours = g["verdict"].index(max(g["verdict"])), got.index(max(got))
        print("      row %d: llama.cpp prefers %d by %.3f nat, gavel %d by %.3f; exactly %d by %.3f" % (
            g["row"], theirs + 1, g["verdict"][theirs] - g["verdict"][ours], ours + 1, got[ours] - got[theirs],
            *((theirs + 1, exact[theirs] - exact[ours]) if exact[theirs] > exact[ours] else (ours + 1, exact[ours] - exact[theirs]))))
        assert exact[theirs] - exact[ours] <= CLEAR, (g["row"], exact, got, g["verdict"])
    os.remove("exact.gguf")


def best_tokens(path, golden, prompts):
    """Of each row, our best token in the place of each of llama.cpp's, all before it being llama.cpp's; the last is that after its whole answer."""
    for at in range(0, len(golden), ROWS_A_RUN):
        rows = [(p + g["answer"], len(g["answer"]) + 1) for p, g in zip(prompts[at:at + ROWS_A_RUN], golden[at:at + ROWS_A_RUN])]
        for (_, n), of_row in zip(rows, logits(path, [ids for ids, _ in rows], ANSWER_TOKENS + 1)):
            yield [v.index(max(v)) for v in of_row[-n:]]


def greedy_answers_part_from_llama_cpps_only_where_it_is_close(model, _):
    """Up to the first token that differs a free run is one on llama.cpp's answer, so the logits after that tell which token it is and what ours is there; the
    text that judge writes must begin so.  Tokens behind it are not compared."""
    golden, path = recorded(model), model[1]
    end = tokenize(path, [END], "--special")[0]
    judge(write_rows(golden), "out.jsonl", model=path, tokens=ANSWER_TOKENS + 16)
    run("export", "out.jsonl.run", "--all", "--out", "all.jsonl", want=0)
    records = table("all.jsonl")
    parted, shared = [], []
    for g, ours in zip(golden, best_tokens(path, golden, prompt_ids(golden, path))):
        theirs = (g["answer"] + end)[:len(g["gap"])]  # with the end where llama.cpp came to it
        i = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), None)
        shared.append(ours[:len(theirs) if i is None else i + 1])
        if i is not None:
            parted.append(g["gap"][i])
            assert g["gap"][i] < CLOSE, ("row", g["row"], "token", i, ours[i], "not", theirs[i], "gap", g["gap"][i])
    texts = run("tokenize", "-", "--decode", "--model", path, stdin=[{"ids": [t for t in ids if t not in end]} for ids in shared], want=0).lines()
    for g, record, ids, line in zip(golden, records, shared, texts):
        assert record["status"] == "ok" and record["prompt_tokens"] == g["prompt_tokens"], (g["row"], record)
        raw, text = record["raw"].split(TAG)[0], line["text"].split(TAG)[0].rstrip("\ufffd")
        assert raw.rstrip() == text.rstrip() if ids[-1:] == end else raw.startswith(text), ("row", g["row"], raw, text)
    print("      %s: %d of %d answers part within %d tokens, the widest gap there is %.3f nat; %.1f tokens are equal before" %
          (model[0], len(parted), len(golden), ANSWER_TOKENS, max(parted, default=0), (sum(map(len, shared)) - len(parted)) / len(golden)))


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


COMPARED = (the_verdict_after_llama_cpps_feedback_is_its_verdict, greedy_answers_part_from_llama_cpps_only_where_it_is_close)
support.main([of(test, model, name) for model, name, tests in ((SMOLLM2, "smollm2", (*COMPARED, a_safetensors_twin_judges_as_what_quantize_writes_from_it)),
                                                               (QWEN_S, "qwen0.5b", (*COMPARED, a_safetensors_twin_judges_as_what_quantize_writes_from_it)),
                                                               (QWEN_M, "qwen1.5b", COMPARED)) for test in tests])
