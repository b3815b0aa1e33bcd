#!/usr/bin/env python3
"""gavel pull against a Hub and a network that fail: every fault of hubsim that a download can meet ends in a whole, checked copy or in an error that
names it, and never in a wrong file under a final name or in a token at another host.

    test_hub_faults.py GAVEL_BINARY [PART OF A TEST'S NAME]

Standard library only.
"""
import concurrent.futures
import contextlib
import http.server
import os
import resource
import signal
import ssl
import subprocess
import threading

import hub_support as hs
import support

TEXT = b"".join(b"line %d of a text that git keeps itself\n" % i for i in range(100))
BIG = bytes((i * 7 + (i >> 8) * 13 + (i >> 16)) & 255 for i in range(3 << 20))
FILES = {"README.md": TEXT, "data/train.parquet": BIG, "empty.txt": b""}

# One repository for each case, all rules installed at once, all pulls side by side.  NAME: (rules, exit code, parts of the messages, options).
# A rule is (fault, port and path, more); @ stands for the repository's name.
INFO, TREE, CDN, TEXT_AT = r"^hub GET /api/datasets/org/@/revision/", r"^hub GET /api/datasets/org/@/tree/", r"^cdn GET .*/org/@/", r"^hub GET .*resolve-cache/.*/org/@/.*README"
CASES = {
    "plain": ([], 0, []),
    "limit-both": ([("429", INFO, {"t": 0})], 0, ["/revision/main: 429 Too Many Requests; try 2 of 6 in"]),
    "limit-header": ([("429", TREE, {"t": 0, "style": "ratelimit"})], 0, ["429 Too Many Requests; try 2 of 6"]),
    "limit-after": ([("429", CDN, {"t": 1, "style": "retry-after"})], 0, ["429 Too Many Requests; try 2 of 6 in 1."]),
    "limit-date": ([("429", TEXT_AT, {"t": 2, "style": "date"})], 0, ["429 Too Many Requests; try 2 of 6"]),
    "limit-none": ([("429", INFO, {"style": "none", "times": 2})], 0, ["try 2 of 6", "try 3 of 6"]),
    "limit-long": ([("429", INFO, {"t": 100000, "style": "retry-after", "times": -1})], 1, ["429 Too Many Requests", "it asks to wait 100000 s"]),
    "fails-500": ([("500", INFO, {}), ("500", TREE, {}), ("500", TEXT_AT, {}), ("500", CDN, {})], 0, ["500 Internal Server Error; try 2 of 6"]),
    "fails-503": ([("503", INFO, {"retry_after": 1}), ("503", CDN, {})], 0, ["503 Service Unavailable; try 2 of 6 in 1."]),
    "fails-always": ([("503", INFO, {"times": -1})], 1, ["/revision/main: 503 Service Unavailable: Service Unavailable"], "--retries", "1"),
    "fails-418": ([("status", INFO, {"status": 418, "message": "no coffee here"})], 1, ["418", "no coffee here"]),
    "reset-cdn": ([("reset", CDN, {"after": 1500000})], 0, ["goes on at byte", "try 2 of 6"]),
    "close-cdn": ([("close", CDN, {"after": 1500000})], 0, ["goes on at byte 1500000, try 2 of 6"]),
    "close-often": ([("close", CDN, {"after": 1300000, "times": 2})], 0, ["goes on at byte 1300000", "goes on at byte 2600000"]),
    "close-text": ([("close", TEXT_AT, {"after": 100})], 0, ["goes on at byte 100"]),
    "close-list": ([("close", TREE, {"after": 10})], 0, ["/tree/", "try 2 of 6"]),
    "close-always": ([("close", CDN, {"after": 0, "times": -1})], 1, ["tried 2 times"], "--retries", "1"),
    "drop-all": ([("drop", INFO, {}), ("drop", TREE, {"reset": 1}), ("drop", TEXT_AT, {}), ("drop", CDN, {"reset": 1})], 0, ["try 2 of 6"]),
    "lost": ([("lost", INFO, {}), ("lost", TREE, {})], 0, ["try 2 of 6"]),
    "slow": ([("slow", CDN, {"chunk": 300000, "seconds": 0.05}), ("delay", INFO, {"seconds": 1})], 0, []),
    "length-less": ([("bad-length", CDN, {"delta": -1000})], 0, ["ended after 3144728 of 3145728 bytes"]),
    "length-more": ([("bad-length", CDN, {"delta": 1000})], 0, ["try 2 of 6"]),
    "no-length": ([("no-length", CDN, {}), ("no-length", INFO, {}), ("no-length", TEXT_AT, {})], 0, []),
    "corrupt": ([("corrupt", CDN, {"at": 2000000})], 0, ["data/train.parquet: sha256 of what came is ", "; from the beginning"]),
    "corrupt-text": ([("corrupt", TEXT_AT, {"at": 7})], 0, ["README.md: git blob id of what came is ", "; from the beginning"]),
    "corrupt-always": ([("corrupt", CDN, {"at": 2000000, "times": -1})], 1, ["downloaded 2 times: data/train.parquet: sha256 of what came is ", ", expected " + hs.blob_name(BIG, True)]),
    "corrupt-resume": ([("corrupt", CDN, {"at": 5}), ("close", CDN, {"after": 1500000})], 0, ["goes on at byte", "; from the beginning"]),
    "expired": ([("expired", CDN, {})], 0, ["the signed address was refused (403)"]),
    "expired-always": ([("expired", CDN, {"times": -1})], 1, ["given up after 2 tries: data/train.parquet: the signed address was refused (403)"], "--retries", "1"),
    "no-range": ([("close", CDN, {"after": 1500000}), ("no-range", CDN, {"skip": 1})], 0, ["goes on at byte 1500000"]),
    "range-416": ([("close", CDN, {"after": 1500000}), ("416", CDN, {"skip": 1})], 0, ["the server has no bytes from there on (416)"]),
    "gzip": ([("gzip", CDN, {}), ("gzip", TEXT_AT, {}), ("gzip", INFO, {})], 0, []),
    "old-name": ([("renamed", "org/@/", {"from": "old-name", "to": "new-name", "times": -1})], 0, []),
    "new-name": ([], 0, []),
    "gated": ([("gated", "resolve/", {"times": -1})], 1, ["data set org/gated is gated: ask for access at http://", "/datasets/org/gated, then put a token of your account into HF_TOKEN"]),
    "gated-user": ([("gated", "resolve/", {"times": -1})], 1, ["is gated, and the account of your token (HF_TOKEN) is not admitted"]),
    "private": ([("private", INFO, {"times": -1})], 1, ["there is no data set org/private at http://", "or it is private: check the name, or put a token that may read it into HF_TOKEN"]),
    "private-user": ([("private", INFO, {"times": -1})], 1, ["there is no data set org/private-user at http://", "that your token (HF_TOKEN) may read"]),
    "disabled": ([("disabled", INFO, {"times": -1})], 1, ["403 Forbidden: Access to this resource is disabled."]),
    "no-entry": ([("entry-not-found", CDN.replace("cdn", "hub").replace(".*/org", "/datasets/org") + "resolve/.*README", {"times": -1})], 1, ["data set org/no-entry has no README.md at revision main"]),
    "no-headers": ([("strip", "resolve", {"header": "X-Repo-Commit|X-Linked-ETag|X-Linked-Size|ETag", "times": -1})], 0, []),
    "warned": ([("warning", INFO, {"topic": "Old", "message": "use another name"})], 0, ["the Hub says: Old; use another name"]),
    "html-info": ([("html", INFO, {"times": -1})], 1, ["/api/datasets/org/html-info/revision/main: repository info: invalid JSON at byte 0"]),
    "html-list": ([("html", TREE, {"times": -1})], 1, ["/tree/", "listing of the repository: invalid JSON at byte 0"]),
    "html-file": ([("html", CDN, {})], 0, ["ended after 55 of 3145728 bytes", "; from the beginning"]),
    "conflict": ([("conflict", INFO, {"times": -1})], 1, ["409", "Another conflicting operation is in progress"]),
    "precondition": ([("precondition", INFO, {"times": -1})], 1, ["412", "Please refresh"]),
}


