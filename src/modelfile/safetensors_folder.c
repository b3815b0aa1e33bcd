/* A model folder of safetensors: one file, or shards and their index.
 *
 * model.safetensors.index.json: { "metadata": {...}, "weight_map": { tensor: file } }.  As transformers does, model.safetensors wins if both
 * are there.  The file names of the index are untrusted: they must be plain names of this folder.  (A file may be a symbolic link, as in the
 * Hub cache: who may make those in the folder may put the file there too.) */
#include "base/json.h"
#include "base/mem.h"
#include "modelfile/safetensors_internal.h"

#include <dirent.h>
#include <stdlib.h>

static int by_text(const void *a, const void *b) {
    const sv *x = a, *y = b;
    const size_t n = x->n < y->n ? x->n : y->n;
    const int c = n ? memcmp(x->p, y->p, n) : 0;
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static bool check_file_name(sv name, gv_err *err) {
    const char *wrong = NULL;
    if (name.n == 0 || name.n > SAFETENSORS_MAX_NAME_BYTES)
        wrong = "its length";
    else if (memchr(name.p, '/', name.n) || memchr(name.p, '\\', name.n) || memchr(name.p, 0, name.n) || name.p[0] == '.')
        wrong = "it is not the plain name of a file in this folder";
    else if (!sv_ends(name, SV(".safetensors")))
        wrong = "it does not end in .safetensors";
    return !wrong || gv_fail(err, GV_FORMAT, -1, "weight_map: file \"%s\" is refused: %s", str_show(name).text, wrong);
}

/* The distinct file names of the map, sorted, as a new safetensors with no file open yet. */
static safetensors *list_files(const json_value *map, gv_err *err) {
    const size_t n = json_size(map);
    size_t n_files = 0, i = 0;
    safetensors *s = NULL;
    sv *name = gv_try_calloc(n + 1, sizeof *name, "weight_map", err);
    if (!name) return NULL;
    for (json_iter it = json_each(map); json_next(&it); i++) {
        if (json_kind_of(it.value) != JSON_STRING) {
            gv_fail(err, GV_FORMAT, -1, "weight_map: %s is %s, expected a file name", str_show(it.key).text, json_kind_name(it.value));
            goto done;
        }
        name[i] = json_string(it.value);
        if (!check_file_name(name[i], err)) goto done;
    }
    qsort(name, n, sizeof *name, by_text);
    for (i = 0; i < n; i++)
        if (i == 0 || !sv_eq(name[n_files - 1], name[i])) name[n_files++] = name[i];
    if (n_files > SAFETENSORS_MAX_SHARDS) {
        gv_fail(err, GV_LIMIT, -1, "weight_map names %zu files, the cap is %d", n_files, SAFETENSORS_MAX_SHARDS);
        goto done;
    }
    s = st_new(n_files, err);
    for (i = 0; s && i < n_files; i++) {
        s->files[i].name = gv_xcalloc(name[i].n + 1, 1);
        memcpy(s->files[i].name, name[i].p, name[i].n);
    }
done:
    free(name);
    return s;
}

/* Every tensor of the map in the file it names, and no other tensors. */
static bool check_map(const safetensors *s, const json_value *map, gv_err *err) {
    for (json_iter it = json_each(map); json_next(&it);) {
        const sv file = json_string(it.value);
        const tensor_view *t =
            it.key.n && !memchr(it.key.p, 0, it.key.n) ? safetensors_find(s, it.key.p) : NULL; /* JSON text ends in NUL */
        const size_t at = t ? safetensors_number(s, t) : 0;
        if (!t || !sv_is(file, s->files[s->e[at].file].name))
            return gv_fail(err, GV_FORMAT, -1, "tensor %s is not in %s, which weight_map names for it%s%s", str_show(it.key).text,
                           str_show(file).text, t ? ", but in " : "", t ? s->files[s->e[at].file].name : "");
    }
    if (s->n == json_size(map)) return true;
    for (size_t i = 0; i < s->n; i++)
        if (!json_get(map, s->e[i].view.name))
            return gv_fail(err, GV_FORMAT, -1, "tensor %s of %s is not in weight_map", str_show(sv_of(s->e[i].view.name)).text,
                           s->files[s->e[i].file].name);
    return true;
}

bool st_index(sv text, const char *folder, safetensors **out, gv_err *err) {
    json_doc *d = json_parse_caps(text, SAFETENSORS_MAX_TENSORS, 3 * (size_t)SAFETENSORS_MAX_TENSORS, err);
    if (!d) return false;
    const json_value *map = json_get(json_root(d), "weight_map");
    safetensors *s = NULL;
    bool ok = false;
    if (!map || json_kind_of(map) != JSON_OBJECT)
        gv_fail(err, GV_FORMAT, -1, "weight_map is %s, expected an object", map ? json_kind_name(map) : "missing");
    else if (json_size(map) == 0)
        gv_fail(err, GV_FORMAT, -1, "weight_map is empty");
    else
        ok = (s = list_files(map, err)) != NULL;
    buf path = {0};
    for (size_t i = 0; ok && i < s->n_files; i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", folder, s->files[i].name);
        ok = st_open_file(s, i, path.p, err);
    }
    buf_fini(&path);
    ok = ok && st_sort(s, err) && check_map(s, map, err);
    json_free(d);
    if (!ok) safetensors_close(s);
    *out = ok ? s : NULL;
    return ok;
}

const char *safetensors_instead(const char *folder) {
    static const struct {
        const char *start, *end, *what;
    } kinds[] = {
        {"", ".gguf", "; it holds GGUF files: name one of them"},
        {"adapter_model", "", "; it holds an adapter, which has to be merged into its base model first"},
        {"pytorch_model", ".bin", "; its weights are in PyTorch's own format: only safetensors are read"},
        {"consolidated", ".pth", "; its weights are in PyTorch's own format: only safetensors are read"},
    };
    DIR *d = opendir(folder);
    const char *what = "";
    for (const struct dirent *e; d && (e = readdir(d));)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (sv_starts(sv_of(e->d_name), sv_of(kinds[i].start)) && sv_ends(sv_of(e->d_name), sv_of(kinds[i].end))) what = kinds[i].what;
    if (d) closedir(d);
    return what;
}

safetensors *safetensors_open_folder(const char *folder, gv_err *err) {
    buf path = {0}, text = {0};
    safetensors *s = NULL;
    buf_printf(&path, "%s/" SAFETENSORS_SINGLE, folder);
    if (file_exists(path.p)) {
        s = safetensors_open(path.p, err);
    } else {
        buf_clear(&path);
        buf_printf(&path, "%s/" SAFETENSORS_INDEX, folder);
        if (!file_exists(path.p))
            gv_fail(err, GV_IO, -1, "%s: neither " SAFETENSORS_SINGLE " nor " SAFETENSORS_INDEX " is in it%s", folder,
                    safetensors_instead(folder));
        else if (file_read_all(path.p, SAFETENSORS_MAX_HEADER_BYTES, &text, err) && !st_index(buf_view(&text), folder, &s, err) &&
                 !sv_starts(sv_of(err ? err->msg : ""), sv_of(folder)))
            gv_context(err, "%s", path.p);
    }
    buf_fini(&path);
    buf_fini(&text);
    return s;
}
