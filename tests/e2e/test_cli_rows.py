"""Rows in and out of gavel judge, with the test engine: every kind of bad input and its message, columns and their order, ids, CSV, export."""
import contextlib
import csv
import io
import json
import sqlite3

import support
from support import RUBRIC, judge, read, refused, rows, run, table, write

FIVE = ["feedback", "result", "status", "message", "model_name"]


def statuses(path):
    return [row["status"] for row in table(path)]


# ---- bad input ----


def a_missing_column_is_refused_with_the_columns_there_are(_):
    write("in.jsonl", [{"instruction": "a", "generated": "b"}])
    refused(judge("in.jsonl", "out.jsonl"), 2, 'in.jsonl: no column "generation" (name it with --map); the columns are instruction, generated; did you mean "generated"?')
    refused(judge("in.jsonl", "out.jsonl", "--map", "generation=generated", "--reference"), 2, 'no column "reference"')
    refused(judge("in.jsonl", "out.jsonl", "--map", "generation=generatd"), 2, 'no column "generatd"', 'did you mean "generated"?')
    refused(judge("in.jsonl", "out.jsonl", "--map", "generation=generated", "--rubric-col", "rubrc", rubric=None), 2, 'no column "rubrc" (--rubric-col)')
    refused(judge("in.jsonl", "out.jsonl", "--map", "generation=generated", "--keep", "instruction,foo"), 2, 'no column "foo" to keep')
    refused(judge("in.jsonl", "out.jsonl", "--map", "generation=generated", "--id-col", "idd"), 2, 'no id column "idd"')
    judge("in.jsonl", "out.jsonl", "--map", "generation=generated", want=0)


def a_row_without_the_column_or_of_a_wrong_type_is_bad_input_and_the_others_go_on(_):
    write("in.jsonl", [{"instruction": "a", "generation": "b"}, {"instruction": "a"}, {"instruction": "a", "generation": 5}, {"instruction": "a", "generation": ["b"]},
                       {"instruction": "a", "generation": None}, {"instruction": {"x": [1, 2.0, None]}, "generation": "b"}])
    done = judge("in.jsonl", "out.jsonl", want=3)
    assert statuses("out.jsonl") == ["ok", "bad_input", "bad_input", "bad_input", "bad_input", "ok"]
    messages = [row["message"] for row in table("out.jsonl")]
    assert messages[0] is None and "generation" in messages[1]
    for message, kind in zip(messages[2:5], ("int", "list", "NoneType")):
        assert message == "Provided `generation` is of type <class '%s'> but a string should be provided instead." % kind, message
    assert all(row["feedback"] is None and row["result"] is None for row in table("out.jsonl")[1:5])
    assert "4 of 6 rows have no verdict (4 bad_input)" in done.err, done.err


def broken_lines_are_bad_input_and_the_others_go_on(_):
    good = json.dumps(rows(1)[0]).encode()
    write("in.jsonl", b"\n".join([good, b"{broken", b"[1]", b'{"instruction":"\xff\xfe","generation":"x"}', b'{"a":1,"a":2}', b"\x00", b"", good]) + b"\n")
    judge("in.jsonl", "out.jsonl", want=3)
    assert statuses("out.jsonl") == ["ok"] + ["bad_input"] * 5 + ["ok"]
    for row, part in zip(table("out.jsonl")[1:6], ("in.jsonl:2: invalid JSON", "in.jsonl:3: a row must be an object", "in.jsonl:4: invalid UTF-8 at byte 16 of the row",
                                                   "in.jsonl:5: ", "in.jsonl:6: ")):
        assert part in row["message"], row
        assert list(row) == FIVE, row


def a_line_of_100_mb_is_bad_input_and_the_others_go_on(_):
    with open("in.jsonl", "wb") as f:
        f.write(json.dumps(rows(1)[0]).encode() + b"\n")
        f.write(b'{"instruction":"')
        for _ in range(100):
            f.write(b"x" * 1000000)
        f.write(b'","generation":"y"}\n' + json.dumps(rows(1)[0]).encode() + b"\n")
    judge("in.jsonl", "out.jsonl", want=3)
    assert statuses("out.jsonl") == ["ok", "bad_input", "ok"]
    assert table("out.jsonl")[1]["message"] == "in.jsonl:2: the line is longer than the cap of 64 MiB"
    out = run("tokenize", "in.jsonl", "--model", support.tiny("llama"), want=3).lines()
    assert len(out) == 3 and "longer than the cap of 64 MiB" in out[1]["message"], out


