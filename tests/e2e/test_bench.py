"""gavel bench: every kind prints well-formed CSV, what does not go together is refused, and judging computes as many prompt tokens as pages of 32 that
are computed once make necessary.  Nothing here is about speed: the machine may be busy."""
import csv
import io
import json
import re
import subprocess
import sys

import support
from support import ROOT, refused, run, tiny, write

sys.path.insert(0, ROOT + "/bench")
import judge_load  # noqa: E402

PEAKS = ["int8_gops", "fma_gflops", "read_gb_s"]
RESULT = [*PEAKS, "bound", "ops_share", "read_share", "samples", "discarded"]
HASTE = ["--peak-ms", "1", "--runs", "1", "--max-discarded", "2"]
TEXT = {"bench", "model", "kernels", "type", "bound", "int8_instructions"}


def table(done):
    """The rows of the CSV: numbers where a column holds numbers, None for an empty field."""
    lines = list(csv.reader(io.StringIO(done.out)))
    assert len({len(line) for line in lines}) == 1 and len(set(lines[0])) == len(lines[0]), done.out
    for name in lines[0]:
        assert re.fullmatch("[a-z0-9_]+", name), name
    return [{name: value if name in TEXT else float(value) if value else None for name, value in zip(lines[0], line)} for line in lines[1:]]


def check_result(done, row, value):
    """A sample that counts gives all figures; without one (the machine was busy) they are empty, and a warning says so."""
    assert list(row)[-len(RESULT):] == RESULT, row
    assert row["bound"] in ("int8", "fma", "read") and row["samples"] in (0, 1) and 0 <= row["discarded"] <= 3, row
    if row["samples"]:
        assert row["discarded"] <= 2 and row[value] > 0 and row["int8_gops"] > 0 and row["fma_gflops"] > 0 and row["ops_share"] >= 0, row
    else:
        assert row["discarded"] == 3 and row[value] is None and row["int8_gops"] is None, row
        assert "0 of 1 samples count, 3 were discarded because the %s peaks before and after differ by more than 5 %%" % row["bound"] in done.err, done.err


def kernel_sets():
    return re.search(r"kernel sets: (.*?);", run("inspect", "--cpu", want=0).out)[1].replace(" (VNNI)", "").split()


def peaks_are_measured_for_every_kernel_set(_):
    for name in kernel_sets():
        (row,) = table(run("bench", "peaks", "--kernels", name, "--bytes", "1M", "--peak-ms", "1", "--threads", "2", want=0))
        assert list(row) == ["bench", "kernels", "int8_instructions", "threads", *PEAKS] and row["bench"] == "peaks", row
        assert row["kernels"] == name and row["threads"] == 2 and row["int8_instructions"] and all(row[p] > 0 for p in PEAKS), row


def products_of_every_type_stream_the_bytes_asked_for(_):
    done = run("bench", "kernels", "--bytes", "2M", "--columns", "1,5", *HASTE, want=0)
    got = table(done)
    types = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "F16", "BF16", "F32"]
    assert [(r["type"], r["columns"]) for r in got] == [(t, n) for t in types for n in (1, 5)], done.out
    bits = {"Q8_0": 8.5, "Q4_K": 4.5, "Q6_K": 6.5625, "F16": 16, "F32": 32}
    for row in got:
        check_result(done, row, "gops")
        assert row["file_bytes"] <= row["packed_bytes"] <= 1.03 * row["file_bytes"] and 1.5e6 < row["packed_bytes"] <= 2 << 20, row
        assert row["type"] not in bits or row["file_bytes"] == row["rows"] * row["cols"] * bits[row["type"]] / 8, row
    for name in kernel_sets():
        (row,) = table(run("bench", "kernels", "--kernels", name, "--types", "q4_k", "--columns", "2", "--bytes", "512K", *HASTE, want=0))
        assert (row["kernels"], row["type"], row["columns"]) == (name, "Q4_K", 2), row


def prompts_and_sequences_of_a_model_are_measured(_):
    done = run("bench", "prefill", "--model", tiny("llama"), "--tokens", "40,100", "--prompt-chunk", "64", *HASTE, want=0)
    got = table(done)
    assert [(r["tokens"], r["chunk"]) for r in got] == [(40, 64), (100, 64)], done.out
    for row in got:
        check_result(done, row, "tokens_s")
        assert row["model"] == "llama-Q8_0.gguf" and 0 < row["file_bytes"] <= row["packed_bytes"] <= 1.03 * row["file_bytes"], row
    done = run("bench", "decode", "--model", tiny("qwen2"), "--sequences", "1,3", "--context", "0,32,70", "--tokens", "4", *HASTE, want=0)
    got = table(done)
    assert [(r["sequences"], r["context"], r["tokens"]) for r in got] == [(s, c, 4) for s in (1, 3) for c in (1, 32, 70)], done.out
    for row in got:
        check_result(done, row, "tokens_s")
        if row["samples"]:
            assert abs(row["prefill_ratio"] - row["tokens_s"] / row["prefill_tokens_s"]) < 1e-3 * row["prefill_ratio"] + 1e-4, row


