"""A disk that is full, read-only or not there, and an input that goes away or changes: a message that names file and reason, exit 1, nothing half
written, and the same command continues once the cause is gone, to the bytes of an undisturbed run."""
import atexit
import os
import resource
import shutil
import signal
import stat
import subprocess
import time

import fault_support as fs
from fault_support import GAVEL, LONG, check

folder, rng = fs.start("test_disk")
rows60 = fs.demo_rows(os.path.join(folder, "rows.jsonl"))
mounts = []


def unmount_all():
    while mounts:
        subprocess.run(["umount", "-l", mounts.pop()], stderr=subprocess.DEVNULL)


atexit.register(unmount_all)  # runs before the folder is removed


def mount(*args):
    """True if this machine lets us mount; it is undone at the end in any case."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        return False
    if fs.run(["mount", *args]).rc != 0:
        return False
    if args[-1] not in mounts:
        mounts.append(args[-1])
    return True


def new_folder(name):
    path = os.path.join(folder, name)
    os.makedirs(path)
    return path


def expected_output(rows):
    out = os.path.join(folder, "undisturbed.jsonl")
    for suffix in ("", ".run"):
        if os.path.exists(out + suffix):
            os.remove(out + suffix)
    result = fs.run(fs.judge(rows, out, "mock", fs.MOCK_ARGS))
    check(result.rc == 0, f"the undisturbed run: {result}")
    return fs.read(out)


def records(out):
    return fs.Journal(out + ".run", os.path.join(folder, "look")).rows


def logged(path):
    return [int(line) for line in fs.read(path).split()] if os.path.exists(path) else []


EXPECTED = expected_output(rows60)


def fill(path, free):
    """A file beside the run's that leaves so many bytes."""
    with open(path, "wb") as f:
        s = os.statvfs(os.path.dirname(path))
        f.write(b"x" * max(0, s.f_bavail * s.f_bsize - free))


def full_disk_during_the_run():
    """a full disk, at many sizes: it hits the journal's creation, its records, the output"""
    d = new_folder("full")
    if not mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", d):
        print("  skipped: mounting a small tmpfs needs root and mount(8); the size limit below does the same by RLIMIT_FSIZE")
        return
    seen = {"opening": 0, "judging": 0, "output": 0, "none": 0}
    for i, kib in enumerate(range(0, 1150, 20 if LONG else 115 if fs.SANITIZED else 55)):
        out, log, filler = f"{d}/out{i}.jsonl", f"{folder}/full{i}.log", f"{d}/filler"
        cmd = fs.judge(rows60, out, f"mock:in_flight=4,log={log}", fs.MOCK_ARGS)
        fill(filler, kib * 1024)
        first = fs.run(cmd)
        held = records(out)
        if first.rc == 0:
            seen["none"] += 1
        else:
            fs.fails_with(first, f"out{i}.jsonl", "No space left on device")
            check(first.err.count("\n") == 1, f"one line expected: {first}")
            check(not os.path.exists(out), "an output in spite of the full disk")
            again = fs.run(cmd)
            if again.rc:  # it may also get through: the first one's log is folded into the journal, which takes less room
                fs.fails_with(again, f"out{i}.jsonl", "No space left on device")
            check(records(out).items() >= held.items(), "a second try on the full disk lost records")
            seen["opening" if not held else "judging" if len(held) < 60 else "output"] += 1
            held = records(out)
            answered = logged(log)
            os.remove(filler)
            done = fs.run(cmd)
            check(done.rc == 0, f"after space was freed: {done}")
            twice = [row for row in logged(log)[len(answered):] if row in held]
            check(not twice, f"rows {twice} were in the journal and judged again")
        fs.same_file(out, EXPECTED, f"with {kib} KiB free")
        fs.nothing_left(d, [f"out{i}.jsonl", f"out{i}.jsonl.run"] + (["filler"] if os.path.exists(filler) else []))
        for name in os.listdir(d):
            os.remove(f"{d}/{name}")
    print("  the disk was full when " + ", ".join(f"{what}: {n}" for what, n in seen.items()))
    check(seen["opening"] and seen["judging"], "no size hit the opening and the judging")


