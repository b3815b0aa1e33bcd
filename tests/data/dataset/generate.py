#!/usr/bin/env python3
"""Makes the folders of this directory and records what the library `datasets` makes of them.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install datasets==5.2.0 && HF_HUB_OFFLINE=1 /tmp/venv/bin/python generate.py

cases.json: file trees (path -> text) with load_dataset arguments, and either splits -> {files, num_rows, columns, rows} or the error.
slices.json: split instructions over 327 and 10 rows, and the row numbers they give.
values.json: texts of CSV and JSON files, and the rows they give.
patterns.json: globs against paths.
disk/: what save_to_disk writes, with disk.json.
"""
import datetime
import json
import os
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
HERE = os.path.dirname(os.path.abspath(__file__))
import datasets  # noqa: E402
from datasets import Dataset, DatasetDict, load_dataset, load_dataset_builder  # noqa: E402

datasets.disable_progress_bars()
ROW = '{"a": %d}\n'


def jsonl(*numbers):
    return "".join(ROW % n for n in numbers)


def card(text):
    return "---\n" + text + "---\n# card\n"


TREES = {
    "single_file": {"rows.jsonl": jsonl(1, 2, 3)},
    "by_file_name": {"train.jsonl": jsonl(1), "test.jsonl": jsonl(2), "validation.jsonl": jsonl(3)},
    "by_file_name_in_data": {"data/train.jsonl": jsonl(1), "data/test.jsonl": jsonl(2)},
    "numbered": {"train_0.jsonl": jsonl(1), "train_1.jsonl": jsonl(2), "train_10.jsonl": jsonl(3), "train_2.jsonl": jsonl(4), "test_0.jsonl": jsonl(5)},
    "keywords": {"my-dev.jsonl": jsonl(1), "my_evaluation.jsonl": jsonl(2), "x.training.jsonl": jsonl(3)},
    "keyword_inside_word": {"trainer.jsonl": jsonl(1), "latest.jsonl": jsonl(2)},
    "by_folder": {"train/b.jsonl": jsonl(1), "train/a.jsonl": jsonl(2), "test/a.jsonl": jsonl(3)},
    "by_deep_folder": {"en/train/a.jsonl": jsonl(1), "de/train/a.jsonl": jsonl(2), "de/my-test/a.jsonl": jsonl(3)},
    "folder_beats_file": {"train/a.jsonl": jsonl(1), "test.jsonl": jsonl(2)},
    "sharded": {"data/train-00000-of-00002.jsonl": jsonl(1), "data/train-00001-of-00002.jsonl": jsonl(2), "data/random-00000-of-00001.jsonl": jsonl(3),
                "data/test-00000-of-00001-abc.jsonl": jsonl(4), "data/extra.jsonl": jsonl(5)},
    "no_keyword": {"b.jsonl": jsonl(1), "a.jsonl": jsonl(2), "sub/c.jsonl": jsonl(3)},
    "ignored": {"rows.jsonl": jsonl(1), "config.json": "{}", "dataset_info.json": "{}", ".hidden.jsonl": jsonl(2), ".git/a.jsonl": jsonl(3), "__pycache__/a.jsonl": jsonl(4),
                "LICENSE": "x", "notes.bin": "x"},
    "two_matches": {"train-test.jsonl": jsonl(1), "train.jsonl": jsonl(2)},
    "mixed_formats": {"a.jsonl": jsonl(1), "b.jsonl": jsonl(2), "c.csv": "a\n3\n"},
    "mixed_draw": {"a.jsonl": jsonl(1), "c.csv": "a\n3\n"},
    "mixed_splits": {"train.jsonl": jsonl(1), "test.csv": "a\n3\n"},
    "card_string": {"README.md": card("configs:\n- config_name: default\n  data_files: \"x/*.jsonl\"\n"), "x/b.jsonl": jsonl(1), "x/a.jsonl": jsonl(2), "y.jsonl": jsonl(3)},
    "card_list": {"README.md": card("configs:\n- config_name: default\n  data_files:\n  - b.jsonl\n  - a.jsonl\n"), "a.jsonl": jsonl(1), "b.jsonl": jsonl(2)},
    "card_splits": {"README.md": card("configs:\n- config_name: default\n  data_files:\n  - split: dev.x\n    path: b.jsonl\n  - split: train\n    path:\n    - a.jsonl\n    - c/*\n"),
                    "a.jsonl": jsonl(1), "b.jsonl": jsonl(2), "c/d.jsonl": jsonl(3), "c/e.jsonl": jsonl(4)},
    "card_two": {"README.md": card("configs:\n- config_name: en\n  data_dir: en\n- config_name: de\n  data_dir: de\n  default: true\n"), "en/train.jsonl": jsonl(1), "de/train.jsonl": jsonl(2),
                 "de/test.jsonl": jsonl(3)},
    "card_two_no_default": {"README.md": card("configs:\n- config_name: en\n  data_files: en.jsonl\n- config_name: de\n  data_files: de.jsonl\n"), "en.jsonl": jsonl(1), "de.jsonl": jsonl(2)},
    "card_other_keys": {"README.md": card("license: mit\nlanguage:\n- en\n"), "train.jsonl": jsonl(1)},
    "card_empty": {"README.md": "# no block\n---\nconfigs: 1\n---\n", "train.jsonl": jsonl(1)},
    "card_sep": {"README.md": card("configs:\n- config_name: default\n  data_files: a.csv\n  sep: \";\"\n"), "a.csv": "x;y\n1;2\n"},
    "card_missing_file": {"README.md": card("configs:\n- config_name: default\n  data_files: nothere.jsonl\n"), "a.jsonl": jsonl(1)},
    "card_bad_split": {"README.md": card("configs:\n- config_name: default\n  data_files:\n  - split: a-b\n    path: a.jsonl\n"), "a.jsonl": jsonl(1)},
    "card_two_defaults": {"README.md": card("configs:\n- config_name: default\n  data_files: a.jsonl\n- config_name: b\n  data_files: a.jsonl\n  default: true\n"), "a.jsonl": jsonl(1)},
    "card_no_name": {"README.md": card("configs:\n- data_files: a.jsonl\n"), "a.jsonl": jsonl(1)},
    "card_features": {"README.md": card("dataset_info:\n  features:\n  - name: s\n    dtype: string\n  - name: f\n    dtype: float64\n  - name: i\n    dtype: int64\n"), "a.csv": "s,f,i\n5,6,7\n"},
    "empty": {"LICENSE": "x"},
    "jsonl_keys": {"a.jsonl": '{"a": 1}\n{"b": "x", "a": 2}\n', "b.jsonl": '{"c": true}\n'},
    "json_array": {"a.json": '[{"a": 1}, {"a": 2.5}]'},
    "tsv": {"a.tsv": "x\ty\n1\tu\n"},
}
ARGUMENTS = {
    "card_two": [{}, {"name": "en"}, {"name": "fr"}],
    "card_two_no_default": [{}, {"name": "de"}],
    "single_file": [{}, {"name": "x"}, {"data_files": "rows.jsonl"}, {"data_files": ["*.jsonl", "rows.jsonl"]}, {"data_files": {"test": "rows.jsonl"}}, {"data_files": "no*.jsonl"}],
    "by_deep_folder": [{}, {"data_dir": "de"}],
    "no_keyword": [{}, {"data_files": "**/*.jsonl"}, {"data_files": "[ab].jsonl"}, {"data_files": "[!a].jsonl"}, {"data_files": "?.jsonl"}, {"data_files": {"x": ["sub/*", "b.jsonl"]}}],
}


