"""Pipelines of distilabel: every recorded file loads, every recorded run gives the recorded rows (or, where the recording shows a defect, the
corrected ones), faults are named, a stopped run continues.  The recordings: tests/data/pipelines/README.md."""
import json
import os
import re
import signal
import time

import support
from support import DATA, ROOT, finish, mock, read, refused, run, start, table, wait_until, write

PIPES = os.path.join(DATA, "pipelines")
FILES, RUNS, CORRECTED = (os.path.join(PIPES, d) for d in ("files", "runs", "corrected"))
EXAMPLE = os.path.join(ROOT, "examples", "prometheus2.yaml")
SEED = os.path.join(FILES, "seed.yaml")

# What the recordings gave to Pipeline.run(parameters=).  distilabel replaces generation_kwargs; here they are merged, so the
# temperature that distilabel fell back to stands here.
PARAMS = {
    "seed": ["task.llm.generation_kwargs.max_new_tokens=1024", "task.llm.generation_kwargs.temperature=0.7"],
    "seed_runtime": ['task.llm.generation_kwargs={"max_new_tokens": 1024, "temperature": 0.7}'],
    "runtime_parameters": ["load.data_files=data/rows.jsonl", "load.num_examples=4", "judge.num_generations=2",
                           'judge.llm.generation_kwargs={"max_new_tokens": "256", "temperature": 1.0}'],
}
# docs/distilabel.md: the closed list of runs in which our rows differ.
DEFECTS = ["batch_null", "batch_null_first", "batch_null_leaf", "input_mappings", "llm_raises", "null_then_int"]
SEVERAL_LEAVES = ["two_leaves"]
REFUSED_BY_BOTH = ["keep_metadata"]


def path(name, *more):
    return os.path.join(RUNS, name, *more)


def replay(name, folder=RUNS):
    return "mock:replay=%s,name=hash-llm" % os.path.join(folder, name, "canned.jsonl")


def gavel_run(name, out, *more, folder=RUNS, dataset=True, **options):
    args = ["run", os.path.join(FILES, name + ".yaml"), "--model", replay(name, folder), "--out", out]
    if dataset:
        args += ["--dataset", path(name, "input.jsonl")]
    for p in PARAMS.get(name, []):
        args += ["--param", p]
    return run(*args, *more, **options)


def same_rows(out, want):
    """Equal values, and keys in the same order at every level."""
    got, want = [json.dumps(r) for r in table(out)], [json.dumps(r) for r in table(want)]
    for i, (a, b) in enumerate(zip(got, want)):
        assert a == b, "row %d:\n got  %s\n want %s" % (i, a[:1500], b[:1500])
    assert len(got) == len(want), (len(got), len(want))


def same_rows_as_table(out, column, want):
    assert [r[column] for r in table(out)] == [r[column] for r in table(want)]


def every_recorded_file_loads_as_yaml_and_as_json(_):
    names = sorted(os.listdir(FILES))
    assert len(names) == 62, len(names)
    for name in names:
        done = run("info", os.path.join(FILES, name), want=0)
        assert "PrometheusEval" in done.out and done.err == "", (name, done.err)
    for name in sorted({n.split(".")[0] for n in names}):
        yaml, js = (run("info", os.path.join(FILES, name + s), want=0).out for s in (".yaml", ".json"))
        assert yaml == js, name


@mock
def recorded_runs_give_the_recorded_rows_in_the_recorded_columns(_):
    names = sorted(set(os.listdir(RUNS)) - set(DEFECTS) - set(SEVERAL_LEAVES) - set(REFUSED_BY_BOTH))
    assert len(names) == 20, len(names)
    for name in names:
        done = gavel_run(name, name + ".jsonl")
        assert done.code in (0, 3), (name, done.err)
        same_rows(name + ".jsonl", path(name, "rows.default.jsonl"))


@mock
def runs_in_which_distilabel_shows_a_defect_give_the_corrected_rows(_):
    assert sorted(os.listdir(CORRECTED)) == DEFECTS
    for name in DEFECTS:
        done = gavel_run(name, name + ".jsonl", folder=CORRECTED)
        assert done.code == 3, (name, done.err)
        same_rows(name + ".jsonl", os.path.join(CORRECTED, name, "rows.default.jsonl"))
        recorded = path(name, "rows.default.jsonl")
        if os.path.exists(recorded):
            assert table(name + ".jsonl") != table(recorded), name + " is no defect any more"


