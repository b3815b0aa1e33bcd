/* Requests to the Hub's API, and its errors as sentences that say what to do.  Decided by X-Error-Code where it is there, not by the status: a
 * private repository, a missing one and a wrong token all come as 401 or 404. */
#include "base/log.h"
#include "http/hub_internal.h"

#include <stdlib.h>

static bool is_stopped(void *ctx) {
    const hub *h = ctx;
    return h->stop && *h->stop;
}

http *hub_web(hub *h, hub_kind kind, gv_err *err) {
    if (hub_is_offline(h, kind)) {
        gv_fail(err, GV_STATE, -1, "offline (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE or HF_DATASETS_OFFLINE is set)");
        return NULL;
    }
    if (!h->web) h->web = http_open(&(http_options){.ca_file = h->ca_file, .retries = h->retries, .stopped = is_stopped, .ctx = h}, err);
    return h->web;
}

void hub_api_url(const hub *h, const hub_repo *repo, const char *below, buf *url) {
    buf_clear(url);
    buf_printf(url, "%s/api/%s/%s%s", h->endpoint, repo->kind == HUB_DATASET ? "datasets" : "models", repo->id, below);
}

void hub_resolve_url(const hub *h, const hub_repo *repo, const char *rev, const char *path, buf *url) {
    buf_clear(url);
    buf_printf(url, "%s/%s%s/resolve/", h->endpoint, repo->kind == HUB_DATASET ? "datasets/" : "", repo->id);
    http_url_escape(sv_of(rev), "", url);
    buf_add_char(url, '/');
    http_url_escape(sv_of(path), "/", url);
}

const char *hub_token_for(const hub *h, const char *url) {
    return h->token && http_same_origin(url, h->endpoint) ? h->token : NULL;
}

bool hub_error_is(const http_response *r, const char *code) {
    return sv_is(http_header(r, "X-Error-Code"), code);
}

/* What the server said, as ": words" behind ours. */
static bool fail_with_words(const http_response *r, gv_err *err, const char *fmt, ...) GV_PRINTF(3, 4);
static bool fail_with_words(const http_response *r, gv_err *err, const char *fmt, ...) {
    gv_err words = GV_ERR_INIT, ours = GV_ERR_INIT;
    va_list ap;
    va_start(ap, fmt);
    gv_vfail(&ours, GV_IO, -1, fmt, ap);
    va_end(ap);
    const bool is_error = !http_check(r, &words);
    return is_error && gv_fail(err, GV_IO, -1, "%s (%s)", ours.msg, words.msg);
}

bool hub_check(const hub *h, const hub_repo *repo, const char *file, const http_response *r, gv_err *err) {
    const char *kind = hub_kind_name(repo->kind), *prefix = repo->kind == HUB_DATASET ? "datasets/" : "";
    const bool home = http_same_origin(r->url.p, h->endpoint);
    if (r->status >= 200 && r->status < 300) return true;
    if (hub_error_is(r, "GatedRepo")) {
        if (!h->token)
            return fail_with_words(r, err, "%s %s is gated: ask for access at %s/%s%s, then put a token of your account into HF_TOKEN",
                                   kind, repo->id, h->endpoint, prefix, repo->id);
        return fail_with_words(r, err, "%s %s is gated, and the account of your token (%s) is not admitted: ask for access at %s/%s%s",
                               kind, repo->id, h->token_from, h->endpoint, prefix, repo->id);
    }
    if (hub_error_is(r, "RevisionNotFound")) return fail_with_words(r, err, "%s %s has no revision %s", kind, repo->id, repo->rev);
    if (hub_error_is(r, "EntryNotFound"))
        return fail_with_words(r, err, "%s %s has no %s at revision %s", kind, repo->id, file ? file : "such file", repo->rev);
    if (hub_error_is(r, "RepoNotFound") || (home && r->status == 401 && !h->token)) {
        if (!h->token)
            return fail_with_words(
                r, err, "there is no %s %s at %s, or it is private: check the name, or put a token that may read it into HF_TOKEN", kind,
                repo->id, h->endpoint);
        return fail_with_words(r, err, "there is no %s %s at %s that your token (%s) may read: check the name, or the token", kind,
                               repo->id, h->endpoint, h->token_from);
    }
    if (home && r->status == 401) return fail_with_words(r, err, "the Hub does not accept your token (%s)", h->token_from);
    return http_check(r, err);
}

