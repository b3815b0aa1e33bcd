#!/usr/bin/env python3
"""Pipelines whose LLM is a server: the recorded runs of OpenAILLM and ClientvLLM against a stand-in that gives the recorded answers, and the seed
pipelines of vLLM pointed at a server."""
import contextlib
import http.server
import json
import os
import threading

from support import DATA, main, read, refused, run, running, table, write

PIPES = os.path.join(DATA, "pipelines")
KEY = "sk-a-key-that-must-not-be-written"


def path(name, file):
    return os.path.join(PIPES, "runs", name, file)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who asks may have enough before the end
            self.wfile.write(data)

    def do_GET(self):
        s = self.server
        s.seen.append((self.path, dict(self.headers)))
        if self.path in s.files:
            self.reply(200, s.files[self.path])
        elif self.path != "/v1/models":
            self.reply(404, {"error": {"message": "no such page"}})
        elif s.key and self.headers.get("Authorization") != "Bearer " + s.key:
            self.reply(401, {"error": {"message": "Incorrect API key provided"}})
        else:
            self.reply(200, {"data": [{"id": s.model}]})

    def do_POST(self):
        s, body = self.server, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if s.key and self.headers.get("Authorization") != "Bearer " + s.key:
            self.reply(401, {"error": {"message": "Incorrect API key provided"}})
            return
        with s.lock:
            s.requests.append((self.path, body))
        given = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        call = next(c for user, c in s.calls.items() if user in given)
        choice = {"index": 0, "finish_reason": "stop"}
        choice.update({"message": {"role": "assistant", "content": call["generations"][0]}} if "messages" in body else {"text": call["generations"][0]})
        self.reply(200, {"choices": [choice], "usage": {"prompt_tokens": call["statistics"]["input_tokens"][0],
                                                        "completion_tokens": call["statistics"]["output_tokens"][0]}})


def serving(name=None, key=None, files=None, model="hash-llm"):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.key, server.files = True, key, files or {}
    server.requests, server.lock, server.seen, server.model = [], threading.Lock(), [], model
    server.calls = {c["messages"][-1]["content"]: c for c in table(path(name, "canned.jsonl"))} if name else {}
    server.url = "http://127.0.0.1:%d" % server.server_address[1]
    return running(server)


def judge(server, name, out, *params, want=3, more=()):
    os.environ["GAVEL_API_KEY"] = os.environ["OPENAI_API_KEY"] = ""
    os.environ["HF_HUB_OFFLINE"] = "1"  # the recorded pipeline names a tokenizer of the Hub
    args = ["run", os.path.join(PIPES, "files", name + ".yaml"), "--dataset", path(name, "input.jsonl"), "--out", out, *more]
    for p in ("judge.llm.base_url=%s/v1" % server.url, *params):
        args += ["--param", p]
    return run(*args, want=want)


def same_rows(out, name):
    got, want = ([json.dumps(r) for r in table(t)] for t in (out, path(name, "rows.default.jsonl")))
    assert got == want, (got[0], want[0])


def a_client_of_openai_gives_the_recorded_rows_and_keeps_its_key_to_itself(_):
    with serving("openai", key=KEY) as server:
        judge(server, "openai", "o.jsonl", "judge.llm.model=hash-llm", "judge.llm.api_key=" + KEY)
        same_rows("o.jsonl", "openai")
        request, body = server.requests[0]
        assert request == "/v1/chat/completions" and body["max_tokens"] == 512 and body["temperature"] == 0, body
        done = judge(server, "openai", "d", "judge.llm.model=hash-llm", "judge.llm.api_key=" + KEY)
        shown = run("info", os.path.join(PIPES, "files", "openai.yaml"), "--param", "judge.llm.api_key=" + KEY, want=0).out
        found = [os.path.join(folder, f) for folder, _, files in os.walk(".") for f in files if KEY.encode() in read(os.path.join(folder, f))]
        assert not found and KEY not in shown + done.err, found
        refused(judge(server, "openai", "x.jsonl", "judge.llm.model=hash-llm", want=1), 1, 'step "judge"', "401", "Incorrect API key")
        os.environ["OPENAI_API_KEY"] = KEY
        args = ["run", os.path.join(PIPES, "files", "openai.yaml"), "--dataset", path("openai", "input.jsonl"), "--param", "judge.llm.model=hash-llm"]
        del os.environ["GAVEL_API_KEY"]
        os.environ["OPENAI_BASE_URL"] = server.url + "/v1"
        run(*args, "--param", "judge.llm.base_url=null", "--out", "e.jsonl", want=3)
        same_rows("e.jsonl", "openai")


def a_client_of_vllm_gives_the_recorded_rows_and_lays_out_what_it_has_a_template_for(_):
    with serving("client_vllm") as server:
        judge(server, "client_vllm", "o.jsonl")
        same_rows("o.jsonl", "client_vllm")
        assert {p for p, _ in server.requests} == {"/v1/chat/completions"}  # tests/interop/test_pipe_hub.py has the tokenizer
        server.requests.clear()
        layout = "judge.llm.chat_template={% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>{% endfor %}"
        judge(server, "client_vllm", "p.jsonl", layout)
        same_rows("p.jsonl", "client_vllm")
        request, body = server.requests[0]
        assert request == "/v1/completions" and body["prompt"].startswith("<system>You are a fair judge") and body["max_tokens"] == 128, body


