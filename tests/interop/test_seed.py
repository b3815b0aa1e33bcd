#!/usr/bin/env python3
"""The pipeline of distilabel's Prometheus 2 page from end to end: rows from the Hub, judged, pushed in one commit, and read back by the official clients.

    test_seed.py GAVEL_BINARY [PART OF A TEST'S NAME]

The Hub is hubsim; HuggingFaceH4/instruction-dataset has 24 rows (prompt, completion, meta) made from Vicuna Bench, with GAVEL_LONG the page's 327.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import hub_support as hs
import support

LONG = bool(os.environ.get("GAVEL_LONG"))
ROWS = 327 if LONG else 24
TOKENS = 128 if LONG else 24
DATA_SET, MODEL, TARGET = "HuggingFaceH4/instruction-dataset", "org/SmolLM2-GGUF", "org/instruction-dataset-prometheus"
SEED = os.path.join(support.DATA, "pipelines", "files", "seed.yaml")
EXAMPLE = os.path.join(support.ROOT, "examples", "prometheus2.yaml")
CHECK = os.path.join(hs.HERE, "..", "support", "hubsim", "hubsim_check.py")
# A form of answer that the engine makes certain: every answer ends in a verdict, also those of a model of 135 M weights.
CONSTRAINED = ["--param", 'task.llm.structured_output={"format": "regex", "schema": ".* \\\\[RESULT\\\\] [1-5]"}']
# What the model says of the 24 rows with 24 tokens: the same bits with every kernel set (docs/numerics.md), so they are written down.
VERDICTS = os.path.join(support.DATA, "seed", "smollm2-24.jsonl")
CARD = b"---\nlicense: apache-2.0\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: instruction-dataset.jsonl\n---\n"
SCHEMA = {"instruction": "string", "generation": "string", "feedback": "string", "result": "int64", "model_name": "string"}
FILES = ["README.md", "data/train-00000-of-00001.parquet", "pipeline.log", "pipeline.yaml"]
COMMIT = "hub POST /api/datasets/%s/commit/" % TARGET
PRE = "hub POST /api/datasets/%s/preupload/" % TARGET


def source_rows(n):
    """Vicuna Bench has 320 rows: the first come again behind the last."""
    with open(os.path.join(support.DATA, "vicuna", "vicuna_eval.json"), encoding="utf-8") as f:
        found = json.load(f)
    out = []
    for i in range(n):
        at = found[i % len(found)]
        m = re.search(r"###The instruction to evaluate:\n(.*?)\n\n###Response to evaluate:\n(.*?)\n\n###Reference Answer", at["instruction"], re.S)
        out.append({"prompt": m.group(1), "completion": m.group(2), "meta": {"category": at["category"], "source": at["response_source"]}})
    return out


def lines(rows):
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()


def data_set(n):
    return {"datasets/%s/README.md" % DATA_SET: CARD, "datasets/%s/instruction-dataset.jsonl" % DATA_SET: lines(source_rows(n))}


def command(pipeline, *more, tokens=1024):
    return ["run", pipeline, "--param", "task.llm.generation_kwargs.max_new_tokens=%d" % tokens, "--param", "task.llm.generation_kwargs.temperature=0.7", *more]


def mocked(*more, pipeline=SEED, rows=None):
    """The seed's command with the test engine."""
    return command(pipeline, "--model", "mock", "--repo-id", TARGET, *(["--limit", str(rows)] if rows else []), *more)


def run(folder, sim, args, **more):
    return hs.gavel(folder, sim.url, *args, timeout=3000, **dict({"HF_TOKEN": hs.TOKEN, "preexec": lambda: os.chdir(folder)}, **more))


def api(folder, sim, code):
    """The value that an expression of huggingface_hub has, as JSON; R is the repository."""
    return json.loads(hs.python(folder, sim.url, "import json\nfrom huggingface_hub import HfApi\nR = %r\napi = HfApi()\nprint(json.dumps(%s))" % (TARGET, code),
                                HF_TOKEN=hs.TOKEN))


