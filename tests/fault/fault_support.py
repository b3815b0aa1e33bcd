"""What the fault tests share: rows, runs of the program, a look into a journal, the two programs that make calls fail.

Every test owns one temporary folder, which goes away at the end whatever happens.  A failed check raises; the test program then exits 1
with the seed printed, so that the run can be repeated (GAVEL_FAULT_SEED=N)."""
import atexit
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LONG = bool(os.environ.get("GAVEL_LONG"))
TINY = os.path.join(ROOT, "tests/data/oracle/models/llama/llama-Q8_0.gguf")
GAVEL = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else None
FOLDER = os.path.join(ROOT, "tests/data/oracle/models/llama/hf-bf16")
MERGE = os.path.join(ROOT, "tests/data/merge")
N_ROWS = 60

with open(GAVEL, "rb") as _f:
    _bytes = _f.read()
SANITIZED = b"__asan_init" in _bytes
HAS_MOCK = b"the test engine failed as asked" in _bytes
del _bytes

SEED = int(os.environ.get("GAVEL_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))


def start(name):
    """Prints the seed, returns (folder, generator)."""
    if not HAS_MOCK:
        print(f"{name}: skipped, this gavel is built without the test engine (GAVEL_TESTING)")
        sys.exit(77)
    folder = tempfile.mkdtemp(prefix=f"gavel-{name}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chmod(folder, 0o755)
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":abort_on_error=0:exitcode=99:detect_leaks=0"
    os.environ["UBSAN_OPTIONS"] = os.environ.get("UBSAN_OPTIONS", "") + ":exitcode=99:print_stacktrace=1"
    print(f"{name}: seed {SEED} (GAVEL_FAULT_SEED={SEED} repeats it), {'long' if LONG else 'short'}{', sanitized' if SANITIZED else ''}")
    return folder, random.Random(SEED)


def smollm():
    """SmolLM2-135M from the cache of script/fetch.py, or None."""
    cache = os.environ.get("GAVEL_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "gavel")
    path = os.path.join(cache, "models/SmolLM2-135M-Instruct.Q4_1.gguf")
    return path if os.path.exists(path) else None


def demo_rows(path, n=N_ROWS):
    """n rows made of the demo's 24, each with an id of its own."""
    with open(os.path.join(ROOT, "demo/rows.jsonl"), encoding="utf-8") as f:
        base = [json.loads(line) for line in f]
    with open(path, "w", encoding="utf-8") as f:
        for i in range(n):
            row = dict(base[i % len(base)])
            row["id"] = f"{row['id']}-{i}"
            row["generation"] += "" if i < len(base) else f"\n(version {i // len(base)})"
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def raw_rows(path, n=N_ROWS):
    """n short whole prompts: the tiny models know 1,024 positions."""
    with open(path, "w", encoding="utf-8") as f:
        for i in range(n):
            f.write(json.dumps({"id": i, "prompt": f"Is answer {i * 37 % 101} right? Say why, then [RESULT] and a score."}) + "\n")
    return path


MOCK_ARGS = ["--rubric-col", "rubric", "--reference", "--id-col", "id", "--quiet"]
RAW_ARGS = ["--prompt", "raw", "--id-col", "id", "--max-tokens", "12", "--threads", "1", "--max-batch", "4", "--quiet"]


def judge(rows, out, model, extra):
    return [GAVEL, "judge", rows, "--model", model, "--out", out, *extra]


class Result:
    def __init__(self, rc, out, err):
        self.rc, self.out, self.err = rc, out, err

    def __str__(self):
        return f"exit {self.rc}, stderr: {self.err.strip()!r}"


def run(cmd, timeout=300, **kw):
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **kw)
    return Result(p.returncode, p.stdout, p.stderr.decode("utf-8", "replace"))


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def content(path):
    """The bytes of a file; of a folder {name: bytes}."""
    return {name: read(os.path.join(path, name)) for name in sorted(os.listdir(path))} if os.path.isdir(path) else read(path)


def remove(path):
    """A file, a folder with files in it, or nothing."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def weights_command(name, work, out):
    """Arguments of a small `quantize` or `merge` (ties, three models) that makes out."""
    if name == "quantize":
        return ["quantize", FOLDER, out, "--type", "q4_k", "--threads", "2", "--quiet"]
    recipe = os.path.join(work, "recipe.yaml")
    with open(recipe, "w", encoding="utf-8") as f:
        f.write("merge_method: ties\nbase_model: %s/models/base\nparameters: {weight: 0.5, density: 0.5}\nmodels:\n" % MERGE)
        f.writelines("- model: %s/models/%s\n" % (MERGE, m) for m in "ab")
    return ["merge", recipe, out, "--max-shard", "50000", "--threads", "2", "--quiet"]


def fails_with(result, *parts, rc=1):
    """A clean failure: this exit code, one message, and these words in it."""
    check(result.rc == rc, f"expected exit {rc}: {result}")
    check(result.err.startswith("gavel"), f"expected a message of gavel's: {result}")
    for part in parts:
        check(part in result.err, f"expected {part!r} in the message: {result}")


def same_file(path, expected, why):
    check(os.path.exists(path), f"{path} is missing: {why}")
    check(read(path) == expected, f"{path} differs from the uninterrupted run's: {why}")


def nothing_left(folder, names):
    """The folder holds exactly these files: no temporary ones, no log."""
    found = sorted(os.listdir(folder))
    check(found == sorted(names), f"{folder} holds {found}, expected {sorted(names)}")


class Journal:
    """The records of a journal as it lies on the disk, read from a copy so that nothing is changed: {row: body}."""

    def __init__(self, path, scratch):
        self.rows = {}
        shutil.rmtree(scratch, ignore_errors=True)
        os.mkdir(scratch)
        self.copy = os.path.join(scratch, "copy.run")
        self.exists = os.path.exists(path)
        if not self.exists:
            return
        for suffix in ("", "-wal", "-journal"):
            if os.path.exists(path + suffix):
                shutil.copyfile(path + suffix, self.copy + suffix)
        looked = os.path.join(scratch, "looked.run")  # SQLite folds the log in; gavel shall see it as it was
        for suffix in ("", "-wal", "-journal"):
            if os.path.exists(self.copy + suffix):
                shutil.copyfile(self.copy + suffix, looked + suffix)
        db = sqlite3.connect(looked)
        try:
            check(db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"{path}: SQLite finds damage")
            self.made = bool(db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
            if self.made:
                self.rows = {key >> 27: body for key, body in db.execute("SELECT key, body FROM record")}
        finally:
            db.close()

    def check_by_gavel(self):
        """inspect and export agree with SQLite on a copy of their own."""
        if not self.exists:
            return
        shown = run([GAVEL, "inspect", self.copy])
        if not self.made:
            fails_with(shown, "it is empty")
            return
        check(shown.rc == 0, f"inspect: {shown}")
        out = self.copy + ".jsonl"
        exported = run([GAVEL, "export", self.copy, "--out", out])
        check(exported.rc == 0, f"export: {exported}")
        with open(out, encoding="utf-8") as f:
            rows = [json.loads(line)["row"] for line in f]
        check(rows == sorted(self.rows), f"export lists rows {rows}, the journal holds {sorted(self.rows)}")


def compile_c(folder, name, *flags):
    """Builds tests/fault/NAME.c with the compiler of the machine; the path of what came out."""
    out = os.path.join(folder, name)
    built = run([os.environ.get("CC", "cc"), "-O1", "-Wall", "-Wextra", "-Werror", *flags, os.path.join(HERE, name + ".c"), "-o", out])
    check(built.rc == 0, f"{name}.c does not compile: {built.err}")
    return out


def wait_for(condition, seconds=20):
    """True as soon as condition() is; False after the time is up."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.0005)
    return True


def main(tests):
    for test in tests:
        begin = time.monotonic()
        print(f"- {(test.__doc__ or test.__name__).strip().splitlines()[0]}", flush=True)
        test()
        print(f"  ok ({time.monotonic() - begin:.1f} s)", flush=True)