def write_tree(root, tree):
    for path, text in tree.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)


def plain(v):
    if isinstance(v, (datetime.datetime, datetime.date, datetime.time)):
        return v.isoformat()
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, list):
        return [plain(x) for x in v]
    return v


def first_error(e):
    while e.__cause__ is not None:
        e = e.__cause__
    return ("%s: %s" % (type(e).__name__, str(e).split("\n")[0]))[:200]


def outcome(root, arguments, cache):
    try:
        builder = load_dataset_builder(root, cache_dir=cache, **arguments)
        files = {str(k): [os.path.relpath(p, root) for p in v] for k, v in builder.config.data_files.items()}
        d = load_dataset(root, cache_dir=cache, **arguments)
    except Exception as e:
        return {"error": first_error(e).replace(root, "ROOT")}
    out = {}
    for split, ds in d.items():
        out[split] = {"files": files[split], "num_rows": ds.num_rows, "columns": ds.column_names, "rows": [plain(r) for r in ds.select(range(min(5, ds.num_rows)))]}
    return {"splits": out}


def make_cases(work):
    cases = []
    for name, tree in TREES.items():
        root = os.path.join(work, name)
        write_tree(root, tree)
        for arguments in ARGUMENTS.get(name, [{}]):
            cases.append({"name": name, "tree": tree, "arguments": arguments, **outcome(root, arguments, os.path.join(work, "cache"))})
    return cases