def rules():
    out = []
    for name, (faults, *_) in CASES.items():
        for fault, match, more in faults:
            match = match if "@" in match else "org/@/" + match
            out.append(dict({"fault": fault, "match": match.replace("@", name)}, **more))
    return out


def one_case(sim, folder, name):
    _, code, parts, *options = CASES[name]
    home = os.path.join(folder, name)
    os.mkdir(home)
    token = hs.TOKEN if name.endswith("-user") or name == "old-name" else None
    done = hs.gavel(home, sim.url, "pull", "org/" + name, "--repo-type", "dataset", *options, HF_TOKEN=token)
    assert done.code == code, "%s: exit %d\n%s" % (name, done.code, done.err)
    for part in parts:
        assert part in done.err, "%s: %r is not in %s" % (name, part, done.err)
    there = hs.check_cache(home)
    if code == 0:
        assert there == FILES, "%s: %s" % (name, sorted(there))
        assert done.out.strip().endswith(os.path.basename(done.out.strip())) and os.path.isdir(done.out.strip()), done.out
        assert not [n for _, _, names in os.walk(home) for n in names if n.endswith(".incomplete")], name
    else:
        assert done.err.count("\n") - done.err.count("; try ") - done.err.count("from the beginning") >= 1 and done.out == "", done.err
        assert there.get("data/train.parquet") in (None, BIG), name


