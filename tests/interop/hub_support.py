"""A running hubsim, commands with an environment of their own, and what must always hold in a cache."""
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import support  # noqa: E402

PROBE = os.path.join(os.path.dirname(support.GAVEL), "tests", "hub_probe")
PYTHON = os.path.join(ROOT, "build", "interop", "bin", "python")
TOKEN = "hf_test"


class Hub:
    """hubsim on the folder it is given; files: {"datasets/org/name/path": bytes}."""

    def __init__(self, root, files, *options):
        self.root = root
        for path, content in files.items():
            place = os.path.join(root, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as f:
                f.write(content)
        # another name for the download host, which answers 400 when it sees a token
        command = [sys.executable, os.path.join(HERE, "..", "support", "hubsim", "hubsim.py"), "--root", root, "--port", "0", "--print-port",
                   "--cdn-host", "localhost", "--cdn-reject-auth", "--token", TOKEN, "--token", "hf_other:write:other", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port, self.cdn, self.viewer = map(int, self.process.stdout.readline().split())
        self.url = "http://127.0.0.1:%d" % self.port

    def admin(self, verb, data=None):
        body = None if data is None else (data if isinstance(data, str) else json.dumps(data)).encode()
        request = urllib.request.Request("%s/__hubsim__/%s" % (self.url, verb), data=body, method="GET" if body is None else "POST")
        with urllib.request.urlopen(request) as r:
            return json.loads(r.read() or b"null")

    def log(self, part=""):
        """Requests whose "PORT METHOD PATH" has this part."""
        return [r for r in self.admin("log") if part in "%s %s %s" % (r["port"], r["method"], r["path"])]

    def unused_faults(self):
        return [r["match"] for r in self.admin("faults") if r["_seen"] <= r.get("skip", 0)]

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def hub(root, files, *options):
    sim = Hub(root, files, *options)
    try:
        yield sim
    finally:
        sim.close()


def environment(home, endpoint, **more):
    """No variable of the Hub's but these; not this machine's home."""
    drop = ("HF_", "HUGGING", "TRANSFORMERS_", "REQUESTS_CA", "SSL_CERT", "XDG_CACHE")
    env = {k: v for k, v in support.environment().items() if not k.startswith(drop) and not k.lower().endswith("_proxy")}
    env.update(HOME=home, HF_HOME=home, HF_ENDPOINT=endpoint, HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1")
    env.update({k: v for k, v in more.items() if v is not None})
    return env


def gavel(home, endpoint, *args, timeout=120, want=None, preexec=None, **variables):
    """Runs gavel against the endpoint with its cache in home."""
    p = subprocess.run([support.GAVEL, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False,
                       env=environment(home, endpoint, **variables), preexec_fn=preexec)
    done = support.Done(support.shell_code(p.returncode), p.stdout, p.stderr)
    if want is not None:
        assert done.code == want, "exit %d, not %d: gavel %s\n%s" % (done.code, want, " ".join(map(str, args)), done.err[-2000:])
    return done


def probe(home, endpoint, *args, **variables):
    p = subprocess.run([PROBE, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
                       env=environment(home, endpoint, **variables))
    return p.stdout


def python(home, endpoint, code, **variables):
    """Runs the official client; prints what it does when it fails."""
    if not os.path.exists(PYTHON):
        raise support.Skip("no build/interop: script/interop makes it")
    p = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=120, check=False, env=environment(home, endpoint, **variables))
    assert p.returncode == 0, p.stderr[-3000:]
    return p.stdout.strip()


def blob_name(content, lfs):
    return hashlib.sha256(content).hexdigest() if lfs else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def check_cache(home):
    """Every blob under a final name has the content of its name, every link leads to one; returns {path in snapshot: content}."""
    found = {}
    for folder, _, names in os.walk(os.path.join(home, "hub")):
        for name in names:
            place = os.path.join(folder, name)
            if os.path.basename(folder) == "blobs" and not name.endswith(".incomplete"):
                content = support.read(place)
                assert name == blob_name(content, len(name) == 64), "%s has other content than its name says" % place
            if "/snapshots/" in place:
                assert os.path.islink(place) and not os.path.isabs(os.readlink(place)), place
                found[place.split("/snapshots/")[1].split("/", 1)[1]] = support.read(place)
    return found


def wait_for_size(folder, n):
    """Until a file below folder has n bytes."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for base, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    if os.path.getsize(os.path.join(base, name)) >= n:
                        return
        time.sleep(0.02)
    raise AssertionError("nothing of %d bytes came below %s" % (n, folder))
