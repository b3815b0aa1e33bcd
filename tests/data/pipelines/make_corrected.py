#!/usr/bin/env python3
"""Writes corrected/NAME/: what gavel must make of the runs in which distilabel shows a defect (docs/distilabel.md lists them).

canned.jsonl: the recorded calls, and those that distilabel never made because another row of the batch had failed; their answers are what
the recording's dummy LLM (HashLLM: a text derived from SHA-256 of salt, number and prompt) gives, an "error" where it was told to fail.
rows.default.jsonl: the rows that follow from them by distilabel's own rules, row by row.  Nothing here uses gavel.
"""
import hashlib
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = ("clear accurate helpful vague short correct wrong d\u00e9taill\u00e9 thorough polite \u65e5\u672c grounded misses covers the point "
         "with and but response answer rubric example tone step").split()


def answer(salt, messages, index=0):
    """HashLLM's style "good", absolute mode."""
    h = hashlib.sha256(("%s\x1f%d\x1f%s" % (salt, index, "\x1e".join(m["content"] for m in messages))).encode("utf-8")).digest()
    text = " ".join(WORDS[b % len(WORDS)] for b in h[4:4 + 5 + h[3] % 8]).capitalize() + "."
    result, kind = "12345"[h[1] % 5], h[2] % 16 % 8
    if kind < 5:
        return "%s [RESULT] %s" % (text, result)
    if kind < 7:
        return "Feedback: %s [RESULT] %s" % (text, result)
    return " %s\n\n[RESULT]\u00a0%s\n" % (text, result)


def parse(raw):
    parts = (raw or "").split("[RESULT]")
    if raw is None or len(parts) != 2:
        return None, None
    feedback, result = parts[0].strip(), parts[1].strip()
    if feedback.startswith("Feedback:"):
        feedback = feedback[len("Feedback:"):].strip()
    return (feedback, int(result)) if result in list("12345") else (None, None)


def lines(*path):
    with open(os.path.join(HERE, *path), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def write(rows, *path):
    os.makedirs(os.path.dirname(os.path.join(HERE, *path)), exist_ok=True)
    with open(os.path.join(HERE, *path), "w", encoding="ascii") as f:
        for r in rows:
            f.write(json.dumps(r) + "\n")


def between(text, a, b):
    return text[text.index(a) + len(a):text.index(b)]


PARTS = ("###The instruction to evaluate:\n", "\n\n###Response to evaluate:\n", "\n\n###Score Rubrics:\n")


def user_text(model, row):
    head, tail = model[:model.index(PARTS[0])], model[model.index(PARTS[2]):]
    return head + PARTS[0] + row["instruction"] + PARTS[1] + row["generation"] + tail


def calls_of(name, salt, boom):
    calls = lines("runs", name, "canned.jsonl")
    known = {c["messages"][1]["content"]: c for c in calls}
    for row in lines("runs", name, "input.jsonl"):
        if not isinstance(row["generation"], str):
            continue
        text = user_text(calls[0]["messages"][1]["content"], row)
        if text in known:
            continue
        messages = [calls[0]["messages"][0], {"role": "user", "content": text}]
        call = {"llm": salt, "messages": messages, "kwargs": calls[0]["kwargs"]}
        if boom and boom in text:
            call["error"] = "HashLLM was told to fail on this prompt"
        else:
            raw = answer(salt, messages)
            call.update(generations=[raw], statistics={"input_tokens": [sum(len(m["content"].split()) for m in messages)],
                                                       "output_tokens": [len(raw.split())]})
        known[text] = call
        calls.append(call)
    return calls, known


def judged(row, call, step, raw_input):
    raw = call["generations"][0] if call and "generations" in call else None
    feedback, result = parse(raw)
    metadata = {}
    if raw_input:
        metadata["raw_input_" + step] = call and [{"content": m["content"], "role": m["role"]} for m in call["messages"]]
    metadata["raw_output_" + step] = raw
    metadata["statistics_" + step] = ({k: v[0] for k, v in call["statistics"].items()} if raw is not None else None)
    return dict(row, feedback=feedback, result=result, distilabel_metadata=metadata, model_name="hash-llm" if raw is not None else None)


def correct(name, salt, boom="", keep=None, score=False, raw_input=True):
    calls, known = calls_of(name, salt, boom)
    out = []
    for row in lines("runs", name, "input.jsonl"):
        call = known.get(user_text(calls[0]["messages"][1]["content"], row)) if isinstance(row["generation"], str) else None
        r = judged(row, call, "judge", raw_input)
        if score:
            r = {("score" if k == "result" else k): v for k, v in r.items()}
        out.append({k: r[k] for k in keep} if keep else r)
    write(calls, "corrected", name, "canned.jsonl")
    write(out, "corrected", name, "rows.default.jsonl")


correct("batch_null", "bn")
correct("batch_null_first", "bnf", keep=["instruction", "generation", "feedback", "score", "model_name"], score=True)
correct("batch_null_leaf", "bnl", raw_input=False)
correct("llm_raises", "lr", boom="@@BOOM@@", keep=["instruction", "generation", "feedback", "result", "model_name"])
correct("null_then_int", "null-then-int", boom="@@BOOM@@", keep=["feedback", "result", "model_name"])

# Each generation of a row keeps the row's own hidden column.
rows, given = lines("runs", "input_mappings", "rows.default.jsonl"), lines("runs", "input_mappings", "input.jsonl")
write([dict(r, generation=given[i // 2]["generation"]) for i, r in enumerate(rows)], "corrected", "input_mappings", "rows.default.jsonl")
write(lines("runs", "input_mappings", "canned.jsonl"), "corrected", "input_mappings", "canned.jsonl")