def every_fault_ends_in_the_right_files_or_an_error_that_names_it(folder):
    files = {"datasets/org/%s/%s" % (name, path): content for name in CASES if name != "old-name" for path, content in FILES.items()}
    with hs.hub(os.path.join(folder, "sim"), files, "--page-size", "2") as sim:
        sim.admin("faults", rules())
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            wrong = []
            for name, job in [(n, pool.submit(one_case, sim, folder, n)) for n in CASES]:
                try:
                    job.result()
                except AssertionError as e:
                    wrong.append("%s: %s" % (name, e))
        assert not wrong, "\n".join(wrong)
        assert sim.unused_faults() == [], "rules that no request met: %s" % sim.unused_faults()
        assert sim.admin("leaks") == [] and len(sim.log("cdn GET")) > 30
        resumed = [dict(r["req_headers"]).get("Range") for r in sim.log("cdn GET") if "/close-often/" in r["path"]]
        assert resumed == [None, "bytes=1300000-", "bytes=2600000-"], resumed


def what_is_asked_for_wrongly_is_explained(folder):
    with hs.hub(os.path.join(folder, "sim"), {"datasets/org/d/a.txt": b"a", "models/org/pickled/pytorch_model.bin": b"\0"}) as sim:
        def fails(*args, **variables):
            done = hs.gavel(folder, sim.url, "pull", *args, **variables)
            assert done.code in (1, 2) and done.err.count("\n") == 1, done.err
            return done.err

        assert "data set org/d has no revision v9" in fails("org/d@v9", "--repo-type", "dataset")
        assert "there is no data set org/none" in fails("org/none", "--repo-type", "dataset")
        assert "the Hub does not accept your token (HF_TOKEN)" in fails("org/none", HF_TOKEN="hf_wrong")
        support.write(os.path.join(folder, "token"), "hf_wrong\r\n")
        assert "the Hub does not accept your token (%s/token)" % folder in fails("org/none")
        os.unlink(os.path.join(folder, "token"))
        assert "none of the 1 files of org/d matches --include *.parquet" in fails("org/d", "--repo-type", "dataset", "--include", "*.parquet")
        assert "only pickled weights (pytorch_model.bin), which can run code when they are read" in fails("org/pickled")
        assert "../x is no repository: expected ORG/NAME[:QUANT][@REV]" in fails("../x")
        assert "after @ comes a branch, a tag or a commit" in fails("org/d@../../x")
        assert "endpoint of the Hub (HF_ENDPOINT): ftp://x: only http and https are spoken, not ftp" in hs.gavel(folder, "ftp://x", "pull", "org/d").err
        assert "a user or password in a URL is refused" in hs.gavel(folder, "http://me:secret@x", "pull", "org/d").err
        assert "secret" not in hs.gavel(folder, "http://me:secret@x", "pull", "org/d").err
        gone = hs.gavel(folder, "http://127.0.0.1:1", "pull", "org/d", "--retries", "1")
        assert gone.code == 1 and "GET http://127.0.0.1:1/api/models/org/d/revision/main: " in gone.err and "(tried 2 times)" in gone.err, gone.err


