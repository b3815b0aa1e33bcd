"""What the end-to-end tests share: running the binary, rows, models, and a runner that prints a sentence for each test.

A test is a function whose name is a sentence and whose first argument is a new, empty folder of its own, in which it also runs.  A file ends with
support.main([tests]).  The binary's path is argv[1].  Exit code: 0 all passed, 1 some failed, 77 all were skipped (each with its reason).
Standard library only.
"""
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

GAVEL = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "gavel"
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
DATA = os.path.join(HERE, "..", "data")
UNXZ = os.path.join(os.path.dirname(GAVEL), "unxz")
CACHE = os.environ.get("GAVEL_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "gavel")
SMOLLM2 = os.path.join(CACHE, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
RUBRIC = "helpfulness"


class Skip(Exception):
    """The test cannot run here; the text says why."""


class Done:
    """A finished command: exit code (as a shell shows it), standard output and standard error."""

    def __init__(self, code, out, err, usage=None):
        self.code, self.raw_out, self.raw_err, self.usage = code, out, err, usage

    @property
    def out(self):
        return self.raw_out.decode("utf-8")

    @property
    def err(self):
        return self.raw_err.decode("utf-8")

    def lines(self):
        return [json.loads(line) for line in self.out.split("\n")[:-1]]

    def events(self, kind=None):
        """Standard error of a command with --json: every line must be a JSON object with an event."""
        found = [json.loads(line) for line in self.err.split("\n")[:-1]]
        assert all("event" in e for e in found), self.err
        return [e for e in found if kind in (None, e["event"])]


def shell_code(code):
    return 128 - code if code < 0 else code


def environment(**more):
    env = {k: v for k, v in os.environ.items() if k not in ("TERM", "COLUMNS")}
    env.update({"LC_ALL": "C.UTF-8", "TERM": "dumb"}, **more)
    return env


def run(*args, stdin=b"", timeout=300, want=None, **options):
    """Runs gavel.  want: the exit code it must have.  stdin: text, bytes, or a list of values, one JSON line each."""
    if isinstance(stdin, list):
        stdin = "".join(json.dumps(v) + "\n" for v in stdin)
    if isinstance(stdin, str):
        stdin = stdin.encode("utf-8")
    p = subprocess.run([GAVEL] + [str(a) for a in args], input=stdin, capture_output=True, timeout=timeout, env=environment(), check=False, **options)
    done = Done(shell_code(p.returncode), p.stdout, p.stderr)
    if want is not None:
        assert done.code == want, "exit %d, not %d: gavel %s\n%s" % (done.code, want, " ".join(map(str, args)), done.err[-2000:])
    return done


def start(*args, **options):
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([GAVEL] + [str(a) for a in args], env=environment(), **options)


def finish(p, timeout=120):
    out, err = p.communicate(timeout=timeout)
    return Done(shell_code(p.returncode), out or b"", err or b"")


def interrupt_in_progress(args, is_writing):
    """Starts gavel with a full pipe as its standard error, so that it stops at its first line of progress; SIGINT once it is_writing(), then
    the pipe is emptied."""
    ours, theirs = os.pipe()
    filled = 0
    os.set_blocking(theirs, False)
    try:
        while True:
            filled += os.write(theirs, b" " * 4096)
    except BlockingIOError:
        os.set_blocking(theirs, True)
    with os.fdopen(ours, "rb") as pipe:
        p = start(*args, stderr=theirs)
        os.close(theirs)
        end = time.monotonic() + 60
        while not is_writing():
            assert p.poll() is None and time.monotonic() < end, (args, p.poll())
            time.sleep(0.001)
        p.send_signal(signal.SIGINT)
        text = pipe.read()
    p.stdout.close()
    return Done(shell_code(p.wait(60)), b"", text[filled:])


def refused(done, code, *parts):
    """The command failed with this exit code and one message, which has these parts; before it there may be what loading cost."""
    assert done.code == code, (done.code, done.err)
    lines = [line for line in done.err.splitlines(True) if " of weights repacked in " not in line]
    assert len(lines) == 1 and lines[0].startswith("gavel: ") and lines[0].endswith("\n"), done.err
    assert done.out == "", done.out
    for part in parts:
        assert part in lines[0], "%r is not in %r" % (part, lines[0])


def rows(n, **more):
    return [dict({"instruction": "Name the number after %d." % i, "generation": "It is %d." % (i + 1)}, **more) for i in range(n)]


def write(path, content):
    """Text, bytes, or a list of values as JSON lines."""
    if isinstance(content, list):
        content = "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in content)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def table(path):
    return [json.loads(line) for line in read(path).decode("utf-8").split("\n")[:-1]]


def judge(source, out, *more, model="mock", rubric=RUBRIC, **options):
    """gavel judge; rubric None leaves --rubric out."""
    args = ["judge", source, "--model", model, "--out", out] + (["--rubric", rubric] if rubric else [])
    return run(*args, *more, **options)


def tiny(arch, kind="Q8_0"):
    """A model of 0.2 M random weights: answers mean nothing, but everything is computed."""
    return os.path.join(DATA, "oracle", "models", arch, "%s-%s.gguf" % (arch, kind))


def need_mock():
    if "--model mock" not in run("--version").out:
        raise Skip("the binary has no test engine (built without -DGAVEL_TESTING=ON)")


def mock(test):
    """The test, for binaries with the test engine only."""

    @functools.wraps(test)
    def with_mock(folder):
        need_mock()
        test(folder)

    return with_mock


def sanitized():
    return b"__asan_init" in read(GAVEL) or b"__tsan_init" in read(GAVEL)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited %d s in vain" % seconds
        time.sleep(0.01)


def sentence(test):
    return test.__name__.replace("_", " ")


def run_one(test):
    folder = tempfile.mkdtemp(prefix="gavel-e2e-")
    before = os.getcwd()
    begin = time.monotonic()
    os.chdir(folder)
    try:
        test(folder)
        verdict = "ok"
    except Skip as why:
        print("skip  %s: %s" % (sentence(test), why), flush=True)
        return "skip"
    except Exception:  # every failure of a test is reported alike
        traceback.print_exc(file=sys.stdout)
        verdict = "FAIL"
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)
    print("%-5s %s (%.1f s)" % (verdict, sentence(test), time.monotonic() - begin), flush=True)
    return verdict


@contextlib.contextmanager
def running(server):
    """An http.server that answers in a thread of its own until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main(tests):
    if not os.path.exists(GAVEL):
        print("no binary at %s" % GAVEL)
        sys.exit(77)
    only = sys.argv[2:]  # names or parts of names: just these tests
    verdicts = [run_one(t) for t in tests if not only or any(o in t.__name__ for o in only)]
    print("%d passed, %d failed, %d skipped" % tuple(verdicts.count(v) for v in ("ok", "FAIL", "skip")))
    sys.exit(1 if "FAIL" in verdicts else 77 if verdicts and set(verdicts) == {"skip"} else 0)