@mock
def rows_come_from_the_files_that_the_pipeline_names(_):
    os.mkdir("data")
    write("data/rows.jsonl", read(path("fs_jsonl", "input.jsonl")))
    write("data/rows.csv", read(path("fs_csv", "input.csv")))
    write("data/rows.parquet", read(path("fs_parquet", "input.parquet")))
    for name in ("fs_jsonl", "fs_csv", "fs_parquet"):
        gavel_run(name, name + ".jsonl", dataset=False)
        same_rows(name + ".jsonl", path(name, "rows.default.jsonl"))


@mock
def rows_come_from_folders_of_save_to_disk(_):
    disk = os.path.join(DATA, "dataset", "disk")
    text = read(os.path.join(FILES, "openai.yaml")).decode()
    start_s, end_s = text.index("  - step:\n      name: load"), text.index("  - step:\n      name: judge")
    for folder, more in (("shards", ""), ("dict", "split: train"), ("distiset", "is_distiset: true\n      config: leaf\n      split: train")):
        step = ("  - step:\n      name: load\n      dataset_path: %s\n      %s\n      output_mappings: {t: instruction}\n      type_info: "
                "{name: LoadDataFromDisk}\n" % (os.path.join(disk, folder), more))
        judge = text[end_s:].replace("input_mappings: {}", "input_mappings: {generation: instruction}", 1).replace("      - generation\n", "")
        write("p.yaml", text[:start_s] + step + judge)
        done = run("run", "p.yaml", "--model", "mock", "--out", folder + ".jsonl")
        got = [r["instruction"] for r in table(folder + ".jsonl")]
        # the folders have one text column, so there is nothing to judge: the rows arrive, without verdicts
        assert done.code == 3 and got == ["row %d" % i for i in range({"shards": 25, "dict": 3, "distiset": 4}[folder])], (folder, got)


def columns_that_do_not_arrive_are_named_in_the_words_of_distilabel(_):
    done = run("validate", os.path.join(FILES, "keep_metadata.yaml"), "--dataset", path("keep_metadata", "input.jsonl"))
    refused(done, 2, "Step 'keep' requires inputs ['instruction', 'result', 'distilabel_metadata'], but only the inputs=['feedback', "
            "'result', 'model_name', 'instruction', 'generation'] are available, which means that the inputs=['distilabel_metadata'] are "
            "missing or not available when the step gets to be executed in the pipeline. Please make sure previous steps to 'keep' are "
            "generating the required inputs.")


def refused_as_distilabel(done, code, message):
    """The same for messages of distilabel that end in a paragraph with an address."""
    assert done.code == code and done.out == "", (done.code, done.err)
    assert message in done.err and done.err.count("\n") == 3, done.err
    assert "\n\nFor further information visit 'https://distilabel.argilla.io/latest/" in done.err, done.err


def edited(change, source=EXAMPLE):
    text = read(source).decode()
    for old, new in change:
        assert old in text, old
        text = text.replace(old, new)
    return write("edited.yaml", text)


