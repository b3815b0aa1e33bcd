#!/usr/bin/env python3
"""Parquet data sets of the Hub as the input of gavel judge, against hubsim: shards of a split with slices, and the conversion that the Hub makes of
a format that gavel does not read (written by hubsim's make_export.py with the library `datasets`).  Needs build/interop (script/interop).

    test_dataset_parquet.py GAVEL_BINARY [PART OF A TEST'S NAME]
"""
import json
import os

import hub_support as hs
import support

HUBSIM = os.path.abspath(os.path.join(hs.HERE, "..", "support", "hubsim"))
SHARDS = """if 1:
    import sys, os, datasets
    for name, first, n in (("train-00000-of-00003", 0, 4), ("train-00001-of-00003", 4, 1), ("train-00002-of-00003", 5, 3), ("test-00000-of-00001", 90, 2)):
        rows = range(first, first + n)
        datasets.Dataset.from_dict({"instruction": ["what is %%d?" %% i for i in rows], "generation": ["it is %%d" %% i for i in rows],
                                    "n": list(rows)}).to_parquet(os.path.join(%r, name + ".parquet"))"""
EXPORT = """if 1:
    import sys, runpy
    sys.path.insert(0, %r)
    sys.argv = ["make_export.py", %r, "--rows-per-file", "3"]
    runpy.run_path(%r, run_name="__main__")"""


def judge(folder, sim, source, *more, want=0, **variables):
    out = os.path.join(folder, "out%d.jsonl" % len(os.listdir(folder)))
    done = hs.gavel(os.path.join(folder, "home"), sim.url, "judge", source, "--rubric", "helpfulness", "--model", "mock", "--quiet", "--out", out, *more,
                    want=want, **variables)
    if want:
        return done.err
    return [json.loads(x) for x in support.read(out).splitlines()]


def shards_are_one_split_with_slices(folder):
    root = os.path.join(folder, "root")
    place = os.path.join(root, "datasets", "org", "shards")
    os.makedirs(os.path.join(place, "data"))
    os.makedirs(os.path.join(folder, "home"))
    hs.python(folder, "http://127.0.0.1:1", SHARDS % os.path.join(place, "data"), HF_HUB_OFFLINE="1")
    slices = {"train": list(range(8)), "test": [90, 91], "train[3:6]": [3, 4, 5], "train[-2:]+test[:1]": [6, 7, 90], "train[:50%]": [0, 1, 2, 3]}
    with hs.hub(root, {}) as sim:
        for split, want in slices.items():
            got = judge(folder, sim, "hf://datasets/org/shards:default/" + split)
            assert [r["n"] for r in got] == want and all(r["instruction"] == "what is %d?" % r["n"] for r in got), (split, got)
        err = judge(folder, sim, place, want=2)
        assert 'which split? there are "train", "test"' in err, err
        sim.admin("clear")
        home = os.path.join(folder, "other")
        os.makedirs(home)
        hs.gavel(home, sim.url, "judge", "hf://datasets/org/shards:default/test", "--rubric", "helpfulness", "--model", "mock", "--quiet", "--out",
                 os.path.join(folder, "test.jsonl"), want=0)
        fetched = {r["path"].split("/data/")[1] for r in sim.log("GET") if "/resolve/" in r["path"]}
        assert fetched == {"test-00000-of-00001.parquet"}, fetched  # no file of another split


def a_format_that_is_not_read_comes_converted(folder):
    root = os.path.join(folder, "root")
    place = os.path.join(root, "datasets", "org", "notes")
    os.makedirs(place)
    os.makedirs(os.path.join(folder, "home"))
    with open(os.path.join(place, "train.txt"), "w", encoding="utf-8") as f:
        f.writelines("line %d\n" % i for i in range(8))
    commit = hs.python(folder, "http://127.0.0.1:1", EXPORT % (HUBSIM, place, os.path.join(HUBSIM, "make_export.py")), HF_HUB_OFFLINE="1").split("\n")[-1]
    mapped = ["--map", "instruction=text,generation=text"]
    with hs.hub(root, {}) as sim:
        for split, want in (("", range(8)), (":default/train[2:7]", range(2, 7)), (":/train[-1:]", [7])):
            got = judge(folder, sim, "hf://datasets/org/notes" + split, *mapped)
            assert [r["text"] for r in got] == ["line %d" % i for i in want], (split, got)
        fetched = {r["path"].split("/resolve/")[1] for r in sim.log("GET") if "/resolve/" in r["path"]}
        assert fetched == {"%s/default/train/%04d.parquet" % (commit, i) for i in range(3)}, fetched
        err = judge(folder, sim, "hf://datasets/org/notes:x", *mapped, want=2)
        assert 'hf://datasets/org/notes:x: no configuration "x"; there is "default"' in err, err
        sim.admin("repo", {"type": "datasets", "id": "org/notes", "partial": True})
        err = judge(folder, sim, "hf://datasets/org/notes", *mapped, want=1)
        assert 'of type "text", which gavel does not read, and the Hub\'s Parquet conversion has not all of its rows' in err, err


support.main([shards_are_one_split_with_slices, a_format_that_is_not_read_comes_converted])
