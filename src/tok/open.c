/* Opening a tokenizer by path, and the configuration files that stand beside it.
 *
 * In a folder tokenizer.model wins over tokenizer.json, which wins over a single GGUF.  Beside the first two are read, if there:
 * tokenizer_config.json (bos_token, eos_token, add_bos_token, chat_template; with a tokenizer.model also added_tokens_decoder),
 * added_tokens.json (with a tokenizer.model, if the former names none), generation_config.json (eos_token_id) and chat_template.jinja. */
#include "base/file.h"
#include "base/json.h"
#include "tok/tok_internal.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef enum source { SRC_MODEL, SRC_JSON, SRC_GGUF } source;

typedef struct added {
    int64_t id;
    sv content;
    bool special;
} added;

static bool is_kind(const json_value *v, json_kind k) {
    return v && json_kind_of(v) == k;
}

/* Content of a token given as string or as an object with "content"; empty if neither. */
static sv token_text(const json_value *v) {
    if (is_kind(v, JSON_OBJECT)) v = json_get(v, "content");
    return is_kind(v, JSON_STRING) ? json_string(v) : (sv){"", 0};
}

/* *d is NULL if the file is not there; the root is an object otherwise. */
static bool read_config(const char *folder, const char *name, json_doc **d, gv_err *err) {
    buf path = {0}, text = {0};
    *d = NULL;
    buf_printf(&path, "%s/%s", folder, name);
    bool done = true;
    if (file_exists(path.p)) {
        done = file_read_all(path.p, TOK_MAX_CONFIG, &text, err);
        if (done && !(*d = json_parse(buf_view(&text), err))) done = gv_context(err, "%s", path.p);
        if (*d && json_kind_of(json_root(*d)) != JSON_OBJECT) {
            done = gv_fail(err, GV_FORMAT, -1, "%s: %s, expected an object", path.p, json_kind_name(json_root(*d)));
            json_free(*d);
            *d = NULL;
        }
    }
    buf_fini(&text);
    buf_fini(&path);
    return done;
}

static int by_id(const void *a, const void *b) {
    int64_t x = ((const added *)a)->id, y = ((const added *)b)->id;
    return (x > y) - (x < y);
}

/* Adds list (from a config file) to the pieces of a tokenizer.model, which were not indexed yet. */
static bool add_tokens(tok *t, added *list, size_t n, gv_err *err) {
    qsort(list, n, sizeof *list, by_id);
    for (size_t i = 0; i < n; i++) {
        const added *a = &list[i];
        if (a->id < t->n) {
            if (!sv_eq(tok_name(t, (int32_t)a->id), a->content))
                return gv_fail(err, GV_FORMAT, -1, "added token \"%s\" has id %lld, which is \"%s\"", str_show(a->content).text,
                               (long long)a->id, str_show(tok_name(t, (int32_t)a->id)).text);
            tok_entry *e = &t->e[a->id];
            if (a->special && (e->type == TT_NORMAL || e->type == TT_USER_DEFINED)) e->type = TT_CONTROL;
            continue;
        }
        if (a->id > t->n)
            return gv_fail(err, GV_FORMAT, -1, "added token \"%s\" has id %lld, but no token has id %d", str_show(a->content).text,
                           (long long)a->id, t->n);
        if (!tok_add(t, a->content, a->special ? TT_CONTROL : TT_USER_DEFINED, 0, err)) return false;
    }
    return true;
}

static bool id_of_text(sv s, int64_t *id) {
    *id = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || i >= 9) return false;
        *id = *id * 10 + (s.p[i] - '0');
    }
    return s.n > 0;
}

/* added_tokens_decoder: {"32000": {"content", "special", ...}} */
static bool read_decoder(const json_value *v, added *list, size_t *n, gv_err *err) {
    static const char *const flags[] = {"single_word", "lstrip", "rstrip"};
    for (json_iter it = json_each(v); json_next(&it);) {
        added *a = &list[*n];
        const json_value *special = json_get(it.value, "special");
        if (!id_of_text(it.key, &a->id) || !is_kind(it.value, JSON_OBJECT) || !(a->content = token_text(it.value)).n)
            return gv_fail(err, GV_FORMAT, -1, "added_tokens_decoder: entry \"%s\" is not an id with a token", str_show(it.key).text);
        for (size_t i = 0; i < 3; i++) {
            const json_value *f = json_get(it.value, flags[i]);
            if (is_kind(f, JSON_BOOL) && json_bool(f))
                return gv_fail(err, GV_UNSUPPORTED, -1, "added token \"%s\": %s is not supported", str_show(a->content).text, flags[i]);
        }
        a->special = is_kind(special, JSON_BOOL) && json_bool(special);
        ++*n;
    }
    return true;
}

