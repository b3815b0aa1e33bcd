#!/usr/bin/env python3
"""gavel for AArch64 in QEMU against gavel of this machine: the variant of each CPU, and equal bytes of a judged table.

    test_neon.py NEON_BINARY NATIVE_BINARY CPU... -- EMULATOR...

Exits 77 with the reason if the native binary is not built.  Standard library only.
"""
import json
import os
import subprocess
import sys
import tempfile

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
VARIANTS = {"cortex-a72": "neon (without dotprod)", "neoverse-n1": "neon (dotprod)", "max": "neon (i8mm)"}
MODELS = [("llama", "Q4_K_M", []), ("qwen2", "Q4_0", ["--kernels", "neon", "--threads", "2"])]


def run(command, *args):
    done = subprocess.run(command + list(args), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, "%s: exit %d\n%s" % (" ".join(command + list(args)), done.returncode, done.stderr)
    return done.stdout


def judged(command, folder, arch, kind, extra):
    """The bytes of the table that a run of the tiny model writes: feedback, scores and their expectations."""
    out = os.path.join(folder, "out.jsonl")
    run(command, "judge", os.path.join(folder, "in.jsonl"), "--model", os.path.join(DATA, "oracle", "models", arch, "%s-%s.gguf" % (arch, kind)),
        "--rubric", "helpfulness", "--out", out, "--fresh", "--max-tokens", "12", "--temperature", "0.9", "--expected-score", *extra)
    with open(out, "rb") as f:
        return f.read()


def main():
    split = sys.argv.index("--")
    binary, native, cpus, emulator = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:split], sys.argv[split + 1:]
    if not os.path.exists(native):
        print("skipped: %s, to compare with, is not built (script/test builds it)" % native)
        return 77
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "in.jsonl"), "w") as f:
            for i in range(2):
                f.write(json.dumps({"instruction": "Name the number after %d." % i, "generation": "It is %d." % (i + 1)}) + "\n")
        want = {m[0]: judged([native], folder, m[0], m[1], []) for m in MODELS}
        for cpu in cpus:
            command = emulator + ["-cpu", cpu, binary]
            text = run(command, "inspect", "--cpu")
            assert "kernel sets: ref %s; used: neon" % VARIANTS[cpu] in text, text
            for arch, kind, extra in MODELS:
                got = judged(command, folder, arch, kind, extra)
                assert got == want[arch], "%s, %s-%s: this machine\n%s\n%s\n%s" % (cpu, arch, kind, want[arch].decode(), VARIANTS[cpu], got.decode())
            print("%s: %s, the bytes of this machine" % (cpu, VARIANTS[cpu]))
    return 0


sys.exit(main())