def what_is_not_run_is_an_error_that_names_step_and_argument(_):
    cases = [
        ([("PrometheusEval", "UltraFeedback")], 1, 'step "task": gavel does not run UltraFeedback; it runs PrometheusEval, '),
        ([("name: vLLM", "name: MistralLLM")], 1, 'step "task": gavel does not run the LLM MistralLLM; it runs vLLM, '),
        ([("temperature: 0.7", "temprature: 0.7")], 2, 'step "task": vLLM has no generation keyword "temprature"; did you mean temperature?'),
        ([("temperature: 0.7", "temperature: -1")], 2, 'step "task": temperature is -1, expected 0 to 100'),
        ([("temperature: 0.7", "temperature: hot")], 1, 'step "task": temperature is "hot", expected a number'),
        ([("num_generations: 1", "num_generations: 0")], 2, 'step "task": num_generations is 0, expected 1 to 1024'),
        ([("mode: absolute", "mode: best")], 2, 'step "task": mode is "best", expected absolute or relative'),
        ([("rubric: factual-validity", "rubric: kindness")], 2,
         'step "task": Provided rubric \'kindness\' is not among the available rubrics: helpfulness, harmlessness, honesty, factual-validity, '),
        ([("name: vLLM", "name: vLLM\n        structured_output: {format: json, schema: {}}")], 1,
         'step "task": this llm.structured_output is not supported: gavel constrains the verdict'),
        ([("to: [task]", "to: []")], 1, "Step 'task' cannot be a root step because it is not a `GeneratorStep`. It should have a previous step"),
        ([("to: []", "to: [task]")], 1, "Cannot add edge from 'keep_columns' to 'task' as it would create a cycle."),
        ([("to: [task]", "to: [tusk]")], 1, 'pipeline.connections: "load_dataset" leads to "tusk", which is no step'),
        ([("to: [task]", "to: [task, task]")], 1, 'the connection from "load_dataset" to "task" stands twice'),
        ([("name: keep_columns", "name: task")], 1, "Step with name 'task' already exists"),
        ([("      split: test", "      storage_options: {a: b}")], 1, 'step "load_dataset": storage_options is not supported'),
        ([("      repo_id: HuggingFaceH4/instruction-dataset\n", "")], 2,
         "Step 'load_dataset' is missing required runtime parameter 'repo_id'. Please, provide a value for it: --param load_dataset.repo_id=..."),
        ([("pipeline:\n", "pipe:\n")], 1, 'no "pipeline" object'),
    ]
    for change, code, message in cases:
        check = refused_as_distilabel if "root step" in message or "not among" in message else refused
        check(run("validate", edited(change)), code, message)
    refused(run("validate", os.path.join(FILES, "routing.yaml")), 1, 'step "load": the routing batch function "sample_n_steps"')
    refused(run("validate", os.path.join(FILES, "generation_kwargs.yaml")), 1, "llm.generation_kwargs.logprobs is not supported: its column is not made")
    refused(run("run", os.path.join(FILES, "openai.yaml"), "--model", "x.gguf", "--out", "o.jsonl"), 2, 'step "load"', "--dataset FILE")


def parameters_are_typed_merged_and_checked_by_name(_):
    def shown(*params):
        return run("info", EXAMPLE, *[x for p in params for x in ("--param", p)], want=0).out

    text = shown("task.llm.generation_kwargs.temperature=0.25", 'task.llm.generation_kwargs={"top_p": 0.5}', "task.rubric=honesty",
                 "load_dataset.num_examples=24", "load_dataset.config=null", "keep_columns.columns=[\"result\"]")
    for line in ("llm.generation_kwargs.temperature = 0.25", "llm.generation_kwargs.max_new_tokens = 1024", "llm.generation_kwargs.top_p = 0.5",
                 'rubric = "honesty"', "num_examples = 24", 'columns = ["result"]'):
        assert "  %s\n" % line in text, (line, text)
    for param, message in (
            ("tusk.rubric=honesty", '--param tusk.rubric: no step "tusk"; did you mean task? It has: load_dataset, task, keep_columns'),
            ("task.rubrik=honesty", '--param task.rubrik: no parameter "rubrik"; did you mean rubric?'),
            ("task.llm.modle=x", '--param task.llm.modle: no parameter "modle"; did you mean model?'),
            ("task.llm.generation_kwargs.temprature=1", 'no generation keyword "temprature"; did you mean temperature?'),
            ("task=1", "--param task: expected STEP.PARAMETER=VALUE"), ("task..x=1", "expected STEP.PARAMETER=VALUE"),
            ("task.rubric", "expected STEP.PARAMETER=VALUE")):
        refused(run("info", EXAMPLE, "--param", param), 2, message)


