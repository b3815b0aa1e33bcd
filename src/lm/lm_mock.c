/* The test engine: deterministic answers made of a hash of the prompt, no model.  Compiled only with -DGAVEL_TESTING=ON; absent from release
 * builds.  docs/testing.md has the keys of "mock:KEY=VALUE,...". */
#ifdef GAVEL_TESTING

#include "lm/lm_internal.h"

#include "base/file.h"
#include "base/json.h"
#include "base/thread.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct mock_request {
    lm_result result;
    char *text;
    uint64_t row;
    int64_t due_us;
} mock_request;

/* A recorded call: answers by sample, found by the messages. */
typedef struct mock_call {
    uint64_t key;
    const json_value *json;
} mock_call;

typedef struct lm_mock {
    lm base;
    lm_caps caps;
    int64_t latency_us;           /* an answer is ready this long after submission */
    uint64_t fail, longer, error; /* every n-th row + sample: no verdict, stopped by length, an engine error; 0 = never */
    json_doc *replay;             /* replay=FILE: recorded calls instead of made-up answers */
    mock_call *calls;
    size_t n_calls;
    char *name;
    int log_fd;          /* gets one line with the row number for each answer handed out; -1 = none */
    mock_request *queue; /* in order of submission */
    size_t n, cap;
    lm_result *out;
    char **out_text;
    size_t n_out;
    lm_stats stats;
} lm_mock;

static uint64_t hash(const lm_request *r) {
    uint64_t h =
        0xcbf29ce484222325u ^ (r->sampling.temperature > 0 ? r->sampling.seed * 31 + r->attempt + r->sample * 0x9e3779b97f4a7c15u : 0);
    for (size_t i = 0; i < r->n_messages; i++)
        for (size_t k = 0; k < r->messages[i].content.n; k++) h = (h ^ (uint8_t)r->messages[i].content.p[k]) * 0x100000001b3u;
    return h ^ h >> 31;
}

static bool is_nth(uint64_t n, uint64_t row) {
    return n && row % n == n - 1;
}

/* ---- replay of recorded calls: {"messages": [{"role", "content"}], "generations": [...], "statistics": {...}, "kwargs": {...}} ---- */

static uint64_t add_text(uint64_t h, sv s) {
    for (size_t k = 0; k < s.n; k++) h = (h ^ (uint8_t)s.p[k]) * 0x100000001b3u;
    return (h ^ 0x1e) * 0x100000001b3u;
}

static bool open_replay(lm_mock *m, const char *path, gv_err *err) {
    buf bytes = {0}, text = {0};
    if (!file_read_all(path, (size_t)64 << 20, &bytes, err)) return false;
    buf_add_char(&text, '[');
    for (size_t at = 0; at < bytes.n;) { /* JSON lines to one array */
        size_t end = sv_find(buf_view(&bytes), SV("\n"), at);
        if (end == SIZE_MAX) end = bytes.n;
        if (text.n > 1) buf_add_char(&text, ',');
        buf_add_sv(&text, sv_sub(buf_view(&bytes), at, end - at));
        at = end + 1;
    }
    buf_add_char(&text, ']');
    m->replay = json_parse(buf_view(&text), err);
    buf_fini(&bytes);
    buf_fini(&text);
    if (!m->replay) return gv_context(err, "%s", path);
    m->calls = gv_xcalloc(json_size(json_root(m->replay)) + 1, sizeof *m->calls);
    for (json_iter it = json_each(json_root(m->replay)); json_next(&it);) {
        mock_call *c = &m->calls[m->n_calls++];
        *c = (mock_call){0xcbf29ce484222325u, it.value};
        const json_value *messages = json_get(it.value, "messages");
        for (json_iter k = json_each(messages); messages && json_next(&k);)
            c->key = add_text(c->key, json_string(json_get(k.value, "content")));
    }
    return true;
}

/* The i-th number of a list of statistics, or its last. */
static int64_t statistic(const json_value *call, const char *key, size_t i) {
    const json_value *all = json_get(call, "statistics"), *list = all ? json_get(all, key) : NULL;
    int64_t n = 0;
    if (!list) return 0;
    for (json_iter it = json_each(list); json_next(&it);) {
        if (!json_int64(it.value, &n) || i-- == 0) break;
    }
    return n;
}

/* Sampling must be what the recorded call was given: a test of the way there. */
static bool same_kwargs(const json_value *call, const lm_sampling *s) {
    const json_value *k = json_get(call, "kwargs");
    double temperature, top_p;
    int64_t max_tokens;
    return !k || (json_int64(json_get(k, "max_new_tokens"), &max_tokens) && max_tokens == s->max_tokens &&
                  json_double(json_get(k, "temperature"), &temperature) && temperature == s->temperature &&
                  json_double(json_get(k, "top_p"), &top_p) && top_p == s->top_p);
}

