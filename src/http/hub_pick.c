/* Which files of a model repository a command needs.  Repositories hold the same weights several times: as safetensors, as pickles, in other
 * frameworks' formats, in a dozen quantisations.  One form is taken; where that is the user's choice, the message lists what there is. */
#include "base/file.h"
#include "http/hub_internal.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* What is read beside the weights: configuration, tokenizer, chat template. */
static const char *const beside[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
};

typedef struct picked {
    size_t *v, n;
} picked;

static void pick(picked *p, size_t i) {
    p->v[p->n++] = i;
}

static sv without(sv s, sv suffix) {
    return sv_ends(s, suffix) ? sv_sub(s, 0, s.n - suffix.n) : s;
}

static sv base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return sv_of(slash ? slash + 1 : path);
}

static void put_size(uint64_t bytes, buf *out) {
    if (bytes < 1000000)
        buf_printf(out, "%.1f kB", (double)bytes * 1e-3);
    else if (bytes < 1000000000)
        buf_printf(out, "%.0f MB", (double)bytes * 1e-6);
    else
        buf_printf(out, "%.1f GB", (double)bytes * 1e-9);
}

/* ---- GGUF ---- */

/* Q4_K_M, IQ3_XXS, TQ1_0, F16, BF16, F32, MXFP4 */
static bool is_quant(sv s) {
    const char *const plain[] = {"F16", "BF16", "F32", "FP16", "MXFP4"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (s.n == strlen(plain[i]) && strncasecmp(s.p, plain[i], s.n) == 0) return true;
    if (s.n && strchr("ITit", s.p[0])) s = sv_sub(s, 1, s.n);
    return s.n >= 2 && (s.p[0] == 'Q' || s.p[0] == 'q') && isdigit((unsigned char)s.p[1]);
}

typedef struct variant {
    sv name;  /* path without number of a part and .gguf: what parts have in common */
    sv quant; /* the last word of the file's name that looks like one, or of its folder's, else the file's name */
    uint64_t bytes;
    size_t first, n;
    uint32_t parts;
} variant;

/* The last word between - and . that looks like a quantisation. */
static bool find_quant(sv text, sv *quant) {
    for (size_t end = text.n, i = text.n; i-- > 0;) {
        if (text.p[i] != '-' && text.p[i] != '.' && i > 0) continue;
        const size_t from = i ? i + 1 : 0;
        *quant = sv_sub(text, from, end - from);
        if (is_quant(*quant)) return true;
        end = i;
    }
    return false;
}

static variant variant_of(const hub_file *f) {
    variant v = {.n = 1, .bytes = f->size, .parts = 1};
    uint32_t part = 1;
    v.name = without(sv_of(f->path), SV(".gguf"));
    file_take_part(&v.name, &part, &v.parts);
    const size_t base = (size_t)(base_name(f->path).p - f->path), n_folder = base > 0 ? base - 1 : 0;
    const sv stem = sv_sub(v.name, base, v.name.n);
    sv folder = sv_sub(v.name, 0, n_folder);
    for (size_t i = n_folder; i-- > 0;)
        if (folder.p[i] == '/') {
            folder = sv_sub(folder, i + 1, n_folder);
            break;
        }
    if (!find_quant(stem, &v.quant) && !find_quant(folder, &v.quant)) v.quant = stem;
    return v;
}

static bool is_gguf_model(const hub_file *f) {
    const sv name = base_name(f->path);
    return sv_ends(name, SV(".gguf")) && !sv_starts(name, SV("mmproj")) && sv_find(name, SV("imatrix"), 0) == SIZE_MAX;
}

static bool same_text(sv a, const char *b) {
    return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0;
}

/* The models among the files, parts of one put together. */
static size_t find_variants(const hub_list *l, variant *v) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (!is_gguf_model(&l->files[i])) continue;
        variant one = variant_of(&l->files[i]);
        one.first = i;
        size_t k = 0;
        while (k < n && !(sv_eq(v[k].name, one.name) && v[k].parts == one.parts)) k++;
        if (k == n) {
            v[n++] = one;
        } else {
            v[k].bytes += one.bytes;
            v[k].n++;
        }
    }
    return n;
}