def commits(folder, sim):
    if not api(folder, sim, "api.repo_exists(R, repo_type='dataset')"):
        return []
    return [t for t in api(folder, sim, "[c.title for c in api.list_repo_commits(R, repo_type='dataset')]") if t not in ("initial commit", "Seed")]


def files(folder, sim):
    return [f for f in api(folder, sim, "sorted(api.list_repo_files(R, repo_type='dataset'))") if f != ".gitattributes"]


def read_back(folder, sim, want, n_commits=1):
    """hubsim_check.py: history, object hashes, card, rows and types by load_dataset and by streaming."""
    place = os.path.join(folder, "check")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(os.path.join(sim.root, "datasets", TARGET), os.path.join(place, "datasets", TARGET), symlinks=True)
    support.write(os.path.join(folder, "want.jsonl"), want)
    support.write(os.path.join(folder, "schema.json"), json.dumps(SCHEMA))
    if not os.path.exists(hs.PYTHON):
        raise support.Skip("no build/interop: script/interop makes it")
    p = subprocess.run([hs.PYTHON, CHECK, place, TARGET, "--expect", "train=%s/want.jsonl" % folder, "--schema", "train=%s/schema.json" % folder,
                        "--commits", str(n_commits), "--python", sys.executable], capture_output=True, text=True, timeout=300, check=False,
                       env=hs.environment(folder, sim.url))
    # its word counts, not the exit code: threads of a streamed data set can end the interpreter's exit with "terminate called without ..."
    assert "RESULT PASS" in p.stdout, p.stdout[-4000:] + p.stderr[-2000:]
    assert p.stdout.count("PASS train: ") == 3, p.stdout


def judged_again(folder, sim, pipeline, *more, tokens):
    """The rows that the same run writes without pushing, by another writer; their first columns are the data set's."""
    done = run(folder, sim, command(pipeline, *more, "--out", "again.jsonl", "--fresh", tokens=tokens))
    assert done.code in (0, 3), done.err
    rows = support.table(os.path.join(folder, "again.jsonl"))
    assert [(r["instruction"], r["generation"]) for r in rows] == [(r["prompt"], r["completion"]) for r in source_rows(len(rows))]
    assert all(list(r) == list(SCHEMA) for r in rows)
    return rows


def same_verdicts(got):
    """Those written down; the model's name is what the file calls itself."""
    written = [{k: r[k] for k in ("feedback", "result", "model_name")} for r in got]
    if os.environ.get("GAVEL_WRITE"):
        support.write(VERDICTS, written)
    assert written == support.table(VERDICTS), next((a, b) for a, b in zip(written, support.table(VERDICTS)) if a != b)


