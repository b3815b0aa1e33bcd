#!/usr/bin/env python3
"""The Distiset of every recorded run: `gavel run --out FOLDER` with the recorded answers gives the recorded rows of every leaf, the recorded
Arrow schema as pyarrow reads it, and the recorded card.  What differs is in the closed list of docs/distilabel.md, and only that."""
import json
import os
import re
import subprocess
import sys

import support
from arrow_rows import rows_equal
from support import DATA, ROOT, mock, read, run
from test_pipe_data import pipeline

PIPES = os.path.join(DATA, "pipelines")
CORRECTED = sorted(os.listdir(os.path.join(PIPES, "corrected")))
NO_RECORDED_ROWS = ["null_then_int"]  # distilabel's run ends in an exception
NO_RUN = ["keep_metadata"]            # refused, as distilabel refuses it
PARAMS = {
    "seed": ["task.llm.generation_kwargs.max_new_tokens=1024", "task.llm.generation_kwargs.temperature=0.7"],
    "seed_runtime": ['task.llm.generation_kwargs={"max_new_tokens": 1024, "temperature": 0.7}'],
    "runtime_parameters": ["load.data_files=data/rows.jsonl", "load.num_examples=4", "judge.num_generations=2",
                           'judge.llm.generation_kwargs={"max_new_tokens": "256", "temperature": 1.0}'],
}
# Columns in which every recorded value is null: their type here does not depend on the values.
NULL_TYPES = {"feedback": "string", "result": "int64", "extra": "string"}
# Of the run that has no recorded rows, because distilabel's ends in an exception: what docs/distilabel.md promises.
OWN_SCHEMAS = {("null_then_int", "default"): [["feedback", "string"], ["result", "int64"], ["model_name", "string"]]}
# The first record of a card, where the corrected rows begin with another: what stands there in place of the recorded lines.
OWN_RECORDS = {"batch_null_first": [('"feedback": null,', '"feedback": "Rubric d\\u00e9taill\\u00e9 wrong answer answer step but tone helpful misses polite covers.",'),
                                    ('"model_name": null,', '"model_name": "hash-llm",'), ('"score": null', '"score": 1')]}
READ_SCHEMAS = """
import json, sys
import pyarrow.parquet as pq
for path in sys.argv[1:]:
    t = pq.read_table(path)
    print(json.dumps({"columns": [[f.name, str(f.type), f.nullable] for f in t.schema], "rows": t.to_pylist()}))
"""


def names():
    return sorted(set(os.listdir(os.path.join(PIPES, "runs"))) - set(NO_RUN))


