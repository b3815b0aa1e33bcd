"""Arguments of a pipeline: what is secret is written nowhere, every argument of distilabel's classes has a type that is checked before rows are read,
names are checked at every level, and validate, plan, run and a dry run say the same."""
import json
import os

import support
from support import DATA, ROOT, mock, read, refused, run, table, write

ARGUMENTS = json.loads(read(os.path.join(DATA, "pipelines", "arguments.json")))
LLMS = ARGUMENTS["classes"]
STEPS = ARGUMENTS["steps"]
CHOSEN = {"LoadDataFromHub": {"repo_id": "o/n"}, "LoadDataFromFileSystem": {"data_files": "in.jsonl"}, "LoadDataFromDisk": {"dataset_path": "d"},
          "KeepColumns": {"columns": ["result"]}, "GroupColumns": {"columns": ["result"]}, "ExpandColumns": {"columns": ["result"]}}
KEYS = ("hf_secret123", "sk-999")


def pipeline(name="vLLM", source="LoadDataFromDicts", last=None, routing=(), step=None, load=None, **llm):
    """p.json: load -> task [-> last]."""
    def entry(called, cls, **arguments):
        return {"step": dict(arguments, name=called, type_info={"module": "x", "name": cls}), "name": called}

    steps = [entry("load", source, **{**CHOSEN.get(source, {}), **(load or {})}),
             entry("task", "PrometheusEval", **{"mode": "absolute", "rubric": "honesty", **(step or {}), "llm": {
                 "model": "m", "model_path": "m", "generation_kwargs": {}, "type_info": {"module": "x", "name": name}, **llm}})]
    edges = [{"from": "load", "to": ["task"]}, {"from": "task", "to": ["last"] if last else []}]
    if last:
        steps.append(entry("last", last, **CHOSEN.get(last, {})))
        edges.append({"from": "last", "to": []})
    return write("p.json", json.dumps({"pipeline": {"name": "p", "steps": steps, "connections": edges, "routing_batch_functions": list(routing)}}))


def params(*given):
    return [x for p in given for x in ("--param", p)]


def validate(file, *given, **options):
    return run("validate", file, *params(*given), **options)


def written(folder):
    return b"".join(read(os.path.join(d, f)) for d, _, names in os.walk(folder) for f in names)


@mock
def secrets_are_in_nothing_that_is_written_or_shown(_):
    write("in.jsonl", support.rows(2))
    for name, more in (("TransformersLLM", {"token": KEYS[0], "model_kwargs": {"a": {"token": KEYS[1]}}, "use_auth_token": KEYS[1]}),
                       ("OpenAILLM", {"api_key": KEYS[0], "headers": {"Authorization": KEYS[1]}}),
                       ("vLLM", {"extra_kwargs": {"hf_token": KEYS[0], "gpus": [{"Password": KEYS[1]}], "max_model_len": 4096}, "token": KEYS[1]})):
        os.mkdir(name)
        for more_params in ((), ("task.llm.token=" + KEYS[0],) if name == "TransformersLLM" else ()):
            done = run("run", pipeline(name, **more), "--dataset", "in.jsonl", "--model", "mock", "--out", name + "/out", "--fresh", *params(*more_params), want=0)
            shown = run("info", "p.json", *params(*more_params), want=0)
            texts = [written(name), done.raw_out, done.raw_err, shown.raw_out]
            assert os.path.exists(name + "/out/pipeline.yaml") and os.path.exists(name + "/out.run")
            assert not [k for k in KEYS for t in texts if k.encode() in t], name
    assert b"max_model_len: 4096" in read("vLLM/out/pipeline.yaml")
    # a column or a rubric may have such a name
    rubric = "[c]\nScore 1: a\nScore 2: b\nScore 3: c\nScore 4: d\nScore 5: e"
    run("run", pipeline(step={"rubrics": {"token": rubric}, "rubric": "token", "output_mappings": {"result": "secret"}}), "--dataset", "in.jsonl",
        "--model", "mock", "--out", "o.jsonl", want=0)
    assert [r["secret"] in range(1, 6) for r in table("o.jsonl")] == [True, True]