ARGUMENTS = json.loads(read(os.path.join(PIPES, "arguments.json")))["classes"]
LLMS = list(ARGUMENTS)
# A value that asks for something, for each keyword of a class or of the object that holds more of them.
ASKS = {"max_new_tokens": 64, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "repeat_penalty": 1.1,
        "presence_penalty": 0.1, "frequency_penalty": 0.1, "do_sample": False, "stop": ["x", "yy"], "stop_token_ids": [2], "min_tokens": 3, "seed": 4,
        "include_stop_str_in_output": True, "skip_special_tokens": False, "logprobs": 5, "top_logprobs": 5, "echo": True,
        "logits_processors": ["x"], "response_format": {"type": "json_object"}, "logit_bias": {"5": 1.5}, "extra_sampling_params": {"min_tokens": 3},
        "extra_generation_kwargs": {"top_k": 3}, "extra_body": {"guided_regex": "x"}, "bad_words": ["x"], "ignore_eos": True, "mirostat_mode": 1}
HOLDERS = {"vLLM": "extra_sampling_params", "LlamaCppLLM": "extra_generation_kwargs", "OpenAILLM": "extra_body"}


def with_llm(name, kwargs, **more):
    with open(os.path.join(FILES, "no_raw.json"), encoding="utf-8") as f:
        d = json.load(f)
    step = next(s["step"] for s in d["pipeline"]["steps"] if "llm" in s["step"])
    step["llm"] = {"model": "m", "model_path": "m", "generation_kwargs": kwargs, "type_info": {"module": "x", "name": name}, **more}
    with open("p.json", "w", encoding="utf-8") as f:
        json.dump(d, f)
    return "p.json"


def documented(title):
    """The table under a heading of docs/distilabel.md: {name: {class: cell}}."""
    lines = read(os.path.join(ROOT, "docs", "distilabel.md")).decode().split("\n" + title + "\n", 1)[1].split("\n")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines[:next(i for i, x in enumerate(lines) if i > 3 and x.startswith("#"))]
            if line.startswith("|")]
    assert rows[0][1:] == LLMS, rows[0]
    return {r[0]: dict(zip(LLMS, r[1:])) for r in rows[2:]}


def every_keyword_of_the_llms_is_honoured_or_refused_as_the_documentation_says(_):
    table_of = documented("### Keywords of generation")
    for name in LLMS:
        holder = HOLDERS.get(name)
        assert not [k for k in ARGUMENTS[name]["generation"] if table_of[k][name] in ("", "inside")], name  # distilabel's own stand outside
        for keyword, cells in table_of.items():
            cell, kwargs = cells[name], {keyword: ASKS[keyword]}
            if cell == "":
                refused(run("validate", with_llm(name, kwargs)), 2, 'step "judge": %s has no generation keyword "%s"' % (name, keyword))
                continue
            outside = cell in ("yes", "error")
            assert outside == (keyword in ARGUMENTS[name]["generation"]), (name, keyword, cell)
            if cell == "error":
                refused(run("validate", with_llm(name, kwargs)), 1, 'step "judge": llm.generation_kwargs.%s is not supported: ' % keyword)
            elif cell == "yes":
                run("validate", with_llm(name, kwargs), want=0)
            else:
                assert cell == "inside", cell
                run("validate", with_llm(name, {holder: kwargs}), want=0)
        if holder and name != "OpenAILLM":
            for keyword in ("bad_words", "mirostat_mode"):
                refused(run("validate", with_llm(name, {holder: {keyword: ASKS[keyword]}})), 1,
                        "llm.generation_kwargs.%s.%s is not supported: seed, " % (holder, keyword), " are taken there; remove it")
    for name, kwargs, code, message in (
            ("vLLM", {"stop": ["x"] * 17}, 1, "stop has more than 16 texts"), ("vLLM", {"stop": [""]}, 2, "stop must be a text of 1 to 127 bytes"),
            ("vLLM", {"stop": "x" * 128}, 2, "stop must be a text of 1 to 127 bytes"), ("vLLM", {"stop_token_ids": [-1]}, 2, "must be a list of ids"),
            ("vLLM", {"stop_token_ids": 2}, 2, "must be a list of ids"), ("ClientvLLM", {"logit_bias": {"a": 1}}, 2, "logit_bias must be an object"),
            ("ClientvLLM", {"logit_bias": {"1": 101}}, 2, "from -100 to 100"), ("OpenAILLM", {"extra_body": 1}, 1, "extra_body is no object"),
            ("vLLM", {"extra_sampling_params": {"min_tokens": 129}}, 2, "min_tokens is 129, expected 0 to max_new_tokens, which is 128"),
            ("vLLM", {"top_k": 5, "extra_sampling_params": {"top_k": 6}}, 2, '"top_k" stands in llm.generation_kwargs and in its extra_sampling_params'),
            ("vLLM", {"extra_sampling_params": {"ignore_eos": True}}, 1, "an answer that does not end has no verdict")):
        refused(run("validate", with_llm(name, kwargs)), code, 'step "judge": ', message)
    run("validate", with_llm("OpenAILLM", {"response_format": {"type": "text"}, "stop": "x", "logprobs": False}), want=0)
    run("validate", with_llm("vLLM", {"stop": "", "stop_token_ids": [], "extra_sampling_params": {"ignore_eos": False, "n": None}}), want=0)
    choice = {"format": "choice", "schema": ["1", "2", "3", "4", "5"]}
    refused(run("validate", with_llm("vLLM", {"stop": "x"}, structured_output=choice)), 1, "the verdict ends the answer; remove stop")
    run("validate", with_llm("vLLM", {"stop_token_ids": [5]}, structured_output=choice), want=0)


