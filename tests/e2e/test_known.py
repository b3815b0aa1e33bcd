"""Models that gavel knows, what models are called, and which of their chat templates is taken."""
import json
import os
import shutil
import tempfile

import support
import wide
from support import DATA, judge, refused, rows, run, table, write

SHORT = ["--max-tokens", "8"]
MODELS = os.path.join(DATA, "oracle", "models")
SHARED = tempfile.mkdtemp(prefix="gavel-known-")


def hf(name):
    return os.path.join(MODELS, name, "hf-bf16")


def copy(name, to, **config):
    """A tiny model under another name, its config.json changed."""
    shutil.copytree(hf(name), to)
    path = os.path.join(to, "config.json")
    with open(path, encoding="utf-8") as f:
        c = json.load(f)
    write(path, json.dumps(dict(c, **config)))
    return to


def known_judge():
    """Prometheus 2 7B without a template, as a GGUF; made once."""
    path = os.path.join(SHARED, "known.gguf")
    if not os.path.exists(path):
        folder = wide.folder(os.path.join(SHARED, "prometheus-7b-v2.0"), template=False, _name_or_path="mistralai/Mistral-7B-Instruct-v0.2")
        run("quantize", folder, path, "--type", "q8_0", "-q", want=0)
    return path


def pipeline(path, model, kwargs="{max_new_tokens: 8, temperature: 0.0}", rubric="helpfulness", more=""):
    return write(path, """pipeline:
  name: p
  steps:
  - step:
      name: task
      mode: absolute
      rubric: %s
      %s
      llm:
        model: %s
        generation_kwargs: %s
        structured_output: {format: regex, schema: '.* \\[RESULT\\] [1-5]'}
        type_info: {module: distilabel.llms.vllm, name: vLLM}
      type_info: {module: distilabel.steps.tasks.prometheus_eval, name: PrometheusEval}
  - step:
      name: load
      data_files: in.jsonl
      type_info: {module: distilabel.steps.generators.huggingface, name: LoadDataFromFileSystem}
  connections:
  - {from: load, to: [task]}
  - {from: task, to: []}
distilabel: {version: 1.5.3}
""" % (rubric, more, model, kwargs))


def names(path):
    return {r["model_name"] for r in table(path)}


def layout_sha(journal):
    lines = run("inspect", journal, want=0).out.splitlines()
    return [line.split()[-1] for line in lines if line.startswith("chat template sha256")]


# ---- names ----


def a_folder_is_called_by_its_name_and_not_by_its_base_model(_):
    write("in.jsonl", rows(1))
    base = "mistralai/Mistral-7B-Instruct-v0.2"
    copy("mistral", "my-judge", _name_or_path=base)
    judge("in.jsonl", "a.jsonl", *SHORT, model="my-judge", want=0)
    judge("in.jsonl", "b.jsonl", *SHORT, model="my-judge/", want=0)
    assert names("a.jsonl") == names("b.jsonl") == {"my-judge"}, names("a.jsonl")
    done = run("judge", "../in.jsonl", "--model", ".", "--rubric", "helpfulness", "--out", "../c.jsonl", *SHORT, cwd="my-judge", want=0)
    assert names("c.jsonl") == {"my-judge"}, done.err
    commit = "0123456789abcdef0123456789abcdef01234567"
    os.rename("my-judge", commit)
    judge("in.jsonl", "d.jsonl", *SHORT, model=commit, want=0)
    assert names("d.jsonl") == {"Mistral-7B-Instruct-v0.2"}, names("d.jsonl")
    snapshot = "hub/models--org--the-judge/snapshots/" + commit
    os.makedirs(os.path.dirname(snapshot))
    os.rename(commit, snapshot)
    judge("in.jsonl", "e.jsonl", *SHORT, model=snapshot, want=0)
    run("judge", os.path.abspath("in.jsonl"), "--model", commit, "--rubric", "helpfulness", "--out", os.path.abspath("f.jsonl"), *SHORT,
        cwd=os.path.dirname(snapshot), want=0)
    assert names("e.jsonl") == names("f.jsonl") == {"org/the-judge"}, (names("e.jsonl"), names("f.jsonl"))


def a_gguf_is_called_as_it_says_and_verify_finds_it_wherever_it_lies(_):
    write("in.jsonl", rows(1))
    copy("mistral", "my-judge")
    run("quantize", "my-judge", "other.gguf", "--type", "q8_0", "-q", want=0)
    judge("in.jsonl", "a.jsonl", *SHORT, model="other.gguf", want=0)
    assert names("a.jsonl") == {"my-judge"}, names("a.jsonl")
    judge("in.jsonl", "b.jsonl", *SHORT, model="my-judge", want=0)
    os.rename("my-judge", "moved")
    assert "all equal" in run("verify", "b.jsonl.run", "--model", "moved", want=0).out


