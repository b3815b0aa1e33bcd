/* gavel push: the files of a folder into a Hub repository, in one commit.  Prints the commit. */
#include "base/file.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/talk.h"
#include "cli/transfer.h"
#include "http/hub_push.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>

typedef struct push_opts {
    const char *repo_type, *message;
    opt_list include, delete;
    int64_t retries;
    bool make_private, dry_run, json, quiet;
} push_opts;

static void defaults(void *opts) {
    ((push_opts *)opts)->retries = 5;
}

#define AT(field) offsetof(push_opts, field)

static const opt_def options[] = {
    {"repo-type", 0, OPT_CHOICE, AT(repo_type), "TYPE", "model|dataset", 0, 0,
     "What ORG/NAME is (default: model if FOLDER has config.json, *.gguf or *.safetensors, else dataset)", "What"},
    {"include", 0, OPT_LIST, AT(include), "GLOB", NULL, 0, 0, "Only files whose path matches, * also matches / (repeatable)", NULL},
    {"delete", 0, OPT_LIST, AT(delete), "GLOB", NULL, 0, 0,
     "Delete files of the repository that match and are not in FOLDER, in the same commit (repeatable)", NULL},
    {"private", 0, OPT_FLAG, AT(make_private), NULL, NULL, 0, 0, "Make a private repository; one that is there and public is refused",
     NULL},
    {"message", 0, OPT_STRING, AT(message), "TEXT", NULL, 0, 0, "Of the commit (default: Upload with gavel)", NULL},
    {"dry-run", 0, OPT_FLAG, AT(dry_run), NULL, NULL, 0, 0, "Print what would be pushed, one line a file: bytes, path; send nothing", NULL},
    {"retries", 0, OPT_INT, AT(retries), "N", NULL, 0, 100, "Tries after a failure that may pass (default: 5)", NULL},
    {"json", 0, OPT_FLAG, AT(json), NULL, NULL, 0, 0, "Progress and messages as JSON lines on standard error", "Output"},
    {"quiet", 'q', OPT_FLAG, AT(quiet), NULL, NULL, 0, 0, "Only warnings and errors", NULL},
    {0},
};

typedef struct push_list {
    hub_push_file *v;
    size_t n, cap;
    arena a;
    bool is_model;
} push_list;

static void add(push_list *l, const char *path, const char *local) {
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->v = gv_xrealloc(l->v, l->cap * sizeof *l->v);
    }
    const sv name = sv_of(path);
    l->is_model |= sv_is(name, "config.json") || sv_ends(name, SV(".gguf")) || sv_ends(name, SV(".safetensors"));
    l->v[l->n++] = (hub_push_file){arena_dup(&l->a, path, strlen(path)), arena_dup(&l->a, local, strlen(local))};
}

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Every file below folder but those of .git and .cache, links followed. */
static bool walk(const push_opts *o, const char *folder, push_list *l, gv_err *err) {
    char *roots[] = {arena_dup(&l->a, folder, strlen(folder)), NULL};
    size_t skip = strlen(folder);
    while (skip && folder[skip - 1] == '/') skip--;
    roots[0][skip ? skip : 1] = 0;
    FTS *f = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    if (!f) return gv_fail_errno(err, "cannot read %s", folder);
    bool ok = true;
    for (FTSENT *e; ok && (e = fts_read(f));) {
        switch (e->fts_info) {
        case FTS_D:
            if (e->fts_level > 0 && (strcmp(e->fts_name, ".git") == 0 || strcmp(e->fts_name, ".cache") == 0)) fts_set(f, e, FTS_SKIP);
            break;
        case FTS_F:
            if (e->fts_level == 0)
                ok = gv_fail(err, GV_USAGE, -1, "%s is a file; push takes a folder", folder);
            else if (o->include.n == 0 || hub_glob_match(o->include.v, o->include.n, e->fts_path + skip + 1))
                add(l, e->fts_path + skip + 1, e->fts_path);
            break;
        case FTS_DP: break;
        case FTS_DC: ok = gv_fail(err, GV_IO, -1, "%s: the folder contains itself", e->fts_path); break;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            errno = e->fts_errno;
            ok = gv_fail_errno(err, "cannot read %s", e->fts_path);
            break;
        default: ok = gv_fail(err, GV_IO, -1, "%s is neither a file nor a folder", e->fts_path);
        }
        if (ok && l->n > HUB_PUSH_MAX_FILES)
            ok = gv_fail(err, GV_LIMIT, -1, "%s has more than the cap of %d files for one push", folder, HUB_PUSH_MAX_FILES);
    }
    fts_close(f);
    if (ok && l->n == 0) ok = gv_fail(err, GV_USAGE, -1, "%s has no files%s", folder, o->include.n ? " that match --include" : "");
    return ok;
}

