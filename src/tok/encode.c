/* Encoding a whole text: special tokens are found first, each stretch between them is encoded by its family.
 *
 * USER_DEFINED tokens are found everywhere; CONTROL and UNKNOWN tokens only where they lie inside trusted text (neighbouring trusted
 * segments count as one).  At each place the longest allowed token wins, the leftmost place first, as in tokenizers' added vocabulary.
 * An spm stretch starts with the dummy prefix at the start of the text and again behind every special token. */
#include "tok/tok_internal.h"

#include <stdlib.h>

typedef struct trust_run { /* text up to end (from the run before) is trusted or not */
    size_t end;
    bool trusted;
} trust_run;

static bool encode_stretch(const tok *t, tok_work *w, sv text, bool prefix, ids *out) {
    if (!text.n) return true;
    return t->family == TOK_SPM ? tok_spm_stretch(t, w, text, prefix, out) : tok_bpe_stretch(t, w, text, out);
}

/* runs cover text; none is empty but for an empty text. */
static bool encode_runs(const tok *t, sv text, const trust_run *run, bool at_start, ids *out, gv_err *err) {
    if (text.n > TOK_MAX_TEXT)
        return gv_fail(err, GV_LIMIT, -1, "text of %zu bytes; at most %zu are encoded at once", text.n, TOK_MAX_TEXT);
    tok_work w = {.err = err};
    size_t stretch = 0, n_before = out->n;
    bool prefix = at_start && t->dummy_prefix, done = true;
    for (size_t i = 0; i < text.n && t->special.n;) {
        unsigned b = (uint8_t)text.p[i];
        size_t n = 0;
        if (t->special.first[b] == t->special.first[b + 1]) {
            i++;
            continue;
        }
        while (run->end <= i) run++;
        int32_t id = tok_set_match(&t->special, t, text, i, run->trusted ? run->end : 0, &n);
        if (id < 0) {
            i++;
            continue;
        }
        done = encode_stretch(t, &w, (sv){text.p + stretch, i - stretch}, prefix, out);
        if (!done) break;
        ids_add(out, id);
        i += n;
        stretch = i;
        prefix = t->dummy_prefix;
    }
    if (done) done = encode_stretch(t, &w, sv_sub(text, stretch, text.n), prefix, out);
    if (!done) out->n = n_before;
    tok_work_fini(&w);
    return done;
}

bool tok_encode(const tok *t, sv text, bool special, ids *out, gv_err *err) {
    return encode_runs(t, text, &(trust_run){text.n, special}, true, out, err);
}

bool tok_encode_continue(const tok *t, sv text, ids *out, gv_err *err) {
    return encode_runs(t, text, &(trust_run){text.n, false}, false, out, err);
}

bool tok_encode_segments(const tok *t, const tok_segment *seg, size_t n, ids *out, gv_err *err) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (!gv_add_size(total, seg[i].text.n, &total)) return gv_fail(err, GV_LIMIT, -1, "prompt: size overflow");
    if (total > TOK_MAX_TEXT) return gv_fail(err, GV_LIMIT, -1, "text of %zu bytes; at most %zu are encoded at once", total, TOK_MAX_TEXT);
    char *joined = gv_try_malloc(total, 1, "prompt", err);
    trust_run *run = joined ? gv_try_malloc(n + 1, sizeof *run, "prompt segments", err) : NULL;
    bool done = run != NULL;
    size_t at = 0, runs = 0;
    for (size_t i = 0; done && i < n; i++) {
        if (!seg[i].text.n) continue;
        memcpy(joined + at, seg[i].text.p, seg[i].text.n);
        at += seg[i].text.n;
        if (!runs || run[runs - 1].trusted != seg[i].trusted) runs++;
        run[runs - 1] = (trust_run){at, seg[i].trusted};
    }
    if (done) done = encode_runs(t, (sv){joined, total}, run, true, out, err);
    free(run);
    free(joined);
    return done;
}

bool tok_encode_prompt(const tok *t, const tok_segment *seg, size_t n, ids *out, gv_err *err) {
    ids body = {0};
    bool done = tok_encode_segments(t, seg, n, &body, err);
    size_t from = 0;
    while (done && t->bos >= 0 && from < body.n && body.v[from] == t->bos) from++;
    if (done && (from || t->adds_bos)) ids_add(out, t->bos);
    for (; done && from < body.n; from++) ids_add(out, body.v[from]);
    ids_fini(&body);
    return done;
}