def full_disk_at_the_output():
    """a full disk when the journal is complete: only the output fails, and an older one stays"""
    d = new_folder("full-output")
    if not mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", d):
        print("  skipped: no mount")
        return
    out, log = f"{d}/out.jsonl", f"{folder}/full-output.log"
    cmd = fs.judge(rows60, out, f"mock:log={log}", fs.MOCK_ARGS)
    check(fs.run(cmd).rc == 0, "the first run")
    with open(out, "w", encoding="utf-8") as f:
        f.write("an older output\n")
    for free in (0, 4096, 40960, 150000):
        fill(f"{d}/filler", free)
        fs.fails_with(fs.run(cmd), f"cannot write {out}" if free else out, "No space left on device")
        check(fs.read(out) == b"an older output\n", "the older output was touched")
        fs.nothing_left(d, ["filler", "out.jsonl", "out.jsonl.run"])
        if free <= 4096:
            fs.fails_with(fs.run([GAVEL, "export", out + ".run", "--all", "--out", f"{d}/x.jsonl"]), f"{d}/x.jsonl", "No space left")
        shown = fs.run([GAVEL, "inspect", out + ".run"])
        check(shown.rc == 0 and b"60 rows" in shown.out, f"inspect on a full disk: {shown}")
        os.remove(f"{d}/filler")
    check(fs.run(cmd).rc == 0, "after space was freed")
    fs.same_file(out, EXPECTED, "after space was freed")
    check(len(logged(log)) == 60, "rows were judged again")


