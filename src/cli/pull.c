/* gavel pull: files of a Hub repository into the cache that the Python client uses too.  Prints the folder, or the file to open. */
#include "base/json.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/talk.h"
#include "cli/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { QUESTIONS = 3 /* times that a question is put */ };

typedef struct pull_opts {
    const char *repo_type;
    opt_list include;
    int64_t parallel, retries;
    bool dry_run, json, quiet;
} pull_opts;

static void defaults(void *opts) {
    pull_opts *o = opts;
    o->repo_type = "model";
    o->retries = 5;
}

#define AT(field) offsetof(pull_opts, field)

static const opt_def options[] = {
    {"repo-type", 0, OPT_CHOICE, AT(repo_type), "TYPE", "model|dataset", 0, 0, "What ORG/NAME is (default: model)", "What"},
    {"include", 0, OPT_LIST, AT(include), "GLOB", NULL, 0, 0,
     "Files whose path matches, * also matches / (repeatable; default: for a model what gavel opens, for a data set all)", NULL},
    {"dry-run", 0, OPT_FLAG, AT(dry_run), NULL, NULL, 0, 0,
     "Print what would be downloaded, one line a file: cached or missing, bytes, path", NULL},
    {"parallel", 0, OPT_INT, AT(parallel), "N", NULL, 1, 32, "Files at a time (default: 4)", NULL},
    {"retries", 0, OPT_INT, AT(retries), "N", NULL, 0, 100, "Tries after a failure that may pass (default: 5)", NULL},
    {"json", 0, OPT_FLAG, AT(json), NULL, NULL, 0, 0, "Progress and messages as JSON lines on standard error", "Output"},
    {"quiet", 'q', OPT_FLAG, AT(quiet), NULL, NULL, 0, 0, "Only warnings and errors", NULL},
    {0},
};

typedef struct pull_job {
    const pull_opts *o;
    hub *h;
    hub_repo repo;
    hub_list list;
    size_t *chosen, n;
    const char *main;
} pull_job;

/* Which of them a line means: a number of the list, or the name of just one. */
static bool understand(sv answer, const hub_choice *c, size_t n, size_t *which) {
    size_t matches = 0;
    char text[32] = {0}, *end;
    if (answer.n == 0 || answer.n >= sizeof text) return false;
    memcpy(text, answer.p, answer.n);
    const unsigned long number = strtoul(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == 0 && number >= 1 && number <= n) {
        *which = number - 1;
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        if (c[i].quant.n != answer.n || strncasecmp(c[i].quant.p, text, answer.n) != 0) continue;
        *which = i;
        matches++;
    }
    return matches == 1;
}

/* On a terminal the user chooses; an empty line or the end of the input chooses nothing. */
static bool ask(void *ctx, const hub_repo *repo, const hub_choice *c, size_t n, size_t *which) {
    (void)ctx;
    buf text = {0};
    buf_printf(&text, "%s has several quantisations:\n", repo->id);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&text, "%4zu  ", i + 1);
        transfer_put_size(c[i].bytes, &text);
        buf_add_str(&text, "  ");
        str_escape(sv_of(c[i].path), SIZE_MAX, &text);
        buf_add_char(&text, '\n');
    }
    for (int i = 0; i < QUESTIONS; i++) {
        char line[64];
        buf_printf(&text, "Which one (1 to %zu, or a name such as ", n);
        str_escape(c[n / 2].quant, 40, &text);
        buf_add_str(&text, ")? ");
        talk_ask(buf_view(&text));
        buf_clear(&text);
        if (!fgets(line, sizeof line, stdin)) {
            talk_line(SV(""));
            break;
        }
        sv answer = sv_of(line);
        while (answer.n && strchr(" \t\r\n", answer.p[answer.n - 1])) answer.n--;
        while (answer.n && strchr(" \t", answer.p[0])) answer = sv_sub(answer, 1, answer.n);
        if (answer.n == 0) break;
        if (understand(answer, c, n, which)) {
            buf_fini(&text);
            return true;
        }
    }
    buf_fini(&text);
    return false;
}

static bool choose(pull_job *j, gv_err *err) {
    const bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && !j->o->json && !j->o->quiet;
    const hub_chooser chooser = {ask, NULL};
    if (j->repo.kind == HUB_MODEL && j->o->include.n == 0)
        return hub_pick_model(&j->repo, &j->list, HUB_WEIGHTS, terminal ? &chooser : NULL, &j->chosen, &j->n, &j->main, err);
    if (j->repo.quant[0]) return gv_fail(err, GV_USAGE, -1, "--include and a quantisation (:%s) exclude each other", j->repo.quant);
    return hub_pick_globs(&j->repo, &j->list, j->o->include.v, j->o->include.n, &j->chosen, &j->n, err);
}

