"""What gavel run says before it judges, what it tells of judgments that failed, what comes out of its journal, and the classes of distilabel that the
recorded pipelines do not have."""
import http.server
import json
import os
import threading

import support
from support import DATA, mock, read, refused, run, table, write

PIPES = os.path.join(DATA, "pipelines")


def step(name, cls, **args):
    return {"name": name, "step": dict(args, name=name, type_info={"name": cls})}


def judge(name, llm="vLLM", llm_args=None, **args):
    model = dict({"model": "m", "generation_kwargs": {"max_new_tokens": 64}, "type_info": {"name": llm}}, **(llm_args or {}))
    return step(name, "PrometheusEval", **dict({"mode": "absolute", "rubric": "honesty", "llm": model}, **args))


LOAD = step("load", "LoadDataFromDicts")


def pipeline(path, steps, *edges, **more):
    """Edges "a>b": the rest lead nowhere."""
    to = {s["name"]: [] for s in steps}
    for edge in edges:
        a, b = edge.split(">")
        to[a].append(b)
    return write(path, json.dumps({"pipeline": dict(more, name="p", steps=steps, connections=[{"from": a, "to": b} for a, b in to.items()])}))


def simple(path="p.json", *behind, **args):
    names = ["load", "j1"] + [s["name"] for s in behind]
    return pipeline(path, [LOAD, judge("j1", **args), *behind], *["%s>%s" % e for e in zip(names, names[1:])])


def rows(*extra):
    return [dict({"instruction": "i%d" % i, "generation": "g%d" % i}, **e) for i, e in enumerate(extra)]


TYPED = "; a Distiset and .parquet cannot store that: correct the rows, leave the column out with KeepColumns, or write .jsonl"


@mock
def rows_that_no_distiset_can_hold_are_told_before_one_is_judged(_):
    simple()
    cases = [
        (rows({"id": 1}, {"id": "x"}), 'column "id": string in row 1, int64 before it'),
        (rows({"meta": {}}, {"meta": {}}), 'column "meta": an object without members in row 0, and no row has one with members'),
        (rows({"m": None}, {"m": [{"a": {}}]}), 'column "m[].a": an object without members in row 1'),
        (rows({}, {"generation": 5}), 'column "generation": int64 in row 1, string before it'),
        (rows({"n": 1.5}, {"n": 9007199254740993}), 'column "n": row 1 does not fit type double: an integer that float64 does not hold exactly'),
        (rows({"n": -1}, {"n": 2 ** 63}), 'column "n": row 0 does not fit type uint64: an integer out of the type\'s range'),
    ]
    for content, message in cases:
        write("in.jsonl", content)
        for out in (["dir"], ["o.parquet"], ["dir", "--dry-run"])[:3 if content is cases[0][0] else 1]:
            done = run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock:log=log", "--out", *out)
            refused(done, 1, 'rows of step "j1": ' + message, TYPED)
        done = run("validate", "p.json", "--dataset", "in.jsonl", want=0)
        assert message in done.err and "a Distiset and .parquet cannot store that, .jsonl and .csv can" in done.err, done.err
    assert sorted(os.listdir(".")) == ["in.jsonl", "p.json"]  # nothing was judged, no journal is in the way
    write("in.jsonl", cases[0][0])
    run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "o.jsonl", "-q", want=0)
    write("in.jsonl", rows({"id": 1}, {"id": 2}))
    run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "dir", "-q", want=0)


@mock
def nan_and_infinity_of_a_float_column_stay_floats(_):
    for out in ("o.parquet", "o.jsonl"):
        pipeline("p.json", [step("load", "LoadDataFromFileSystem", data_files=os.path.join(PIPES, "floats.parquet")), judge("j1")], "load>j1")
        run("run", "p.json", "--model", "mock", "--out", out, "-q", want=0)
    run("judge", "o.parquet", "--model", "mock", "--rubric", "honesty", "--out", "types.parquet", "-q", want=0)
    assert [r["score"] for r in table("o.jsonl")] == [0.5, "NaN", "-Infinity"]
    write("in.csv", "instruction,generation,score\na,b,inf\nc,d,1.5\n")
    pipeline("q.json", [step("load", "LoadDataFromFileSystem", data_files="in.csv"), judge("j1")], "load>j1")
    run("run", "q.json", "--model", "mock", "--out", "dir", "-q", want=0)
    card = read("dir/README.md").decode()
    assert "- name: score\n    dtype: float64" in card, card[:800]
    write("words.jsonl", rows({"w": "NaN"}, {"w": "word"}, {"w": "NaN"}))  # words beside other words are words
    simple("s.json")
    run("run", "s.json", "--dataset", "words.jsonl", "--model", "mock", "--out", "words", "-q", want=0)
    assert "- name: w\n    dtype: string" in read("words/README.md").decode()


