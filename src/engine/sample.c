/* See sample.h.  Penalties touch a private copy of the logits; ids seen are marked in a stamp array, so that nothing is cleared between
 * calls.  Ranking is a radix sort on the logits' bits, stable over ascending ids, which gives (logit descending, id ascending). */
#include "engine/sample.h"

#include "base/mem.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sampler {
    int n_vocab;
    const bool *padding;
    const kern_ops *kern;
    float *logit;    /* [n_vocab] after penalties and temperature */
    uint32_t *stamp; /* [n_vocab] == call: seen in this call */
    int32_t *count;  /* [n_vocab] times in the output, where stamped */
    uint32_t call;
    int32_t *rank, *rank_tmp; /* [n_vocab] ids in order */
    uint32_t *key, *key_tmp;
};

sampler *sampler_new(int n_vocab, const bool *padding, const kern_ops *kern) {
    sampler *s = gv_xcalloc(1, sizeof *s);
    const size_t n = (size_t)n_vocab;
    *s = (sampler){.n_vocab = n_vocab, .padding = padding, .kern = kern};
    s->logit = gv_xcalloc(n, sizeof *s->logit);
    s->stamp = gv_xcalloc(n, sizeof *s->stamp);
    s->count = gv_xcalloc(n, sizeof *s->count);
    s->rank = gv_xcalloc(n, sizeof *s->rank);
    s->rank_tmp = gv_xcalloc(n, sizeof *s->rank_tmp);
    s->key = gv_xcalloc(n, sizeof *s->key);
    s->key_tmp = gv_xcalloc(n, sizeof *s->key_tmp);
    return s;
}

void sampler_free(sampler *s) {
    if (!s) return;
    free(s->logit), free(s->stamp), free(s->count), free(s->rank), free(s->rank_tmp), free(s->key), free(s->key_tmp);
    free(s);
}

/* ---- generator ---- */

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

double sample_uniform(const sample_params *p, uint32_t position) {
    /* Two rounds: the first folds (row, sample, attempt) under the seed, the second adds the position under the first one's output. */
    const uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)p->row, (uint32_t)(p->row >> 32), p->sample, p->attempt};
    uint32_t a[4], b[4];
    philox4x32(counter, key, a);
    const uint32_t second[4] = {position, a[2], a[3], 0};
    philox4x32(second, a, b);
    return (double)(((uint64_t)b[0] << 21) ^ (b[1] >> 11)) * 0x1p-53;
}

/* ---- penalties ---- */

static bool is_id(const sampler *s, int32_t id) {
    return id >= 0 && id < s->n_vocab;
}

static void mark(sampler *s, const int32_t *ids, int n, bool counted) {
    for (int i = 0; i < n; i++) {
        if (!is_id(s, ids[i])) continue;
        if (s->stamp[ids[i]] != s->call) {
            s->stamp[ids[i]] = s->call;
            s->count[ids[i]] = 0;
        }
        s->count[ids[i]] += counted;
    }
}

/* Copies logits to s->logit with biases and penalties applied (vLLM: repetition over prompt and output, the others over the output). */
static void penalise(sampler *s, const float *logits, const sample_params *p, const int32_t *prompt, int n_prompt, const int32_t *output,
                     int n_output) {
    memcpy(s->logit, logits, (size_t)s->n_vocab * sizeof *s->logit);
    for (int i = 0; i < p->n_bias; i++)
        if (is_id(s, p->bias[i].id)) s->logit[p->bias[i].id] += p->bias[i].bias;
    if (p->repetition_penalty == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0) return;
    if (++s->call == 0) { /* the stamp counter wrapped: forget all marks */
        memset(s->stamp, 0, (size_t)s->n_vocab * sizeof *s->stamp);
        s->call = 1;
    }
    mark(s, prompt, n_prompt, false);
    mark(s, output, n_output, true);
    const float repetition = (float)p->repetition_penalty, frequency = (float)p->frequency_penalty, presence = (float)p->presence_penalty;
    for (int i = 0; i < s->n_vocab; i++) {
        if (s->stamp[i] != s->call) continue;
        float l = s->logit[i];
        l = l > 0 ? l / repetition : l * repetition;
        l -= frequency * (float)s->count[i];
        if (s->count[i] > 0) l -= presence;
        s->logit[i] = l;
    }
}

/* ---- ranking ---- */

/* Order-preserving map of a finite float to an unsigned key, inverted: the largest float has the smallest key; -0 equals +0. */
static uint32_t descending_key(float x) {
    uint32_t u;
    x += 0.0f; /* -0 becomes +0 */
    memcpy(&u, &x, sizeof u);
    return u & 0x80000000u ? u : ~(u | 0x80000000u);
}

