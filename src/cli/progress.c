/* See progress.h.  Rates are those of this run: what an earlier run judged counts as done, not as speed.  The bar is redrawn whenever the
 * run reports (every 100 ms at most), a JSON line comes every second, a plain line every 5 seconds; the last report is always shown. */
#include "cli/progress.h"

#include "cli/talk.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LINE_US = 5000000, JSON_US = 1000000, MAX_BAR = 24, MIN_BAR = 6 };

void progress_init(progress_view *v, bool json, bool quiet) {
    const char *term = getenv("TERM");
    const bool terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    *v = (progress_view){quiet ? PROGRESS_NONE : json ? PROGRESS_JSON : terminal ? PROGRESS_BAR : PROGRESS_LINES, 0};
}

typedef struct rates {
    double share, judgments_s, tokens_s, shared;
    int64_t eta_s; /* -1: unknown */
} rates;

static rates rates_of(const run_progress *p) {
    const double seconds = (double)p->elapsed_us * 1e-6, done = (double)(p->done - p->before);
    rates r = {.eta_s = p->done == p->all ? 0 : -1};
    r.share = p->all ? (double)p->done / (double)p->all : 1;
    if (p->lm.prompt_tokens) r.shared = (double)p->lm.cached_tokens / (double)p->lm.prompt_tokens;
    if (seconds <= 0) return r;
    r.judgments_s = done / seconds;
    r.tokens_s = (double)p->lm.computed_tokens / seconds;
    if (r.eta_s < 0 && done > 0) r.eta_s = (int64_t)((double)(p->all - p->done) / r.judgments_s + 0.5);
    return r;
}

static void put_duration(int64_t s, buf *out) {
    if (s < 0)
        buf_add_char(out, '?');
    else if (s < 3600)
        buf_printf(out, "%lld:%02lld", (long long)(s / 60), (long long)(s % 60));
    else
        buf_printf(out, "%lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60), (long long)(s % 60));
}

typedef enum detail { WIDE, TIGHT, SHORT } detail;

/* "12/24 rows, 0.53 rows/s, 411 tokens/s, 46 % shared, 0 failed, ETA 0:23", with several judgments a row "12/96 judgments, ..."; TIGHT without commas, SHORT without what is least missed. */
static void put_text(const run_progress *p, detail d, buf *out) {
    const rates r = rates_of(p);
    const char *gap = d == WIDE ? ", " : " ";
    const char *unit = p->per_row == 1 ? "rows" : "judgments";
    buf_printf(out, "%llu/%llu %s", (unsigned long long)p->done, (unsigned long long)p->all, unit);
    if (r.judgments_s > 0 && r.judgments_s < 0.1)
        buf_printf(out, "%s%.1f %s/min", gap, 60 * r.judgments_s, unit);
    else
        buf_printf(out, "%s%.*f %s/s", gap, r.judgments_s < 10 ? 2 : 0, r.judgments_s, unit);
    if (d != SHORT) buf_printf(out, "%s%.0f tokens/s%s%.0f %% shared", gap, r.tokens_s, gap, 100 * r.shared);
    buf_printf(out, "%s%llu failed%s%s ", gap, (unsigned long long)p->failed, gap, p->final ? "took" : "ETA");
    put_duration(p->final ? (p->elapsed_us + 500000) / 1000000 : r.eta_s, out);
}

int progress_columns(void) {
    struct winsize w = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static void show_bar(const run_progress *p) {
    const int columns = progress_columns();
    buf text = {0}, line = {0};
    for (detail d = WIDE; d <= SHORT; d++) {
        buf_clear(&text);
        put_text(p, d, &text);
        if ((int)text.n + (d == WIDE ? MAX_BAR : MIN_BAR) + 3 < columns) break;
    }
    const int room = columns - 1 - (int)text.n - 3, width = room > MAX_BAR ? MAX_BAR : room;
    if (width >= MIN_BAR) {
        const int full = (int)(rates_of(p).share * width);
        buf_add_char(&line, '[');
        for (int i = 0; i < width; i++) buf_add_char(&line, i < full ? '#' : '.');
        buf_add_str(&line, "] ");
    }
    buf_add_sv(&line, sv_sub(buf_view(&text), 0, (size_t)(columns > 1 ? columns - 1 : 1)));
    if (p->final)
        talk_line(buf_view(&line));
    else
        talk_bar(buf_view(&line));
    buf_fini(&text);
    buf_fini(&line);
}

static void show_json(const run_progress *p) {
    const rates r = rates_of(p);
    buf line = {0};
    buf_printf(&line, "{\"event\":\"%s\",\"rows\":%llu,\"judgments\":%llu,\"done\":%llu,\"failed\":%llu,\"before\":%llu,\"elapsed_s\":%.3f",
               p->final ? "end" : "progress", (unsigned long long)p->rows, (unsigned long long)p->all, (unsigned long long)p->done,
               (unsigned long long)p->failed, (unsigned long long)p->before, (double)p->elapsed_us * 1e-6);
    buf_printf(&line, ",\"rows_per_s\":%.3f,\"tokens_per_s\":%.1f,\"prompt_tokens\":%lld,\"shared_tokens\":%lld,\"shared\":%.4f",
               p->per_row ? r.judgments_s / (double)p->per_row : 0, r.tokens_s, (long long)p->lm.prompt_tokens,
               (long long)p->lm.cached_tokens, r.shared);
    buf_printf(&line, ",\"computed_tokens\":%lld,\"output_tokens\":%lld,\"eta_s\":", (long long)p->lm.computed_tokens,
               (long long)p->lm.output_tokens);
    if (r.eta_s < 0)
        buf_add_str(&line, "null");
    else
        json_put_int(&line, r.eta_s);
    buf_printf(&line, ",\"journal_s\":%.6f,\"progress_s\":%.6f}", (double)p->journal_us * 1e-6, (double)p->shown_us * 1e-6);
    talk_line(buf_view(&line));
    buf_fini(&line);
}

static void show_text(const run_progress *p) {
    buf line = {0};
    put_text(p, WIDE, &line);
    talk_line(buf_view(&line));
    buf_fini(&line);
}

void progress_show(void *view, const run_progress *p) {
    progress_view *v = view;
    const int64_t every = v->kind == PROGRESS_LINES ? LINE_US : v->kind == PROGRESS_JSON && v->shown_us ? JSON_US : 0;
    if (v->kind == PROGRESS_NONE || (!p->final && p->elapsed_us - v->shown_us < every)) return;
    v->shown_us = p->elapsed_us ? p->elapsed_us : 1;
    switch (v->kind) {
    case PROGRESS_BAR: show_bar(p); break;
    case PROGRESS_JSON: show_json(p); break;
    default: show_text(p);
    }
}

void cli_put_statuses(const uint64_t *by_status, bool json, buf *out) {
    for (int s = JUDGMENT_UNPARSABLE; s <= JUDGMENT_ERROR; s++) {
        const unsigned long long n = by_status[s];
        const char *name = judgment_status_name((judgment_status)s);
        if (json)
            buf_printf(out, ",\"%s\":%llu", name, n);
        else if (n)
            buf_printf(out, "%s%llu %s", out->n ? ", " : "", n, name);
    }
}
