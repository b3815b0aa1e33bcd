"""gavel verify: rows of a run judged again, compared with its journal."""
import hashlib
import json
import os
import shutil
import sqlite3

import support
from support import judge, mock, read, refused, rows, run, start, finish, table, tiny, wait_until, write

ARGS = ["--max-tokens", "12", "--temperature", "0.8"]


def digest(*parts):
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest()[:8], "big", signed=True)


def change_record(journal, row, change):
    """Rewrites one record with a good digest, as docs/journal.md says it is made."""
    db = sqlite3.connect(journal)
    key = row << 27
    failed, body = db.execute("SELECT failed, body FROM record WHERE key = ?", (key,)).fetchone()
    record = json.loads(body)
    change(record)
    body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    db.execute("UPDATE record SET body = ?, digest = ? WHERE key = ?", (body, digest(key.to_bytes(8, "big"), bytes([failed]), body), key))
    db.commit()
    db.close()


def judged_again(done):
    """The numbers of the last line of a verify."""
    return done.out.split("\n")[-2]


@mock
def equal_rows_are_told_and_exit_with_zero(_):
    write("in.jsonl", rows(30))
    judge("in.jsonl", "out.jsonl", "--temperature", "1", want=0)
    done = run("verify", "out.jsonl.run", "--quiet", want=0)
    assert done.out == "20 of 30 rows judged again, 20 judgments: all equal\n" and done.err == "", (done.out, done.err)
    assert judged_again(run("verify", "out.jsonl.run", "--rows", "7", want=0)).startswith("7 of 30 rows judged again, 7 judgments: all equal")
    assert judged_again(run("verify", "out.jsonl.run", "--rows", "1000", want=0)).startswith("30 of 30 rows judged again, 30 judgments: all equal")


@mock
def the_sample_is_the_same_each_time_and_grows_by_whole_rows(_):
    write("in.jsonl", rows(200))
    judge("in.jsonl", "out.jsonl", want=0)
    chosen = []
    for n, log in ((5, "a"), (5, "b"), (20, "c")):
        run("verify", "out.jsonl.run", "--rows", n, "--model", "mock:log=%s.log" % log, want=0)
        chosen.append({int(line) for line in read(log + ".log").split()})
    assert chosen[0] == chosen[1] and chosen[0] < chosen[2] and len(chosen[2]) == 20, chosen
    assert max(chosen[2]) > 100, "the sample is spread over the run"


@mock
def a_changed_answer_and_a_changed_verdict_are_shown(_):
    write("in.jsonl", rows(12))
    judge("in.jsonl", "out.jsonl", want=0)
    was = {r["row"]: r for r in exported()}
    change_record("out.jsonl.run", 3, lambda r: r.update(raw=r["raw"].replace("Feedback", "feedback")))
    other = was[7]["result"] % 5 + 1
    change_record("out.jsonl.run", 7, lambda r: r.update(verdict=other))
    done = run("verify", "out.jsonl.run", want=1)
    lines = done.out.split("\n")
    assert lines[0].startswith('row 3: the answer differs from byte 1 on: was " feedback ') and ', is now " Feedback ' in lines[0], lines
    assert lines[1] == "row 7: the verdict was %d, is now %d" % (other, was[7]["result"]), lines
    assert lines[2] == "12 of 12 rows judged again, 12 judgments: 2 different", lines
    change_record("out.jsonl.run", 7, lambda r: r.update(status="error", verdict=None) or r.pop("verdict"))
    assert "row 7: the verdict was error, is now %d\n" % was[7]["result"] in run("verify", "out.jsonl.run", want=1).out


def exported(journal="out.jsonl.run"):
    run("export", journal, "--all", "--out", "export.jsonl", want=0)
    return table("export.jsonl")


