/* See run_push.h. */
#include "cli/run_push.h"

#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/talk.h"
#include "cli/transfer.h"
#include "pipe/distiset.h"

#include <fnmatch.h>
#include <stdlib.h>

bool run_push_open(run_push *p, const char *repo_id, gv_err *err) {
    if (!hub_repo_parse(HUB_DATASET, repo_id, &p->repo, err)) return gv_context(err, "--repo-id");
    p->h = hub_open(&(hub_options){.stop = &cli_signal}, err);
    return p->h && hub_push_own(p->h, &p->repo, err) && hub_push_check(p->h, &p->repo, p->make_private, &p->place, err);
}

/* The repository as it is now: a branch that is not there yet will be as main is. */
static hub_repo repo_now(const run_push *p, const hub_push_place *place) {
    hub_repo now = p->repo;
    if (!place->branch) memcpy(now.rev, "main", sizeof "main");
    return now;
}

void run_push_close(run_push *p) {
    free(p->readme);
    hub_close(p->h);
}

const char *run_push_readme(void *ctx) {
    run_push *p = ctx;
    hub_push_place place = {0};
    bool has = false;
    free(p->readme);
    p->readme = NULL;
    gv_err_clear(&p->err);
    if (!hub_push_check(p->h, &p->repo, p->make_private, &place, &p->err) || !place.repo) return NULL;
    const hub_repo now = repo_now(p, &place);
    if (!hub_get(p->h, &now, "README.md", &p->readme, &has, &p->err)) return NULL;
    return has ? p->readme : NULL;
}

/* Shards of config number i of the pipeline in the repository, as a pattern; false behind the last. */
static bool shards_of(const pipeline *pl, size_t i, buf *out) {
    size_t n_leaves = 0, at = SIZE_MAX;
    for (size_t s = 0; s < pl->n_steps; s++) {
        if (pl->steps[s].n_after) continue;
        if (n_leaves++ == i) at = s;
    }
    if (at != SIZE_MAX) buf_printf(out, "%s/train-*-of-*.parquet", n_leaves == 1 ? "data" : pl->steps[at].name);
    return at != SIZE_MAX;
}

static void put_patterns(const pipeline *pl, arena *a, const char **out, size_t *n) {
    buf text = {0};
    for (*n = 0; shards_of(pl, *n, &text); buf_clear(&text)) out[(*n)++] = arena_dup(a, text.p, text.n);
    buf_fini(&text);
}

int run_push_send(run_push *p, const pipeline *pl, const char *dir) {
    gv_err err = GV_ERR_INIT;
    distiset_files list = {0};
    const char *patterns[PIPE_MAX_STEPS];
    size_t n_patterns;
    arena a;
    arena_init(&a);
    put_patterns(pl, &a, patterns, &n_patterns);
    bool ok = p->err.code == GV_OK || gv_fail(&err, p->err.code, -1, "%s", p->err.msg);
    ok = ok && distiset_list(dir, &list, &err);
    hub_push_file *files = arena_alloc(&a, (list.n + 1) * sizeof *files);
    for (size_t i = 0; i < list.n; i++) {
        buf local = {0};
        buf_printf(&local, "%s/%s", dir, list.v[i].path);
        files[i] = (hub_push_file){list.v[i].path, arena_dup(&a, local.p, local.n)};
        buf_fini(&local);
    }
    const hub_push_options o = {
        .message = p->message, .make_private = p->make_private, .delete_globs = patterns, .n_delete_globs = n_patterns};
    const int code = ok ? transfer_push(p->h, &p->repo, files, list.n, &o, p->json, p->quiet) : cli_fail(&err);
    if (code != EXIT_OK)
        talk_say("note", "%s is not pushed; it is whole, all judgments are in %s.run, and the same command pushes again", dir, dir);
    distiset_files_fini(&list);
    arena_fini(&a);
    return code;
}

static bool list_old(run_push *p, const char *const *patterns, size_t n, buf *out, gv_err *err) {
    hub_list list = {0};
    const hub_repo now = repo_now(p, &p->place);
    bool ok = hub_ls(p->h, &now, NULL, &list, err);
    for (size_t i = 0; ok && i < list.n; i++)
        for (size_t k = 0; k < n; k++)
            if (fnmatch(patterns[k], list.files[i].path, 0) == 0) {
                buf_add_str(out, "delete or replace\t");
                str_escape(sv_of(list.files[i].path), SIZE_MAX, out);
                buf_add_char(out, '\n');
                break;
            }
    hub_list_fini(&list);
    return ok;
}

int run_push_plan(run_push *p, const pipeline *pl) {
    gv_err err = GV_ERR_INIT;
    const char *patterns[PIPE_MAX_STEPS];
    size_t n;
    buf out = {0};
    arena a;
    arena_init(&a);
    put_patterns(pl, &a, patterns, &n);
    buf_printf(&out, "%s\tdatasets/%s\n", p->place.repo ? "update" : p->make_private ? "make, private" : "make, public", p->repo.id);
    if (!p->place.branch && strcmp(p->repo.rev, "main") != 0) buf_printf(&out, "make branch\t%s\n", p->repo.rev);
    for (size_t i = 0; i < n; i++) buf_printf(&out, "put\t%s\n", patterns[i]);
    buf_add_str(&out, "put\tpipeline.yaml\nput\tpipeline.log\nput\tREADME.md\n");
    bool ok = !p->place.repo || list_old(p, patterns, n, &out, &err);
    const bool printed = ok && lines_print(&out) && lines_flush();
    buf_fini(&out);
    arena_fini(&a);
    return !ok ? cli_fail(&err) : printed ? EXIT_OK : EXIT_FAILED;
}
