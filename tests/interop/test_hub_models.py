#!/usr/bin/env python3
"""Models of a Hub (hubsim) where choosing and naming them matters: split quantisations, the question that `pull` asks, recipes of `merge`.

    test_hub_models.py GAVEL_BINARY [PART OF A TEST'S NAME]
"""
import hashlib
import os
import pty
import select
import shutil
import signal
import subprocess
import time

import hub_support as hs
import support
from ggufs import parts, put_parts
from support import DATA, read, write

MERGE = os.path.join(DATA, "merge")
EXAMPLES = os.path.join(hs.ROOT, "examples")


def split_files(stem, n, model):
    return {os.path.basename(f): read(f) for f in put_parts(stem, parts(model, n))}


def of_repository(name, files):
    return {"models/%s/%s" % (name, f): content for f, content in files.items()}


def folder_files(model):
    return {f: read(os.path.join(MERGE, "models", model, f)) for f in os.listdir(os.path.join(MERGE, "models", model))}


def a_split_quantisation_of_the_hub_is_one_model(folder):
    whole = support.tiny("mixtral", "Q4_K_M")
    files = split_files("big-Q4_K_M", 3, whole)
    digest = hashlib.sha256(b"".join(files[f] for f in sorted(files))).hexdigest()
    repository = dict(of_repository("org/big-GGUF", files), **{"models/org/big-GGUF/big-Q8_0.gguf": read(support.tiny("mixtral"))})
    for quant in ("Q4_K_M", "Q8_0"):  # the name of the folder says what they are
        model = split_files("%s" % quant, 2, support.tiny("llama", quant))
        repository.update({"models/org/folders/%s/m-%s" % (quant, name[len(quant) + 1:]): content for name, content in model.items()})
    with hs.hub(os.path.join(folder, "sim"), repository) as sim:
        def gavel(*args, want=0, **more):
            return hs.gavel(folder, sim.url, *args, want=want, **more)

        told = gavel("inspect", "org/big-GGUF:Q4_K_M").out
        assert "/big-Q4_K_M-00001-of-00003.gguf: GGUF v3, 23 tensors in 3 parts\n" in told, told
        assert sorted(hs.check_cache(folder)) == sorted(files)
        ids = write("ids", [{"ids": [1, 5, 9, 200, 33]}])
        gavel("logits", ids, "--model", "org/big-GGUF:Q4_K_M", "--out", "a", HF_HUB_OFFLINE="1")
        gavel("logits", ids, "--model", whole, "--out", "b")
        assert read("a") == read("b") != b""
        place = gavel("pull", "org/big-GGUF:q4_k_m").out.strip()
        assert place.endswith("/big-Q4_K_M-00001-of-00003.gguf") and "23 tensors in 3 parts" in gavel("inspect", place).out
        rows = write("rows.jsonl", support.rows(2))
        judged = gavel("judge", rows, "--model", "org/big-GGUF:Q4_K_M", "--rubric", "helpfulness", "--out", "out.jsonl", "--max-tokens", "6",
                       "--chat-template", "none", "--memory", "1G", "--weights-cache", "w", want=None)
        assert judged.code in (0, 3) and [f for f in os.listdir("w") if f.startswith(digest)], judged.err
        assert digest in gavel("inspect", "out.jsonl.run").out
        verified = gavel("verify", "out.jsonl.run", want=None, HF_HUB_OFFLINE="1")
        assert "2 of 2 rows judged again" in verified.out, verified.err
        for quant, number in (("Q4_K_M", 15), ("Q8_0", 7)):
            told = gavel("inspect", "org/folders:" + quant).out
            assert "/%s/m-00001-of-00002.gguf: GGUF v3, 30 tensors in 2 parts\n" % quant in told and "general.file_type = %d\n" % number in told, told
        listed = gavel("inspect", "org/folders", want=2).err
        assert "has several quantisations" in listed and "it has Q4_K_M (" in listed and ", Q8_0 (" in listed, listed
        os.remove(place.replace("-00001-", "-00002-"))
        gone = gavel("inspect", place, want=1).err
        assert "/big-Q4_K_M-00002-of-00003.gguf is missing: part 2 of the 3 that " in gone, gone
        assert "23 tensors in 3 parts" in gavel("inspect", "org/big-GGUF:Q4_K_M", HF_HUB_OFFLINE="1").out  # linked again


class Terminal:
    """gavel on a terminal."""

    def __init__(self, home, url, *args):
        try:
            self.master, slave = pty.openpty()
        except OSError as e:
            raise support.Skip("no pseudo terminal: %s" % e)
        self.process = subprocess.Popen([support.GAVEL, *args], stdin=slave, stderr=slave, stdout=subprocess.PIPE, env=hs.environment(home, url))
        os.close(slave)
        self.text = ""

    def wait_for(self, end):
        limit = time.monotonic() + 60
        while not self.text.endswith(end):
            assert time.monotonic() < limit, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 4096).decode().replace("\r\n", "\n")

    def answer(self, line):
        self.text = ""
        os.write(self.master, line)

    def finish(self):
        out = self.process.communicate(timeout=60)[0].decode()
        try:
            while select.select([self.master], [], [], 0)[0]:
                self.text += os.read(self.master, 4096).decode().replace("\r\n", "\n")
        except OSError:  # the other end is closed
            pass
        os.close(self.master)
        return support.shell_code(self.process.returncode), out