static void replay_answer(const lm_mock *m, const lm_request *r, mock_request *q) {
    uint64_t key = 0xcbf29ce484222325u;
    const mock_call *c = m->calls, *end = m->calls + m->n_calls;
    q->result = (lm_result){.id = r->id, .choice = -1, .finish = LM_ERROR};
    for (size_t i = 0; i < r->n_messages; i++) key = add_text(key, r->messages[i].content);
    while (c < end && c->key != key) c++;
    const json_value *answers = c < end ? json_get(c->json, "generations") : NULL;
    if (!answers) {
        q->result.message = c < end ? json_string(json_get(c->json, "error")) : SV("the recording has no such prompt");
        return;
    }
    if (!same_kwargs(c->json, &r->sampling)) {
        q->result.message = SV("the recording has this prompt with other sampling parameters");
        return;
    }
    size_t i = 0;
    for (json_iter it = json_each(answers); json_next(&it); i++) {
        if (i != r->sample) continue;
        q->result.finish = LM_STOP;
        q->result.prompt_tokens = statistic(c->json, "input_tokens", i);
        q->result.output_tokens = statistic(c->json, "output_tokens", i);
        if (json_kind_of(it.value) == JSON_STRING) {
            q->text = gv_xcalloc(json_string(it.value).n + 1, 1);
            memcpy(q->text, json_string(it.value).p, json_string(it.value).n);
            q->result.text = (sv){q->text, json_string(it.value).n};
        }
    }
}

static void cut(const lm_request *r, mock_request *q) {
    if (r->sampling.rules && q->result.choice < 0) q->result.text.n = rules_cut(r->sampling.rules, q->result.text, 0);
}

static bool mock_submit(lm *lm_base, const lm_request *r, gv_err *err) {
    lm_mock *m = (lm_mock *)lm_base;
    (void)err;
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 64;
        m->queue = gv_xrealloc(m->queue, m->cap * sizeof *m->queue);
    }
    mock_request *q = &m->queue[m->n++];
    const uint64_t h = hash(r), nth = r->row + r->sample;
    const sv *choices = r->constraint.choices;
    const int choice = r->constraint.trigger.n ? (int)(h % r->constraint.n_choices) : -1;
    buf text = {0};
    *q = (mock_request){.row = r->row, .due_us = clock_mono_us() + m->latency_us};
    if (m->replay) {
        replay_answer(m, r, q);
        cut(r, q);
        return true;
    }
    q->result = (lm_result){.id = r->id, .choice = choice, .prompt_tokens = 100, .output_tokens = 20};
    buf_printf(&text, " Feedback %016llx of a test engine.", (unsigned long long)h);
    q->result.feedback_bytes = text.n + 1;
    if (choice >= 0)
        buf_printf(&text, " [RESULT] " SV_FMT, SV_ARG(choices[choice]));
    else if (!is_nth(m->fail, nth) && !is_nth(m->longer, nth))
        buf_printf(&text, " [RESULT] %d", (int)(h % 5) + 1);
    for (size_t i = 0; choice >= 0 && i < r->constraint.n_choices; i++) q->result.choice_logprob[i] = (int)i == choice ? -0.25 : -2.5;
    q->result.finish = is_nth(m->error, nth) ? LM_ERROR : choice < 0 && is_nth(m->longer, nth) ? LM_LENGTH : LM_STOP;
    if (q->result.finish == LM_ERROR) q->result.message = SV("the test engine failed as asked");
    q->text = text.p;
    q->result.text = buf_view(&text);
    cut(r, q);
    return true;
}

static void log_row(const lm_mock *m, uint64_t row) {
    char line[32];
    const int n = snprintf(line, sizeof line, "%llu\n", (unsigned long long)row);
    if (m->log_fd >= 0 && write(m->log_fd, line, (size_t)n) != n) abort(); /* a test's own log must be whole */
}

static void drop_results(lm_mock *m) {
    for (size_t i = 0; i < m->n_out; i++) free(m->out_text[i]);
    m->n_out = 0;
}

