#!/usr/bin/env python3
"""runs.jsonl: rows that distilabel 1.5.3 put into Distisets, with their Arrow types.

    make_runs.py GOLDEN > runs.jsonl

One line {"run", "config", "columns": [[name, Arrow type]], "arrow_bytes", "rows"} for each config; arrow_bytes where the card has it.
"""
import json
import pathlib
import re
import sys

import yaml

RUNS = ["seed", "two_leaves", "numgen3_grouped", "fanout_group", "all_null", "unicode_rows", "relative_reference", "series", "fs_jsonl"]

for name in RUNS:
    run = pathlib.Path(sys.argv[1]) / "runs" / name
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    sizes = {}
    if (run / "hub" / "README.md").exists():
        text = (run / "hub" / "README.md").read_text(encoding="utf-8")
        known = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.S).group(1))["dataset_info"]
        sizes = {d.get("config_name", "default"): d["dataset_size"] for d in (known if isinstance(known, list) else [known])}
    for config, v in sorted(info["configs"].items()):
        rows = [json.loads(line) for line in (run / ("rows.%s.jsonl" % config)).read_text(encoding="utf-8").splitlines()]
        print(json.dumps({"run": name, "config": config, "columns": [[f["name"], f["type"]] for f in v["arrow_schema"]],
                          "arrow_bytes": sizes.get(config), "rows": rows}))