def token_ids(texts, model):
    """With the BOS that the model's tokenizer adds."""
    return [[1] + line["ids"] for line in run("tokenize", "--model", model, stdin=[{"text": t} for t in texts], want=0).lines()]


def computed_by_pages(prompts):
    """Prompt tokens to compute when each page of 32 tokens is computed once and the last token of a prompt always."""
    seen, total = set(), 0
    for ids in prompts:
        cached = 0
        while cached + 32 <= len(ids) and tuple(ids[:cached + 32]) in seen:
            cached += 32
        total += max(1, len(ids) - cached)
        seen.update(tuple(ids[:n]) for n in range(32, len(ids) + 1, 32))
    return total


def judge(source, *more):
    done = run("bench", "judge", source, "--model", tiny("mistral"), "--ctx", "8192", "--chat-template", "none", "--tokens", "5", *HASTE, *more, want=0)
    (row,) = table(done)
    check_result(done, row, "judgments_min")
    assert row["tokens"] == 5 and row["output_tokens"] == 5 * row["judgments"], row
    assert row["computed_prompt_tokens"] == row["prompt_tokens"] - row["cached_tokens"], row
    return row


def judging_computes_each_page_of_the_prompts_once(_):
    texts = judge_load.prompts(5, skip=2)  # answers to two questions
    judge_load.write_prompts("prompts.jsonl", texts)
    ids = token_ids(texts, tiny("mistral"))
    all_tokens, computed = sum(map(len, ids)), computed_by_pages(ids)
    assert computed < 0.9 * all_tokens
    for batch in ("1", "32"):
        row = judge("prompts.jsonl", "--prompt", "raw", "--max-batch", batch)
        assert (row["rows"], row["judgments"], row["max_batch"]) == (5, 5, int(batch)), row
        assert (row["prompt_tokens"], row["computed_prompt_tokens"]) == (all_tokens, computed), (row, all_tokens, computed)
    row = judge("prompts.jsonl", "--prompt", "raw", "--no-prefix-cache")
    assert row["computed_prompt_tokens"] == all_tokens, row
    row = judge("prompts.jsonl", "--prompt", "raw", "--limit", "2", "--samples", "8")
    assert row["judgments"] == 16 and row["computed_prompt_tokens"] == computed_by_pages([p for p in ids[:2] for _ in range(8)]), row
    assert row["computed_prompt_tokens"] < len(ids[0]) + len(ids[1]) + 2 * 7 * 33


def several_rubrics_share_the_pages_before_the_rubric(_):
    with open(ROOT + "/demo/rows.jsonl", encoding="utf-8") as f:
        write("rows.jsonl", [json.loads(line) for line in f][:3])
    names = ["helpfulness", "harmlessness", "honesty", "factual-validity"]
    shown = {n: run("render", "rows.jsonl", "--rubric", n, "--model", tiny("mistral"), "--chat-template", "none", want=0).lines() for n in names}
    ids = token_ids([shown[n][i]["prompt"] for i in range(3) for n in names], tiny("mistral"))
    one, four = judge("rows.jsonl"), judge("rows.jsonl", "--rubrics", "4")
    assert (one["rubrics"], one["judgments"], four["rubrics"], four["judgments"]) == (1, 3, 4, 12), (one, four)
    assert one["computed_prompt_tokens"] == computed_by_pages(ids[::4]) and four["computed_prompt_tokens"] == computed_by_pages(ids), (one, four)
    named = judge("rows.jsonl", "--rubric", "honesty", "--rubric", "helpfulness")
    assert named["computed_prompt_tokens"] == computed_by_pages([ids[4 * i + k] for i in range(3) for k in (2, 0)]), named


