/* The merged model's folder but for its weights: where it grows, config.json, what is copied, the card.
 *
 * It grows as OUT.partial, which a lock holds, and gets its name by rename when all is on the disk.  Only plain files of OUT.partial are ever removed. */
#include "base/digest.h"
#include "base/mem.h"
#include "weights/merge_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TOKENIZER_BYTES = 256 << 20 };

/* ---- the folder ---- */

static void remove_files(int fd) {
    DIR *d = fdopendir(dup(fd));
    if (!d) return;
    rewinddir(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlinkat(fd, e->d_name, 0);
    closedir(d);
}

bool merge_stage_open(merge_stage *s, const char *out, gv_err *err) {
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') n--;
    if (n == 0 || (n == 1 && out[0] == '/')) return gv_fail(err, GV_USAGE, -1, "the output folder has no name");
    buf path = {0};
    s->out = gv_xstrdup(out);
    s->out[n] = 0;
    buf_printf(&path, "%s.partial", s->out);
    s->path = path.p;
    if (mkdir(s->path, 0777) != 0 && errno != EEXIST) return gv_fail_errno(err, "cannot make folder %s", s->path);
    s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->fd < 0) return gv_fail_errno(err, "cannot open folder %s", s->path);
    if (flock(s->fd, LOCK_EX | LOCK_NB) != 0) {
        close(s->fd); /* another merge's: not ours to remove */
        s->fd = -1;
        return gv_fail(err, GV_STATE, -1, "another gavel merge is writing %s", s->out);
    }
    remove_files(s->fd);
    return true;
}

bool merge_stage_commit(merge_stage *s, gv_err *err) {
    struct stat st;
    if (fsync(s->fd) != 0) return gv_fail_errno(err, "cannot write %s", s->path);
    if (lstat(s->out, &st) == 0) return gv_fail(err, GV_USAGE, -1, "%s exists already; give another name for the output", s->out);
    if (rename(s->path, s->out) != 0) return gv_fail_errno(err, "cannot rename %s to %s", s->path, s->out);
    close(s->fd);
    s->fd = -1;
    return true;
}

void merge_stage_close(merge_stage *s) {
    if (s->fd >= 0) {
        remove_files(s->fd);
        rmdir(s->path);
        close(s->fd);
    }
    free(s->path);
    free(s->out);
    *s = (merge_stage){.fd = -1};
}

/* ---- files ---- */

static bool write_file(const char *folder, const char *name, sv content, gv_err *err) {
    buf path = {0};
    file_writer w = {0};
    buf_printf(&path, "%s/%s", folder, name);
    const bool ok = file_writer_open(&w, path.p, err) && file_writer_put(&w, content.p, content.n, err) && file_writer_commit(&w, err);
    file_writer_abandon(&w);
    buf_fini(&path);
    return ok;
}

static const char *dtype_name(dtype t) {
    return t == DT_BF16 ? "bfloat16" : t == DT_F16 ? "float16" : "float32";
}

/* A JSON object of the donor's in which `key` (and `also`, if it is there) has this value; the other members stay as they are, all of them if it is empty. */
static bool write_with(const char *folder, const char *donor, const char *name, const char *key, const char *also, sv value, gv_err *err) {
    buf path = {0}, text = {0}, out = {0};
    buf_printf(&path, "%s/%s", donor, name);
    bool ok = file_read_all(path.p, MAX_TOKENIZER_BYTES, &text, err);
    json_doc *d = ok ? json_parse(buf_view(&text), err) : NULL;
    ok = d != NULL || gv_context(err, "%s", path.p);
    if (ok) {
        const json_value *root = json_root(d);
        const bool has_key = json_get(root, key) || (also && json_get(root, also));
        buf_add_char(&out, '{');
        for (json_iter it = json_each(root); json_next(&it);) {
            buf_add_str(&out, out.n > 1 ? ",\n  " : "\n  ");
            json_put_string(&out, it.key);
            buf_add_str(&out, ": ");
            if (value.n && (sv_is(it.key, key) || (also && sv_is(it.key, also))))
                json_put_string(&out, value);
            else
                json_put_value(&out, it.value);
        }
        if (!has_key && value.n) {
            buf_add_str(&out, out.n > 1 ? ",\n  " : "\n  ");
            json_put_string(&out, sv_of(key));
            buf_add_str(&out, ": ");
            json_put_string(&out, value);
        }
        buf_add_str(&out, "\n}\n");
        ok = write_file(folder, name, buf_view(&out), err);
    }
    json_free(d);
    buf_fini(&path);
    buf_fini(&text);
    buf_fini(&out);
    return ok;
}

#define TOKENIZER_CONFIG "tokenizer_config.json"
#define CHAT_TEMPLATE    "chat_template.jinja"

static const struct {
    const char *name;
    enum { OF_DONOR, OF_TOKENIZER, OF_CHAT } of; /* OF_CHAT: the tokenizer's, unless the recipe says another template */
} copied[] = {{"generation_config.json", OF_DONOR},
              {"tokenizer.json", OF_TOKENIZER},
              {"tokenizer.model", OF_TOKENIZER},
              {TOKENIZER_CONFIG, OF_CHAT},
              {"added_tokens.json", OF_TOKENIZER},
              {"vocab.json", OF_TOKENIZER},
              {"special_tokens_map.json", OF_TOKENIZER},
              {"merges.txt", OF_TOKENIZER},
              {CHAT_TEMPLATE, OF_CHAT},
              {"chat_template.json", OF_CHAT}};
enum { N_COPIED = sizeof copied / sizeof *copied };

