/* See transfer.h.  The rate is that of this transfer: what was there before counts as done, not as speed. */
#include "cli/transfer.h"

#include "base/json.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/progress.h"
#include "cli/talk.h"

#include <stdlib.h>

enum { LINE_US = 5000000, JSON_US = 1000000, MOMENT_US = 1000000, BAR = 24 };

void transfer_init(transfer_view *v, bool json, bool quiet, bool quiet_if_there, const char *verb) {
    progress_view kind;
    progress_init(&kind, json, quiet);
    *v = (transfer_view){.kind = kind.kind, .small = quiet_if_there, .verb = verb};
}

void transfer_put_size(uint64_t bytes, buf *out) {
    const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 999.5 && u + 1 < sizeof units / sizeof *units) v *= 1e-3, u++;
    buf_printf(out, "%.*f %s", u == 0 || v >= 99.5 ? 0 : v >= 9.95 ? 1 : 2, v, units[u]);
}

static double rate_of(const hub_progress *p) {
    const double s = (double)p->elapsed_us * 1e-6;
    const uint64_t came = p->bytes_done > p->bytes_before ? p->bytes_done - p->bytes_before : 0;
    return s > 0 ? (double)came / s : 0;
}

/* "1.20 GB of 4.37 GB, 81.3 MB/s, ETA 0:39, 2 of 7 files" */
static void put_text(const hub_progress *p, buf *out) {
    const double rate = rate_of(p);
    transfer_put_size(p->bytes_done, out);
    buf_add_str(out, " of ");
    transfer_put_size(p->bytes, out);
    buf_add_str(out, ", ");
    transfer_put_size((uint64_t)rate, out);
    buf_add_str(out, "/s, ");
    if (p->final) {
        buf_printf(out, "took %.1f s", (double)p->elapsed_us * 1e-6);
    } else if (rate > 0 && p->bytes > p->bytes_done) {
        const long long s = (long long)((double)(p->bytes - p->bytes_done) / rate);
        buf_printf(out, "ETA %lld:%02lld", s / 60, s % 60);
    } else {
        buf_add_str(out, "ETA ?");
    }
    buf_printf(out, ", %zu of %zu %s", p->files_done, p->files, p->files == 1 ? "file" : "files");
}

static void show_bar(const transfer_view *v, const hub_progress *p) {
    buf line = {0};
    const double share = p->bytes ? (double)p->bytes_done / (double)p->bytes : 1;
    const int full = (int)((share < 1 ? share : 1) * BAR);
    buf_add_char(&line, '[');
    for (int i = 0; i < BAR; i++) buf_add_char(&line, i < full ? '#' : '.');
    buf_add_str(&line, "] ");
    put_text(p, &line);
    const size_t columns = (size_t)progress_columns();
    line.n = line.n < columns ? line.n : columns - 1;
    if (!p->final)
        talk_bar(buf_view(&line));
    else if (!v->small || p->elapsed_us >= MOMENT_US)
        talk_line(buf_view(&line));
    else
        talk_clear_bar();
    buf_fini(&line);
}

static void show_json(const hub_progress *p) {
    buf line = {0};
    buf_printf(&line, "{\"event\":\"%s\",\"bytes\":%llu,\"bytes_done\":%llu,\"bytes_before\":%llu,\"files\":%zu,\"files_done\":%zu",
               p->final ? "transferred" : "transfer", (unsigned long long)p->bytes, (unsigned long long)p->bytes_done,
               (unsigned long long)p->bytes_before, p->files, p->files_done);
    buf_printf(&line, ",\"elapsed_s\":%.3f,\"bytes_per_s\":%.0f,\"file\":", (double)p->elapsed_us * 1e-6, rate_of(p));
    json_put_string(&line, sv_of(p->what));
    buf_add_char(&line, '}');
    talk_line(buf_view(&line));
    buf_fini(&line);
}