def file_size_limit():
    """a file size limit (ulimit -f): message instead of a signal"""
    d = new_folder("limit")
    seen = set()
    for i, limit in enumerate((0, 8192, 40000, 100000, 160000)):
        out = f"{d}/out{i}.jsonl"
        cmd = fs.judge(rows60, out, "mock", fs.MOCK_ARGS)
        first = fs.run(cmd, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        fs.fails_with(first, f"out{i}.jsonl", "File too large")
        held = len(records(out))
        seen.add("none" if held == 0 else "some" if held < 60 else "all")
        check(not os.path.exists(out), "an output in spite of the limit")
        check(fs.run(cmd).rc == 0, "without the limit")
        fs.same_file(out, EXPECTED, f"after a limit of {limit} bytes")
    os.remove(out)  # the last one's journal is complete, and smaller than its output
    limit = (os.path.getsize(out + ".run") + len(EXPECTED)) // 2
    first = fs.run(cmd, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    fs.fails_with(first, f"cannot write {out}", "File too large")
    check(sorted(os.listdir(d)) == sorted(f"out{i}.jsonl{s}" for i in range(5) for s in ("", ".run") if (i, s) != (4, "")), "left behind")
    check(fs.run(cmd).rc == 0, "without the limit")
    fs.same_file(out, EXPECTED, "after a limit at the output")
    print(f"  records held when the limit was hit: {', '.join(sorted(seen))}")
    fs.nothing_left(d, [f"out{i}.jsonl{s}" for i in range(5) for s in ("", ".run")])


def interrupted_run(out, log):
    """Leaves a journal with some rows and a log beside it, as kill -9 does."""
    cmd = fs.judge(rows60, out, f"mock:latency_us=20000,in_flight=4,log={log}", fs.MOCK_ARGS)
    p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    check(fs.wait_for(lambda: len(logged(log)) >= 20), "no answers after 20 s")
    p.kill()
    check(p.wait() != 0, "the run was over before it could be killed")
    return cmd


def read_only_folder():
    """a read-only folder: refused at once, before a new run and when one is continued; looking inside works"""
    d = new_folder("read-only")
    out, log = f"{d}/out.jsonl", f"{folder}/read-only.log"
    cmd = interrupted_run(out, log)
    held = records(out)
    if mount("--bind", d, d) and mount("-o", "remount,ro,bind", d):
        for name in ("out.jsonl", "new.jsonl"):
            refused = fs.run(fs.judge(rows60, f"{d}/{name}", "mock", fs.MOCK_ARGS))
            fs.fails_with(refused, f"{d}", "Read-only file system")
        fs.fails_with(fs.run([GAVEL, "inspect", out + ".run"]), "out.jsonl.run-wal must be folded into it first")
        fs.fails_with(fs.run([GAVEL, "export", out + ".run", "--out", f"{d}/x.csv"]), f"cannot write {d}/x.csv", "Read-only file system")
        fs.run(["mount", "-o", "remount,rw,bind", d])
    else:
        print("  no read-only mount here (needs root): only as another user")
    as_nobody(d, out, held)
    done = fs.run(cmd)
    check(done.rc == 0, f"writable again: {done}")
    check(not [row for row in logged(log)[len(held):] if row in held] or len(logged(log)) - 60 <= 4, "rows were judged again")
    fs.same_file(out, EXPECTED, "after the folder became writable")
    if d in mounts and mount("-o", "remount,ro,bind", d):
        shown = fs.run([GAVEL, "inspect", out + ".run"])
        check(shown.rc == 0 and b"60 rows" in shown.out, f"inspect on a read-only file system: {shown}")
        copy = os.path.join(folder, "read-only-export.jsonl")
        check(fs.run([GAVEL, "export", out + ".run", "--out", copy]).rc == 0 and fs.read(copy).count(b"\n") == 60, "export")
        fs.run(["umount", d])
        mounts.remove(d)


def as_nobody(d, out, held):
    """The same by permissions, for a user who may read but not write."""
    if os.geteuid() != 0:
        os.chmod(d, 0o555)
        who = {}
    else:
        who = {"user": 65534, "group": 65534, "extra_groups": []}
        for name in os.listdir(d):
            os.chmod(f"{d}/{name}", 0o644)
        try:
            seen = fs.run([GAVEL, "--version"], **who)
        except OSError as e:
            print(f"  skipped as another user: {e}")
            return
        if seen.rc != 0:
            print("  skipped as another user: the binary is in a folder that only root may enter")
            return
    try:
        for name in ("out.jsonl", "new.jsonl"):
            fs.fails_with(fs.run(fs.judge(rows60, f"{d}/{name}", "mock", fs.MOCK_ARGS), **who), d, "Permission denied")
        if os.geteuid() == 0:  # a folder that anyone may write, with a journal that only its owner may
            os.chmod(d, 0o777)
            fs.fails_with(fs.run(fs.judge(rows60, out, "mock", fs.MOCK_ARGS), **who), "cannot write journal", "out.jsonl.run", "read-only")
        check(records(out) == held, "the journal changed")
    finally:
        os.chmod(d, 0o755)


def places_that_are_not_there():
    """a missing folder, a file in place of one, a missing input"""
    d = new_folder("places")
    with open(f"{d}/file", "w", encoding="utf-8"):
        pass
    os.mkdir(f"{d}/folder.jsonl")
    for out, reason in ((f"{d}/none/out.jsonl", "No such file or directory"), (f"{d}/file/out.jsonl", "ot a folder"),
                        (f"{d}/folder.jsonl", "folder"), (f"{d}/" + "n" * 300 + ".jsonl", "File name too long")):
        fs.fails_with(fs.run(fs.judge(rows60, out, "mock", fs.MOCK_ARGS)), out[:200], reason)
    fs.fails_with(fs.run(fs.judge(f"{d}/none.jsonl", f"{d}/out.jsonl", "mock", fs.MOCK_ARGS)), f"cannot open {d}/none.jsonl", "No such file")
    fs.fails_with(fs.run(fs.judge("-", f"{d}/out.jsonl", "mock", fs.MOCK_ARGS), input=b""), "standard input: the file is empty")
    fs.fails_with(fs.run(fs.judge("-", f"{d}/out.jsonl", "mock", [*fs.MOCK_ARGS, "--fresh"]), input=b""), "the file is empty")
    fs.nothing_left(d, ["file", "folder.jsonl"])


def input_goes_away():
    """an input that is removed while it is judged: no output, and the run continues once it is back"""
    d = new_folder("gone")
    rows, out, log = f"{d}/rows.jsonl", f"{d}/out.jsonl", f"{folder}/gone.log"
    shutil.copyfile(rows60, rows)
    cmd = fs.judge(rows, out, f"mock:latency_us=100000,in_flight=20,log={log}", fs.MOCK_ARGS)
    p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    check(fs.wait_for(lambda: logged(log)), "no answers after 20 s")
    os.remove(rows)
    message = p.stderr.read().decode()
    fs.fails_with(fs.Result(p.wait(), b"", message), f"cannot open {rows}", "No such file or directory")
    fs.nothing_left(d, ["out.jsonl.run"])
    shutil.copyfile(rows60, rows)
    check(fs.run(cmd).rc == 0 and len(logged(log)) == 60, "rows were judged again")
    fs.same_file(out, EXPECTED, "the input was away")


def input_changes_after_it_was_judged():
    """an input that is replaced after its last row was read: no output of mixed rows"""
    d = new_folder("replaced")
    rows, out, log = f"{d}/rows.jsonl", f"{d}/out.jsonl", f"{folder}/replaced.log"
    shutil.copyfile(rows60, rows)
    cmd = fs.judge(rows, out, f"mock:latency_us=100000,in_flight=20,log={log}", fs.MOCK_ARGS)
    p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    check(fs.wait_for(lambda: len(logged(log)) >= 40), "no answers after 20 s")
    with open(rows, "r+b") as f:
        f.seek(-30, os.SEEK_END)
        f.write(b"X")
    message = p.stderr.read().decode()
    fs.fails_with(fs.Result(p.wait(), b"", message), f"{rows} changed while it was being judged")
    check(not os.path.exists(out), "an output of mixed rows")
    refused = fs.run(cmd)
    fs.fails_with(refused, "out.jsonl.run", "input sha256 was ", "--fresh")
    shutil.copyfile(rows60, rows)
    check(fs.run(cmd).rc == 0 and len(logged(log)) == 60, "rows were judged again")
    fs.same_file(out, EXPECTED, "the input was changed and put back")


def input_changes_while_it_is_judged():
    """an input whose rows change before they are judged: their verdicts are of no use, and the journal says so for ever"""
    d = new_folder("changed")
    rows, out = f"{d}/rows.jsonl", f"{d}/out.jsonl"
    fs.demo_rows(rows, 240)  # more than is read at once
    before, expected = fs.read(rows), expected_output(rows)
    check(len(before) > 2 * 262144, "the input fits into one read")
    cmd = fs.judge(rows, out, "mock:latency_us=200000,in_flight=40", fs.MOCK_ARGS)
    p = subprocess.Popen(cmd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wal = out + ".run-wal"
    check(fs.wait_for(lambda: os.path.exists(wal) and os.path.getsize(wal) > 0), "no journal after 20 s")
    at = before.rindex(b'"generation": "') + 20
    with open(rows, "r+b") as f:
        f.seek(at)
        f.write(b"XYZ")
    message = p.stderr.read().decode()
    fs.fails_with(fs.Result(p.wait(), b"", message), f"{rows} changed while it was being judged")
    check(not os.path.exists(out), "an output of verdicts on other rows")
    with open(rows, "wb") as f:
        f.write(before)
    fs.fails_with(fs.run(cmd), "out.jsonl.run", "the input changed while it was being judged", "--fresh")
    check(not os.path.exists(out), "an output of verdicts on other rows")
    check(fs.run([*cmd, "--fresh"]).rc == 0, "--fresh")
    fs.same_file(out, expected, "begun anew")


def output_streams_fail():
    """a full or closed standard output is a failure with a message; a closed standard error is none"""
    lines = os.path.join(folder, "lines.jsonl")
    with open(lines, "w", encoding="utf-8") as f:
        f.write('{"text": "Is it so?"}\n' * 20000)
    commands = [["tokenize", lines, "--model", fs.TINY], ["render", rows60, "--rubric-col", "rubric"], ["inspect", fs.TINY], ["--help"],
                ["judge", "--help"]]
    for args in commands:
        with open("/dev/full", "wb") as full:
            p = subprocess.run([GAVEL, *args], stdout=full, stderr=subprocess.PIPE, timeout=60)
        fs.fails_with(fs.Result(p.returncode, b"", p.stderr.decode()), "No space left on device")
        r, w = os.pipe()
        os.close(r)
        p = subprocess.run([GAVEL, *args], stdout=w, stderr=subprocess.PIPE, timeout=60)
        os.close(w)
        fs.fails_with(fs.Result(p.returncode, b"", p.stderr.decode()), "Broken pipe")
        fs.fails_with(fs.run(["sh", "-c", 'exec "$@" >&-', "sh", GAVEL, *args]), "Bad file descriptor")
    fs.fails_with(fs.run(["sh", "-c", 'exec "$@" <&-', "sh", GAVEL, "tokenize", "-", "--model", fs.TINY]), "Bad file descriptor")
    out = os.path.join(folder, "streams.jsonl")
    cmd = [a for a in fs.judge(rows60, out, "mock", fs.MOCK_ARGS) if a != "--quiet"]
    for redirect in (">/dev/full 2>&1", "2>&- >&-", "<&- 2>&- >&-"):
        p = subprocess.run(["sh", "-c", f'exec "$@" {redirect}', "sh", *cmd, "--fresh"], timeout=60)
        check(p.returncode == 0, f"exit {p.returncode} with {redirect}")
        fs.same_file(out, EXPECTED, redirect)
        os.remove(out)


fs.main([full_disk_during_the_run, full_disk_at_the_output, file_size_limit, read_only_folder, places_that_are_not_there, input_goes_away,
         input_changes_after_it_was_judged, input_changes_while_it_is_judged, output_streams_fail])