def inputs_without_rows_are_refused(_):
    for content, part in ((b"", "the file is empty"), (b"\n \n", "no rows"), (b"[]", "no rows"), (b"instruction,generation\n", "no rows")):
        name = "in.csv" if b"," in content else "in.json" if content == b"[]" else "in.jsonl"
        refused(judge(write(name, content), "out.jsonl"), 1, name, part)
    refused(judge("-", "out.jsonl", stdin=""), 1, "standard input: the file is empty")


def duplicate_ids_are_refused_before_anything_is_judged(_):
    write("in.jsonl", [dict(row, id=str(i % 3)) for i, row in enumerate(rows(5))])
    refused(judge("in.jsonl", "out.jsonl", "--id-col", "id", model="mock:log=log"),
            1, 'in.jsonl:4: row 3 has the id "0" of row 0; ids must be distinct')
    assert read("log") == b""
    refused(judge("in.jsonl", "out.jsonl", "--id-col", "id", "--shard", "1/2"), 1, "ids must be distinct")


def an_unknown_rubric_is_refused_with_the_nearest_one(_):
    write("in.jsonl", rows(1))
    refused(judge("in.jsonl", "out.jsonl", rubric="helpfullness"), 2, 'unknown rubric "helpfullness"; did you mean helpfulness?')
    refused(judge("in.jsonl", "out.jsonl", rubric="zzz.txt"), 1, "cannot open zzz.txt: No such file")


def malformed_rubrics_are_refused(_):
    write("in.jsonl", rows(1))
    good = {"criteria": "Is it good?", **{"score%d_description" % i: "d%d" % i for i in range(1, 6)}}
    for name, content, code, part in (("r.json", "{", 1, "r.json: invalid JSON"), ("r.json", json.dumps({"criteria": "x"}), 1, "score1_description"),
                                      ("r.json", "[1]", 1, "r.json: a rubric is of type array"), ("r.json", json.dumps({"a": good, "b": good}), 2, "choose one with FILE#NAME"),
                                      ("r.yaml", "a: [", 1, "r.yaml: invalid YAML at line"), ("r.txt", "", 1, "r.txt"), ("r.txt", b"\xff\xfe", 1, "r.txt")):
        write(name, content)
        done = judge("in.jsonl", "out.jsonl", rubric=name)
        assert done.code == code and part in done.err and name in done.err, (name, content, done.code, done.err)
    write("r.txt", "no shape at all")
    done = judge("in.jsonl", "out.jsonl", rubric="r.txt")
    assert done.code == 1 and "r.txt" in done.err, done.err
    judge("in.jsonl", "out.jsonl", "--prompt", "prometheus-eval", rubric="r.txt", want=0)  # only distilabel checks the shape
    write("r.json", json.dumps(good))
    judge("in.jsonl", "out2.jsonl", rubric="r.json", want=0)


def a_row_with_a_malformed_rubric_of_its_own_is_bad_input(_):
    good = {"criteria": "Is it good?", **{"score%d_description" % i: "d%d" % i for i in range(1, 6)}}
    write("in.jsonl", [dict(rows(1)[0], r=r) for r in (good, {"criteria": "x"}, 7, None)])
    judge("in.jsonl", "out.jsonl", "--rubric-col", "r", rubric=None, want=3)
    assert statuses("out.jsonl") == ["ok", "bad_input", "bad_input", "bad_input"], table("out.jsonl")
    assert all(row["message"] for row in table("out.jsonl")[1:])


def an_answer_without_a_verdict_is_never_a_score(_):
    write("in.jsonl", rows(12))
    for parser in ("strict", "lenient", "robust"):
        judge("in.jsonl", parser + ".jsonl", "--verdict", parser, model="mock:fail=3,long=4,error=5", want=3)
        for i, row in enumerate(table(parser + ".jsonl")):
            want = "error" if i % 5 == 4 else "truncated" if i % 4 == 3 else "unparsable" if i % 3 == 2 else "ok"
            assert row["status"] == want and (row["result"] in (1, 2, 3, 4, 5)) == (want == "ok"), row
            assert (row["message"] is None) == (want == "ok") and (row["feedback"] is None) == (want != "ok"), row


# ---- columns ----


def input_columns_come_first_in_order_and_byte_for_byte(_):
    lines = ['{"z": 1.50, "instruction": "caf\\u00e9 \\/", "generation": "x", "a": {"k" : [1e400, null]}}',
             '{"generation":"y","instruction":"b","only here":true}']
    write("in.jsonl", "\n".join(lines) + "\n")
    judge("in.jsonl", "out.jsonl", want=0)
    got = read("out.jsonl").decode().split("\n")
    assert got[0].startswith('{"z": 1.50, "instruction": "caf\\u00e9 \\/", "generation": "x", "a": {"k" : [1e400, null]}, "feedback": "'), got[0]
    assert list(json.loads(got[1])) == ["generation", "instruction", "only here"] + FIVE
    assert json.loads(got[0])["model_name"] == "mock" and '"status": "ok", "message": null, "model_name": "mock"}' in got[0]


