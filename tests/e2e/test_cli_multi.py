"""Several rubrics and several samples a row: columns, null values, --keep, settings, resume, kill -9, --retry-failed, export, shared prefixes."""
import csv
import os
import random
import signal
import statistics

import support
from support import finish, judge, read, refused, rows, run, start, table, tiny, wait_until, write

TWO = ["--rubric", "honesty"]  # beside helpfulness, which support.judge gives
THREE_SAMPLES = ["--samples", "3", "--temperature", "1"]
BASE = ["feedback", "result", "status", "message"]
SUMS = ["result_mean", "result_mode", "result_spread", "result_count"]


def prefixed(name, columns):
    return ["%s_%s" % (name, c) for c in columns]


def records(out):
    run("export", out + ".run", "--all", "--out", "export.jsonl", want=0)
    return table("export.jsonl")


def mode_of(values):
    best = max((values.count(v) for v in values), default=0)
    found = sorted({v for v in values if values.count(v) == best})
    return found[0] if found and isinstance(found[0], int) else found[0] if len(found) == 1 else None


def page_granular(model, source, rubrics, n_samples):
    """Prompt tokens that must be computed, counted without the engine: whole pages of 32 tokens once, the rest and the last token by each."""
    seen, computed = set(), 0
    shown = {r: run("render", source, "--rubric", r, "--model", model, want=0).lines() for r in rubrics}
    for row in range(len(shown[rubrics[0]])):
        for r in rubrics:
            ids = run("tokenize", "--model", model, "--special", stdin=[{"text": shown[r][row]["prompt"]}], want=0).lines()[0]["ids"]
            pages = [tuple(ids[:end]) for end in range(32, len(ids) + 1, 32)]
            for _ in range(n_samples):
                found = sum(p in seen for p in pages)  # a page is found only behind its own beginning, which the key holds
                computed += len(ids) - min(32 * found, len(ids) - 1)
                seen.update(pages)
    return computed


def one_rubric_and_one_sample_are_as_ever(_):
    write("in.jsonl", rows(6))
    judge("in.jsonl", "out.jsonl", want=0)
    judge("in.jsonl", "same.jsonl", "--samples", "1", want=0)
    assert read("out.jsonl") == read("same.jsonl")
    assert list(table("out.jsonl")[0]) == ["instruction", "generation"] + BASE + ["model_name"], table("out.jsonl")[0]
    assert isinstance(table("out.jsonl")[0]["result"], int)


def several_rubrics_give_what_each_gives_alone(_):
    write("in.jsonl", rows(6))
    write("own.txt", "[Is it short?]\n" + "\n".join("Score %d: %d" % (i, i) for i in range(1, 6)))
    judge("in.jsonl", "all.jsonl", *TWO, "--rubric", "own.txt", "--expected-score", want=0)
    got = table("all.jsonl")
    per = BASE + ["expected_score"]
    assert list(got[0]) == ["instruction", "generation"] + prefixed("helpfulness", per) + prefixed("honesty", per) + prefixed("own", per) + ["model_name"], got[0]
    for name, spec in (("helpfulness", "helpfulness"), ("honesty", "honesty"), ("own", "own.txt")):
        judge("in.jsonl", "alone.jsonl", "--fresh", "--expected-score", rubric=spec, want=0)
        for a, b in zip(table("alone.jsonl"), got):
            assert all(a[c] == b["%s_%s" % (name, c)] for c in per), (name, a, b)


def several_samples_are_lists_with_mean_mode_and_spread(_):
    write("in.jsonl", rows(8))
    judge("in.jsonl", "out.jsonl", "--samples", "5", "--temperature", "1", "--expected-score", want=0)
    judge("in.jsonl", "one.jsonl", "--temperature", "1", "--expected-score", want=0)
    for r, first in zip(table("out.jsonl"), table("one.jsonl")):
        assert list(r) == ["instruction", "generation"] + BASE + ["model_name"] + SUMS + ["expected_score", "expected_score_mean"], r
        assert all(len(r[c]) == 5 for c in BASE + ["expected_score"]) and r["status"] == ["ok"] * 5 and r["message"] == [None] * 5, r
        assert len(set(r["feedback"])) == 5, "each sample has random numbers of its own"
        assert [r[c][0] for c in BASE + ["expected_score"]] == [first[c] for c in BASE + ["expected_score"]], "sample 0 is that of a run with one"
        assert abs(r["result_mean"] - statistics.mean(r["result"])) < 1e-12 and abs(r["result_spread"] - statistics.pstdev(r["result"])) < 1e-12, r
        assert r["result_mode"] == mode_of(r["result"]) and r["result_count"] == 5, r
        assert abs(r["expected_score_mean"] - statistics.mean(r["expected_score"])) < 1e-12, r


