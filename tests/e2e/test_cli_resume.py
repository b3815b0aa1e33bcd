"""A run stopped, continued, changed, retried; progress as a bar, as lines and as JSON.  With the test engine; kill -9 is in tests/fault."""
import json
import os
import pty
import re
import signal
import subprocess
import time

import support
from support import GAVEL, RUBRIC, environment, finish, judge, read, refused, rows, run, start, table, wait_until, write

SLOW = "mock:latency_us=20000,in_flight=2,log=log"  # 100 rows a second


def judge_slowly(out="out.jsonl", *more, source="in.jsonl", **options):
    return start("judge", source, "--model", SLOW, "--rubric", RUBRIC, "--out", out, *more, **options)


def answered():
    return len(read("log").split()) if os.path.exists("log") else 0


def stop_after(p, n, number):
    wait_until(lambda: answered() >= n or p.poll() is not None)
    p.send_signal(number)
    return finish(p)


def a_signal_stops_with_130_or_143_and_the_same_command_continues_to_the_same_bytes(_):
    write("in.jsonl", rows(80))
    judge("in.jsonl", "whole.jsonl", want=0)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = "out%d.jsonl" % code
        if os.path.exists("log"):
            os.remove("log")
        done = stop_after(judge_slowly(out), 20, number)
        assert done.code == code, (done.code, done.err)
        told = re.search(r"gavel: interrupted with (\d+) of 80 rows judged; they are in %s\.run, and the same command continues\n" % out, done.err)
        assert told and 20 <= int(told.group(1)) < 80, done.err
        assert not os.path.exists(out), "a part of the output was written"
        assert not [f for f in os.listdir(".") if ".tmp" in f], os.listdir(".")
        before = read("log").split()
        done = finish(judge_slowly(out))
        assert done.code == 0 and "80 rows, all with a verdict" in done.err, done.err
        assert read(out) == read("whole.jsonl")
        assert int(told.group(1)) == len(before) and len(read("log").split()) == 80, "rows were judged twice"


def a_run_continued_many_times_gives_the_same_bytes(_):
    write("in.jsonl", rows(60))
    judge("in.jsonl", "whole.csv", want=0)
    stops = 0
    while not os.path.exists("out.csv"):
        done = stop_after(judge_slowly("out.csv"), answered() + 9, signal.SIGINT)
        assert done.code in (0, 130), done.err
        stops += done.code == 130
    assert stops >= 4 and read("out.csv") == read("whole.csv") and len(read("log").split()) == 60


def a_second_signal_ends_at_once(_):
    write("in.jsonl", rows(10))
    p = start("judge", "in.jsonl", "--model", "mock:latency_us=600000000,in_flight=2", "--rubric", RUBRIC, "--out", "out.jsonl")
    wait_until(lambda: os.path.exists("out.jsonl.run"))
    p.send_signal(signal.SIGSTOP)  # both signals are there before it can act on one
    p.send_signal(signal.SIGINT)
    p.send_signal(signal.SIGTERM)
    p.send_signal(signal.SIGCONT)
    done = finish(p, 10)
    assert done.code in (130, 143) and done.err == "", "it went the long way: %s" % done.err


def a_signal_while_standard_input_is_awaited_stops_the_run(_):
    p = judge_slowly(source="-", stdin=subprocess.PIPE)
    p.stdin.write(json.dumps(rows(1)[0]).encode() + b"\n")
    p.stdin.flush()
    wait_until(lambda: [f for f in os.listdir(".") if f.startswith("out.jsonl.run.stdin.tmp")])
    time.sleep(0.1)
    p.send_signal(signal.SIGTERM)
    code = p.wait(timeout=20)
    err = p.stderr.read().decode()
    assert code == 143 and "interrupted before the first row" in err, (code, err)
    assert os.listdir(".") in ([], ["log"]), os.listdir(".")
    p.stdin.close()


