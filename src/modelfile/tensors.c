/* See tensors.h. */
#include "modelfile/tensors.h"

#include "base/mem.h"
#include "modelfile/gguf_internal.h"
#include "modelfile/hf_folder.h"
#include "modelfile/model_name.h"

#include <stdlib.h>
#include <sys/stat.h>

#define CONFIG_NAME "config.json"

struct tensors {
    char *path;
    gguf *keys; /* the GGUF, or the keys made from config.json */
    buf key_bytes;
    /* a folder's */
    safetensors *hf;
    file_map config;
    hf_config facts;
    hf_tensors bound;
    gguf_name *names; /* sorted */
};

tensors *tensors_from_gguf(gguf *g) {
    tensors *t = gv_xcalloc(1, sizeof *t);
    t->path = gv_xstrdup(gguf_path(g));
    t->keys = g;
    return t;
}

/* Fills t, whose hf is open. */
static bool bind_folder(tensors *t, sv config, gv_err *err) {
    buf name = {0};
    size_t repeated;
    bool ok = hf_config_parse(config, &t->facts, err) || gv_context(err, CONFIG_NAME);
    model_name_of_folder(t->path, t->facts.name, &name);
    ok = ok && (hf_config_keys(&t->facts, name.p ? name.p : "", &t->key_bytes, err) || gv_context(err, CONFIG_NAME));
    ok = ok && (t->keys = gguf_open_memory(t->key_bytes.p, t->key_bytes.n, t->path, err)) != NULL;
    ok = ok && hf_tensors_bind(&t->bound, &t->facts, t->hf, err);
    ok = ok && (t->names = gv_try_calloc(t->bound.n + 1, sizeof *t->names, "tensor names", err)) != NULL;
    for (size_t i = 0; ok && i < t->bound.n; i++) t->names[i] = (gguf_name){sv_of(t->bound.view[i].name), i};
    ok = ok && gguf_names_sort(t->names, t->bound.n, &repeated);
    buf_fini(&name);
    return ok || gv_context(err, "%s", t->path);
}

tensors *tensors_from_hf(sv config, safetensors *s, const char *folder, gv_err *err) {
    tensors *t = gv_xcalloc(1, sizeof *t);
    t->path = gv_xstrdup(folder);
    t->hf = s;
    if (bind_folder(t, config, err)) return t;
    tensors_close(t);
    return NULL;
}

static tensors *open_folder(const char *path, gv_err *err) {
    tensors *t = gv_xcalloc(1, sizeof *t);
    buf config = {0};
    t->path = gv_xstrdup(path);
    buf_printf(&config, "%s/" CONFIG_NAME, path);
    bool ok = file_exists(config.p) ||
              gv_fail(err, GV_IO, -1, "%s: no " CONFIG_NAME " in it, so it is no model folder%s", path, safetensors_instead(path));
    ok = ok && file_map_open(&t->config, config.p, err);
    if (ok && t->config.n > HF_MAX_CONFIG_BYTES)
        ok = gv_fail(err, GV_LIMIT, -1, "%s: %zu bytes, the cap is %d", config.p, t->config.n, HF_MAX_CONFIG_BYTES);
    ok = ok && (t->hf = safetensors_open_folder(path, err)) != NULL;
    ok = ok && bind_folder(t, (sv){(const char *)t->config.p, t->config.n}, err);
    buf_fini(&config);
    if (ok) return t;
    tensors_close(t);
    return NULL;
}

tensors *tensors_open(const char *path, gv_err *err) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return open_folder(path, err);
    if (sv_ends(sv_of(path), SV(".safetensors")) || sv_ends(sv_of(path), SV(CONFIG_NAME))) {
        gv_fail(err, GV_USAGE, -1, "%s: a part of a model folder; name the folder", path);
        return NULL;
    }
    gguf *g = gguf_open(path, err);
    return g ? tensors_from_gguf(g) : NULL;
}

void tensors_close(tensors *t) {
    if (!t) return;
    gguf_close(t->keys);
    safetensors_close(t->hf);
    file_map_close(&t->config);
    hf_tensors_fini(&t->bound);
    buf_fini(&t->key_bytes);
    free(t->names);
    free(t->path);
    free(t);
}

const char *tensors_path(const tensors *t) {
    return t->path;
}
bool tensors_is_folder(const tensors *t) {
    return t->hf != NULL;
}
const gguf *tensors_keys(const tensors *t) {
    return t->keys;
}
const safetensors *tensors_hf(const tensors *t) {
    return t->hf;
}
const hf_config *tensors_hf_config(const tensors *t) {
    return t->hf ? &t->facts : NULL;
}

/* ---- tensors ---- */

size_t tensors_count(const tensors *t) {
    return t->hf ? t->bound.n : gguf_n_tensors(t->keys);
}
const tensor_view *tensors_at(const tensors *t, size_t i) {
    return t->hf ? &t->bound.view[i] : gguf_tensor(t->keys, i);
}

const tensor_view *tensors_find(const tensors *t, const char *name) {
    if (!t->hf) return gguf_find_tensor(t->keys, name);
    const size_t i = gguf_names_find(t->names, t->bound.n, sv_of(name));
    return i == SIZE_MAX ? NULL : &t->bound.view[i];
}

size_t tensors_number(const tensors *t, const tensor_view *v) {
    return (size_t)(v - tensors_at(t, 0)); /* both kinds keep them in one array */
}

/* ---- files ---- */

size_t tensors_n_files(const tensors *t) {
    if (!t->hf) return gguf_map(t->keys) ? gguf_n_parts(t->keys) : 0;
    return t->config.p ? 1 + safetensors_n_files(t->hf) : 0;
}

const char *tensors_file_name(const tensors *t, size_t file) {
    if (t->hf) return file == 0 ? CONFIG_NAME : safetensors_file_name(t->hf, file - 1);
    const char *path = gguf_path(gguf_part(t->keys, file)), *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const file_map *tensors_file_map(const tensors *t, size_t file) {
    if (!t->hf) return gguf_map(gguf_part(t->keys, file));
    return file == 0 ? &t->config : safetensors_file_map(t->hf, file - 1);
}

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

bool tensors_identity(const tensors *t, file_id *id) {
    const size_t n = tensors_n_files(t);
    if (n == 0) return false;
    *id = tensors_file_map(t, 0)->id;
    for (size_t i = 1; i < n; i++) {
        const file_id *f = &tensors_file_map(t, i)->id;
        id->dev = mix(id->dev, f->dev);
        id->ino = mix(mix(id->ino, f->ino), f->size);
        id->size += f->size;
        id->mtime_ns = (int64_t)mix((uint64_t)id->mtime_ns, (uint64_t)f->mtime_ns);
        id->ctime_ns = (int64_t)mix((uint64_t)id->ctime_ns, (uint64_t)f->ctime_ns);
    }
    return true;
}

void tensors_drop(const tensors *t, const uint8_t *from, size_t n) {
    for (size_t i = 0; i < tensors_n_files(t); i++) {
        const file_map *m = tensors_file_map(t, i);
        if ((uintptr_t)from >= (uintptr_t)m->p && (uintptr_t)from - (uintptr_t)m->p < m->n) {
            file_map_drop(m, (size_t)((uintptr_t)from - (uintptr_t)m->p), n);
            return;
        }
    }
}

void tensors_drop_all(const tensors *t) {
    for (size_t i = 0; i < tensors_n_files(t); i++) file_map_drop(tensors_file_map(t, i), 0, tensors_file_map(t, i)->n);
}
