#!/usr/bin/env python3
"""Data sets of the Hub as the input of gavel judge, against hubsim: the rows are those of the files, only the files of the split are fetched, the
cache serves later runs without a network, and what cannot be read ends in an error that says so.

    test_dataset_hub.py GAVEL_BINARY

Standard library only.  The data set is made of the rows of tests/data/vicuna.
"""
import json
import os
import tempfile
import time

import hub_support as hs
import support

VICUNA = os.path.join(hs.ROOT, "tests", "data", "vicuna", "vicuna_eval.json")
RUBRIC = ["--rubric", "helpfulness", "--model", "mock", "--quiet"]


def rows():
    with open(VICUNA, encoding="utf-8") as f:
        data = json.load(f)
    return [{"instruction": r["instruction"], "generation": "answer %d" % i, "meta": {"n": i}} for i, r in enumerate(data[:60])]


def lines(some):
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in some).encode()


CARD = b"""---
license: apache-2.0
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.jsonl
  - split: test
    path: data/test.jsonl
- config_name: csv
  data_files:
  - split: test
    path: data/test.csv
- config_name: small
  data_files: "small/*.json"
---
# rows
"""


def pipeline():
    """The seed page's pipeline over this data set."""
    text = support.read(os.path.join(hs.ROOT, "examples", "prometheus2.yaml")).decode()
    for old, new in (("HuggingFaceH4/instruction-dataset", "org/set"), ("prompt: instruction", "instruction: instruction"),
                     ("completion: generation", "generation: generation")):
        text = text.replace(old, new)
    return text.encode()


def card(text):
    return ("---\n%s\n---\n" % text).encode()


