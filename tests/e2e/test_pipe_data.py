#!/usr/bin/env python3
"""Where a pipeline's rows come from and where they go, with the test engine: --out in every format, and none but these; loading steps over files,
folders and the folders that gavel itself writes; rows that break their format."""
import csv
import gzip
import io
import json
import os

from support import ROOT, judge, main, mock, read, refused, rows, run, table, write

EXAMPLE = os.path.join(ROOT, "examples", "prometheus2.yaml")
COLUMNS = ["instruction", "generation", "feedback", "result", "model_name"]
FORMATS = ["jsonl", "json", "csv", "tsv", "json.gz", "csv.gz", "jsonl.zst", "tsv.zst", "JSONL"]


def texts(n=5):
    return [{"prompt": "p%d, \"q\"\t\u00e9\nx" % i, "completion": "[%d]" % i} for i in range(n)]


def read_rows(path):
    """The rows of a file by Python's own modules; zstd through gavel, which copies the columns."""
    name = path.lower()
    if name.endswith(".zst"):
        run("judge", path, "--model", "mock", "--rubric", "honesty", "--keep", ",".join(COLUMNS[:2]), "--out", "copy.jsonl", "--fresh", want=0)
        return table("copy.jsonl")
    text = (gzip.decompress(read(path)) if name.endswith(".gz") else read(path)).decode()
    name = name[:-3] if name.endswith(".gz") else name
    if name.endswith((".csv", ".tsv")):
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter="," if name.endswith("csv") else "\t"))
    return json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]


def pair(found):
    return [(r["instruction"], r["generation"]) for r in found]


@mock
def rows_are_written_in_every_format_that_is_read(_):
    write("in.jsonl", texts())
    write("judged.jsonl", [{"instruction": r["prompt"], "generation": r["completion"]} for r in texts()])
    want = [(r["prompt"], r["completion"]) for r in texts()]
    for f in FORMATS:
        run("run", EXAMPLE, "--dataset", "in.jsonl", "--model", "mock", "--out", "run." + f, want=0)
        if f in ("json", "csv.gz", "tsv.zst"):
            judge("judged.jsonl", "judge." + f, want=0)
            run("export", "judge.%s.run" % f, "--out", "export." + f, want=0)
        for out in ("run.", "judge.") if os.path.exists("judge." + f) else ("run.",):
            found = read_rows(out + f)
            assert os.path.isfile(out + f) and pair(found) == want, (out + f, found)
            assert ".zst" in f or all(str(r["result"]) in "12345" for r in found), found
        if os.path.exists("export." + f) and ".zst" not in f:
            assert [str(r["result"]) for r in read_rows("export." + f)] == [str(r["result"]) for r in read_rows("judge." + f)], f
    assert read("run.csv.gz")[4:8] == b"\0\0\0\0", "the time is in the file, so two runs differ"


@mock
def a_suffix_that_is_no_format_makes_no_folder(_):
    write("in.jsonl", texts())
    args = ["run", EXAMPLE, "--dataset", "in.jsonl", "--model", "mock", "--out"]
    for out in ("o.txt", "o.arrow", "o.xlsx", "o.parquet.gz", "o.jsonl.xz", "o.gz", "o.feather"):
        refused(run(*args, out), 2, "--out is taken for a file, because no such folder is here: %s: unknown suffix; write .jsonl, .json, .csv or .tsv, "
                "also with .gz or .zst behind it, or .parquet" % out)
        assert sorted(os.listdir(".")) == ["in.jsonl"], os.listdir(".")
    for out in ("judge-2.0", "rows.v2", "Llama-3.1-judged", "plain"):
        run(*args, out, want=0)
        assert os.path.isfile(os.path.join(out, "README.md")), out
    os.mkdir("there.txt")
    run(*args, "there.txt", want=0)
    assert os.path.isfile("there.txt/README.md")


if __name__ == "__main__":
    main([rows_are_written_in_every_format_that_is_read, a_suffix_that_is_no_format_makes_no_folder])