def secrets_that_would_be_ignored_are_refused_without_being_shown(_):
    cases = [({"default_headers": {"Authorization": "Bearer sk-999"}}, 'step "task": llm.default_headers is not supported: the only header is Authorization'),
             ({"default_headers": "sk-999"}, 'step "task": llm.default_headers is "(not shown)", expected an object'),
             ({"api_key": ["sk-999"]}, 'step "task": llm.api_key is "(not shown)", expected text'),
             ({"generation_kwargs": {"extra_body": {"a": [{"api-key": "sk-999"}]}}}, "llm.generation_kwargs.extra_body has a member with the name of a secret"),
             ({"generation_kwargs": {"token": "sk-999"}}, "llm.generation_kwargs.token has a member with the name of a secret"),
             ({"base_url": "http://me:sk-999@host/v1"}, "a password in llm.base_url is not supported: it would be written with the pipeline")]
    for llm, message in cases:
        done = validate(pipeline("OpenAILLM", **llm))
        refused(done, 1, message)
        assert "sk-999" not in done.err, done.err
    done = validate(pipeline(source="LoadDataFromHub", load={"storage_options": {"key": "sk-999"}}))
    refused(done, 1, 'step "load": storage_options is not supported')
    assert "sk-999" not in done.err and "sk-999" not in run("info", "p.json", want=0).out
    for given in ("task.llm.tokn=sk-999", "tusk.llm.token=sk-999", "task=sk-999", 'task.llm.default_headers={"a": sk-999'):
        done = validate(pipeline("OpenAILLM"), given)
        refused(done, 2, "--param ")
        assert "sk-999" not in done.err, done.err
    run("validate", pipeline("OpenAILLM", default_headers={}, base_url="http://h/v1/@x", api_key=5), want=0)


def names_are_checked_at_every_level_after_merging(_):
    cases = [('task.llm.generation_kwargs={"temprature": 1}', 'no generation keyword "temprature"; did you mean temperature?'),
             ('task.llm.generation_kwargs={"max_new_token": 1024}', 'no generation keyword "max_new_token"; did you mean max_new_tokens?'),
             ('task.llm={"modle": "x"}', '--param task.llm: no parameter "modle"; did you mean model?'),
             ('task.llm={"generation_kwargs": {"top-p": 1}}', 'no generation keyword "top-p"; did you mean top_p?'),
             ("task.resources.gpuss=1", '--param task.resources.gpuss: no parameter "gpuss"; did you mean gpus? It has: replicas, cpus, gpus, memory, resources'),
             ('task.resources={"gpuss": 1}', 'no parameter "gpuss"; did you mean gpus?'),
             ('task.llm={"dtype": "auto", "type_info": {"name": "OpenAILLM"}}', 'no parameter "dtype"')]
    for given, message in cases:
        refused(run("info", pipeline(), *params(given)), 2, message)
    assert "OpenAILLM" in run("info", pipeline(), *params('task.llm={"base_url": "http://h", "type_info": {"name": "OpenAILLM"}}'), want=0).out
    run("info", pipeline(), *params('task.llm.extra_kwargs={"any": 1}', "load.input_mappings.a=b", "task.llm=null"), want=0)
    for keyword in ("temprature", "max_tokens"):
        refused(validate(pipeline(generation_kwargs={keyword: 1})), 2, 'step "task": vLLM has no generation keyword "%s"' % keyword)


def every_type_is_checked_and_validate_plan_run_and_dry_run_agree(_):
    hub = {"source": "LoadDataFromHub"}
    cases = [(hub, "load.num_examples=two", 'num_examples is "two", expected an integer from -1'),
             (hub, "load.num_examples=-5", "num_examples is -5, expected an integer from -1"),
             (hub, "load.streaming=banana", 'streaming is "banana", expected true or false'),
             (hub, "load.batch_size=0", "batch_size is 0, expected an integer from 1"),
             (hub, "load.output_mappings=5", "output_mappings is 5, expected an object of name: column"),
             (hub, 'load.output_mappings={"a": 5}', 'output_mappings is {"a":5}, expected an object of name: column'),
             (hub, "load.split=null", None), (hub, "load.num_examples=-1", None),
             ({}, "task.input_batch_size=0", "input_batch_size is 0, expected an integer from 1"),
             ({}, "task.resources.gpus=0", "resources.gpus is 0, expected an integer from 1"),
             ({}, "task.resources=many", 'resources is "many", expected an object'),
             ({}, "task.llm=x", 'llm is "x", expected an object'),
             ({}, "task.llm.seed=1.5", "llm.seed is 1.5, expected an integer"),
             ({}, "task.llm.extra_kwargs=x", 'llm.extra_kwargs is "x", expected an object'),
             ({}, "task.llm.generation_kwargs=5", "llm.generation_kwargs is 5, expected an object"),
             ({}, "task.reference=perhaps", 'reference is "perhaps", expected true or false'),
             ({"last": "ExpandColumns"}, "last.encoded=5", "encoded is 5, expected true, false or a list of names"),
             ({"last": "GroupColumns"}, "last.output_columns=[5]", "output_columns must be a list of names"),
             ({"source": "LoadDataFromFileSystem"}, "load.data_files=[5]", "data_files is [5], expected a path, a list of paths, or an object of these"),
             ({"name": "OpenAILLM"}, "task.llm.timeout=-1", "llm.timeout is -1, expected a number from 0"),
             ({}, "task.llm.chat_template={{ messages[0", 'step "task": llm.chat_template: '),
             ({}, "task.llm.chat_template={{ messages[0]['content'] }}", None)]
    cases += [({}, "task.llm.structured_output=" + v, "llm.structured_output is %s, expected an object" % w) for v, w in (("json", '"json"'), ("5", "5"),
                                                                                                                  ("[5]", "[5]"), ('"regex"', '"regex"'))]
    for shape, given, message in cases:
        done = validate(pipeline(**shape), given)
        if message is None:
            assert done.code == 0, (given, done.err)
            continue
        refused(done, 2 if "must be" in message else 1, message)
        step = given.split(".")[0]
        assert done.err.count('step "%s": ' % step) == 1, done.err
        if "data_files" in given or "seed" in given:
            write("in.jsonl", support.rows(1))
            for more in (("plan",), ("run", "--dry-run"), ("run", "--out", "o.jsonl")):
                assert run(more[0], "p.json", *more[1:], "--dataset", "in.jsonl", "--model", "mock", *params(given)).err == done.err, more
    assert not os.path.exists("o.jsonl.run")


