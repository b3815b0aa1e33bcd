#!/usr/bin/env python3
"""The documents against the code: commands run, links lead somewhere, tables name what exists, prompts are those that are rendered.

    test_docs.py GAVEL_BINARY

Standard library only.
"""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
ROOMS = "base|modelfile|tok|tmpl|store|http|kern|data|engine|lm|weights|judge|pipe|cli"
RUBRIC = "[criteria]\nScore 1: a\nScore 2: b\nScore 3: c\nScore 4: d\nScore 5: e"

mistakes = []


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def check(ok, message):
    if not ok:
        mistakes.append(message)


def commands_run(binary):
    got = subprocess.run([sys.executable, os.path.join(ROOT, "script", "doc_commands.py"), binary], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    check(got.returncode == 0, got.stdout)


def links_lead_somewhere():
    """[text](path) in every document, and `path/of/file` in those that speak of the repository's files."""
    for path in glob.glob(os.path.join(ROOT, "*.md")) + glob.glob(os.path.join(ROOT, "docs", "*.md")):
        name = os.path.relpath(path, ROOT)
        text = read(name)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not re.match(r"https?:", target):
                check(os.path.exists(os.path.join(os.path.dirname(path), target)), "%s: link to %s leads nowhere" % (name, target))
        for target in re.findall(r"(?<!ggml's )`((?:docs|tests|script|demo|examples|src)/[\w./-]+)`", text):
            check(re.search("NAME|FILE", target) or os.path.exists(os.path.join(ROOT, target)), "%s: there is no %s" % (name, target))
        for word in ("/work/", "/root/", "/home/"):
            check(word not in text, "%s: holds a path of one machine, %s" % (name, word))


def architecture_lists_every_file():
    there = {os.path.relpath(f, os.path.join(ROOT, "src")) for f in glob.glob(os.path.join(ROOT, "src", "*", "*.*"))
             if f.endswith((".c", ".h", ".inc"))}
    listed = set(re.findall(r"`((?:%s)/[\w.]+)`" % ROOMS, read("ARCHITECTURE.md").split("\n## Files\n")[1]))
    for f in sorted(there - listed):
        check(False, "ARCHITECTURE.md: the table of files lacks %s" % f)
    for f in sorted(listed - there):
        check(False, "ARCHITECTURE.md: there is no src/%s" % f)


def every_test_of_these_folders_has_a_line():
    text = read("docs/testing.md")
    for folder in ("e2e", "interop", "golden", "fault"):
        for f in sorted(glob.glob(os.path.join(ROOT, "tests", folder, "test_*"))):
            check("| `tests/%s/%s`" % (folder, os.path.basename(f)) in text or "`tests/%s/%s` |" % (folder, os.path.basename(f)) in text,
                  "docs/testing.md: no line for tests/%s/%s" % (folder, os.path.basename(f)))


def the_ten_functions_exist():
    stations = re.findall(r"^\d+\. \*\*`(\w+)`\*\* \(`([\w/.]+)`", read("ARCHITECTURE.md"), re.M)
    check(len(stations) == 10, "ARCHITECTURE.md: %d stations in the life of a judgment, expected 10" % len(stations))
    for function, path in stations:
        defined = os.path.exists(os.path.join(ROOT, "src", path)) and re.search(r"^\w[^;=\n]*\b%s\([^;]*\{" % function, read("src/" + path), re.M)
        check(defined, "ARCHITECTURE.md: src/%s does not define %s" % (path, function))


def model_shows_the_rendered_prompts(binary):
    values = {"instruction": "{instruction}", "generation": "{response}", "generations": ["{response}", "{second response}"],
              "reference": "{reference}"}
    for mode in ("absolute", "relative"):
        found = re.search(r"<!-- prompt: %s -->\n```text\n(.*?)\n```" % mode, read("MODEL.md"), re.S)
        if not found:
            check(False, "MODEL.md: no prompt of mode %s" % mode)
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows, rubric = os.path.join(folder, "rows.jsonl"), os.path.join(folder, "rubric.txt")
            with open(rows, "w") as f:
                f.write(json.dumps(values) + "\n")
            with open(rubric, "w") as f:
                f.write(RUBRIC)
            got = subprocess.run([binary, "render", rows, "--mode", mode, "--reference", "--rubric", rubric], stdout=subprocess.PIPE, text=True,
                                 check=True)
        row = json.loads(got.stdout)
        check(row["user"].replace(RUBRIC, "{rubric}") == found[1], "MODEL.md: the %s prompt is not the one that is rendered" % mode)
        check(row["system"] in read("MODEL.md"), "MODEL.md: lacks the system prompt of mode %s" % mode)


def readme_is_short():
    lines = read("README.md").count("\n")
    check(lines <= 250, "README.md: %d lines, at most 250" % lines)


def main():
    binary = os.path.realpath(sys.argv[1])
    commands_run(binary)
    links_lead_somewhere()
    architecture_lists_every_file()
    every_test_of_these_folders_has_a_line()
    the_ten_functions_exist()
    model_shows_the_rendered_prompts(binary)
    readme_is_short()
    for m in mistakes:
        print(m)
    return 1 if mistakes else 0


sys.exit(main())
