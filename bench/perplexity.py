#!/usr/bin/env python3
"""Perplexity in llama.cpp of the files that gavel quantize and llama-quantize write from one BF16 file, chunk by chunk over the same text.

  bench/perplexity.py --model MODEL.gguf [--types q4_k_m,q6_k] [--chunks 100] [--engine-chunks 4]

MODEL is turned to BF16 first, whatever it is.  For each type: both perplexities, the mean of ln(PPL ours / PPL theirs) over the chunks and its standard
error, which is that of paired samples: what both files find hard cancels.  --engine-chunks compares gavel's own logits of our file with llama.cpp's
in the same way.  Exit code 1 if the mean is above --bound by more than two standard errors, or gavel's off llama.cpp's by more than 1 %.

llama.cpp is the one that script/bench builds; its programs are built if they are missing, or with --built the script ends with code 77.
Standard library only.
"""
import argparse
import array
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peers  # noqa: E402
from peers import ROOT, sh  # noqa: E402

CONTEXT = 512
FIRST = CONTEXT // 2  # llama-perplexity counts the second half of each chunk: the tokens behind this one
ENGINE_BOUND = 0.01  # of ln(PPL / PPL): the two round activations in their own ways
EVERY = 4  # rows of the text
PROGRAMS = ["llama-quantize", "llama-perplexity"]


def programs(built_only):
    """Folders of the programs and of the kernels they run with (None: their own)."""
    source = peers.llama_source()
    folder = os.path.join(source, "build-native", "bin")
    if built_only and not all(os.path.exists(os.path.join(folder, p)) for p in PROGRAMS):
        print("%s is not built (bench/perplexity.py builds it)" % os.path.join(folder, PROGRAMS[-1]))
        sys.exit(77)
    peers.build(source, "build-native", ["-DGGML_NATIVE=ON", *peers.LLAMA_CMAKE], PROGRAMS)
    amx = os.path.join(source, "build-amx", "bin")
    return folder, amx if os.path.exists(amx) else None


def write_text(path):
    with open(os.path.join(ROOT, "tests/data/vicuna/vicuna_eval.json"), encoding="utf-8") as f:
        text = "\n\n".join("\n\n".join([r["instruction"], *r["gpt4_feedback"]]) for r in json.load(f)[::EVERY])
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return text


def differences(sums):
    return [b - a for a, b in zip([0.0, *sums], sums)]


def start_llama(folders, model, text, chunks, threads):
    command = [os.path.join(folders[0], "llama-perplexity"), "-m", model, "-f", text, "-c", str(CONTEXT), "-b", str(CONTEXT), "--chunks", str(chunks),
               "-t", str(threads), "--ppl-output-type", "1"]
    return subprocess.Popen(command, env=peers.with_libraries(folders[1]), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish_llama(process, chunks):
    """The mean negative log-likelihood of each chunk, from the lines `first token, perplexity, mean NLL so far, error`."""
    out, err = process.communicate()
    means = [float(line[1]) for line in re.finditer(r"^ *[0-9]+ +[0-9.]+ +([0-9.]+) +[0-9.]+$", out, re.MULTILINE)]
    if process.returncode != 0 or len(means) != chunks:
        raise RuntimeError("%s: exit %d\n%s" % (" ".join(process.args), process.returncode, (out + err)[-2000:]))
    return differences([m * (i + 1) for i, m in enumerate(means)])


def gavel_nlls(gavel, model, text, chunks, folder, threads):
    """The same of gavel's logits."""
    done = subprocess.run([gavel, "tokenize", "-", "--model", model], input=json.dumps({"text": text}), text=True, capture_output=True, check=True)
    ids = json.loads(done.stdout)["ids"]
    nlls = []
    for i in range(chunks):
        chunk, out = ids[i * CONTEXT:(i + 1) * CONTEXT], os.path.join(folder, "logits.bin")
        subprocess.run([gavel, "logits", "-", "--model", model, "--ctx", str(CONTEXT), "--positions", str(CONTEXT - 1 - FIRST), "--threads", str(threads),
                        "--out", out], input=json.dumps({"ids": chunk[:-1]}), text=True, capture_output=True, check=True)
        with open(out, "rb") as f:
            nlls.append(statistics.fmean(nll(f, t, os.path.getsize(out) // (CONTEXT - 1 - FIRST)) for t in chunk[FIRST + 1:]))
    return nlls


def nll(f, token, n_bytes):
    logits = array.array("f", f.read(n_bytes))
    return math.log(math.fsum(map(math.exp, logits))) - logits[token]


def paired(ours, theirs):
    """Mean and standard error of the differences."""
    d = [a - b for a, b in zip(ours, theirs)]
    return statistics.fmean(d), statistics.stdev(d) / math.sqrt(len(d))


def row(kind, what, ours, theirs):
    mean, error = paired(ours, theirs)
    print("| %-7s | %-24s | %4d | %8.4f | %8.4f | %+6.2f %% | %5.2f %% |" % (kind, what, len(ours), math.exp(statistics.fmean(ours)),
                                                                          math.exp(statistics.fmean(theirs)), 100 * mean, 100 * error), flush=True)
    return mean, error


def compare(a, kind, base, text, folder):
    ours, theirs = (os.path.join(folder, "%s.%s.gguf" % (who, kind)) for who in ("ours", "theirs"))
    sh(a.gavel, "quantize", base, ours, "--type", kind, "--quiet")
    # llama-quantize takes q4_k and q5_k for the _M mixes; its plain ones are _S, which differ from ours in a few layers
    sh(os.path.join(a.llama[0], "llama-quantize"), base, theirs, kind.upper(), env=peers.with_libraries(a.llama[1]))
    path = os.path.join(folder, "text")
    running = [start_llama(a.llama, m, path, a.chunks, a.threads) for m in (ours, theirs)]
    nlls = [finish_llama(p, a.chunks) for p in running]
    mean, error = row(kind, "ours / llama-quantize's", *nlls)
    bad = mean - 2 * error > a.bound / 100
    if a.engine_chunks:
        engine, _ = row(kind, "gavel / llama.cpp, ours", gavel_nlls(a.gavel, ours, text, a.engine_chunks, folder, a.threads), nlls[0][:a.engine_chunks])
        bad = bad or abs(engine) > ENGINE_BOUND
    os.remove(ours)
    os.remove(theirs)
    return bad


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--types", default="q8_0,q6_k,q5_k_m,q4_k_m")
    ap.add_argument("--chunks", type=int, default=100, help="of 512 tokens; at least 2")
    ap.add_argument("--engine-chunks", type=int, default=0)
    ap.add_argument("--bound", type=float, default=0.5, help="%%")
    ap.add_argument("--threads", type=int, default=1, help="of each of the two that run side by side")
    ap.add_argument("--gavel", default=os.path.join(ROOT, "build/release/gavel"))
    ap.add_argument("--built", action="store_true", help="use llama.cpp only if it is built")
    a = ap.parse_args()
    a.llama = programs(a.built)
    with tempfile.TemporaryDirectory() as folder:
        text, base = write_text(os.path.join(folder, "text")), os.path.join(folder, "base.gguf")
        sh(a.gavel, "quantize", a.model, base, "--type", "bf16", "--requantize", "--quiet")
        print("| type | compared | chunks | PPL | PPL | ln(PPL / PPL) | error |\n| --- | --- | --- | --- | --- | --- | --- |")
        bad = [kind for kind in a.types.split(",") if compare(a, kind, base, text, folder)]
    if bad:
        sys.exit("not the same perplexity: %s" % ", ".join(bad))


main()
