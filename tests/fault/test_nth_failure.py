"""The n-th allocation, and the n-th system call of each kind, fails: every command ends in success with the right result or in a clean failure, never
in a crash or a half-written file, and the same command without the fault then gives the right bytes.

Allocations fail by a preloaded library (failing_alloc.c; not under the sanitizers, which own malloc), system calls by ptrace (failing_call.c).  The
one crash allowed is the documented abort of small internal allocations, with its message "out of memory".  Which n: a random sample within a
time budget (seed printed); all with GAVEL_LONG=1."""
import os
import shutil
import signal
import time

import fault_support as fs
from fault_support import GAVEL, LONG, check

folder, rng = fs.start("test_nth_failure")
work = folder
if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK):  # many small runs: no disk
    work = os.path.join("/dev/shm", os.path.basename(folder))
    os.mkdir(work)
    fs.atexit.register(shutil.rmtree, work, ignore_errors=True)
problems = []
count = os.path.join(work, "count")
BUDGET = float("inf") if LONG else 1.6 if fs.SANITIZED else 1.9  # seconds each kind of fault of each command

rows = fs.demo_rows(os.path.join(work, "rows.jsonl"), 5)
csv = os.path.join(work, "rows.csv")
raw = fs.raw_rows(os.path.join(work, "raw.jsonl"), 3)
lines = os.path.join(work, "lines.jsonl")
messages = os.path.join(work, "messages.jsonl")
rubric = os.path.join(work, "rubric.yaml")
pipeline = os.path.join(work, "pipeline.yaml")
stdin_text = fs.read(rows)
with open(lines, "w", encoding="utf-8") as f:
    f.write('{"text": "Ist 3 > 2? caf\\u00e9 [/INST]"}\n' * 3)
with open(messages, "w", encoding="utf-8") as f:
    f.write('{"messages": [{"role": "user", "content": "Is it so?"}], "add_generation_prompt": true}\n')
with open(rubric, "w", encoding="utf-8") as f:
    f.write("criteria: Is it good?\n" + "".join(f"score{i}_description: level {i}\n" for i in range(1, 6)))
with open(pipeline, "w", encoding="utf-8") as f:
    f.write("""pipeline:
  name: p
  steps:
  - {name: load, step: {name: load, type_info: {name: LoadDataFromDicts}}}
  - name: judge
    step:
      {name: judge, mode: absolute, rubric: honesty, type_info: {name: PrometheusEval}, llm: {model: m, type_info: {name: vLLM}}}
  - {name: keep, step: {name: keep, columns: [id, feedback, result], type_info: {name: KeepColumns}}}
  connections: [{from: load, to: [judge]}, {from: judge, to: [keep]}, {from: keep, to: []}]
""")
with open(csv, "w", encoding="utf-8") as f:
    f.write('instruction,generation,note\n"a, b",c,\nd,"e\nf",g\nh,"i ""j""",k\n')

SMALL = ["--threads", "2", "--max-batch", "2", "--ctx", "256", "--max-tokens", "4", "--memory", "64M", "--quiet"]


class Command:
    """One command and what it makes: an output file with its journal, a folder, or text on standard output."""

    def __init__(self, name, args, out=None, stdin=None, needs_reset=True):
        self.name, self.out, self.stdin = name, out, stdin
        self.cmd = [GAVEL, *args]

    def reset(self):
        for suffix in ("", ".run", ".run-wal", ".run-journal", ".run.log", ".partial"):
            if self.out:
                fs.remove(self.out + suffix)

    def run(self, prefix=(), env=None):
        return fs.run([*prefix, *self.cmd], input=self.stdin, env=dict(os.environ, **(env or {})), timeout=120)

    def result(self, r):
        return fs.content(self.out) if self.out else r.out

    def learn(self):
        """The right result."""
        self.reset()
        r = self.run()
        check(r.rc in (0, 3), f"{self.name}: without a fault: {r}")
        self.expected, self.rc = self.result(r), r.rc


def commands():
    out = os.path.join(work, "out")
    journal = os.path.join(work, "done.jsonl.run")
    check(fs.run(fs.judge(rows, journal[:-4], "mock", fs.MOCK_ARGS)).rc == 0, "a journal to look into")
    judge = ["--quiet", "--model", "mock:in_flight=2"]
    return [
        Command("judge", ["judge", rows, *judge, "--rubric-col", "rubric", "--reference", "--id-col", "id", "--out", out + ".jsonl"], out + ".jsonl"),
        Command("judge csv", ["judge", csv, *judge, "--rubric", rubric, "--out", out + ".csv"], out + ".csv"),
        Command("judge stdin", ["judge", "-", *judge, "--rubric", "helpfulness", "--out", out + "-stdin.jsonl"], out + "-stdin.jsonl", stdin_text),
        Command("judge tiny", ["judge", raw, "--model", fs.TINY, "--prompt", "raw", *SMALL, "--out", out + "-tiny.jsonl"], out + "-tiny.jsonl"),
        Command("judge folder", ["judge", raw, "--model", fs.FOLDER, "--weights", "q4_k", "--prompt", "raw", *SMALL, "--out", out + "-folder.jsonl"],
                out + "-folder.jsonl"),
        Command("quantize", fs.weights_command("quantize", work, out + ".gguf"), out + ".gguf"),
        Command("merge", fs.weights_command("merge", work, out + "-merged"), out + "-merged"),
        Command("run", ["run", pipeline, "--dataset", rows, *judge, "--out", out + "-run.jsonl"], out + "-run.jsonl"),
        Command("export", ["export", journal, "--all", "--out", out + "-export.csv"], out + "-export.csv"),
        Command("inspect run", ["inspect", journal]),
        Command("inspect model", ["inspect", fs.TINY, "--tensors"]),
        Command("tokenize", ["tokenize", lines, "--model", fs.TINY]),
        Command("render", ["render", rows, "--rubric-col", "rubric", "--model", fs.TINY]),
        Command("render template", ["render", messages, "--template", "chatml"]),
        Command("parse", ["parse", journal]),
    ]


