/* Reading FlatBuffers: https://flatbuffers.dev/internals/.  All offsets come from the file, so each place is compared with the buffer before it is
 * read; nothing is followed more than once, so loops of offsets end nowhere. */
#include "data/arrow_internal.h"

int64_t flat_read(const flat *f, size_t at, size_t width) {
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++) v |= (uint64_t)f->p[at + i] << (8 * i);
    const unsigned shift = 64 - 8 * (unsigned)width;
    return (int64_t)(v << shift) >> shift;
}

static bool fits(flat *f, size_t at, size_t n) {
    if (at <= f->n && n <= f->n - at) return true;
    f->broken = true;
    return false;
}

static uint32_t read_u32(const flat *f, size_t at) {
    return (uint32_t)flat_read(f, at, 4);
}

static bool open_table(flat *f, size_t at, flat_table *t) {
    if (!fits(f, at, 4)) return false;
    const int64_t vtable = (int64_t)at - flat_read(f, at, 4);
    if (vtable < 0 || !fits(f, (size_t)vtable, 4)) return f->broken = true, false;
    *t = (flat_table){at, (size_t)vtable, (uint16_t)flat_read(f, (size_t)vtable, 2), (uint16_t)flat_read(f, (size_t)vtable + 2, 2)};
    if (t->vtable_bytes < 4 || t->bytes < 4 || !fits(f, t->vtable, t->vtable_bytes) || !fits(f, at, t->bytes))
        return f->broken = true, false;
    return true;
}

/* Place of a field of width bytes, 0 if it is absent. */
static size_t field_at(flat *f, const flat_table *t, int field, size_t width) {
    const size_t slot = 4 + 2 * (size_t)field;
    if (slot + 2 > t->vtable_bytes) return 0;
    const size_t offset = (uint16_t)flat_read(f, t->vtable + slot, 2);
    if (offset == 0) return 0;
    if (offset < 4 || offset + width > t->bytes) return f->broken = true, 0;
    return t->at + offset;
}

/* Where the offset stored at `at` leads. */
static bool follow(flat *f, size_t at, size_t *to) {
    const size_t offset = read_u32(f, at);
    if (offset == 0 || !fits(f, at, offset)) return f->broken = true, false;
    *to = at + offset;
    return fits(f, *to, 4);
}

bool flat_root(flat *f, flat_table *t) {
    size_t at;
    return fits(f, 0, 4) && follow(f, 0, &at) && open_table(f, at, t);
}

int64_t flat_int(flat *f, const flat_table *t, int field, size_t width, int64_t absent) {
    const size_t at = field_at(f, t, field, width);
    return at ? flat_read(f, at, width) : absent;
}

bool flat_child(flat *f, const flat_table *t, int field, flat_table *child) {
    size_t at = field_at(f, t, field, 4);
    return at && follow(f, at, &at) && open_table(f, at, child);
}

bool flat_vector(flat *f, const flat_table *t, int field, size_t width, size_t *at, size_t *n) {
    const size_t place = field_at(f, t, field, 4);
    *n = 0;
    if (!place || !follow(f, place, at)) return false;
    const size_t count = read_u32(f, *at);
    *at += 4;
    if (count > (f->n - *at) / width) return f->broken = true, false;
    *n = count;
    return true;
}

sv flat_string(flat *f, const flat_table *t, int field) {
    size_t at, n;
    if (!flat_vector(f, t, field, 1, &at, &n)) return SV("");
    return (sv){(const char *)f->p + at, n};
}

bool flat_element(flat *f, size_t at, size_t i, flat_table *child) {
    size_t to;
    return follow(f, at + 4 * i, &to) && open_table(f, to, child);
}
