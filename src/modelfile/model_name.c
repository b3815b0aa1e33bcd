/* See model_name.h. */
#include "modelfile/model_name.h"

#include <stdlib.h>

enum { SHORTEST_HASH = 32 };

/* "models--ORG--NAME" with snapshots or blobs below it: ORG/NAME.  False if no part of the path is that. */
static bool put_hub_name(sv path, buf *out) {
    static const char marker[] = "models--";
    for (size_t at = 0; (at = sv_find(path, SV("models--"), at)) != SIZE_MAX; at++) {
        const size_t from = at + sizeof marker - 1, end = sv_find(path, SV("/"), at);
        if ((at && path.p[at - 1] != '/') || end == SIZE_MAX || end == from) continue;
        const sv below = sv_sub(path, end, path.n);
        if (!sv_starts(below, SV("/snapshots/")) && !sv_starts(below, SV("/blobs/"))) continue;
        const sv id = sv_sub(path, from, end - from);
        const size_t dashes = sv_find(id, SV("--"), 0);
        utf8_replace(sv_sub(id, 0, dashes), out); /* all of it if there are none */
        if (dashes != SIZE_MAX) buf_add_char(out, '/');
        if (dashes != SIZE_MAX) utf8_replace(sv_sub(id, dashes + 2, id.n), out);
        return true;
    }
    return false;
}

static sv last_part(sv path) {
    while (path.n > 1 && path.p[path.n - 1] == '/') path.n--;
    size_t from = path.n;
    while (from > 0 && path.p[from - 1] != '/') from--;
    return sv_sub(path, from, path.n - from);
}

static bool is_hash(sv s) {
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'))) return false;
    return s.n >= SHORTEST_HASH;
}

void model_name_of_folder(const char *path, const char *by_config, buf *out) {
    sv name = last_part(sv_of(path));
    const bool no_name = name.n == 0 || sv_is(name, ".") || sv_is(name, "..");
    char *real = no_name || is_hash(name) ? realpath(path, NULL) : NULL; /* a hash says little: it may lie in the cache */
    if (real && no_name) name = last_part(sv_of(real));
    if (!put_hub_name(sv_of(path), out) && !(real && put_hub_name(sv_of(real), out)))
        utf8_replace(is_hash(name) && *by_config ? sv_of(by_config) : name, out);
    free(real);
}

void model_name_of_path(const char *path, buf *out) {
    model_name_of_folder(path, "", out);
}

void model_name_of(const tensors *t, buf *out) {
    sv name = {0};
    bool found = false;
    gv_err ignored = GV_ERR_INIT;
    const char *path = tensors_path(t);
    if (!tensors_is_folder(t) && put_hub_name(sv_of(path), out)) return;
    if (gguf_get_string(tensors_keys(t), "general.name", &name, &found, &ignored) && found && name.n && utf8_invalid_at(name) == SIZE_MAX) {
        buf_add_sv(out, name);
        return;
    }
    name = last_part(sv_of(path));
    for (size_t i = name.n; i-- > 1;)
        if (name.p[i] == '.') {
            name.n = i;
            break;
        }
    utf8_replace(name, out);
}
