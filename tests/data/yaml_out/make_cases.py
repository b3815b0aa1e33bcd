#!/usr/bin/env python3
"""cases.jsonl.xz: values and what PyYAML makes of them.

    make_cases.py GOLDEN OUT

GOLDEN holds pipelines/*.yaml and runs/*/{pipeline,saved_pipeline}.yaml as distilabel 1.5.3 wrote them; each becomes one line
{"name", "value", "yaml", "unicode", "sort"}.  The others are made here: hand-written ones, and random ones from a fixed seed.
"""
import json
import lzma
import pathlib
import random
import sys

import yaml


def dumped(value, unicode=False, sort=False):
    value = json.loads(json.dumps(value))  # no object twice: PyYAML would write an anchor
    return yaml.dump(value, default_flow_style=False, sort_keys=sort, allow_unicode=unicode)


HAND = [
    "", " ", "a", "null", "~", "Null", "true", "Yes", "no", "on", "y", "n", "=", "<<", "1", "-1", "+1", "0x1f", "0b1", "0o17", "010", "1_000", "1:30",
    "1.5", "1e5", "1.0e5", "1.0e+5", ".5", ".inf", "-.INF", ".nan", "2024-01-01", "2024-1-1 1:2:3", "-", "- a", "-a", "?", "? a", "?a", ":", ": a", ":a",
    "a:", "a: b", "a:b", "a #b", "a#b", "#a", "---", "--- a", "...", "---a", "'", "''", "'a'", '"', '"a"', "a'b", "a\"b", "\\", "a\\b", "%a", "@a", "`a",
    "&a", "*a", "!a", "|", ">", "{}", "[]", "{a", "a}", ",", "a,b", " a", "a ", "a\n", "\na", "a\nb", "a\n\nb", "a \nb", "a\n b", "\n", "\n\n", "a\tb", "\t",
    "a\r\nb", "\r", "\x00", "\x07\x1b", "\x7f", "\x85", "a\x85b", "\xa0", "\u2028", "a\u2029b", "\ufeff", "a\ufeffb", "\u00e9", "\u65e5\u672c", "\U0001f600",
    "a \U0001f600 b", "\U0010ffff", "---\nx", "x\n---\ny: 1\n", "```", "<script>", "key: [unclosed", "a" * 200, "a b " * 60, "a  b  " * 60, " " * 100,
    "word " * 15 + "\n" + "word " * 30 + "x", "\u00e9 " * 90, "\\ " * 90, "'" * 100, "it's " * 40, "a\n" * 50, "\u65e5\u672c \n x" * 20,
    "Score 1: it's\n" * 12, "x" * 79 + " y z", "x" * 80 + " y z", "x" * 81 + " y z", '"' * 81 + " z", "\u00e9" * 20 + " " + "b" * 90 + " c",
]


def hand_cases():
    for text in HAND:
        yield text
        yield {"key": text}
        yield [text]
        yield {text: "value"}
        yield {"outer": {"inner": [{"deep": text}, text]}}
    for value in (None, True, False, 0, -5, 10 ** 30, 0.7, 1.0, 1e16, 1e17, 1.5e300, 1e-5, 1.5e-7, -0.0, 0.1 + 0.2, 5e-324, [], {}, [[]], [{}], {"a": []}):
        yield value
        yield {"key": value}
        yield [value, [value, [value]]]
        yield [[[value], value], {"a": {"b": value, "c": [value]}}]
    for n in (121, 122, 123, 124, 130):
        yield {"k" * n: 1}
        yield {"k" * n: [1, 2], "\u00e9" * n: {"a": 1}, "l": {"m " * 70: ["x"]}}
    yield {"a\nb": [1, [2, {"c": {"": "d"}}]], "": {"x\u2028y": {"z": []}}, "e": {"\n": {"f\ng": "h"}}}
    yield {"b": 1, "a": {"d": 1, "c": 2}, "\u00e9": 3, "\U0001f600": 4, "\uffee": 5, "A": 6, "": 7}


def random_text(r):
    pools = ["ab ", "ab  \n", "ab:#-?,'\"\\ ", "a \u00e9\u65e5\x85\u2028\U0001f600", "0123456789:.-+_eE", "a\t\r\x00\x1b ", "{}[]&*!|>%@` a\n"]
    pool = r.choice(pools)
    return "".join(r.choice(pool) for _ in range(r.choice([1, 2, 3, 5, 8, 30, 90, 300])))


def random_value(r, depth=0):
    kind = r.randrange(8 if depth < 4 else 6)
    if kind < 5:
        return random_text(r)
    if kind == 5:
        return r.choice([None, True, r.randrange(-10 ** 6, 10 ** 6), r.random() * 10 ** r.randrange(-20, 20)])
    if kind == 6:
        return [random_value(r, depth + 1) for _ in range(r.randrange(4))]
    return {random_text(r): random_value(r, depth + 1) for _ in range(r.randrange(4))}


def main():
    golden, out = pathlib.Path(sys.argv[1]), sys.argv[2]
    lines, seen = [], set()
    for path in sorted(golden.glob("pipelines/*.yaml")) + sorted(golden.glob("runs/*/*pipeline.yaml")):
        text = path.read_text(encoding="utf-8")
        if text not in seen:
            lines.append({"name": str(path.relative_to(golden)), "value": yaml.safe_load(text), "yaml": text, "unicode": False, "sort": False})
        seen.add(text)
    r = random.Random(20240501)
    made = list(hand_cases()) + [random_value(r) for _ in range(3000)]
    for i, value in enumerate(made):
        unicode, sort = i % 2 == 1, i % 5 == 4
        lines.append({"name": "made %d" % i, "value": value, "yaml": dumped(value, unicode, sort), "unicode": unicode, "sort": sort})
        if i < 5 * len(HAND):
            lines.append({"name": "made %d, the other way" % i, "value": value, "yaml": dumped(value, not unicode, False), "unicode": not unicode, "sort": False})
    with lzma.open(out, "wt", encoding="ascii", preset=9) as f:
        for line in lines:
            f.write(json.dumps(line) + "\n")
    print(len(lines), "cases;", yaml.__version__)


main()
