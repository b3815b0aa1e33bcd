"""kill -9 at any moment loses nothing: the resumed run ends with the bytes of an uninterrupted one, no journaled row is judged again, and the
journal is whole after every kill.  Moments: at random in start-up, judging and final writing (seed printed), and before and inside each
system call that touches a file.  quantize and merge, which do not resume, leave nothing under the output's name, and begun again make the same bytes.
Also: two processes on one journal, and SIGINT and SIGTERM."""
import glob
import os
import signal
import subprocess
import time

import fault_support as fs
from fault_support import GAVEL, LONG, N_ROWS, check

folder, rng = fs.start("test_kill")
rows60 = fs.demo_rows(os.path.join(folder, "rows.jsonl"))
raw60 = fs.raw_rows(os.path.join(folder, "raw.jsonl"))
IN_FLIGHT = 4
FILE_CALLS = "open,read,write,sync,rename,truncate,unlink,close"


class Moment:
    """When to kill a running gavel: during start-up, while judging, or when the output's temporary file is there."""

    def __init__(self, kind, run_seconds):
        self.kind = kind
        self.delay = rng.uniform(0, 0.03 if kind == "start-up" else 0.3 * run_seconds)

    def wait(self, p, out):
        if self.kind == "final writing":
            fs.wait_for(lambda: glob.glob(out + ".tmp-*") or p.poll() is not None, 120)
            time.sleep(rng.choice([0, 0, 0.0005, 0.002]))
            return
        end = time.monotonic() + self.delay
        while time.monotonic() < end and p.poll() is None:
            time.sleep(0.0003)


def log_of(path):
    """Rows in the order in which the test engine handed out their answers; a line cut by the kill is dropped, as its answer was."""
    if not os.path.exists(path):
        return []
    text = fs.read(path)
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(path, whole)
    return [int(line) for line in text[:whole].split()]


class KilledRun:
    """One output file and its journal through any number of kills."""

    def __init__(self, name, rows, n_rows, model, extra, expected, in_flight, log):
        self.dir = os.path.join(folder, name)
        self.scratch = os.path.join(folder, name + "-look")
        os.makedirs(self.dir)
        self.out = os.path.join(self.dir, "out.jsonl")
        self.log = os.path.join(folder, name + ".log") if log else None
        self.cmd = fs.judge(rows, self.out, model + (("," if ":" in model else ":") + f"log={self.log}" if log else ""), extra)
        self.n_rows, self.expected, self.in_flight = n_rows, expected, in_flight
        self.known = {}  # records at the last kill
        self.logged = 0  # answers handed out until then
        self.lost = 0  # of them not in the journal

    def look(self, looked_by_gavel=True):
        """After a kill or the end: the journal is whole and holds what it must."""
        j = fs.Journal(self.out + ".run", self.scratch)
        if looked_by_gavel:
            j.check_by_gavel()
        for row, body in self.known.items():
            check(j.rows.get(row) == body, f"row {row} was in the journal before the kill and is now {j.rows.get(row)!r}")
        if self.log:
            log = log_of(self.log)
            again = [row for row in log[self.logged:] if row in self.known]
            check(not again, f"rows {again} were in the journal and judged again")
            check(set(j.rows) <= set(log), "the journal holds rows without an answer")
            lost = len(log) - self.logged - (len(j.rows) - len(self.known))
            check(0 <= lost <= self.in_flight, f"{lost} answers lost at one kill, at most {self.in_flight} are in flight")
            self.logged, self.lost = len(log), self.lost + lost
        if os.path.exists(self.out):
            fs.same_file(self.out, self.expected, "after a kill")
        self.known = j.rows
        return j

    def finish(self):
        done = fs.run(self.cmd)
        check(done.rc == 0, f"the resumed run: {done}")
        self.look(looked_by_gavel=False)
        fs.same_file(self.out, self.expected, "resumed after kills")
        fs.nothing_left(self.dir, ["out.jsonl", "out.jsonl.run"])
        if self.log:
            check(self.logged == self.n_rows + self.lost, f"{self.logged} answers for {self.n_rows} rows and {self.lost} lost")