@mock
def names_models_lists_and_joins_are_checked_before_one_is_judged(_):
    write("in.jsonl", rows({"l": [1, 2], "n": [1]}, {"l": [3], "n": [1]}))
    for name in ("data", "artifacts"):
        pipeline("n.json", [LOAD, judge("j1"), judge(name)], "load>j1", "load>" + name)
        refused(run("run", "n.json", "--dataset", "in.jsonl", "--model", "mock:log=log", "--out", "dir"), 2,
                'config "%s": a Distiset has a folder of this name for something else' % name)
    both = [LOAD, judge("j1", output_mappings={"result": "r1"}), judge("j2", num_generations=2), step("join", "CombineOutputs")]
    pipeline("join.json", both, "load>j1", "load>j2", "j1>join", "j2>join")
    for command in (["run", "join.json", "--model", "mock:log=log", "--out", "o.jsonl"], ["validate", "join.json"]):
        refused(run(*command, "--dataset", "in.jsonl"), 2, 'step "join" joins rows one by one, but "j1" gives 2 and "j2" 4')
    for columns, message in ((["l", "n"], 'step "x": the lists of row 0 have 2 elements in column "l" and 1 in column "n"'),
                             (["instruction"], 'step "x": column "instruction" of row 0 is a string, expected a list'),
                             (["result"], 'step "x": column "result" of row 0 is a number, expected a list')):
        simple("x.json", step("x", "ExpandColumns", columns=columns))
        refused(run("run", "x.json", "--dataset", "in.jsonl", "--model", "mock:log=log", "--out", "o.jsonl"), 1, message)
    simple("x.json", step("x", "ExpandColumns", columns={"l": "y", "n": "y"}))
    refused(run("run", "x.json", "--dataset", "in.jsonl", "--model", "mock:log=log", "--out", "o.jsonl"), 2, "two of its columns are to have the same name")
    pipeline("two.json", [LOAD, judge("j1"), judge("j2")], "load>j1", "j1>j2")
    args = ["run", "two.json", "--dataset", "in.jsonl", "--out", "o.jsonl"]
    refused(run(*args, "--model", "j3=mock:log=log"), 2, '--model j3=mock:log=log: no step "j3" takes a model; did you mean j1? It has: j1, j2')
    refused(run(*args, "--model", "load=mock"), 2, '--model load=mock: step "load" is a LoadDataFromDicts, which has no model')
    refused(run(*args[:3], "j1=in.jsonl", *args[4:], "--model", "mock"), 2, 'step "j1" is a PrometheusEval, which takes its rows from other steps')
    refused(run(*args, "--model", "j1=mock:log=log", "--model", "j2=nope.gguf"), 1, 'step "j2": cannot open nope.gguf: ')
    assert not os.path.exists("log"), read("log")
    run(*args, "--model", "mock:log=log", "-q", want=0)  # what those runs left is in nobody's way


@mock
def steps_behind_the_last_judge_may_change(_):
    write("in.jsonl", support.rows(5))
    keep = lambda *columns: simple("p.json", step("k", "KeepColumns", columns=list(columns)))
    keep("result")
    run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock:log=log", "--out", "o.jsonl", "-q", want=0)
    keep("instruction", "result")
    run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock:log=log", "--out", "o.jsonl", "-q", want=0)
    simple("p.json", step("c", "CombineOutputs"), step("k", "KeepColumns", columns=["generation", "result"]))
    run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock:log=log", "--out", "o.jsonl", "-q", want=0)
    assert [list(r) for r in table("o.jsonl")] == [["generation", "result"]] * 5
    assert len(read("log").split()) == 5
    pipeline("p.json", [LOAD, step("k", "KeepColumns", columns=["instruction", "generation"]), judge("j1")], "load>k", "k>j1")
    refused(run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "o.jsonl", "-q"), 1, "belongs to a run with other settings")