SLICES = ["train", "train[:10%]", "train[10%:20%]", "train[-10%:]", "train[:33%]", "train[33%:66%]", "train[5:20]", "train[-100:]", "train[:-300]", "train[:]", "train[300:1000]", "train[5:5]",
          "train[20:5]", "train[:50%]+train[50%:]", "train[:3] + test[-2:]", "test[:10%](pct1_dropremainder)", "train[:10%](pct1_dropremainder)", "train[:10%](closest)", "train[:1_0]",
          "train[:101%]", "nope", "train[1]", "train[:5", "train[a:b]", "", "train+", "test[:25%]", "test[:35%]", "test[:45%]", "test[:5%]", "test[:15%]", "train[:5](closest)", "train[:10%](down)",
          "train[-1000:2]", "train[1:50%]", "test[-5:-2]", "train[:0.5]", " train", "train[ :5]"]


def make_slices(work):
    root = os.path.join(work, "slices")
    write_tree(root, {"train_0.jsonl": jsonl(*range(0, 100)), "train_1.jsonl": jsonl(*range(100, 327)), "test.jsonl": jsonl(*range(1000, 1010))})
    out = []
    for s in SLICES:
        try:
            out.append({"split": s, "rows": load_dataset(root, split=s, cache_dir=os.path.join(work, "cache"))["a"][:]})
        except Exception as e:
            out.append({"split": s, "error": first_error(e)})
    return out


VALUES = {
    "ints.csv": "a,b\n1,-5\n2, 7\n9223372036854775807,+3\n",
    "uint.csv": "a\n18446744073709551615\n1\n",
    "big.csv": "a\n18446744073709551616\n1\n",
    "floats.csv": "a,b,c\n1.5,1e3,.5\n2,-1E-2,5.\n",
    "int_missing.csv": "a,b\n1,x\n,y\n3,\n",
    "bools.csv": "a,b\nTrue,true\nFALSE,false\n",
    "bool_missing.csv": "a,b\nTrue,1\n,2\n",
    "words.csv": "a,b\n" + "".join("%s,x\n" % w for w in ["NA", "N/A", "null", "NULL", "None", "nan", "NaN", "-nan", "<NA>", "n/a", "#N/A", "none", "na", "Null", "abc"]),
    "quoted.csv": 'a,b\n"1","x,y"\n"2","line\nbreak ""q"""\n"NA",z\n',
    "mixed.csv": "a\n1\nx\n2.50\n",
    "zeros.csv": "a,b\n007,1\n010,2\n",
    "spaces.csv": "a,b\n x , 1\ny ,2 \n",
    "short.csv": "a,b,c\n1,2\n3\n4,5,6\n",
    "unnamed.csv": ",a\n0,x\n1,y\n",
    "all_missing.csv": "a,b\n,1\n,2\n",
    "blank_lines.csv": "a,b\n\n1,2\n\n3,4\n",
    "crlf.csv": "a,b\r\n1,x\r\n2,y\r\n",
    "bom.csv": "\ufeffa,b\n1,2\n",
    "dates.csv": "a\n2024-01-02\n2024-01-03\n",
    "underscore.csv": "a\n1_000\n2\n",
    "hex.csv": "a\n0x10\n2\n",
    "tab.tsv": "a\tb\n1\tx\n",
    "floats.jsonl": '{"a": 1}\n{"a": 2.5}\n',
    "missing.jsonl": '{"a": 1, "b": "x"}\n{"a": 2}\n{"c": [1]}\n',
    "nulls.jsonl": '{"a": null, "b": null}\n{"a": "x", "b": null}\n',
    "struct.jsonl": '{"m": {"x": 1}}\n{"m": {"x": 2, "y": "t"}}\n{"m": null}\n',
    "list_of_struct.jsonl": '{"m": [{"role": "u", "content": "a"}]}\n{"m": [{"role": "a", "content": "b", "name": "n"}]}\n{"m": []}\n',
    "mixed.jsonl": '{"a": 1}\n{"a": "x"}\n',
    "float_list.jsonl": '{"a": [1, 2]}\n{"a": [1.5]}\n',
    "unicode.jsonl": '{"a": "\u00e9\\u20ac\\n", "b": "\U0001f600"}\n',
    "array.json": '[\n {"a": 1, "b": "x"},\n {"a": 2, "b": null}\n]\n',
    "lines.json": '{"a": 1}\n{"a": 2}\n',
    "object.json": '{"data": [{"a": 1}, {"a": 2}]}\n',
    "dates.jsonl": '{"a": "2024-01-02"}\n{"a": "2024-01-03"}\n',
    "blank.jsonl": '{"a": 1}\n\n{"a": 2}\n',
    "last_line.jsonl": '{"a": 1}\n{"a": 2}',
}


def make_values(work):
    out = []
    for name, text in VALUES.items():
        root = os.path.join(work, "values", name.replace(".", "_"))
        write_tree(root, {name: text})
        out.append({"file": name, "text": text, **outcome(root, {}, os.path.join(work, "cache"))})
    return out


