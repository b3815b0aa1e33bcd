/* A model in several GGUF files, as gguf-split of llama.cpp writes them: NAME-00001-of-00003.gguf and so on.
 *
 * Each part is a GGUF of its own.  Keys: split.no (u16, from 0), split.count (u16, parts), split.tensors.count (i32, tensors of all parts); all
 * other keys are the first part's, and other tools may repeat them in each.  A count of 0 or 1 is a whole file.  gguf-split may leave the first
 * part without tensors.
 *
 * Opening any part opens all: the names of the others follow from its own.  Parts have no identity in common, so what can be checked is checked:
 * the number in the name against split.no, counts, keys that two parts both have, tensors that are there twice, the number of tensors.  A part
 * of an equally shaped model that passes all this shows in the digest alone. */
#include "base/mem.h"
#include "modelfile/gguf_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define SUFFIX      ".gguf"
#define KEY_NO      "split.no"
#define KEY_COUNT   "split.count"
#define KEY_TENSORS "split.tensors.count"

static bool get_number(const gguf *g, const char *key, uint32_t *v, gv_err *err) {
    return gguf_get_u32(g, key, v, NULL, err) || gv_context(err, "%s", g->path);
}

/* ---- do they belong together ---- */

static bool same_number(const gguf *first, const gguf *part, const char *key, gv_err *err) {
    uint32_t a, b;
    if (!get_number(first, key, &a, err) || !get_number(part, key, &b, err)) return false;
    return a == b || gv_fail(err, GV_FORMAT, -1, "%s: %s is %u, but %u in %s", part->path, key, b, a, first->path);
}

/* Keys that both have are the same, but for those of the part itself. */
static bool same_keys(const gguf *first, const gguf *part, gv_err *err) {
    for (size_t i = 0; i < part->n_kv; i++) {
        const gguf_kv *b = &part->kv[i];
        const size_t at = gguf_names_find(first->kv_names, first->n_kv, b->key);
        if (at == SIZE_MAX || sv_starts(b->key, SV("split.")) || sv_is(b->key, "general.alignment")) continue;
        const gguf_kv *a = &first->kv[at];
        if (a->type != b->type || a->elem != b->elem || a->n != b->n || a->n_bytes != b->n_bytes || memcmp(a->p, b->p, a->n_bytes) != 0)
            return gv_fail(err, GV_FORMAT, -1, "%s: key %s has another value than in %s, so it is a part of another model", part->path,
                           str_show(b->key).text, first->path);
    }
    return true;
}

static bool check_part(const gguf *first, const gguf *part, uint32_t i, gv_err *err) {
    uint32_t no;
    if (!get_number(part, KEY_NO, &no, err)) return false;
    if (no != i) return gv_fail(err, GV_FORMAT, -1, "%s: " KEY_NO " is %u, expected %u for part %u", part->path, no, i, i + 1);
    return part == first ||
           (same_number(first, part, KEY_COUNT, err) && same_number(first, part, KEY_TENSORS, err) && same_keys(first, part, err));
}

static bool check_parts(const gguf *g, gv_err *err) {
    uint32_t count;
    if (!get_number(g, KEY_COUNT, &count, err)) return false;
    if (count != gguf_n_parts(g))
        return gv_fail(err, GV_FORMAT, -1, "%s: " KEY_COUNT " is %u, but there are %zu parts", g->path, count, gguf_n_parts(g));
    for (uint32_t i = 0; i < count; i++)
        if (!check_part(g, gguf_part(g, i), i, err)) return false;
    return true;
}

/* ---- one index ---- */

static bool fail_repeated(const gguf *g, const tensor_view *all, size_t repeated, gv_err *err) {
    const char *name = all[repeated].name, *where[2] = {g->path, g->path};
    int found = 0;
    for (size_t k = 0; k < gguf_n_parts(g) && found < 2; k++)
        if (gguf_find_tensor(gguf_part(g, k), name)) where[found++] = gguf_part(g, k)->path;
    return gv_fail(err, GV_FORMAT, -1, "%s: tensor %s is also in %s", where[1], str_show(sv_of(name)).text, where[0]);
}

