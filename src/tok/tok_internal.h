/* Inner header of src/tok: the one struct behind all tokenizers, the builder that every source fills, and the parts of encoding.
 *
 * Life of a tok: tok_new, tok_add for each id in order, tok_index, tok_add_merge for each merge in order, fields set by the source (family,
 * pre-tokenizer, flags, special ids), then tok_finish, which checks everything encoding relies on and builds the derived tables.  After
 * tok_finish nothing changes, so any number of threads may read it.
 *
 * Caps (GV_LIMIT by name): 1,048,576 tokens, 8,192 bytes a token, 256 bytes a special token, 2,097,152 merges, 64 MiB of text a call. */
#ifndef GAVEL_TOK_INTERNAL_H
#define GAVEL_TOK_INTERNAL_H

#include "base/json.h"
#include "base/mem.h"
#include "tok/tok.h"

#define TOK_MAX_VOCAB    (1u << 20)
#define TOK_MAX_PIECE    8192u
#define TOK_MAX_SPECIAL  256u
#define TOK_MAX_MERGES   (1u << 21)
#define TOK_MAX_TEXT     ((size_t)64 << 20)
#define TOK_MAX_TEMPLATE ((size_t)1 << 20)
#define TOK_MAX_FILE     ((size_t)256 << 20)
#define TOK_MAX_CONFIG   ((size_t)16 << 20)

typedef enum tok_family { TOK_SPM, TOK_BPE } tok_family;
typedef enum tok_pretok { PRETOK_NONE, PRETOK_GPT2, PRETOK_SMOLLM, PRETOK_LLAMA3, PRETOK_QWEN2 } tok_pretok;

/* Token types: the numbers of sentencepiece_model.proto and of tokenizer.ggml.token_type. */
typedef enum tok_type { TT_NORMAL = 1, TT_UNKNOWN = 2, TT_CONTROL = 3, TT_USER_DEFINED = 4, TT_UNUSED = 5, TT_BYTE = 6 } tok_type;

typedef struct tok_entry {
    uint32_t name_off, name_n; /* into names */
    uint32_t raw_off, raw_n;   /* into raws: the bytes it adds in the middle of a text */
    float score;               /* spm: as in the source; bpe: 0 */
    uint32_t order;            /* spm: 0 merges first; equal scores share a number; UINT32_MAX: no merge makes it */
    uint8_t type;              /* tok_type */
    bool frozen;               /* USER_DEFINED piece of tokenizer.model: one symbol inside a stretch, not a boundary */
} tok_entry;

typedef struct tok_bytes { /* growable bytes whose growth can fail */
    char *p;
    size_t n, cap;
} tok_bytes;

/* Token names sorted bytewise, for finding the longest that starts at a place in a text. */
typedef struct tok_set {
    int32_t *id;
    uint32_t n;
    uint32_t first[257]; /* names starting with byte b are id[first[b]] .. id[first[b + 1] - 1] */
} tok_set;

typedef struct tok_template {
    buf name, text;
} tok_template;

typedef struct tok_pair { /* one slot of the merge table */
    int32_t left, right;  /* left -1: empty */
    uint32_t order;       /* lower merges first */
    int32_t id;           /* what the two become */
} tok_pair;

struct tok {
    tok_family family;
    tok_pretok pretok;
    bool nfc;           /* bpe: normalise each stretch first */
    bool ignore_merges; /* bpe: a word that is a token is that token */
    bool dummy_prefix;  /* spm: U+2581 in front of each stretch */
    bool by_pair;       /* merges come from the pair table, else from piece scores (spm) */
    bool split_words;   /* spm: no piece has U+2581 behind another character, so words can be merged apart */
    bool adds_bos;
    int32_t bos, eos, unk;

    int32_t n;
    size_t cap;
    tok_entry *e;
    tok_bytes names, raws;
    uint32_t max_piece; /* bytes of the longest NORMAL or USER_DEFINED piece */

    int32_t *slots; /* name table: ids, -1 empty; open addressing */
    size_t slot_mask;
    tok_pair *pairs;
    size_t pair_mask, n_pairs;
    uint32_t n_merges;

    tok_set special; /* CONTROL, UNKNOWN and USER_DEFINED that is not frozen */
    tok_set frozen;  /* spm: frozen USER_DEFINED */
    int32_t byte_id[256];
    uint8_t *eog; /* one bit an id */
    buf unk_surface;
    tok_template *templates;
    size_t n_templates;
    const char *templates_from; /* static: the file they stand in */
    char hash[65];
};

