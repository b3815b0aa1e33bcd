/* The parts of the Hub and HTTP clients that no command uses alone, for tests/interop: prints what they return.
 *   hub_probe get model|dataset REPO FILE     its path, or "not there"
 *   hub_probe parquet REPO                    the converted files
 *   hub_probe post URL BODY N                 N requests at a time, each with a streamed answer; the token of HF_TOKEN
 *   hub_probe put URL FILE FROM BYTES         a part of a file */
#include "http/hub.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_CALLS = 16 };

static int fail(const gv_err *err) {
    printf("error: %s\n", err->msg);
    return 1;
}

static int get(const char *kind, const char *name, const char *file) {
    gv_err err = GV_ERR_INIT;
    hub_repo repo;
    char *path = NULL;
    bool found = false;
    hub *h = hub_open(&(hub_options){.retries = 1}, &err);
    if (h && hub_repo_parse(strcmp(kind, "dataset") == 0 ? HUB_DATASET : HUB_MODEL, name, &repo, &err) &&
        hub_get(h, &repo, file, &path, &found, &err))
        printf("%s\n", found ? path : "not there");
    free(path);
    hub_close(h);
    return err.code ? fail(&err) : 0;
}

static int parquet(const char *name) {
    gv_err err = GV_ERR_INIT;
    hub_repo repo;
    hub_parquet p = {0};
    bool found = false;
    hub *h = hub_open(&(hub_options){.retries = 1}, &err);
    if (h && hub_repo_parse(HUB_DATASET, name, &repo, &err) && hub_parquet_export(h, &repo, &p, &found, &err)) {
        printf("%s %s %s\n", found ? "found" : "none", p.partial ? "partial" : "whole", p.revision);
        for (size_t i = 0; i < p.n; i++)
            printf("%s %s %s %llu\n", p.files[i].config, p.files[i].split, p.files[i].filename, (unsigned long long)p.files[i].size);
    }
    hub_parquet_fini(&p);
    hub_close(h);
    return err.code ? fail(&err) : 0;
}

static bool collect(void *ctx, const http_response *r, sv bytes, gv_err *err) {
    (void)r, (void)err;
    buf_add_sv(ctx, bytes);
    return true;
}

static int post(const char *url, const char *body, int n) {
    gv_err err = GV_ERR_INIT;
    buf answers[MAX_CALLS] = {{0}};
    http_call *calls[MAX_CALLS] = {0};
    http *h = http_open(&(http_options){.backoff_ms = 50}, &err);
    bool ok = h != NULL && n <= MAX_CALLS;
    for (int i = 0; ok && i < n; i++) {
        http_request q = {.method = "POST",
                          .url = url,
                          .token = getenv("HF_TOKEN"),
                          .content_type = "application/json",
                          .has_body = true,
                          .body = sv_of(body),
                          .sink = collect,
                          .ctx = &answers[i]};
        ok = (calls[i] = http_start(h, &q, &err)) != NULL;
    }
    for (int left = n; ok && left;) {
        ok = http_poll(h, 1000, &err);
        for (int i = 0; ok && i < n; i++) {
            http_response *r;
            if (!calls[i] || !http_call_done(calls[i])) continue;
            if (http_call_result(calls[i], &r, &err) && http_check(r, &err))
                printf("%d " SV_FMT "\n", r->status, SV_ARG(buf_view(&answers[i])));
            if (err.code) fail(&err);
            gv_err_clear(&err);
            http_call_free(calls[i]);
            calls[i] = NULL;
            left--;
        }
    }
    for (int i = 0; i < MAX_CALLS; i++) buf_fini(&answers[i]);
    http_close(h);
    return err.code ? fail(&err) : 0;
}

static int put(const char *url, const char *file, uint64_t from, uint64_t n) {
    gv_err err = GV_ERR_INIT;
    http_response r = {0};
    const int fd = open(file, O_RDONLY);
    http *h = http_open(&(http_options){.backoff_ms = 50}, &err);
    http_request q = {.method = "PUT", .url = url, .has_body = true, .fd = fd, .body_from = from, .body_bytes = n};
    if (h && http_send(h, &q, &r, &err) && http_check(&r, &err)) printf("%d " SV_FMT "\n", r.status, SV_ARG(buf_view(&r.body)));
    http_response_fini(&r);
    http_close(h);
    return err.code ? fail(&err) : 0;
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "get") == 0) return get(argv[2], argv[3], argv[4]);
    if (argc == 3 && strcmp(argv[1], "parquet") == 0) return parquet(argv[2]);
    if (argc == 5 && strcmp(argv[1], "post") == 0) return post(argv[2], argv[3], atoi(argv[4]));
    if (argc == 6 && strcmp(argv[1], "put") == 0) return put(argv[2], argv[3], strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
    return 2;
}