def values_are_read_as_python_and_numbers_are_texts_where_texts_are_wanted(_):
    def shown(file, *given):
        return run("info", file, *params(*given), want=0).out

    text = shown(pipeline(source="LoadDataFromHub"), "load.revision=1234567", "load.config=2", "load.split=1e5", "load.num_examples=3", "load.streaming=True",
                 "task.group_generations=True", "task.llm.use_magpie_template=False", "task.reference=yes", "task.llm.model=[a]", "task.num_generations=\"2\"",
                 "task.llm.generation_kwargs.include_stop_str_in_output=False", "task.llm.generation_kwargs.stop=False")
    for line in ('revision = "1234567"', 'config = "2"', 'split = "1e5"', "num_examples = 3", "streaming = true", "group_generations = true",
                 "llm.use_magpie_template = false", "reference = true", 'llm.model = "[a]"', "num_generations = 2",
                 "llm.generation_kwargs.include_stop_str_in_output = false", 'llm.generation_kwargs.stop = "False"'):
        assert "  %s\n" % line in text, (line, text)
    run("validate", "p.json", *params("task.group_generations=True", "task.llm.use_magpie_template=False"), want=0)
    assert '  revision = "1234567"\n' in shown(pipeline(source="LoadDataFromHub", load={"revision": 1234567}))
    write("in.jsonl", support.rows(1))
    done = run("validate", pipeline(step={"reference": "yes"}), "--dataset", "in.jsonl")
    refused(done, 2, "Step 'task' requires inputs ['instruction', 'generation', 'reference'], but only the inputs=['instruction', 'generation'] are available")
    for given, message in (('task.llm.generation_kwargs={"top_p": }', "the value is no JSON: invalid JSON at byte "), ("last.columns=[a]", "the value is no JSON: ")):
        refused(run("validate", pipeline(last="KeepColumns"), *params(given)), 2, "--param %s: " % given.split("=")[0], message)


# A value of the wrong type for each argument; what has none here may hold anything, or its reader tells (see the other tests).
WRONG = {"num_generations": "x", "rubric": [], "mode": [], "llm": 5, "rubrics": 5, "columns": 5, "output_columns": 5, "encoded": 5, "name": 5}
ANYTHING = {"cuda_devices", "jobs_ids", "device", "device_map"}


def documented_steps():
    lines = read(os.path.join(ROOT, "docs", "distilabel.md")).decode().split("## What runs\n", 1)[1].split("\n")
    rows = [line.strip("|").split("|") for line in lines[:12] if line.startswith("|")][2:]
    return {name: " ".join(r[1:]).replace(",", " ").split() for r in rows for name in r[0].replace(",", " ").split()}


