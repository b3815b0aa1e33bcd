#!/usr/bin/env python3
"""The judge workload against an OpenAI-compatible /v1/completions server: real judge prompts, a fixed number of output tokens, judgments a minute.

  judge_load.py --url http://127.0.0.1:8080 --rows 16 --concurrency 8 --tokens 160
  judge_load.py --write prompts.jsonl --rows 16        the same prompts as JSON lines for gavel bench judge --prompt raw --chat-template none

The prompts are those of tests/data/vicuna (Prometheus' direct assessment with a reference), laid out as distilabel does, and go to every engine as
the same text.  script/bench imports this file.  Standard library only.
"""
import argparse
import http.client
import json
import os
import queue
import sys
import threading
import time
import urllib.parse

VICUNA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "vicuna", "vicuna_eval.json")
SYSTEM = ("You are a fair judge assistant tasked with providing clear, objective feedback based on specific criteria, "
          "ensuring each assessment reflects the absolute standards set for performance.")
# Weights are random: the likeliest token may be a lone byte, and a server that has to send invalid UTF-8 as JSON fails.  SentencePiece's byte tokens
# are banned for the peers, which costs them nothing that can be measured beside the model.
BYTE_TOKENS = {str(i): -100 for i in range(3, 259)}


def prompts(n, skip=0, path=VICUNA):
    with open(path, encoding="utf-8") as f:
        return ["[INST] %s\n%s[/INST]" % (SYSTEM, row["instruction"]) for row in json.load(f)[skip:skip + n]]


def write_prompts(path, texts):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps({"prompt": t}) + "\n" for t in texts)


def complete(connection, text, tokens):
    body = {"model": "judge", "prompt": text, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": True,
            "logit_bias": BYTE_TOKENS}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    content = json.loads(reply.read())
    if reply.status != 200:
        raise RuntimeError("status %d: %s" % (reply.status, str(content)[:200]))
    return content["usage"]


def drive(url, texts, concurrency, tokens, timeout=3600):
    """Sends all prompts, `concurrency` at a time.  An answer of another length than asked for counts as an error."""
    address = urllib.parse.urlparse(url)
    jobs, usages, errors = queue.Queue(), [], []
    for text in texts:
        jobs.put(text)

    def worker():
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
        while True:
            try:
                text = jobs.get_nowait()
            except queue.Empty:
                break
            try:
                usage = complete(connection, text, tokens)
                if usage["completion_tokens"] != tokens:
                    raise RuntimeError("%d output tokens, not %d" % (usage["completion_tokens"], tokens))
                usages.append(usage)
            except Exception as why:  # a failed judgment is reported, never hidden
                errors.append(repr(why))
                connection.close()
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(concurrency)]
    begin = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wall = time.monotonic() - begin
    return {"judgments": len(usages), "errors": errors, "wall_s": wall, "judgments_min": 60 * len(usages) / wall,
            "prompt_tokens": sum(u["prompt_tokens"] for u in usages), "output_tokens": sum(u["completion_tokens"] for u in usages)}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--url", help="server")
    ap.add_argument("--write", metavar="FILE", help="only write the prompts, as JSON lines")
    ap.add_argument("--rows", type=int, default=16)
    ap.add_argument("--skip", type=int, default=0)
    ap.add_argument("--concurrency", type=int, default=8)
    ap.add_argument("--tokens", type=int, default=160)
    a = ap.parse_args()
    texts = prompts(a.rows, a.skip)
    if a.write:
        write_prompts(a.write, texts)
        return 0
    if not a.url:
        ap.error("give --url or --write")
    result = drive(a.url, texts, a.concurrency, a.tokens)
    print(json.dumps(result))
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
