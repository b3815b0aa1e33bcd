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

/* The donor's with the type of the result; its other members stay as they are. */
static bool write_config(const char *folder, const char *donor, const char *type, gv_err *err) {
    buf path = {0}, text = {0}, out = {0};
    buf_printf(&path, "%s/config.json", donor);
    bool ok = file_read_all(path.p, HF_MAX_CONFIG_BYTES, &text, err);
    json_doc *d = ok ? json_parse(buf_view(&text), err) : NULL;
    ok = d != NULL;
    if (ok) {
        const json_value *root = json_root(d);
        bool has_type = json_get(root, "dtype") || json_get(root, "torch_dtype");
        buf_add_char(&out, '{');
        for (json_iter it = json_each(root); json_next(&it);) {
            buf_add_str(&out, out.n > 1 ? ",\n  " : "\n  ");
            json_put_string(&out, it.key);
            buf_add_str(&out, ": ");
            if (type && (sv_is(it.key, "dtype") || sv_is(it.key, "torch_dtype")))
                json_put_string(&out, sv_of(type));
            else
                json_put_value(&out, it.value);
        }
        if (!has_type && type) buf_printf(&out, ",\n  \"torch_dtype\": \"%s\"", type);
        buf_add_str(&out, "\n}\n");
        ok = write_file(folder, "config.json", buf_view(&out), err);
    }
    json_free(d);
    buf_fini(&path);
    buf_fini(&text);
    buf_fini(&out);
    return ok;
}

static const char *const copied[] = {"generation_config.json",  "tokenizer.json",    "tokenizer.model", "tokenizer_config.json",
                                     "special_tokens_map.json", "added_tokens.json", "vocab.json",      "merges.txt",
                                     "chat_template.jinja",     "chat_template.json"};

static bool copy_files(const char *folder, const char *donor, gv_err *err) {
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof copied / sizeof *copied; i++) {
        buf path = {0}, text = {0};
        buf_printf(&path, "%s/%s", donor, copied[i]);
        if (file_exists(path.p))
            ok = file_read_all(path.p, MAX_TOKENIZER_BYTES, &text, err) && write_file(folder, copied[i], buf_view(&text), err);
        buf_fini(&path);
        buf_fini(&text);
    }
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
        put_line(out, digest_wait(job[f - ahead]), r->input[i].model, tensors_file_name(m[i].t, f - ahead));
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
    for (size_t k = 0; ok && k < sizeof copied / sizeof *copied; k++) {
        buf path = {0};
        buf_printf(&path, "%s/%s", m[i].path, copied[k]);
        if (file_exists(path.p)) {
            file_map map;
            ok = file_map_open(&map, path.p, err);
            if (ok) {
                digest_job *job = digest_start(&map);
                put_line(out, digest_wait(job), r->input[i].model, copied[k]);
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
        json_put_string(&out, sv_of(r->input[i].model));
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

bool merge_write_files(const char *folder, const merge_options *o, const merge_recipe *r, sv text, const merge_model *m, gv_err *err) {
    const char *donor = m[r->base >= 0 ? r->base : 0].path;
    const char *type = r->has_out_dtype ? dtype_name(r->out_type) : r->has_dtype ? dtype_name(r->type) : NULL;
    return write_config(folder, donor, type, err) && copy_files(folder, donor, err) && write_card(folder, o, r, text, m, err);
}