def offline_the_cache_alone_answers(folder):
    files = {"models/org/m/m.Q4_0.gguf": b"4" * 50, "models/org/m/m.Q8_0.gguf": b"8" * 90}
    with hs.hub(os.path.join(folder, "sim"), files) as sim:
        got = hs.gavel(folder, sim.url, "pull", "org/m:q8_0", want=0).out
        asked = len(sim.admin("log"))
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            assert hs.gavel(folder, sim.url, "pull", "org/m:Q8_0", want=0, **{name: "yes"}).out == got
        lacks = hs.gavel(folder, sim.url, "pull", "org/m:Q4_0", want=1, HF_HUB_OFFLINE="1").err
        assert "offline, and the cache %s/hub lacks m.Q4_0.gguf of model org/m at " % folder in lacks, lacks
        lacks = hs.gavel(folder, sim.url, "pull", "org/other", want=1, HF_HUB_OFFLINE="1").err
        assert "does not know revision main of model org/other" in lacks, lacks
        lacks = hs.gavel(folder, sim.url, "pull", "org/m", "--repo-type", "dataset", want=1, HF_DATASETS_OFFLINE="1").err
        assert "does not know revision main of data set org/m" in lacks, lacks
        assert len(sim.admin("log")) == asked
    # not offline, but nobody answers
    gone = hs.gavel(folder, sim.url, "pull", "org/m:Q8_0", "--retries", "0", want=0)
    assert gone.out == got and "cannot be reached; what the cache has of org/m is used" in gone.err, gone.err


def a_killed_download_goes_on_where_it_was(folder):
    with hs.hub(os.path.join(folder, "sim"), {"datasets/org/d/data.parquet": BIG}) as sim:
        for number, code in ((signal.SIGKILL, 137), (signal.SIGINT, 130)):
            home = os.path.join(folder, "home%d" % number)
            sim.admin("faults", "slow:chunk=100000,seconds=0.1@cdn GET#1")
            sim.admin("clear")
            p = subprocess.Popen([support.GAVEL, "pull", "org/d", "--repo-type", "dataset"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=hs.environment(home, sim.url))
            hs.wait_for_size(home, 400000)
            p.send_signal(number)
            done = support.finish(p)
            assert done.code == code and hs.check_cache(home) == {}, (done.code, done.err)
            assert number == signal.SIGKILL or "interrupted; what came is kept in " in done.err, done.err
            hs.gavel(home, sim.url, "pull", "org/d", "--repo-type", "dataset", want=0)
            assert hs.check_cache(home) == {"data.parquet": BIG}
            support.wait_until(lambda: len(sim.log("cdn GET")) == 2)  # a request is in the log when it is over
            asked = [dict(r["req_headers"]).get("Range") for r in sorted(sim.log("cdn GET"), key=lambda r: r["t"])]
            assert asked[0] is None and asked[-1].startswith("bytes="), asked
            assert int(asked[-1][6:-1]) >= 400000, asked


def a_full_disk_is_named_and_the_rest_comes_later(folder):
    with hs.hub(os.path.join(folder, "sim"), {"datasets/org/d/data.parquet": BIG}) as sim:
        full = hs.gavel(folder, sim.url, "pull", "org/d", "--repo-type", "dataset", want=1,
                        preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000)))
        assert "cannot write %s/hub/datasets--org--d/blobs/" % folder in full.err and "(1000000 of 3145728 bytes are there and will be continued)" in full.err, full.err
        assert "File too large" in full.err and hs.check_cache(folder) == {}
        hs.gavel(folder, sim.url, "pull", "org/d", "--repo-type", "dataset", want=0)
        assert [dict(r["req_headers"]).get("Range") for r in sim.log("cdn GET")][-1] == "bytes=1000000-"
        assert hs.check_cache(folder) == {"data.parquet": BIG}


def two_at_a_time_download_once(folder):
    with hs.hub(os.path.join(folder, "sim"), {"datasets/org/d/data.parquet": BIG}) as sim:
        sim.admin("faults", "slow:chunk=300000,seconds=0.1@cdn GET#-1")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(hs.gavel, folder, sim.url, "pull", "org/d", "--repo-type", "dataset", "--json", want=0) for _ in range(2)]
        said = [j.result() for j in jobs]
        support.wait_until(lambda: sim.log("cdn GET"))
        assert len(sim.log("cdn GET")) == 1 and hs.check_cache(folder) == {"data.parquet": BIG}
        assert sum("data.parquet: waits for another download of it" in d.err for d in said) == 1
        end = said[0].events("transferred")[0]
        assert end["bytes"] == end["bytes_done"] == len(BIG) and end["files_done"] == 1, end


# ---- servers that mean ill ----

