#!/usr/bin/env python3
"""Where a pipeline's rows come from and where they go, with the test engine: --out in every format, and none but these; loading steps over files,
folders and the folders that gavel itself writes; rows that break their format."""
import csv
import gzip
import io
import json
import os

from support import DATA, ROOT, judge, main, mock, read, refused, rows, run, table, write

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


def pipeline(kind, **arguments):
    """A pipeline file whose loading step is this, then PrometheusEval over instruction and generation."""
    steps = [{"step": dict(arguments, name="load", type_info={"module": "distilabel", "name": kind}), "name": "load"},
             {"step": {"name": "judge", "type_info": {"module": "distilabel", "name": "PrometheusEval"}, "mode": "absolute", "rubric": "honesty", "reference": False,
                       "llm": {"type_info": {"module": "distilabel", "name": "vLLM"}, "model": "x", "generation_kwargs": {"max_new_tokens": 64}}}, "name": "judge"}]
    write("p.json", json.dumps({"distilabel": {"version": "1.5.3"}, "pipeline": {"name": "p", "steps": steps, "connections": [
        {"from": "load", "to": ["judge"]}, {"from": "judge", "to": []}]}}))
    return "p.json"


def loaded(kind, want=0, **arguments):
    done = run("run", pipeline(kind, **arguments), "--model", "mock", "--out", "o.jsonl", "--fresh")
    assert done.code == want, (done.code, done.err)
    return table("o.jsonl") if want in (0, 3) else done.err


@mock
def files_and_folders_that_are_there_are_read_or_refused_by_what_they_are(_):
    os.mkdir("folder")
    write("folder/a.jsonl", rows(2))
    write("folder/b.jsonl", rows(3))
    assert len(loaded("LoadDataFromFileSystem", data_files="folder")) == 5
    assert len(loaded("LoadDataFromFileSystem", data_files=os.path.abspath("folder"))) == 5
    write("d.data", rows(4))
    assert len(loaded("LoadDataFromFileSystem", data_files="d.data", filetype="json")) == 4
    assert len(loaded("LoadDataFromFileSystem", data_files="d.data", filetype="jsonl")) == 4
    for files, part in (("d.data", '"d.data" is there, but its name does not end as a data file\'s: .parquet, .arrow, .csv, .tsv, .json, .jsonl'),
                        (["folder"], '"folder" is a folder; give it alone, or its files as a pattern: folder/**'),
                        (["hf://datasets/org/a/b.jsonl"], 'data files: data_files: "hf://datasets/org/a/b.jsonl": URLs and paths inside of archives are not read'),
                        ("none.jsonl", 'there is no data file "none.jsonl"')):
        said = loaded("LoadDataFromFileSystem", want=1 if "d.data" in files or "hf" in files[0] else 2, data_files=files)
        assert said == 'gavel: step "load": ' + part + "\n", said


@mock
def folders_that_gavel_writes_are_read_as_a_distiset(_):
    write("in.jsonl", rows(3))
    run("run", pipeline("LoadDataFromFileSystem", data_files="in.jsonl"), "--model", "mock", "--out", "one", want=0)
    again = {"output_mappings": {}, "is_distiset": True, "dataset_path": "one"}
    assert [r["instruction"] for r in loaded("LoadDataFromDisk", **again)] == [r["instruction"] for r in rows(3)]
    assert len(loaded("LoadDataFromDisk", dataset_path="one")) == 3
    assert len(loaded("LoadDataFromDisk", dataset_path="one", is_distiset=True, config="default", split="train")) == 3
    assert 'no configuration "other"; there are "default"' in loaded("LoadDataFromDisk", want=2, dataset_path="one", is_distiset=True, config="other")
    two = os.path.join(DATA, "pipelines", "files", "two_leaves.yaml")
    run("run", two, "--dataset", os.path.join(DATA, "pipelines", "runs", "two_leaves", "input.jsonl"), "--model", "mock", "--out", "two", want=3)
    leaves = sorted(d for d in os.listdir("two") if os.path.isdir(os.path.join("two", d)))
    assert leaves == ["absolute", "relative"] and len(loaded("LoadDataFromDisk", dataset_path="two", is_distiset=True, config="absolute")) == 5
    said = loaded("LoadDataFromDisk", want=2, dataset_path="two", is_distiset=True)
    assert all('"%s"' % leaf in said for leaf in leaves), said


@mock
def a_row_that_breaks_its_format_is_bad_input_and_its_neighbours_are_judged(_):
    good = json.dumps(rows(1)[0])
    write("in.jsonl", good + "\n{broken\n" + good + "\n")
    write("in.csv", 'instruction,generation\na,b\nc,d,e\n"x"y,z\nf,g\n')
    for name, results in (("in.jsonl", [True, False, True]), ("in.csv", [True, False, False, True])):
        for kind, more, args in (("LoadDataFromFileSystem", {"data_files": name}, []), ("LoadDataFromDicts", {}, ["--dataset", name])):
            done = run("run", pipeline(kind, **more), *args, "--model", "mock", "--out", "o.jsonl", "--fresh", want=3)
            out = table("o.jsonl")
            assert [r["result"] is not None for r in out] == results, (args, out)
            assert "%s:" % name in done.err and "; its columns are null" in done.err and "bad_input" in done.err, done.err
            assert [r["instruction"] is not None for r in out] == results, out
    folder = run("run", pipeline("LoadDataFromFileSystem", data_files="in.jsonl"), "--model", "mock", "--out", "dir", want=3)
    assert "1 rows break their format, and their columns are null: in.jsonl:2: " in read("dir/pipeline.log").decode(), folder.err


if __name__ == "__main__":
    main([rows_are_written_in_every_format_that_is_read, a_suffix_that_is_no_format_makes_no_folder,
          files_and_folders_that_are_there_are_read_or_refused_by_what_they_are, folders_that_gavel_writes_are_read_as_a_distiset,
          a_row_that_breaks_its_format_is_bad_input_and_its_neighbours_are_judged])
