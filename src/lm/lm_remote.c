/* lm over one OpenAI-compatible server (vLLM, SGLang, llama-server, the OpenAI API).
 *
 * --model http://HOST:PORT/v1[#MODEL].  At open the server's list of models is asked once: MODEL must be in it, and without one the list must
 * have a single entry.  A request is POST /chat/completions with the messages, which the server lays out; with a chat template of ours it is
 * POST /completions with the text that we laid out, to which the server adds its BOS.  What OpenAI's API does not know (top_k, min_p,
 * repetition_penalty) is sent only if it is asked for: servers that refuse unknown fields then say so.
 *
 * A reply that is no answer ends its request with a message; what no row can change (no connection after all tries, 401, 403, 404, 429
 * after all tries) breaks the lm, so that a run stops and can be continued.  Format of requests and replies: the OpenAI API reference,
 * chat/create and completions/create, and vLLM's protocol for the fields above. */
#include "lm/lm_internal.h"

#include "base/json.h"
#include "base/thread.h"
#include "http/http.h"
#include "lm/layout.h"

#include <stdlib.h>

enum {
    IN_FLIGHT = 32,         /* requests at a time unless --max-batch says otherwise */
    STALL_MS = 1800 * 1000, /* a server may queue a request for long before its first byte */
    MAX_REPLY = 8 << 20,    /* bytes of a reply; an answer has some KB */
    MAX_MODELS_SHOWN = 8,
};

typedef struct remote_request {
    uint64_t id;
    http_call *call;
    buf body; /* stays until the call is done */
    int64_t start_us;
    bool cancelled;
} remote_request;

typedef struct lm_remote {
    lm base;
    http *h;
    lm_caps caps;
    char *url, *model, *numerics; /* url without "#MODEL" and a final slash */
    const char *token;
    layout *chat; /* NULL: the server's own */
    remote_request *v;
    size_t n, cap;
    lm_result *out;
    size_t cap_out;
    arena texts; /* of the results of the last poll */
    lm_stats stats;
    gv_err dead; /* why no further request will fare better; told once all that came before is handed out */
} lm_remote;

bool lm_is_remote(const char *model) {
    return strncmp(model, "http://", 7) == 0 || strncmp(model, "https://", 8) == 0;
}

/* ---- requests ---- */

/* A seed for each answer of the run: servers take one number.  splitmix64 of the keys of the generator; 31 bits, which every server takes. */
static uint64_t seed_of(const lm_request *r) {
    const uint64_t keys[] = {r->sampling.seed, r->row, r->sample, r->attempt};
    uint64_t z = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        z += keys[i] + 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
    }
    return z & 0x7fffffff;
}

static void put_number(buf *out, const char *name, double v) {
    buf_printf(out, ",\"%s\":", name);
    json_put_double(out, v);
}

static void put_sampling(const lm_request *r, buf *out) {
    const lm_sampling *s = &r->sampling;
    buf_printf(out, ",\"max_tokens\":%lld", (long long)s->max_tokens);
    put_number(out, "temperature", s->temperature);
    if (s->temperature > 0) buf_printf(out, ",\"seed\":%llu", (unsigned long long)seed_of(r));
    if (s->top_p > 0 && s->top_p < 1) put_number(out, "top_p", s->top_p);
    if (s->top_k > 0) buf_printf(out, ",\"top_k\":%lld", (long long)s->top_k);
    if (s->min_p > 0) put_number(out, "min_p", s->min_p);
    if (s->repetition_penalty > 0 && s->repetition_penalty != 1) put_number(out, "repetition_penalty", s->repetition_penalty);
    if (s->presence_penalty != 0) put_number(out, "presence_penalty", s->presence_penalty);
    if (s->frequency_penalty != 0) put_number(out, "frequency_penalty", s->frequency_penalty);
}