def a_pipeline_writes_the_name_that_it_gives_its_model(_):
    write("in.jsonl", rows(1))
    os.mkdir("models")
    copy("mistral", "models/my-judge")
    run("run", pipeline("p.yaml", "./models/my-judge"), "--out", "a.jsonl", want=0)
    assert names("a.jsonl") == {"./models/my-judge"}, names("a.jsonl")  # as distilabel writes it
    run("run", "p.yaml", "--out", "b.jsonl", "--model", "models/my-judge", want=0)
    assert names("b.jsonl") == {"my-judge"}, names("b.jsonl")


# ---- models that are known ----


def a_quantised_judge_is_still_known(_):
    shown = run("inspect", known_judge(), want=0).out
    for text in ('general.name = "prometheus-7b-v2.0"', "known model: Prometheus 2 7B", "--preset author", "trained on at most 4096 tokens"):
        assert text in shown, (text, shown)


def a_model_is_known_only_if_width_and_vocabulary_fit(_):
    def known(*args, **config):
        wide.folder("m-prometheus", **config)
        shown = run("inspect", "m-prometheus", want=0).out
        shutil.rmtree("m-prometheus")
        return [line.split(": ")[1] for line in shown.splitlines() if line.startswith("known model")]

    mixtral = {"model_type": "mixtral", "num_local_experts": 2}
    assert known() == ["Prometheus 2 7B"]
    assert known(**mixtral) == ["Prometheus 2 8x7B"]
    assert known(model_type="qwen2", hidden_size=3584, vocab_size=152064) == ["M-Prometheus"]
    assert known(model_type="qwen2", hidden_size=4096, vocab_size=152064) == known(model_type="qwen2", hidden_size=3584, vocab_size=151000) == []
    assert known(vocab_size=32064) == ["Prometheus 2 7B"]
    assert known(num_key_value_heads=2) == ["Prometheus 1"]
    assert known(num_key_value_heads=2, hidden_size=5120) == ["Prometheus 1"]
    assert known(vocab_size=128256) == []  # Llama 3
    assert known(vocab_size=32768) == []  # Mistral v0.3
    assert known(hidden_size=2048) == []
    assert known(hidden_size=2048, **mixtral) == []
    wide.folder("prometheus-bgb-8x7b-v2.0", **mixtral)
    assert "known model: Prometheus 2 BGB 8x7B" in run("inspect", "prometheus-bgb-8x7b-v2.0", want=0).out
    copy("llama3", "prometheus-llama3-8b")
    assert "known model" not in run("inspect", "prometheus-llama3-8b", want=0).out
    copy("qwen2", "M-Prometheus-3B")
    assert "known model" not in run("inspect", "M-Prometheus-3B", want=0).out
    os.remove("prometheus-llama3-8b/chat_template.jinja")
    write("in.jsonl", rows(1))
    refused(run("render", "in.jsonl", "--model", "prometheus-llama3-8b", "--rubric", "helpfulness"), 2, "the model has no chat template")


def every_command_lays_out_a_known_model_in_the_same_way(_):
    write("in.jsonl", rows(1))
    model = known_judge()
    said = "Prometheus 2 7B is laid out by the built-in mistral-v0.2"
    done = judge("in.jsonl", "a.jsonl", *SHORT, model=model, want=0)
    assert said in done.err, done.err
    judge("in.jsonl", "b.jsonl", *SHORT, "--chat-template", "mistral-v0.2", model=hf("mistral"), want=0)
    assert layout_sha("a.jsonl.run") == layout_sha("b.jsonl.run")
    assert "all equal" in run("verify", "a.jsonl.run", want=0).out
    done = run("run", pipeline("p.yaml", model), "--out", "c.jsonl", want=0)
    assert said in done.err and [r["feedback"] for r in table("c.jsonl")] == [r["feedback"] for r in table("a.jsonl")], done.err
    done = run("plan", "p.yaml", "--sample", "1", want=0)
    assert said in done.err, done.err
    folder = os.path.join(os.path.dirname(model), "prometheus-7b-v2.0")
    for place in (model, folder):
        own = run("render", "in.jsonl", "--model", place, "--rubric", "helpfulness", want=0)
        named = run("render", "in.jsonl", "--model", place, "--rubric", "helpfulness", "--chat-template", "mistral-v0.2", want=0)
        assert said in own.err and own.out == named.out and "[INST] You are a fair judge" in own.out, own.out


