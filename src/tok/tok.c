/* The tokenizer object: building it from any source, the checks that encoding relies on, and the plain questions about tokens.
 *
 * What tok_finish guarantees to the encoders: every id in tables is in [0, n); names are valid UTF-8, not empty and distinct; an spm
 * vocabulary has exactly one BYTE token for each byte value; every merge's parts and result are tokens; BOS, EOS and UNK are ids or -1.
 * A merge never makes a CONTROL, UNKNOWN or BYTE token, so text that is not parsed for special tokens cannot become one. */
#include "tok/tok_internal.h"

#include <stdlib.h>

bool tok_bytes_add(tok_bytes *b, const void *p, size_t n, gv_err *err) {
    if (n > b->cap - b->n) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < b->n + n)
            if (!gv_mul_size(cap, 2, &cap)) return gv_fail(err, GV_MEMORY, -1, "token bytes: size overflow");
        char *q = realloc(b->p, cap);
        if (!q) return gv_fail(err, GV_MEMORY, -1, "token bytes: no memory for %zu bytes", cap);
        b->p = q;
        b->cap = cap;
    }
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
    return true;
}

tok *tok_new(gv_err *err) {
    tok *t = gv_try_calloc(1, sizeof *t, "tokenizer", err);
    if (!t) return NULL;
    t->bos = t->eos = t->unk = -1;
    t->dummy_prefix = true;
    return t;
}

void tok_free(tok *t) {
    if (!t) return;
    free(t->e);
    free(t->names.p);
    free(t->raws.p);
    free(t->slots);
    free(t->pairs);
    free(t->eog);
    tok_set_fini(&t->special);
    tok_set_fini(&t->frozen);
    buf_fini(&t->unk_surface);
    tok_clear_templates(t);
    free(t);
}

bool tok_add(tok *t, sv name, int type, float score, gv_err *err) {
    int32_t id = t->n;
    if ((uint32_t)id >= TOK_MAX_VOCAB) return gv_fail(err, GV_LIMIT, id, "more than %u tokens", TOK_MAX_VOCAB);
    if (!name.n) return gv_fail(err, GV_FORMAT, id, "token %d is empty", id);
    if (name.n > TOK_MAX_PIECE) return gv_fail(err, GV_LIMIT, id, "token %d has %zu bytes; at most %u are read", id, name.n, TOK_MAX_PIECE);
    if (utf8_invalid_at(name) != SIZE_MAX) return gv_fail(err, GV_FORMAT, id, "token %d is not valid UTF-8", id);
    if (type < TT_NORMAL || type > TT_BYTE) return gv_fail(err, GV_FORMAT, id, "token %d has type %d; types are 1 to 6", id, type);
    if (!(score >= -3.4e38f && score <= 3.4e38f)) return gv_fail(err, GV_FORMAT, id, "score of token %d is not a finite number", id);
    if (t->names.n > UINT32_MAX - name.n) return gv_fail(err, GV_LIMIT, id, "token names have more than 4 GiB");
    if ((size_t)id >= t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 1024;
        tok_entry *e = realloc(t->e, cap * sizeof *e);
        if (!e) return gv_fail(err, GV_MEMORY, id, "vocabulary: no memory for %zu tokens", cap);
        t->e = e;
        t->cap = cap;
    }
    t->e[id] = (tok_entry){.name_off = (uint32_t)t->names.n, .name_n = (uint32_t)name.n, .score = score, .type = (uint8_t)type};
    if (!tok_bytes_add(&t->names, name.p, name.n, err)) return false;
    t->n++;
    return true;
}

bool tok_index(tok *t, gv_err *err) {
    if (!t->n) return gv_fail(err, GV_FORMAT, -1, "the vocabulary is empty");
    return tok_table_build(t, err);
}

static bool text_may_become(const tok_entry *e) {
    return e->type == TT_NORMAL || e->type == TT_USER_DEFINED || e->type == TT_UNUSED;
}

