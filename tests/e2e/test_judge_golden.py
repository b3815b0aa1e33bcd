"""gavel render and gavel parse against the recorded outputs of distilabel, prometheus-eval and the paper's code (tests/data/golden).

Every golden line goes through the binary as a user would send it: rows as JSON lines, the rubric by name or as a .json file.  Compared: system, user
and prompt of 298 prompts (19 of them errors), feedback and result of 811 answers for both parsers.  Argument: the binary's path.
"""
import collections
import json
import os
import subprocess
import sys
import tempfile

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "golden")
gavel = os.path.abspath(sys.argv[1])


def golden(name):
    with open(os.path.join(GOLDEN, name), encoding="ascii") as f:
        return [json.loads(line) for line in f]


def run(args, lines):
    p = subprocess.run([gavel] + args, input="".join(json.dumps(line) + "\n" for line in lines), capture_output=True, encoding="utf-8", check=False)
    out = [json.loads(line) for line in p.stdout.split("\n")[:-1]]
    assert len(out) == len(lines), (args, len(out), len(lines), p.stderr)
    return out


def rubric_argument(line, style, folder):
    if style == "distilabel" and "rubric_text" not in line:
        return line["rubric_name"]
    if style == "prometheus-eval" and line["rubric_name"] in ("helpfulness", "harmlessness", "honesty", "factual_validity", "reasoning"):
        return line["rubric_name"]
    return line["rubric_text"]


def check_prompts(name, style, folder):
    groups = collections.defaultdict(list)
    for line in golden(name):
        groups[(line["mode"], line["reference"], rubric_argument(line, style, folder))].append(line)
    n = 0
    for i, ((mode, reference, rubric), lines) in enumerate(groups.items()):
        if rubric in ("helpfulness", "harmlessness", "honesty", "factual_validity", "factual-validity", "reasoning"):
            argument = rubric
        else:
            argument = os.path.join(folder, "%s-%d.json" % (style, i))
            with open(argument, "w", encoding="utf-8") as f:
                json.dump(rubric, f)
        args = ["render", "-", "--prompt", style, "--mode", mode, "--rubric", argument] + (["--reference"] if reference else [])
        for want, got in zip(lines, run(args, [line["inputs"] for line in lines])):
            n += 1
            if "error" in want:
                message = want["error"]["message"].split("\n\nFor further")[0].strip("'")
                assert got["status"] == "bad_input" and message in got["message"], (want["id"], got)
                continue
            assert got["user"] == want["user"], (want["id"], got)
            if style == "paper":
                continue
            assert got["system"] == want["system"] and got["prompt"] == want["prompt"], (want["id"], got)
    return n


def check_verdicts():
    lines = golden("verdicts.jsonl")
    for parser, library in (("strict", "distilabel"), ("lenient", "prometheus_eval")):
        for want, got in zip(lines, run(["parse", "-", "--verdict", parser], [{"raw": v["raw"], "mode": v["mode"]} for v in lines])):
            assert {"feedback": got["feedback"], "result": got["result"]} == want[library], (want["id"], parser, got)
            assert (got["status"] == "ok") == (want[library]["result"] is not None), (want["id"], parser, got)
    return len(lines)


def main():
    with tempfile.TemporaryDirectory() as folder:
        assert check_prompts("prompts_distilabel.jsonl", "distilabel", folder) == 168
        assert check_prompts("prompts_prometheus_eval.jsonl", "prometheus-eval", folder) == 106
        assert check_prompts("prompts_paper.jsonl", "paper", folder) == 24
    assert check_verdicts() == 811
    print("298 prompts and 811 answers equal")


if __name__ == "__main__":
    main()