static void put_rules(const sample_rules *r, buf *out) {
    for (int i = 0; i < r->n_stops; i++) {
        buf_add_str(out, i ? "," : ",\"stop\":[");
        json_put_string(out, sv_of(r->stop[i]));
    }
    if (r->n_stops) buf_add_char(out, ']');
    if (r->keep_stop) buf_add_str(out, ",\"include_stop_str_in_output\":true");
    for (int i = 0; i < r->n_stop_ids; i++) buf_printf(out, "%s%d", i ? "," : ",\"stop_token_ids\":[", r->stop_id[i]);
    if (r->n_stop_ids) buf_add_char(out, ']');
    if (r->min_tokens) buf_printf(out, ",\"min_tokens\":%d", r->min_tokens);
    for (int i = 0; i < r->n_biases; i++) {
        buf_printf(out, "%s\"%d\":", i ? "," : ",\"logit_bias\":{", r->bias[i].id);
        json_put_double(out, (double)r->bias[i].bias);
    }
    if (r->n_biases) buf_add_char(out, '}');
}

static void put_messages(const lm_request *r, buf *out) {
    buf_add_str(out, ",\"messages\":[");
    for (size_t i = 0; i < r->n_messages; i++) {
        buf_add_str(out, i ? ",{\"role\":" : "{\"role\":");
        json_put_string(out, r->messages[i].role);
        buf_add_str(out, ",\"content\":");
        json_put_string(out, r->messages[i].content);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static bool put_request(const lm_remote *m, const lm_request *r, buf *out, gv_err *err) {
    buf_add_str(out, "{\"model\":");
    json_put_string(out, sv_of(m->model));
    if (m->chat) {
        tmpl_output text = {0};
        const bool ok = layout_render(m->chat, r->messages, r->n_messages, &text, err);
        buf_add_str(out, ",\"prompt\":");
        json_put_string(out, buf_view(&text.text));
        tmpl_output_fini(&text);
        if (!ok) return false;
    } else {
        put_messages(r, out);
    }
    put_sampling(r, out);
    if (r->sampling.rules) put_rules(r->sampling.rules, out);
    if (r->sampling.more) buf_printf(out, ",%s", r->sampling.more);
    if (r->ignore_eog) buf_add_str(out, ",\"ignore_eos\":true");
    buf_add_char(out, '}');
    return true;
}

static bool remote_submit(lm *base, const lm_request *r, gv_err *err) {
    lm_remote *m = (lm_remote *)base;
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 64;
        m->v = gv_xrealloc(m->v, m->cap * sizeof *m->v);
    }
    remote_request *q = &m->v[m->n];
    *q = (remote_request){.id = r->id, .start_us = clock_mono_us()};
    buf url = {0};
    buf_printf(&url, "%s/%s", m->url, m->chat ? "completions" : "chat/completions");
    bool ok = put_request(m, r, &q->body, err);
    const http_request request = {.method = "POST",
                                  .url = url.p,
                                  .token = m->token,
                                  .content_type = "application/json",
                                  .has_body = true,
                                  .body = buf_view(&q->body),
                                  .max_bytes = MAX_REPLY,
                                  .retry = HTTP_RETRY_ALWAYS,
                                  .follow = HTTP_FOLLOW_ORIGIN};
    if (ok) q->call = http_start(m->h, &request, err);
    ok = ok && q->call;
    if (ok)
        m->n++;
    else
        buf_fini(&q->body);
    buf_fini(&url);
    return ok;
}

/* ---- replies ---- */

static sv string_at(const json_value *v, const char *key) {
    const json_value *s = v ? json_get(v, key) : NULL;
    return s && json_kind_of(s) == JSON_STRING ? json_string(s) : (sv){0};
}

static int64_t integer_at(const json_value *v, const char *key) {
    const json_value *n = v ? json_get(v, key) : NULL;
    int64_t i = 0;
    return n && json_int64(n, &i) && i > 0 ? i : 0;
}

static void end_with(lm_remote *m, lm_result *a, lm_finish finish, sv message) {
    a->finish = finish;
    a->message = (sv){arena_dup(&m->texts, message.p, message.n), message.n};
}

/* The first choice of a completion.  The text of a refusal is its message. */
static bool read_choice(lm_remote *m, const json_value *root, lm_result *a) {
    const json_value *choices = json_get(root, "choices");
    if (!choices || json_kind_of(choices) != JSON_ARRAY || json_size(choices) == 0) return false;
    json_iter it = json_each(choices);
    if (!json_next(&it) || json_kind_of(it.value) != JSON_OBJECT) return false;
    const json_value *message = json_get(it.value, "message"), *text = m->chat   ? json_get(it.value, "text")
                                                                       : message ? json_get(message, "content")
                                                                                 : NULL;
    if (!text || (json_kind_of(text) != JSON_STRING && json_kind_of(text) != JSON_NULL)) return false;
    const sv said = json_kind_of(text) == JSON_STRING ? json_string(text) : (sv){0}, refusal = string_at(message, "refusal");
    const sv reason = string_at(it.value, "finish_reason");
    a->text = (sv){arena_dup(&m->texts, said.p, said.n), said.n};
    a->finish = sv_is(reason, "length") ? LM_LENGTH : LM_STOP;
    if (refusal.n)
        end_with(m, a, LM_REFUSED, refusal);
    else if (sv_is(reason, "content_filter"))
        end_with(m, a, LM_REFUSED, SV("the server's content filter ended the answer"));
    return true;
}

static void read_answer(lm_remote *m, sv body, lm_result *a) {
    gv_err bad = GV_ERR_INIT;
    json_doc *d = json_parse(body, &bad);
    const json_value *root = d ? json_root(d) : NULL;
    if (!d) {
        gv_context(&bad, "the server's reply");
        end_with(m, a, LM_ERROR, sv_of(bad.msg));
        return;
    }
    if (json_kind_of(root) != JSON_OBJECT || !read_choice(m, root, a)) {
        end_with(m, a, LM_ERROR, SV("the server's reply has no choices[0] with a text"));
    } else {
        const json_value *usage = json_get(root, "usage"), *details = usage ? json_get(usage, "prompt_tokens_details") : NULL;
        a->prompt_tokens = integer_at(usage, "prompt_tokens");
        a->output_tokens = integer_at(usage, "completion_tokens");
        a->cached_tokens = integer_at(details, "cached_tokens");
    }
    json_free(d);
}

/* Does an error say that prompt and answer do not fit?  OpenAI's and vLLM's code or words, llama-server's type. */
static bool says_too_long(sv body) {
    static const char *const signs[] = {"context_length_exceeded", "maximum context length", "exceed_context_size_error",
                                        "is longer than the maximum model length"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (sv_find(body, sv_of(signs[i]), 0) != SIZE_MAX) return true;
    return false;
}

/* False: no answer, and m->dead says why no further request will fare better. */
static bool take_reply(lm_remote *m, remote_request *q, lm_result *a) {
    http_response *r = NULL;
    gv_err bad = GV_ERR_INIT;
    const bool came = http_call_result(q->call, &r, &bad);
    *a = (lm_result){.id = q->id, .choice = -1, .decode_us = clock_mono_us() - q->start_us};
    if (q->cancelled) {
        a->finish = LM_CANCELLED;
    } else if (came && http_check(r, &bad)) {
        read_answer(m, buf_view(&r->body), a);
    } else if (!came || r->status == 401 || r->status == 403 || r->status == 404 || r->status == 429) {
        return gv_fail(&m->dead, bad.code, -1, "%s", bad.msg);
    } else {
        end_with(m, a, says_too_long(buf_view(&r->body)) ? LM_TOO_LONG : LM_ERROR, sv_of(bad.msg));
    }
    m->stats.prompt_tokens += a->prompt_tokens;
    m->stats.cached_tokens += a->cached_tokens;
    m->stats.computed_tokens += a->prompt_tokens - a->cached_tokens;
    m->stats.output_tokens += a->output_tokens;
    return true;
}

static void drop_request(remote_request *q) {
    http_call_free(q->call);
    buf_fini(&q->body);
}

/* Hands out what is done. */
static size_t take_replies(lm_remote *m) {
    size_t kept = 0, done = 0;
    if (m->cap_out < m->n) {
        m->cap_out = m->cap;
        m->out = gv_xrealloc(m->out, m->cap_out * sizeof *m->out);
    }
    for (size_t i = 0; i < m->n; i++) {
        if (!http_call_done(m->v[i].call)) {
            m->v[kept++] = m->v[i];
            continue;
        }
        done += take_reply(m, &m->v[i], &m->out[done]);
        drop_request(&m->v[i]);
    }
    m->n = kept;
    return done;
}

/* When the server is lost, answers that are on their way are still waited for: they are paid for. */
static bool remote_poll(lm *base, const lm_result **results, size_t *n, gv_err *err) {
    lm_remote *m = (lm_remote *)base;
    arena_reset(&m->texts);
    for (;;) {
        if (m->n && !http_poll(m->h, 50, err)) return false;
        *n = take_replies(m);
        *results = m->out;
        if (*n || !m->dead.code) return true;
        if (m->n == 0) return gv_fail(err, m->dead.code, -1, "%s", m->dead.msg);
    }
}

static bool remote_render(lm *base, const lm_message *messages, size_t n, buf *out, gv_err *err) {
    const lm_remote *m = (const lm_remote *)base;
    if (!m->chat) return gv_fail(err, GV_UNSUPPORTED, -1, "%s lays messages out itself; give --chat-template to do it here", m->url);
    tmpl_output text = {0};
    const bool ok = layout_render(m->chat, messages, n, &text, err);
    if (ok) buf_add_sv(out, buf_view(&text.text));
    tmpl_output_fini(&text);
    return ok;
}

static void remote_cancel(lm *base, uint64_t id) {
    lm_remote *m = (lm_remote *)base;
    for (size_t i = 0; i < m->n; i++) m->v[i].cancelled |= m->v[i].id == id;
}

static size_t remote_in_flight(const lm *m) {
    return ((const lm_remote *)m)->n;
}

static const lm_caps *remote_caps(lm *m, bool wait) {
    (void)wait;
    return &((lm_remote *)m)->caps;
}

static lm_stats remote_stats(const lm *base) {
    const lm_remote *m = (const lm_remote *)base;
    lm_stats s = m->stats;
    s.running = (int64_t)m->n;
    return s;
}

static void remote_free(lm *base) {
    lm_remote *m = (lm_remote *)base;
    for (size_t i = 0; i < m->n; i++) drop_request(&m->v[i]);
    http_close(m->h);
    layout_free(m->chat);
    arena_fini(&m->texts);
    free(m->v);
    free(m->out);
    free(m->url);
    free(m->model);
    free(m->numerics);
    free(m);
}

/* ---- open ---- */

/* "'a', 'b' and 3 more" */
static void name_models(const json_value *list, buf *out) {
    size_t n = 0;
    for (json_iter it = json_each(list); json_next(&it); n++) {
        const sv id = string_at(it.value, "id");
        if (n < MAX_MODELS_SHOWN) buf_printf(out, "%s'" SV_FMT "'", n ? ", " : "", SV_ARG(id));
    }
    if (n > MAX_MODELS_SHOWN) buf_printf(out, " and %zu more", n - MAX_MODELS_SHOWN);
}

/* Takes the wanted model of {"data": [{"id": ...}]}, or the only one. */
static bool choose_model(lm_remote *m, const json_value *root, const char *wanted, gv_err *err) {
    const json_value *list = json_kind_of(root) == JSON_OBJECT ? json_get(root, "data") : NULL;
    if (!list || json_kind_of(list) != JSON_ARRAY) return gv_fail(err, GV_FORMAT, -1, "%s/models: the reply has no list \"data\"", m->url);
    for (json_iter it = json_each(list); json_next(&it);) {
        const sv id = string_at(it.value, "id");
        if (!id.n || (wanted ? !sv_is(id, wanted) : json_size(list) != 1)) continue;
        m->model = gv_xcalloc(id.n + 1, 1);
        memcpy(m->model, id.p, id.n);
        m->caps.ctx_tokens = integer_at(it.value, "max_model_len");
        return true;
    }
    buf names = {0};
    name_models(list, &names);
    if (wanted)
        gv_fail(err, GV_USAGE, -1, "%s has no model '%s'; it has %s", m->url, wanted, names.n ? names.p : "none");
    else
        gv_fail(err, GV_USAGE, -1, "%s has %zu models; choose one with %s#MODEL: %s", m->url, json_size(list), m->url,
                names.n ? names.p : "none");
    buf_fini(&names);
    return false;
}

static bool ask_models(lm_remote *m, const char *wanted, gv_err *err) {
    buf url = {0};
    buf_printf(&url, "%s/models", m->url);
    const http_request q = {.url = url.p, .token = m->token, .max_bytes = MAX_REPLY, .follow = HTTP_FOLLOW_ORIGIN};
    http_response r = {0};
    bool ok = http_send(m->h, &q, &r, err) && http_check(&r, err);
    json_doc *d = ok ? json_parse(buf_view(&r.body), err) : NULL;
    if (ok && !d) gv_context(err, "%s", url.p);
    ok = d && choose_model(m, json_root(d), wanted, err);
    json_free(d);
    http_response_fini(&r);
    buf_fini(&url);
    return ok;
}

/* "http://host:port" means its /v1. */
static void set_url(lm_remote *m, const char *model, const char **wanted) {
    const char *hash = strchr(model, '#');
    *wanted = hash && hash[1] ? hash + 1 : NULL;
    sv url = {model, hash ? (size_t)(hash - model) : strlen(model)};
    while (url.n && url.p[url.n - 1] == '/') url.n--;
    const bool bare = sv_find(url, SV("/"), strncmp(model, "https", 5) == 0 ? 8 : 7) == SIZE_MAX;
    buf b = {0};
    buf_printf(&b, SV_FMT "%s", SV_ARG(url), bare ? "/v1" : "");
    m->url = b.p;
}

static bool is_stopped(void *stop) {
    return stop && *(const volatile sig_atomic_t *)stop;
}

lm *lm_remote_open(const lm_options *o, gv_err *err) {
    lm_remote *m = gv_xcalloc(1, sizeof *m);
    const http_options ho = {.stall_ms = STALL_MS, .stopped = is_stopped, .ctx = (void *)(uintptr_t)o->stop};
    const char *wanted, *key = o->api_key ? o->api_key : getenv("GAVEL_API_KEY") ? getenv("GAVEL_API_KEY") : getenv("OPENAI_API_KEY");
    static const lm_vtable vtable = {remote_render,    remote_submit, remote_poll,  remote_cancel,
                                     remote_in_flight, remote_caps,   remote_stats, remote_free};
    m->base.v = &vtable;
    gv_err_clear(&m->dead);
    m->token = key && *key ? key : NULL;
    arena_init(&m->texts);
    set_url(m, o->model, &wanted);
    bool ok = http_url_check(m->url, err) && (m->h = http_open(&ho, err)) && ask_models(m, wanted, err);
    if (ok && (o->chat_template || o->chat_template_text))
        ok = (m->chat = layout_open(NULL, o->chat_template_text, o->chat_template, NULL, err)) != NULL;
    if (!ok) {
        remote_free(&m->base);
        return NULL;
    }
    buf numerics = {0};
    buf_printf(&numerics, "server %s", m->url);
    m->numerics = numerics.p;
    m->caps.model_name = m->model;
    m->caps.model_hash = m->caps.tokenizer_hash = "";
    m->caps.template_hash = m->chat ? layout_hash(m->chat) : "";
    m->caps.numerics = m->numerics;
    m->caps.max_in_flight = o->max_batch > 0 ? (int)o->max_batch : IN_FLIGHT;
    return &m->base;
}