static bool mock_poll(lm *lm_base, const lm_result **results, size_t *n, gv_err *err) {
    lm_mock *m = (lm_mock *)lm_base;
    (void)err;
    drop_results(m);
    m->out = gv_xrealloc(m->out, (m->n + 1) * sizeof *m->out);
    m->out_text = gv_xrealloc(m->out_text, (m->n + 1) * sizeof *m->out_text);
    int64_t now = clock_mono_us();
    if (m->n > 0 && m->queue[0].due_us > now) {
        usleep((useconds_t)(m->queue[0].due_us - now < 50000 ? m->queue[0].due_us - now : 50000));
        now = clock_mono_us();
    }
    while (m->n_out < m->n && m->queue[m->n_out].due_us <= now) {
        const mock_request *q = &m->queue[m->n_out];
        log_row(m, q->row);
        m->out[m->n_out] = q->result;
        m->out_text[m->n_out++] = q->text;
        m->stats.prompt_tokens += q->result.prompt_tokens;
        m->stats.computed_tokens += q->result.prompt_tokens;
        m->stats.output_tokens += q->result.output_tokens;
    }
    m->n -= m->n_out;
    memmove(m->queue, m->queue + m->n_out, m->n * sizeof *m->queue);
    *results = m->out;
    *n = m->n_out;
    return true;
}

static bool mock_render(lm *m, const lm_message *messages, size_t n, buf *out, gv_err *err) {
    (void)m, (void)err;
    for (size_t i = 0; i < n; i++) buf_add_sv(out, messages[i].content);
    return true;
}

static void mock_cancel(lm *lm_base, uint64_t id) {
    lm_mock *m = (lm_mock *)lm_base;
    for (size_t i = 0; i < m->n; i++)
        if (m->queue[i].result.id == id) m->queue[i].result.finish = LM_CANCELLED;
}

static size_t mock_in_flight(const lm *m) {
    return ((const lm_mock *)m)->n;
}
static const lm_caps *mock_caps(lm *m, bool wait) {
    (void)wait;
    return &((lm_mock *)m)->caps;
}
static lm_stats mock_stats(const lm *m) {
    return ((const lm_mock *)m)->stats;
}

static void mock_free(lm *lm_base) {
    lm_mock *m = (lm_mock *)lm_base;
    drop_results(m);
    for (size_t i = 0; i < m->n; i++) free(m->queue[i].text);
    if (m->log_fd >= 0) close(m->log_fd);
    json_free(m->replay);
    free(m->calls);
    free(m->name);
    free(m->queue);
    free(m->out);
    free(m->out_text);
    free(m);
}

static const lm_vtable mock_vtable = {mock_render, mock_submit, mock_poll, mock_cancel, mock_in_flight, mock_caps, mock_stats, mock_free};

static bool set_number(lm_mock *m, const char *key, int64_t n, gv_err *err) {
    if (strcmp(key, "latency_us") == 0)
        m->latency_us = n;
    else if (strcmp(key, "fail") == 0)
        m->fail = (uint64_t)n;
    else if (strcmp(key, "long") == 0)
        m->longer = (uint64_t)n;
    else if (strcmp(key, "error") == 0)
        m->error = (uint64_t)n;
    else if (strcmp(key, "in_flight") == 0)
        m->caps.max_in_flight = (int)n;
    else
        return gv_fail(err, GV_USAGE, -1, "--model mock: no key %s; it has fail, long, error, latency_us, in_flight, log, replay and name",
                       key);
    return true;
}

static bool set_key(lm_mock *m, const char *key, const char *value, gv_err *err) {
    char *end;
    if (strcmp(key, "replay") == 0) return !m->replay && open_replay(m, value, err);
    if (strcmp(key, "name") == 0) {
        free(m->name);
        m->caps.model_name = m->name = gv_xstrdup(value);
        return true;
    }
    if (strcmp(key, "log") == 0) {
        if (m->log_fd >= 0) close(m->log_fd);
        m->log_fd = open(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        return m->log_fd >= 0 || gv_fail_errno(err, "--model mock: log %s", value);
    }
    const long long n = strtoll(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || n > INT32_MAX)
        return gv_fail(err, GV_USAGE, -1, "--model mock: %s=%s, expected a number", key, value);
    return set_number(m, key, n, err);
}

lm *lm_mock_open(const lm_options *o, gv_err *err) {
    lm_mock *m = gv_xcalloc(1, sizeof *m);
    m->base.v = &mock_vtable;
    m->log_fd = -1;
    m->caps = (lm_caps){.model_name = "mock",
                        .model_hash = "",
                        .tokenizer_hash = "",
                        .template_hash = "",
                        .numerics = "mock",
                        .ctx_tokens = 4096,
                        .constrained = true,
                        .logprobs = true,
                        .max_in_flight = 8};
    char *keys = gv_xstrdup(o->model[4] == ':' ? o->model + 5 : "");
    bool ok = true;
    char *rest = keys;
    for (char *pair; ok && (pair = strsep(&rest, ",")) && *pair;) {
        char *equals = strchr(pair, '=');
        if (equals) *equals = 0;
        ok = set_key(m, pair, equals ? equals + 1 : "", err);
    }
    free(keys);
    if (ok) return &m->base;
    mock_free(&m->base);
    return NULL;
}

#else
typedef int lm_mock_is_not_built; /* ISO C wants a declaration in every file */
#endif