@mock
def every_judgment_without_a_verdict_is_told_with_its_reason(_):
    simple()
    write("in.jsonl", support.rows(60) + [{"instruction": "x", "generation": ["x"]}])
    done = run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock:fail=2", "--out", "o.jsonl", want=3)
    told = [line for line in done.err.splitlines() if "step 'j1', row " in line]
    assert len(told) == 20 and told[0] == "gavel: warning: step 'j1', row 1: unparsable: the answer has no verdict of the asked form", told
    assert "gavel: warning: and 11 more without a verdict; all are in o.jsonl.run.log\n" in done.err, done.err
    log = read("o.jsonl.run.log").decode()
    assert log.count("unparsable: the answer has no verdict of the asked form") == 30, log
    assert "step 'j1', row 60: bad_input: " in log, log
    write("in.jsonl", support.rows(4))
    for kind, reason in (("error=2", "error: the test engine failed as asked"), ("long=2", "truncated: the answer reached max_tokens without a verdict")):
        name = "dir-" + kind[:-2]
        run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock:" + kind, "--out", name, "-q", want=3)
        assert "WARNING  step 'j1', row 1: " + reason in read(name + "/pipeline.log").decode(), read(name + "/pipeline.log")
        status, why = reason.split(": ")
        why = why.replace("_", "&#95;")
        assert "| %s | 2 | <code>%s</code> |" % (status, why) in read(name + "/README.md").decode(), read(name + "/README.md")


