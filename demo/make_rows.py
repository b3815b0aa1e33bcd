#!/usr/bin/env python3
"""Makes rows.jsonl: 24 real judge rows out of tests/data/vicuna/vicuna_eval.json.

  python3 demo/make_rows.py > demo/rows.jsonl

Each source record holds one whole prompt; its parts (instruction, generation, reference, rubric) stand between fixed markers.  Of each of the
four models six rows are taken: the shortest prompts, at most two models a question, so that a small machine judges them quickly.
"""
import collections
import json
import os
import re
import sys

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "vicuna", "vicuna_eval.json")
PARTS = re.compile(
    r"###The instruction to evaluate:\n(.*?)\n\n###Response to evaluate:\n(.*?)\n\n###Reference Answer \(Score 5\):\n(.*?)"
    r"\n\n###Score Rubrics:\n(.*?)\n\n###Feedback: $", re.S)
PER_MODEL = 6
MODELS = ["vicuna", "chat_gpt", "wizard", "llama-2-chat"]


def main():
    with open(SOURCE, encoding="utf-8") as f:
        records = json.load(f)
    rows = {model: [] for model in MODELS}
    for r in sorted(records, key=lambda r: (len(r["instruction"]), r["idx"])):
        instruction, generation, reference, rubric = PARTS.search(r["instruction"]).groups()
        rows[r["response_source"]].append({
            "id": "vicuna-%s-%s" % (r["idx"], r["response_source"]), "response_source": r["response_source"], "instruction": instruction,
            "generation": generation, "reference": reference, "rubric": rubric, "gpt4_score": r["gpt4_score"]})
    used, out = collections.Counter(), []
    for i in range(PER_MODEL):                     # models in turn, so that each gets its share of the shortest
        for model in MODELS:
            row = next(r for r in rows[model] if r not in out and used[r["instruction"]] < 2)
            used[row["instruction"]] += 1
            out.append(row)
    for row in out:
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
