/* Row ids seen so far: open addressing over 16-byte slots.  A slot keeps 88 bits of the id's SHA-256 and 40 bits of row number, so ids may be
 * long and chosen by anyone; two different ids of 10^8 collide with probability 2e-11. */
#include "data/rows_internal.h"

#include <stdlib.h>

enum { FIRST_SLOTS = 1024, ROW_BITS = 40 };

typedef struct id_slot {
    uint64_t hash;     /* 64 bits of the digest */
    uint64_t row_hash; /* 24 more bits above, row + 1 in the low 40; 0: free */
} id_slot;

static uint64_t hex_u64(const char *hex) {
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) v = v << 4 | (uint64_t)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
    return v;
}

static id_slot *find(const id_set *s, uint64_t hash, uint64_t high) {
    for (size_t i = hash & (s->cap - 1);; i = (i + 1) & (s->cap - 1)) {
        id_slot *slot = &s->slots[i];
        if (slot->row_hash == 0 || (slot->hash == hash && slot->row_hash >> ROW_BITS == high)) return slot;
    }
}

static bool grow(id_set *s, gv_err *err) {
    id_set bigger = {.n = s->n, .cap = s->cap ? s->cap * 2 : FIRST_SLOTS};
    bigger.slots = gv_try_calloc(bigger.cap, sizeof(id_slot), "row ids", err);
    if (!bigger.slots) return false;
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i].row_hash) *find(&bigger, s->slots[i].hash, s->slots[i].row_hash >> ROW_BITS) = s->slots[i];
    free(s->slots);
    *s = bigger;
    return true;
}

bool id_set_add(id_set *s, sv id, uint64_t number, uint64_t *before, gv_err *err) {
    if (number >= (UINT64_C(1) << ROW_BITS) - 1) return gv_fail(err, GV_LIMIT, (int64_t)number, "more than 2^40 rows with ids");
    if (s->n + 1 > s->cap / 4 * 3 && !grow(s, err)) return false;
    sha256 h;
    char hex[65];
    sha256_init(&h);
    sha256_add(&h, id.p, id.n);
    sha256_hex(&h, hex);
    uint64_t hash = hex_u64(hex), high = hex_u64(hex + 16) >> ROW_BITS;
    id_slot *slot = find(s, hash, high);
    if (slot->row_hash) {
        *before = (slot->row_hash & ((UINT64_C(1) << ROW_BITS) - 1)) - 1;
        return true;
    }
    *slot = (id_slot){hash, high << ROW_BITS | (number + 1)};
    s->n++;
    *before = UINT64_MAX;
    return true;
}

void id_set_fini(id_set *s) {
    free(s->slots);
    *s = (id_set){0};
}