/* tok.c: the builder.  tok_new starts with family SPM, no special ids and dummy_prefix on. */
tok *tok_new(gv_err *err) GV_MUST_USE;
bool tok_add(tok *t, sv name, int type, float score, gv_err *err) GV_MUST_USE;
bool tok_index(tok *t, gv_err *err) GV_MUST_USE;
/* Room for n merges; then each in order.  Merges that would make a token text may not become are counted but left out. */
bool tok_reserve_merges(tok *t, uint64_t n, gv_err *err) GV_MUST_USE;
bool tok_add_merge(tok *t, sv left, sv right, gv_err *err) GV_MUST_USE;
/* Checks that id is one of t's; names the field in the message. */
bool tok_check_id(const tok *t, int64_t id, const char *what, gv_err *err) GV_MUST_USE;
bool tok_mark_eog(tok *t, int64_t id, const char *what, gv_err *err) GV_MUST_USE;
bool tok_finish(tok *t, gv_err *err) GV_MUST_USE;
bool tok_bytes_add(tok_bytes *b, const void *p, size_t n, gv_err *err) GV_MUST_USE;

static inline sv tok_name(const tok *t, int32_t id) {
    return (sv){t->names.p + t->e[id].name_off, t->e[id].name_n};
}
static inline sv tok_raw(const tok *t, int32_t id) {
    return (sv){t->raws.p + t->e[id].raw_off, t->e[id].raw_n};
}

/* table.c: the lookup tables. */
uint64_t tok_hash_bytes(const char *p, size_t n);
bool tok_table_build(tok *t, gv_err *err) GV_MUST_USE;
/* Slot of the pair, or an empty one; NULL when the table has no room for it within the probe limit. */
tok_pair *tok_pair_slot(const tok *t, int32_t left, int32_t right);
bool tok_set_build(tok_set *s, const tok *t, bool (*take)(const tok_entry *), gv_err *err) GV_MUST_USE;
void tok_set_fini(tok_set *s);
/* Longest name of s at text[at..] whose end is <= limit if it is CONTROL or UNKNOWN; -1 if none, else *n is its length. */
int32_t tok_set_match(const tok_set *s, const tok *t, sv text, size_t at, size_t limit, size_t *n);

/* templates.c: chat templates by name; `from` (static) stands in messages. */
bool tok_add_template(tok *t, sv name, sv text, const char *from, gv_err *err) GV_MUST_USE;
/* The value of chat_template in a configuration file; NULL and null have none. */
bool tok_read_templates(tok *t, const json_value *v, const char *from, gv_err *err) GV_MUST_USE;
bool tok_templates_from_gguf(tok *t, const gguf *g, gv_err *err) GV_MUST_USE;
void tok_put_templates(const tok *t, gguf_out *o);
void tok_clear_templates(tok *t);

/* alphabet.c: GPT-2's byte alphabet (bytes_to_unicode). */
uint32_t tok_alphabet_char(uint8_t b);
/* The bytes that name spells in the alphabet, or false if a character is not of it.  out needs name.n bytes. */
bool tok_alphabet_bytes(sv name, char *out, size_t *n);

/* merge.c: scratch of one encode call and the merge loop. */
typedef struct tok_sym {
    uint32_t pos, len; /* into base; len sums the merged symbols */
    int32_t id;        /* -1: not known (yet) */
    int32_t prev, next;
    bool frozen;
} tok_sym;

typedef struct tok_cand { /* a possible merge */
    uint64_t key;         /* order << 32 | index of the left symbol */
    uint32_t len;         /* of both symbols together: tells whether the entry is stale */
    int32_t id;
} tok_cand;

typedef struct tok_work {
    const char *base;
    tok_sym *s;
    size_t n, cap;
    tok_cand *heap;
    size_t n_heap, cap_heap;
    tok_bytes text, norm;
    int32_t *cp; /* code points (NFC) */
    size_t cap_cp;
    gv_err *err;
} tok_work;

void tok_work_fini(tok_work *w);
bool tok_work_push(tok_work *w, uint32_t pos, uint32_t len, int32_t id, bool frozen) GV_MUST_USE;
/* Merges the n symbols of w until no merge is left; the result stands in w->s[0..w->n) in order. */
bool tok_merge(const tok *t, tok_work *w) GV_MUST_USE;

/* spm.c and bpe.c: appends the ids of one stretch (no special token inside). */
bool tok_spm_stretch(const tok *t, tok_work *w, sv text, bool prefix, ids *out) GV_MUST_USE;
bool tok_bpe_stretch(const tok *t, tok_work *w, sv text, ids *out) GV_MUST_USE;

/* pretok.c: end of the word that starts at i < s.n; s is valid UTF-8. *piece_end is PRETOK_SMOLLM's memory, 0 at the start of a text. */
size_t tok_pretok_next(tok_pretok kind, sv s, size_t i, size_t *piece_end);

/* nfc.c: true if text (valid UTF-8) may change under NFC; and the change itself, into w->norm. */
bool tok_nfc_needed(sv text);
bool tok_nfc(tok_work *w, sv text) GV_MUST_USE;

/* The sources: each fills a new tok and finishes it. from_model and from_json leave finishing to the caller (open.c), because the
 * configuration files beside them may still add tokens. */
bool tok_load_model(tok *t, sv bytes, gv_err *err) GV_MUST_USE;
bool tok_load_json(tok *t, sv bytes, gv_err *err) GV_MUST_USE;
bool tok_load_gguf(tok *t, const gguf *g, gv_err *err) GV_MUST_USE;

#endif
