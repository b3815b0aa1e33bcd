"""What a run costs beside the model: memory for 100,000 rows, time in the journal, progress and resume.

The child's memory is its peak resident set (getrusage), the time what gavel reports itself with --json.
"""
import json
import os
import subprocess

import support
from support import GAVEL, RUBRIC, SMOLLM2, Skip, environment, judge, read, rows, sanitized, tiny, write

N = 100000


def judge_measured(*args):
    """Seconds and peak MB of one gavel judge, in a process that has no other child."""
    script = ("import resource, subprocess, sys, time; t = time.monotonic(); code = subprocess.run(sys.argv[1:]).returncode; "
              "print(code, time.monotonic() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)")
    command = [support.sys.executable, "-c", script, GAVEL, "judge", "in.jsonl", "--rubric", RUBRIC, "--quiet", *args]
    code, seconds, megabytes = subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout.split()
    assert code == "0", code
    return float(seconds), float(megabytes)


def a_hundred_thousand_rows_stay_under_200_mb(_):
    support.need_mock()
    if sanitized():
        raise Skip("a sanitizer keeps freed memory")
    with open("in.jsonl", "w", encoding="utf-8") as f:
        for i in range(N):
            f.write(json.dumps({"id": "row-%d" % i, "instruction": "Name the number after %d." % i, "generation": "It is %d. " % (i + 1) + "More text. " * 60}) + "\n")
    seconds, megabytes = judge_measured("--model", "mock", "--out", "out.jsonl", "--id-col", "id")
    print("      %d rows: %.1f s, %.0f MB" % (N, seconds, megabytes))
    assert megabytes < 80, megabytes  # 200 are promised; more than 80 means that something is kept for each row
    with open("out.jsonl", encoding="utf-8") as f:
        for i, line in enumerate(f):
            row = json.loads(line)
            assert row["id"] == "row-%d" % i and row["status"] == "ok" and row["result"] in (1, 2, 3, 4, 5), row
    assert i == N - 1
    first = read("out.jsonl")
    again, megabytes = judge_measured("--model", "mock", "--out", "out.jsonl", "--id-col", "id")
    print("      the same again, all judged before: %.1f s, %.0f MB" % (again, megabytes))
    assert megabytes < 80 and again < max(seconds, 5) and read("out.jsonl") == first


def shares(model, n, *args):
    write("in.jsonl", rows(n))
    end = judge("in.jsonl", "out.jsonl", "--json", *args, model=model).events("end")[0]
    resumed = judge("in.jsonl", "out.jsonl", "--json", *args, model=model).events("end")[0]
    assert resumed["before"] == n
    print("      %d rows in %.2f s: journal %.2f %%, progress %.2f %%, a resume of all rows %.2f %%" % (
        n, end["elapsed_s"], 100 * end["journal_s"] / end["elapsed_s"], 100 * end["progress_s"] / end["elapsed_s"], 100 * resumed["elapsed_s"] / end["elapsed_s"]))
    return end, resumed


def journal_progress_and_resume_take_under_one_percent_of_a_real_run(_):
    if not os.path.exists(SMOLLM2):
        raise Skip("SmolLM2 is not in the cache (script/fetch.py smollm2)")
    if sanitized():
        raise Skip("under a sanitizer times say nothing")
    end, resumed = shares(SMOLLM2, 24, "--max-tokens", "80")
    assert end["journal_s"] + end["progress_s"] + resumed["elapsed_s"] < 0.01 * end["elapsed_s"], (end, resumed)


def a_journal_entry_takes_less_than_a_millisecond(_):
    if sanitized():
        raise Skip("under a sanitizer times say nothing")
    end, _unused = shares(tiny("llama"), 100, "--max-tokens", "20")
    # one sync to the disk at the end of a run is not a cost of a row
    assert end["journal_s"] < 0.1 + 0.001 * 100, end


def the_output_of_many_rows_is_written_as_they_are_read(_):
    """A run over rows of 200 KB each does not hold them: 400 of them are 80 MB."""
    support.need_mock()
    if sanitized():
        raise Skip("a sanitizer keeps freed memory")
    with open("in.jsonl", "w", encoding="utf-8") as f:
        for i in range(400):
            f.write(json.dumps({"instruction": "x%d" % i, "generation": "y " * 100000}) + "\n")
    _seconds, megabytes = judge_measured("--model", "mock", "--out", "out.csv")
    print("      400 rows of 200 KB: %.0f MB" % megabytes)
    assert megabytes < 60, megabytes


support.main([a_hundred_thousand_rows_stay_under_200_mb, journal_progress_and_resume_take_under_one_percent_of_a_real_run, a_journal_entry_takes_less_than_a_millisecond,
              the_output_of_many_rows_is_written_as_they_are_read])
