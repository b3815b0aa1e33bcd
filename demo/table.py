#!/usr/bin/env python3
"""Print demo/verdicts.jsonl as a table: row, who answered, GPT-4's three scores from the data set, gavel's verdict, start of the feedback."""
import json
import shutil
import sys

width = max(60, min(shutil.get_terminal_size((120, 24)).columns, 160))
print("%-24s %-9s %-7s %s" % ("row", "GPT-4", "verdict", "feedback"))
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    feedback = " ".join((row["feedback"] or row["message"] or "").split())
    room = width - 43
    print("%-24s %-9s %-7s %s" % (row["id"][:24], ",".join(map(str, row["gpt4_score"])), row["result"] if row["status"] == "ok" else row["status"],
                                  feedback if len(feedback) <= room else feedback[:room - 1] + "…"))
print("\nSmolLM2-135M is no judge model: this shows that everything works. For verdicts that mean something use a Prometheus 2 GGUF.")