/* added_tokens.json: {"<pad>": 32000}.  Such a file does not say which are special; those that frame a text are. */
static bool read_added(const json_value *v, added *list, size_t *n, gv_err *err) {
    for (json_iter it = json_each(v); json_next(&it);) {
        added *a = &list[(*n)++];
        if (!json_int64(it.value, &a->id) || a->id < 0 || !it.key.n)
            return gv_fail(err, GV_FORMAT, -1, "added_tokens.json: \"%s\" has no id", str_show(it.key).text);
        a->content = it.key;
        a->special = true;
    }
    return true;
}

static bool add_config_tokens(tok *t, const char *folder, const json_value *config, gv_err *err) {
    const json_value *dec = json_get(config, "added_tokens_decoder");
    json_doc *d = NULL;
    if (!is_kind(dec, JSON_OBJECT)) {
        dec = NULL;
        if (!read_config(folder, "added_tokens.json", &d, err)) return false;
        if (!d) return true;
    }
    const json_value *from = dec ? dec : json_root(d);
    size_t n = 0;
    added *list = gv_try_calloc(json_size(from), sizeof *list, "added tokens", err);
    bool done = list && (dec ? read_decoder(from, list, &n, err) : read_added(from, list, &n, err)) && add_tokens(t, list, n, err);
    free(list);
    json_free(d);
    return done;
}

static bool name_token(const tok *t, const json_value *config, const char *key, int32_t *id, gv_err *err) {
    sv s = token_text(json_get(config, key));
    if (!s.n) return true;
    int32_t found = tok_find(t, s);
    if (found < 0) return gv_fail(err, GV_FORMAT, -1, "tokenizer_config.json: %s \"%s\" is not in the vocabulary", key, str_show(s).text);
    *id = found;
    return true;
}

static void set_template(tok *t, sv s) {
    if (s.n > TOK_MAX_TEMPLATE) return;
    buf_clear(&t->chat_template);
    buf_add_sv(&t->chat_template, s);
}

bool tok_config_template(const json_value *config, sv *out, gv_err *err) {
    const json_value *v = json_get(config, "chat_template");
    sv s = is_kind(v, JSON_STRING) ? json_string(v) : (sv){"", 0};
    if (is_kind(v, JSON_ARRAY)) {
        for (json_iter it = json_each(v); json_next(&it);) {
            const json_value *name = json_get(it.value, "name"), *text = json_get(it.value, "template");
            if (is_kind(name, JSON_STRING) && sv_is(json_string(name), "default") && is_kind(text, JSON_STRING)) s = json_string(text);
        }
    }
    if (s.n > TOK_MAX_TEMPLATE)
        return gv_fail(err, GV_LIMIT, -1, "chat_template has %zu bytes; at most %zu are read", s.n, TOK_MAX_TEMPLATE);
    *out = s;
    return true;
}

static bool apply_config(tok *t, const json_value *config, gv_err *err) {
    if (!config) return true;
    if (!name_token(t, config, "bos_token", &t->bos, err) || !name_token(t, config, "eos_token", &t->eos, err)) return false;
    const json_value *add = json_get(config, "add_bos_token");
    if (is_kind(add, JSON_BOOL)) t->adds_bos = json_bool(add);
    sv template;
    if (!tok_config_template(config, &template, err)) return false;
    set_template(t, template);
    return true;
}

static bool apply_generation_config(tok *t, const char *folder, gv_err *err) {
    static const char what[] = "generation_config.json: eos_token_id";
    json_doc *d;
    if (!read_config(folder, "generation_config.json", &d, err)) return false;
    if (!d) return true;
    const json_value *v = json_get(json_root(d), "eos_token_id");
    bool done = true;
    int64_t id;
    if (is_kind(v, JSON_NUMBER))
        done = json_int64(v, &id) ? tok_mark_eog(t, id, what, err) : gv_fail(err, GV_FORMAT, -1, "%s is not an id", what);
    if (is_kind(v, JSON_ARRAY)) {
        for (json_iter it = json_each(v); done && json_next(&it);)
            done =
                json_int64(it.value, &id) ? tok_mark_eog(t, id, what, err) : gv_fail(err, GV_FORMAT, -1, "%s is not a list of ids", what);
    }
    json_free(d);
    return done;
}

static bool apply_jinja(tok *t, const char *folder, gv_err *err) {
    buf path = {0}, text = {0};
    buf_printf(&path, "%s/chat_template.jinja", folder);
    bool done = !file_exists(path.p) || file_read_all(path.p, TOK_MAX_TEMPLATE, &text, err);
    if (text.n) set_template(t, buf_view(&text));
    buf_fini(&text);
    buf_fini(&path);
    return done;
}

