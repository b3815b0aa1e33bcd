#!/usr/bin/env python3
"""Every system call that a Distiset's writer makes fails once: the folder is the old one or the new one, never a part of one.

Each run replaces a folder whose pipeline.yaml is older.  The n-th call fails, and every later one too; or the writer is killed there.  Then the
next writer, undisturbed, leaves nothing behind but the new folder."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LONG = bool(os.environ.get("GAVEL_LONG"))
WRITER = os.path.join(os.path.dirname(os.path.abspath(sys.argv[1])), "tests", "test_distiset")


def files(folder):
    out = {}
    for where, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(where, name), "rb") as f:
                out[os.path.relpath(os.path.join(where, name), folder)] = f.read()
    return out


def main():
    tool_folder = tempfile.mkdtemp(prefix="gavel-distiset-disk-")
    try:
        check(tool_folder)
    finally:
        shutil.rmtree(tool_folder, ignore_errors=True)


def check(folder):
    tool = os.path.join(folder, "failing_call")
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O1", "-o", tool, os.path.join(HERE, "failing_call.c")], check=True)
    count_file, out = os.path.join(folder, "count"), os.path.join(folder, "out")
    dir_ = os.path.join(out, "seed")
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:exitcode=99")

    with open(WRITER, "rb") as f:
        sanitized = b"__asan_init" in f.read()
    calls_to_fail = "open,read,write,sync,rename,unlink,close" + ("" if sanitized else ",map")  # the sanitizer ends itself when it gets no memory

    def run(n, action):
        return subprocess.run([tool, calls_to_fail, str(n), action, count_file, WRITER, "write", out, "seed"], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    os.mkdir(out)
    first = run(0, "EIO")
    if first.returncode == 126:
        print("test_distiset_disk: skipped, tracing is not allowed here: " + first.stderr.decode().strip())
        sys.exit(77)
    assert first.returncode == 0, first.stderr
    new = files(dir_)
    assert len(new) == 5, sorted(new)
    with open(count_file, encoding="ascii") as f:
        calls = int(f.read())
    old = dict(new, **{"pipeline.yaml": b"old\n"})
    step = 1 if LONG else max(1, calls // 5)
    failed = 0
    for i, action in enumerate(("EIO+", "ENOSPC", "kill")):
        for n in range(1 + i * step // 3, calls + 1, step):
            shutil.rmtree(out)
            for name, content in old.items():
                os.makedirs(os.path.dirname(os.path.join(dir_, name)), exist_ok=True)
                with open(os.path.join(dir_, name), "wb") as f:
                    f.write(content)
            r = run(n, action)
            now = files(dir_) if os.path.isdir(dir_) else None
            where = "%s at call %d of %d: %d %r" % (action, n, calls, r.returncode, r.stderr[-300:])
            assert now in (old, new), where
            assert r.returncode != 99, where
            if r.returncode == 1 and action != "kill":
                failed += 1
                assert r.stderr.strip(), where
            if r.returncode == 0:
                assert now == new, where
            again = subprocess.run([WRITER, "write", out, "seed"], env=env, stderr=subprocess.PIPE)
            assert again.returncode == 0, (where, again.stderr)
            assert files(dir_) == new, where
            left = [name for name in os.listdir(out) if name != "seed"]
            assert not left, (where, left)
    assert failed > 5, failed
    print("%d calls, every %d. failed in 3 ways; %d runs ended with an error" % (calls, step, failed))


main()
