"""Broken GGUF files given to the gavel binary: `gavel inspect FILE` ends with 0, or with 1 and one message that names the file.

    test_gguf_binary.py GAVEL

A sample of what test_gguf_sweep.c does to the reader in full: bytes flipped and files cut off, spread over the whole file.
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TINY = os.path.join(HERE, "..", "data", "gguf", "tiny-llama.gguf")


def variants(data):
    for i in range(0, len(data), 53):
        yield "byte %d ^ 0x80" % i, data[:i] + bytes([data[i] ^ 0x80]) + data[i + 1 :]
    for n in range(0, len(data), 211):
        yield "cut at %d" % n, data[:n]
    for version in (0, 1, 4, 3 << 24):
        yield "version %d" % version, data[:4] + version.to_bytes(4, "little") + data[8:]
    yield "counts", data[:8] + b"\xff" * 16 + data[24:]


def main():
    gavel = sys.argv[1]
    if not os.path.exists(gavel):
        print("no binary at", gavel)
        return 77
    with open(TINY, "rb") as f:
        data = f.read()
    count = {0: 0, 1: 0}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "broken.gguf")

        def inspect(what, content):
            with open(path, "wb") as f:
                f.write(content)
            done = subprocess.run([gavel, "inspect", path], capture_output=True, timeout=60)
            text = done.stderr.decode("utf-8", "replace")
            assert done.returncode in (0, 1), "%s: exit %d\n%s" % (what, done.returncode, text)
            if done.returncode == 1:
                assert text.count("\n") == 1 and "broken.gguf" in text, "%s: %r" % (what, text)
                assert not any(ord(c) < 32 for c in text[:-1]), "%s: %r" % (what, text)
            count[done.returncode] += 1
            return done.returncode

        assert inspect("the file itself", data) == 0
        for what, content in variants(data):
            code = inspect(what, content)
            assert code == 1 or not what.startswith("cut"), what
    print("%d files inspected, %d refused" % (count[0], count[1]))
    return 0


sys.exit(main())