def pull_asks_which_quantisation_on_a_terminal(folder):
    tiny = read(os.path.join(DATA, "gguf", "tiny-llama.gguf"))
    names = ("m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf")
    files = of_repository("org/m-GGUF", {n: tiny + n.encode() for n in names})
    files.update(of_repository("org/one", {"one.Q8_0.gguf": tiny}))
    files.update(of_repository("org/twins", {"a-Q8_0.gguf": tiny, "b-Q8_0.gguf": tiny + b"b"}))
    asked = "org/m-GGUF has several quantisations:\n   1  7.88 kB  m-Q2_K.gguf\n   2  7.88 kB  m-Q4_K_M.gguf\n   3  7.88 kB  m-Q8_0.gguf\n"
    prompt = "Which one (1 to 3, or a name such as Q4_K_M)? "
    with hs.hub(os.path.join(folder, "sim"), files) as sim:
        def ask(*args, text=asked + prompt):
            t = Terminal(folder, sim.url, "pull", *args)
            t.wait_for(text[-30:])
            assert t.text == text, t.text
            return t

        for answer, got in ((b"3\n", "m-Q8_0.gguf"), (b"q4_k_m\n", "m-Q4_K_M.gguf"), (b" 1 \n", "m-Q2_K.gguf")):
            t = ask("org/m-GGUF")
            t.answer(answer)
            code, out = t.finish()
            assert code == 0 and out.endswith("/%s\n" % got), (answer, out, t.text)
        t = ask("org/m-GGUF", "--dry-run")
        for wrong in (b"4\n", b"Q5_0\n"):  # asked again, twice
            t.answer(wrong)
            t.wait_for(prompt)
        t.answer(b"0\n")
        code, out = t.finish()
        assert code == 2 and out == "" and t.text.endswith("has several quantisations, choose one as in org/m-GGUF:Q4_K_M; it has "
                                                           "Q2_K (7.9 kB), Q4_K_M (7.9 kB), Q8_0 (7.9 kB)\n"), t.text
        for nothing in (b"\n", b"\x04"):  # an empty line, the end of the input
            t = ask("org/m-GGUF")
            t.answer(nothing)
            assert t.finish() == (2, ""), t.text
        t = ask("org/m-GGUF")
        t.process.send_signal(signal.SIGINT)
        assert t.finish() == (128 + signal.SIGINT, "")
        t = ask("org/twins:Q8_0", text="org/twins has several quantisations:\n   1  7.87 kB  a-Q8_0.gguf\n   2  7.87 kB  b-Q8_0.gguf\nWhich one (1 to 2, or a name such as Q8_0)? ")
        t.answer(b"Q8_0\n")  # both are called so
        t.wait_for("? ")
        t.answer(b"2\n")
        assert t.finish()[1].endswith("/b-Q8_0.gguf\n"), t.text
        # nothing to ask, nobody to ask, told not to talk
        for args in (("org/m-GGUF:Q8_0",), ("org/one",)):
            t = Terminal(folder, sim.url, "pull", *args)
            code, out = t.finish()
            assert code == 0 and out.endswith("Q8_0.gguf\n") and "?" not in t.text, t.text
        for more in ((), ("--quiet",), ("--json",)):
            done = hs.gavel(folder, sim.url, "pull", "org/m-GGUF", *more, want=2)
            assert "has several quantisations, choose one as in org/m-GGUF:Q4_K_M; it has Q2_K (7.9 kB), Q4_K_M (7.9 kB), Q8_0 (7.9 kB)" in done.err, done.err
        t = Terminal(folder, sim.url, "pull", "org/m-GGUF", "--quiet")
        assert t.finish() == (2, ""), t.text
        twins = hs.gavel(folder, sim.url, "pull", "org/twins:Q8_0", want=2).err
        assert "has several models named Q8_0, take one by gavel pull org/twins --include FILE; it has a-Q8_0.gguf (7.9 kB), b-Q8_0.gguf (7.9 kB)\n" in twins, twins


def recipe_of_hub_models(name, target, models):
    """A recipe of examples/ as it is, but that its models are of the Hub."""
    text = read(os.path.join(EXAMPLES, name)).decode()
    for old, new in models.items():
        assert text.count(": %s\n" % old) == 1, old
        text = text.replace(": %s\n" % old, ": %s\n" % new)
    return write(target, text)


