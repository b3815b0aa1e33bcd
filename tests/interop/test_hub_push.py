#!/usr/bin/env python3
"""gavel push against a Hub that fails: every fault of hubsim that an upload can meet ends in one commit with the right files, or in an error that names it
and no commit; never in two commits, and never in a token at another host.

    test_hub_push.py GAVEL_BINARY [PART OF A TEST'S NAME]

Standard library only, but for the test with the official client.
"""
import concurrent.futures
import hashlib
import json
import os
import signal
import subprocess
import urllib.request

import hub_support as hs
import support

CARD = b"---\nconfigs:\n- config_name: default\n  data_files: data/*.jsonl\n---\n# Rows\n"
BIG = bytes((i * 11 + (i >> 8) * 5 + (i >> 16)) & 255 for i in range(3 << 20))
FILES = {"README.md": CARD, "data/train.jsonl": b'{"a": 1}\n' * 50, "data/big.bin": BIG, "empty.txt": b"", "deep/er/x.txt": b"x"}

# NAME: (rules, exit code, parts of the messages, commits of ours, options).  A rule is (fault, port, method and path; more); @ stands for the repository.
CREATE, INFO, CARD_AT = "hub POST /api/repos/create", "hub GET /api/datasets/org/@/revision/", "hub POST /api/validate-yaml"
PRE, BATCH, PUT = "hub POST /api/datasets/org/@/preupload", "hub POST /datasets/org/@.git/info/lfs/objects/batch", "cdn PUT .*"
COMMIT = "hub POST /api/datasets/org/@/commit/"
CASES = {
    "plain": ([], 0, ["one commit, 5 files sent, 0 there before, 0 deleted; the repository is new"], 1),
    "limits": ([("429", INFO, {"t": 0, "style": "none"}), ("429", PRE, {"t": 0, "style": "none"}), ("429", BATCH, {"style": "none"})], 0, ["try 2 of 6"], 1),
    "fails": ([("503", PRE, {}), ("500", BATCH, {})], 0, ["503", "500"], 1),
    "drops": ([("drop", PRE, {}), ("drop", BATCH, {"reset": 1})], 0, [], 1),
    "pre-always": ([("503", PRE, {"times": -1})], 1, ["/preupload/main: 503"], 0, "--retries", "0"),
    "batch-403": ([("status", BATCH, {"status": 403, "message": "no room left", "times": -1})], 1, ["403", "no room left"], 0),
    "commit-503": ([("503", COMMIT, {})], 0, ["looking whether the commit was made"], 1),
    "commit-429": ([("429", COMMIT, {"t": 1, "style": "retry-after"})], 0, ["429"], 1),
    "commit-drop": ([("drop", COMMIT, {})], 0, ["looking whether the commit was made"], 1),
    "commit-lost": ([("commit-lost", COMMIT, {})], 0, ["looking whether the commit was made"], 1),
    "commit-conflict": ([("conflict", COMMIT, {"times": 2})], 0, ["409", "nother conflicting operation"], 1),
    "commit-stale": ([("precondition", COMMIT, {})], 0, ["412"], 1),
    "commit-refused": ([("status", COMMIT, {"status": 400, "message": "bad card", "times": -1})], 1, ["cannot commit to org/commit-refused", "bad card"], 0),
    "gated": ([("gated", INFO, {"times": -1})], 1, ["gated"], 0),
    "disabled": ([("disabled", PRE, {"times": -1})], 1, ["Access to this resource is disabled"], 0),
}


def rules():
    return [dict({"fault": fault, "match": match.replace("@", name)}, **more) for name, (faults, *_) in CASES.items() for fault, match, more in faults]


def folder_of(place, files=None):
    for path, content in (FILES if files is None else files).items():
        os.makedirs(os.path.dirname(os.path.join(place, path)), exist_ok=True)
        support.write(os.path.join(place, path), content)
    return place


def get(sim, path):
    request = urllib.request.Request(sim.url + path, headers={"Authorization": "Bearer " + hs.TOKEN})
    with urllib.request.urlopen(request) as r:
        return json.loads(r.read())


def head(sim, repo):
    """{path: blob name} of the head, without what the server puts there."""
    tree = get(sim, "/api/datasets/%s/tree/main?recursive=true" % repo)
    return {e["path"]: e["lfs"]["oid"] if "lfs" in e else e["oid"] for e in tree if e["type"] == "file" and e["path"] != ".gitattributes"}