def every_argument_of_every_class_is_documented_and_typed(_):
    everywhere = {"name", "input_mappings", "output_mappings", "resources", "use_cache"}
    documented = documented_steps()
    for cls, arguments in STEPS.items():
        assert not set(arguments) - everywhere - set(documented[cls]), (cls, set(arguments) - everywhere - set(documented[cls]))
        loads = cls.startswith("Load")
        step = "load" if loads else "task" if cls == "PrometheusEval" else "last"
        file = pipeline(**({"source": cls} if loads else {"last": cls} if step == "last" else {}))
        known = [a for a in arguments if a != "name"]
        run("info", file, *params(*["%s.%s=null" % (step, a) for a in known]), want=0)
        for a in known:
            value = json.dumps(WRONG[a]) if a in WRONG else '{"a": [null]}' if a not in ("resources", "storage_options") else "5"
            if a in ("rubric", "mode"):
                continue  # any text is one; the names are checked
            done = run("validate", file, *params("%s.%s=%s" % (step, a, value))) if not is_text(a) else wrong_in_file(file, step, a)
            assert done.code in (1, 2) and a in done.err, (cls, a, done.err)
    for cls, d in LLMS.items():
        for a in sorted(set(d["attributes"]) - ANYTHING):
            file = pipeline(cls, **{a: True if is_text(a) else [5]})
            refused(validate(file), 1, 'step "task": llm.%s is ' % a, ", expected ")


def is_text(a):
    return a in ("repo_id", "split", "config", "revision", "filetype", "dataset_path", "model", "model_path", "dtype", "torch_dtype", "quantization", "tokenizer",
                 "tokenizer_mode", "tokenizer_revision", "tokenizer_id", "chat_template", "chat_format", "base_url", "magpie_pre_query_template")


def wrong_in_file(file, step, a):
    d = json.loads(read(file))
    next(s["step"] for s in d["pipeline"]["steps"] if s["name"] == step)[a] = True
    return validate(write("wrong.json", json.dumps(d)))


def arguments_that_would_change_rows_are_refused(_):
    refused(validate(pipeline(tokenizer="other/tokenizer")), 1, 'step "task": llm.tokenizer is not supported: the tokenizer is that of the model')
    refused(validate(pipeline("TransformersLLM", tokenizer="other/tokenizer")), 1, "llm.tokenizer is not supported")
    run("validate", pipeline(tokenizer="m"), want=0)
    run("validate", pipeline("ClientvLLM", tokenizer="other/tokenizer"), want=0)
    refused(validate(pipeline(model=None)), 2, 'step "task": llm has no model; give it with --param task.llm.model=...')
    kwargs = {"type_info": {"name": "sample_n_steps", "kwargs": {"n": 1}}}
    refused(validate(pipeline(routing=[{"step": "nope", **kwargs}])), 1,
            'pipeline.routing_batch_functions: "sample_n_steps" routes the rows of "nope", which is no step')
    refused(validate(pipeline(routing=[{"step": "load", "type_info": {"name": "f"}}])), 1,
            'step "load": the routing batch function "f" sends each batch to some of the steps behind it; gavel sends every row to all')


@mock
def a_model_path_that_distilabel_does_not_save_comes_from_the_option(_):
    write("in.jsonl", support.rows(1))
    args = ["run", pipeline("LlamaCppLLM", model_path=None), "--dataset", "in.jsonl", "--out", "o.jsonl"]
    refused(run(*args), 2, 'step "task": llm has no model; give it with --model FILE')
    run(*args, "--model", "mock", want=0)


def a_revision_that_the_file_pins_is_the_one_that_judges(_):
    write("in.jsonl", support.rows(1))
    os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=os.path.abspath("hf"))
    for name in ("vLLM", "TransformersLLM"):
        file = pipeline(name, model="org/name", revision=1234567)
        refused(run("run", file, "--dataset", "in.jsonl", "--dry-run"), 1, 'step "task": ', "does not know revision 1234567 of model org/name")
    del os.environ["HF_HUB_OFFLINE"], os.environ["HF_HOME"]


def a_plan_of_no_sample_needs_no_model(_):
    write("in.jsonl", support.rows(7))
    plan = run("plan", pipeline(step={"num_generations": 3}), "--dataset", "in.jsonl", "--sample", "0", want=0)
    assert plan.out == "rows loaded\t7\nrows written\t21\njudgments\t21\n", plan.out
    done = run("validate", pipeline(source="LoadDataFromHub"), want=0)
    assert "its columns were not looked at" in done.err, done.err


support.main([
    secrets_are_in_nothing_that_is_written_or_shown,
    secrets_that_would_be_ignored_are_refused_without_being_shown,
    names_are_checked_at_every_level_after_merging,
    every_type_is_checked_and_validate_plan_run_and_dry_run_agree,
    values_are_read_as_python_and_numbers_are_texts_where_texts_are_wanted,
    every_argument_of_every_class_is_documented_and_typed,
    arguments_that_would_change_rows_are_refused,
    a_model_path_that_distilabel_does_not_save_comes_from_the_option,
    a_revision_that_the_file_pins_is_the_one_that_judges,
    a_plan_of_no_sample_needs_no_model,
])