bool tok_add_merge(tok *t, sv left, sv right, gv_err *err) {
    uint32_t order = t->n_merges++;
    char joined[2 * TOK_MAX_PIECE];
    int32_t l = tok_find(t, left), r = tok_find(t, right);
    if (l < 0 || r < 0)
        return gv_fail(err, GV_FORMAT, order, "merge %u: \"%s\" is not in the vocabulary", order, str_show(l < 0 ? left : right).text);
    memcpy(joined, left.p, left.n);
    memcpy(joined + left.n, right.p, right.n);
    sv both = {joined, left.n + right.n};
    int32_t id = tok_find(t, both);
    if (id < 0) return gv_fail(err, GV_FORMAT, order, "merge %u makes \"%s\", which is not in the vocabulary", order, str_show(both).text);
    if (!text_may_become(&t->e[l]) || !text_may_become(&t->e[r]) || !text_may_become(&t->e[id])) return true;
    tok_pair *p = tok_pair_slot(t, l, r);
    if (!p) return gv_fail(err, GV_FORMAT, order, "merges are made to collide (merge %u)", order);
    if (p->left >= 0) return gv_fail(err, GV_FORMAT, order, "merge %u repeats merge %u", order, p->order);
    *p = (tok_pair){l, r, order, id};
    t->n_pairs++;
    return true;
}

bool tok_check_id(const tok *t, int64_t id, const char *what, gv_err *err) {
    if (id >= 0 && id < t->n) return true;
    return gv_fail(err, GV_FORMAT, -1, "%s is %lld, but the vocabulary has %d tokens", what, (long long)id, t->n);
}

bool tok_mark_eog(tok *t, int64_t id, const char *what, gv_err *err) {
    if (!tok_check_id(t, id, what, err)) return false;
    if (!t->eog) {
        t->eog = gv_try_calloc(((size_t)TOK_MAX_VOCAB + 7) / 8, 1, "end tokens", err);
        if (!t->eog) return false;
    }
    t->eog[id / 8] |= (uint8_t)(1u << (id % 8));
    return true;
}

static bool eog_by_name(tok *t, gv_err *err) {
    static const char *const names[] = {"<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>",
                                        "<|eom_id|>", "<|end|>",    "<end_of_turn>"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int32_t id = tok_find(t, sv_of(names[i]));
        if (id < 0 || (t->e[id].type != TT_CONTROL && t->e[id].type != TT_USER_DEFINED)) continue;
        if (!tok_mark_eog(t, id, names[i], err)) return false;
    }
    return t->eos < 0 || tok_mark_eog(t, t->eos, "EOS", err);
}

/* The byte of a name like <0x0A>, or -1. */
static int byte_of_name(sv name) {
    if (name.n != 6 || memcmp(name.p, "<0x", 3) != 0 || name.p[5] != '>') return -1;
    int v = 0;
    for (int i = 3; i < 5; i++) {
        char c = name.p[i];
        if (c >= '0' && c <= '9')
            v = v * 16 + (c - '0');
        else if (c >= 'A' && c <= 'F')
            v = v * 16 + (c - 'A' + 10);
        else
            return -1;
    }
    return v;
}

static bool find_spm_bytes(tok *t, gv_err *err) {
    for (int32_t id = 0; id < t->n; id++) {
        if (t->e[id].type != TT_BYTE) continue;
        int b = byte_of_name(tok_name(t, id));
        if (b < 0)
            return gv_fail(err, GV_FORMAT, id, "token %d \"%s\" is of type BYTE but names no byte from <0x00> to <0xFF>", id,
                           str_show(tok_name(t, id)).text);
        t->byte_id[b] = id;
    }
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] < 0) return gv_fail(err, GV_FORMAT, -1, "byte fallback is incomplete: there is no token <0x%02X>", (unsigned)b);
    return true;
}

