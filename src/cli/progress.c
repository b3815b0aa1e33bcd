/* See progress.h. */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LINE_US = 5000000, JSON_US = 1000000 };

void progress_init(progress_view *v, bool json, bool quiet) {
    *v = (progress_view){quiet ? PROGRESS_NONE : json ? PROGRESS_JSON : isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_LINES, 0, false};
}

typedef struct rates {
    double share, rows_s, tokens_s, hit_share;
    int64_t eta_s; /* -1 = unknown */
} rates;

static rates rates_of(const run_progress *p) {
    const double seconds = (double)p->elapsed_us * 1e-6;
    const double now_done = (double)(p->rows_done - p->rows_before);
    rates r = {.eta_s = -1};
    r.share = p->rows_all ? (double)p->rows_done / (double)p->rows_all : 1;
    if (seconds > 0) r.rows_s = now_done / seconds;
    if (seconds > 0) r.tokens_s = (double)(p->lm.computed_tokens) / seconds;
    if (p->lm.prompt_tokens) r.hit_share = (double)p->lm.cached_tokens / (double)p->lm.prompt_tokens;
    if (p->rows_done == p->rows_all)
        r.eta_s = 0;
    else if (r.rows_s > 0)
        r.eta_s = (int64_t)((double)(p->rows_all - p->rows_done) / r.rows_s + 0.5);
    return r;
}

static void format_duration(int64_t s, char *out, size_t n) {
    if (s < 0)
        snprintf(out, n, "?");
    else if (s < 3600)
        snprintf(out, n, "%lld:%02lld", (long long)(s / 60), (long long)(s % 60));
    else
        snprintf(out, n, "%lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60), (long long)(s % 60));
}

static int format_line(const run_progress *p, char *out, size_t n) {
    const rates r = rates_of(p);
    char eta[32];
    format_duration(p->final ? p->elapsed_us / 1000000 : r.eta_s, eta, sizeof eta);
    return snprintf(out, n, "%llu/%llu rows  %.2f rows/s  %.0f tokens/s  %.0f %% shared  %llu without verdict  %s %s",
                    (unsigned long long)p->rows_done, (unsigned long long)p->rows_all, r.rows_s, r.tokens_s, 100 * r.hit_share,
                    (unsigned long long)p->rows_failed, p->final ? "took" : "ETA", eta);
}

static void draw_bar(progress_view *v, const run_progress *p) {
    struct winsize w = {0};
    char text[256], bar[64];
    const int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
    int n = format_line(p, text, sizeof text);
    int width = columns - n - 8;
    if (width > 24) width = 24;
    if (width < 4) width = 0;
    const int full = (int)(rates_of(p).share * width);
    for (int i = 0; i < width; i++) bar[i] = i < full ? '#' : '.';
    bar[width] = 0;
    if (n > columns - 1) text[columns - 1] = 0;
    if (width)
        fprintf(stderr, "\r\033[K[%s] %s", bar, text);
    else
        fprintf(stderr, "\r\033[K%s", text);
    if (p->final) fputc('\n', stderr);
    v->drawn = !p->final;
    fflush(stderr);
}

static void print_json(const run_progress *p) {
    const rates r = rates_of(p);
    fprintf(stderr,
            "{\"event\":\"%s\",\"rows\":%llu,\"done\":%llu,\"failed\":%llu,\"before\":%llu,\"elapsed_s\":%.3f,\"rows_per_s\":%.3f,"
            "\"tokens_per_s\":%.1f,\"prompt_tokens\":%lld,\"shared_tokens\":%lld,\"computed_tokens\":%lld,\"output_tokens\":%lld,"
            "\"eta_s\":%lld,\"journal_s\":%.6f}\n",
            p->final ? "end" : "progress", (unsigned long long)p->rows_all, (unsigned long long)p->rows_done,
            (unsigned long long)p->rows_failed, (unsigned long long)p->rows_before, (double)p->elapsed_us * 1e-6, r.rows_s, r.tokens_s,
            (long long)p->lm.prompt_tokens, (long long)p->lm.cached_tokens, (long long)p->lm.computed_tokens,
            (long long)p->lm.output_tokens, (long long)r.eta_s, (double)p->journal_us * 1e-6);
}

void progress_show(void *view, const run_progress *p) {
    progress_view *v = view;
    const int64_t every = v->kind == PROGRESS_JSON ? JSON_US : LINE_US;
    char text[256];
    if (v->kind == PROGRESS_NONE) return;
    if (v->kind == PROGRESS_BAR) {
        draw_bar(v, p);
        return;
    }
    if (!p->final && v->shown_us && p->elapsed_us - v->shown_us < every) return;
    v->shown_us = p->elapsed_us ? p->elapsed_us : 1;
    if (v->kind == PROGRESS_JSON) {
        print_json(p);
        return;
    }
    format_line(p, text, sizeof text);
    fprintf(stderr, "%s\n", text);
}

void progress_clear(progress_view *v) {
    if (v->drawn) fputs("\r\033[K", stderr);
    v->drawn = false;
}
