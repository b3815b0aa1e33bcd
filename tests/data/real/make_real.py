#!/usr/bin/env python3
"""llama.cpp's judgments of 40 rows of vicuna_eval by one real model: what tests/e2e/test_real_models.py compares with.
Usage: make_real.py LLAMA_SERVER MODEL.gguf OUT.json

Of every eighth row the column `instruction` is the user message, laid out by the model's own template.  For each row:
  answer   ids of a greedy answer of at most 64 tokens, its end left out, and in `gap` by how many nat each was preferred to the next best token
  feedback the answer's text up to a [RESULT]
  digest   of the ids of prompt, feedback and forced ` [RESULT] `, as the decimal numbers joined by commas: SHA-256
  verdict  log-probabilities of the tokens 1 to 5 there
OUT is written after each row; a second run continues it.
LLAMA_SERVER is the server that script/bench builds (llama.cpp b11434, `build-native`); one slot, K/V in f16.
"""
import hashlib
import json
import os
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "bench"))
import peers  # noqa: E402

EVERY, TOKENS, LOOK = 8, 64, 4000
OPTIONS = ["-c", "4096", "-np", "1", "-t", "1"]


class Server:
    def __init__(self, address):
        self.address = address

    def post(self, path, body):
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.loads(reply.read())

    def ids(self, text, special=False):
        return self.post("/tokenize", {"content": text, "add_special": special, "parse_special": special})["tokens"]

    def complete(self, ids, tokens, look):
        return self.post("/completion", {"prompt": ids, "n_predict": tokens, "n_probs": look, "temperature": 0, "cache_prompt": True,
                                         "return_tokens": True, "samplers": ["temperature"], "repeat_penalty": 1.0})


def judge(server, instruction):
    prompt = server.ids(server.post("/apply-template", {"messages": [{"role": "user", "content": instruction}]})["prompt"], special=True)
    done = server.complete(prompt, TOKENS, 2)
    steps = done["completion_probabilities"]
    answer = [s["id"] for s in steps]
    gap = [round(s["top_logprobs"][0]["logprob"] - s["top_logprobs"][1]["logprob"], 4) for s in steps]
    if done["stop_type"] == "eos" and len(done["content"]) == len("".join(s["token"] for s in steps[:-1])):
        answer = answer[:-1]
    feedback = done["content"].split("[RESULT]")[0].rstrip().rstrip("\ufffd")
    tail = [server.ids("%s [RESULT] %d" % (feedback, v)) for v in range(1, 6)]
    assert len({tuple(t[:-1]) for t in tail}) == 1, tail
    ids = prompt + tail[0][:-1]
    top = server.complete(ids, 1, LOOK)["completion_probabilities"][0]["top_logprobs"]
    found = {t["id"]: t["logprob"] for t in top}
    return {"prompt_tokens": len(prompt), "answer": answer, "gap": gap, "feedback": feedback,
            "digest": hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest(), "verdict": [round(found[t[-1]], 4) for t in tail]}


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with open(os.path.join(HERE, "..", "vicuna", "vicuna_eval.json"), encoding="utf-8") as f:
        rows = json.load(f)
    out, made = sys.argv[3], []
    if os.path.exists(out):
        with open(out, encoding="ascii") as f:
            made = json.load(f)
    with peers.server(sys.argv[1], ["-m", sys.argv[2], *OPTIONS]) as address:
        for i in range(EVERY * len(made), len(rows), EVERY):
            made.append(dict(row=i, **judge(Server(address), rows[i]["instruction"])))
            print(i, len(made[-1]["answer"]), made[-1]["verdict"], flush=True)
            with open(out, "w", encoding="ascii") as f:
                f.write("[\n" + ",\n".join(json.dumps(m) for m in made) + "\n]\n")


main()