@mock
def every_kind_of_row_and_setting_comes_back(_):
    data = rows(9)
    data[2] = {"instruction": 1}
    write("in.jsonl", data)
    write("pairs.csv", "question,x,y,id\n" + "".join("q%d,a,b,%d\n" % (i, 100 + i) for i in range(5)))
    write("pairs.jsonl", [{"q": "q%d" % i, "generations": ["a%d" % i, "b"], "reference": None} for i in range(5)])
    write("own.jsonl", [dict(r, rub="Score %d or less." % i) for i, r in enumerate(rows(5))])
    write("raw.jsonl", [{"prompt": "p%d" % i} for i in range(5)])
    write("rubric.txt", "Is it short?\n")
    judge("in.jsonl", "a.jsonl", "--verdict", "strict", "--temperature", "0.5", "--seed", "4", model="mock:fail=4,long=7,error=9", want=3)
    judge("pairs.jsonl", "b.csv", "--mode", "relative", "--prompt", "prometheus-eval", "--map", "instruction=q", "--reference", rubric="rubric.txt", want=0)
    judge("own.jsonl", "c.jsonl", "--rubric-col", "rub", "--prompt", "paper", "--expected-score", rubric=None, want=0)
    judge("raw.jsonl", "d.jsonl", "--prompt", "raw", rubric=None, want=0)
    judge("in.jsonl", "e.jsonl", "--shard", "1/4", "--limit", "8", want=0)
    os.remove("rubric.txt")  # its text is in the journal
    for out, n in (("a.jsonl", 9), ("b.csv", 5), ("c.jsonl", 5), ("d.jsonl", 5), ("e.jsonl", 2)):
        done = run("verify", out + ".run", want=0)
        assert judged_again(done) == "%d of %d rows judged again, %d judgments: all equal" % (n, n, n), (out, done.out)


@mock
def rows_that_were_judged_a_second_time_are_repeated_as_such(_):
    write("in.jsonl", rows(9))
    judge("in.jsonl", "out.jsonl", "--verdict", "strict", "--temperature", "1", model="mock:fail=2", want=3)
    judge("in.jsonl", "out.jsonl", "--verdict", "strict", "--temperature", "1", "--retry-failed", model="mock", want=0)
    assert {r["attempt"] for r in exported()} == {0, 1}
    assert "all equal" in run("verify", "out.jsonl.run", "--model", "mock", want=0).out


@mock
def an_interrupted_run_is_verified_as_far_as_it_went(_):
    write("in.jsonl", rows(400))
    p = start("judge", "in.jsonl", "--model", "mock:latency_us=20000", "--rubric", "helpfulness", "--out", "out.jsonl", "--json")
    wait_until(lambda: os.path.exists("out.jsonl.run-wal") and os.path.getsize("out.jsonl.run-wal") > 60000)
    p.terminate()
    assert finish(p).code == 143
    n = len(exported())
    assert 0 < n < 400, n
    assert judged_again(run("verify", "out.jsonl.run", "--rows", "9999", "--model", "mock", want=0)) == "%d of %d rows judged again, %d judgments: all equal" % (n, n, n)


@mock
def another_input_or_none_is_refused_with_both_sides_named(_):
    write("in.jsonl", rows(5))
    judge("in.jsonl", "out.jsonl", want=0)
    write("other.jsonl", rows(6)[1:])
    was, now = (hashlib.sha256(read(f)).hexdigest() for f in ("in.jsonl", "other.jsonl"))
    refused(run("verify", "out.jsonl.run", "--input", "other.jsonl"), 1, "out.jsonl.run cannot be verified with this", "input sha256 was %s, is now %s" % (was, now))
    os.rename("in.jsonl", "moved.jsonl")
    refused(run("verify", "out.jsonl.run"), 1, "cannot open ", "in.jsonl: No such file")
    assert "all equal" in run("verify", "out.jsonl.run", "--input", "moved.jsonl", want=0).out
    judge("-", "piped.jsonl", stdin=rows(4), want=0)
    refused(run("verify", "piped.jsonl.run"), 2, "the input of piped.jsonl.run was standard input; add --input FILE")
    write("piped-in.jsonl", rows(4))
    assert "4 of 4 rows" in run("verify", "piped.jsonl.run", "--input", "piped-in.jsonl", want=0).out


@mock
def what_is_no_run_is_refused(_):
    refused(run("verify"), 2, "RUN")
    refused(run("verify", "absent.run"), 1, "absent.run")
    write("text.run", "no journal\n")
    refused(run("verify", "text.run"), 1, "text.run")
    write("in.jsonl", rows(3))
    judge("in.jsonl", "out.jsonl", want=0)
    db = sqlite3.connect("out.jsonl.run")
    settings = json.loads(db.execute("SELECT value FROM meta WHERE name = 'settings'").fetchone()[0])
    for key, value in (("prompt", "haiku"), ("max_tokens", -1), ("seed", "x"), ("temperature", None), ("column map", "nonsense")):
        text = json.dumps(dict(settings, **{key: value})).encode("utf-8")
        db.execute("UPDATE meta SET value = ?, digest = ? WHERE name = 'settings'", (text, digest(b"settings\0", text)))
        db.commit()
        db.close()
        done = run("verify", "out.jsonl.run")
        db = sqlite3.connect("out.jsonl.run")
        refused(done, 2 if key == "column map" else 1, "haiku" if key == "prompt" else "nonsense" if key == "column map" else key)
    db.close()