def every_attribute_of_the_llms_is_documented_and_a_parameter(_):
    table_of = documented("### Other arguments")
    for name in LLMS:
        file = with_llm(name, {})
        for attribute, cells in table_of.items():
            assert (cells[name] != "") == (attribute in ARGUMENTS[name]["attributes"] or cells[name] == "added"), (name, attribute, cells[name])
        run("info", file, *[x for a, cells in table_of.items() if cells[name] for x in ("--param", "judge.llm.%s=null" % a)], want=0)
        assert not set(ARGUMENTS[name]["attributes"]) - set(table_of), set(ARGUMENTS[name]["attributes"]) - set(table_of)
    refused(run("validate", with_llm("LlamaCppLLM", {}, chat_format="chatml")), 1, "llm.chat_format is not supported: write the layout as a template")
    refused(run("validate", with_llm("vLLM", {}, use_magpie_template=True)), 1, "llm.use_magpie_template is not supported")
    refused(run("validate", with_llm("OpenAILLM", {}, use_offline_batch_generation=True)), 1, "cannot be used with offline batch generation")


@mock
def answers_end_before_a_stop_and_another_stop_does_not_continue_the_run(_):
    write("in.jsonl", support.rows(5))

    def raw(out, kwargs, *more, **options):
        done = run("run", with_llm("vLLM", kwargs), "--dataset", "in.jsonl", "--model", "mock", "--param", "judge.add_raw_output=true", "--out", out, *more, **options)
        return done if "want" not in options else [r["distilabel_metadata"]["raw_output_judge"] for r in table(out)]

    whole = raw("whole.jsonl", {}, want=0)
    assert all(" of a test engine. [RESULT] " in t for t in whole), whole
    assert raw("cut.jsonl", {"stop": [" [RES", "e. ["]}, want=3) == [t[:t.index("e. [")] for t in whole]
    kept = raw("kept.jsonl", {"stop": ["engine", " of a"], "include_stop_str_in_output": True}, want=3)
    assert kept == [t[:t.index(" of a") + 5] for t in whole]
    assert all(r["result"] is None and r["feedback"] is None for r in table("kept.jsonl"))
    refused(raw("cut.jsonl", {"stop": [" [RES"]}), 1, "cut.jsonl.run belongs to a run with other settings", "judge.llm.generation_kwargs.stop was ")
    refused(raw("whole.jsonl", {"extra_sampling_params": {"min_tokens": 2}}), 1, "judge.llm.generation_kwargs.extra_sampling_params.min_tokens was not recorded")
    refused(run("run", with_llm("OpenAILLM", {"extra_body": {"guided_regex": "x"}}), "--dataset", "in.jsonl", "--model", "mock", "--out", "o.jsonl"), 1,
            "a keyword of llm.generation_kwargs.extra_body that gavel does not know is not supported: only a server takes it")