def settings_that_hurt_a_known_model_are_warned_about(_):
    write("in.jsonl", rows(1))
    model = known_judge()
    done = judge("in.jsonl", "a.jsonl", "--max-tokens", "8", "--ctx", "5000", model=model, want=0)
    for text in ("Prometheus 2 7B was trained as a judge on at most 4096 tokens; --ctx 5000", "--max-tokens 8 cuts it off", "reference answers"):
        assert text in done.err, (text, done.err)
    first = wide.folder("prometheus-7b-v1.0", num_key_value_heads=2)
    needs = "Prometheus 1 was trained with reference answers"
    assert needs in run("render", "in.jsonl", "--model", first, "--rubric", "helpfulness", want=0).err
    done = run("validate", pipeline("p.yaml", first), "--dataset", "in.jsonl", want=0)
    assert needs in done.err and 'step "task": feedback takes 100 to 300 tokens; max_new_tokens 8 ' in done.err, done.err
    pipeline("p.yaml", first, more="reference: true", kwargs="{max_new_tokens: 1024}")
    write("with.jsonl", rows(1, reference="1"))
    done = run("validate", "p.yaml", "--dataset", "with.jsonl", want=0)
    assert "warning" not in done.err, done.err


def a_pipeline_with_too_few_tokens_is_warned_about_whatever_its_model(_):
    write("in.jsonl", rows(1))
    text = 'step "task": feedback takes 100 to 300 tokens; max_new_tokens 128 (--param task.llm.generation_kwargs.max_new_tokens=1024 is more) cuts it off'
    pipeline("p.yaml", hf("mistral"), kwargs="{temperature: 0.0}")  # distilabel's 128
    for command in (["validate"], ["run", "--out", "a.jsonl"], ["plan"]):
        done = run(command[0], "p.yaml", *command[1:], want=0)
        assert done.err.count(text) == 1, done.err
    for n, warned in ((255, 1), (256, 0)):
        done = run("validate", "p.yaml", "--param", "task.llm.generation_kwargs.max_new_tokens=%d" % n, want=0)
        assert done.err.count("feedback takes") == warned, done.err


def rows_longer_than_what_a_known_model_was_trained_on_are_counted(_):
    write("in.jsonl", rows(1) + [{"instruction": "a" * 40, "generation": "x y " * 1800}])
    text = "1 of 2 %s are longer than the 4096 tokens that Prometheus 2 7B was trained on"
    done = judge("in.jsonl", "a.jsonl", *SHORT, model=known_judge(), want=0)
    assert text % "rows" in done.err, done.err
    again = judge("in.jsonl", "a.jsonl", *SHORT, model=known_judge(), want=0)
    assert text % "rows" in again.err, again.err
    done = run("run", pipeline("p.yaml", known_judge()), "--out", "b.jsonl", want=0)
    assert text % "judgments" in done.err, done.err


def the_sampling_of_a_models_authors_is_one_word_away(_):
    write("in.jsonl", [{"prompt": "x"}])

    def settings(journal):
        return {line[:22].strip(): line[22:].strip() for line in run("inspect", journal, want=0).out.splitlines()}

    judge("in.jsonl", "a.jsonl", *SHORT, "--preset", "author", "--prompt", "raw", rubric=None, model=known_judge(), want=0)
    s = settings("a.jsonl.run")
    assert (s["temperature"], s["top_p"], s["repetition_penalty"], s["max_tokens"]) == ("1.0", "0.9", "1.03", "8"), s
    judge("in.jsonl", "b.jsonl", *SHORT, "--preset", "author", "--temperature", "0.5", "--prompt", "raw", rubric=None, model=known_judge(), want=0)
    assert settings("b.jsonl.run")["temperature"] == "0.5"
    refused(judge("in.jsonl", "d.jsonl", "--preset", "author", "--prompt", "raw", rubric=None, model=hf("llama")), 2, "--preset author: ", "is no model that gavel knows; give --preset prometheus-eval")


# ---- chat templates ----

MINE = "{% for m in messages %}<<{{ m['content'] }}>>{% endfor %}"
OTHER = "{% for m in messages %}(({{ m['content'] }})){% endfor %}"


def templates(value, file="tokenizer_config.json", folder="judge"):
    """A folder whose only templates are these."""
    shutil.rmtree(folder, ignore_errors=True)
    copy("mistral", folder)
    os.remove(os.path.join(folder, "chat_template.jinja"))
    path = os.path.join(folder, file)
    config = json.loads(support.read(path)) if os.path.exists(path) else {}
    write(path, json.dumps(dict(config, chat_template=value)))
    return folder