def script_bench_measures_without_peers(folder):
    done = subprocess.run([sys.executable, ROOT + "/script/bench", "--gavel", support.GAVEL, "--engines", "gavel", "--parts", "prefill,decode", "--model", tiny("llama"),
                           "--runs", "1", "--threads", "1", "--out", "samples.csv"], capture_output=True, text=True, check=False,
                          env=support.environment(GAVEL_CACHE=folder))
    assert done.returncode == 0, done.stderr
    with open("samples.csv", encoding="utf-8", newline="") as f:
        got = list(csv.DictReader(f))
    assert [(r["part"], r["engine"], r["run"], r["unit"]) for r in got] == [(p, "gavel", "0", "tokens/s") for p in ("prefill", "decode")], got
    assert re.fullmatch(r"(?:(?:prefill|decode) +model +gavel +\S+ tokens/s +discarded \d+\s*\n){2}", done.stdout), done.stdout
    done = subprocess.run([sys.executable, ROOT + "/script/bench", "--engines", "gavle"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "gavle is not one of gavel, gavel-many" in done.stderr, done.stderr
    done = subprocess.run([sys.executable, ROOT + "/script/bench", "--gavel", support.GAVEL, "--sweep", "--engines", "ik_llama.cpp", "--model", tiny("llama"),
                           "--ik-source", "nowhere"], capture_output=True, text=True, check=False, env=support.environment(GAVEL_CACHE=folder))
    assert done.returncode == 0 and done.stderr == "ik_llama.cpp is left out: nowhere holds no sources\n" and done.stdout == "", (done.stdout, done.stderr)


def what_does_not_go_together_is_refused(_):
    write("in.jsonl", [{"instruction": "x", "generation": "y"}])
    model = ["--model", tiny("llama")]
    for args, part in ((["kernel"], "bench: kernel is not one of peaks, kernels, prefill, decode, judge; did you mean kernels?"), ([], "missing argument"),
                       (["peaks", "--runs", "2"], "bench peaks has no use for --runs"), (["kernels", *model], "bench kernels has no use for --model"),
                       (["prefill", *model, "--sequences", "2"], "bench prefill has no use for --sequences"), (["decode", *model, "--limit", "2"], "has no use for --limit"),
                       (["judge", "in.jsonl", *model, "--types", "F16"], "bench judge has no use for --types"), (["prefill"], "no model given"),
                       (["judge", *model], "bench judge: no input given"), (["peaks", "in.jsonl"], "bench peaks takes no input"),
                       (["kernels", "--columns", "0"], "--columns 0: expected whole numbers from 1 to 4096"), (["kernels", "--columns", "1,,2"], "--columns 1,,2: expected"),
                       (["kernels", "--columns", "1,"], "--columns 1,: expected"), (["kernels", "--types", "Q9"], "--types Q9: Q9 is no type of weights"),
                       (["kernels", "--bytes", "64K", "--types", "F32"], "--bytes 65536: 16 rows of F32 take 262144"), (["prefill", *model, "--tokens", "x"], "--tokens x: expected"),
                       (["decode", *model, "--tokens", "1,2"], "--tokens 1,2: decode takes one number"), (["judge", "in.jsonl", *model, "--tokens", "1,2"], "judge takes one number"),
                       (["judge", "in.jsonl", *model, "--rubrics", "6"], "--rubrics 6: there are 5 built-in rubrics"), (["peaks", "--kernels", "sse"], "is not one of"),
                       (["judge", "in.jsonl", *model, "--rubrics", "2", "--rubric", "honesty"], "--rubric and --rubrics exclude each other"),
                       (["judge", "in.jsonl", *model, "--prompt", "raw", "--rubrics", "2"], "--prompt raw takes no rubric")):
        refused(run("bench", *args), 2, part)


def what_cannot_be_measured_is_an_error(_):
    write("in.jsonl", [{"instruction": "x", "generation": "y"}])
    write("bad.jsonl", "{\n")
    write("column.jsonl", [{"instruction": "x"}])
    model = ["--model", tiny("llama"), "--chat-template", "none", *HASTE]
    refused(run("bench", "prefill", "--model", "none.gguf"), 1, "none.gguf")
    refused(run("bench", "judge", "in.jsonl", "--model", "none.gguf"), 1, "none.gguf")
    refused(run("bench", "judge", "none.jsonl", *model), 1, "cannot open none.jsonl")
    refused(run("bench", "judge", "bad.jsonl", *model), 1, "row 0: bad.jsonl:1: ")
    refused(run("bench", "judge", "column.jsonl", *model), 2, "row 0: ", "generation")
    refused(run("bench", "judge", "in.jsonl", *model, "--ctx", "64", "--tokens", "5"), 1, "row 0: the prompt has ")
    refused(run("bench", "judge", "in.jsonl", *model, "--tokens", "100000"), 1, "row 0: ", " of 100000 tokens fit into the context (--ctx)")


support.main([peaks_are_measured_for_every_kernel_set, products_of_every_type_stream_the_bytes_asked_for, prompts_and_sequences_of_a_model_are_measured,
              judging_computes_each_page_of_the_prompts_once, several_rubrics_share_the_pages_before_the_rubric,
              script_bench_measures_without_peers, what_does_not_go_together_is_refused,
              what_cannot_be_measured_is_an_error])
