"""A journal is continued only by the run it belongs to, and only if it is whole: every changed setting or input is refused by name, files of
other kinds are left alone, and damaged journals end in a message or in the right output, never in a crash or another verdict."""
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess

import fault_support as fs
from fault_support import GAVEL, LONG, check

folder, rng = fs.start("test_resume")
N = 24
rows = fs.demo_rows(os.path.join(folder, "rows.jsonl"), N)
ARGS = ["--rubric-col", "rubric", "--reference", "--quiet"]
MODEL = "mock:in_flight=4"


def copy_journal(source, target):
    for suffix in ("", "-wal"):
        if os.path.exists(target + suffix):
            os.remove(target + suffix)
        if os.path.exists(source + suffix):
            shutil.copyfile(source + suffix, target + suffix)


def half_done(name, args, rows_file=rows):
    """A journal with some of the rows, made by kill -9: (out, journal to copy from, output of an undisturbed run)."""
    whole = os.path.join(folder, name + "-whole.jsonl")
    check(fs.run(fs.judge(rows_file, whole, MODEL, args)).rc in (0, 3), "the undisturbed run")
    out, log = os.path.join(folder, name + ".jsonl"), os.path.join(folder, name + ".log")
    p = subprocess.Popen(fs.judge(rows_file, out, f"mock:in_flight=4,latency_us=20000,log={log}", args), stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    check(fs.wait_for(lambda: os.path.exists(log) and fs.read(log).count(b"\n") >= 10), "no answers after 20 s")
    p.kill()
    check(p.wait() != 0, "the run was over before it could be killed")
    saved = os.path.join(folder, name + ".saved")
    copy_journal(out + ".run", saved)
    return out, saved, fs.read(whole)


def changed_settings_are_refused():
    """each setting that decides results is refused by name when it differs, and the journal stays as it was"""
    rubric = os.path.join(folder, "rubric.txt")
    with open(rubric, "w", encoding="utf-8") as f:
        f.write("[Is it good?]\nScore 1: a\nScore 2: b\nScore 3: c\nScore 4: d\nScore 5: e\n")
    base = ["--rubric", rubric, "--quiet"]
    out, saved, expected = half_done("settings", base)
    held = fs.Journal(out + ".run", os.path.join(folder, "look")).rows
    changes = [
        (["--temperature", "0.7"], "temperature was 0", "is now 0.7"), (["--top-p", "0.5"], "top_p was 1", "is now 0.5"),
        (["--top-k", "7"], "top_k was 0, is now 7"), (["--min-p", "0.25"], "min_p was 0", "is now 0.25"),
        (["--repetition-penalty", "1.5"], "repetition_penalty was 1"), (["--presence-penalty", "1.5"], "presence_penalty was 0"),
        (["--frequency-penalty", "1.5"], "frequency_penalty was 0"), (["--max-tokens", "77"], "max_tokens was 1024, is now 77"),
        (["--seed", "5"], "seed was 0, is now 5"), (["--limit", "9"], "input rows was 24, is now 9"),
        (["--shard", "0/2"], "shards was 0, is now 2"), (["--id-col", "id"], "id column was none, is now id"),
        (["--verdict", "strict"], "verdict was constrained, is now strict"), (["--reference"], "reference was no, is now yes"),
        (["--prompt", "paper"], "prompt was distilabel, is now paper"), (["--expected-score"], "expected score was no, is now yes"),
        (["--map", "generation=reference"], "column map was none, is now generation=reference"),
        (["--mode", "relative", "--map", "generations=id"], "mode was absolute, is now relative")]
    for args, *parts in changes:
        fs.fails_with(fs.run(fs.judge(rows, out, MODEL, base + args)), "settings.jsonl.run belongs to a run with other settings", "--fresh", *parts)
    with open(rubric, "a", encoding="utf-8") as f:
        f.write("more")
    fs.fails_with(fs.run(fs.judge(rows, out, MODEL, base)), "rubric sha256 was ")
    fs.fails_with(fs.run(fs.judge(rows, out, MODEL, ["--rubric-col", "rubric", "--quiet"])), "rubric column was none, is now rubric")
    fs.fails_with(fs.run(fs.judge(rows, out, fs.TINY, ARGS)), "model was mock, is now tiny-llama", "numerics was mock")
    with open(rubric, "r+", encoding="utf-8") as f:
        f.truncate(os.path.getsize(rubric) - 4)
    check(fs.Journal(out + ".run", os.path.join(folder, "look")).rows == held, "a refused run changed the journal")
    check(not os.path.exists(out), "a refused run wrote an output")
    done = fs.run(fs.judge(rows, out, MODEL, base + ["--threads", "3", "--max-batch", "7", "--no-prefix-cache"]))
    check(done.rc == 0, f"settings that decide nothing: {done}")
    fs.same_file(out, expected, "refused many times, then continued")
    print(f"  {len(changes) + 3} differences")


def changed_input_is_refused():
    """a changed input is refused by digest and number of rows; --fresh starts anew"""
    mine = os.path.join(folder, "mine.jsonl")
    shutil.copyfile(rows, mine)
    out, saved, expected = half_done("input", ARGS, mine)
    lines = fs.read(rows).splitlines(keepends=True)
    variants = {"a byte": fs.read(rows).replace(b"Solve", b"solve", 1), "a row more": b"".join(lines + lines[:1]),
                "a row less": b"".join(lines[:-1]), "another order": b"".join(lines[1:] + lines[:1]), "a line end": fs.read(rows)[:-1]}
    for what, text in variants.items():
        with open(mine, "wb") as f:
            f.write(text)
        parts = ["input sha256 was ", "--fresh"] + (["input rows was 24, is now 2"] if what.startswith("a row") else [])
        fs.fails_with(fs.run(fs.judge(mine, out, MODEL, ARGS)), "input.jsonl.run belongs to a run with other settings", *parts)
    check(fs.run(fs.judge(rows, out, MODEL, ARGS)).rc == 0, "the same bytes under another name")
    fs.same_file(out, expected, "continued under another name")
    with open(mine, "wb") as f:
        f.write(variants["a row less"])
    check(fs.run(fs.judge(mine, out, MODEL, ARGS + ["--fresh"])).rc == 0, "--fresh")
    check(fs.read(out).count(b"\n") == N - 1, "--fresh judged the new input")
    with open(mine, "w", encoding="utf-8") as f:
        f.write("")
    before = fs.Journal(out + ".run", os.path.join(folder, "look")).rows
    fs.fails_with(fs.run(fs.judge(mine, out, MODEL, ARGS + ["--fresh"])), "the file is empty")
    check(fs.Journal(out + ".run", os.path.join(folder, "look")).rows == before, "--fresh with a bad input threw the old journal away")


def other_files_are_left_alone():
    """a file of another kind in the journal's place is refused and not changed, also by --fresh"""
    out = os.path.join(folder, "other.jsonl")
    journal = out + ".run"
    whole, saved, _ = half_done("whole", ARGS)
    check(fs.run(fs.judge(rows, whole, MODEL, ARGS)).rc == 0, "the run")
    db = sqlite3.connect(os.path.join(folder, "other.db"))
    db.execute("CREATE TABLE t (a)")
    db.commit()
    db.close()
    changed = {}
    for name, sql in {"trigger": "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record; END", "table": "CREATE TABLE t (a)",
                      "view": "DROP VIEW records", "version": "PRAGMA user_version=2"}.items():
        changed[name] = os.path.join(folder, name + ".db")
        copy_journal(whole + ".run", changed[name])
        db = sqlite3.connect(changed[name])
        db.executescript(sql)
        db.close()
    cases = {rows: "is not a gavel journal", fs.TINY: "is not a gavel journal", whole: "is not a gavel journal",
             os.path.join(folder, "other.db"): "is not a gavel journal", changed["trigger"]: "its tables are not those of schema 1",
             changed["table"]: "its tables are not those of schema 1", changed["view"]: "its tables are not those of schema 1",
             changed["version"]: "has schema 2, this gavel knows 1"}
    for source, part in cases.items():
        shutil.copyfile(source, journal)
        before = fs.read(journal)
        fs.fails_with(fs.run(fs.judge(rows, out, MODEL, ARGS)), "other.jsonl.run", part)
        fs.fails_with(fs.run([GAVEL, "inspect", journal]), "other.jsonl.run", part)
        if "journal" in part:
            fs.fails_with(fs.run(fs.judge(rows, out, MODEL, ARGS + ["--fresh"])), "other.jsonl.run", part)
        check(fs.read(journal) == before, f"{source}: the file was changed")
        check(not os.path.exists(out), "an output")
        os.remove(journal)
    os.mkdir(journal)
    fs.fails_with(fs.run(fs.judge(rows, out, MODEL, ARGS)), "other.jsonl.run")
    fs.fails_with(fs.run(fs.judge(rows, out, MODEL, ARGS + ["--fresh"])), "other.jsonl.run")
    os.rmdir(journal)
    with open(journal, "wb"):
        pass
    check(fs.run(fs.judge(rows, out, MODEL, ARGS)).rc == 0, "an empty file is a new journal")


def same_or_message(result, out, expected, what):
    """After a run on a damaged journal: the right output, or a message and no output."""
    check(result.rc in (0, 1), f"{what}: {result}")
    if result.rc == 0:
        fs.same_file(out, expected, what)
    else:
        check(re.match(r"gavel: ", result.err) and len(result.err) > 30, f"{what}: {result}")
        check(not os.path.exists(out), f"{what}: an output in spite of the failure")
    return result.rc == 0


def damaged_journals():
    """flipped bytes and cut ends of the journal and its log: the right output or a message, by judge, inspect and export alike"""
    out, saved, expected = half_done("damaged", ARGS)
    export = os.path.join(folder, "damaged-export.jsonl")
    copy_journal(saved, out + ".run")
    check(fs.run([GAVEL, "export", out + ".run", "--out", export]).rc == 0, "export of the whole one")
    true_lines = set(fs.read(export).splitlines())
    folded = saved + ".folded"
    copy_journal(out + ".run", folded)  # export closed it: all of it is in one file
    good = {}
    for source in (saved, folded):
        files = [s for s in ("", "-wal") if os.path.exists(source + s)]
        kinds = [(s, k) for s in files for k in ("flip", "cut", "zero", "noise")]
        n = 40 if not LONG else 400
        good[source] = [0, 0]
        for i in range(n):
            suffix, kind = kinds[i % len(kinds)]
            copy_journal(source, out + ".run")
            path = out + ".run" + suffix
            text = bytearray(fs.read(path))
            at = rng.randrange(len(text)) if rng.random() < 0.7 else rng.randrange(min(200, len(text)))
            if kind == "flip":
                text[at] ^= 1 << rng.randrange(8)
            elif kind == "cut":
                del text[at:]
            else:
                length = min(rng.choice([1, 16, 512, 4096]), len(text) - at)
                text[at:at + length] = bytes(length) if kind == "zero" else rng.randbytes(length)
            with open(path, "wb") as f:
                f.write(text)
            what = f"{os.path.basename(source)}{suffix}: {kind} at {at}"
            keep = os.path.join(folder, "damaged-copy.run")
            copy_journal(out + ".run", keep)
            good[source][not same_or_message(fs.run(fs.judge(rows, out, MODEL, ARGS)), out, expected, what)] += 1
            if os.path.exists(out):
                os.remove(out)
            for suffix2 in ("", "-wal"):
                if os.path.exists(export + suffix2):
                    os.remove(export + suffix2)
            exported = fs.run([GAVEL, "export", keep, "--out", export])
            if exported.rc == 0:
                wrong = set(fs.read(export).splitlines()) - true_lines
                check(not wrong, f"{what}: export wrote {sorted(wrong)[:2]}")
            else:
                fs.fails_with(exported, "damaged-copy.run")
                check(not os.path.exists(export), f"{what}: an export in spite of the failure")
            copy_journal(out + ".run", keep)
            shown = fs.run([GAVEL, "inspect", keep])
            check(shown.rc in (0, 1) and (shown.rc == 0 or shown.err.startswith("gavel: ")), f"{what}: inspect: {shown}")
    for source, (right, refused) in good.items():
        print(f"  {os.path.basename(source)}: {right} with the right output, {refused} refused")


def digest(key, failed, body):
    """docs/journal.md"""
    return int.from_bytes(hashlib.sha256(key.to_bytes(8, "big") + bytes([failed]) + body).digest()[:8], "big", signed=True)


def lost_settings():
    """records without the settings that they were made with: refused"""
    out, saved, _ = half_done("lost", ARGS)
    for name in ("settings", "model_name"):
        copy_journal(saved, out + ".run")
        db = sqlite3.connect(out + ".run")
        db.execute("DELETE FROM meta WHERE name = ?", (name,))
        db.commit()
        db.close()
        commands = [[GAVEL, "export", out + ".run", "--out", out]] + ([fs.judge(rows, out, MODEL, ARGS)] if name == "settings" else [])
        for cmd in commands:
            fs.fails_with(fs.run(cmd), "lost.jsonl.run is damaged", f'it has records but no text "{name}"')
            check(not os.path.exists(out), "an output")


def damaged_records():
    """records that SQLite finds whole but gavel did not write so: refused with the row named, with and without the right digest"""
    out, saved, expected = half_done("records", ARGS)
    copy_journal(saved, out + ".run")
    check(fs.run(fs.judge(rows, out, MODEL, ARGS)).rc == 0, "the run")
    os.remove(out)
    whole = saved + ".whole"
    copy_journal(out + ".run", whole)
    body = fs.Journal(whole, os.path.join(folder, "look")).rows[3].decode()
    g = json.loads(body)
    db = sqlite3.connect(whole)
    stored = db.execute("SELECT digest FROM record WHERE key = ?", (3 << 27,)).fetchone()[0]
    db.close()
    check(digest(3 << 27, 0, body.encode()) == stored, "docs/journal.md describes another digest")
    bad = [b"", b"{", b"[]", b"null", b"{}", b"\xff" * 20, body[:-1].encode(), body.replace('"ok"', '"error"').encode(),
           body.replace('"ok"', '"good"').encode(), re.sub(r'"verdict":\d', '"verdict":6', body).encode(),  re.sub(r'"verdict":\d', '"verdict":true', body).encode(), json.dumps({**g, "feedback": 5}).encode(),
           json.dumps({**g, "row_hash": "00"}).encode(), json.dumps({**g, "raw": ["x"]}).encode(), b"[" * 100000]
    for text in bad:
        copy_journal(whole, out + ".run")
        for said, signed in (("is damaged: the record of row 3 is not as it was written", False), ("row 3: judgment record", True)):
            new_digest = digest(3 << 27, 0, text) if signed else 0
            db = sqlite3.connect(out + ".run")
            db.execute("UPDATE record SET body = ?, digest = ? WHERE key = ?", (text, new_digest, 3 << 27))
            db.commit()
            db.close()
            for cmd in (fs.judge(rows, out, MODEL, ARGS), [GAVEL, "export", out + ".run", "--out", out], [GAVEL, "inspect", out + ".run"],
                        [GAVEL, "parse", out + ".run"]):
                fs.fails_with(fs.run(cmd), "records.jsonl.run", said)
                check(not os.path.exists(out), f"an output with record {text[:60]!r}")
    print(f"  {len(bad)} records")


fs.main([changed_settings_are_refused, changed_input_is_refused, other_files_are_left_alone, damaged_journals, lost_settings, damaged_records])
