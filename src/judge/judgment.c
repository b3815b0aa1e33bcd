/* The judgment record as JSON text, as the journal keeps it.  See judgment.h and docs/journal.md.
 *
 * One flat object; absent values are left out.  Reading accepts keys in any order and ignores unknown ones (a newer gavel's journal), but
 * every value it does read must have the right type and range: a record with a result and a status other than ok is refused.  Text is
 * UTF-8 and may hold NUL; malformed bytes become U+FFFD when written. */
#include "judge/judgment.h"

#include "base/json.h"

#include <math.h>

static const char *const status_names[] = {"ok", "unparsable", "truncated", "too_long", "bad_input", "refused", "error"};
enum { n_statuses = sizeof status_names / sizeof *status_names };

const char *judgment_status_name(judgment_status s) {
    return status_names[s];
}

/* ---- writing ---- */

static void put_key(buf *out, const char *key) {
    if (out->p[out->n - 1] != '{') buf_add_char(out, ',');
    json_put_string(out, sv_of(key));
    buf_add_char(out, ':');
}

static void put_text(buf *out, const char *key, sv value) {
    put_key(out, key);
    json_put_string(out, value);
}

static void put_int(buf *out, const char *key, int64_t value) {
    put_key(out, key);
    json_put_int(out, value);
}

static void put_uint(buf *out, const char *key, uint64_t value) {
    put_key(out, key);
    buf_printf(out, "%llu", (unsigned long long)value);
}

void judgment_to_json(const judgment *j, buf *out) {
    buf_add_char(out, '{');
    put_uint(out, "row", j->row);
    put_text(out, "row_id", j->row_id);
    if (j->row_hash[0]) put_text(out, "row_hash", sv_of(j->row_hash));
    if (j->rubric.n) put_text(out, "rubric", j->rubric);
    put_uint(out, "sample", j->sample);
    if (j->attempt) put_uint(out, "attempt", j->attempt);
    if (j->order) put_text(out, "order", (sv){&j->order, 1});
    put_uint(out, "seed", j->seed);
    put_text(out, "status", sv_of(judgment_status_name(j->status)));
    if (j->message.n) put_text(out, "message", j->message);
    if (j->verdict >= 'A') {
        char letter = (char)j->verdict;
        put_text(out, "verdict", (sv){&letter, 1});
    } else if (j->verdict) {
        put_int(out, "verdict", j->verdict);
    }
    if (j->has_feedback) put_text(out, "feedback", j->feedback);
    if (j->rule) put_text(out, "rule", sv_of(j->rule));
    if (j->forced) {
        put_key(out, "forced");
        buf_add_str(out, "true");
    }
    if (j->finish) put_text(out, "finish", sv_of(j->finish));
    if (j->has_raw) put_text(out, "raw", j->raw);
    put_int(out, "prompt_tokens", j->prompt_tokens);
    put_int(out, "cached_tokens", j->cached_tokens);
    put_int(out, "output_tokens", j->output_tokens);
    if (j->has_logprobs) {
        put_key(out, "choice_logprobs");
        for (int i = 0; i < 5; i++) {
            buf_add_char(out, i ? ',' : '[');
            if (isfinite(j->choice_logprob[i]))
                json_put_double(out, j->choice_logprob[i]);
            else
                buf_add_str(out, "null"); /* probability 0, or no such choice */
        }
        buf_add_char(out, ']');
        if (isfinite(j->expected_score)) {
            put_key(out, "expected_score");
            json_put_double(out, j->expected_score);
        }
    }
    put_int(out, "wait_us", j->wait_us);
    put_int(out, "prefill_us", j->prefill_us);
    put_int(out, "decode_us", j->decode_us);
    buf_add_char(out, '}');
}

/* ---- reading ---- */

static bool wrong(const char *key, const json_value *v, const char *need, gv_err *err) {
    return gv_fail(err, GV_FORMAT, -1, "judgment record: %s is %s, not %s", key, json_kind_name(v), need);
}