def standard_input_is_judged_and_continued(_):
    lines = "".join(json.dumps(r) + "\n" for r in rows(40))
    write("in.jsonl", lines)
    judge("in.jsonl", "whole.jsonl", want=0)
    with open("in.jsonl") as f:
        done = stop_after(judge_slowly(source="-", stdin=f), 10, signal.SIGINT)
    assert done.code == 130, done.err
    judge("-", "out.jsonl", model=SLOW, stdin=lines, want=0)
    assert read("out.jsonl") == read("whole.jsonl") and len(read("log").split()) == 40
    assert sorted(os.listdir(".")) == ["in.jsonl", "log", "out.jsonl", "out.jsonl.run", "whole.jsonl", "whole.jsonl.run"], os.listdir(".")
    refused(judge("-", "out.jsonl", stdin=lines.replace("3", "4"), model=SLOW), 1, "input sha256 was ")


def a_finished_run_asked_again_judges_nothing_and_writes_the_same(_):
    write("in.jsonl", rows(10))
    judge("in.jsonl", "out.jsonl", model="mock:log=log", want=0)
    first = read("out.jsonl")
    os.remove("out.jsonl")
    judge("in.jsonl", "out.jsonl", model="mock:log=log", want=0)
    assert read("out.jsonl") == first and len(read("log").split()) == 10


def changed_settings_are_refused_with_each_difference_named(_):
    write("in.jsonl", rows(4, prompt="x", other="y", r="z"))
    base = ["--temperature", "0.5", "--max-tokens", "99"]
    judge("in.jsonl", "out.jsonl", *base, want=0)
    first = read("out.jsonl")
    for extra, part in ((["--top-p", "0.9"], "top_p was 1.0, is now 0.9"), (["--top-k", "5"], "top_k was 0, is now 5"), (["--min-p", "0.1"], "min_p was 0.0, is now 0.1"),
                        (["--repetition-penalty", "1.1"], "repetition_penalty was 1.0, is now 1.1"), (["--presence-penalty", "0.5"], "presence_penalty was 0.0, is now 0.5"),
                        (["--frequency-penalty", "0.25"], "frequency_penalty was 0.0, is now 0.25"), (["--seed", "1"], "seed was 0, is now 1"),
                        (["--prompt", "paper"], "prompt was distilabel, is now paper"), (["--verdict", "strict"], "verdict was constrained, is now strict"),
                        (["--id-col", "instruction"], "id column was none, is now instruction"), (["--limit", "3"], "input rows was 4, is now 3"),
                        (["--shard", "0/2"], "shards was 0, is now 2"), (["--map", "generation=other"], "column map was none, is now generation=other"),
                        (["--expected-score"], "expected score was no, is now yes")):
        done = judge("in.jsonl", "out.jsonl", *base, *extra)
        refused(done, 1, "out.jsonl.run belongs to a run with other settings: ", part, "--fresh")
        assert done.err.count(" was ") == 1 or extra[0] == "--prompt", done.err  # styles also differ in an apostrophe of this rubric
    refused(judge("in.jsonl", "out.jsonl", "--temperature", "0.25", "--max-tokens", "7"), 1, "temperature was 0.5, is now 0.25; max_tokens was 99, is now 7.")
    refused(judge("in.jsonl", "out.jsonl", *base, rubric="honesty"), 1, "rubric sha256 was ")
    refused(judge("in.jsonl", "out.jsonl", *base, "--rubric-col", "r", rubric=None), 1, "rubric column was none, is now r")
    write("in.jsonl", rows(4, prompt="x", other="y", r="zz"))
    refused(judge("in.jsonl", "out.jsonl", *base), 1, "input sha256 was ")
    assert read("out.jsonl") == first


def settings_that_decide_no_result_may_change(_):
    write("in.jsonl", rows(4))
    judge("in.jsonl", "out.jsonl", want=0)
    judge("in.jsonl", "out.jsonl", "--threads", "1", "--max-batch", "3", "--no-prefix-cache", "--prompt-chunk", "7", "--kernels", "ref", "--quiet", want=0)
    judge("in.jsonl", "out.jsonl", "--keep", "result", want=0)
    assert [list(r) for r in table("out.jsonl")] == [["result"]] * 4


