#!/usr/bin/env python3
"""Distiset folders read by the real `datasets` and `huggingface_hub`: load_dataset(FOLDER) gives the recorded rows, types and order."""
import json
import os
import subprocess
import sys
import tempfile

from arrow_rows import rows_equal

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def in_environment():
    """Runs this file again in the environment of the interop tests."""
    made = subprocess.run([os.path.join(ROOT, "script/interop")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if made.returncode:
        print("test_distiset_interop: skipped, the Python clients are not there: " + made.stderr.strip())
        sys.exit(77)
    writer = os.path.join(os.path.dirname(os.path.abspath(sys.argv[1])), "tests", "test_distiset")
    with tempfile.TemporaryDirectory(prefix="gavel-interop-") as folder:
        subprocess.run([writer, "write", folder], check=True)
        env = dict(os.environ, HF_HOME=os.path.join(folder, ".hf"), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
        return subprocess.run([os.path.join(made.stdout.strip(), "bin/python"), __file__, "--inside", folder], env=env).returncode


def inside(folder):
    import datasets
    import pyarrow
    from huggingface_hub import DatasetCard

    with open(os.path.join(ROOT, "tests/data/distiset/runs.jsonl"), encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    by_run = {}
    for line in lines:
        by_run.setdefault(line["run"], []).append(line)
    for run, configs in sorted(by_run.items()):
        path = os.path.join(folder, run)
        assert sorted(datasets.get_dataset_config_names(path)) == sorted(c["config"] for c in configs), run
        for c in configs:
            data = datasets.load_dataset(path, None if c["config"] == "default" else c["config"])
            assert list(data) == ["train"], list(data)
            data = data["train"]
            assert data.column_names == [name for name, _ in c["columns"]], (run, data.column_names)
            got = [str(f.type).replace("list<item: ", "list<element: ") for f in data.data.schema]
            want = [t.replace("list<item: ", "list<element: ") for _, t in c["columns"]]
            want = [("int64" if run == "all_null" and name == "result" else "string") if t == "null" else t for (name, _), t in zip(c["columns"], want)]
            assert got == want, (run, got, want)
            assert rows_equal(list(data), c["rows"]), run
            print("%s/%s: %d rows, %d columns" % (run, c["config"], len(data), len(got)))
        card = DatasetCard.load(os.path.join(path, "README.md"))
        assert card.data.tags == ["synthetic", "distilabel", "rlaif", "gavel"], card.data.tags
        assert card.data.size_categories == "n<1K"
    assert len(os.listdir(os.path.join(folder, "seed", "data"))) == 3
    print("datasets %s, pyarrow %s" % (datasets.__version__, pyarrow.__version__))


if len(sys.argv) > 2 and sys.argv[1] == "--inside":
    inside(sys.argv[2])
else:
    sys.exit(in_environment())
