#!/usr/bin/env python3
"""What gavel run asks of the Hub beside rows, against hubsim: the layout of a server's model, pipeline files by the addresses of the Hub's pages, and an
end by Ctrl-C.

    test_pipe_hub.py GAVEL_BINARY [PART OF A TEST'S NAME]

Standard library only.
"""
import json
import os
import signal
import socket
import subprocess
import time

import hub_support as hs
import support
import test_pipe_server as servers

MODEL = "org/judge-model"
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<judge>{% endif %}"


def pipeline():
    with open(os.path.join(servers.PIPES, "files", "no_raw.yaml"), "rb") as f:
        return f.read()


def judge(folder, sim, server, out, *params, **variables):
    args = ["run", os.path.join(servers.PIPES, "files", "client_vllm.yaml"), "--dataset", servers.path("client_vllm", "input.jsonl"), "--out", os.path.join(folder, out)]
    for p in ("judge.llm.base_url=%s/v1" % server.url, "judge.llm.tokenizer=null", *params):
        args += ["--param", p]
    server.requests.clear()
    return hs.gavel(folder, sim.url, *args, want=3, **variables)


def a_clients_layout_is_that_of_its_model_in_the_hub(folder):
    config = json.dumps({"chat_template": TEMPLATE, "bos_token": "<s>"}).encode()
    files = {"models/%s/tokenizer_config.json" % MODEL: config, "models/%s/tokenizer.json" % MODEL: b"{}", "models/%s/model.safetensors" % MODEL: b"x",
             "models/org/plain/tokenizer_config.json": b'{"bos_token": "<s>"}', "models/org/other/config.json": b"{}"}
    with hs.hub(os.path.join(folder, "sim"), files) as sim, servers.serving("client_vllm", model=MODEL) as server:
        def laid_out(out, *params, **variables):
            done = judge(folder, sim, server, out, *params, **variables)
            assert len(server.requests) >= 4 and len({p for p, _ in server.requests}) == 1
            if server.requests[0][0] == "/v1/completions":
                assert all(b["prompt"].startswith("<system>You are") and b["prompt"].endswith("<judge>") for _, b in server.requests), server.requests[0]
                assert "lays messages out" not in done.err, done.err
                return True
            assert "step \"judge\": the server lays messages out, where distilabel uses the tokenizer's chat template" in done.err, done.err
            return done.err

        assert laid_out("a.jsonl") is True
        assert [r["model_name"] for r in support.table(os.path.join(folder, "a.jsonl"))].count(MODEL) >= 4
        assert {r["path"].split("/resolve/")[1].split("/", 1)[1] for r in sim.log() if "/resolve/" in r["path"]} == {"tokenizer_config.json"}
        assert laid_out("b.jsonl", HF_HUB_OFFLINE="1") is True  # from the cache
        assert laid_out("c.jsonl", "judge.llm.tokenizer=org/judge-model", "judge.llm.tokenizer_revision=main") is True
        assert "has no chat_template" in laid_out("d.jsonl", "judge.llm.tokenizer=org/plain")
        assert "org/other" in laid_out("e.jsonl", "judge.llm.tokenizer=org/other")
        assert "nope" in laid_out("f.jsonl", "judge.llm.tokenizer=" + MODEL, "judge.llm.tokenizer_revision=nope")
    with hs.hub(os.path.join(folder, "sim2"), {}) as sim, servers.serving("client_vllm", model="my-model") as server:
        done = judge(folder, sim, server, "g.jsonl")
        assert '"my-model" is no ORG/NAME of the Hub' in done.err and sim.log() == [], done.err


def the_hubs_own_addresses_get_the_token_and_no_other_host_does(folder):
    files = {"datasets/org/secret/pipeline.yaml": pipeline()}
    with hs.hub(os.path.join(folder, "sim"), files) as sim, servers.serving(files={"/resolve/main/pipeline.yaml": pipeline()}) as other:
        sim.admin("repo", {"type": "datasets", "id": "org/secret", "private": True})
        want = hs.gavel(folder, sim.url, "info", os.path.join(servers.PIPES, "files", "no_raw.yaml"), want=0).out
        for way in ("resolve", "raw"):
            url = "%s/datasets/org/secret/%s/main/pipeline.yaml" % (sim.url, way)
            assert hs.gavel(folder, sim.url, "info", url, want=0, HF_TOKEN=hs.TOKEN).out == want
            done = hs.gavel(folder, sim.url, "info", url, want=1)
            assert url in done.err and "401" in done.err, done.err
            # the same address when the Hub is another one
            assert "401" in hs.gavel(folder, other.url, "info", url, want=1, HF_TOKEN=hs.TOKEN).err
        assert hs.gavel(folder, sim.url, "info", other.url + "/resolve/main/pipeline.yaml", want=0, HF_TOKEN=hs.TOKEN).out == want
        assert other.seen and all("Authorization" not in headers for _, headers in other.seen), other.seen
        assert sim.admin("leaks") == []


def ctrl_c_ends_the_wait_for_a_pipeline_file(folder):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "http://127.0.0.1:%d" % silent.getsockname()[1]
        for address in (url + "/pipeline.yaml", "hf://datasets/org/set/pipeline.yaml"):
            p = subprocess.Popen([support.GAVEL, "info", address], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=hs.environment(folder, url))
            caller, _ = silent.accept()
            caller.recv(65536)
            p.send_signal(signal.SIGINT)
            begin = time.monotonic()
            p.communicate(timeout=60)
            assert p.returncode == 130 and time.monotonic() - begin < 20, p.returncode  # -2 would be: the signal itself ended it
            caller.close()


support.main([a_clients_layout_is_that_of_its_model_in_the_hub, the_hubs_own_addresses_get_the_token_and_no_other_host_does,
              ctrl_c_ends_the_wait_for_a_pipeline_file])
