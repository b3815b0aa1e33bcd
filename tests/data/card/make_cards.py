#!/usr/bin/env python3
"""cards.jsonl: cards that distilabel 1.5.3 wrote, and what they were made from.

    make_cards.py GOLDEN > cards.jsonl

One line {"name", "repo_id", "readme", "citations", "configs": [{"name", "columns": [[name, Arrow type]], "rows", "arrow_bytes", "file_bytes",
"first_row"}]} for each card below GOLDEN/runs; the byte counts are only in cards of the Hub.  Configs are in the order of the card's text.
"""
import json
import pathlib
import re
import sys

import yaml


def card(run, readme, repo_id):
    text = readme.read_text(encoding="utf-8")
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    meta = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.S).group(1))
    known = meta.get("dataset_info", [])
    sizes = {d.get("config_name", "default"): d for d in (known if isinstance(known, list) else [known])}
    configs = []
    for name in re.findall(r"<summary> Configuration: (\S+) </summary>", text):
        c = info["configs"][name]
        with open(run / ("rows.%s.jsonl" % name), encoding="utf-8") as f:
            first = f.readline().strip()
        configs.append({"name": name, "columns": [[x["name"], x["type"]] for x in c["arrow_schema"]], "rows": c["splits"]["train"],
                        "arrow_bytes": sizes.get(name, {}).get("dataset_size", 0), "file_bytes": sizes.get(name, {}).get("download_size", 0),
                        "first_row": first})
    return {"name": str(readme.relative_to(run.parent)), "repo_id": repo_id, "readme": text, "citations": len(info["citations"]), "configs": configs}


runs = pathlib.Path(sys.argv[1]) / "runs"
for run in sorted(runs.iterdir()):
    if (run / "README.md").exists():
        print(json.dumps(card(run, run / "README.md", "my-distiset")))
    if (run / "hub" / "README.md").exists():
        print(json.dumps(card(run, run / "hub" / "README.md", "someone/golden-" + run.name)))