class Evil(http.server.BaseHTTPRequestHandler):
    """Answers with what the test has put into server.answers: {path beginning: (status, headers, body)}."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        for path, (status, headers, body) in self.server.answers.items():
            if self.path.startswith(path):
                break
        else:
            status, headers, body = 404, {}, b"{}"
        self.send_response(status)
        for k, v in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(k, v)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def handle(self):
        with contextlib.suppress(OSError):  # a client that has seen enough
            super().handle()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def evil(answers, tls=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    server.answers, server.seen, server.daemon_threads = answers, [], True
    server.url = "%s://127.0.0.1:%d" % ("https" if tls else "http", server.server_address[1])
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


SHA = "0123456789abcdef0123456789abcdef01234567"
INFO_OK = (200, {}, ('{"sha": "%s"}' % SHA).encode())
NAME = "/api/datasets/org/d/"


def pull(folder, url, lines=1, **variables):
    done = hs.gavel(folder, url, "pull", "org/d", "--repo-type", "dataset", "--retries", "0", HF_TOKEN=hs.TOKEN, **variables)
    assert done.code == 1 and done.err.count("\n") == lines, done.err
    assert hs.TOKEN not in done.err
    return done.err


def listing(*names):
    return (200, {}, ("[%s]" % ",".join('{"type":"file","path":"%s","size":3,"oid":"%s"}' % (n, SHA) for n in names)).encode())


def redirects_that_lead_astray_are_refused(folder):
    for location, message in (("file:///etc/passwd", "only http and https are spoken, not file"), ("ftp://x/y", "only http and https are spoken, not ftp"),
                              ("gopher://x/", "only http and https are spoken, not gopher"), ("http://user:pw@127.0.0.1:1/", "a user or password in a URL is refused"),
                              ("http://[bad", "which is no URL"), (NAME, "more than 10 redirects")):
        with evil({NAME: (302, {"Location": location}, b"")}) as server:
            text = pull(folder, server.url)
            assert message in text, text


def the_token_goes_to_the_endpoint_alone(folder):
    with evil({"/": (404, {}, b"{}")}) as other:
        for status in (301, 302, 303, 307, 308):
            for there in (other.url, other.url.replace("127.0.0.1", "localhost")):
                with evil({NAME: (status, {"Location": there + "/stolen"}, b"")}) as server:
                    pull(folder, server.url)
                    assert server.seen[0][1] == "Bearer " + hs.TOKEN
        assert len(other.seen) == 10 and all(token is None for _, token in other.seen), other.seen
        # a page of the listing at another server
        with evil({NAME + "revision": INFO_OK, NAME + "tree": (200, {"Link": '<%s/next>; rel="next"' % other.url}, b"[]")}) as server:
            assert "the listing goes on at another server" in pull(folder, server.url)
        assert len(other.seen) == 10


def https_is_never_left_for_http(folder):
    certificate = os.path.join(hs.HERE, "localhost.pem")
    with evil({}) as plain, evil({NAME: (302, {"Location": plain.url + NAME}, b"")}, certificate) as server:
        text = pull(folder, server.url, SSL_CERT_FILE=certificate)
        assert "a redirect from https to http is refused" in text, text
        assert len(server.seen) == 1 and plain.seen == []
        text = pull(folder, server.url)  # not known to the system
        assert "certificate" in text and len(server.seen) == 1, text


def names_that_leave_the_snapshot_are_refused(folder):
    for name in ("../x", "a/../../x", "/etc/x", "a//b", "./x", "a/..", "b\\\\..\\\\x", "a\\u0000b", "a\\nb", "", "x" * 256, "a/" * 600 + "b"):
        with evil({NAME + "revision": INFO_OK, NAME + "tree": listing("good", name)}) as server:
            text = pull(folder, server.url)
            assert "is refused: a name" in text or "path is no string" in text, text
    with evil({NAME + "revision": INFO_OK, NAME + "tree": listing("twice", "twice")}) as server:
        assert "the listing has twice twice" in pull(folder, server.url)
    assert hs.check_cache(folder) == {}


def answers_that_make_no_sense_are_refused(folder):
    with evil({NAME + "revision": (200, {}, b'{"sha": "../../x"}')}) as server:
        assert "sha is ../../x, expected 40 hex digits" in pull(folder, server.url)
    with evil({NAME + "revision": (200, {}, b"[" * 100000)}) as server:
        assert "repository info: " in pull(folder, server.url)
    with evil({NAME + "revision": (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b bomb")}) as server:
        assert "the body comes as gzip, which was not asked for" in pull(folder, server.url)
    with evil({NAME + "revision": (200, {"Content-Length": str(1 << 40)}, b"x" * (65 << 20))}) as server:
        assert "a body of more than the cap of 67108864 bytes" in pull(folder, server.url)
    with evil({NAME + "revision": (200, {"X-%d" % i: "y" * 1000 for i in range(300)}, b"{}")}) as server:
        assert "headers of more than the cap of 262144 bytes" in pull(folder, server.url)
    with evil({NAME + "revision": (503, {"Retry-After": "999999999999"}, b"")}) as server:
        assert "(it asks to wait 1000000000 s)" in pull(folder, server.url)
    with evil({NAME + "revision": (500, {"X-Error-Message": "\x1b[31mred\xff"}, b"")}) as server:
        assert "\x1b" not in pull(folder, server.url)
    with evil({NAME + "revision": INFO_OK, NAME + "tree": (200, {}, b'{"type": 1}')}) as server:
        assert "the listing is object, expected an array" in pull(folder, server.url)


def wrong_ranges_and_blobs_are_noticed(folder):
    name = hs.blob_name(b"abc", False)
    blobs = os.path.join(folder, "hub", "datasets--org--d", "blobs")
    files = "/datasets/org/d/resolve/"
    tree = (200, {}, ('[{"type":"file","path":"f","size":3,"oid":"%s"}]' % name).encode())

    def with_part(status, headers, body, lines=1):
        os.makedirs(blobs, exist_ok=True)
        support.write(os.path.join(blobs, name + ".incomplete"), b"a")
        with evil({NAME + "revision": INFO_OK, NAME + "tree": tree, files: (status, headers, body)}) as server:
            return pull(folder, server.url, lines)

    assert "asked for bytes from 1 on of 3, got bytes 0-2/3" in with_part(206, {"Content-Range": "bytes 0-2/3"}, b"abc")
    assert "asked for bytes from 1 on of 3, got bytes 1-2/9" in with_part(206, {"Content-Range": "bytes 1-2/9"}, b"bc")
    assert "got no such range" in with_part(206, {}, b"bc")
    assert "the server has %s there, expected %s" % (SHA, name) in with_part(200, {"X-Linked-ETag": '"%s"' % SHA}, b"abc")
    assert "more than the 3 bytes it lists" in with_part(200, {}, b"abcd")
    assert "downloaded 2 times: f: git blob id of what came is" in with_part(200, {}, b"abd", 2)
    assert hs.check_cache(folder) == {} and os.listdir(blobs) == []


def many_requests_at_a_time_and_parts_of_files(folder):
    class Api(Evil):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with self.server.lock:
                self.server.count += 1
                self.server.inside += 1
                self.server.most = max(self.server.most, self.server.inside)
                first = self.server.count == 1
                if self.server.count >= 8:
                    self.server.all_in.set()
            self.server.all_in.wait(5) if not first else None
            status = 429 if first else 200
            self.send_response(status)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"data: ", body, b"\n\n"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            with self.server.lock:
                self.server.inside -= 1

        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.lock, server.count, server.inside, server.most, server.all_in, server.daemon_threads = threading.Lock(), 0, 0, 0, threading.Event(), True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = "http://127.0.0.1:%d/v1" % server.server_address[1]
    out = hs.probe(folder, url, "post", url, '{"a":1}', "8", HF_TOKEN="t")
    assert out == '200 data: {"a":1}\n\n\n' * 8, out
    assert server.count == 9 and server.most >= 7, (server.count, server.most)  # the refused one came again
    support.write(os.path.join(folder, "part"), b"0123456789")
    assert hs.probe(folder, url, "put", url, os.path.join(folder, "part"), "3", "4") == "200 3456\n"
    assert "what is to be sent is shorter than it was" in hs.probe(folder, url, "put", url, os.path.join(folder, "part"), "8", "4")
    server.shutdown()
    server.server_close()
    assert "error: POST http://127.0.0.1:1/v1: " in hs.probe(folder, url, "post", "http://127.0.0.1:1/v1", "{}", "1")


support.main([every_fault_ends_in_the_right_files_or_an_error_that_names_it, what_is_asked_for_wrongly_is_explained, offline_the_cache_alone_answers,
              a_killed_download_goes_on_where_it_was, a_full_disk_is_named_and_the_rest_comes_later, two_at_a_time_download_once,
              redirects_that_lead_astray_are_refused, the_token_goes_to_the_endpoint_alone, https_is_never_left_for_http,
              names_that_leave_the_snapshot_are_refused, answers_that_make_no_sense_are_refused, wrong_ranges_and_blobs_are_noticed,
              many_requests_at_a_time_and_parts_of_files])