/* by_path: names do not tell them apart. */
static bool fail_with_choices(const hub_repo *repo, const hub_choice *c, size_t n, bool by_path, const char *why, gv_err *err) {
    buf text = {0};
    buf_printf(&text, "%s %s; it has ", repo->id, why);
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add_str(&text, ", ");
        str_escape(by_path ? sv_of(c[i].path) : c[i].quant, 60, &text);
        buf_add_str(&text, " (");
        put_size(c[i].bytes, &text);
        buf_add_char(&text, ')');
    }
    gv_fail(err, GV_USAGE, -1, SV_FMT, SV_ARG(buf_view(&text)));
    buf_fini(&text);
    return false;
}

/* The one of n that is meant: its number to *which. */
static bool choose(const hub_repo *repo, const hub_choice *c, size_t n, const hub_chooser *chooser, size_t *which, gv_err *err) {
    char why[400];
    *which = 0;
    if (n == 1 || (chooser && chooser->ask(chooser->ctx, repo, c, n, which))) return true;
    if (repo->quant[0])
        snprintf(why, sizeof why, "has several models named %s, take one by gavel pull %s --include FILE", repo->quant, repo->id);
    else
        snprintf(why, sizeof why, "has several quantisations, choose one as in %s:%.*s", repo->id, SV_ARG(sv_sub(c[n / 2].quant, 0, 40)));
    return fail_with_choices(repo, c, n, repo->quant[0] != 0, why, err);
}

static void pick_variant(const hub_list *l, const variant *v, picked *out) {
    for (size_t i = 0; i < l->n; i++) {
        const variant one = variant_of(&l->files[i]);
        if (is_gguf_model(&l->files[i]) && sv_eq(one.name, v->name) && one.parts == v->parts) pick(out, i);
    }
}

static bool pick_gguf(const hub_repo *repo, const hub_list *l, const hub_chooser *chooser, picked *out, const char **main, gv_err *err) {
    variant *v = gv_xcalloc(l->n + 1, sizeof *v);
    hub_choice *c = gv_xcalloc(l->n + 1, sizeof *c);
    const size_t n = find_variants(l, v);
    size_t matches = 0, which = 0;
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        if (repo->quant[0] && !same_text(v[i].quant, repo->quant)) continue;
        c[matches] = (hub_choice){v[i].quant, l->files[v[i].first].path, v[i].bytes};
        v[matches++] = v[i];
    }
    if (n == 0) {
        ok = gv_fail(err, GV_USAGE, -1, "%s has no GGUF file, so no quantisation %s", repo->id, repo->quant);
    } else if (matches == 0) {
        char why[80];
        snprintf(why, sizeof why, "has no quantisation %s", repo->quant);
        for (size_t i = 0; i < n; i++) c[i] = (hub_choice){v[i].quant, l->files[v[i].first].path, v[i].bytes};
        ok = fail_with_choices(repo, c, n, false, why, err);
    } else {
        ok = choose(repo, c, matches, chooser, &which, err);
        if (ok && v[which].n != v[which].parts)
            ok =
                gv_fail(err, GV_FORMAT, -1, "%s: %zu of the %u parts of %s are there", repo->id, v[which].n, v[which].parts, c[which].path);
        if (ok) pick_variant(l, &v[which], out);
        *main = c[which].path;
    }
    free(c);
    free(v);
    return ok;
}

/* ---- safetensors and tokenizers ---- */

static bool is_beside(const char *path) {
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (strcmp(path, beside[i]) == 0) return true;
    return false;
}

/* model.safetensors or model-00001-of-00002.safetensors; consolidated.* are Mistral's own copies of the same. */
static bool is_weights(const char *path) {
    uint32_t part, parts;
    sv s = sv_of(path);
    if (strchr(path, '/') || !sv_ends(s, SV(".safetensors"))) return false;
    s = without(s, SV(".safetensors"));
    file_take_part(&s, &part, &parts);
    return sv_is(s, "model");
}

static bool has(const hub_list *l, const char *path) {
    return hub_list_find(l, path) != NULL;
}

static void pick_folder(const hub_list *l, bool weights, picked *out) {
    for (size_t i = 0; i < l->n; i++) {
        const char *path = l->files[i].path;
        if (is_beside(path) || (weights && (is_weights(path) || strcmp(path, "model.safetensors.index.json") == 0))) pick(out, i);
    }
}