def pairs_have_a_mode_and_a_share_of_a(_):
    write("in.jsonl", [{"instruction": "q%d" % i, "generations": ["a", "b%d" % i]} for i in range(12)])
    judge("in.jsonl", "out.jsonl", "--mode", "relative", "--samples", "4", "--temperature", "1", want=0)
    got = table("out.jsonl")
    for r in got:
        assert list(r)[-4:] == ["model_name", "result_share_a", "result_mode", "result_count"], r
        assert r["result_share_a"] == r["result"].count("A") / 4 and r["result_mode"] == mode_of(r["result"]), r
    assert {r["result_mode"] for r in got} == {"A", "B", None}, "a draw of A and B is no mode"


def what_failed_is_null_in_its_place_and_columns_stay(_):
    data = rows(6)
    data[2]["generation"] = 7
    write("in.jsonl", data)
    args = TWO + THREE_SAMPLES + ["--verdict", "strict"]
    done = judge("in.jsonl", "out.jsonl", *args, model="mock:fail=4", want=3)
    assert done.err.endswith("gavel: warning: out.jsonl: 12 of 36 judgments have no verdict (6 unparsable, 6 bad_input); --retry-failed judges them again\n"), done.err
    got = table("out.jsonl")
    for i, r in enumerate(got):
        for name in ("helpfulness", "honesty"):
            v = {c: r["%s_%s" % (name, c)] for c in BASE + SUMS}
            want = ["bad_input" if i == 2 else "unparsable" if (i + k) % 4 == 3 else "ok" for k in range(3)]
            assert v["status"] == want, (i, v)
            assert [x is None for x in v["result"]] == [x is None for x in v["feedback"]] == [s != "ok" for s in want], v
            assert [x is None for x in v["message"]] == [s == "ok" for s in want], v
            good = [x for x in v["result"] if x is not None]
            assert v["result_count"] == len(good) and v["result_mean"] == (statistics.mean(good) if good else None), v
    judge("in.jsonl", "bad.csv", *args, model="mock:error=1", want=3)
    judge("in.jsonl", "good.csv", *args, want=3)
    with open("bad.csv", newline="") as b, open("good.csv", newline="") as g:
        bad, good = list(csv.reader(b)), list(csv.reader(g))
    assert bad[0] == good[0] == list(got[0]), "the same columns when everything fails"
    assert bad[1][bad[0].index("honesty_result")] == "[null, null, null]" and bad[1][bad[0].index("honesty_result_mean")] == "", bad[1]
    assert good[1][good[0].index("honesty_result")].count(",") == 2


def keep_takes_the_new_names_and_suggests_them(_):
    write("in.jsonl", rows(3))
    judge("in.jsonl", "out.csv", *TWO, *THREE_SAMPLES, "--keep", "honesty_result_mean,instruction,helpfulness_result", want=0)
    assert read("out.csv").decode().split("\n")[0] == "honesty_result_mean,instruction,helpfulness_result"
    refused(judge("in.jsonl", "x.csv", *TWO, "--keep", "helpfullness_result"), 2, 'no column "helpfullness_result" to keep', 'did you mean "helpfulness_result"?')
    refused(judge("in.jsonl", "x.csv", *TWO, "--keep", "result"), 2, 'no column "result" to keep')
    refused(judge("in.jsonl", "x.csv", "--keep", "result_mean"), 2, 'no column "result_mean" to keep')


def wrong_use_is_refused_before_anything_is_judged(_):
    write("in.jsonl", rows(2))
    os.mkdir("a")
    for folder in (".", "a"):
        write(folder + "/r.txt", "[Is it?]\n" + "\n".join("Score %d: %s" % (i, folder) for i in range(1, 6)))
    refused(judge("in.jsonl", "x.jsonl", "--rubric", "helpfulness"), 2, 'two rubrics have the name "helpfulness", so both would have the column "helpfulness_result"')
    refused(judge("in.jsonl", "x.jsonl", "--rubric", "a/r.txt", rubric="r.txt"), 2, 'two rubrics have the name "r"')
    refused(judge("in.jsonl", "x.jsonl", "--rubric", "nonsense"), 2, "unknown rubric")
    refused(judge("in.jsonl", "x.jsonl", "--samples", "4"), 2, "--samples 4 at temperature 0 would be the same answer 4 times", "--temperature")
    refused(judge("in.jsonl", "x.jsonl", "--samples", "4", "--preset", "distilabel", "--temperature", "0"), 2, "the same answer 4 times")
    refused(judge("in.jsonl", "x.jsonl", "--samples", "1025", "--temperature", "1"), 2, "1025 is not in 1 to 1024")
    assert not os.path.exists("x.jsonl.run")
    judge("in.jsonl", "x.jsonl", "--samples", "2", "--preset", "distilabel", want=0)