/* "missing 4368439584 model.Q4_K_M.gguf" for each file, then what is to come. */
static bool tell_plan(const pull_job *j) {
    buf out = {0};
    uint64_t all = 0, missing = 0;
    for (size_t i = 0; i < j->n; i++) {
        const hub_file *f = &j->list.files[j->chosen[i]];
        const bool there = hub_has(j->h, &j->repo, f);
        buf_printf(&out, "%s\t%llu\t", there ? "cached" : "missing", (unsigned long long)f->size);
        str_escape(sv_of(f->path), SIZE_MAX, &out);
        buf_add_char(&out, '\n');
        all += f->size;
        missing += there ? 0 : f->size;
    }
    const bool ok = lines_print(&out) && lines_flush();
    buf text = {0};
    transfer_put_size(missing, &text);
    buf_add_str(&text, " of ");
    transfer_put_size(all, &text);
    if (!j->o->quiet) talk_say("plan", "%zu %s, %s to download at commit %s", j->n, j->n == 1 ? "file" : "files", text.p, j->list.commit);
    buf_fini(&text);
    buf_fini(&out);
    return ok;
}

static bool tell_place(const pull_job *j, const char *folder) {
    buf out = {0};
    buf_printf(&out, "%s%s%s\n", folder, j->main ? "/" : "", j->main ? j->main : "");
    const bool ok = lines_print(&out) && lines_flush();
    buf_fini(&out);
    return ok;
}

static int pull(pull_job *j, gv_err *err) {
    char *folder = NULL;
    transfer_view view;
    if (!hub_ls(j->h, &j->repo, NULL, &j->list, err) || !choose(j, err)) return cli_fail(err);
    if (j->o->dry_run) return tell_plan(j) ? EXIT_OK : EXIT_FAILED;
    cli_stop_politely();
    transfer_init(&view, j->o->json, j->o->quiet, false, "downloaded");
    const bool ok = hub_fetch(j->h, &j->repo, &j->list, j->chosen, j->n, transfer_show, &view, &folder, err);
    talk_clear_bar();
    if (!ok && err->code == GV_INTERRUPTED)
        talk_say("interrupted", "interrupted; what came is kept in %s, and the same command continues", hub_cache(j->h));
    const int code = ok ? (tell_place(j, folder) ? EXIT_OK : EXIT_FAILED) : cli_fail(err);
    free(folder);
    return code;
}

static int run(int n_args, const char **args, const void *opts) {
    const pull_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    pull_job j = {.o = o};
    (void)n_args;
    if (o->json) talk_in_json();
    if (o->json && o->quiet) gv_fail(&err, GV_USAGE, -1, "--json and --quiet exclude each other");
    const hub_kind kind = strcmp(o->repo_type, "dataset") == 0 ? HUB_DATASET : HUB_MODEL;
    if (err.code || !hub_repo_parse(kind, args[0], &j.repo, &err)) return cli_fail(&err);
    j.h = hub_open(&(hub_options){.parallel = o->parallel, .retries = o->retries ? o->retries : -1, .stop = &cli_signal}, &err);
    const int code = j.h ? pull(&j, &err) : cli_fail(&err);
    free(j.chosen);
    hub_list_fini(&j.list);
    hub_close(j.h);
    return code;
}

const opt_command command_pull = {
    .name = "pull",
    .args = "ORG/NAME[:QUANT][@REV]",
    .summary = "Download a model or data set from the Hugging Face Hub",
    .detail =
        "Files go into the cache of the Python client (HF_HOME, HF_HUB_CACHE), checked by size and digest; what it has already is not "
        "downloaded again, and an interrupted download continues. Prints the file or folder to give to --model.\n\n"
        "Of a model only what gavel opens is taken: safetensors with configuration and tokenizer, or one GGUF file; if there are several "
        "quantisations, QUANT says which, or you are asked on a terminal. HF_ENDPOINT names another Hub, HF_TOKEN a token for gated and "
        "private repositories, "
        "HF_HUB_OFFLINE=1 uses the cache alone.",
    .example =
        "gavel pull prometheus-eval/prometheus-7b-v2.0\ngavel pull ORG/NAME-GGUF:Q4_K_M\ngavel pull ORG/DATA --repo-type dataset --dry-run",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(pull_opts),
    .defaults = defaults,
};
