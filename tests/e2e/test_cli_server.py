"""gavel judge with a server as its model: an OpenAI-compatible server in this process that answers, refuses, fails and goes away as told."""
import http.server
import json
import os
import socket
import threading

from support import main, run, running, table, write

FEEDBACK = "The response is fine. [RESULT] 4"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer, models=("judge",), key=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.models, self.key = answer, models, key
        self.requests, self.lock = [], threading.Lock()

    @property
    def url(self):
        return "http://127.0.0.1:%d/v1" % self.server_address[1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse_key(self):
        if self.server.key and self.headers.get("Authorization") != "Bearer " + self.server.key:
            self.reply(401, {"error": {"message": "Incorrect API key provided"}})
            return True
        return False

    def do_GET(self):
        if self.refuse_key():
            return
        if self.path == "/v1/models":
            self.reply(200, {"object": "list", "data": [{"id": m, "object": "model", "max_model_len": 4096} for m in self.server.models]})
        else:
            self.reply(404, {"error": {"message": "no such page"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refuse_key():
            return
        with self.server.lock:
            self.server.requests.append((self.path, body))
            n = len(self.server.requests)
        self.server.answer(self, body, n)


def serving(answer, **more):
    server = Server(answer, **more)
    return running(server)


def completion(text, finish="stop", **message):
    return {"id": "c", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": finish, "message": dict({"role": "assistant", "content": text}, **message)}],
            "usage": {"prompt_tokens": 321, "completion_tokens": 45, "prompt_tokens_details": {"cached_tokens": 300}}}


def says(text, finish="stop", **message):
    return lambda handler, body, n: handler.reply(200, completion(text, finish, **message))


def judge(server, n, *more, want=0, key=None, model=""):
    write("rows.jsonl", [{"instruction": "instruction %d" % i, "generation": "answer %d" % i} for i in range(n)])
    os.environ["OPENAI_API_KEY"] = ""
    os.environ["GAVEL_API_KEY"] = key or ""
    return run("judge", "rows.jsonl", "--model", server.url + model, "--rubric", "helpfulness", "--out", "out.jsonl", *more, want=want)


def output():
    return table("out.jsonl")


def a_server_judges_every_row_with_messages_and_plain_fields(_):
    with serving(says(FEEDBACK)) as server:
        judge(server, 40, "--max-tokens", "77", "--seed", "9")
    out = output()
    assert [r["result"] for r in out] == [4] * 40 and out[0]["feedback"] == FEEDBACK and out[0]["model_name"] == "judge", out[0]
    assert len(server.requests) == 40
    path, body = server.requests[0]
    assert path == "/v1/chat/completions" and set(body) == {"model", "messages", "max_tokens", "temperature"}, body
    assert body["model"] == "judge" and body["max_tokens"] == 77 and body["temperature"] == 0
    assert [m["role"] for m in body["messages"]] == ["system", "user"] and "###Response to evaluate:" in body["messages"][1]["content"]


def sampling_is_sent_with_a_seed_for_each_answer(_):
    with serving(says(FEEDBACK)) as server:
        judge(server, 3, "--samples", "2", "--temperature", "0.7", "--top-p", "0.9", "--top-k", "40", "--repetition-penalty", "1.03")
        first = {json.dumps(b["messages"]): 0 for _, b in server.requests}
        seeds = sorted(b["seed"] for _, b in server.requests)
        body = server.requests[0][1]
        assert len(first) == 3 and len(set(seeds)) == 6 and max(seeds) < 2 ** 31
        assert body["top_p"] == 0.9 and body["top_k"] == 40 and body["repetition_penalty"] == 1.03 and "min_p" not in body
        server.requests.clear()
        judge(server, 3, "--samples", "2", "--temperature", "0.7", "--fresh")
        assert sorted(b["seed"] for _, b in server.requests) == seeds


def a_chat_template_of_ours_goes_to_completions_as_text(_):
    def answer(handler, body, n):
        handler.reply(200, {"choices": [{"index": 0, "text": FEEDBACK, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 6}})
    write("layout.jinja", "{{ bos_token }}[INST] {{ messages[0]['content'] }}\n{{ messages[1]['content'] }}[/INST]")
    with serving(answer) as server:
        judge(server, 1, "--chat-template", "layout.jinja")
    path, body = server.requests[0]
    assert path == "/v1/completions" and "messages" not in body, body
    assert body["prompt"].startswith("[INST] You are a fair judge") and body["prompt"].endswith("###Feedback: [/INST]")
    assert output()[0]["result"] == 4


def a_failure_of_one_row_stays_with_it(_):
    def answer(handler, body, n):
        text = body["messages"][1]["content"]
        if "answer 0\n" in text:
            handler.reply(400, {"error": {"message": "This model's maximum context length is 4096 tokens", "code": "context_length_exceeded"}})
        elif "answer 1\n" in text:
            handler.reply(200, completion(None, refusal="I can't help with that."))
        elif "answer 2\n" in text:
            handler.reply(200, completion("half a", finish="length"))
        elif "answer 3\n" in text:
            handler.reply(200, b"<html>busy</html>")
        elif "answer 4\n" in text:
            handler.reply(200, {"choices": []})
        elif "answer 5\n" in text:
            handler.reply(422, {"error": {"message": "unprocessable"}})
        elif "answer 6\n" in text:
            handler.reply(200, completion("no verdict"))
        else:
            handler.reply(200, completion(FEEDBACK))
    with serving(answer) as server:
        judge(server, 8, want=3)
    out = output()
    assert [r["status"] for r in out] == ["too_long", "refused", "truncated", "error", "error", "error", "unparsable", "ok"], [(r["status"], r["message"]) for r in out]
    for row, part in ((0, "maximum context length"), (1, "I can't help with that."), (3, "the server's reply: invalid JSON"), (4, "no choices[0] with a text"), (5, "422")):
        assert part in out[row]["message"], out[row]
    assert out[7]["result"] == 4


def what_passes_is_tried_again(_):
    def answer(handler, body, n):
        if n == 1:
            handler.reply(503, {"error": {"message": "loading"}}, [("Retry-After", "1")])
        elif n == 2:
            handler.reply(429, {"error": {"message": "slow down"}}, [("Retry-After", "1")])
        elif n == 3:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            handler.reply(200, completion(FEEDBACK))
    with serving(answer) as server:
        done = judge(server, 2)
    assert [r["result"] for r in output()] == [4, 4] and len(server.requests) == 5, done.err
    assert "503" in done.err and "429" in done.err, done.err


def a_lost_server_stops_the_run_which_is_then_continued(_):
    gate = {"open": False}

    def answer(handler, body, n):
        if not gate["open"] and n > 3:
            handler.reply(404, {"error": {"message": "The model `judge` does not exist."}})
        else:
            handler.reply(200, completion(FEEDBACK))
    with serving(answer) as server:
        done = judge(server, 9, "--max-batch", "1", want=1)
        assert "404" in done.err and "does not exist" in done.err, done.err
        gate["open"] = True
        server.requests.clear()
        judge(server, 9, "--max-batch", "1")
        assert len(server.requests) == 6, len(server.requests)
    assert [r["result"] for r in output()] == [4] * 9


def keys_and_model_names_are_checked_before_anything_is_judged(_):
    with serving(says(FEEDBACK), key="secret", models=("judge", "other")) as server:
        done = judge(server, 1, want=1)
        assert "401" in done.err and "Incorrect API key" in done.err and not server.requests, done.err
        done = judge(server, 1, want=2, key="secret")
        assert "has 2 models; choose one" in done.err and "'judge', 'other'" in done.err and "secret" not in done.err, done.err
        done = judge(server, 1, want=2, key="secret", model="#jugde")
        assert "has no model 'jugde'; it has 'judge', 'other'" in done.err, done.err
        judge(server, 1, key="secret", model="#other")
        assert server.requests[0][1]["model"] == "other"
        done = judge(server, 1, "--fresh", "--verdict", "constrained", want=2, key="secret", model="#other")
        assert "cannot make answers end in a verdict" in done.err, done.err


main([a_server_judges_every_row_with_messages_and_plain_fields, sampling_is_sent_with_a_seed_for_each_answer,
      a_chat_template_of_ours_goes_to_completions_as_text, a_failure_of_one_row_stays_with_it, what_passes_is_tried_again,
      a_lost_server_stops_the_run_which_is_then_continued, keys_and_model_names_are_checked_before_anything_is_judged])