def keep_writes_exactly_these_columns_in_this_order(_):
    write("in.jsonl", [dict(row, n=i) for i, row in enumerate(rows(3))])
    judge("in.jsonl", "out.jsonl", "--keep", "result,n,feedback", want=0)
    assert [list(row) for row in table("out.jsonl")] == [["result", "n", "feedback"]] * 3
    judge("in.jsonl", "out.csv", "--keep", "status,n", want=0)
    assert read("out.csv") == b"status,n\nok,0\nok,1\nok,2\n"
    refused(judge("in.jsonl", "out3.jsonl", "--keep", "n,n"), 2, '--keep names the column "n" twice')


def an_input_column_with_the_name_of_an_output_gives_way_with_a_warning(_):
    write("in.jsonl", rows(2, status="mine", result=9))
    done = judge("in.jsonl", "out.jsonl", want=0)
    assert "gavel: warning: in.jsonl has columns with names of the output, which replaces them: status, result\n" in done.err, done.err
    assert [list(row) for row in table("out.jsonl")] == [["instruction", "generation"] + FIVE] * 2
    assert all(row["status"] == "ok" and row["result"] in (1, 2, 3, 4, 5) for row in table("out.jsonl"))


def csv_and_tsv_and_json_rows_give_the_verdicts_of_json_lines(_):
    data = [{"instruction": 'a "quoted", one', "generation": "two\nlines"}, {"instruction": "é", "generation": ""}]
    write("in.jsonl", data)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["instruction", "generation"], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(data)
    write("in.csv", text.getvalue())
    write("in.tsv", "instruction\tgeneration\n" + "\n".join('"%s"\t"%s"' % (r["instruction"].replace('"', '""'), r["generation"]) for r in data) + "\n")
    write("in.json", json.dumps(data, indent=1))
    judge("in.jsonl", "jsonl.jsonl", want=0)
    for kind in ("csv", "tsv", "json"):
        judge("in." + kind, kind + ".jsonl", want=0)
        assert table(kind + ".jsonl") == table("jsonl.jsonl"), kind


def csv_output_is_read_back_by_python(_):
    write("in.jsonl", [{"instruction": 'x,"y"\n', "generation": "=1+1", "extra": {"k": [1]}, "none": None}, {"generation": "b", "instruction": "c"}, {"instruction": "d"}])
    judge("in.jsonl", "out.csv", want=3)
    got = list(csv.DictReader(io.StringIO(read("out.csv").decode(), newline="")))
    assert list(got[0]) == ["instruction", "generation", "extra", "none"] + FIVE
    assert got[0]["instruction"] == 'x,"y"\n' and got[0]["generation"] == "=1+1" and got[0]["extra"] == '{"k": [1]}' and got[0]["none"] == ""
    assert got[1]["extra"] == "" and got[1]["status"] == "ok" and got[1]["result"] in "12345"
    assert got[2]["status"] == "bad_input" and got[2]["result"] == ""


def limit_and_shards_keep_global_row_numbers(_):
    write("in.jsonl", [dict(row, n=i) for i, row in enumerate(rows(10))])
    judge("in.jsonl", "all.jsonl", want=0)
    judge("in.jsonl", "seven.jsonl", "--limit", "7", want=0)
    assert table("seven.jsonl") == table("all.jsonl")[:7]
    parts = []
    for i in range(3):
        judge("in.jsonl", "s%d.jsonl" % i, "--shard", "%d/3" % i, want=0)
        run("export", "s%d.jsonl.run" % i, "--out", "e%d.jsonl" % i, want=0)
        assert [r["row"] for r in table("e%d.jsonl" % i)] == list(range(i, 10, 3))
        parts += table("s%d.jsonl" % i)
    assert sorted(parts, key=lambda r: r["n"]) == table("all.jsonl")


def ids_come_from_their_column(_):
    write("in.jsonl", [dict(row, key=k) for row, k in zip(rows(3), ("a", 7, "é"))])
    judge("in.jsonl", "out.jsonl", "--id-col", "key", want=0)
    run("export", "out.jsonl.run", "--out", "e.jsonl", want=0)
    assert [r["id"] for r in table("e.jsonl")] == ["a", "7", "é"]
    judge("in.jsonl", "out2.jsonl", want=0)
    run("export", "out2.jsonl.run", "--out", "e.jsonl", want=0)
    assert [r["id"] for r in table("e.jsonl")] == ["0", "1", "2"]