/* raw bytes of every token, and byte_id for byte-level vocabularies. */
static bool build_raws(tok *t, gv_err *err) {
    char raw[TOK_MAX_PIECE];
    for (int32_t id = 0; id < t->n; id++) {
        tok_entry *e = &t->e[id];
        sv name = tok_name(t, id);
        size_t n = 0;
        if (e->type == TT_CONTROL || e->type == TT_UNKNOWN || (e->type == TT_UNUSED && t->family == TOK_BPE)) {
            n = 0;
        } else if (e->type == TT_BYTE) {
            raw[n++] = (char)byte_of_name(name);
        } else if (t->family == TOK_BPE) {
            if (e->type == TT_USER_DEFINED || !tok_alphabet_bytes(name, raw, &n))
                memcpy(raw, name.p, n = name.n);
            else if (n == 1)
                t->byte_id[(uint8_t)raw[0]] = id;
        } else {
            for (size_t i = 0; i < name.n; n++) {
                bool space = name.n - i >= 3 && memcmp(name.p + i, "\xe2\x96\x81", 3) == 0;
                raw[n] = space ? ' ' : name.p[i];
                i += space ? 3 : 1;
            }
        }
        e->raw_off = (uint32_t)t->raws.n;
        e->raw_n = (uint32_t)n;
        if (!tok_bytes_add(&t->raws, raw, n, err)) return false;
    }
    return true;
}

static int by_score(const void *a, const void *b, void *ctx) {
    const tok *t = ctx;
    float x = t->e[*(const int32_t *)a].score, y = t->e[*(const int32_t *)b].score;
    return (x < y) - (x > y);
}

/* spm by scores: order numbers scores from the highest down, so that comparing integers compares scores. */
static bool order_scores(tok *t, gv_err *err) {
    int32_t *ids_by_score = gv_try_malloc((size_t)t->n, sizeof *ids_by_score, "piece scores", err);
    if (!ids_by_score) return false;
    size_t n = 0;
    for (int32_t id = 0; id < t->n; id++) {
        t->e[id].order = UINT32_MAX;
        if (t->e[id].type == TT_NORMAL || t->e[id].type == TT_USER_DEFINED) ids_by_score[n++] = id;
    }
    qsort_r(ids_by_score, n, sizeof *ids_by_score, by_score, t);
    uint32_t order = 0;
    for (size_t i = 0; i < n; i++) {
        tok_entry *e = &t->e[ids_by_score[i]];
        if (i && e->score != t->e[ids_by_score[i - 1]].score) order++;
        e->order = order;
    }
    free(ids_by_score);
    return true;
}

/* spm by merges (tokenizer.json): all merges that make one piece count as the first of them, as sentencepiece orders by pieces. */
static void order_merges_by_piece(tok *t) {
    for (int32_t id = 0; id < t->n; id++) t->e[id].order = UINT32_MAX;
    for (size_t i = 0; t->pairs && i <= t->pair_mask; i++) {
        tok_pair *p = &t->pairs[i];
        if (p->left >= 0 && p->order < t->e[p->id].order) t->e[p->id].order = p->order;
    }
    for (size_t i = 0; t->pairs && i <= t->pair_mask; i++)
        if (t->pairs[i].left >= 0) t->pairs[i].order = t->e[t->pairs[i].id].order;
}

static bool is_boundary(const tok_entry *e) {
    return e->type == TT_CONTROL || e->type == TT_UNKNOWN || (e->type == TT_USER_DEFINED && !e->frozen);
}
static bool is_frozen(const tok_entry *e) {
    return e->type == TT_USER_DEFINED && e->frozen;
}

static void find_shape(tok *t) {
    t->split_words = t->family == TOK_SPM;
    for (int32_t id = 0; id < t->n; id++) {
        const tok_entry *e = &t->e[id];
        if (!text_may_become(e)) continue;
        if (e->name_n > t->max_piece) t->max_piece = e->name_n;
        sv name = tok_name(t, id);
        bool other = false;
        for (size_t i = 0; i < name.n;) {
            bool space = name.n - i >= 3 && memcmp(name.p + i, "\xe2\x96\x81", 3) == 0;
            if (space && other) t->split_words = false;
            if (!space) other = true;
            i += space ? 3 : 1;
        }
    }
}

static void add_int(sha256 *s, int64_t v) {
    sha256_add(s, &v, sizeof v);
}