def the_prometheus_recipes_run_with_models_of_the_hub(folder):
    names = {"prometheus-7b-absolute": "org/absolute", "prometheus-7b-relative": "org/relative@main", "mixtral-8x7b-instruct-v0.1": "org/base",
             "prometheus-8x7b-absolute": "org/absolute", "prometheus-8x7b-relative": "org/relative"}
    models = {"org/absolute": "a", "org/relative": "b", "org/base": "base"}
    files = {}
    for name, model in models.items():
        files.update(of_repository(name, dict(folder_files(model), **{"pytorch_model.bin": b"pickle", "m.Q4_0.gguf": b"GGUF"})))
    with hs.hub(os.path.join(folder, "sim"), files) as sim:
        for recipe, mine in (("merge-prometheus-2-7b.yaml", 2), ("merge-prometheus-2-8x7b.yaml", 3)):
            used = {k: v for k, v in names.items() if ("8x7b" in k) == (mine == 3)}
            told = hs.gavel(folder, sim.url, "merge", recipe_of_hub_models(recipe, "hub.yaml", used), "hub-" + recipe, "--seed", "3", want=0)
            assert "%d models" % mine in told.err, told.err
            local = {}
            for k, v in used.items():  # the same with folders of the names in the recipe, which is used as it is shipped
                local[k] = shutil.copytree(os.path.join(MERGE, "models", models[v.split("@")[0]]), k)
            hs.gavel(folder, sim.url, "merge", os.path.join(EXAMPLES, recipe), "local-" + recipe, "--seed", "3", "--quiet", want=0)
            for file in ("model.safetensors", "config.json", "tokenizer.model"):
                assert read("hub-%s/%s" % (recipe, file)) == read("local-%s/%s" % (recipe, file)), file
            card = read("hub-%s/README.md" % recipe).decode()
            for v in used.values():
                weights = files["models/%s/model.safetensors" % v.split("@")[0]]
                assert "- \"%s\"\n" % v in card and "    %s  %s/model.safetensors\n" % (hashlib.sha256(weights).hexdigest(), v) in card, card
            assert str(folder) not in card
            assert "folder of model_type" in hs.gavel(folder, sim.url, "inspect", "hub-" + recipe, want=0).out
            for k in used:
                shutil.rmtree(k)
        taken = sorted(hs.check_cache(folder))
        assert "model.safetensors" in taken and not [f for f in taken if f.endswith((".bin", ".gguf"))], taken
        again = hs.gavel(folder, sim.url, "merge", "hub.yaml", "offline", "--quiet", want=0, HF_HUB_OFFLINE="1")
        assert "download" not in again.err and os.path.exists("offline/model.safetensors"), again.err


def errors_of_a_merge_name_what_the_recipe_says(folder):
    tiny = read(os.path.join(DATA, "gguf", "tiny-llama.gguf"))
    a, b = folder_files("a"), folder_files("b")
    norm = b["config.json"].replace(b'"num_hidden_layers"', b'"num_hidden_layers_"')
    files = dict(of_repository("org/a", a), **of_repository("org/broken", dict(b, **{"config.json": norm})))
    files.update(of_repository("org/other", dict(b, **{"tokenizer.model": b["tokenizer.model"].replace(b"\xe2\x96\x81the", b"\xe2\x96\x81tze", 1)})))
    files.update(of_repository("org/m-GGUF", {"m.Q8_0.gguf": tiny}))
    files.update(of_repository("org/pickles", {"config.json": b"{}", "pytorch_model.bin": b"x"}))
    with hs.hub(os.path.join(folder, "sim"), files) as sim:
        def fails(second, *messages, code=1, **more):
            write("r.yaml", "merge_method: linear\nmodels:\n- {model: org/a, parameters: {weight: 1}}\n- {model: '%s', parameters: {weight: 1}}\n" % second)
            done = hs.gavel(folder, sim.url, "merge", "r.yaml", "out", "--quiet", want=code, **more)
            assert done.err.startswith("gavel: ") and done.err.count("\n") == 1 and "--model" not in done.err, done.err
            for m in messages:
                assert m in done.err, done.err
            assert not os.path.exists("out") and not os.path.exists("out.partial")
            return done.err

        fails("org/none", "r.yaml: model org/none: ")
        fails("org/a@nope", "r.yaml: model org/a@nope: ", "nope")
        fails("org/none", "r.yaml: model org/none: ", HF_HUB_OFFLINE="1")
        fails("org/pickles", "r.yaml: model org/pickles: org/pickles has neither safetensors nor GGUF, only pickled weights")
        fails("org/m-GGUF", "r.yaml: model org/m-GGUF: org/m-GGUF is GGUF; a Hugging Face folder (config.json, safetensors) is needed here\n", code=2)
        fails("org/m-GGUF:Q8_0", "r.yaml: model org/m-GGUF:Q8_0: org/m-GGUF:Q8_0 is GGUF; a Hugging Face folder", code=2)
        assert sim.log("Q8_0.gguf") == []  # not a byte of it came
        fails("org/broken", "r.yaml: model org/broken: ", "tensor model.layers.")
        said = fails("org/other", "in org/a, ", "in org/other\n", "vocabularies differ: token ")
        assert "snapshots" not in said, said
        fails("nowhere/b/c", "r.yaml: ", "nowhere/b/c")
        fails("org", "r.yaml: cannot open org")


if __name__ == "__main__":
    support.main([a_split_quantisation_of_the_hub_is_one_model, pull_asks_which_quantisation_on_a_terminal, the_prometheus_recipes_run_with_models_of_the_hub,
                  errors_of_a_merge_name_what_the_recipe_says])