def prompt(*more, model="judge"):
    return run("render", "in.jsonl", "--model", model, "--rubric", "helpfulness", *more)


def chat_templates_by_name_are_taken_by_name(_):
    write("in.jsonl", rows(1))
    for value in ([{"name": "rag", "template": OTHER}, {"name": "tool_use", "template": MINE}], {"rag": OTHER, "tool_use": MINE}):
        templates(value)
        refused(prompt(), 2, 'tokenizer_config.json has chat templates by name, but none is "default": rag, tool_use; choose one with --chat-template :NAME')
        assert "((You are a fair judge" in prompt("--chat-template", ":rag").out
        assert "<<You are a fair judge" in prompt("--chat-template", ":tool_use").out
        refused(prompt("--chat-template", ":rags"), 2, "--chat-template :rags: no chat template of that name in tokenizer_config.json; there are rag, tool_use")
        shown = run("inspect", "judge", want=0).out
        assert "chat templates: rag, tool_use (--chat-template :NAME); none is the default" in shown, shown
    run("quantize", "judge", "judge.gguf", "--type", "q8_0", "-q", want=0)
    assert prompt("--chat-template", ":rag", model="judge.gguf").out == prompt("--chat-template", ":rag").out
    refused(prompt(model="judge.gguf"), 2, 'the GGUF has chat templates by name, but none is "default": rag, tool_use')
    judge("in.jsonl", "o.jsonl", *SHORT, "--chat-template", ":rag", model="judge", want=0)
    assert "all equal" in run("verify", "o.jsonl.run", want=0).out
    pipeline("p.yaml", "judge")
    done = run("run", "p.yaml", "--out", "p.jsonl", "--param", "task.llm.chat_template=rag", want=0)
    assert [r["feedback"] for r in table("p.jsonl")] == [r["feedback"] for r in table("o.jsonl")], done.err
    templates([{"name": "rag", "template": OTHER}, {"name": "default", "template": MINE}])
    assert "<<You are a fair judge" in prompt().out and "((You" in prompt("--chat-template", ":rag").out
    refused(prompt("--chat-template", ":x", model=hf("mistral")), 2, "--chat-template :x: no chat template of that name in chat_template.jinja; there are default")


def a_known_model_with_templates_of_its_own_is_not_laid_out_by_ours(_):
    write("in.jsonl", rows(1))
    folder = wide.folder("prometheus-7b-v2.0", template=False)
    path = os.path.join(folder, "tokenizer_config.json")
    write(path, json.dumps(dict(json.loads(support.read(path)), chat_template={"rag": OTHER})))
    refused(prompt(model=folder), 2, 'none is "default": rag')


def chat_template_json_is_read_and_other_kinds_are_refused_by_file(_):
    write("in.jsonl", rows(1))
    templates(MINE, "chat_template.json")
    assert "<<You are a fair judge" in prompt().out, prompt().err
    templates(7, "chat_template.json")
    refused(prompt(), 1, "chat_template.json: chat_template is number, expected a text, a list of {name, template} or an object of texts")
    templates(True)
    refused(prompt(), 1, "tokenizer_config.json: chat_template is ")
    templates([{"name": "rag"}])
    refused(prompt(), 1, 'tokenizer_config.json: chat_template[0] is no object with texts "name" and "template"')
    templates({"rag": 1})
    refused(prompt(), 1, "tokenizer_config.json: chat_template.rag is number, expected a text")
    templates(None)
    refused(prompt(), 2, "the model has no chat template; choose one with --chat-template NAME|FILE|none")


try:
    support.main([a_folder_is_called_by_its_name_and_not_by_its_base_model, a_gguf_is_called_as_it_says_and_verify_finds_it_wherever_it_lies,
                  a_pipeline_writes_the_name_that_it_gives_its_model, a_quantised_judge_is_still_known, a_model_is_known_only_if_width_and_vocabulary_fit,
                  every_command_lays_out_a_known_model_in_the_same_way, settings_that_hurt_a_known_model_are_warned_about,
                  a_pipeline_with_too_few_tokens_is_warned_about_whatever_its_model, rows_longer_than_what_a_known_model_was_trained_on_are_counted,
                  the_sampling_of_a_models_authors_is_one_word_away, chat_templates_by_name_are_taken_by_name,
                  a_known_model_with_templates_of_its_own_is_not_laid_out_by_ours, chat_template_json_is_read_and_other_kinds_are_refused_by_file])
finally:
    shutil.rmtree(SHARED, ignore_errors=True)
