#!/usr/bin/env python3
"""Writes scalars.jsonl and documents.jsonl: what PyYAML's SafeLoader makes of plain scalars and of whole documents.

A line has "text" and either "json" (the JSON text that gavel's reader must deliver) or "error" (PyYAML refuses it).
"""
import datetime
import json
import os
import yaml

SCALARS = (
    "y Y yes Yes YES yEs n N no No NO on On ON off Off OFF true True TRUE tRue false False FALSE null Null NULL nULL ~ nil none None "
    "0 1 -1 +1 007 08 09 0o17 017 0x1F 0XFF 0x 0b101 0b 0b2 1_000 _1 1_ 1__0 -0x1f +0b1 190:20:30 1:2 1:60 60:1 01:02 -1:30 -0 00 "
    "12345678901234567890123 18446744073709551616 0_7 0_ -010 + - -- 0x1_F 0x_ 0b_ 1:2:3:4 "
    "1.0 1. .5 . .. -.5 +.5 1e5 1E5 1e+5 1.e5 1.0e5 1.0e+5 1.0E-5 1.5e+05 .5e+3 1_0.5 00.5 1.2.3 .inf .Inf .INF .iNF -.inf +.inf inf .nan "
    ".NaN .NAN .Nan nan 1:2.5 190:20:30.15 1:75.0 6.02e23 6.02e+23 1e-5 5e-05 0.00001 -0.0 1._5 0._ "
    "2001-12-14 2001-1-1 2001-12-14t21:59:43.10-05:00 2001-12-15T02:59:43.1Z 12:30:45 2001-12-14T1:02:03 = << a.b 1a").split()
DOCUMENTS = [
    "- !!str 1\n- !!int '7'\n- !!float 3\n- !!bool yes\n- !!null ''\n- ! 5\n", "a: &x [1, b]\nb: *x\n", "<<: {a: 1}\nb: 2\n",
    "a: &b {x: 1, y: 5}\nc: {z: 0, <<: *b, y: 2}\n", "a: &p {x: 1}\nb: &q {x: 2, y: 3}\nc: {<<: [*p, *q], w: 4}\n",
    "a: &p {x: 1}\nb: &q {<<: *p, y: 2}\nc: {<<: *q}\n", "{\"<<\": 1}\n", "a: 'no'\nb: \"1\"\nc: '<<'\n", "a: |\n  x\n  y\nb: >\n  x\n  y\n",
    "%YAML 1.1\n---\nyes\n", "a: \"x\\\n  y \\u2019 \\\" \\\\ \\x41\"\n", "a: \U0001f600\nb: [ ]\nc: { }\nd:\n", "'a'':b': 'it''s\n\n  so'\n",
    "- a\n-\n- - b\n  - c\n", "k: plain\n  folded text\n", "x: [a, b: c, ? d]\n", "\ufeffa: 1\n",
    "!!python/object/apply:os.system ['x']\n", "!foo 1\n", "!!binary aGk=\n", "!!set {a}\n", "---\na\n---\nb\n", "a: b: c\n", "\ta: 1\n", "'\n", "*x\n", "? [1]\n: 2\n",
    "a: \x01\n", "- =\n", "<<: 1\n", "<<: [1]\n", "a: &x 1\nb: &x 2\n", "!!int x\n", "[a\n", "a: &x {b: *x}\n"]


def dump(v, text):
    if isinstance(v, (datetime.date, datetime.datetime)):
        return json.dumps(text)
    if isinstance(v, float) and (v != v or v in (float("inf"), float("-inf"))):
        return json.dumps(text)
    return json.dumps(v, ensure_ascii=True)


def case(text, shown):
    try:
        v = yaml.safe_load(text)
        return {"text": text, "json": dump(v[0] if shown != text else v, shown)}
    except Exception:
        return {"text": text, "error": True}


here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "scalars.jsonl"), "w", encoding="ascii") as f:
    for s in SCALARS:
        f.write(json.dumps(dict(case("- " + s + "\n", s), text=s)) + "\n") if s not in ("-", "--", "<<") else None
with open(os.path.join(here, "documents.jsonl"), "w", encoding="ascii") as f:
    for d in DOCUMENTS:
        f.write(json.dumps(case(d, d)) + "\n")