def nul_and_control_bytes_in_text_are_text(_):
    write("in.jsonl", [{"instruction": "a\x00b\x1b[2J\x7f", "generation": "c\u2028\U0001f44d\x00"}])
    judge("in.jsonl", "out.jsonl", want=0)
    assert table("out.jsonl")[0]["instruction"] == "a\x00b\x1b[2J\x7f"
    prompt = run("render", "in.jsonl", "--rubric", RUBRIC, want=0).lines()[0]
    assert "a\x00b\x1b[2J\x7f" in prompt["user"] and "c\u2028\U0001f44d\x00" in prompt["user"]


def relative_rows_end_in_a_or_b(_):
    write("in.jsonl", [{"instruction": "q", "generations": ["x%d" % i, "y"]} for i in range(8)] + [{"instruction": "q", "generations": ["only one"]}])
    judge("in.jsonl", "out.jsonl", "--mode", "relative", want=3)
    got = table("out.jsonl")
    assert {r["result"] for r in got[:8]} == {"A", "B"} and got[8]["status"] == "bad_input" and "length 2" in got[8]["message"]


# ---- render and parse ----


def render_answers_every_line_also_bad_and_blank_ones(_):
    write("in.jsonl", '{"instruction":"a","generation":"b"}\n\nbroken\n{"instruction":"a"}\n{"instruction":"c","generation":"d"}\n')
    done = run("render", "in.jsonl", "--rubric", RUBRIC, want=3)
    out = done.lines()
    assert [o["row"] for o in out] == [0, None, 1, 2, 3] and [o.get("status") for o in out] == [None, "bad_input", "bad_input", "bad_input", None]
    assert list(out[0]) == ["row", "system", "user", "prompt"] and all(o["message"] for o in out[1:4])
    assert out[0]["prompt"] == "[INST] %s\n%s[/INST]" % (out[0]["system"], out[0]["user"])
    assert done.err == "gavel: 3 of 5 lines are bad input\n"
    assert run("render", "in.jsonl", "--rubric", RUBRIC, "--row", "3", want=0).lines() == [out[4]]
    refused(run("render", "in.jsonl", "--rubric", RUBRIC, "--row", "4"), 2, "in.jsonl has no row 4")
    assert run("render", "--rubric", RUBRIC, stdin=read("in.jsonl"), want=3).lines()[0] == out[0]


def parse_reads_a_run_again_without_a_model(_):
    write("in.jsonl", [*rows(6), {"instruction": "no generation"}])
    judge("in.jsonl", "out.jsonl", "--verdict", "strict", model="mock:fail=3", want=3)
    out = run("parse", "out.jsonl.run", want=0).lines()
    assert [list(o) for o in out] == [["row", "id", "feedback", "result", "status", "rule"]] * 7
    assert [(o["status"], o["result"], o["feedback"]) for o in out] == [(r["status"], r["result"], r["feedback"]) for r in table("out.jsonl")]
    support.shutil.copy("out.jsonl.run", "renamed.db")
    assert run("parse", "renamed.db", want=0).lines() == out  # a journal is known by its bytes, too
    bad = run("parse", "-", stdin='{"raw":5}\n{"mode":"absolute"}\n{"raw":"x [RESULT] 3","mode":"other"}\n{"raw":null}\n{"raw":"x [RESULT] 3"}\n', want=3)
    assert [o["status"] for o in bad.lines()] == ["bad_input"] * 3 + ["unparsable", "ok"]


# ---- export and inspect ----


def export_writes_what_is_judged(_):
    write("in.jsonl", [{"instruction": "no generation"}, *rows(5)])
    judge("in.jsonl", "out.jsonl", model="mock:error=4", want=3)
    run("export", "out.jsonl.run", "--out", "e.jsonl", want=0)
    got = table("e.jsonl")
    assert [list(r) for r in got] == [["row", "id"] + FIVE] * 6
    for r, row in zip(got, table("out.jsonl")):
        assert all(r[name] == row[name] for name in FIVE), (r, row)