def fresh_starts_anew(_):
    write("in.jsonl", rows(6))
    judge("in.jsonl", "out.jsonl", model="mock:log=log", want=0)
    judge("in.jsonl", "out.jsonl", "--fresh", "--seed", "5", model="mock:log=log", want=0)
    assert len(read("log").split()) == 12
    write("x.jsonl.run", "something else")
    refused(judge("in.jsonl", "x.jsonl", "--fresh"), 1, "x.jsonl.run")
    assert read("x.jsonl.run") == b"something else"


def retry_failed_judges_only_the_rows_without_a_verdict(_):
    write("in.jsonl", rows(20))
    args = ["--verdict", "strict", "--temperature", "0.7"]
    judge("in.jsonl", "out.jsonl", *args, model="mock:fail=4,log=log", want=3)
    failed = [i for i, r in enumerate(table("out.jsonl")) if r["status"] != "ok"]
    assert failed == [3, 7, 11, 15, 19]
    judge("in.jsonl", "out.jsonl", *args, model="mock:log=log", want=3)  # without --retry-failed they stay
    assert len(read("log").split()) == 20
    ok = {i: r for i, r in enumerate(table("out.jsonl")) if i not in failed}
    judge("in.jsonl", "out.jsonl", *args, "--retry-failed", model="mock:fail=4,log=log2", want=3)
    assert sorted(map(int, read("log2").split())) == failed
    done = judge("in.jsonl", "out.jsonl", *args, "--retry-failed", model="mock:log=log3", want=0)
    assert sorted(map(int, read("log3").split())) == failed and "all with a verdict" in done.err
    got = table("out.jsonl")
    assert all(r["status"] == "ok" for r in got) and all(got[i] == r for i, r in ok.items())
    run("export", "out.jsonl.run", "--all", "--out", "e.jsonl", want=0)
    assert [r["attempt"] for r in table("e.jsonl")] == [2 if i in failed else 0 for i in range(20)], "each try has its own number, for the random generator"


def a_retry_that_is_interrupted_keeps_the_rows_it_did_not_reach(_):
    write("in.jsonl", rows(40))
    judge("in.jsonl", "out.jsonl", "--verdict", "strict", model="mock:fail=1", want=3)
    p = start("judge", "in.jsonl", "--model", SLOW, "--rubric", RUBRIC, "--out", "out.jsonl", "--verdict", "strict", "--retry-failed")
    assert stop_after(p, 10, signal.SIGINT).code == 130
    judged = answered()
    assert 10 <= judged < 40
    judge("in.jsonl", "out.jsonl", "--verdict", "strict", "--retry-failed", model="mock:log=log", want=0)
    assert len(read("log").split()) == 40 and all(r["status"] == "ok" for r in table("out.jsonl"))


# ---- progress ----


def json_progress_is_one_object_a_line(_):
    write("in.jsonl", rows(150, status="x"))
    done = judge("in.jsonl", "out.jsonl", "--json", model="mock:latency_us=15000,in_flight=1,error=10", want=3)
    events = done.events()
    assert [e["event"] for e in events] == ["warning"] + ["progress"] * (len(events) - 3) + ["end", "result"], done.err
    progress = [e for e in events if e["event"] in ("progress", "end")]
    assert len(progress) >= 3, "a report a second"
    for a, b in zip(progress, progress[1:]):
        assert a["done"] <= b["done"] and a["elapsed_s"] <= b["elapsed_s"] and a["failed"] <= b["failed"]
    end, result = events[-2], events[-1]
    assert (end["rows"], end["done"], end["failed"], end["before"], end["eta_s"]) == (150, 150, 15, 0, 0), end
    assert end["output_tokens"] == 150 * 20 and abs(end["rows_per_s"] - 150 / end["elapsed_s"]) < 0.5, end
    assert set(end) == {"event", "rows", "judgments", "done", "failed", "before", "elapsed_s", "rows_per_s", "tokens_per_s", "prompt_tokens", "shared_tokens", "shared", "computed_tokens",
                        "output_tokens", "eta_s", "journal_s", "progress_s"}, end
    assert result == {"event": "result", "out": "out.jsonl", "rows": 150, "judgments": 150, "ok": 135, "unparsable": 0, "truncated": 0, "too_long": 0, "bad_input": 0, "refused": 0, "error": 15}
    again = judge("in.jsonl", "out.jsonl", "--json", model="mock", want=3).events("end")[0]
    assert again["before"] == 150 and again["rows_per_s"] == 0, again