static void show_line(const transfer_view *v, const hub_progress *p) {
    buf line = {0};
    buf_printf(&line, "%s ", v->verb);
    put_text(p, &line);
    talk_line(buf_view(&line));
    buf_fini(&line);
}

void transfer_show(void *view, const hub_progress *p) {
    transfer_view *v = view;
    const int64_t every = v->kind == PROGRESS_LINES ? LINE_US : v->kind == PROGRESS_JSON ? JSON_US : 0;
    if (v->kind == PROGRESS_NONE || (!p->final && p->elapsed_us - v->shown_us < every)) return;
    if (v->small && p->final && p->bytes_before == p->bytes) {
        talk_clear_bar();
        return;
    }
    v->shown_us = p->elapsed_us;
    switch (v->kind) {
    case PROGRESS_BAR: show_bar(v, p); break;
    case PROGRESS_JSON: show_json(p); break;
    default: show_line(v, p);
    }
}

bool cli_model_path(const char *model, hub_need need, bool json, bool quiet, char **path, gv_err *err) {
    *path = model ? gv_xstrdup(model) : NULL;
    if (!model || !hub_is_ref(model)) return true;
    free(*path);
    *path = NULL;
    transfer_view view;
    transfer_init(&view, json, quiet, true, "downloaded");
    hub *h = hub_open(&(hub_options){0}, err);
    const bool ok = h && hub_model_path(h, model, need, transfer_show, &view, path, err);
    talk_clear_bar();
    hub_close(h);
    return ok || gv_context(err, "--model %s", model);
}

bool cli_open_dataset(const char *input, const data_opts *o, bool json, bool quiet, dataset **out, gv_err *err) {
    const bool chosen = o->config || o->split, url = strncmp(input, "hf://", 5) == 0;
    transfer_view view;
    *out = NULL;
    if (chosen && strcmp(input, "-") == 0)
        return gv_fail(err, GV_USAGE, -1, "--config and --split choose from a data set, not from standard input");
    if (!chosen && !dataset_is_source(input)) return true;
    hub *h = url ? hub_open(&(hub_options){.stop = &cli_signal}, err) : NULL;
    if (!h && url) return false;
    transfer_init(&view, json, quiet, true, "downloaded");
    const dataset_spec spec = {.path = input, .config = o->config, .split = o->split, .hub = h, .show = transfer_show, .show_ctx = &view};
    *out = dataset_open(&spec, err);
    talk_clear_bar();
    hub_close(h);
    return *out != NULL;
}

static void tell_pushed(const hub *h, const hub_repo *repo, const hub_push_result *r) {
    const char *prefix = repo->kind == HUB_DATASET ? "datasets/" : "";
    if (r->unchanged)
        talk_say("pushed", "%s/%s%s has all %zu files already, nothing to commit", hub_endpoint(h), prefix, repo->id, r->n_there);
    else
        talk_say("pushed", "%s/%s%s: one commit, %zu files sent, %zu there before, %zu deleted%s", hub_endpoint(h), prefix, repo->id,
                 r->n_sent, r->n_there, r->n_deleted, r->created ? "; the repository is new" : "");
}

int transfer_push(hub *h, const hub_repo *repo, const hub_push_file *files, size_t n, const hub_push_options *o, bool json, bool quiet) {
    gv_err err = GV_ERR_INIT;
    hub_push_result r;
    transfer_view view;
    transfer_init(&view, json, quiet, false, "uploaded");
    const bool ok = hub_push(h, repo, files, n, o, transfer_show, &view, &r, &err);
    talk_clear_bar();
    if (ok && !quiet) tell_pushed(h, repo, &r);
    if (!ok && err.code == GV_INTERRUPTED) talk_say("interrupted", "interrupted; nothing was committed, and the same command continues");
    if (!ok) return cli_fail(&err);
    buf out = {0};
    buf_printf(&out, "%s\n", r.commit);
    const bool printed = lines_print(&out) && lines_flush();
    buf_fini(&out);
    return printed ? EXIT_OK : EXIT_FAILED;
}