def export_all_has_every_field_of_the_record_in_every_row(_):
    write("in.jsonl", [{"instruction": "no generation"}, *rows(5)])
    judge("in.jsonl", "out.jsonl", "--expected-score", "--seed", "7", model="mock:error=4", want=3)
    run("export", "out.jsonl.run", "--out", "e.jsonl", "--all", want=0)
    run("export", "out.jsonl.run", "--out", "e.csv", "--all", want=0)
    got = table("e.jsonl")
    names = list(got[0])
    for name in ("row", "id", "row_hash", "prompt", "rubric_sha256", "mode", "order", "sample", "attempt", "seed", "prompt_tokens", "cached_tokens", "output_tokens", "finish",
                 "raw", "feedback", "result", "status", "message", "expected_score", "choice_logprobs", "rule", "forced", "wait_us", "prefill_us", "decode_us", "model_name",
                 "model_sha256", "tokenizer_sha256", "chat_template_sha256", "numerics", "gavel_version", "temperature", "top_p", "max_tokens", "input_sha256"):
        assert names.count(name) == 1, (name, names)
    assert all(list(r) == names for r in got)
    back = list(csv.DictReader(io.StringIO(read("e.csv").decode(), newline="")))
    assert list(back[0]) == names and len(back) == 6
    assert got[0]["status"] == "bad_input" and got[0]["raw"] is None and got[0]["result"] is None
    assert got[1]["raw"].endswith("[RESULT] %d" % got[1]["result"]) and len(got[1]["choice_logprobs"]) == 5 and got[1]["seed"] == 7
    assert got[1]["expected_score"] == table("out.jsonl")[1]["expected_score"] and got[3]["status"] == "error"


def the_expected_score_is_the_mean_under_the_probabilities(_):
    write("in.jsonl", rows(4))
    judge("in.jsonl", "out.jsonl", "--expected-score", want=0)
    low, high = 0.0820849986, 0.7788007831  # exp(-2.5) and exp(-0.25), what the test engine says
    for row in table("out.jsonl"):
        want = (low * (15 - row["result"]) + high * row["result"]) / (4 * low + high)
        assert list(row)[-1] == "expected_score" and abs(row["expected_score"] - want) < 1e-6, (row, want)


def what_is_no_journal_is_refused(_):
    write("x.run", "not a database, but long enough to be looked at" * 40)
    for args in (["export", "x.run", "--out", "e.jsonl"], ["inspect", "x.run"], ["parse", "x.run"]):
        refused(run(*args), 1, "x.run")
        refused(run(*[a.replace("x.run", "none.run") for a in args]), 1, "none.run")
    refused(run("export", "x.run", "--out", "x.run"), 2, "--out x.run is the journal itself")


def inspect_tells_settings_and_statuses_of_a_run(_):
    write("in.jsonl", rows(5))
    judge("in.jsonl", "out.jsonl", "--temperature", "0.5", model="mock:error=2", want=3)
    out = run("inspect", "out.jsonl.run", want=0).out
    for part in ("temperature            0.5\n", "model                  mock\n", "ok                     3 rows\n", "error                  2 rows\n", "rubric column          none\n"):
        assert part in out, (part, out)


def a_run_killed_before_its_first_record_is_inspected(_):
    write("in.jsonl", rows(2))
    judge("in.jsonl", "out.jsonl", want=0)
    with contextlib.closing(sqlite3.connect("out.jsonl.run")) as db, db:
        db.execute("DELETE FROM record")
        db.execute("DELETE FROM meta")
    assert run("inspect", "out.jsonl.run", want=0).out == "nothing is recorded yet\n"


support.main([support.mock(t) for t in [
    a_missing_column_is_refused_with_the_columns_there_are, a_row_without_the_column_or_of_a_wrong_type_is_bad_input_and_the_others_go_on,
    broken_lines_are_bad_input_and_the_others_go_on, a_line_of_100_mb_is_bad_input_and_the_others_go_on, inputs_without_rows_are_refused,
    duplicate_ids_are_refused_before_anything_is_judged, an_unknown_rubric_is_refused_with_the_nearest_one, malformed_rubrics_are_refused,
    a_row_with_a_malformed_rubric_of_its_own_is_bad_input, an_answer_without_a_verdict_is_never_a_score, input_columns_come_first_in_order_and_byte_for_byte,
    keep_writes_exactly_these_columns_in_this_order, an_input_column_with_the_name_of_an_output_gives_way_with_a_warning,
    csv_and_tsv_and_json_rows_give_the_verdicts_of_json_lines, csv_output_is_read_back_by_python, limit_and_shards_keep_global_row_numbers,
    ids_come_from_their_column, nul_and_control_bytes_in_text_are_text, relative_rows_end_in_a_or_b, render_answers_every_line_also_bad_and_blank_ones,
    parse_reads_a_run_again_without_a_model, export_writes_what_is_judged, export_all_has_every_field_of_the_record_in_every_row,
    the_expected_score_is_the_mean_under_the_probabilities, what_is_no_journal_is_refused, inspect_tells_settings_and_statuses_of_a_run,
    a_run_killed_before_its_first_record_is_inspected]])