def lines(*path):
    with open(os.path.join(PIPES, *path), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def write_distiset(name):
    """Into NAME/my-distiset, the folder's name that the recordings had."""
    source = "corrected" if name in CORRECTED else "runs"
    os.makedirs(name)
    args = ["run", os.path.join(PIPES, "files", name + ".yaml"), "--out", name + "/my-distiset", "--dataset", os.path.join(PIPES, "runs", name, "input.jsonl"),
            "--model", "mock:replay=%s,name=hash-llm" % os.path.join(PIPES, source, name, "canned.jsonl")]
    for p in PARAMS.get(name, []):
        args += ["--param", p]
    done = run(*args)
    assert done.code in (0, 3), (name, done.err)
    return name + "/my-distiset"


def config_files(folder):
    """{config: its Parquet file}"""
    return {("default" if d == "data" else d): os.path.join(folder, d, "train-00000-of-00001.parquet") for d in sorted(os.listdir(folder))
            if os.path.isdir(os.path.join(folder, d))}


def python_clients():
    made = subprocess.run([os.path.join(ROOT, "script", "interop")], capture_output=True, text=True, check=False)
    if made.returncode:
        raise support.Skip("the Python clients are not there: " + made.stderr.strip())
    return os.path.join(made.stdout.strip(), "bin", "python")


@mock
def every_leaf_has_the_recorded_rows_and_the_recorded_arrow_schema(_):
    python, recorded = python_clients(), lines("schemas.jsonl")
    files = [(n, config, path) for n in names() for config, path in config_files(write_distiset(n)).items()]
    read_back = subprocess.run([python, "-c", READ_SCHEMAS] + [path for _, _, path in files], capture_output=True, text=True, check=True).stdout
    got = {(n, config): json.loads(line) for (n, config, _), line in zip(files, read_back.split("\n"))}
    assert len(got) == 28, len(got)
    schemas = {(r["run"], r["config"]): r["columns"] for r in recorded}
    assert sorted(set(got) - set(schemas)) == [(n, "default") for n in NO_RECORDED_ROWS] and not set(schemas) - set(got)
    for (name, config), table in got.items():
        assert all(nullable for _, _, nullable in table["columns"]), name
        have = [(column, kind.replace("element: ", "item: ")) for column, kind, _ in table["columns"]]
        want = [(c, (NULL_TYPES[c] if kind == "null" else kind).replace("element: ", "item: ")) for c, kind in schemas.get((name, config)) or OWN_SCHEMAS[name, config]]
        if name == "batch_null_leaf":  # its columns came in the order of a batch that had failed
            assert have != want and sorted(have) == sorted(want), (name, have, want)
        else:
            assert have == want, (name, config, have, want)
        rows = lines("corrected" if name in CORRECTED else "runs", name, "rows.%s.jsonl" % config)
        assert rows_equal(table["rows"], rows), (name, config)


# distilabel's way from a file to a Distiset: load_dataset, Python's objects, pa.Table.from_pylist.
TYPED = """
import datetime as d, decimal, json, sys
import datasets, pyarrow as pa, pyarrow.parquet as pq
t = d.datetime(2024, 2, 29, 13, 45, 0, 250000)
utc = d.timezone.utc
columns = {
    "instruction": pa.array(["a", "b", "c"]), "generation": pa.array(["c", "d", "e"]), "when": pa.array([t, None, t], pa.timestamp("us")),
    "ms": pa.array([t, t, None], pa.timestamp("ms")), "instant": pa.array([t.replace(tzinfo=utc)] * 3, pa.timestamp("us", tz="UTC")),
    "day": pa.array([t.date(), None, d.date(1969, 7, 20)]), "clock": pa.array([t.time(), d.time(0, 0), None], pa.time64("us")),
    "price": pa.array([decimal.Decimal("123.450"), decimal.Decimal("-0.500"), None], pa.decimal128(6, 3)),
    "bytes": pa.array([b"\\x00\\xff", b"", None]), "small": pa.array([1, None, 3], pa.int32()), "real": pa.array([0.5, None, 2.0], pa.float32()),
    "nan": pa.array([float("nan")] * 3), "inf": pa.array([None, float("-inf"), 1.0]),
    "meta": pa.array([{"at": t, "n": 1}, None, {"at": None, "n": 2}], pa.struct([("at", pa.timestamp("us")), ("n", pa.int16())])),
    "days": pa.array([[t.date()], [], None], pa.list_(pa.date32())),
}
if sys.argv[1] == "make":
    pq.write_table(pa.table(columns), "typed.parquet", row_group_size=2)
else:
    want = pa.Table.from_pylist(datasets.load_dataset("parquet", data_files="typed.parquet", split="train", cache_dir="cache").to_list())
    for path in sys.argv[1:]:
        got = pq.read_table(path)
        for name in want.column_names:
            a, b = got.column(name), want.column(name)
            assert str(a.type).replace("element", "item") == str(b.type).replace("element", "item"), (path, name, a.type, b.type)
            assert repr(a.to_pylist()) == repr(b.to_pylist()), (path, name, a.to_pylist(), b.to_pylist())
    info = datasets.load_dataset("out", split="train", cache_dir="cache").features
    print(info["when"].dtype, info["day"].dtype, info["price"].dtype, info["bytes"].dtype)
"""


@mock
def columns_of_parquet_keep_the_types_that_python_objects_give_them(folder):
    python = python_clients()
    subprocess.run([python, "-c", TYPED, "make"], check=True)
    for source in ("typed.parquet", "set"):  # a file, and a folder of two files
        if source == "set":
            os.mkdir("set")
            for name in ("a", "b"):
                os.link("typed.parquet", "set/train-%s.parquet" % name)
        done = run("run", pipeline("LoadDataFromFileSystem", data_files=source), "--model", "mock", "--out", "out", "--fresh")
        assert done.code == 0, done.err
        if source == "set":
            assert "6 rows" in done.err, done.err
            continue
        run("run", pipeline("LoadDataFromDicts"), "--dataset", source, "--model", "mock", "--out", "out.parquet", want=0)
        read_back = subprocess.run([python, "-c", TYPED, "out/data/train-00000-of-00001.parquet", "out.parquet"], capture_output=True, text=True, check=False,
                                   env=support.environment(HOME=folder))
        assert read_back.returncode == 0, read_back.stderr[-3000:]
        assert read_back.stdout.split("\n")[-2] == "timestamp[us] date32 decimal128(6, 3) binary", read_back.stdout


def card_parts(text):
    """Metadata lines, {configuration: its section}, everything else without the section that is ours."""
    _, meta, body = text.split("---\n", 2)
    body = re.sub(r"\n## Judgments\n.*?(?=\n##\u00a0References\n|\Z)", "\n", body, flags=re.DOTALL)
    sections = dict((re.search(r"Configuration: (\S+) ", s).group(1), s) for s in re.findall(r"<details>.*?</details>", body, re.DOTALL))
    rest = re.sub(r"\s*\n\s*\n", "\n", re.sub(r"<details>.*?</details>", "", body, flags=re.DOTALL)).strip()
    return meta.rstrip("\n").split("\n"), sections, rest


def top_level(meta):
    """{key: its lines}"""
    found, key = {}, None
    for line in meta:
        if re.match(r"[a-z_]+:", line):
            key = line.split(":")[0]
            found[key] = [line[len(key) + 1:].strip()]
        else:
            found[key].append(line)
    return found


@mock
def every_card_has_the_recorded_fields(_):
    with open(os.path.join(DATA, "card", "cards.jsonl"), encoding="utf-8") as f:
        cards = {c["name"]: c["readme"] for c in map(json.loads, f)}
    compared = []
    for name in names():
        if name in NO_RECORDED_ROWS:
            continue
        folder = write_distiset(name)
        (meta, sections, rest), (want_meta, want_sections, want_rest) = (
            card_parts(t) for t in (read(folder + "/README.md").decode(), cards[name + "/README.md"]))
        fields, want = top_level(meta), top_level(want_meta)
        assert set(fields) - set(want) == {"dataset_info", "configs"} and not set(want) - set(fields), (name, fields)
        assert fields["size_categories"] == want["size_categories"] and fields["tags"] == want["tags"] + ["- gavel"], (name, fields)
        assert rest == want_rest, "%s:\n%s\n--- want ---\n%s" % (name, rest, want_rest)
        assert sorted(sections) == sorted(want_sections), name
        for old, new in OWN_RECORDS.get(name, []):
            assert want_sections["default"].count(old) == 1, (name, old)
            want_sections["default"] = want_sections["default"].replace(old, new)
        assert sections == want_sections, (name, sections, want_sections)
        compared.append(name)
        if name + "/hub/README.md" in cards:
            same_hub_fields(name, fields, top_level(card_parts(cards[name + "/hub/README.md"])[0]))
    assert len(compared) == 26, compared


def same_hub_fields(name, fields, want):
    """A pushed card's dataset_info and configs.  Sizes of files depend on the Parquet writer."""
    for key in ("dataset_info", "configs"):
        have, recorded = ([line for line in f[key] if "download_size" not in line] for f in (fields, want))
        assert have == recorded, (name, key, have, recorded)


def the_list_of_differences_in_the_manual_is_closed(_):
    text = read(os.path.join(ROOT, "docs", "distilabel.md")).decode()
    section = text.split("## Where gavel differs from distilabel, and why\n")[1].split("\n## ")[0]
    listed = [[c.strip() for c in line.strip("|").split("|")] for line in section.split("\n") if line.startswith("| ") and not line.startswith("| ---")]
    named = {n for row in listed for n in re.split(r", ", row[0])}
    assert all(len(row) == 4 and row[3] for row in listed[1:]), [row for row in listed if len(row) != 4 or not row[3]]
    missing = [n for n in CORRECTED + ["all_null", "unicode_rows"] if n not in named]
    assert not missing, "docs/distilabel.md does not list %s" % missing
    runs = set(os.listdir(os.path.join(PIPES, "runs")))
    assert {n for n in named if n in runs} == set(CORRECTED) | {"all_null", "unicode_rows"}, "a run is listed that differs in nothing"
    assert "Where it differs" not in read(os.path.join(ROOT, "docs", "distiset.md")).decode()


support.main([
    every_leaf_has_the_recorded_rows_and_the_recorded_arrow_schema,
    columns_of_parquet_keep_the_types_that_python_objects_give_them,
    every_card_has_the_recorded_fields,
    the_list_of_differences_in_the_manual_is_closed,
])