GLOBS = ["*", "**", "*.csv", "**/*.csv", "data/*", "data/**", "**/train/**", "**/train[-._ 0-9]*", "**/*[-._ 0-9]train[-._ 0-9]*", "data/train-[0-9][0-9]*", "[!a]*", "[]x]", "[a-c].csv", "[c-a].csv", "?.csv",
         "**/a/**/b", "a/*/b", "a**b", "[", "[a", "[!]", "*/", "a\\*", "*.{csv,json}", "**/", "[!a-]x", "[-a]x", "**x"]
PATHS = ["a.csv", "b.csv", "z.csv", "data/a.csv", "data/x/a.csv", "train/a", "x/train/y/a", "train.csv", "x/train-1.csv", "my-train.csv", "my_train_2.csv", "trainer.csv", "]", "x", "-x", "bx", "a/b", "a/c/b", "x/a/b", "x/a/c/d/b",
         "data/train-00000-of-1", "[", "[a", "a\\x", "\u00e9.csv", "axb"]


def make_patterns():
    import re
    from fsspec.utils import glob_translate
    out = []
    for g in GLOBS:
        try:
            r = re.compile(glob_translate(g))
            out.append({"pattern": g, "matches": [p for p in PATHS if r.match(p)]})
        except ValueError as e:
            out.append({"pattern": g, "error": str(e)})
    return {"paths": PATHS, "patterns": out}


def make_disk(folder):
    shutil.rmtree(folder, ignore_errors=True)
    import pyarrow as pa
    rows = {
        "i": [1, None, 3], "f": [1.5, None, 1e300], "s": ["x", None, "\u00e9\n"], "b": [True, None, False], "l": [[1, 2], [], None],
        "st": [{"x": 1, "y": ["a"]}, None, {"x": None, "y": []}], "ls": [[{"role": "u"}], [], None], "n": [None, None, None],
        "d": [datetime.date(2024, 1, 2), None, datetime.date(1960, 12, 31)],
        "t": [datetime.datetime(2024, 1, 2, 3, 4, 5, 678901), None, datetime.datetime(1960, 1, 1)],
        "by": [b"\x00\xff", None, b"abcd"],
    }
    schema = pa.schema([("i", pa.int32()), ("f", pa.float64()), ("s", pa.string()), ("b", pa.bool_()), ("l", pa.list_(pa.int64())), ("st", pa.struct([("x", pa.int8()), ("y", pa.list_(pa.string()))])),
                        ("ls", pa.list_(pa.struct([("role", pa.string())]))), ("n", pa.null()), ("d", pa.date32()), ("t", pa.timestamp("us")), ("by", pa.binary())])
    types = Dataset(pa.table(rows, schema=schema))
    types.save_to_disk(os.path.join(folder, "types"))
    many = Dataset.from_dict({"a": list(range(25)), "t": ["row %d" % i for i in range(25)]})
    many.save_to_disk(os.path.join(folder, "shards"), num_shards=3)
    DatasetDict({"train": many.select(range(3)), "test": many.select(range(20, 22))}).save_to_disk(os.path.join(folder, "dict"))
    os.makedirs(os.path.join(folder, "distiset", "distiset_configs"), exist_ok=True)
    for config in ["default", "leaf"]:  # the layout of Distiset.save_to_disk
        DatasetDict({"train": many.select(range(4 if config == "leaf" else 2))}).save_to_disk(os.path.join(folder, "distiset", config))
    os.rmdir(os.path.join(folder, "distiset", "distiset_configs"))
    large = pa.table({"s": pa.array(["x", None], pa.large_string()), "l": pa.array([["a"], None], pa.large_list(pa.large_string())), "u": pa.array([2**64 - 1, None], pa.uint64()),
                      "dec": pa.array([None, "-1.25"], pa.string()).cast(pa.decimal128(5, 2)), "h": pa.array([1.5, None], pa.float16()), "fl": pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
                      "ti": pa.array([1, None], pa.time32("s")), "tz": pa.array([0, None], pa.timestamp("s", "UTC")), "fb": pa.array([b"ab", None], pa.binary(2))})
    with pa.ipc.new_file(os.path.join(folder, "large.arrow"), large.schema) as w:
        w.write_table(large)
    out = {"types": [plain({k: v for k, v in r.items() if k != "by"}) for r in types], "shards": [r for r in many]}
    return out


def main():
    work = tempfile.mkdtemp()
    for name, make in {"cases": lambda: make_cases(work), "slices": lambda: make_slices(work), "values": lambda: make_values(work), "patterns": make_patterns,
                       "disk": lambda: make_disk(os.path.join(HERE, "disk"))}.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as f:
            json.dump(make(), f, ensure_ascii=False, indent=1)
            f.write("\n")
    shutil.rmtree(work)


main()
