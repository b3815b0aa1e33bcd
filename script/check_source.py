#!/usr/bin/env python3
"""Rules of the source that no compiler checks: layers of includes, file lengths, forbidden words, tests that exist.

Layers (ARCHITECTURE.md): base < {modelfile, tok, tmpl, store, http, kern} < {data, engine} < {lm, weights} < judge < cli.  A room includes only its own
files and rooms below it; tok may also read model files, which may compute with kern.  Inner headers (x_internal.h) stay inside their room.
"""
import os
import re
import sys

ROOMS = {"base": 0, "modelfile": 1, "tok": 1, "tmpl": 1, "store": 1, "http": 1, "kern": 1, "data": 2, "engine": 2, "lm": 3, "weights": 3, "judge": 4, "cli": 5}
SAME_LEVEL = {("tok", "modelfile"), ("modelfile", "kern")}
MAX_LINES = 800
LONG = re.compile(r"\.inc$")  # kernel bodies and tables
WORDS = re.compile(r"\b(TODO|FIXME|XXX)\b")

problems = []


def check_includes(path, room, text):
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not found:
            continue
        target = found.group(1)
        if "/" not in target:
            problems.append("%s:%d: include \"%s\" is not written from src/" % (path, number, target))
            continue
        other = target.split("/")[0]
        if other not in ROOMS:
            problems.append("%s:%d: %s is no room" % (path, number, other))
        elif other != room and ROOMS[other] >= ROOMS[room] and (room, other) not in SAME_LEVEL:
            problems.append("%s:%d: %s must not include %s" % (path, number, room, other))
        elif other != room and target.endswith("_internal.h"):
            problems.append("%s:%d: %s is inner to %s" % (path, number, target, other))
        elif target.endswith(".c"):
            problems.append("%s:%d: includes a .c file" % (path, number))


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    for folder, _, files in os.walk("src"):
        room = folder.split(os.sep)[1] if os.sep in folder else ""
        for name in sorted(files):
            path = os.path.join(folder, name)
            text = open(path, encoding="utf-8").read()
            if room not in ROOMS:
                problems.append("%s: not in a room" % path)
                continue
            check_includes(path, room, text)
            lines = text.count("\n")
            if lines > MAX_LINES and not LONG.search(name):
                problems.append("%s: %d lines, at most %d" % (path, lines, MAX_LINES))
            if not text.startswith("/*") and not text.startswith("#ifndef"):
                problems.append("%s: does not open with a comment that says what it owns" % path)
            for number, line in enumerate(text.split("\n"), 1):
                if WORDS.search(line):
                    problems.append("%s:%d: %s" % (path, number, line.strip()))
    fuzzers = [f[:-2] for f in os.listdir("tests/fuzz") if f.startswith("fuzz_") and f.endswith(".c")]
    for f in fuzzers:
        if not os.path.isdir("tests/fuzz/corpus/" + f) or not os.listdir("tests/fuzz/corpus/" + f):
            problems.append("tests/fuzz/%s.c has no corpus" % f)
    for p in problems:
        print(p)
    return 1 if problems else 0


sys.exit(main())