class Policy(http.server.BaseHTTPRequestHandler):
    """A server that answers every prompt but those with "p2"."""

    def reply(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(200, {"data": [{"id": "served"}]})

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "p2" in asked:
            self.reply(400, {"error": {"message": "content policy says no to p2", "code": "content_filter"}})
            return
        self.reply(200, {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Fine. [RESULT] 4"}}],
                         "usage": {"prompt_tokens": 9, "completion_tokens": 4}})

    def log_message(self, *_):
        pass


@mock
def what_a_server_refuses_is_told_in_its_own_words(_):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Policy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write("in.jsonl", [{"instruction": "p%d" % i, "generation": "g"} for i in range(4)])
    simple("p.json", llm="OpenAILLM", llm_args={"model": "served", "base_url": "http://127.0.0.1:%d/v1" % server.server_port, "api_key": "k"})
    done = run("run", "p.json", "--dataset", "in.jsonl", "--out", "dir", want=3)
    server.shutdown()
    told = [line for line in done.err.splitlines() if "step 'j1', row 2: " in line]
    assert len(told) == 1 and "content policy says no to p2" in told[0], done.err
    assert "content policy says no to p2" in read("dir/pipeline.log").decode()
    assert "content policy says no to p2" in read("dir/README.md").decode(), read("dir/README.md")


@mock
def the_journal_of_a_pipeline_is_exported_and_not_verified(_):
    steps = [LOAD, judge("j1", output_mappings={"result": "r1", "feedback": "f1"}), judge("j2", num_generations=2)]
    pipeline("p.json", steps, "load>j1", "j1>j2")
    write("in.jsonl", support.rows(3))
    run("run", "p.json", "--dataset", "in.jsonl", "--model", "j1=mock:name=one", "--model", "j2=mock:name=two", "--out", "o.jsonl", "-q", want=0)
    run("export", "o.jsonl.run", "--out", "x.jsonl", want=0)
    assert [(r["row"], r["step"], r["rubric"], r["sample"], r["model_name"]) for r in table("x.jsonl")] == \
        [(i, s, "honesty", g, m) for i in range(3) for s, g, m in (("j1", 0, "one"), ("j2", 0, "two"), ("j2", 1, "two"))]
    run("export", "o.jsonl.run", "--all", "--out", "all.jsonl", want=0)
    every = table("all.jsonl")
    assert len(every) == 9 and all(r["status"] == "ok" and r["raw"] and 1 <= r["result"] <= 5 for r in every), every[0]
    assert json.loads(every[0]["settings"])["j2.num_generations"] == 2, every[0]
    run("export", "o.jsonl.run", "--all", "--out", "all.parquet", want=0)
    refused(run("verify", "o.jsonl.run"), 1, "o.jsonl.run is the journal of a pipeline, and only runs of gavel judge are verified; run the "
            "pipeline again with another --out and compare the files")
    write("in.jsonl", [{"instruction": "a", "generation": "b", "generations": ["c", "d"]}])
    second = judge("j2", mode="relative", output_mappings={"result": "winner"},
                   llm_args={"structured_output": {"format": "choice", "schema": ["A", "B"]}})
    pipeline("m.json", [LOAD, judge("j1", output_mappings={"result": "score"}), second], "load>j1", "j1>j2")
    run("run", "m.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "m.jsonl", "-q", want=0)
    run("export", "m.jsonl.run", "--out", "m.parquet", want=0)
    run("export", "m.jsonl.run", "--out", "m2.jsonl", want=0)
    row = table("m.jsonl")[0]
    assert [r["result"] for r in table("m2.jsonl")] == [str(row["score"]), row["winner"]]  # one type for both modes


@mock
def expand_columns_makes_a_row_of_each_element(_):
    x = step("x", "ExpandColumns", columns=["generation"])
    pipeline("before.json", [LOAD, x, judge("j1")], "load>x", "x>j1")
    write("in.jsonl", [{"instruction": "a", "generation": ["b", "c", "d"]}, {"instruction": "e", "generation": ["f"]}])
    done = run("validate", "before.json", "--dataset", "in.jsonl", want=0)
    assert "2 rows, 4 judgments; every column arrives" in done.err, done.err
    plan = dict(line.split("\t") for line in run("plan", "before.json", "--dataset", "in.jsonl", "--model", "mock", want=0).out.splitlines())
    assert (plan["rows loaded"], plan["rows written"], plan["judgments"]) == ("2", "4", "4"), plan
    run("run", "before.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "o.jsonl", "-q", want=0)
    assert [(r["instruction"], r["generation"]) for r in table("o.jsonl")] == [("a", "b"), ("a", "c"), ("a", "d"), ("e", "f")]
    assert all(r["result"] for r in table("o.jsonl"))
    # grouped verdicts, expanded under other names
    write("in.jsonl", support.rows(2))
    simple("after.json", step("x", "ExpandColumns", columns={"result": "r", "feedback": "f"}), num_generations=3, group_generations=True)
    run("run", "after.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "dir", "-q", want=0)
    run("run", "after.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "a.jsonl", "-q", want=0)
    assert [(type(r["r"]), type(r["f"]), len(r["result"])) for r in table("a.jsonl")] == [(int, str, 3)] * 6, table("a.jsonl")


@mock
def a_null_list_keeps_its_row_and_an_empty_one_is_told(_):
    pipeline("p.json", [LOAD, judge("j1"), step("x", "ExpandColumns", columns=["tags"])], "load>j1", "j1>x")
    write("in.jsonl", rows({"tags": ["a", "b"]}, {"tags": None}, {"tags": []}))
    done = run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "o.jsonl", want=0)
    got = [(r["instruction"], r["tags"], r["result"] is not None) for r in table("o.jsonl")]
    assert got == [("i0", "a", True), ("i0", "b", True), ("i1", None, True)], got
    assert 'warning: step "x": 1 rows have null where a list is expected; they are kept, with nulls\n' in done.err, done.err
    assert 'warning: step "x": 1 rows have an empty list, and no row comes of them\n' in done.err, done.err
    log = read("o.jsonl.run.log").decode()
    assert "step 'x', row 1: null where a list is expected" in log and "step 'x', row 2: an empty list; no row comes of it" in log, log


@mock
def every_local_llm_class_runs_and_takes_its_own_name_of_the_model(_):
    write("in.jsonl", support.rows(2))
    for llm, key in (("vLLM", "model"), ("TransformersLLM", "model"), ("LlamaCppLLM", "model_path")):
        simple("p.json", llm=llm, llm_args={"model": None, key: "mock:name=" + llm})
        run("run", "p.json", "--dataset", "in.jsonl", "--out", llm + ".jsonl", "-q", want=0)
        assert [r["model_name"] for r in table(llm + ".jsonl")] == [llm] * 2
        simple("p.json", llm=llm, llm_args={"model": None})
        refused(run("run", "p.json", "--dataset", "in.jsonl", "--out", "x.jsonl"), 2, 'step "j1": llm has no model')


@mock
def legacy_names_of_steps_run(_):
    write("d.jsonl", support.rows(3))
    both = [judge("j1"), judge("j2", rubric="helpfulness"), step("c", "CombineColumns", columns=["result"], output_columns=["results"])]
    pipeline("p.json", [step("load", "LoadFromFileSystem", data_files="d.jsonl"), *both], "load>j1", "load>j2", "j1>c", "j2>c")
    done = run("validate", "p.json", want=0)
    assert "3 rows, 6 judgments" in done.err, done.err
    run("run", "p.json", "--model", "mock", "--out", "o.jsonl", "-q", want=0)
    assert [len(r["results"]) for r in table("o.jsonl")] == [2] * 3


@mock
def rows_of_save_to_disk_are_judged(_):
    for cls in ("LoadDataFromDisk", "LoadFromDisk"):
        pipeline("p.json", [step("load", cls, dataset_path=os.path.join(PIPES, "disk")), judge("j1")], "load>j1")
        run("run", "p.json", "--model", "mock", "--out", cls, "-q", want=0)
        run("run", "p.json", "--model", "mock", "--out", cls + ".jsonl", "-q", want=0)
        got = table(cls + ".jsonl")
        assert [r["instruction"] for r in got] == [r["instruction"] for r in support.rows(3)] and all(r["result"] for r in got), got
        assert [r["score"] for r in got] == [0.5, "NaN", "-Infinity"]
        assert "- name: score\n    dtype: float64" in read(cls + "/README.md").decode()


@mock
def a_routing_function_that_chooses_every_step_is_accepted(_):
    write("in.jsonl", support.rows(2))
    steps = [LOAD, judge("j1"), judge("j2", rubric="helpfulness")]
    route = lambda n: [{"step": "load", "type_info": {"module": "m", "name": "sample_n_steps", "kwargs": {"n": n}}}]
    pipeline("p.json", steps, "load>j1", "load>j2", routing_batch_functions=route(2))
    run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock", "--out", "dir", "-q", want=0)
    for config in ("j1", "j2"):
        assert os.path.exists("dir/%s/train-00000-of-00001.parquet" % config)
    pipeline("p.json", steps, "load>j1", "load>j2", routing_batch_functions=route(1))
    refused(run("validate", "p.json"), 1, 'step "load": the routing batch function "sample_n_steps" sends each batch to some of the steps')


@mock
def a_choice_of_the_verdicts_constrains_the_answer(_):
    write("in.jsonl", support.rows(4))
    for name, more, code in (("free", {}, 3), ("choice", {"structured_output": {"format": "choice", "schema": ["1", "2", "3", "4", "5"]}}, 0)):
        simple("p.json", llm_args=more)
        run("run", "p.json", "--dataset", "in.jsonl", "--model", "mock:fail=2", "--out", name + ".jsonl", "-q", want=code)
    assert all(1 <= r["result"] <= 5 for r in table("choice.jsonl"))
    simple("p.json", llm_args={"structured_output": {"format": "choice", "schema": ["good", "bad"]}})
    refused(run("validate", "p.json"), 1, "this llm.structured_output is not supported")


support.main([rows_that_no_distiset_can_hold_are_told_before_one_is_judged, nan_and_infinity_of_a_float_column_stay_floats,
              names_models_lists_and_joins_are_checked_before_one_is_judged, steps_behind_the_last_judge_may_change,
              every_judgment_without_a_verdict_is_told_with_its_reason, what_a_server_refuses_is_told_in_its_own_words,
              the_journal_of_a_pipeline_is_exported_and_not_verified,
              expand_columns_makes_a_row_of_each_element, a_null_list_keeps_its_row_and_an_empty_one_is_told,
              every_local_llm_class_runs_and_takes_its_own_name_of_the_model, legacy_names_of_steps_run, rows_of_save_to_disk_are_judged,
              a_routing_function_that_chooses_every_step_is_accepted, a_choice_of_the_verdicts_constrains_the_answer])
