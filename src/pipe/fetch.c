/* A pipeline file from an address: http or https, or hf://datasets/ORG/NAME[@REV]/FILE of the Hub.  See pipe_internal.h.
 *
 * An http address on the Hub's own host (resolve/ and raw/ of its pages) gets the Hub's token, no other one does. */
#include "base/file.h"
#include "http/hub.h"
#include "pipe/pipe_internal.h"

#include <stdlib.h>

static const char hub_prefix[] = "hf://datasets/";

bool pipe_is_url(const char *path) {
    return strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0 || strncmp(path, "hf://", 5) == 0;
}

static bool is_stopped(void *stop) {
    return stop && *(const volatile sig_atomic_t *)stop;
}

static bool get_url(const char *url, uint64_t cap, const volatile sig_atomic_t *stop, buf *out, gv_err *err) {
    hub *of = http_url_check(url, err) ? hub_open(&(hub_options){0}, err) : NULL;
    http *h = of ? http_open(&(http_options){.stopped = is_stopped, .ctx = (void *)(uintptr_t)stop}, err) : NULL;
    const http_request q = {.url = url, .max_bytes = cap, .token = of ? hub_token_for(of, url) : NULL};
    http_response r = {0};
    const bool ok = h && http_send(h, &q, &r, err) && http_check(&r, err);
    if (ok) buf_add_sv(out, buf_view(&r.body));
    http_response_fini(&r);
    http_close(h);
    hub_close(of);
    return ok;
}

/* ORG/NAME[@REV] and the file behind it. */
static bool get_hub(const char *url, uint64_t cap, const volatile sig_atomic_t *stop, buf *out, gv_err *err) {
    const sv rest = sv_of(url + strlen(hub_prefix));
    const size_t org = sv_find(rest, SV("/"), 0), end = org == SIZE_MAX ? SIZE_MAX : sv_find(rest, SV("/"), org + 1);
    if (end == SIZE_MAX) return gv_fail(err, GV_USAGE, -1, "%s: expected hf://datasets/ORG/NAME[@REV]/FILE", url);
    buf id = {0};
    hub_repo repo;
    char *path = NULL;
    bool found = false;
    buf_add_sv(&id, sv_sub(rest, 0, end));
    hub *h = hub_repo_parse(HUB_DATASET, id.p, &repo, err) ? hub_open(&(hub_options){.stop = stop}, err) : NULL;
    bool ok = h && hub_get(h, &repo, rest.p + end + 1, &path, &found, err);
    if (ok && !found) ok = gv_fail(err, GV_IO, -1, "%s has no file \"%s\"", id.p, rest.p + end + 1);
    ok = ok && file_read_all(path, cap, out, err);
    free(path);
    hub_close(h);
    buf_fini(&id);
    return ok || gv_context(err, "%s", url);
}

bool pipe_fetch(const char *url, uint64_t cap, const volatile sig_atomic_t *stop, buf *out, gv_err *err) {
    if (strncmp(url, hub_prefix, strlen(hub_prefix)) == 0) return get_hub(url, cap, stop, out, err);
    return get_url(url, cap, stop, out, err);
}