def commits(sim, repo):
    return [c["title"] for c in get(sim, "/api/datasets/%s/commits/main" % repo) if c["title"] != "initial commit"]


def names(files):
    return {path: hs.blob_name(content, path.endswith(".bin")) for path, content in files.items()}


def push(folder, sim, *args, **more):
    return hs.gavel(folder, sim.url, "push", *args, **dict({"HF_TOKEN": hs.TOKEN}, **more))


def one_case(sim, folder, name):
    _, code, parts, n_commits, *options = CASES[name]
    home = os.path.join(folder, "home-" + name)
    os.mkdir(home)
    done = push(home, sim, os.path.join(folder, "files"), "org/" + name, *options)
    assert done.code == code, "%s: exit %d\n%s" % (name, done.code, done.err)
    for part in parts:
        assert part in done.err, "%s: %r is not in %s" % (name, part, done.err)
    if name == "gated":
        return
    made = commits(sim, "org/" + name)
    assert made == ["Upload with gavel"] * n_commits, "%s: %s\n%s" % (name, made, done.err)
    assert head(sim, "org/" + name) == (names(FILES) if n_commits else {}), name


def every_fault_ends_in_one_commit_or_an_error_that_names_it(folder):
    folder_of(os.path.join(folder, "files"))
    with hs.hub(os.path.join(folder, "sim"), {}) as sim:
        sim.admin("faults", rules())
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            wrong = []
            for name, job in [(n, pool.submit(one_case, sim, folder, n)) for n in CASES]:
                try:
                    job.result()
                except AssertionError as e:
                    wrong.append("%s: %s" % (name, e))
        assert not wrong, "\n".join(wrong)
        assert sim.unused_faults() == [], sim.unused_faults()
        assert sim.admin("leaks") == [] and len(sim.log("cdn PUT")) > 5


# What has no repository in its path, one after another: (rule, exit code, parts, commits, options of hubsim).
SHARED = [
    ("create-lost@%s" % CREATE, 0, [], 1), ("503@%s" % CREATE, 0, [], 1), ("drop@%s" % CREATE, 0, [], 1), ("conflict@%s" % CREATE, 0, [], 1),
    ("status:status=403,message=You-may-not@%s#-1" % CREATE, 1, ["cannot make org/d", "You-may-not"], None),
    ("status:status=400,message=invalid-metadata@%s#-1" % CARD_AT, 1, ["the Hub refuses the card", "README.md", "invalid-metadata"], 0),
    ("503@%s" % CARD_AT, 0, [], 1),
    ("503@cdn PUT", 0, ["503"], 1), ("reset@cdn PUT", 0, [], 1), ("drop@cdn PUT", 0, ["try 2 of 6"], 1), ("429:t=0@cdn PUT", 0, ["429"], 1),
    ("expired@cdn PUT", 0, ["once more with a new address"], 1), ("expired@cdn PUT#-1", 1, ["data/big.bin", "403"], 0),
    ("503@objects/verify", 0, ["503"], 1), ("lost@objects/verify", 0, [], 1), ("503@complete_multipart", 0, ["503"], 1), ("lost@complete_multipart", 0, [], 1),
]


def shared_case(folder, i):
    rule, code, parts, n_commits = SHARED[i]
    with hs.hub(os.path.join(folder, "sim%d" % i), {}, "--faults", rule, "--lfs-chunk", "1000000") as sim:
        home = os.path.join(folder, "home%d" % i)
        os.mkdir(home)
        done = push(home, sim, os.path.join(folder, "files"), "org/d", *(["--retries", "1"] if rule.endswith("-1") else []))
        assert done.code == code, (rule, done.code, done.err)
        for part in parts:
            assert part in done.err, (rule, part, done.err)
        assert n_commits is None or commits(sim, "org/d") == ["Upload with gavel"] * n_commits, (rule, commits(sim, "org/d"))
        assert n_commits != 1 or head(sim, "org/d") == names(FILES), rule
        assert sim.unused_faults() == [] and sim.admin("leaks") == [], (rule, sim.unused_faults())


def faults_of_the_whole_hub_end_alike(folder):
    folder_of(os.path.join(folder, "files"))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for job in [pool.submit(shared_case, folder, i) for i in range(len(SHARED))]:
            job.result()