def changed_rubrics_and_samples_are_refused_by_name(_):
    write("in.jsonl", rows(2))
    judge("in.jsonl", "out.jsonl", *TWO, *THREE_SAMPLES, want=0)
    first = read("out.jsonl")
    refused(judge("in.jsonl", "out.jsonl", *TWO, "--samples", "2", "--temperature", "1"), 1, "other settings: samples was 3, is now 2. Repeat")
    refused(judge("in.jsonl", "out.jsonl", *THREE_SAMPLES), 1, "rubrics was 2 (helpfulness, honesty), is now 1; rubric sha256 was ")
    refused(judge("in.jsonl", "out.jsonl", "--rubric", "helpfulness", *THREE_SAMPLES, rubric="honesty"), 1, "is now 2 (honesty, helpfulness)")
    assert read("out.jsonl") == first
    judge("in.jsonl", "alone.jsonl", want=0)
    refused(judge("in.jsonl", "alone.jsonl", *TWO), 1, "rubrics was 1, is now 2 (helpfulness, honesty)")


def export_inspect_and_parse_tell_rubric_and_sample(_):
    write("in.jsonl", rows(4))
    judge("in.jsonl", "out.jsonl", *TWO, *THREE_SAMPLES, "--verdict", "strict", model="mock:fail=4", want=3)
    want = [(row, name, k) for row in range(4) for name in ("helpfulness", "honesty") for k in range(3)]
    for r in ([records("out.jsonl")] + [run("parse", "out.jsonl.run", want=0).lines()]):
        assert [(x["row"], x["rubric"], x["sample"]) for x in r] == want, r
    run("export", "out.jsonl.run", "--out", "short.jsonl", want=0)
    assert list(table("short.jsonl")[0]) == ["row", "id", "rubric", "sample", "feedback", "result", "status", "message", "model_name"]
    by = {(x["row"], x["rubric"], x["sample"]): x["result"] for x in table("short.jsonl")}
    for i, r in enumerate(table("out.jsonl")):
        assert all(r[n + "_result"][k] == by[i, n, k] for n in ("helpfulness", "honesty") for k in range(3)), r
    shown = run("inspect", "out.jsonl.run", want=0).out
    for part in ("rubrics                2 (helpfulness, honesty)\n", "samples                3\n", "judged                 4 rows\n", "ok                     18 judgments\n",
                 "unparsable             6 judgments\n", "by helpfulness         12 judgments, 9 with a verdict, mean ", "by honesty             12 judgments, 9 with"):
        assert part in shown, (part, shown)
    judge("in.jsonl", "one.jsonl", want=0)
    run("export", "one.jsonl.run", "--out", "short.jsonl", want=0)
    assert list(table("short.jsonl")[0]) == ["row", "id", "feedback", "result", "status", "message", "model_name"]


def retry_failed_makes_only_the_failed_judgments_again(_):
    write("in.jsonl", rows(5))
    args = TWO + THREE_SAMPLES + ["--verdict", "strict"]
    judge("in.jsonl", "out.jsonl", *args, model="mock:fail=4", want=3)
    before = {(r["row"], r["rubric"], r["sample"]): r for r in records("out.jsonl")}
    failed = {k for k, r in before.items() if r["status"] != "ok"}
    assert len(failed) == 6
    judge("in.jsonl", "out.jsonl", *args, "--retry-failed", model="mock:log=log", want=0)
    after = {(r["row"], r["rubric"], r["sample"]): r for r in records("out.jsonl")}
    assert sorted(map(int, read("log").split())) == sorted(k[0] for k in failed)
    assert {k for k, r in after.items() if r["attempt"] == 1} == failed and all(after[k] == r for k, r in before.items() if k not in failed)
    assert all(r[n + "_status"] == ["ok"] * 3 for r in table("out.jsonl") for n in ("helpfulness", "honesty"))


