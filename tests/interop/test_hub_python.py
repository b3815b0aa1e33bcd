#!/usr/bin/env python3
"""One cache for gavel and the official Python client (build/interop, made by script/interop), in both directions; models of the Hub in every command
that takes one; the parts of the Hub client that no command shows.

    test_hub_python.py GAVEL_BINARY [PART OF A TEST'S NAME]
"""
import os
import subprocess
import sys

import hub_support as hs
import support

sys.path.insert(0, os.path.join(hs.HERE, "..", "support", "hubsim"))
import hubsim  # noqa: E402

TEXT = b"# A data set\n" * 40
BIG = bytes(range(256)) * 2000
TINY = support.read(os.path.join(support.DATA, "gguf", "tiny-llama.gguf"))
DATA = {"datasets/org/d/README.md": TEXT, "datasets/org/d/a/b/train.parquet": BIG, "datasets/org/d/empty.txt": b""}


def bodies(sim):
    """Requests for content, not for what is there."""
    return [r for r in sim.admin("log") if r["method"] == "GET" and (r["port"] == "cdn" or "/resolve" in r["path"]) and r["status"] != 302]


def python_reads_what_gavel_pulled(folder):
    with hs.hub(os.path.join(folder, "sim"), DATA) as sim:
        place = hs.gavel(folder, sim.url, "pull", "org/d", "--repo-type", "dataset", want=0).out.strip()
        sim.admin("clear")
        code = """if 1:
            import os, sys
            from huggingface_hub import hf_hub_download, snapshot_download, scan_cache_dir, try_to_load_from_cache
            print(hf_hub_download("org/d", "a/b/train.parquet", repo_type="dataset"))
            print(snapshot_download("org/d", repo_type="dataset"))
            print(sorted(f.file_name for r in scan_cache_dir().repos for v in r.revisions for f in v.files), len(scan_cache_dir().warnings))"""
        offline = hs.python(folder, sim.url, code, HF_HUB_OFFLINE="1").split("\n")
        assert offline[:2] == [place + "/a/b/train.parquet", place], offline
        assert offline[2] == "['README.md', 'empty.txt', 'train.parquet'] 0", offline
        assert sim.admin("log") == []
        assert hs.python(folder, sim.url, code).split("\n") == offline
        assert len(sim.admin("log")) > 0 and bodies(sim) == [], bodies(sim)
        files = {"/".join(p.split("/")[3:]): c for p, c in DATA.items()}
        assert hs.check_cache(folder) == files


def gavel_reads_what_python_pulled(folder):
    with hs.hub(os.path.join(folder, "sim"), dict(DATA, **{"models/org/m/m.Q8_0.gguf": TINY})) as sim:
        place = hs.python(folder, sim.url, 'from huggingface_hub import snapshot_download as s; print(s("org/d", repo_type="dataset")); s("org/m")')
        sim.admin("clear")
        plan = hs.gavel(folder, sim.url, "pull", "org/d", "--repo-type", "dataset", "--dry-run", want=0)
        assert [line.split("\t")[0] for line in plan.out.splitlines()] == ["cached"] * 3 and "3 files, 0 B of 513 kB to download" in plan.err, plan.out + plan.err
        assert hs.gavel(folder, sim.url, "pull", "org/d", "--repo-type", "dataset", want=0).out.strip() == place
        assert bodies(sim) == [] and len(sim.admin("log")) == 2, sim.admin("log")  # the revision, twice; its listing is in the cache
        sim.admin("clear")
        assert hs.gavel(folder, sim.url, "pull", "org/d", "--repo-type", "dataset", want=0, HF_HUB_OFFLINE="1").out.strip() == place
        assert "GGUF v3" in hs.gavel(folder, sim.url, "inspect", "org/m", want=0, HF_HUB_OFFLINE="1").out
        assert sim.admin("log") == []
        # a listing that cannot be used is asked for again, and so is a blob of another size
        trees = os.path.join(folder, "hub", "datasets--org--d", "trees")
        support.write(os.path.join(trees, os.listdir(trees)[0]), b'{"format_version": 2}')
        with open(os.path.realpath(place + "/README.md"), "ab") as f:
            f.write(b"x")
        hs.gavel(folder, sim.url, "pull", "org/d", "--repo-type", "dataset", want=0)
        assert len(sim.log("GET /api/datasets/org/d/tree")) == 1 and len(bodies(sim)) == 2  # through a redirect
        hs.check_cache(folder)