def the_seed_runs_unchanged_with_a_real_model_of_the_hub(folder):
    if not os.path.exists(support.SMOLLM2):
        raise support.Skip("no %s: script/fetch.py smollm2 gets it" % support.SMOLLM2)
    if support.sanitized():
        raise support.Skip("too slow with sanitizers")
    sim_files = dict(data_set(ROWS), **{"models/%s/%s" % (MODEL, os.path.basename(support.SMOLLM2)): support.read(support.SMOLLM2)})
    with hs.hub(os.path.join(folder, "sim"), sim_files) as sim:
        model = ["--param", "task.llm.model=" + MODEL]
        plain = run(folder, sim, command(SEED, *model, "--repo-id", TARGET, "--limit", "2", tokens=TOKENS))  # as the page has it: any answer
        assert plain.code in (0, 3) and "/datasets/%s: one commit, " % TARGET in plain.err, plain.err
        want = judged_again(folder, sim, SEED, *model, "--limit", "2", tokens=TOKENS)
        assert len(want) == 2 and (plain.code == 3) == any(r["result"] is None for r in want), (plain.code, want)
        read_back(folder, sim, want, 1)
        model += CONSTRAINED
        for number, pipeline in enumerate((SEED, EXAMPLE), 2):
            done = run(folder, sim, command(pipeline, *model, "--repo-id", TARGET, "--fresh", tokens=TOKENS))
            assert done.code == 0 and ": %d rows, %d judgments, all with a verdict" % (ROWS, ROWS) in done.err, (done.code, done.err)
            head = api(folder, sim, "api.dataset_info(R).sha")
            assert done.out == head + "\n", (done.out, head)
            assert "/datasets/%s: one commit, " % TARGET in done.err and files(folder, sim) == FILES, done.err
            if number == 2:  # both files ask for the same rows
                want = judged_again(folder, sim, pipeline, *model, tokens=TOKENS)
                assert len(want) == ROWS and all(r["result"] in range(1, 6) and r["feedback"] for r in want), want
                if not LONG:
                    same_verdicts(want)
            read_back(folder, sim, want, number)
        assert sim.log("cdn GET"), "the model did not come from the Hub"
        assert sim.admin("leaks") == []
        counts = ", ".join("%d: %d" % (v, sum(r["result"] == v for r in want)) for v in range(1, 6))
        print("      %d rows, %d tokens at most, %d with a verdict (%s)" % (ROWS, TOKENS, len(want), counts))


@support.mock
def all_rows_are_pushed_in_one_commit_and_read_back(folder):
    with hs.hub(os.path.join(folder, "sim"), data_set(327)) as sim:
        done = run(folder, sim, mocked(), want=0)
        assert "instruction-dataset-prometheus: 327 rows, 327 judgments, all with a verdict" in done.err, done.err
        assert "one commit, 4 files sent, 0 there before, 0 deleted; the repository is new" in done.err and "uploaded " in done.err, done.err
        read_back(folder, sim, judged_again(folder, sim, SEED, "--model", "mock", tokens=1024))
        card = hs.python(folder, sim.url, "from huggingface_hub import DatasetCard\nprint(DatasetCard.load(%r).content)" % TARGET, HF_TOKEN=hs.TOKEN)
        for part in ('load_dataset("%s"' % TARGET, "pipeline run --config", "## Judgments", "num_examples: 327", "path: data/train-*"):
            assert part in card, (part, card[:3000])


@support.mock
def a_lost_reply_to_the_commit_is_not_repeated(folder):
    with hs.hub(os.path.join(folder, "sim"), data_set(4), "--faults", "commit-lost@" + COMMIT) as sim:
        done = run(folder, sim, mocked(), want=0)
        assert "looking whether the commit was made" in done.err and len(sim.log("POST /api/datasets/%s/commit/" % TARGET)) == 1, done.err
        assert sim.unused_faults() == []
        read_back(folder, sim, judged_again(folder, sim, SEED, "--model", "mock", tokens=1024))


@support.mock
def a_failed_push_leaves_the_rows_safe_and_the_same_command_pushes_again(folder):
    with hs.hub(os.path.join(folder, "sim"), data_set(4), "--faults", "status:status=400,message=no-room-left@" + PRE) as sim:
        done = run(folder, sim, mocked())
        assert done.code == 1 and "no-room-left" in done.err and done.out == "", (done.code, done.err)
        assert "instruction-dataset-prometheus is not pushed; it is whole, all judgments are in instruction-dataset-prometheus.run, and the same command pushes again" in done.err
        assert sorted(os.listdir(os.path.join(folder, "instruction-dataset-prometheus"))) == ["README.md", "data", "pipeline.log", "pipeline.yaml"]
        assert commits(folder, sim) == [] and sim.unused_faults() == []
        # the engine that would judge again writes each row into its log
        log = os.path.join(folder, "calls.log")
        run(folder, sim, [("mock:log=" + log) if a == "mock" else a for a in mocked()], want=0)
        assert not os.path.exists(log) or support.read(log) == b"", support.read(log)
        read_back(folder, sim, judged_again(folder, sim, SEED, "--model", "mock", tokens=1024))