/* Loads the file and what stands beside it in folder (NULL: nothing). */
static bool load(tok *t, source kind, sv data, const char *folder, gv_err *err) {
    json_doc *d = NULL;
    if (kind == SRC_MODEL ? !tok_load_model(t, data, err) : !tok_load_json(t, data, err)) return false;
    if (folder && !read_config(folder, "tokenizer_config.json", &d, err)) return false;
    const json_value *config = d ? json_root(d) : NULL;
    bool done = true;
    if (kind == SRC_MODEL) done = (!folder || add_config_tokens(t, folder, config, err)) && tok_index(t, err);
    done = done && apply_config(t, config, err);
    if (done && folder) done = apply_generation_config(t, folder, err) && apply_jinja(t, folder, err);
    json_free(d);
    return done && tok_finish(t, err);
}

static tok *finish(tok *t, bool done) {
    if (done) return t;
    tok_free(t);
    return NULL;
}

tok *tok_from_bytes(sv data, const char *kind, gv_err *err) {
    bool model = strcmp(kind, "model") == 0;
    if (!model && strcmp(kind, "json") != 0) {
        gv_fail(err, GV_USAGE, -1, "tokenizer kind \"%s\" is not one of model, json", kind);
        return NULL;
    }
    tok *t = tok_new(err);
    return t ? finish(t, load(t, model ? SRC_MODEL : SRC_JSON, data, NULL, err)) : NULL;
}

tok *tok_from_gguf(const gguf *g, gv_err *err) {
    tok *t = tok_new(err);
    if (!t) return NULL;
    bool done = tok_load_gguf(t, g, err);
    /* The reader's own errors name the file already. */
    if (!done && err && !sv_starts(sv_of(err->msg), sv_of(gguf_path(g)))) gv_context(err, "%s", gguf_path(g));
    return finish(t, done);
}

tok *tok_from_tensors(const tensors *model, gv_err *err) {
    return tensors_is_folder(model) ? tok_open(tensors_path(model), err) : tok_from_gguf(tensors_keys(model), err);
}

static tok *open_gguf(const char *path, gv_err *err) {
    gguf *g = gguf_open(path, err);
    if (!g) return NULL;
    tok *t = tok_from_gguf(g, err);
    gguf_close(g);
    return t;
}

static tok *open_file(const char *path, gv_err *err) {
    file_map m;
    if (!file_map_open(&m, path, err)) return NULL;
    sv data = {(const char *)m.p, m.n};
    bool is_gguf = sv_starts(data, SV("GGUF"));
    tok *t = NULL;
    if (!is_gguf && m.n > TOK_MAX_FILE) {
        gv_fail(err, GV_LIMIT, -1, "%s: %zu bytes; a tokenizer file has at most %zu", path, m.n, TOK_MAX_FILE);
    } else if (!is_gguf && (t = tok_new(err))) {
        size_t i = 0;
        while (i < m.n && strchr(" \t\r\n", (int)m.p[i]) && m.p[i]) i++;
        bool json = sv_ends(sv_of(path), SV(".json")) || (!sv_ends(sv_of(path), SV(".model")) && i < m.n && m.p[i] == '{');
        const char *slash = strrchr(path, '/');
        char *folder = slash ? gv_xstrdup(path) : gv_xstrdup(".");
        if (slash) folder[slash == path ? 1 : slash - path] = 0;
        t = finish(t, load(t, json ? SRC_JSON : SRC_MODEL, data, folder, err));
        if (!t && err && !sv_starts(sv_of(err->msg), sv_of(folder))) gv_context(err, "%s", path);
        free(folder);
    }
    file_map_close(&m);
    return is_gguf ? open_gguf(path, err) : t;
}

/* The one GGUF of a folder. */
static bool find_gguf(const char *folder, buf *path, gv_err *err) {
    DIR *d = opendir(folder);
    if (!d) return gv_fail_errno(err, "%s", folder);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (!sv_ends(sv_of(e->d_name), SV(".gguf"))) continue;
        buf_clear(path);
        buf_printf(path, "%s/%s", folder, e->d_name);
        n++;
    }
    closedir(d);
    if (n == 1) return true;
    if (n) return gv_fail(err, GV_USAGE, -1, "%s: %zu GGUF files; name one of them", folder, n);
    return gv_fail(err, GV_IO, -1, "%s: no tokenizer.model, tokenizer.json or GGUF file in it", folder);
}

tok *tok_open(const char *path, gv_err *err) {
    static const char *const names[] = {"tokenizer.model", "tokenizer.json"};
    struct stat st;
    if (stat(path, &st) != 0) {
        gv_fail_errno(err, "%s", path);
        return NULL;
    }
    if (!S_ISDIR(st.st_mode)) return open_file(path, err);
    buf file = {0};
    bool found = false;
    for (size_t i = 0; i < 2 && !found; i++) {
        buf_clear(&file);
        buf_printf(&file, "%s/%s", path, names[i]);
        found = file_exists(file.p);
    }
    tok *t = found || find_gguf(path, &file, err) ? open_file(file.p, err) : NULL;
    buf_fini(&file);
    return t;
}