/* X-HF-Warning: "topic; message"; each is told once in a row. */
static void pass_warning_on(hub *h, const http_response *r) {
    const sv w = http_header_any(r, "X-HF-Warning");
    if (!w.n || sv_eq(w, buf_view(&h->warned))) return;
    buf_clear(&h->warned);
    buf_add_sv(&h->warned, w);
    buf text = {0};
    str_escape(w, 300, &text);
    log_msg(LOG_WARN, "the Hub says: " SV_FMT, SV_ARG(buf_view(&text)));
    buf_fini(&text);
}

bool hub_send(hub *h, const hub_repo *repo, const char *file, http_request *q, http_response *r, gv_err *err) {
    http *web = hub_web(h, repo->kind, err);
    if (!web) return false;
    q->token = hub_token_for(h, q->url);
    if (!http_send(web, q, r, err)) return false;
    pass_warning_on(h, r);
    return hub_check(h, repo, file, r, err);
}

/* ---- revisions and listings ---- */

static void put_rev(const char *verb, const char *rev, buf *below) {
    buf_clear(below);
    buf_printf(below, "/%s/", verb);
    http_url_escape(sv_of(rev), "", below);
}

bool hub_commit(hub *h, const hub_repo *repo, char commit[41], gv_err *err) {
    buf below = {0}, url = {0};
    http_response r = {0};
    bool ok = true;
    if (hub_commit_check(sv_of(repo->rev)) || hub_is_offline(h, repo->kind)) {
        if (!hub_cache_commit(h, repo, commit))
            ok = gv_fail(err, GV_STATE, -1, "offline, and the cache %s does not know revision %s of %s %s", h->cache, repo->rev,
                         hub_kind_name(repo->kind), repo->id);
        return ok;
    }
    put_rev("revision", repo->rev, &below);
    hub_api_url(h, repo, below.p, &url);
    ok = hub_send(h, repo, NULL, &(http_request){.url = url.p}, &r, err);
    if (!ok && (r.transient || r.status >= 500) && hub_cache_has(h, repo, commit)) {
        log_msg(LOG_WARN, "%s cannot be reached; what the cache has of %s is used (%s)", h->endpoint, repo->id, err->msg);
        gv_err_clear(err);
        h->offline = h->offline_datasets = ok = true;
    } else if (ok) {
        ok = (hub_info_commit(buf_view(&r.body), commit, err) || gv_context(err, "%s", url.p)) && hub_cache_set_ref(h, repo, commit, err);
    }
    http_response_fini(&r);
    buf_fini(&below);
    buf_fini(&url);
    return ok;
}

/* The URL of the next page, from the Link header; emptied at the end. */
static bool next_page(const hub *h, const http_response *r, buf *url, gv_err *err) {
    const sv link = http_link_next(http_header(r, "Link"));
    buf_clear(url);
    if (!link.n) return true;
    if (link.p[0] == '/') buf_add_str(url, h->endpoint);
    buf_add_sv(url, link);
    return http_same_origin(url->p, h->endpoint) ||
           gv_fail(err, GV_FORMAT, -1, "the listing goes on at another server, %s", str_show(link).text);
}