def files_of_old_versions_load(_):
    old = [("LoadDataFromHub", "LoadHubDataset"), ("module: distilabel.models.llms.vllm", "module: distilabel.llms.vllm"),
           ("module: distilabel.steps.columns.keep", "module: distilabel.steps.keep"), ("  routing_batch_functions: []\n", ""),
           ("requirements: []\n", ""), ("      mode: absolute\n", ""), ("distilabel:\n  version: 1.5.3\n", "")]
    run("validate", edited(old), want=0)


def hostile_yaml_ends_at_once_in_a_clear_error(_):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join("%s: &%s [%s]\n" % (c, c, ",".join(["*" + p] * 9)) for p, c in zip("abcdefghi", "bcdefghij"))
    cases = [(bomb, "with its aliases expanded the document has more than"), ("[" * 100000, "more than 64 levels"),
             ("{a: " * 100000, "more than 64 levels"), ("pipeline: 1\npipeline: 2\n", 'line 2: duplicate key "pipeline"'),
             ("a: !!python/object/apply:os.system [x]\n", 'line 1: unknown tag "!!python/object/apply:os.system"'),
             ("a: &a [*a]\n", 'alias "a" stands inside of what it names'), ("", "the file is empty"), ("a: \x00\n", "line 1")]
    for text, message in cases:
        write("hostile.yaml", text)
        start_s = time.monotonic()
        refused(run("validate", "hostile.yaml"), 1, "hostile.yaml: ", message)
        assert time.monotonic() - start_s < 5, message[:30]


@mock
def a_stopped_run_continues_and_changed_settings_are_refused(_):
    write("in.jsonl", support.rows(60))
    slow = "mock:latency_us=20000,in_flight=2,log=log"
    args = ["run", os.path.join(FILES, "series.yaml"), "--dataset", "in.jsonl", "--out", "out.jsonl"]
    run(*args[:-1], "whole.jsonl", "--model", "mock", want=0)
    p = start(*args, "--model", slow)
    wait_until(lambda: (os.path.exists("log") and len(read("log").split()) >= 70) or p.poll() is not None)
    p.send_signal(signal.SIGTERM)
    done = finish(p)
    assert done.code == 143 and "the same command continues" in done.err and not os.path.exists("out.jsonl"), (done.code, done.err)
    changed = run(*args, "--model", "mock", "--param", "first.llm.generation_kwargs.temperature=0.5")
    refused(changed, 1, "out.jsonl.run belongs to a run with other settings: ", "first.llm.generation_kwargs.temperature was not recorded, is now 0.5")
    write("other.jsonl", support.rows(61))
    refused(run(*args[:3], "other.jsonl", *args[4:], "--model", "mock"), 1, "load rows sha256 was ")
    before = len(read("log").split())
    run(*args, "--model", "mock:log=log", want=0)
    assert len(read("log").split()) - before <= 120 - 70 + 2 and read("out.jsonl") == read("whole.jsonl")
    run(*args, "--model", "mock:log=log", want=0)
    assert len(read("log").split()) - before <= 120 - 70 + 2  # nothing is judged twice
    run(*args, "--model", "mock", "--param", "first.llm.generation_kwargs.temperature=0.5", "--fresh", want=0)


@mock
def every_run_fits_a_distiset_with_types_that_do_not_depend_on_the_values(_):
    for name, configs in (("two_leaves", ("absolute", "relative")), ("all_null", ("data",)), ("numgen3_grouped", ("data",))):
        gavel_run(name, "out-" + name)
        for config in configs:
            file = "out-%s/%s/train-00000-of-00001.parquet" % (name, config)
            assert os.path.exists(file), (name, sorted(os.listdir("out-" + name)))
            assert read(file)[:4] == b"PAR1"
        for part in ("README.md", "pipeline.yaml", "pipeline.log"):
            assert os.path.exists("out-%s/%s" % (name, part)), part
        run("info", "out-%s/pipeline.yaml" % name, want=0)
    gavel_run("all_null", "o.parquet")
    again = run("run", os.path.join(FILES, "no_raw.yaml"), "--dataset", "out-two_leaves/absolute/train-00000-of-00001.parquet", "--model",
                "mock", "--out", "o.jsonl", want=0)
    assert "5 rows" in again.err
    same_rows_as_table("o.jsonl", "instruction", path("two_leaves", "rows.absolute.jsonl"))