def errors_and_interruptions_are_json_too(_):
    write("in.jsonl", rows(50))
    done = judge("in.jsonl", "out.jsonl", "--json", rubric="nonsense")
    assert done.code == 2 and [e["event"] for e in done.events()] == ["error"] and "unknown rubric" in done.events()[0]["message"]
    done = stop_after(judge_slowly("out.jsonl", "--json"), 10, signal.SIGTERM)
    assert done.code == 143 and [e["event"] for e in done.events()][-1] == "interrupted" and not done.events("end"), done.err


def plain_lines_are_few(_):
    write("in.jsonl", rows(30))
    done = judge("in.jsonl", "out.jsonl", model="mock:latency_us=10000,in_flight=1", want=0)
    assert re.fullmatch(r"30/30 rows, [\d.]+ rows/s, \d+ tokens/s, 0 % shared, 0 failed, took 0:0\d\ngavel: out.jsonl: 30 rows, all with a verdict\n", done.err), done.err


def quiet_says_nothing_but_what_is_wrong(_):
    write("in.jsonl", rows(10))
    assert judge("in.jsonl", "out.jsonl", "--quiet", want=0).err == ""
    done = judge("in.jsonl", "out2.jsonl", "--quiet", model="mock:error=5", want=3)
    assert done.err == "gavel: warning: out2.jsonl: 2 of 10 rows have no verdict (2 error); --retry-failed judges them again\n", done.err


def on_terminal(columns, *more, rows_n=40):
    """What a terminal of so many columns gets, as the lines that stood there one after the other."""
    write("in.jsonl", rows(rows_n))
    try:
        master, slave = pty.openpty()
    except OSError as e:
        raise support.Skip("no pseudo terminal: %s" % e)
    subprocess.run(["stty", "cols", str(columns), "rows", "24"], stdin=slave, check=True)
    p = subprocess.Popen([GAVEL, "judge", "in.jsonl", "--model", "mock:latency_us=50000,in_flight=4", "--rubric", RUBRIC, "--out", "out.jsonl", *more],
                         stderr=slave, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment(TERM="xterm"))
    os.close(slave)
    text = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(master)
    assert p.wait(timeout=60) == 0
    return [line for line in re.split(r"\r\x1b\[K|\r\n", text.decode()) if line]


def a_terminal_gets_a_bar_that_fits_its_width(_):
    for columns in (200, 80, 60, 30):
        lines = on_terminal(columns, "--fresh")
        assert all(len(line) < columns for line in lines[:-1]), lines
        bars = [line for line in lines if "rows" in line][:-1]
        assert len(bars) >= 4, lines
        if columns >= 60:
            assert all(re.match(r"\[#*\.*\] \d+/40 rows", bar) for bar in bars), bars
        if columns >= 80:
            assert all(re.search(r"rows/s,? \d+ tokens/s,? 0 % shared,? 0 failed,? (ETA|took) ", bar) for bar in bars), bars
        assert re.match(r"(\[#+\] )?40/40 rows", bars[-1]) and lines[-1] == "gavel: out.jsonl: 40 rows, all with a verdict", lines
    assert all("\x1b" not in line for line in on_terminal(80, "--fresh", "--json")), "--json on a terminal is JSON"


support.main([support.mock(t) for t in [
    a_signal_stops_with_130_or_143_and_the_same_command_continues_to_the_same_bytes, a_run_continued_many_times_gives_the_same_bytes, a_second_signal_ends_at_once,
    a_signal_while_standard_input_is_awaited_stops_the_run, standard_input_is_judged_and_continued, a_finished_run_asked_again_judges_nothing_and_writes_the_same,
    changed_settings_are_refused_with_each_difference_named, settings_that_decide_no_result_may_change, fresh_starts_anew,
    retry_failed_judges_only_the_rows_without_a_verdict, a_retry_that_is_interrupted_keeps_the_rows_it_did_not_reach, json_progress_is_one_object_a_line,
    errors_and_interruptions_are_json_too, plain_lines_are_few, quiet_says_nothing_but_what_is_wrong, a_terminal_gets_a_bar_that_fits_its_width]])