def what_a_pipeline_asks_of_generation_is_in_the_request(_):
    with serving("openai") as server:
        body = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2, "min_tokens": 2, "stop_token_ids": [7, 8], "guided_regex": "x \"y\"", "seed": 3}
        judge(server, "openai", "o.jsonl", "judge.llm.model=hash-llm", 'judge.llm.generation_kwargs.stop=["###", "\\n\\n"]',
              "judge.llm.generation_kwargs.frequency_penalty=0.25", "judge.llm.generation_kwargs.extra_body=" + json.dumps(body))
        got = server.requests[0][1]
        want = {**body, "stop": ["###", "\n\n"], "frequency_penalty": 0.25, "temperature": 0, "max_tokens": 512, "model": "hash-llm"}
        del want["seed"]  # nothing is drawn at temperature 0
        assert {k: v for k, v in got.items() if k != "messages"} == want, got
    with serving("client_vllm") as server:
        judge(server, "client_vllm", "c.jsonl", 'judge.llm.generation_kwargs.logit_bias={"5": -1.5, "6": 2}')
        assert server.requests[0][1]["logit_bias"] == {"5": -1.5, "6": 2}, server.requests[0][1]


TEMPLATE = "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<judge>{% endif %}"


def a_client_of_vllm_takes_the_layout_of_its_tokenizer(_):
    os.makedirs("tokenizer")
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": TEMPLATE}]
    for config in ({"chat_template": TEMPLATE, "bos_token": "<s>"}, {"chat_template": named}):
        with open("tokenizer/tokenizer_config.json", "w", encoding="utf-8") as f:
            json.dump(config, f)
        with serving("client_vllm") as server:
            done = judge(server, "client_vllm", "o.jsonl", "judge.llm.tokenizer=tokenizer", more=["--fresh"])
            same_rows("o.jsonl", "client_vllm")
            assert "chat template" not in done.err, done.err
            assert {p for p, _ in server.requests} == {"/v1/completions"}
            assert all(b["prompt"].startswith("<system>You are a fair judge") and b["prompt"].endswith("###Feedback: <judge>") for _, b in server.requests)
    with serving("client_vllm") as server:
        refused(judge(server, "client_vllm", "o.jsonl", want=1), 1, "o.jsonl.run belongs to a run with other settings", "llm.tokenizer")
        write("tokenizer/tokenizer_config.json", b"{}")
        done = judge(server, "client_vllm", "p.jsonl", "judge.llm.tokenizer=tokenizer")
        assert "the server lays messages out" in done.err and "tokenizer/tokenizer_config.json has no chat_template" in done.err, done.err
        assert {p for p, _ in server.requests} == {"/v1/chat/completions"}
        assert "the server lays messages out" in read("p.jsonl.run.log").decode()


def a_pipeline_of_a_gpu_is_pointed_at_a_server_by_its_model(_):
    with serving("no_raw") as server:
        args = ["run", os.path.join(PIPES, "files", "no_raw.yaml"), "--dataset", path("no_raw", "input.jsonl"), "--out", "o.jsonl"]
        done = run(*args, "--model", server.url + "/v1#hash-llm")
        assert done.code in (0, 3), done.err
        same_rows("o.jsonl", "no_raw")
        assert all(p == "/v1/completions" and b["prompt"].startswith("[INST] You are a fair") for p, b in server.requests)


def a_pipeline_file_comes_from_a_url_and_errors_name_it(_):
    with open(os.path.join(PIPES, "files", "no_raw.yaml"), "rb") as f:
        text = f.read()
    with serving(files={"/raw/main/pipeline.yaml": text, "/bad.yaml": b"a: [", "/big.yaml": b"#" * (17 << 20)}) as server:
        from_url = run("info", server.url + "/raw/main/pipeline.yaml", want=0).out
        assert from_url == run("info", os.path.join(PIPES, "files", "no_raw.yaml"), want=0).out
        for name, part in (("/none.yaml", "404"), ("/bad.yaml", "line"), ("/big.yaml", "16777216")):
            refused(run("info", server.url + name), 1, server.url + name, part)
    refused(run("info", "hf://datasets/org"), 2, "expected hf://datasets/ORG/NAME[@REV]/FILE")


if __name__ == "__main__":
    main([
        a_client_of_openai_gives_the_recorded_rows_and_keeps_its_key_to_itself,
        a_client_of_vllm_gives_the_recorded_rows_and_lays_out_what_it_has_a_template_for,
        what_a_pipeline_asks_of_generation_is_in_the_request,
        a_client_of_vllm_takes_the_layout_of_its_tokenizer,
        a_pipeline_of_a_gpu_is_pointed_at_a_server_by_its_model,
        a_pipeline_file_comes_from_a_url_and_errors_name_it,
    ])