@mock
def failed_rows_are_judged_again_on_request_only(_):
    write("in.jsonl", support.rows(12))
    args = ["run", os.path.join(FILES, "openai.yaml"), "--dataset", "in.jsonl", "--out", "out.jsonl"]
    done = run(*args, "--model", "mock:fail=4", want=3)
    assert "3 of 12 judgments have no verdict (3 unparsable)" in done.err, done.err
    assert [i for i, r in enumerate(table("out.jsonl")) if r["result"] is None] == [3, 7, 11]
    run(*args, "--model", "mock", want=3)
    run(*args, "--model", "mock", "--retry-failed", want=0)
    assert all(r["result"] for r in table("out.jsonl"))


@mock
def several_leaves_need_a_folder_and_joins_need_equal_rows(_):
    two = os.path.join(FILES, "two_leaves.yaml")
    refused(run("run", two, "--dataset", path("two_leaves", "input.jsonl"), "--model", "mock", "--out", "o.jsonl"), 2,
            "--out o.jsonl: the pipeline ends in 2 steps, each with rows of its own; give a folder")
    group = os.path.join(FILES, "fanout_group.yaml")
    refused(run("run", group, "--dataset", path("fanout_group", "input.jsonl"), "--model", "mock", "--out", "o.jsonl", "--param",
                "judge_honesty.num_generations=2", "-q", "--param", "judge_honesty.llm.generation_kwargs.max_new_tokens=1024", "--param",
                "judge_helpfulness.llm.generation_kwargs.max_new_tokens=1024"), 2,
            'step "group" joins rows one by one, but "judge_honesty" gives 12 and "judge_helpfulness" 6; make num_generations the same')


@mock
def a_dry_run_judges_one_row_and_a_plan_tells_the_cost_and_neither_writes(_):
    write("in.jsonl", [{"prompt": "p%d" % i, "completion": "c"} for i in range(40)])
    done = run("run", EXAMPLE, "--dataset", "in.jsonl", "--model", "mock", "--dry-run", want=0)
    assert "dry run: 1 rows, 1 judgments, all with a verdict" in done.err, done.err
    plan = dict(line.split("\t") for line in run("plan", EXAMPLE, "--dataset", "in.jsonl", "--model", "mock", want=0).out.splitlines())
    assert plan["rows loaded"] == "40" and plan["judgments"] == "40" and plan["judged for the estimate"] == "8, 8 with a verdict", plan
    assert plan["step task in all"] == "4000 prompt tokens, 800 answer tokens", plan
    assert sorted(os.listdir(".")) == ["in.jsonl"]


@mock
def a_row_takes_three_times_its_size_in_memory(_):
    if support.sanitized():
        raise support.Skip("sanitizers take memory of their own")
    n = 20000
    write("in.jsonl", [{"prompt": "what is %d? " % i + "a" * 450, "completion": "it is %d " % i + "b" * 450, "m": i} for i in range(n)])
    peak = []
    for args in (["--limit", "1"], []):
        p = start("run", EXAMPLE, "--dataset", "in.jsonl", "--model", "mock", "--out", "o%d.jsonl" % len(peak), "-q", *args, stdout=None, stderr=None)
        _, status, use = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        assert p.returncode == 0
        peak.append(use.ru_maxrss * 1024)
    assert (peak[1] - peak[0]) / n < 4000, peak  # 2.9 KB measured; it was 11.8 KB when rows were copied from step to step


@mock
def rows_of_a_pipeline_without_a_loading_step_come_from_the_dataset(_):
    text = read(EXAMPLE).decode()
    cut = text[text.index("  - step:\n      name: load_dataset"):text.index("  - step:\n      name: task")]
    write("p.yaml", text.replace(cut, "").replace("  - from: load_dataset\n    to: [task]\n", ""))
    refused_as_distilabel(run("validate", "p.yaml"), 1, "Step 'task' cannot be a root step")
    write("in.jsonl", support.rows(3))
    run("run", "p.yaml", "--dataset", "in.jsonl", "--model", "mock", "--out", "o.jsonl", want=0)
    assert [list(r) for r in table("o.jsonl")] == [["instruction", "generation", "feedback", "result", "model_name"]] * 3