def files():
    r = rows()
    csv = "instruction,generation,score\r\n" + "".join('"%s",yes,%d\r\n' % (x["instruction"].replace('"', '""'), i) for i, x in enumerate(r[:5]))
    d = "datasets/org/"
    return {
        d + "set/README.md": CARD, d + "set/data/train-0.jsonl": lines(r[:25]), d + "set/data/train-1.jsonl": lines(r[25:]),
        d + "set/data/test.csv": csv.encode(), d + "set/data/test.jsonl": lines(r[:2]), d + "set/small/a.json": json.dumps(r[:3]).encode(), d + "set/unused.jsonl": lines(r[:1]),
        d + "set/pipeline.yaml": pipeline(), d + "script/script.py": b"import datasets\n",
        d + "images/a.png": b"x", d + "images/b.png": b"x",
        d + "escape/README.md": card('configs:\n- config_name: default\n  data_files: "../../secret.jsonl"'), d + "escape/a.jsonl": lines(r[:1]),
        d + "absolute/README.md": card("configs:\n- config_name: default\n  data_files: /etc/passwd"), d + "absolute/a.jsonl": lines(r[:1]),
        d + "url/README.md": card("configs:\n- config_name: default\n  data_files: https://example.com/a.jsonl"), d + "url/a.jsonl": lines(r[:1]),
        d + "bomb/README.md": card("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "\n".join("%s: &%s [%s]" % (b, b, ",".join(["*" + a] * 10)) for a, b in zip("abcdefgh", "bcdefghi"))),
        d + "bomb/a.jsonl": lines(r[:1]),
    }


class Test:
    def __init__(self, sim, folder):
        self.sim, self.folder, self.n = sim, folder, 0
        self.home = os.path.join(folder, "home")
        os.makedirs(self.home)

    def judge(self, source, *more, want=0, home=None, endpoint=None, **variables):
        self.n += 1
        out = os.path.join(self.folder, "out%d.jsonl" % self.n)
        done = hs.gavel(home or self.home, endpoint or self.sim.url, "judge", source, *RUBRIC, "--out", out, *more, want=want, **variables)
        if want:
            return done.err
        with open(out, encoding="utf-8") as f:
            return [json.loads(x) for x in f]

    def refused(self, source, message, code=1, **variables):
        err = self.judge(source, want=code, **variables)
        assert message in err, "%s\nnot in\n%s" % (message, err)

    def rows_are_those_of_the_files(self):
        got = self.judge("hf://datasets/org/set:default/train")
        assert [r["meta"]["n"] for r in got] == list(range(60)), [r["meta"] for r in got]
        assert got[0]["instruction"] == rows()[0]["instruction"]
        fetched = [r["path"] for r in self.sim.log("GET") if "resolve" in r["path"]]
        assert any("train-0" in p for p in fetched) and not any("test.csv" in p or "unused" in p or "small" in p for p in fetched), fetched

    def slices_configurations_and_csv(self):
        assert [r["meta"]["n"] for r in self.judge("hf://datasets/org/set:default/train[40%:45%]")] == [24, 25, 26]
        assert [r["meta"]["n"] for r in self.judge("hf://datasets/org/set:/train[-2:]")] == [58, 59]
        assert len(self.judge("hf://datasets/org/set:small")) == 3
        assert [r["score"] for r in self.judge("hf://datasets/org/set:csv")] == [0, 1, 2, 3, 4]
        some = self.judge("hf://datasets/org/set:default/train", "--shard", "1/20")
        assert [r["meta"]["n"] for r in some] == [1, 21, 41]

    def configuration_and_split_stand_beside_the_name(self):
        name = "hf://datasets/org/set"
        assert [r["meta"]["n"] for r in self.judge(name, "--config", "default", "--split", "train[40%:45%]")] == [24, 25, 26]
        assert [r["meta"]["n"] for r in self.judge(name, "--split", "train[-2:]")] == [58, 59]
        assert len(self.judge(name + ":small", "--split", "train[:2]")) == 2 and len(self.judge(name, "--config", "small")) == 3
        assert [r["meta"]["n"] for r in self.judge(name, "--split", "train[:1]+train[-1:]")] == [0, 59]
        for args, message in (([name, "--split", "dev"], 'no split "dev"; there are "train", "test"'),
                              ([name, "--config", "fr"], 'no configuration "fr"; there are "default", "csv", "small"'),
                              ([name, "--split", "train["], 'split "train[" is not NAME, NAME[FROM:TO] or NAME[FROM%:TO%]'),
                              ([name + ":default/train", "--split", "test"], 'the split is given twice, the other is "test"'),
                              ([name + ":small", "--config", "csv"], 'the configuration is given twice, the other is "csv"'),
                              (["-", "--split", "train"], "--config and --split choose from a data set, not from standard input")):
            err = self.judge(args[0], *args[1:], want=2)
            assert message in err, (message, err)
        # the commands that read rows beside judge
        done = hs.gavel(self.home, self.sim.url, "render", name, "--split", "train[40%:45%]", "--rubric", "helpfulness", want=0)
        assert [json.loads(x)["row"] for x in done.out.splitlines()] == [0, 1, 2], done.out
        run = ["run", "hf://datasets/org/set/pipeline.yaml", "--model", "mock", "--dataset", name, "--param", "task.rubric=helpfulness",
               "--param", 'load_dataset.output_mappings=null']
        out = os.path.join(self.folder, "beside.jsonl")
        hs.gavel(self.home, self.sim.url, *run, "--split", "train[40%:45%]", "--out", out, want=0)
        assert [r["instruction"] for r in support.table(out)] == [r["instruction"] for r in rows()[24:27]]
        plan = hs.gavel(self.home, self.sim.url, "plan", *run[1:], "--split", "train[:7]", want=0).out
        assert "rows loaded\t7\n" in plan, plan
        err = hs.gavel(self.home, self.sim.url, *run, "--split", "dev", "--out", out, "--fresh", want=2).err
        assert 'step "load_dataset": hf://datasets/org/set: no split "dev"; there are "train", "test"' in err or 'no split "dev"; there are' in err, err
        err = hs.gavel(self.home, self.sim.url, *run[:4], "--split", "train", "--out", out, want=2).err
        assert "--config and --split choose rows of --dataset; those of a loading step are set by --param STEP.split=NAME" in err, err

    def the_cache_serves_without_a_network(self):
        online = self.judge("hf://datasets/org/set:default/train[:7]")
        offline = self.judge("hf://datasets/org/set:default/train[:7]", HF_HUB_OFFLINE="1", endpoint="http://127.0.0.1:9")
        assert online == offline

    def revisions_are_commits(self):
        commit = os.listdir(os.path.join(self.home, "hub", "datasets--org--set", "snapshots"))[0]
        assert len(self.judge("hf://datasets/org/set@%s:small" % commit)) == 3
        self.refused("hf://datasets/org/set@nope:small", "nope")

    def what_cannot_be_read_says_so(self):
        self.refused("hf://datasets/org/set", 'hf://datasets/org/set: which split? there are "train", "test"', 2)
        self.refused("hf://datasets/org/set:default/dev", 'no split "dev"; there are "train", "test"', 2)
        self.refused("hf://datasets/org/set:fr/train", 'no configuration "fr"; there are "default", "csv", "small"', 2)
        self.refused("hf://datasets/org/set:default/train[", 'split "train[" is not NAME, NAME[FROM:TO] or NAME[FROM%:TO%]', 2)
        self.refused("hf://datasets/org/script", "no data files: .parquet, .arrow, .csv, .tsv, .json, .jsonl, nor is there a Parquet conversion of it (")
        self.refused("hf://datasets/org/images", 'the data files are of type "imagefolder", which gavel does not read, nor is there a Parquet conversion of it')
        self.refused("hf://datasets/org/none", "org/none")
        self.refused("hf://models/org/none", "a data set is written hf://datasets/ORG/NAME[@REVISION][:CONFIG/SPLIT]", 2)

    def cards_name_no_file_outside(self):
        self.refused("hf://datasets/org/escape", 'data_files: "../../secret.jsonl" leads out of the data set')
        self.refused("hf://datasets/org/absolute", 'data_files: "/etc/passwd" must be relative to the data set')
        self.refused("hf://datasets/org/url", "URLs and paths inside of archives are not read")
        self.refused("hf://datasets/org/bomb", "values")

    def pipelines_come_from_the_hub_and_load_its_rows(self):
        done = hs.gavel(self.home, self.sim.url, "run", "hf://datasets/org/set/pipeline.yaml", "--model", "mock", "--out", os.path.join(self.folder, "p.jsonl"),
                        "--param", "task.rubric=helpfulness", "--param", "load_dataset.split=train[40%:45%]", want=0)
        assert "3 rows" in done.err, done.err
        got = support.table(os.path.join(self.folder, "p.jsonl"))
        assert [r["instruction"] for r in got] == [r["instruction"] for r in rows()[24:27]] and all(r["result"] for r in got), got
        done = hs.gavel(self.home, self.sim.url, "info", "hf://datasets/org/set/none.yaml", want=1)
        assert 'hf://datasets/org/set/none.yaml: org/set has no file "none.yaml"' in done.err, done.err

    def gated_sets_say_what_to_do(self):
        self.sim.admin("faults", [{"match": r"^hub GET /api/datasets/org/set", "fault": "gated", "times": -1}])
        err = self.judge("hf://datasets/org/set:small", want=1, home=os.path.join(self.folder, "other"))
        assert "gated" in err.lower(), err

    def folders_are_read_like_repositories(self):
        folder = os.path.join(self.folder, "here")
        for path, content in files().items():
            if "/set/" not in path:
                continue
            place = os.path.join(folder, path.split("/set/")[1])
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as f:
                f.write(content)
        os.remove(os.path.join(folder, "README.md"))
        os.remove(os.path.join(folder, "data", "test.csv"))
        os.remove(os.path.join(folder, "data", "test.jsonl"))
        assert len(self.judge(folder)) == 60


def main():
    with tempfile.TemporaryDirectory() as folder, hs.hub(os.path.join(folder, "root"), files()) as sim:
        test = Test(sim, folder)
        for name in ["rows_are_those_of_the_files", "slices_configurations_and_csv", "configuration_and_split_stand_beside_the_name", "the_cache_serves_without_a_network", "revisions_are_commits",
                     "what_cannot_be_read_says_so", "cards_name_no_file_outside", "pipelines_come_from_the_hub_and_load_its_rows", "folders_are_read_like_repositories", "gated_sets_say_what_to_do"]:
            begin = time.monotonic()
            getattr(test, name)()
            print("ok", name, "%.1f s" % (time.monotonic() - begin))


main()