/* The views of all parts in the first's place. */
static bool join_tensors(gguf *g, size_t n, gv_err *err) {
    tensor_view *all = gv_try_calloc(n, sizeof *all, "GGUF tensors", err);
    gguf_name *names = all ? gv_try_calloc(n, sizeof *names, "GGUF tensors", err) : NULL;
    bool ok = names != NULL;
    size_t at = 0, repeated = 0;
    for (size_t k = 0; ok && k < gguf_n_parts(g); k++) {
        const gguf *part = gguf_part(g, k);
        for (size_t i = 0; i < part->n_tensors; i++, at++) {
            all[at] = part->tensors[i];
            names[at] = (gguf_name){sv_of(all[at].name), at};
        }
    }
    if (ok && !gguf_names_sort(names, n, &repeated)) ok = fail_repeated(g, all, repeated, err);
    if (ok) {
        free(g->tensors);
        free(g->tensor_names);
        g->tensors = all;
        g->tensor_names = names;
        g->n_tensors = n;
        return true;
    }
    free(all);
    free(names);
    return false;
}

bool gguf_join(gguf *first, gguf **more, size_t n_more, gv_err *err) {
    uint32_t expected;
    size_t n = 0;
    first->more = more;
    first->n_more = n_more;
    if (!check_parts(first, err) || !get_number(first, KEY_TENSORS, &expected, err)) return false;
    for (size_t k = 0; k < gguf_n_parts(first); k++) n += gguf_part(first, k)->n_tensors;
    if (n > GGUF_MAX_TENSORS)
        return gv_fail(err, GV_LIMIT, -1, "%s: %zu tensors in all parts, the cap is %d", first->path, n, GGUF_MAX_TENSORS);
    if (!join_tensors(first, n, err)) return false;
    return n == expected || gv_fail(err, GV_FORMAT, -1, "%s: %zu tensors in all parts, " KEY_TENSORS " is %u", first->path, n, expected);
}

/* ---- finding the others ---- */

/* NAME of NAME-00002-of-00003.gguf, if the numbers are those of the keys. */
static bool name_of_set(const gguf *g, uint32_t no, uint32_t count, sv *name, gv_err *err) {
    uint32_t part, parts;
    *name = sv_of(g->path);
    if (sv_ends(*name, SV(SUFFIX))) {
        name->n -= strlen(SUFFIX);
        if (file_take_part(name, &part, &parts) && part == no + 1 && parts == count) return true;
    }
    return gv_fail(err, GV_FORMAT, -1,
                   "%s: part %" PRIu64 " of %u by its keys (" KEY_NO " %u, " KEY_COUNT " %u), but its name does not end in "
                   "-%05" PRIu64 "-of-%05u" SUFFIX ", so the other parts cannot be found",
                   g->path, (uint64_t)no + 1, count, no, count, (uint64_t)no + 1, count);
}

static gguf *open_part(const gguf *from, sv name, uint32_t i, uint32_t count, gv_err *err) {
    buf path = {0};
    gguf *g = NULL;
    buf_printf(&path, SV_FMT "-%05u-of-%05u" SUFFIX, SV_ARG(name), i + 1, count);
    if (file_exists(path.p))
        g = gguf_open_file(path.p, err);
    else
        gv_fail(err, GV_IO, -1, "%s is missing: part %u of the %u that %s belongs to", path.p, i + 1, count, from->path);
    buf_fini(&path);
    return g;
}

/* Closes g on failure. */
static gguf *open_others(gguf *g, uint32_t no, uint32_t count, gv_err *err) {
    sv name;
    gguf **part = NULL, *first = NULL;
    bool ok = name_of_set(g, no, count, &name, err);
    if (ok && count > GGUF_MAX_PARTS)
        ok = gv_fail(err, GV_LIMIT, -1, "%s: " KEY_COUNT " is %u, the cap is %d", g->path, count, GGUF_MAX_PARTS);
    if (!ok) {
        gguf_close(g);
        return NULL;
    }
    part = gv_xcalloc(count, sizeof(gguf *));
    part[no] = g;
    for (uint32_t i = 0; ok && i < count; i++)
        if (i != no) ok = (part[i] = open_part(g, name, i, count, err)) != NULL;
    if (!ok) {
        for (uint32_t i = 0; i < count; i++) gguf_close(part[i]);
        free(part);
        return NULL;
    }
    first = part[0];
    memmove(part, part + 1, (count - 1) * sizeof(gguf *));
    if (gguf_join(first, part, count - 1, err)) return first;
    gguf_close(first);
    return NULL;
}

gguf *gguf_open(const char *path, gv_err *err) {
    gguf *g = gguf_open_file(path, err);
    uint32_t count = 0, no = 0;
    bool found = false;
    if (!g) return NULL;
    bool ok = gguf_get_u32(g, KEY_COUNT, &count, &found, err);
    if (ok && (!found || count <= 1)) return g;
    ok = ok && gguf_get_u32(g, KEY_NO, &no, NULL, err);
    if (ok) return open_others(g, no, count, err);
    gv_context(err, "%s", g->path);
    gguf_close(g);
    return NULL;
}