def python_goes_on_with_a_file_that_changed_hands(folder):
    """Both take the same lock and leave the same names."""
    with hs.hub(os.path.join(folder, "sim"), {"datasets/org/d/train.parquet": BIG}) as sim:
        sim.admin("faults", "slow:chunk=50000,seconds=0.2@cdn GET#1")
        p = subprocess.Popen([support.GAVEL, "pull", "org/d", "--repo-type", "dataset", "--quiet"], env=hs.environment(folder, sim.url),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        hs.wait_for_size(os.path.join(folder, "hub"), 50000)
        hs.python(folder, sim.url, 'from huggingface_hub import hf_hub_download as d; print(d("org/d", "train.parquet", repo_type="dataset"))')
        assert support.finish(p).code == 0
        support.wait_until(lambda: sim.log("cdn GET"))  # a request is in the log when it is over
        assert len(sim.log("cdn GET")) == 1, [(r["t"], r["seconds"], r["status"], r["req_headers"]) for r in sim.log("cdn GET")]
        assert hs.check_cache(folder) == {"train.parquet": BIG}


def a_hub_model_is_a_model_everywhere(folder):
    files = {"models/org/m-GGUF/m-%s.gguf" % q: TINY + q.encode() for q in ("Q2_K", "Q4_K_M", "Q8_0")}
    files["models/org/m-GGUF/mmproj-F16.gguf"] = b"no judge"
    files["models/org/one/one.Q8_0.gguf"] = TINY
    files["models/org/tok/tokenizer.model"] = support.read(os.path.join(support.DATA, "tokenizers", "mistral_v1.model"))
    files["models/org/tok/model.safetensors"] = b"weights"
    with hs.hub(os.path.join(folder, "sim"), files) as sim:
        several = hs.gavel(folder, sim.url, "inspect", "org/m-GGUF", want=2).err
        assert "--model org/m-GGUF: org/m-GGUF has several quantisations, choose one as in org/m-GGUF:" in several, several
        assert "it has Q2_K (7.9 kB), Q4_K_M (7.9 kB), Q8_0 (7.9 kB)\n" in several, several
        assert "has no quantisation Q5_0; it has Q2_K" in hs.gavel(folder, sim.url, "pull", "org/m-GGUF:Q5_0", want=2).err
        got = hs.gavel(folder, sim.url, "inspect", "org/m-GGUF:q4_k_m@main", want=0)
        assert "/m-Q4_K_M.gguf: GGUF v3" in got.out and "downloaded" in got.err
        assert sorted(hs.check_cache(folder)) == ["m-Q4_K_M.gguf"]
        again = hs.gavel(folder, sim.url, "inspect", "org/m-GGUF:Q4_K_M", want=0)
        assert again.out == got.out and again.err == "", again.err
        ids = hs.gavel(folder, sim.url, "logits", support.write("ids", [{"ids": [1, 2, 3]}]), "--model", "org/one", "--out", "logits", want=0)
        assert ids.err.startswith("downloaded 7.87 kB of 7.87 kB, ") and os.path.getsize("logits") > 0, ids.err
        rows = support.write("rows.jsonl", support.rows(2))
        judged = hs.gavel(folder, sim.url, "judge", rows, "--model", "org/one", "--rubric", "helpfulness", "--out", "out.jsonl", "--max-tokens", "8",
                         "--chat-template", "none")
        assert judged.code in (0, 3) and len(support.table("out.jsonl")) == 2, judged.err
        place = hs.gavel(folder, sim.url, "verify", "out.jsonl.run", HF_HUB_OFFLINE="1")
        assert "2 of 2 rows judged again" in place.out, place.err
        text = support.write("text.jsonl", [{"text": "Hello"}])
        assert len(hs.gavel(folder, sim.url, "tokenize", text, "--model", "org/tok", want=0).lines()[0]["ids"]) == 1
        assert sim.log("safetensors") == [] and len(sim.log("tokenizer.model")) > 0
        missing = hs.gavel(folder, sim.url, "inspect", "org/none.gguf", want=1).err  # a file name, not a repository
        assert missing == "gavel: cannot open org/none.gguf: No such file or directory\n", missing


def the_right_files_of_a_repository_are_taken(folder):
    names = ["config.json", "generation_config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
             "special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"]
    more = ["README.md", "consolidated.safetensors", "pytorch_model.bin", "flax_model.msgpack", "original/model.safetensors", "optimizer.pt", "m.Q4_0.gguf"]
    files = {"models/org/m/" + n: n.encode() for n in names + more}
    files.update({"models/org/parts/q8/big-Q8_0-0000%d-of-00003.gguf" % i: b"part%d" % i for i in (1, 2, 3)})
    files.update({"models/org/parts/big-Q4_0-00001-of-00002.gguf": b"half"})
    with hs.hub(os.path.join(folder, "sim"), files) as sim:
        def plan(*args):
            return [line.split("\t")[2] for line in hs.gavel(folder, sim.url, "pull", *args, "--dry-run", want=0).out.splitlines()]

        assert plan("org/m") == names, plan("org/m")
        assert plan("org/m:Q4_0") == ["m.Q4_0.gguf"]
        assert plan("org/m", "--include", "*.md", "--include", "original/*") == ["README.md", "original/model.safetensors"]
        assert plan("org/parts:Q8_0") == ["q8/big-Q8_0-0000%d-of-00003.gguf" % i for i in (1, 2, 3)]
        assert "1 of the 2 parts of big-Q4_0-00001-of-00002.gguf are there" in hs.gavel(folder, sim.url, "pull", "org/parts:Q4_0", want=1).err
        assert hs.check_cache(folder) == {}


def single_files_and_what_is_not_there(folder):
    with hs.hub(os.path.join(folder, "sim"), DATA) as sim:
        def get(repo, name, **more):
            return hs.probe(folder, sim.url, "get", "dataset", repo, name, **more).strip()

        place = get("org/d", "a/b/train.parquet")
        assert place.endswith("/a/b/train.parquet") and support.read(place) == BIG
        assert get("org/d", "README.md", HF_HUB_OFFLINE="1").startswith("error: offline, and the cache ")
        assert support.read(get("org/d", "README.md")) == TEXT
        assert get("org/d", "no.txt") == "not there"
        commit = place.split("/snapshots/")[1].split("/")[0]
        asked = len(sim.admin("log"))
        assert get("org/d@" + commit, "no.txt") == "not there" and get("org/d@" + commit, "README.md").endswith("README.md")
        assert get("org/d", "a/b/train.parquet", HF_HUB_OFFLINE="1") == place
        assert len(sim.admin("log")) == asked
        assert get("org/d", "../x").startswith("error: the file name ../x is refused")
        assert "has no revision nope" in get("org/d@nope", "x")
        known = hs.python(folder, sim.url, """if 1:
            from huggingface_hub import try_to_load_from_cache as t, _CACHED_NO_EXIST as no
            print(t("org/d", "a/b/train.parquet", repo_type="dataset"), t("org/d", "no.txt", repo_type="dataset") is no)""", HF_HUB_OFFLINE="1")
        assert known == place + " True", known


def converted_parquet_files_are_listed(folder):
    files = {"datasets/org/p/train.jsonl": b'{"x": 1}\n{"x": 2}\n'}
    with hs.hub(os.path.join(folder, "sim"), files) as sim:
        assert hs.probe(folder, sim.url, "parquet", "org/p") == "none whole \n"
        place = os.path.join(sim.root, "datasets", "org", "p")
        repo = hubsim.Repo.open("datasets", "org/p", place, lambda: 1700000000)
        converted = {"default/train/0000.parquet": repo.put(b"PAR1", lfs=True), "default/train/0001.parquet": repo.put(b"PAR1 too", lfs=True)}
        repo.write_commit("refs/convert/parquet", converted, [], "Update parquet files", "", "parquet-converter")
        sim.admin("rescan", {})
        for partial, first in ((False, "found whole "), (True, "found partial ")):
            sim.admin("repo", {"type": "datasets", "id": "org/p", "partial": partial})
            lines = hs.probe(folder, sim.url, "parquet", "org/p").splitlines()
            assert lines == [first + repo.refs["refs/heads/main"], "default train 0000.parquet 4", "default train 0001.parquet 8"], lines


support.main([python_reads_what_gavel_pulled, gavel_reads_what_python_pulled, python_goes_on_with_a_file_that_changed_hands,
              a_hub_model_is_a_model_everywhere, the_right_files_of_a_repository_are_taken, single_files_and_what_is_not_there,
              converted_parquet_files_are_listed])
