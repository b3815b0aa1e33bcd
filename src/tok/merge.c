/* The merge loop shared by both families: repeatedly join the neighbouring pair that merges first, the leftmost of equals.
 *
 * sentencepiece (bpe_model.cc) joins two symbols if their text together is a piece, highest score first; tokenizers (models/bpe/word.rs)
 * joins two ids by the rank of their merge.  Both break ties by position.  Here both are one loop over "order" numbers, lower first.
 * Short words keep all candidates in an array and rescan it; longer ones use a binary heap with stale entries, O(n log n). */
#include "tok/tok_internal.h"

#include <stdlib.h>

#define SHORT_WORD 24
#define NO_MERGE   UINT32_MAX

void tok_work_fini(tok_work *w) {
    free(w->s);
    free(w->heap);
    free(w->text.p);
    free(w->norm.p);
    free(w->cp);
}

static bool grow(void **p, size_t *cap, size_t size, const char *what, gv_err *err) {
    size_t n = *cap ? *cap * 2 : 64, bytes;
    void *q = gv_mul_size(n, size, &bytes) ? realloc(*p, bytes) : NULL;
    if (!q) return gv_fail(err, GV_MEMORY, -1, "%s: no memory for %zu entries", what, n);
    *p = q;
    *cap = n;
    return true;
}

bool tok_work_push(tok_work *w, uint32_t pos, uint32_t len, int32_t id, bool frozen) {
    if (w->n == w->cap && !grow((void **)&w->s, &w->cap, sizeof *w->s, "symbols", w->err)) return false;
    int32_t i = (int32_t)w->n;
    w->s[w->n++] = (tok_sym){.pos = pos, .len = len, .id = id, .prev = i - 1, .next = i + 1, .frozen = frozen};
    return true;
}

/* What l and r, neighbours, would become: its order, NO_MERGE if nothing. */
static inline uint32_t find_merge(const tok *t, const char *base, const tok_sym *l, const tok_sym *r, int32_t *id) {
    if (t->by_pair) {
        if (l->id < 0 || r->id < 0) return NO_MERGE;
        const tok_pair *p = tok_pair_slot(t, l->id, r->id);
        if (!p || p->left < 0) return NO_MERGE;
        *id = p->id;
        return p->order;
    }
    uint32_t len = l->len + r->len;
    if (len > t->max_piece || l->frozen || r->frozen) return NO_MERGE;
    *id = tok_find(t, (sv){base + l->pos, len});
    return *id < 0 ? NO_MERGE : t->e[*id].order;
}

static void merge_short(const tok *t, tok_work *w) {
    uint32_t order[SHORT_WORD];
    int32_t made[SHORT_WORD];
    tok_sym *s = w->s;
    size_t n = w->n;
    for (size_t i = 0; i + 1 < n; i++) order[i] = find_merge(t, w->base, &s[i], &s[i + 1], &made[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (order[i] < order[best]) best = i;
        if (order[best] == NO_MERGE) break;
        s[best].len += s[best + 1].len;
        s[best].id = made[best];
        n--;
        size_t tail = n - best - 1; /* symbols behind the merged one */
        memmove(&s[best + 1], &s[best + 2], tail * sizeof *s);
        if (tail) {
            memmove(&order[best + 1], &order[best + 2], (tail - 1) * sizeof *order);
            memmove(&made[best + 1], &made[best + 2], (tail - 1) * sizeof *made);
            order[best] = find_merge(t, w->base, &s[best], &s[best + 1], &made[best]);
        }
        if (best) order[best - 1] = find_merge(t, w->base, &s[best - 1], &s[best], &made[best - 1]);
    }
    w->n = n;
}

static void sift_down(tok_cand *h, size_t n, size_t i) {
    tok_cand c = h[i];
    for (size_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && h[k + 1].key < h[k].key) k++;
        if (c.key <= h[k].key) break;
        h[i] = h[k];
    }
    h[i] = c;
}

static void sift_up(tok_cand *h, size_t i) {
    tok_cand c = h[i];
    while (i && c.key < h[(i - 1) / 2].key) {
        h[i] = h[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h[i] = c;
}

/* Appends the candidate (left, its next) without restoring heap order. */
static bool add_candidate(const tok *t, tok_work *w, int32_t left) {
    int32_t id = -1;
    const tok_sym *l = &w->s[left], *r = &w->s[l->next];
    uint32_t order = find_merge(t, w->base, l, r, &id);
    if (order == NO_MERGE) return true;
    if (w->n_heap == w->cap_heap && !grow((void **)&w->heap, &w->cap_heap, sizeof *w->heap, "merge candidates", w->err)) return false;
    w->heap[w->n_heap++] = (tok_cand){(uint64_t)order << 32 | (uint32_t)left, l->len + r->len, id};
    return true;
}

static bool merge_long(const tok *t, tok_work *w) {
    tok_sym *s = w->s;
    size_t n = w->n;
    w->n_heap = 0;
    s[n - 1].next = -1;
    for (size_t i = 0; i + 1 < n; i++)
        if (!add_candidate(t, w, (int32_t)i)) return false;
    for (size_t i = w->n_heap / 2; i-- > 0;) sift_down(w->heap, w->n_heap, i);
    while (w->n_heap) {
        tok_cand c = w->heap[0];
        w->heap[0] = w->heap[--w->n_heap];
        if (w->n_heap) sift_down(w->heap, w->n_heap, 0);
        int32_t left = (int32_t)(c.key & 0xffffffffu), right = s[left].next;
        /* Symbols only grow, so equal length means the very pair that was entered. */
        if (!s[left].len || right < 0 || s[left].len + s[right].len != c.len) continue;
        s[left].len = c.len;
        s[left].id = c.id;
        s[left].next = s[right].next;
        s[right].len = 0;
        if (s[left].next >= 0) s[s[left].next].prev = left;
        size_t before = w->n_heap;
        if (s[left].prev >= 0 && !add_candidate(t, w, s[left].prev)) return false;
        if (w->n_heap > before) sift_up(w->heap, w->n_heap - 1);
        before = w->n_heap;
        if (s[left].next >= 0 && !add_candidate(t, w, left)) return false;
        if (w->n_heap > before) sift_up(w->heap, w->n_heap - 1);
    }
    w->n = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i].len) s[w->n++] = s[i];
    return true;
}

bool tok_merge(const tok *t, tok_work *w) {
    if (w->n < 2) return true;
    if (w->n <= SHORT_WORD) {
        merge_short(t, w);
        return true;
    }
    return merge_long(t, w);
}