def judge_outcome(c, r, what, memory):
    """Success with the right result, or a clean failure; then the same command without the fault."""
    said = any(words in r.err for words in ("out of memory", "Cannot allocate memory", "no memory for", "cannot start thread"))
    if r.rc in (-signal.SIGABRT, 128 + signal.SIGABRT):
        check(memory and "gavel: " in r.err and "out of memory" in r.err, f"{what}: aborted without the documented message: {r}")
        kind = "aborted"
    elif r.rc == c.rc:
        kind = "right"
        check(c.result(r) == c.expected, f"{what}: exit {r.rc} with another result: {r}")
    elif r.rc == 130 and "EINTR" in what:
        kind = "refused"
        check("interrupted before the first row" in r.err, f"{what}: {r}")
    else:
        kind = "refused"
        check(r.rc == 1, f"{what}: {r}")
        check("gavel: " in r.err and len(r.err) > 20, f"{what}: no message: {r}")
        check(not memory or said, f"{what}: the message does not say that memory is out: {r}")
    if c.out and os.path.exists(c.out):
        check(fs.content(c.out) == c.expected, f"{what}: a wrong output is there: {r}")
    if kind != "right" and c.out:
        if os.path.isdir(c.out):
            fs.remove(c.out)  # whole, and the fault came after it; a folder is not replaced
        again = c.run()
        check(again.rc == c.rc, f"{what}: then without the fault: {again}; before: {r}")
        check(c.result(again) == c.expected, f"{what}: then without the fault: another result")
    if c.out:
        where, base = os.path.split(c.out)
        left = [n for n in os.listdir(where) if n.startswith(base + ".tmp-") or n in (base + ".run-wal", base + ".run.stdin", base + ".partial")]
        check(not left or kind == "right", f"{what}: {left} left behind")
        for name in left:
            fs.remove(os.path.join(where, name))
    return kind


def sweep(c, title, n_calls, faulty, memory, lasting=(False, True)):
    """Runs c with the fault at n for as many n as fit into the budget."""
    ns = [(n, sticky) for n in range(1, n_calls + 1) for sticky in lasting]
    rng.shuffle(ns)
    end, seen = time.monotonic() + BUDGET, {"right": 0, "refused": 0, "aborted": 0}
    done = 0
    for n, sticky in ns:
        if done >= 4 and time.monotonic() > end:
            break
        c.reset()
        r = faulty(n, sticky)
        done += 1
        try:
            seen[judge_outcome(c, r, f"{c.name}: {title} {n}{' and later' if sticky else ''}", memory)] += 1
        except AssertionError as e:
            problems.append(str(e))
            print(f"  FAILED {e}", flush=True)
    print(f"  {c.name}, {title}: {done} of {len(ns)} faults: " + ", ".join(f"{n} {k}" for k, n in seen.items() if n), flush=True)


def allocations_fail():
    """the n-th allocation"""
    if fs.SANITIZED:
        print("  skipped: a preloaded malloc and a sanitizer's exclude each other")
        return
    library = fs.compile_c(folder, "failing_alloc", "-shared", "-fPIC")
    for c in commands():
        c.learn()
        c.reset()
        env = {"LD_PRELOAD": library, "FAILING_COUNT": count}
        c.run(env=env)
        n_calls = int(fs.read(count))
        check(n_calls > 5, f"{c.name}: {n_calls} allocations seen")
        sweep(c, "allocation", n_calls, lambda n, sticky: c.run(env={**env, "FAILING_AT": f"{n}{'+' if sticky else ''}"}), True)


def system_calls_fail():
    """the n-th system call"""
    tracer = fs.compile_c(folder, "failing_call")
    if fs.run([tracer, "open", "0", "EIO", count, "true"]).rc == 126:
        print("  skipped: ptrace is not allowed here")
        return
    kinds = [("open,read,write,sync,rename,truncate,unlink,close", ["EIO", "ENOSPC", "EACCES", "EMFILE"], False)]
    if fs.SANITIZED:
        print("  map and thread skipped: the sanitizer's own maps would fail")
    else:
        kinds.append(("map,thread", ["ENOMEM"], True))
    if LONG:
        kinds += [("stat,lock", ["EIO", "EACCES"], False), ("read,write", ["EINTR"], False)]
    for c in commands():
        c.learn()
        for names, errors, memory in kinds:
            c.reset()
            counted = c.run([tracer, names, "0", "EIO", count])
            check(counted.rc == c.rc, f"{c.name} traced: {counted}")
            n_calls = int(fs.read(count))
            for error in errors if LONG else [rng.choice(errors)]:
                sweep(c, f"{error} of {names}", n_calls,
                      lambda n, sticky: c.run([tracer, names, str(n), error + ("+" if sticky else ""), count]), memory,
                      (False,) if error == "EINTR" else (False, True))  # a call that is interrupted for ever is tried for ever


fs.main([allocations_fail, system_calls_fail])
check(not problems, f"{len(problems)} faults did not end as they should")