static bool copy_files(const char *folder, const char *donor, const char *tokenizer, bool own_template, gv_err *err) {
    bool ok = true;
    for (size_t i = 0; ok && i < N_COPIED; i++) {
        buf path = {0}, text = {0};
        buf_printf(&path, "%s/%s", copied[i].of == OF_DONOR ? donor : tokenizer, copied[i].name);
        if (!(own_template && copied[i].of == OF_CHAT) && file_exists(path.p))
            ok = file_read_all(path.p, MAX_TOKENIZER_BYTES, &text, err) && write_file(folder, copied[i].name, buf_view(&text), err);
        buf_fini(&path);
        buf_fini(&text);
    }
    return ok;
}

/* Where readers look for a template: a file of its own, and for older ones a member of the tokenizer's configuration. */
static bool write_template(const char *folder, const char *tokenizer, sv text, gv_err *err) {
    buf path = {0};
    buf_printf(&path, "%s/" TOKENIZER_CONFIG, tokenizer);
    const bool ok = write_file(folder, CHAT_TEMPLATE, text, err) &&
                    (!file_exists(path.p) || write_with(folder, tokenizer, TOKENIZER_CONFIG, "chat_template", NULL, text, err));
    buf_fini(&path);
    return ok;
}

/* ---- the card ---- */

static void put_line(buf *out, const char *hex, const char *model, const char *name) {
    buf_printf(out, "    %s  %s/%s\n", hex, model, name);
}

/* Files of one model, as many at a time as there are threads. */
static bool put_digests(const merge_options *o, const merge_recipe *r, const merge_model *m, size_t i, buf *out, gv_err *err) {
    const size_t n = tensors_n_files(m[i].t), ahead = (size_t)pool_threads(o->threads);
    digest_job **job = gv_xcalloc(n + 1, sizeof(digest_job *));
    bool ok = true;
    for (size_t f = 0; ok && f < n + ahead; f++) {
        if (f < n) job[f] = digest_start(tensors_file_map(m[i].t, f));
        if (f < ahead) continue;
        put_line(out, digest_wait(job[f - ahead]), r->input[i], tensors_file_name(m[i].t, f - ahead));
        digest_free(job[f - ahead]);
        job[f - ahead] = NULL;
        const merge_progress now = {.name = NULL};
        if (o->progress && !o->progress(o->ctx, &now)) ok = gv_fail(err, GV_INTERRUPTED, -1, "interrupted");
    }
    for (size_t f = 0; f < n; f++) digest_free(job[f]);
    free(job);
    return ok;
}

static bool put_copied_digests(const merge_recipe *r, const merge_model *m, size_t i, buf *out, gv_err *err) {
    bool ok = true;
    for (size_t k = 0; ok && k < N_COPIED; k++) {
        buf path = {0};
        buf_printf(&path, "%s/%s", m[i].path, copied[k].name);
        if (file_exists(path.p)) {
            file_map map;
            ok = file_map_open(&map, path.p, err);
            if (ok) {
                digest_job *job = digest_start(&map);
                put_line(out, digest_wait(job), r->input[i], copied[k].name);
                digest_free(job);
                file_map_close(&map);
            }
        }
        buf_fini(&path);
    }
    return ok;
}

static bool write_card(const char *folder, const merge_options *o, const merge_recipe *r, sv text, const merge_model *m, gv_err *err) {
    buf out = {0};
    bool ok = true;
    buf_add_str(&out, "---\nbase_model:\n");
    for (size_t i = 0; i < r->n; i++) {
        buf_add_str(&out, "- ");
        json_put_string(&out, sv_of(r->input[i]));
        buf_add_char(&out, '\n');
    }
    buf_printf(&out,
               "library_name: transformers\ntags:\n- merge\n- gavel\n---\n# Merged model\n\nMade by `gavel merge` " GAVEL_VERSION
               " with the method `%s` from %zu models, seed %llu.\n\n## Recipe\n\n",
               merge_method_name(r->method), r->n, (unsigned long long)o->seed);
    for (size_t at = 0; at < text.n;) { /* indented: nothing in it can end the block */
        const size_t end = sv_find(text, SV("\n"), at), n = (end == SIZE_MAX ? text.n : end) - at;
        buf_add_str(&out, "    ");
        buf_add_sv(&out, sv_sub(text, at, n));
        buf_add_char(&out, '\n');
        at += n + 1;
    }
    buf_add_str(&out, "\n## Inputs\n\nSHA-256 of every file read:\n\n");
    for (size_t i = 0; ok && i < r->n; i++) ok = put_digests(o, r, m, i, &out, err) && put_copied_digests(r, m, i, &out, err);
    ok = ok && write_file(folder, "README.md", buf_view(&out), err) && write_file(folder, "mergekit_config.yml", text, err);
    buf_fini(&out);
    return ok;
}

size_t merge_donor(const merge_recipe *r) {
    return r->base >= 0 ? (size_t)r->base : 0;
}

bool merge_write_files(const char *folder, const merge_options *o, const merge_recipe *r, sv text, sv chat_template, const merge_model *m,
                       gv_err *err) {
    const char *donor = m[merge_donor(r)].path, *tokenizer = r->tokenizer >= 0 ? m[r->tokenizer].path : donor;
    const sv type = sv_of(r->has_out_dtype ? dtype_name(r->out_type) : r->has_dtype ? dtype_name(r->type) : "");
    return write_with(folder, donor, "config.json", "torch_dtype", "dtype", type, err) &&
           copy_files(folder, donor, tokenizer, chat_template.n > 0, err) &&
           (chat_template.n == 0 || write_template(folder, tokenizer, chat_template, err)) && write_card(folder, o, r, text, m, err);
}
