"""--memory holds: the peak resident set of a whole `gavel judge`, loading included, while more rows wait than fit.

Measured as ru_maxrss of a process that has no other child (Linux counts pages of mapped files too).  With GAVEL_LONG also on a model of
Mistral-7B's shape with 2 layers, made in a folder of its own: 0.8 GB.
"""
import os
import random
import subprocess
import sys

import support
from support import GAVEL, ROOT, RUBRIC, SMOLLM2, Skip, environment, judge, read, refused, sanitized, table, tiny, write

WORDS = "alpha river stone garden window paper music number answer letter silver orange winter summer doctor engine branch castle market yellow".split()


def words(rng, n):
    return " ".join(rng.choice(WORDS) for _ in range(n))


def long_rows(n, n_words):
    """No two prompts share more than what the style puts in front."""
    rng = random.Random(7)
    return [{"instruction": "%d %s" % (i, words(rng, n_words // 4)), "generation": words(rng, n_words - n_words // 4)} for i in range(n)]


def judge_measured(model, memory, *more):
    """Peak MiB and the messages of one gavel judge of in.jsonl."""
    script = ("import resource, subprocess, sys; p = subprocess.run(sys.argv[1:], stderr=subprocess.PIPE); sys.stderr.buffer.write(p.stderr); "
              "print(p.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)")
    command = [sys.executable, "-c", script, GAVEL, "judge", "in.jsonl", "--model", model, "--rubric", RUBRIC, "--out", "out.jsonl", "--fresh", "--memory", memory, *more]
    p = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    code, megabytes = p.stdout.split()
    assert code == "0", p.stderr
    return float(megabytes), p.stderr


def holds(model, mib, n_rows, *more):
    peak, said = judge_measured(model, "%dM" % mib, "--max-tokens", "12", *more)
    print("      %d rows, --memory %dM: peak %.0f MiB" % (n_rows, mib, peak))
    assert peak <= mib, said
    assert all(r["status"] == "ok" for r in table("out.jsonl")) and len(table("out.jsonl")) == n_rows
    assert "MiB of weights repacked in " in said, said
    return peak


def no_sanitizer():
    if sanitized():
        raise Skip("a sanitizer takes memory of its own")


def a_small_model_stays_within_the_least_that_works(_):
    no_sanitizer()
    write("in.jsonl", long_rows(40, 16))
    holds(tiny("llama"), 24, 40)
    first = read("out.jsonl")
    holds(tiny("llama"), 300, 40)
    assert read("out.jsonl") == first, "results do not depend on memory"


def a_real_model_stays_within_what_forces_rows_to_wait(_):
    no_sanitizer()
    if not os.path.exists(SMOLLM2):
        raise Skip("SmolLM2 is not in the cache (script/fetch.py smollm2)")
    write("in.jsonl", long_rows(14, 100))
    peak = holds(SMOLLM2, 196, 14, "--ctx", "768")
    assert peak > 150, "the pages of several rows were in use"


def too_little_is_refused_by_name_before_anything_is_loaded(_):
    write("in.jsonl", long_rows(1, 10))
    done = judge("in.jsonl", "out.jsonl", "--memory", "8M", "--ctx", "1024", model=tiny("llama"))
    refused(done, 1, "a context of 1024 tokens needs ", " MiB, 8 MiB are allowed (--memory, --ctx)")
    need = int(done.err.split("tokens needs ")[1].split(" MiB")[0])
    judge("in.jsonl", "out.jsonl", "--memory", "%dM" % need, "--ctx", "1024", "--max-tokens", "5", model=tiny("llama"), want=0)
    refused(judge("in.jsonl", "out2.jsonl", "--memory", "%dM" % (need - 1), "--ctx", "1024", model=tiny("llama")), 1, "a context of 1024 tokens needs %d MiB" % need)
    refused(judge("in.jsonl", "out2.jsonl", "--memory", "100K", model=tiny("llama", "f32")), 1, "the weights need 0 MiB, --memory allows 0 MiB")


def shape_model(folder):
    """A venv and a model of 2 layers."""
    python = os.path.join(folder, "venv", "bin", "python")
    steps = [[sys.executable, "-m", "venv", os.path.join(folder, "venv")],
             [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "numpy", "gguf", "sentencepiece"],
             [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "mistral-common"],
             [python, os.path.join(ROOT, "bench", "make_shape_model.py"), "--layers", "2", "--out", "shape.gguf"]]
    for step in steps:
        p = subprocess.run(step, capture_output=True, text=True, check=False)
        if p.returncode != 0:
            raise Skip("%s: %s" % (" ".join(step[:4]), (p.stderr.strip().split("\n") or [""])[-1]))
    return os.path.join(folder, "shape.gguf")


def a_model_of_mistrals_shape_stays_within_it(folder):
    no_sanitizer()
    if not os.environ.get("GAVEL_LONG"):
        raise Skip("it takes minutes (GAVEL_LONG=1, script/test --long)")
    model = shape_model(folder)
    write("in.jsonl", long_rows(24, 1400))
    peak = holds(model, 1152, 24, "--chat-template", "mistral")
    assert peak > 900, "the pages of several rows were in use"
    peak, said = judge_measured(model, "1152M", "--chat-template", "mistral", "--max-tokens", "12", "--weights-cache", "w")
    first = read("out.jsonl")
    peak, said = judge_measured(model, "1152M", "--chat-template", "mistral", "--max-tokens", "12", "--weights-cache", "w")
    print("      from the weights cache: peak %.0f MiB" % peak)
    assert peak <= 1152 and "of weights from the cache" in said and read("out.jsonl") == first, said


support.main([a_small_model_stays_within_the_least_that_works, a_real_model_stays_within_what_forces_rows_to_wait, too_little_is_refused_by_name_before_anything_is_loaded,
              a_model_of_mistrals_shape_stays_within_it])
