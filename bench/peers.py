"""Builds the programs that gavel is measured beside, and runs their servers.  script/bench has the table of builds and settings.  Standard library only.

A build that exists in its folder is used as it is; what is built or made goes into the cache ($GAVEL_CACHE, as script/fetch.py says).
"""
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
CACHE = os.environ.get("GAVEL_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "gavel")
IK_URL, IK_COMMIT, CLONE_SECONDS = "https://github.com/ikawrakow/ik_llama.cpp", "8337e4c", 60
START_SECONDS = 300
LLAMA_CMAKE = ["-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_TOOLS=ON",
               "-DLLAMA_BUILD_SERVER=ON", "-DLLAMA_BUILD_UI=OFF"]
LIBRARIES = {"ggml-cpu": "libggml-cpu.so"}  # targets that are no programs


class Missing(Exception):
    """A peer that cannot be had here; the text says why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def sh(*command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError("%s: exit %d\n%s" % (" ".join(command), done.returncode, (done.stdout + done.stderr)[-3000:]))
    return done.stdout


# ---- sources and builds ----


def llama_source():
    return os.path.join(sh(sys.executable, os.path.join(ROOT, "script/fetch.py"), "llama.cpp").strip(), "llama.cpp")


def ik_source(given):
    if given:
        if not os.path.exists(os.path.join(given, "CMakeLists.txt")):
            raise Missing("%s holds no sources" % given)
        return given
    folder = os.path.join(CACHE, "ik_llama.cpp")
    if os.path.exists(os.path.join(folder, "CMakeLists.txt")):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(CACHE, exist_ok=True)
    try:
        sh("git", "clone", "-q", IK_URL, folder, timeout=CLONE_SECONDS, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"})
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as why:
        shutil.rmtree(folder, ignore_errors=True)
        last = str(why).strip().split("\n")[-1]
        raise Missing("%s cannot be fetched (%s); --ik-source DIR names a copy" % (IK_URL, last)) from None
    with contextlib.suppress(RuntimeError):  # the commit may be gone: then the newest
        sh("git", "-C", folder, "checkout", "-q", IK_COMMIT)
    return folder


def build(source, folder, options, targets):
    """The folder of the binaries."""
    binaries = os.path.join(source, folder, "bin")
    if all(os.path.exists(os.path.join(binaries, LIBRARIES.get(t, t))) for t in targets):
        return binaries
    if not shutil.which("g++"):
        raise Missing("building %s needs g++ (apt-get install g++)" % source)
    say("building %s in %s (once; 10 to 30 minutes on 2 cores)" % (" ".join(targets), os.path.join(source, folder)))
    sh("cmake", "-S", source, "-B", os.path.join(source, folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *options)
    sh("cmake", "--build", os.path.join(source, folder), "--target", *targets)
    return binaries


# ---- models ----


# name: its letter in file names, layers (of 32), experts
SHAPES = {"mistral": ("m", 8, 0), "mixtral": ("x", 2, 8)}


def shape_model(shape, layers, kind, quantize):
    """Mistral-7B's or Mixtral-8x7B's shape with some of its layers (0: as SHAPES says), random weights: Q8_0 made here, others by llama-quantize (a
    function that gives its path)."""
    letter, usual, experts = SHAPES[shape]
    layers = layers or usual
    models = os.path.join(CACHE, "bench")
    base = os.path.join(models, "%s%d.q8_0.gguf" % (letter, layers))
    os.makedirs(models, exist_ok=True)
    if not os.path.exists(base):
        venv = os.path.join(models, "venv")
        python = os.path.join(venv, "bin", "python")
        say("making %s" % base)
        sh(sys.executable, "-m", "venv", venv)
        sh(python, "-m", "pip", "-q", "install", "numpy", "gguf", "sentencepiece")
        sh(python, "-m", "pip", "-q", "install", "--no-deps", "mistral-common")
        sh(python, os.path.join(ROOT, "bench", "make_shape_model.py"), "--layers", str(layers), "--experts", str(experts),
           "--out", base + ".tmp")
        os.replace(base + ".tmp", base)
    if kind == "q8_0":
        return base
    path = base.replace(".q8_0.", ".%s." % kind)
    if not os.path.exists(path):
        say("making %s" % path)
        sh(quantize(), "--allow-requantize", base, path + ".tmp", kind.upper())
        os.replace(path + ".tmp", path)
    return path


# ---- servers ----


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def healthy(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def with_libraries(folder):
    return {**os.environ, "LD_LIBRARY_PATH": os.path.abspath(folder)} if folder else None


@contextlib.contextmanager
def server(binary, arguments, libraries=None):
    """A running llama-server; gives its URL.  It is gone when the block ends.  libraries: a folder whose libraries go before its own."""
    port = free_port()
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:  # some write a log where they run
        process = subprocess.Popen([binary, "--host", "127.0.0.1", "--port", str(port), *arguments], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, cwd=folder, env=with_libraries(libraries))
        try:
            end = time.monotonic() + START_SECONDS
            while not healthy(port):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise RuntimeError("%s %s does not start:\n%s" % (binary, " ".join(arguments), log.read()[-2000:].decode("utf-8", "replace")))
                time.sleep(0.2)
            yield "http://127.0.0.1:%d" % port
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def llama_bench(binary, arguments, libraries=None):
    """tokens/s of one llama-bench test."""
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(sh(binary, "-r", "1", "-o", "json", *arguments, cwd=folder, env=with_libraries(libraries)))[0]["avg_ts"]


def batched_bench(binary, arguments, libraries=None):
    """tokens/s of all sequences of one llama-batched-bench case."""
    with tempfile.TemporaryDirectory() as folder:
        lines = sh(binary, "--output-format", "jsonl", *arguments, cwd=folder, env=with_libraries(libraries)).splitlines()
    for line in lines:
        if line.startswith("{"):
            return json.loads(line)["speed_tg"]
    raise RuntimeError("%s printed no result: %s" % (os.path.basename(binary), " / ".join(lines[-3:]) or "nothing"))