static bool tell_plan(const push_list *l, gv_err *err) {
    buf out = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < l->n; i++) {
        file_map m;
        ok = file_map_open(&m, l->v[i].local, err);
        if (!ok) break;
        buf_printf(&out, "%llu\t", (unsigned long long)m.n);
        str_escape(sv_of(l->v[i].path), SIZE_MAX, &out);
        buf_add_char(&out, '\n');
        file_map_close(&m);
    }
    ok = ok && lines_print(&out) && lines_flush();
    buf_fini(&out);
    return ok;
}

static int push_to(const push_opts *o, hub_repo *repo, const push_list *l, gv_err *err) {
    hub *h = hub_open(&(hub_options){.retries = o->retries ? o->retries : -1, .stop = &cli_signal}, err);
    if (!h || !hub_push_own(h, repo, err)) {
        hub_close(h);
        return cli_fail(err);
    }
    const hub_push_options po = {
        .message = o->message, .make_private = o->make_private, .delete_globs = o->delete.v, .n_delete_globs = o->delete.n};
    const int code = transfer_push(h, repo, l->v, l->n, &po, o->json, o->quiet);
    hub_close(h);
    return code;
}

static int run(int n_args, const char **args, const void *opts) {
    const push_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    push_list l = {0};
    hub_repo repo;
    (void)n_args;
    if (o->json) talk_in_json();
    arena_init(&l.a);
    bool ok = !(o->json && o->quiet) || gv_fail(&err, GV_USAGE, -1, "--json and --quiet exclude each other");
    ok = ok && walk(o, args[0], &l, &err);
    const bool model = o->repo_type ? strcmp(o->repo_type, "model") == 0 : l.is_model;
    ok = ok && hub_repo_parse(model ? HUB_MODEL : HUB_DATASET, args[1], &repo, &err);
    if (ok && repo.quant[0]) ok = gv_fail(&err, GV_USAGE, -1, "%s: a push goes to ORG/NAME[@BRANCH]", args[1]);
    int code = EXIT_OK;
    if (ok && o->dry_run)
        ok = tell_plan(&l, &err);
    else if (ok) {
        cli_stop_politely();
        code = push_to(o, &repo, &l, &err);
    }
    free(l.v);
    arena_fini(&l.a);
    return ok ? code : cli_fail(&err);
}

const opt_command command_push = {
    .name = "push",
    .args = "FOLDER [ORG/]NAME[@BRANCH]",
    .summary = "Upload a folder to the Hugging Face Hub in one commit",
    .detail = "Every file of FOLDER (but .git and .cache) goes to ORG/NAME, which is made if it is not there, as is BRANCH (from main). "
              "NAME alone is a "
              "repository of the token's user. Large files go first, by "
              "content: what the "
              "Hub has is not sent again, so an interrupted push continues. Then one commit makes all of them visible at once. A lost "
              "reply to that "
              "commit is not answered by a second one. Prints the commit.\n\n"
              "HF_TOKEN holds a token that may write, HF_ENDPOINT another Hub.",
    .example = "gavel push out ORG/judged-data --private\ngavel push out ORG/judged-data --delete 'data/*.parquet'\ngavel push merged "
               "ORG/my-judge --repo-type model",
    .opts = options,
    .min_args = 2,
    .max_args = 2,
    .run = run,
    .opts_size = sizeof(push_opts),
    .defaults = defaults,
};