def the_example_runs_on_a_real_model(_):
    if not os.path.exists(support.SMOLLM2):
        raise support.Skip("no %s (python3 script/fetch.py smollm2)" % support.SMOLLM2)
    with open(os.path.join(DATA, "vicuna", "vicuna_eval.json"), encoding="utf-8") as f:
        texts = [r["instruction"] for r in json.load(f)[:2]]
    given = [dict(zip(("prompt", "completion"), re.search("###The instruction to evaluate:\n(.*)\n\n###Response to evaluate:\n(.{1,300})", t,
                                                          re.DOTALL).groups())) for t in texts]
    write("in.jsonl", given)
    pattern = "{\"format\": \"regex\", \"schema\": \".* \\\\[RESULT\\\\] [1-5]\"}"
    args = ["run", EXAMPLE, "--dataset", "in.jsonl", "--model", support.SMOLLM2, "--param", "task.llm.generation_kwargs.max_new_tokens=24"]
    run(*args, "--param", "task.llm.structured_output=" + pattern, "--out", "o.jsonl", "--max-batch", "2", want=0)
    out = table("o.jsonl")
    assert [r["instruction"] for r in out] == [r["prompt"] for r in given] and all(r["result"] in range(1, 6) for r in out), out
    run(*args, "--param", "task.llm.structured_output=" + pattern, "--out", "again.jsonl", "--max-batch", "1", want=0)
    assert read("again.jsonl") == read("o.jsonl")  # the same bits whatever the batch
    text = read(EXAMPLE).decode()
    write("raw.yaml", text[:text.index("  - step:\n      name: keep_columns")] + text[text.index("  connections:"):]
          .replace("to: [keep_columns]", "to: []").replace("  - from: keep_columns\n    to: []\n", ""))
    args = ["run", "raw.yaml", *args[2:], "--limit", "1", "--param", "task.add_raw_output=true"]
    run(*args, "--out", "whole.jsonl", want=3)
    whole = table("whole.jsonl")[0]["distilabel_metadata"]["raw_output_task"]
    stop = whole[len(whole) // 2:len(whole) // 2 + 5]
    run(*args, "--param", "task.llm.generation_kwargs.stop=" + json.dumps(["no such text", stop]), "--out", "cut.jsonl", want=3)
    got = table("cut.jsonl")[0]["distilabel_metadata"]
    assert got["raw_output_task"] == whole[:whole.index(stop)], (whole, got)
    assert got["statistics_task"]["output_tokens"] < 24


support.main([
    every_recorded_file_loads_as_yaml_and_as_json,
    recorded_runs_give_the_recorded_rows_in_the_recorded_columns,
    runs_in_which_distilabel_shows_a_defect_give_the_corrected_rows,
    rows_come_from_the_files_that_the_pipeline_names,
    rows_come_from_folders_of_save_to_disk,
    columns_that_do_not_arrive_are_named_in_the_words_of_distilabel,
    what_is_not_run_is_an_error_that_names_step_and_argument,
    parameters_are_typed_merged_and_checked_by_name,
    files_of_old_versions_load,
    every_keyword_of_the_llms_is_honoured_or_refused_as_the_documentation_says,
    every_attribute_of_the_llms_is_documented_and_a_parameter,
    answers_end_before_a_stop_and_another_stop_does_not_continue_the_run,
    hostile_yaml_ends_at_once_in_a_clear_error,
    a_stopped_run_continues_and_changed_settings_are_refused,
    every_run_fits_a_distiset_with_types_that_do_not_depend_on_the_values,
    failed_rows_are_judged_again_on_request_only,
    several_leaves_need_a_folder_and_joins_need_equal_rows,
    a_dry_run_judges_one_row_and_a_plan_tells_the_cost_and_neither_writes,
    a_row_takes_three_times_its_size_in_memory,
    rows_of_a_pipeline_without_a_loading_step_come_from_the_dataset,
    the_example_runs_on_a_real_model,
])