/* Absent leaves *out as it is. */
static bool get_text(const json_value *o, const char *key, sv *out, bool *has, arena *a, gv_err *err) {
    const json_value *v = json_get(o, key);
    if (!v) return true;
    if (json_kind_of(v) != JSON_STRING) return wrong(key, v, "text", err);
    sv s = json_string(v);
    *out = (sv){arena_dup(a, s.p, s.n), s.n};
    if (has) *has = true;
    return true;
}

static bool get_int(const json_value *o, const char *key, int64_t *out, gv_err *err) {
    const json_value *v = json_get(o, key);
    if (!v) return true;
    if (json_kind_of(v) != JSON_NUMBER) return wrong(key, v, "a number", err);
    if (!json_int64(v, out) || *out < 0) return gv_fail(err, GV_FORMAT, -1, "judgment record: %s is out of range", key);
    return true;
}

/* Up to 2^64-1: by digits, for json_int64 ends at 2^63-1. */
static bool get_uint(const json_value *o, const char *key, uint64_t *out, gv_err *err) {
    const json_value *v = json_get(o, key);
    if (!v) return true;
    if (json_kind_of(v) != JSON_NUMBER) return wrong(key, v, "a number", err);
    sv digits = json_number_text(v);
    uint64_t n = 0;
    bool ok = digits.n > 0;
    for (size_t i = 0; ok && i < digits.n; i++) {
        ok = digits.p[i] >= '0' && digits.p[i] <= '9' && !__builtin_mul_overflow(n, 10, &n) &&
             !__builtin_add_overflow(n, (uint64_t)(digits.p[i] - '0'), &n);
    }
    if (!ok) return gv_fail(err, GV_FORMAT, -1, "judgment record: %s is out of range", key);
    *out = n;
    return true;
}

static bool get_flag(const json_value *o, const char *key, bool *out, gv_err *err) {
    const json_value *v = json_get(o, key);
    if (!v) return true;
    if (json_kind_of(v) != JSON_BOOL) return wrong(key, v, "true or false", err);
    *out = json_bool(v);
    return true;
}

static bool get_name(const json_value *o, const char *key, const char **out, arena *a, gv_err *err) {
    sv text = {0};
    bool has = false;
    if (!get_text(o, key, &text, &has, a, err)) return false;
    if (has) *out = text.p;
    return true;
}

static bool get_status(const json_value *o, judgment *j, gv_err *err) {
    const json_value *v = json_get(o, "status");
    if (!v) return gv_fail(err, GV_FORMAT, -1, "judgment record: there is no status");
    if (json_kind_of(v) != JSON_STRING) return wrong("status", v, "text", err);
    for (int i = 0; i < n_statuses; i++) {
        if (!sv_is(json_string(v), status_names[i])) continue;
        j->status = (judgment_status)i;
        return true;
    }
    return gv_fail(err, GV_FORMAT, -1, "judgment record: unknown status \"" SV_FMT "\"", SV_ARG(sv_sub(json_string(v), 0, 40)));
}

static bool get_verdict(const json_value *o, judgment *j, gv_err *err) {
    const json_value *v = json_get(o, "verdict");
    int64_t score = 0;
    if (v && json_kind_of(v) == JSON_STRING && (sv_is(json_string(v), "A") || sv_is(json_string(v), "B"))) {
        j->verdict = json_string(v).p[0];
    } else if (v) {
        if (!json_int64(v, &score) || score < 1 || score > 5)
            return gv_fail(err, GV_FORMAT, -1, "judgment record: the verdict is neither 1 to 5 nor A or B");
        j->verdict = (int)score;
    }
    if ((j->status == JUDGMENT_OK) != (j->verdict != 0))
        return gv_fail(err, GV_FORMAT, -1, "judgment record: status %s %s a verdict", judgment_status_name(j->status),
                       j->verdict ? "with" : "without");
    return true;
}