def a_killed_run_goes_on_exactly_where_it_stopped(_):
    """kill -9 at random moments: each (row, rubric, sample) in the journal is kept, no other is there, and the output has the same bytes."""
    seed = int(os.environ.get("GAVEL_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    rng = random.Random(seed)
    print("      (GAVEL_FAULT_SEED=%d)" % seed)
    write("in.jsonl", rows(10))
    args = TWO + THREE_SAMPLES
    judge("in.jsonl", "whole.jsonl", *args, want=0)
    known, answers, kills = {}, 0, 0
    while True:
        p = start("judge", "in.jsonl", "--model", "mock:latency_us=20000,in_flight=4,log=log", "--rubric", "helpfulness", *args, "--out", "out.jsonl")
        aim = answers + rng.randrange(1, 16)
        wait_until(lambda: (len(read("log").split()) if os.path.exists("log") else 0) >= aim or p.poll() is not None)
        p.kill()
        code = finish(p).code
        log = len(read("log").split())
        now = {(r["row"], r["rubric"], r["sample"]): r for r in records("out.jsonl")}
        assert all(now.get(k) == r for k, r in known.items()), "a judgment was lost or made again"
        assert 0 <= (log - answers) - (len(now) - len(known)) <= 4, "more answers than are in flight were not kept"
        known, answers = now, log
        if code == 0:
            break
        kills += 1
    assert kills >= 3 and len(known) == 60 and read("out.jsonl") == read("whole.jsonl"), kills


def an_interrupted_run_counts_judgments(_):
    write("in.jsonl", rows(40))
    p = start("judge", "in.jsonl", "--model", "mock:latency_us=20000,in_flight=2,log=log", "--rubric", "helpfulness", *TWO, "--out", "out.jsonl")
    wait_until(lambda: os.path.exists("log") and len(read("log").split()) >= 5)
    p.send_signal(signal.SIGINT)
    done = finish(p)
    assert done.code == 130 and " of 80 judgments made; they are in out.jsonl.run, and the same command continues" in done.err, done.err
    done = judge("in.jsonl", "out.jsonl", *TWO, "--json", want=0)
    end, result = done.events("end")[0], done.events("result")[0]
    assert (end["rows"], end["judgments"], end["done"]) == (40, 80, 80) and 5 <= end["before"] < 80 and end["shared"] == 0, end
    assert (result["rows"], result["judgments"], result["ok"]) == (40, 80, 80), result


def the_engine_shares_prefixes_and_gives_the_same_bytes_any_way(_):
    write("in.jsonl", rows(2))
    args = TWO + ["--samples", "4", "--temperature", "1", "--max-tokens", "16", "--expected-score"]
    done = judge("in.jsonl", "out.jsonl", *args, "--json", model=tiny("llama"), want=0)
    end = done.events("end")[0]
    got = records("out.jsonl")
    assert end["prompt_tokens"] == sum(r["prompt_tokens"] for r in got) and end["shared_tokens"] == sum(r["cached_tokens"] for r in got)
    want = page_granular(tiny("llama"), "in.jsonl", ["helpfulness", "honesty"], 4)
    assert end["prompt_tokens"] - end["shared_tokens"] == want, (end, want)
    assert end["shared"] > 0.75 and abs(end["shared"] - end["shared_tokens"] / end["prompt_tokens"]) < 1e-4, end
    want = read("out.jsonl")
    assert all(len(set(r["honesty_feedback"])) == 4 for r in table("out.jsonl"))
    for extra in (["--max-batch", "3", "--threads", "1", "--prompt-chunk", "50"], ["--no-prefix-cache"]):
        judge("in.jsonl", "other.jsonl", *args, "--fresh", *extra, model=tiny("llama"), want=0)
        assert read("other.jsonl") == want, extra
    judge("in.jsonl", "alone.jsonl", *args[2:], rubric="honesty", model=tiny("llama"), want=0)
    for a, b in zip(table("alone.jsonl"), table("out.jsonl")):
        assert all(a[c] == b["honesty_" + c] for c in BASE + SUMS + ["expected_score"]), (a, b)


support.main([support.mock(t) for t in [
    one_rubric_and_one_sample_are_as_ever, several_rubrics_give_what_each_gives_alone, several_samples_are_lists_with_mean_mode_and_spread, pairs_have_a_mode_and_a_share_of_a,
    what_failed_is_null_in_its_place_and_columns_stay, keep_takes_the_new_names_and_suggests_them, wrong_use_is_refused_before_anything_is_judged,
    changed_rubrics_and_samples_are_refused_by_name, export_inspect_and_parse_tell_rubric_and_sample, retry_failed_makes_only_the_failed_judgments_again,
    a_killed_run_goes_on_exactly_where_it_stopped, an_interrupted_run_counts_judgments]] + [the_engine_shares_prefixes_and_gives_the_same_bytes_any_way])