@support.mock
def an_interrupted_push_is_continued(folder):
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, 137)):
        home = os.path.join(folder, "home%d" % number)
        os.mkdir(home)
        with hs.hub(os.path.join(folder, "sim%d" % number), data_set(4), "--faults", "delay:seconds=4@cdn PUT") as sim:
            p = subprocess.Popen([support.GAVEL, *mocked()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=home,
                                 env=hs.environment(home, sim.url, HF_TOKEN=hs.TOKEN))
            support.wait_until(lambda: sim.admin("faults")[0]["_seen"] >= 1)
            p.send_signal(number)
            done = support.finish(p)
            assert done.code == code and commits(home, sim) == [], (done.code, done.err)
            assert number == signal.SIGKILL or "nothing was committed, and the same command continues" in done.err, done.err
            run(home, sim, mocked(), want=0)
            read_back(home, sim, judged_again(home, sim, SEED, "--model", "mock", tokens=1024))


@support.mock
def a_push_replaces_shards_and_keeps_what_the_repository_says_and_has(folder):
    old = {"README.md": b"---\nlicense: mit\ntags:\n- mine\n---\n# Old\n", "data/train-00001-of-00003.parquet": b"PAR1", "data/train-00002-of-00003.parquet": b"PAR1",
           "data/test-00000-of-00001.parquet": b"PAR1", "notes.txt": b"notes"}
    with hs.hub(os.path.join(folder, "sim"), dict(data_set(6), **{"datasets/%s/%s" % (TARGET, p): c for p, c in old.items()})) as sim:
        done = run(folder, sim, mocked(), want=0)
        assert "one commit, 4 files sent, 0 there before, 2 deleted" in done.err, done.err
        assert files(folder, sim) == sorted(FILES + ["data/test-00000-of-00001.parquet", "notes.txt"])
        code = "from huggingface_hub import DatasetCard\nc = DatasetCard.load(%r).data\nprint(c.license, c.tags)" % TARGET
        assert hs.python(folder, sim.url, code, HF_TOKEN=hs.TOKEN) == "mit ['mine', 'synthetic', 'distilabel', 'rlaif', 'gavel']"
        run(folder, sim, mocked("--fresh", rows=3), want=0)
        read_back(folder, sim, judged_again(folder, sim, SEED, "--model", "mock", "--limit", "3", tokens=1024), 2)


@support.mock
def a_dry_run_says_what_would_be_pushed_and_sends_nothing(folder):
    old = {"datasets/%s/data/train-00000-of-00002.parquet" % TARGET: b"PAR1"}
    put = "put\tdata/train-*-of-*.parquet\nput\tpipeline.yaml\nput\tpipeline.log\nput\tREADME.md\n"
    with hs.hub(os.path.join(folder, "sim"), dict(data_set(6), **old)) as sim:
        assert run(folder, sim, mocked("--dry-run"), want=0).out == "update\tdatasets/%s\n%sdelete or replace\tdata/train-00000-of-00002.parquet\n" % (TARGET, put)
        other = [a.replace(TARGET, "org/new") for a in mocked("--dry-run", "--private")]
        assert run(folder, sim, other, want=0).out == "make, private\tdatasets/org/new\n" + put
        assert [r for r in sim.log() if r["method"] not in ("GET", "HEAD")] == [] and not os.path.exists(os.path.join(folder, "new"))
        assert commits(folder, sim) == []


@support.mock
def the_pages_own_bare_name_is_the_users_and_a_branch_is_made(folder):
    def to(target, *more):
        return [a.replace(TARGET, target) for a in mocked(*more)]

    with hs.hub(os.path.join(folder, "sim"), data_set(3)) as sim:
        user = api(folder, sim, "api.whoami()['name']")
        own = user + "/instruction-dataset-prometheus"
        assert run(folder, sim, to("instruction-dataset-prometheus", "--dry-run"), want=0).out.startswith("make, public\tdatasets/%s\n" % own)
        done = run(folder, sim, to("instruction-dataset-prometheus", "--commit-message", "Judged by Prometheus"), want=0)
        assert "/datasets/%s: one commit, 4 files sent" % own in done.err, done.err
        assert api(folder, sim, "[c.title for c in api.list_repo_commits(%r, repo_type='dataset')][:1]" % own) == ["Judged by Prometheus"]
        assert 'load_dataset("%s"' % own in support.read(os.path.join(folder, "instruction-dataset-prometheus", "README.md")).decode()
        plan = run(folder, sim, to(own + "@next/one", "--dry-run"), want=0).out
        assert plan.startswith("update\tdatasets/%s\nmake branch\tnext/one\n" % own) and "delete or replace\tdata/train-00000-of-00001.parquet" in plan, plan
        run(folder, sim, to("org/new@next/one", "--out", "other"), want=0)
        heads = api(folder, sim, "[sorted(api.list_repo_files('org/new', repo_type='dataset', revision=r)) for r in ('main', 'next/one')]")
        assert heads == [[".gitattributes"], sorted([".gitattributes"] + FILES)], heads
        assert "is not there, and a new one has no revision refs/pr/1" in run(folder, sim, to("org/none@refs/pr/1"), want=2).err


@support.mock
def what_cannot_be_pushed_is_refused_before_a_row_is_judged(folder):
    with hs.hub(os.path.join(folder, "sim"), dict(data_set(2), **{"datasets/org/open/a.txt": b"a"})) as sim:
        def fails(code, args, **more):
            done = run(folder, sim, args, **more)
            assert done.code == code and done.err.count("\n") == 1 and done.out == "", (done.code, done.err)
            assert not [f for f in os.listdir(folder) if f.endswith(".run")], "rows were judged"
            return done.err

        assert "needs a token that may write: put one into HF_TOKEN" in fails(2, mocked(), HF_TOKEN=None)
        assert "the Hub does not accept your token" in fails(1, mocked(), HF_TOKEN="hf_wrong")
        public = [a.replace(TARGET, "org/open") for a in mocked("--private")]
        assert "data set org/open is public; it was to be private, so nothing was pushed" in fails(1, public)
        assert "--repo-id: " in fails(2, [a.replace(TARGET, "org/a/b") for a in mocked()])
        assert "--repo-id pushes a Distiset, and rows.parquet would be a file" in fails(2, mocked("--out", "rows.parquet"))
        assert "--commit-message is of the commit that --repo-id pushes" in fails(2, ["run", SEED, "--model", "mock", "--commit-message", "a", "--out", "x"])
        assert "--private says how --repo-id pushes" in fails(2, ["run", SEED, "--model", "mock", "--private", "--out", "x"])
        run(folder, sim, [a.replace(TARGET, "org/secret") for a in mocked("--private", "--out", "kept")], want=0)
        assert api(folder, sim, "api.dataset_info('org/secret').private") is True and os.path.exists(os.path.join(folder, "kept", "README.md"))


if __name__ == "__main__":
    support.main([
        the_seed_runs_unchanged_with_a_real_model_of_the_hub, all_rows_are_pushed_in_one_commit_and_read_back, a_lost_reply_to_the_commit_is_not_repeated,
        a_failed_push_leaves_the_rows_safe_and_the_same_command_pushes_again, an_interrupted_push_is_continued,
        a_push_replaces_shards_and_keeps_what_the_repository_says_and_has, a_dry_run_says_what_would_be_pushed_and_sends_nothing,
        the_pages_own_bare_name_is_the_users_and_a_branch_is_made, what_cannot_be_pushed_is_refused_before_a_row_is_judged,
    ])