def another_model_is_refused_and_a_moved_one_is_taken(_):
    write("in.jsonl", rows(4))
    shutil.copy(tiny("llama"), "m.gguf")
    judge("in.jsonl", "out.jsonl", *ARGS, "--kv", "f32", "--ctx", "1000", model="m.gguf", want=0)
    os.rename("m.gguf", "moved.gguf")
    refused(run("verify", "out.jsonl.run"), 1, "m.gguf", "No such file")
    done = run("verify", "out.jsonl.run", "--model", tiny("llama", "Q4_0"), want=1)
    was, now = (hashlib.sha256(read(f)).hexdigest() for f in ("moved.gguf", tiny("llama", "Q4_0")))
    assert "model sha256 was %s, is now %s" % (was, now) in done.err, done.err
    assert "numerics was canonical-1 kv=f32 w=Q8_0, is now canonical-1 kv=f32 w=Q4_0+Q8_0" in done.err, done.err
    assert "4 of 4 rows judged again, 4 judgments: all equal\n" == run("verify", "out.jsonl.run", "--model", "moved.gguf", "--quiet", want=0).out
    done = run("verify", "out.jsonl.run", "--model", "moved.gguf", "--chat-template", "mistral", want=1)
    assert "chat template sha256 was " in done.err, done.err


def kernels_threads_batches_and_caches_may_differ(_):
    write("in.jsonl", rows(6))
    write("layout.jinja", "{% for m in messages %}<{{ m.content }}>{% endfor %}")
    judge("in.jsonl", "out.jsonl", *ARGS, "--chat-template", "layout.jinja", model=tiny("qwen2"), want=0)
    kernels = run("inspect", "--cpu").out.split("kernel sets: ")[1].split(";")[0].replace("(VNNI)", "").split()
    grid = [["--kernels", k] for k in kernels if k != "ref"] + [["--threads", "1", "--max-batch", "1", "--prompt-chunk", "7"], ["--weights-cache", "w", "--no-prefix-cache"], ["--weights-cache", "w"]]
    os.mkdir("elsewhere")
    for extra in grid[::2] if support.sanitized() else grid:
        done = run("verify", "../out.jsonl.run", *extra, cwd="elsewhere", want=0)
        assert judged_again(done) == "6 of 6 rows judged again, 6 judgments: all equal", (extra, done.out)
    change_record("out.jsonl.run", 2, lambda r: r.update(raw=r["raw"] + " "))
    assert "row 2: the answer differs from byte " in run("verify", "out.jsonl.run", want=1).out


@mock
def every_rubric_and_sample_of_a_row_is_judged_again(_):
    write("in.jsonl", rows(5))
    write("own.txt", "[Is it short?]\nScore 1: no\nScore 2: rarely\nScore 3: partly\nScore 4: mostly\nScore 5: yes\n")
    run("judge", "in.jsonl", "--model", "mock", "--rubric", "helpfulness", "--rubric", "own.txt", "--samples", "3", "--temperature", "1", "--out", "out.jsonl", want=0)
    os.remove("own.txt")  # its text is in the journal
    assert judged_again(run("verify", "out.jsonl.run", want=0)) == "5 of 5 rows judged again, 30 judgments: all equal"


support.main([every_rubric_and_sample_of_a_row_is_judged_again, equal_rows_are_told_and_exit_with_zero, the_sample_is_the_same_each_time_and_grows_by_whole_rows, a_changed_answer_and_a_changed_verdict_are_shown,
              every_kind_of_row_and_setting_comes_back, rows_that_were_judged_a_second_time_are_repeated_as_such, an_interrupted_run_is_verified_as_far_as_it_went,
              another_input_or_none_is_refused_with_both_sides_named, what_is_no_run_is_refused, another_model_is_refused_and_a_moved_one_is_taken,
              kernels_threads_batches_and_caches_may_differ])
