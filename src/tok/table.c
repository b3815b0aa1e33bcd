/* Lookup tables of a tokenizer: names to ids, pairs of ids to merges, and the sorted set that finds special tokens in a text.
 *
 * Both hash tables use open addressing with linear probing at a load of at most one half.  The hash has no secret, so a vocabulary could be
 * made to collide: a probe longer than MAX_PROBE refuses the vocabulary at load, and bounds every later lookup. */
#include "tok/tok_internal.h"

#include <stdlib.h>

#define MAX_PROBE 4096

static inline uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t tok_hash_bytes(const char *p, size_t n) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ n;
    while (n >= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        h = mix(h ^ v, 0xa0761d6478bd642fu);
        p += 8;
        n -= 8;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)(uint8_t)p[i] << (8 * i);
    return mix(h ^ v, 0xe7037ed1a0b428dbu);
}

static size_t table_size(size_t n) {
    size_t size = 16;
    while (size < n * 2) size *= 2;
    return size;
}

bool tok_table_build(tok *t, gv_err *err) {
    size_t size = table_size((size_t)t->n);
    t->slots = gv_try_malloc(size, sizeof *t->slots, "token name table", err);
    if (!t->slots) return false;
    memset(t->slots, 0xff, size * sizeof *t->slots);
    t->slot_mask = size - 1;
    for (int32_t id = 0; id < t->n; id++) {
        sv name = tok_name(t, id);
        size_t h = (size_t)tok_hash_bytes(name.p, name.n) & t->slot_mask;
        for (int probe = 0;; probe++, h = (h + 1) & t->slot_mask) {
            int32_t other = t->slots[h];
            if (other < 0) break;
            if (sv_eq(tok_name(t, other), name))
                return gv_fail(err, GV_FORMAT, id, "tokens %d and %d are both \"%s\"", other, id, str_show(name).text);
            if (probe >= MAX_PROBE) return gv_fail(err, GV_FORMAT, id, "vocabulary is made to collide (token %d)", id);
        }
        t->slots[h] = id;
    }
    return true;
}

int32_t tok_find(const tok *t, sv piece) {
    if (!t->slots || !piece.n) return -1;
    size_t h = (size_t)tok_hash_bytes(piece.p, piece.n) & t->slot_mask;
    for (int probe = 0; probe <= MAX_PROBE; probe++, h = (h + 1) & t->slot_mask) {
        int32_t id = t->slots[h];
        if (id < 0 || sv_eq(tok_name(t, id), piece)) return id;
    }
    return -1;
}

bool tok_reserve_merges(tok *t, uint64_t n, gv_err *err) {
    if (n > TOK_MAX_MERGES) return gv_fail(err, GV_LIMIT, -1, "%llu merges; at most %u are read", (unsigned long long)n, TOK_MAX_MERGES);
    size_t size = table_size((size_t)n);
    t->pairs = gv_try_malloc(size, sizeof *t->pairs, "merge table", err);
    if (!t->pairs) return false;
    memset(t->pairs, 0xff, size * sizeof *t->pairs);
    t->pair_mask = size - 1;
    return true;
}

tok_pair *tok_pair_slot(const tok *t, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t h = (size_t)mix(key ^ 0x9e3779b97f4a7c15u, 0xa0761d6478bd642fu) & t->pair_mask;
    for (int probe = 0; probe <= MAX_PROBE; probe++, h = (h + 1) & t->pair_mask) {
        tok_pair *p = &t->pairs[h];
        if (p->left < 0 || (p->left == left && p->right == right)) return p;
    }
    return NULL;
}

static int by_name(const void *a, const void *b, void *ctx) {
    const tok *t = ctx;
    sv x = tok_name(t, *(const int32_t *)a), y = tok_name(t, *(const int32_t *)b);
    int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return c ? c : (x.n > y.n) - (x.n < y.n);
}

bool tok_set_build(tok_set *s, const tok *t, bool (*take)(const tok_entry *), gv_err *err) {
    size_t n = 0;
    for (int32_t id = 0; id < t->n; id++) n += take(&t->e[id]);
    s->n = (uint32_t)n;
    s->id = gv_try_malloc(n, sizeof *s->id, "special tokens", err);
    if (!s->id) return false;
    n = 0;
    for (int32_t id = 0; id < t->n; id++) {
        if (!take(&t->e[id])) continue;
        if (t->e[id].name_n > TOK_MAX_SPECIAL)
            return gv_fail(err, GV_LIMIT, id, "special token %d has %u bytes; at most %u are read", id, t->e[id].name_n, TOK_MAX_SPECIAL);
        s->id[n++] = id;
    }
    qsort_r(s->id, n, sizeof *s->id, by_name, (void *)(uintptr_t)t);
    size_t i = 0;
    for (unsigned b = 0; b < 256; b++) {
        s->first[b] = (uint32_t)i;
        while (i < n && (uint8_t)tok_name(t, s->id[i]).p[0] == b) i++;
    }
    s->first[256] = (uint32_t)n;
    return true;
}

void tok_set_fini(tok_set *s) {
    free(s->id);
    s->id = NULL;
    s->n = 0;
}

/* First index in [lo, hi) whose name has a byte >= b at depth d; all of them share the d bytes before and are longer than d. */
static uint32_t lower_bound(const tok_set *s, const tok *t, uint32_t lo, uint32_t hi, size_t d, unsigned b) {
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if ((uint8_t)tok_name(t, s->id[mid]).p[d] < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int32_t tok_set_match(const tok_set *s, const tok *t, sv text, size_t at, size_t limit, size_t *n) {
    unsigned b = (uint8_t)text.p[at];
    uint32_t lo = s->first[b], hi = s->first[b + 1];
    int32_t best = -1;
    for (size_t d = 1; lo < hi; d++) {
        int32_t id = s->id[lo];
        if (t->e[id].name_n == d) { /* the shortest of its prefix sorts first */
            if (t->e[id].type == TT_USER_DEFINED || at + d <= limit) {
                best = id;
                *n = d;
            }
            lo++;
        }
        if (at + d >= text.n) break;
        b = (uint8_t)text.p[at + d];
        lo = lower_bound(s, t, lo, hi, d, b);
        hi = lower_bound(s, t, lo, hi, d, b + 1);
    }
    return best;
}