static bool get_logprobs(const json_value *o, judgment *j, gv_err *err) {
    const json_value *v = json_get(o, "choice_logprobs");
    if (!v) return true;
    if (json_kind_of(v) != JSON_ARRAY || json_size(v) != 5)
        return gv_fail(err, GV_FORMAT, -1, "judgment record: choice_logprobs is not a list of 5");
    size_t i = 0;
    for (json_iter it = json_each(v); json_next(&it); i++) {
        j->choice_logprob[i] = -INFINITY;
        if (json_kind_of(it.value) != JSON_NULL && !json_double(it.value, &j->choice_logprob[i]))
            return gv_fail(err, GV_FORMAT, -1, "judgment record: choice_logprobs holds something that is no number");
    }
    j->has_logprobs = true;
    const json_value *score = json_get(o, "expected_score");
    if (score && !json_double(score, &j->expected_score)) return wrong("expected_score", score, "a number", err);
    return true;
}

static bool get_row(const json_value *o, judgment *j, arena *a, gv_err *err) {
    sv hash = {0}, order = {0};
    uint64_t sample = 0, attempt = 0;
    if (!json_get(o, "row")) return gv_fail(err, GV_FORMAT, -1, "judgment record: there is no row");
    if (!get_uint(o, "row", &j->row, err) || !get_text(o, "row_id", &j->row_id, NULL, a, err) ||
        !get_text(o, "row_hash", &hash, NULL, a, err) || !get_text(o, "rubric", &j->rubric, NULL, a, err) ||
        !get_uint(o, "sample", &sample, err) || !get_uint(o, "attempt", &attempt, err) || !get_uint(o, "seed", &j->seed, err) ||
        !get_text(o, "order", &order, NULL, a, err))
        return false;
    if (hash.n && hash.n != 64) return gv_fail(err, GV_FORMAT, -1, "judgment record: row_hash has %zu characters, not 64", hash.n);
    if (hash.n) memcpy(j->row_hash, hash.p, 65);
    if (sample > UINT32_MAX) return gv_fail(err, GV_FORMAT, -1, "judgment record: sample is out of range");
    if (attempt > UINT32_MAX) return gv_fail(err, GV_FORMAT, -1, "judgment record: attempt is out of range");
    j->sample = (uint32_t)sample;
    j->attempt = (uint32_t)attempt;
    if (order.p && !sv_is(order, "A") && !sv_is(order, "B"))
        return gv_fail(err, GV_FORMAT, -1, "judgment record: order is neither A nor B");
    if (order.p) j->order = order.p[0];
    return true;
}

bool judgment_from_json(sv text, judgment *j, arena *a, gv_err *err) {
    *j = (judgment){0};
    json_doc *doc = json_parse(text, err);
    if (!doc) return gv_context(err, "judgment record");
    const json_value *o = json_root(doc);
    bool ok = true;
    if (json_kind_of(o) != JSON_OBJECT) ok = gv_fail(err, GV_FORMAT, -1, "judgment record: %s, not an object", json_kind_name(o));
    ok = ok && get_row(o, j, a, err) && get_status(o, j, err) && get_verdict(o, j, err) && get_logprobs(o, j, err) &&
         get_text(o, "message", &j->message, NULL, a, err) && get_text(o, "feedback", &j->feedback, &j->has_feedback, a, err) &&
         get_text(o, "raw", &j->raw, &j->has_raw, a, err) && get_name(o, "rule", &j->rule, a, err) &&
         get_name(o, "finish", &j->finish, a, err) && get_flag(o, "forced", &j->forced, err) &&
         get_int(o, "prompt_tokens", &j->prompt_tokens, err) && get_int(o, "cached_tokens", &j->cached_tokens, err) &&
         get_int(o, "output_tokens", &j->output_tokens, err) && get_int(o, "wait_us", &j->wait_us, err) &&
         get_int(o, "prefill_us", &j->prefill_us, err) && get_int(o, "decode_us", &j->decode_us, err);
    json_free(doc);
    return ok;
}
