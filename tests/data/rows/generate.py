#!/usr/bin/env python3
"""Writes csv_interop.csv, csv_interop.tsv (Python's csv module) and csv_interop.jsonl (the same rows, json module).

Deterministic; run in this folder.  Python 3.11, standard library only.
"""
import csv
import json
import random

random.seed(7)
PIECES = ["", "plain", "a,b", 'say "hi"', '"', '""', "two\nlines", "two\r\nlines", "cr\rhere", " lead", "trail ", "\ttab", "naïve 評価 🙂", "=1+1", "'",
          "\\", "\\n", ";", "[RESULT] 5", "\u2028sep", "x" * 300, "\x1f", "\x7f"]
header = ["id", "instruction", 'odd "name"', "with,comma", "", "评"]
rows = []
for i in range(200):
    rows.append([str(i)] + ["".join(random.choice(PIECES) for _ in range(random.randint(0, 3))) for _ in header[1:]])
for name, kind in (("csv_interop.csv", {}), ("csv_interop.tsv", {"delimiter": "\t"}), ("csv_interop_all.csv", {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"})):
    with open(name, "w", newline="", encoding="utf-8") as f:
        w = csv.writer(f, **kind)
        w.writerow(header)
        w.writerows(rows)
with open("csv_interop.jsonl", "w", encoding="utf-8", newline="") as f:
    for r in rows:
        f.write(json.dumps(dict(zip(header, r)), ensure_ascii=False) + "\n")