static bool list_pages(hub *h, const hub_repo *repo, const char *folder, hub_list *out, gv_err *err) {
    buf below = {0}, url = {0};
    put_rev("tree", out->commit, &below);
    if (folder) buf_add_char(&below, '/'), http_url_escape(sv_of(folder), "/", &below);
    buf_add_str(&below, "?recursive=true&expand=false");
    hub_api_url(h, repo, below.p, &url);
    bool ok = true;
    for (int page = 0; ok && url.n; page++) {
        http_response r = {0};
        if (page == HUB_MAX_PAGES) ok = gv_fail(err, GV_LIMIT, -1, "a listing of more than the cap of %d pages", HUB_MAX_PAGES);
        ok = ok && hub_send(h, repo, folder, &(http_request){.url = url.p}, &r, err);
        if (ok && !hub_tree_page(buf_view(&r.body), out, err)) {
            buf shown = {0};
            http_url_show(url.p, &shown);
            ok = gv_context(err, "%s", shown.p);
            buf_fini(&shown);
        }
        ok = ok && next_page(h, &r, &url, err);
        http_response_fini(&r);
    }
    buf_fini(&below);
    buf_fini(&url);
    return ok && hub_list_sort(out, err);
}

/* Of a whole listing only what is below folder stays. */
static void keep_below(hub_list *l, const char *folder) {
    size_t n = 0;
    const size_t len = strlen(folder);
    for (size_t i = 0; i < l->n; i++)
        if (strncmp(l->files[i].path, folder, len) == 0 && l->files[i].path[len] == '/') l->files[n++] = l->files[i];
    l->n = n;
}

bool hub_ls(hub *h, const hub_repo *repo, const char *folder, hub_list *out, gv_err *err) {
    *out = (hub_list){0};
    arena_init(&out->a);
    if (folder && !folder[0]) folder = NULL;
    bool ok = (!folder || hub_path_check(sv_of(folder), err)) && hub_commit(h, repo, out->commit, err);
    if (ok && hub_cache_tree(h, repo, out->commit, out)) {
        if (folder) keep_below(out, folder);
        return true;
    }
    if (ok && hub_is_offline(h, repo->kind)) {
        out->cached = true;
        ok = hub_cache_walk(h, repo, out->commit, out, err);
        if (ok && folder) keep_below(out, folder);
        return ok;
    }
    ok = ok && list_pages(h, repo, folder, out, err);
    if (ok && !folder) hub_cache_set_tree(h, repo, out);
    return ok;
}

/* ---- converted Parquet files ---- */

/* datasets-server.HOST as the Python client makes it; an endpoint that is an address, with no name to put something in front of, is asked itself. */
static void viewer_url(const hub *h, const hub_repo *repo, buf *url) {
    const char *host = strstr(h->endpoint, "://") + 3;
    const bool is_address = host[strspn(host, "0123456789.:")] == 0 || host[0] == '[' || strncmp(host, "localhost", 9) == 0;
    if (is_address)
        buf_add_str(url, h->endpoint);
    else
        buf_printf(url, "%.*sdatasets-server.%s", (int)(host - h->endpoint), h->endpoint, host);
    buf_add_str(url, "/parquet?dataset=");
    http_url_escape(sv_of(repo->id), "", url);
}

bool hub_parquet_export(hub *h, const hub_repo *repo, hub_parquet *out, bool *found, gv_err *err) {
    buf url = {0};
    http_response r = {0};
    http *web = hub_web(h, repo->kind, err);
    *out = (hub_parquet){0};
    arena_init(&out->a);
    *found = false;
    if (!web) return false;
    viewer_url(h, repo, &url);
    /* the data set server is the Hub's own, under another name: it gets the token as the Python client's requests do */
    bool ok = http_send(web, &(http_request){.url = url.p, .token = h->token, .retry = HTTP_RETRY_SAFE}, &r, err);
    if (ok && r.status != 404 && r.status != 401 && r.status != 501 && !(r.status == 500 && http_header(&r, "X-Error-Code").n)) {
        const sv revision = http_header(&r, "X-Revision");
        ok = http_check(&r, err) && hub_parquet_parse(buf_view(&r.body), out, err);
        *found = ok && out->n > 0;
        if (ok && hub_commit_check(revision)) memcpy(out->revision, revision.p, 40);
    }
    http_response_fini(&r);
    buf_fini(&url);
    return ok;
}
