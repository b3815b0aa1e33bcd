"""gavel run, killed with SIGKILL at random moments: the resumed run gives the bytes of an uninterrupted one, and nothing that was in the journal is
judged again.  Two judging steps, one behind the other, into a file and into a Distiset (whose pipeline.log has times, so it is not compared)."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time

import fault_support as fs
from fault_support import GAVEL, LONG, check

folder, rng = fs.start("test_pipe_kill")
N = 40
IN_FLIGHT = 4
STEPS = ("first", "second")
rows = fs.demo_rows(os.path.join(folder, "rows.jsonl"), N)
pipeline = os.path.join(folder, "p.json")


def judge(name, rubric):
    llm = {"model": "m", "generation_kwargs": {"max_new_tokens": 64}, "type_info": {"name": "vLLM"}}
    return {"name": name, "step": {"name": name, "llm": llm, "mode": "absolute", "rubric": rubric, "type_info": {"name": "PrometheusEval"},
                                   "output_mappings": {"result": "result_" + name, "feedback": "feedback_" + name, "model_name": "model_" + name}}}


with open(pipeline, "w", encoding="utf-8") as f:
    json.dump({"pipeline": {"name": "p", "steps": [{"name": "load", "step": {"name": "load", "type_info": {"name": "LoadDataFromDicts"}}},
                                                   judge("first", "honesty"), judge("second", "helpfulness")],
                            "connections": [{"from": "load", "to": ["first"]}, {"from": "first", "to": ["second"]},
                                            {"from": "second", "to": []}]}}, f)


def command(out, log):
    models = [x for s in STEPS for x in ("--model", f"{s}=mock:latency_us=15000,in_flight={IN_FLIGHT},log={log}-{s}")]
    return [GAVEL, "run", pipeline, "--dataset", rows, "--out", out, "--quiet", *models]


def records(path):
    """{(row, step): body} of a copy, so that the journal is as the kill left it."""
    copy = os.path.join(folder, "copy.run")
    for suffix in ("", "-wal"):
        if os.path.exists(copy + suffix):
            os.remove(copy + suffix)
        if os.path.exists(path + suffix):
            shutil.copyfile(path + suffix, copy + suffix)
    if not os.path.exists(copy):
        return {}
    db = sqlite3.connect(copy)
    try:
        check(db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"{path}: SQLite finds damage")
        if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return {}
        return {(key >> 27, key >> 14 & 8191): body for key, body in db.execute("SELECT key, body FROM record")}
    finally:
        db.close()


def judged(log):
    """Of each step the rows that were answered, in order; a line that the kill cut is dropped."""
    found = []
    for s in STEPS:
        text = fs.read(f"{log}-{s}") if os.path.exists(f"{log}-{s}") else b""
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.truncate(f"{log}-{s}", whole)
        found.append([int(line) for line in text[:whole].split()])
    return found


def output(out):
    """{name: bytes}: of a file itself, of a Distiset all but its log."""
    if not os.path.isdir(out):
        return {"": fs.read(out)} if os.path.exists(out) else None
    return {os.path.relpath(os.path.join(where, n), out): fs.read(os.path.join(where, n))
            for where, _, names in os.walk(out) for n in names if n != "pipeline.log"}


def killed(kind, name):
    clean = os.path.join(folder, kind, "clean", name)
    os.makedirs(os.path.dirname(clean))
    begin = time.monotonic()
    done = fs.run(command(clean, os.path.join(folder, kind, "clean.log")))
    seconds = time.monotonic() - begin
    check(done.rc == 0, f"the uninterrupted run: {done}")
    expected = output(clean)
    wanted, kills, runs, hit = 60 if LONG else 6, 0, 0, [0, 0, 0]
    while kills < wanted:
        where = os.path.join(folder, kind, str(runs))
        os.makedirs(where)
        runs += 1
        out, log, known, handed = os.path.join(where, name), os.path.join(folder, kind, f"{runs}.log"), {}, [0, 0]
        while True:
            p = subprocess.Popen(command(out, log), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if kills < wanted:
                try:
                    p.wait(rng.uniform(0, seconds * 0.6))
                except subprocess.TimeoutExpired:
                    p.send_signal(signal.SIGKILL)
            message = p.stderr.read().decode()
            rc = p.wait()
            check(rc in (0, -signal.SIGKILL), f"exit {rc}: {message}")
            now, answers = records(out + ".run"), judged(log)
            for key, body in known.items():
                check(now.get(key) == body, f"{key} was in the journal before the kill and is now {now.get(key)!r}")
            for step, log_rows in enumerate(answers):
                again = [r for r in log_rows[handed[step]:] if (r, step) in known]
                check(not again, f"rows {again} of step {step} were in the journal and judged again")
                lost = len(log_rows) - handed[step] - sum(1 for k in now if k[1] == step and k not in known)
                check(0 <= lost <= IN_FLIGHT, f"{lost} answers of step {step} lost at one kill, at most {IN_FLIGHT} are in flight")
                handed[step] = len(log_rows)
            known = now
            check(output(out) in (None, expected), "an output that is not the uninterrupted run's")
            if rc == 0:
                break
            kills += 1
            hit[0 if not now else 1 if len(now) < 2 * N else 2] += 1
        check(output(out) == expected, "resumed after kills: another output")
        left = sorted(n for n in os.listdir(where) if n not in (name, name + ".run", name + ".run.log"))
        check(not left, f"{left} left behind")
    print(f"  {kills} kills in {runs} runs: {hit[0]} before the first judgment, {hit[1]} while judging, {hit[2]} behind the last")


def runs_into_a_file():
    """kill -9 at random moments of a run into a file"""
    killed("file", "out.jsonl")


def runs_into_a_distiset():
    """the same into a Distiset"""
    killed("distiset", "out")


fs.main([runs_into_a_file, runs_into_a_distiset])
