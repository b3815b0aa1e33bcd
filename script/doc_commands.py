#!/usr/bin/env python3
"""Run the commands of README.md and CONTRIBUTING.md, so that the documents cannot promise what does not work.

    script/doc_commands.py GAVEL_BINARY

Each ```sh block stands behind one of these comments:

    <!-- run -->                 run it; it must end with 0
    <!-- run: exit 3 -->         run it; it must end with 3
    <!-- not run: REASON -->     leave it out

and a run block may be followed by <!-- prints --> and a ```text block: exactly what it prints to standard output.  Blocks run in order in
one folder that has demo/, examples/ and a model.gguf (a random model of 185 KB).  There `gavel judge` is shortened: two rows, 24 tokens,
room for long prompts; with --mode relative it uses the test engine, because that model's tokenizer has no token for the letter B.
Standard library only.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
DOCUMENTS = ["README.md", "CONTRIBUTING.md"]
MODEL = "tests/data/oracle/models/llama3/llama3-Q8_0.gguf"
BLOCK = re.compile(r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)

WRAPPER = """#!%(python)s
import os, sys
args = sys.argv[1:]
if args[:1] == ["judge"]:
    if "relative" in args:
        args = ["mock" if a == "model.gguf" else a for a in args]
    for option, value in (("--limit", "2"), ("--max-tokens", "24"), ("--ctx", "8192")):
        if option not in args:
            args += [option, value]
os.execv(%(binary)r, ["gavel"] + args)
"""


def blocks(path):
    """(line, mark, kind, text) of each fenced block."""
    text = open(path, encoding="utf-8").read()
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found["mark"] or "", found["kind"], found["text"]


def plan(path):
    """The blocks to run: (place, commands, exit code, expected standard output or None).  Unmarked blocks are mistakes."""
    todo, mistakes = [], []
    runnable = None
    for line, mark, kind, text in blocks(path):
        place = "%s:%d" % (os.path.relpath(path, ROOT), line)
        if kind == "sh":
            found = re.fullmatch(r"run(?:: exit (\d+))?", mark)
            runnable = None
            if found:
                runnable = [place, text, int(found[1] or 0), None]
                todo.append(runnable)
            elif not re.fullmatch(r"not run: .+", mark):
                mistakes.append("%s: a sh block without <!-- run --> or <!-- not run: REASON -->" % place)
        elif mark == "prints":
            if runnable is None:
                mistakes.append("%s: <!-- prints --> does not follow a block that is run" % place)
            else:
                runnable[3] = text
            runnable = None
    return todo, mistakes


def prepare(folder, binary):
    for name in ("demo", "examples"):
        os.symlink(os.path.join(ROOT, name), os.path.join(folder, name))
    os.symlink(os.path.join(ROOT, MODEL), os.path.join(folder, "model.gguf"))
    os.mkdir(os.path.join(folder, "bin"))
    wrapper = os.path.join(folder, "bin", "gavel")
    with open(wrapper, "w") as f:
        f.write(WRAPPER % {"python": sys.executable, "binary": binary})
    os.chmod(wrapper, 0o755)


def run(todo, binary):
    mistakes = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder, binary)
        env = dict(os.environ, PATH=os.path.join(folder, "bin") + os.pathsep + os.environ["PATH"])
        for place, commands, code, expected in todo:
            got = subprocess.run(["sh", "-euc", commands], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 stdin=subprocess.DEVNULL, timeout=300)
            if got.returncode != code:
                mistakes.append("%s: ended with %d, expected %d\n%s%s" % (place, got.returncode, code, commands, got.stderr))
            elif expected is not None and got.stdout != expected:
                mistakes.append("%s: printed\n%s\nexpected\n%s" % (place, got.stdout, expected))
    return mistakes


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    binary = os.path.realpath(sys.argv[1])
    mistakes, n = [], 0
    for name in DOCUMENTS:
        todo, wrong = plan(os.path.join(ROOT, name))
        mistakes += wrong + run(todo, binary)
        n += len(todo)
    for m in mistakes:
        print(m)
    print("%d blocks run, %d mistakes" % (n, len(mistakes)))
    return 1 if mistakes or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