static bool fail_without_weights(const hub_repo *repo, const hub_list *l, gv_err *err) {
    for (size_t i = 0; i < l->n; i++) {
        const sv name = base_name(l->files[i].path);
        if (sv_ends(name, SV(".bin")) || sv_ends(name, SV(".pth")) || sv_ends(name, SV(".pt")))
            return gv_fail(
                err, GV_UNSUPPORTED, -1,
                "%s has neither safetensors nor GGUF, only pickled weights (%s), which can run code when they are read: look for a "
                "converted repository",
                repo->id, str_show(name).text);
    }
    return gv_fail(err, GV_UNSUPPORTED, -1, "%s has neither safetensors nor GGUF files%s", repo->id,
                   l->cached ? " in the cache, and gavel is offline" : "");
}

bool hub_pick_model(const hub_repo *repo, const hub_list *l, hub_need need, const hub_chooser *chooser, size_t **chosen, size_t *n,
                    const char **main, gv_err *err) {
    picked out = {gv_xcalloc(l->n + 1, sizeof *out.v), 0};
    bool safetensors = false, gguf = false, ok = true;
    *main = NULL;
    for (size_t i = 0; i < l->n; i++) {
        safetensors = safetensors || is_weights(l->files[i].path);
        gguf = gguf || is_gguf_model(&l->files[i]);
    }
    const bool tokenizer = has(l, "tokenizer.json") || has(l, "tokenizer.model");
    if (need == HUB_TOKENIZER && !repo->quant[0] && tokenizer)
        pick_folder(l, false, &out);
    else if (need == HUB_FOLDER && (repo->quant[0] || !safetensors) && gguf)
        ok = gv_fail(err, GV_USAGE, -1, "%s%s%s is GGUF; a Hugging Face folder (config.json, safetensors) is needed here", repo->id,
                     repo->quant[0] ? ":" : "", repo->quant);
    else if (repo->quant[0] || (gguf && !safetensors))
        ok = pick_gguf(repo, l, chooser, &out, main, err);
    else if (safetensors)
        pick_folder(l, true, &out);
    else
        ok = fail_without_weights(repo, l, err);
    if (!ok) {
        free(out.v);
        return false;
    }
    *chosen = out.v;
    *n = out.n;
    return true;
}

bool hub_glob_match(const char *const *globs, size_t n, const char *path) {
    for (size_t i = 0; i < n; i++)
        if (fnmatch(globs[i], path, 0) == 0) return true;
    return false;
}

bool hub_pick_globs(const hub_repo *repo, const hub_list *l, const char *const *globs, size_t n_globs, size_t **chosen, size_t *n,
                    gv_err *err) {
    picked out = {gv_xcalloc(l->n + 1, sizeof *out.v), 0};
    for (size_t i = 0; i < l->n; i++)
        if (n_globs == 0 || hub_glob_match(globs, n_globs, l->files[i].path)) pick(&out, i);
    if (out.n) {
        *chosen = out.v;
        *n = out.n;
        return true;
    }
    free(out.v);
    if (!n_globs) return gv_fail(err, GV_USAGE, -1, "%s has no files at revision %s", repo->id, repo->rev);
    return gv_fail(err, GV_USAGE, -1, "none of the %zu files of %s matches --include %s", l->n, repo->id, globs[0]);
}

bool hub_model_path(hub *h, const char *ref, hub_need need, hub_show *show, void *ctx, char **path, gv_err *err) {
    hub_repo repo;
    hub_list l = {0};
    size_t *chosen = NULL, n = 0;
    const char *main = NULL;
    char *folder = NULL;
    bool ok = hub_repo_parse(HUB_MODEL, ref, &repo, err) && hub_ls(h, &repo, NULL, &l, err) &&
              hub_pick_model(&repo, &l, need, NULL, &chosen, &n, &main, err) && hub_fetch(h, &repo, &l, chosen, n, show, ctx, &folder, err);
    if (ok) {
        buf b = {0};
        buf_printf(&b, "%s%s%s", folder, main ? "/" : "", main ? main : "");
        *path = b.p;
    }
    free(folder);
    free(chosen);
    hub_list_fini(&l);
    return ok;
}