def a_second_push_sends_only_what_is_new(folder):
    place = folder_of(os.path.join(folder, "files"))
    with hs.hub(os.path.join(folder, "sim"), {}) as sim:
        first = push(folder, sim, place, "org/d", "--message", "one", want=0)
        again = push(folder, sim, place, "org/d", want=0)
        assert again.out == first.out and "has all 5 files already, nothing to commit" in again.err, again.err
        os.unlink(os.path.join(place, "data/train.jsonl"))
        support.write(os.path.join(place, "data/b.jsonl"), b"{}\n")
        third = push(folder, sim, place, "org/d", "--delete", "data/*.jsonl", "--message", "two", want=0)
        assert "one commit, 1 files sent, 4 there before, 1 deleted" in third.err, third.err
        assert commits(sim, "org/d") == ["two", "one"] and len(sim.log("cdn PUT")) == 1
        assert sorted(head(sim, "org/d")) == ["README.md", "data/b.jsonl", "data/big.bin", "deep/er/x.txt", "empty.txt"]
        assert push(folder, sim, place, "org/d", "--dry-run", want=0).out.splitlines()[0] == "%d\tREADME.md" % len(CARD)


def a_killed_push_goes_on_and_nobody_saw_half_of_it(folder):
    files = {"a.bin": BIG, "b.bin": BIG[::-1], "README.md": CARD}
    place = folder_of(os.path.join(folder, "files"), files)
    for number, code in ((signal.SIGKILL, 137), (signal.SIGINT, 130)):
        with hs.hub(os.path.join(folder, "sim%d" % number), {}, "--faults", "delay:seconds=5,skip=1@cdn PUT") as sim:
            p = subprocess.Popen([support.GAVEL, "push", place, "org/d"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=hs.environment(folder, sim.url, HF_TOKEN=hs.TOKEN))
            support.wait_until(lambda: sim.admin("faults")[0]["_seen"] >= 2)
            p.send_signal(number)
            done = support.finish(p)
            assert done.code == code and commits(sim, "org/d") == [], (done.code, done.err)
            assert number == signal.SIGKILL or "nothing was committed, and the same command continues" in done.err, done.err
            push(folder, sim, place, "org/d", want=0)
            assert head(sim, "org/d") == names(files) and len(commits(sim, "org/d")) == 1
            sent = [r["path"] for r in sim.log("cdn PUT") if r["status"] == 200]
            assert len(sent) <= 3 and len(sent) - len(set(sent)) <= 1, "what was there was sent again: %s" % sent


def what_cannot_be_pushed_is_explained(folder):
    place = folder_of(os.path.join(folder, "files"))
    with hs.hub(os.path.join(folder, "sim"), {"datasets/org/open/a.txt": b"a", "datasets/org/picky/.gitignore": b"*.jsonl\n"}) as sim:
        def fails(code, *args, **variables):
            done = push(folder, sim, *args, **variables)
            assert done.code == code and done.err.count("\n") == 1, (done.code, done.err)
            return done.err

        assert "needs a token that may write: put one into HF_TOKEN" in fails(1 + 1, place, "org/d", HF_TOKEN=None)
        assert "the Hub does not accept your token" in fails(1, place, "org/d", HF_TOKEN="hf_wrong")
        assert "org/open is public; it was to be private, so nothing was pushed" in fails(1, place, "org/open", "--private")
        assert "data/train.jsonl would be lost: .gitignore of org/picky excludes it" in fails(1, place, "org/picky")
        assert "is a file; push takes a folder" in fails(2, os.path.join(place, "README.md"), "org/d")
        assert "No such file" in fails(1, os.path.join(folder, "none"), "org/d")
        assert "has no files that match --include" in fails(2, place, "org/d", "--include", "*.none")
        assert "a push goes to ORG/NAME[@BRANCH]" in fails(2, place, "org/d:Q8_0", "--repo-type", "model")
        assert "has no revision refs/pr/7" in fails(1, place, "org/open@refs/pr/7")
        assert "org/none is not there, and a new one has no revision refs/pr/7" in fails(2, place, "org/none@refs/pr/7")
        nobody = fails(2, place, "bare", HF_TOKEN=None)
        assert "needs a token that may write" in nobody and "bare has no owner, and whose token it is cannot be told; give ORG/bare" in nobody, nobody
        assert "the Hub does not accept your token" in fails(1, place, "bare", HF_TOKEN="hf_wrong")
        assert commits(sim, "org/open") == ["Seed"]
        push(folder, sim, place, "org/secret", "--private", want=0)
        assert get(sim, "/api/datasets/org/secret")["private"] is True


def a_bare_name_is_the_users_and_a_branch_is_made_from_main(folder):
    place = folder_of(os.path.join(folder, "files"))
    faults = ["503@hub GET /api/whoami-v2", "create-lost@" + CREATE, "drop@hub POST /api/datasets/org/old/branch/"]
    with hs.hub(os.path.join(folder, "sim"), {"datasets/org/old/theirs.txt": b"theirs"}, *[a for f in faults for a in ("--faults", f)]) as sim:
        user = get(sim, "/api/whoami-v2")["name"]
        done = push(folder, sim, place, "bare", want=0)
        assert "/datasets/%s/bare: one commit, 5 files sent" % user in done.err and head(sim, user + "/bare") == names(FILES), done.err
        again = push(folder, sim, place, user + "/bare", want=0)
        assert again.out == done.out and "nothing to commit" in again.err, again.err
        push(folder, sim, place, "org/old@a/b", want=0)
        push(folder, sim, place, "org/new@next", want=0)
        for repo, branch, more in (("org/old", "a%2Fb", {"theirs.txt"}), ("org/new", "next", set())):
            tree = get(sim, "/api/datasets/%s/tree/%s?recursive=true" % (repo, branch))
            assert {e["path"] for e in tree if e["type"] == "file"} - {".gitattributes"} == set(FILES) | more, (repo, tree)
            assert set(head(sim, repo)) == more, "main of %s was touched" % repo
        assert sim.unused_faults() == [] and sim.admin("leaks") == [], sim.unused_faults()


def a_file_that_changes_meanwhile_is_not_committed(folder):
    place = folder_of(os.path.join(folder, "files"))
    with hs.hub(os.path.join(folder, "sim"), {}, "--faults", "delay:seconds=2@cdn PUT") as sim:
        p = subprocess.Popen([support.GAVEL, "push", place, "org/d"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=hs.environment(folder, sim.url, HF_TOKEN=hs.TOKEN))
        support.wait_until(lambda: sim.admin("faults")[0]["_seen"] >= 1)
        support.write(os.path.join(place, "data/train.jsonl"), b"{}\n")
        done = support.finish(p)
        assert done.code == 1 and "data/train.jsonl changed while it was being pushed; nothing was committed" in done.err, done.err
        assert commits(sim, "org/d") == []


def others_commits_stay(folder):
    """Somebody commits between our reading of the head and our commit."""
    place = folder_of(os.path.join(folder, "files"))
    with hs.hub(os.path.join(folder, "sim"), {"datasets/org/d/other.txt": b"a"}, "--faults", "delay:seconds=2@cdn PUT") as sim:
        p = subprocess.Popen([support.GAVEL, "push", place, "org/d"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=hs.environment(folder, sim.url, HF_TOKEN=hs.TOKEN))
        support.wait_until(lambda: sim.admin("faults")[0]["_seen"] >= 1)
        more = folder_of(os.path.join(folder, "more"), {"theirs.txt": b"theirs"})
        push(os.path.join(folder, "more"), sim, more, "org/d", "--include", "theirs.txt", "--repo-type", "dataset", "--message", "theirs", want=0)
        done = support.finish(p)
        assert done.code == 0 and "412" in done.err and "was committed meanwhile; ours goes on top of it" in done.err, done.err
        assert commits(sim, "org/d")[:2] == ["Upload with gavel", "theirs"] and set(head(sim, "org/d")) == set(FILES) | {"other.txt", "theirs.txt"}


def the_python_client_reads_what_was_pushed(folder):
    place = folder_of(os.path.join(folder, "files"))
    with hs.hub(os.path.join(folder, "sim"), {}, "--lfs-chunk", "1000000") as sim:
        push(folder, sim, place, "org/d", want=0)
        code = ("import datasets, hashlib, huggingface_hub as h\n"
                "print(datasets.load_dataset('org/d')['train'].num_rows)\n"
                "print(hashlib.sha256(open(h.hf_hub_download('org/d', 'data/big.bin', repo_type='dataset'), 'rb').read()).hexdigest())\n")
        assert hs.python(os.path.join(folder, "home"), sim.url, code).split("\n")[-2:] == ["50", hashlib.sha256(BIG).hexdigest()]


support.main([every_fault_ends_in_one_commit_or_an_error_that_names_it, faults_of_the_whole_hub_end_alike, a_second_push_sends_only_what_is_new,
              a_killed_push_goes_on_and_nobody_saw_half_of_it, what_cannot_be_pushed_is_explained,
              a_bare_name_is_the_users_and_a_branch_is_made_from_main, a_file_that_changes_meanwhile_is_not_committed,
              others_commits_stay, the_python_client_reads_what_was_pushed])