/* Fills rank with the ids of weight above zero, best first. */
static int rank_candidates(sampler *s, float max) {
    int n = 0;
    for (int i = 0; i < s->n_vocab; i++) {
        if (s->padding[i] || !(s->logit[i] - max >= -87.0f)) continue; /* kern_expf gives +0 below */
        s->rank[n] = i;
        s->key[n++] = descending_key(s->logit[i]);
    }
    for (int shift = 0; shift < 32; shift += 8) {
        int at[257] = {0};
        for (int i = 0; i < n; i++) at[(s->key[i] >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++) at[i + 1] += at[i];
        for (int i = 0; i < n; i++) {
            const int to = at[s->key[i] >> shift & 255]++;
            s->rank_tmp[to] = s->rank[i];
            s->key_tmp[to] = s->key[i];
        }
        int32_t *r = s->rank;
        s->rank = s->rank_tmp, s->rank_tmp = r;
        uint32_t *k = s->key;
        s->key = s->key_tmp, s->key_tmp = k;
    }
    return n;
}

/* The first n candidates that stay after top-k, top-p and min-p. */
static int cut_candidates(const sampler *s, const sample_params *p, int n, float max) {
    if (p->top_k > 0 && p->top_k < n) n = (int)p->top_k;
    if (p->top_p < 1) {
        double total = 0, sum = 0;
        for (int i = 0; i < n; i++) total += (double)kern_expf(s->logit[s->rank[i]] - max);
        int keep = 0;
        while (keep < n && (keep == 0 || sum < p->top_p * total)) sum += (double)kern_expf(s->logit[s->rank[keep++]] - max);
        n = keep;
    }
    if (p->min_p > 0) { /* relative to the best candidate, whose weight is exp(0) = 1 */
        int keep = 1;
        while (keep < n && (double)kern_expf(s->logit[s->rank[keep]] - max) >= p->min_p) keep++;
        n = keep;
    }
    return n;
}

static bool best_token(const sampler *s, int32_t *id, float *max) {
    int best = -1;
    for (int i = 0; i < s->n_vocab; i++) {
        if (!isfinite(s->logit[i])) return false;
        if (!s->padding[i] && (best < 0 || s->logit[i] > s->logit[best])) best = i;
    }
    if (best < 0) return false;
    *id = best;
    *max = s->logit[best];
    return true;
}

static bool finite_logits(const sampler *s, const float *logits) {
    int64_t index;
    float max;
    bool finite;
    s->kern->argmax(logits, s->n_vocab, &index, &max, &finite);
    return finite;
}

/* Out of reach of every finite logit, and finite itself. */
static void bar(sampler *s, const sample_params *p) {
    for (int i = 0; i < p->n_barred; i++)
        if (is_id(s, p->barred[i])) s->logit[p->barred[i]] = -FLT_MAX;
}

bool sample_token(sampler *s, const float *logits, const sample_params *p, const int32_t *prompt, int n_prompt, const int32_t *output,
                  int n_output, int32_t *id) {
    float max;
    if (!finite_logits(s, logits)) return false;
    penalise(s, logits, p, prompt, n_prompt, output, n_output);
    const float temperature = (float)p->temperature;
    for (int i = 0; p->temperature > 0 && i < s->n_vocab; i++) s->logit[i] /= temperature;
    bar(s, p);
    if (p->temperature == 0) return best_token(s, id, &max);
    if (!best_token(s, id, &max)) return false;
    const int n = cut_candidates(s, p, rank_candidates(s, max), max);
    double total = 0, sum = 0;
    for (int i = 0; i < n; i++) total += (double)kern_expf(s->logit[s->rank[i]] - max);
    const double aim = sample_uniform(p, (uint32_t)(n_prompt + n_output)) * total;
    *id = s->rank[n - 1];
    for (int i = 0; i < n; i++) {
        sum += (double)kern_expf(s->logit[s->rank[i]] - max);
        if (aim < sum) {
            *id = s->rank[i];
            break;
        }
    }
    return true;
}

bool sample_choice(sampler *s, const float *logits, const sample_params *p, const int32_t *prompt, int n_prompt, const int32_t *output,
                   int n_output, const int32_t *ids, int n_ids, int *index) {
    if (!finite_logits(s, logits)) return false;
    penalise(s, logits, p, prompt, n_prompt, output, n_output);
    int best = 0;
    for (int i = 1; i < n_ids; i++)
        if (s->logit[ids[i]] > s->logit[ids[best]] || (s->logit[ids[i]] == s->logit[ids[best]] && ids[i] < ids[best])) best = i;
    *index = best;
    if (p->temperature == 0) return true;
    const float temperature = (float)p->temperature, max = s->logit[ids[best]] / temperature;
    double total = 0, sum = 0;
    for (int i = 0; i < n_ids; i++) total += (double)kern_expf(s->logit[ids[i]] / temperature - max);
    const double aim = sample_uniform(p, (uint32_t)(n_prompt + n_output)) * total;
    for (int i = 0; i < n_ids; i++) {
        sum += (double)kern_expf(s->logit[ids[i]] / temperature - max);
        if (aim < sum) {
            *index = i;
            break;
        }
    }
    return true;
}

bool sample_logprobs(sampler *s, const float *logits, const int32_t *ids, int n_ids, double *logprob) {
    if (!finite_logits(s, logits)) return false;
    float max = -INFINITY;
    for (int i = 0; i < s->n_vocab; i++)
        if (!s->padding[i] && logits[i] > max) max = logits[i];
    double total = 0;
    for (int i = 0; i < s->n_vocab; i++)
        if (!s->padding[i]) total += kern_exp((double)logits[i] - (double)max);
    const double log_total = kern_log(total);
    for (int i = 0; i < n_ids; i++) logprob[i] = (double)logits[ids[i]] - (double)max - log_total;
    return true;
}