def random_kills(name, wanted, rows, n_rows, model, extra, in_flight, log):
    """Kills runs until `wanted` kills are through; a finished run begins anew."""
    clean = os.path.join(folder, name + "-clean.jsonl")
    begin = time.monotonic()
    result = fs.run(fs.judge(rows, clean, model, extra))
    seconds = time.monotonic() - begin
    check(result.rc == 0, f"the uninterrupted run: {result}")
    expected = fs.read(clean)
    hit = {"start-up": 0, "judging": 0, "final writing": 0}
    kills = runs = lost = 0
    while kills < wanted:
        r = KilledRun(f"{name}-{runs}", rows, n_rows, model, extra, expected, in_flight, log)
        runs += 1
        while kills < wanted:
            p = subprocess.Popen(r.cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            kind = rng.choices(["start-up", "judging", "final writing"], [3, 6, 2])[0]
            Moment(kind, seconds).wait(p, r.out)
            p.kill()
            if p.wait() == 0:
                break
            kills += 1
            writing = bool(glob.glob(r.out + ".tmp-*"))
            j = r.look(looked_by_gavel=kills % 4 == 0 or LONG)
            hit["final writing" if writing or len(j.rows) == n_rows else "judging" if j.rows else "start-up"] += 1
        r.finish()
        lost += r.lost
    print(f"  {kills} kills in {runs} runs: {', '.join(f'{n} in {k}' for k, n in hit.items())}; {lost} answers lost and judged again")


def mock_is_killed_at_random():
    """kill -9 at random moments of a run over 60 rows, resumed each time"""
    random_kills("mock", 100 if LONG else 12, rows60, N_ROWS, f"mock:latency_us=25000,in_flight={IN_FLIGHT}", fs.MOCK_ARGS, IN_FLIGHT, True)


def tiny_model_is_killed_at_random():
    """the same on the engine with a tiny model"""
    random_kills("tiny", 100 if LONG else 4, raw60, N_ROWS, fs.TINY, fs.RAW_ARGS, 16, False)


def smollm_is_killed_at_random():
    """the same on SmolLM2-135M (GAVEL_LONG=1)"""
    model = fs.smollm()
    if not LONG or fs.SANITIZED or not model:
        print("  skipped:", "SmolLM2 is not in the cache" if not model else "only with GAVEL_LONG=1 and without sanitizers")
        return
    short = fs.raw_rows(os.path.join(folder, "raw16.jsonl"), 16)
    random_kills("smollm", 25, short, 16, model, [*fs.RAW_ARGS, "--ctx", "512"], 16, False)


def killed_at_every_call():
    """kill before, and in the middle of, each system call on a file"""
    tracer = fs.compile_c(folder, "failing_call")
    rows = fs.demo_rows(os.path.join(folder, "rows6.jsonl"), 6)
    clean, count = os.path.join(folder, "calls.jsonl"), os.path.join(folder, "count")
    model = "mock:in_flight=2"
    result = fs.run([tracer, FILE_CALLS, "0", "kill", count, *fs.judge(rows, clean, f"{model},log={folder}/calls.log", fs.MOCK_ARGS)])
    if result.rc == 126:
        print("  skipped: ptrace is not allowed here")
        return
    check(result.rc == 0, f"the uninterrupted run: {result}")
    expected, n_calls = fs.read(clean), int(fs.read(count))
    check(n_calls > 50, f"only {n_calls} calls seen")
    moments = [(n, action) for n in range(1, n_calls + 1) for action in ("kill", "torn")]
    if not LONG:
        moments = rng.sample(moments, 44 if not fs.SANITIZED else 12)
    lost = 0
    for n, action in moments:
        r = KilledRun(f"call-{n}-{action}", rows, 6, model, fs.MOCK_ARGS, expected, 2, True)
        killed = fs.run([tracer, FILE_CALLS, str(n), action, count, *r.cmd])
        check(killed.rc == 137, f"call {n}, {action}: expected a kill: {killed}")
        r.look(looked_by_gavel=LONG)
        r.finish()
        lost += r.lost
    print(f"  {len(moments)} of {2 * n_calls} moments; {lost} answers lost and judged again")


def weights_are_killed_at_every_call():
    """kill before, and in the middle of, each system call on a file of quantize and of merge"""
    tracer = fs.compile_c(folder, "failing_call")
    count = os.path.join(folder, "count")
    for name in ("quantize", "merge"):
        where = os.path.join(folder, name)
        os.makedirs(where)
        out = os.path.join(where, "out")
        cmd = [GAVEL, *fs.weights_command(name, folder, out)]
        result = fs.run([tracer, FILE_CALLS, "0", "kill", count, *cmd])
        if result.rc == 126:
            print("  skipped: ptrace is not allowed here")
            return
        check(result.rc == 0, f"the uninterrupted run: {result}")
        expected, n_calls = fs.content(out), int(fs.read(count))
        check(n_calls > 20, f"only {n_calls} calls seen")
        moments = [(n, action) for n in range(1, n_calls + 1) for action in ("kill", "torn")]
        late = moments[-16:]  # where the output gets its name
        if not LONG:
            moments = rng.sample(moments, 2) + rng.sample(late, 3)
        whole = 0
        for n, action in moments:
            what = f"{name}, call {n}, {action}"
            fs.remove(out)
            killed = fs.run([tracer, FILE_CALLS, str(n), action, count, *cmd])
            check(killed.rc == 137, f"{what}: expected a kill: {killed}")
            if os.path.exists(out):
                whole += 1
                check(fs.content(out) == expected, f"{what}: part of an output has its name")
                fs.remove(out)
            again = fs.run(cmd)
            check(again.rc == 0, f"{what}: then again: {again}")
            check(fs.content(out) == expected, f"{what}: then again: other bytes")
            fs.nothing_left(where, ["out"])
        print(f"  {name}: {len(moments)} of {2 * n_calls} moments, {whole} of them after the output had its name")


def live_journal_is_not_shared():
    """a second process on a journal in use is refused, and harms nothing"""
    d = os.path.join(folder, "two")
    os.makedirs(d)
    out = os.path.join(d, "out.jsonl")
    lines = fs.read(rows60)
    first = subprocess.Popen(fs.judge("-", out, "mock:latency_us=300000,in_flight=60", fs.MOCK_ARGS), stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        first.stdin.write(lines)
        first.stdin.close()
        check(fs.wait_for(lambda: os.path.exists(out + ".run-wal") and os.path.getsize(out + ".run-wal") > 0), "no journal after 20 s")
        first.send_signal(signal.SIGSTOP)  # it shall not end while others try
        for extra in ([], ["--fresh"], ["--retry-failed"]):
            second = fs.run(fs.judge(rows60, out, "mock", fs.MOCK_ARGS + extra))
            fs.fails_with(second, f"out.jsonl.run is in use by process {first.pid}", "--out")
        other = b'{"id": 1, "instruction": "other", "generation": "rows", "reference": "", "rubric": "r"}\n'
        fs.fails_with(fs.run(fs.judge("-", out, "mock", fs.MOCK_ARGS), input=other), f"in use by process {first.pid}")
        fs.fails_with(fs.run([GAVEL, "inspect", out + ".run"]), f"in use by process {first.pid}")
        fs.fails_with(fs.run([GAVEL, "export", out + ".run", "--out", os.path.join(folder, "x.jsonl")]), f"in use by process {first.pid}")
        first.send_signal(signal.SIGCONT)
        message = first.stderr.read().decode()
        check(first.wait(60) == 0, f"the first process: {message}")
    finally:
        first.kill()
        first.wait()
    alone = os.path.join(folder, "two-alone.jsonl")
    check(fs.run(fs.judge(rows60, alone, "mock", fs.MOCK_ARGS)).rc == 0, "the run to compare with")
    fs.same_file(out, fs.read(alone), "another process tried to use the journal")
    fs.nothing_left(d, ["out.jsonl", "out.jsonl.run"])


def signals_end_in_a_resumable_run():
    """SIGINT ends with 130 and SIGTERM with 143; both resumable"""
    alone = os.path.join(folder, "signal-alone.jsonl")
    check(fs.run(fs.judge(rows60, alone, "mock", fs.MOCK_ARGS)).rc == 0, "the run to compare with")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        d = os.path.join(folder, f"signal-{code}")
        os.makedirs(d)
        out = os.path.join(d, "out.jsonl")
        log = os.path.join(folder, f"signal-{code}.log")
        cmd = fs.judge(rows60, out, f"mock:latency_us=30000,in_flight={IN_FLIGHT},log={log}", fs.MOCK_ARGS)
        p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        check(fs.wait_for(lambda: os.path.exists(log) and fs.read(log).count(b"\n") >= 8), "no answers after 20 s")
        p.send_signal(number)
        message = p.stderr.read().decode()
        check(p.wait() == code, f"exit {p.returncode}, expected {code}: {message}")
        held = len(fs.Journal(out + ".run", os.path.join(folder, "signal-look")).rows)
        check(f"interrupted with {held} of 60 rows judged" in message and "the same command continues" in message,
              f"{held} rows held: {message}")
        check(not os.path.exists(out), "an output before the end")
        check(fs.run(cmd).rc == 0, "the resumed run")
        fs.same_file(out, fs.read(alone), "resumed after a signal")
        fs.nothing_left(d, ["out.jsonl", "out.jsonl.run"])


fs.main([mock_is_killed_at_random, tiny_model_is_killed_at_random, smollm_is_killed_at_random, killed_at_every_call,
         weights_are_killed_at_every_call, live_journal_is_not_shared, signals_end_in_a_resumable_run])