static void hash_tok(tok *t) {
    sha256 s;
    sha256_init(&s);
    const bool flags[] = {t->nfc, t->ignore_merges, t->dummy_prefix, t->by_pair, t->adds_bos};
    add_int(&s, t->family);
    add_int(&s, t->pretok);
    for (size_t i = 0; i < sizeof flags; i++) add_int(&s, flags[i]);
    add_int(&s, t->bos);
    add_int(&s, t->n);
    for (int32_t id = 0; id < t->n; id++) {
        const tok_entry *e = &t->e[id];
        add_int(&s, e->name_n | (int64_t)e->type << 32 | (int64_t)e->frozen << 40);
        add_int(&s, e->order);
    }
    sha256_add(&s, t->names.p, t->names.n);
    /* The pair table's layout is decided by its contents and the order they came in, both the same for the same file. */
    for (size_t i = 0; t->pairs && i <= t->pair_mask; i++) {
        const tok_pair *p = &t->pairs[i];
        if (p->left < 0) continue;
        add_int(&s, p->left | (int64_t)p->right << 32);
        add_int(&s, p->id | (int64_t)p->order << 32);
    }
    sha256_hex(&s, t->hash);
}

bool tok_finish(tok *t, gv_err *err) {
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    if (t->family == TOK_SPM) {
        if (!find_spm_bytes(t, err)) return false;
        if (!t->by_pair && !order_scores(t, err)) return false;
        if (t->by_pair) order_merges_by_piece(t);
    } else {
        for (int32_t id = 0; id < t->n; id++) {
            t->e[id].order = 0;
            if (t->e[id].type == TT_BYTE) return gv_fail(err, GV_FORMAT, id, "token %d is of type BYTE in a byte-level vocabulary", id);
        }
    }
    if (!build_raws(t, err)) return false;
    if (t->bos < 0 && t->adds_bos) return gv_fail(err, GV_FORMAT, -1, "BOS is to be added, but no BOS token is named");
    if (!t->unk_surface.n) buf_add_str(&t->unk_surface, " \xe2\x81\x87 ");
    find_shape(t);
    if (!tok_set_build(&t->special, t, is_boundary, err) || !tok_set_build(&t->frozen, t, is_frozen, err)) return false;
    if (!eog_by_name(t, err)) return false;
    hash_tok(t);
    return true;
}

/* ---- questions */

static bool known(const tok *t, int32_t id) {
    return id >= 0 && id < t->n;
}

sv tok_token_bytes(const tok *t, int32_t id) {
    return known(t, id) ? tok_raw(t, id) : (sv){NULL, 0};
}
sv tok_piece(const tok *t, int32_t id) {
    return known(t, id) ? tok_name(t, id) : (sv){NULL, 0};
}
int32_t tok_n_vocab(const tok *t) {
    return t->n;
}
int32_t tok_bos(const tok *t) {
    return t->bos;
}
int32_t tok_eos(const tok *t) {
    return t->eos;
}
bool tok_adds_bos(const tok *t) {
    return t->adds_bos;
}
bool tok_is_eog(const tok *t, int32_t id) {
    return known(t, id) && t->eog && (t->eog[id / 8] >> (id % 8) & 1);
}
bool tok_is_control(const tok *t, int32_t id) {
    return known(t, id) && (t->e[id].type == TT_CONTROL || t->e[id].type == TT_UNKNOWN);
}
bool tok_is_padding(const tok *t, int32_t id) {
    return known(t, id) && t->e[id].type == TT_UNUSED;
}
int32_t tok_n_text(const tok *t) {
    int32_t n = t->n;
    while (n > 0 && tok_is_control(t, n - 1)) n--;
    return n;
}
const char *tok_hash(const tok *t) {
    return t->hash;
}

const char *tok_kind(const tok *t) {
    static const char *const names[] = {"bpe", "gpt2", "smollm", "llama3", "qwen2"};
    return t->family == TOK_SPM ? "spm" : names[t->pretok];
}

void ids_add(ids *a, int32_t id) {
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 64;
        a->v = gv_xrealloc(a->v, a->cap * sizeof *a->v);
    }
    a->v[a->n++] = id;
}

void ids_fini(ids *a) {
    free(a->v);
    *a = (ids){0};
}
