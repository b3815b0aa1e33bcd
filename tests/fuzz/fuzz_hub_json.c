/* What a Hub says, from a stranger: the first byte chooses who reads the rest.  Whatever a listing lets through must be a name that stays inside its
 * folder, with a digest for its blob's name; headers must lead to waits within bounds and a link inside the header. */
#include "http/http_internal.h"
#include "http/hub_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void check_list(const hub_list *l) {
    gv_err err = GV_ERR_INIT;
    for (size_t i = 0; i < l->n; i++) {
        check(hub_path_check(sv_of(l->files[i].path), &err));
        check(hub_etag_check(sv_of(l->files[i].etag)) && strlen(l->files[i].blob_id) == 40);
    }
}

static void read_listing(sv text, bool cached) {
    hub_list l = {0}, again = {0};
    gv_err err = GV_ERR_INIT;
    size_t *chosen, n;
    const char *main;
    const hub_repo repo = {.id = "org/name", .rev = "main"};
    arena_init(&l.a);
    arena_init(&again.a);
    bool ok = cached ? hub_tree_cache_parse(text, &l, &err) : hub_tree_page(text, &l, &err) && hub_list_sort(&l, &err);
    if (ok) {
        buf json = {0};
        check_list(&l);
        hub_tree_cache_put(&l, &json);
        check(hub_tree_cache_parse(buf_view(&json), &again, &err) && again.n == l.n);
        for (int need = HUB_WEIGHTS; need <= HUB_FOLDER; need++) {
            gv_err_clear(&err);
            if (hub_pick_model(&repo, &l, (hub_need)need, NULL, &chosen, &n, &main, &err)) {
                check(n <= l.n);
                free(chosen);
            } else {
                check(err.code != GV_OK);
            }
        }
        buf_fini(&json);
    } else {
        check(err.code == GV_FORMAT || err.code == GV_LIMIT);
    }
    hub_list_fini(&l);
    hub_list_fini(&again);
}

static void read_headers(sv text) {
    http_response r = {.status = 429};
    buf message = {0};
    buf_add_sv(&r.headers, text);
    buf_add_sv(&r.body, text);
    const int64_t us = reply_wait_us(&r, 1700000000);
    check(us >= 0 && us <= (int64_t)1000000000 * 1000000);
    const sv link = http_header(&r, "Link"), next = http_link_next(link);
    check(next.n == 0 || (next.p >= link.p && next.p + next.n <= link.p + link.n));
    reply_status(&r, &message);
    reply_message(&r, &message);
    check(utf8_invalid_at(buf_view(&message)) == SIZE_MAX);
    buf_fini(&message);
    http_response_fini(&r);
}

static void read_name(sv text) {
    hub_repo repo;
    gv_err err = GV_ERR_INIT;
    buf name = {0};
    buf_add_sv(&name, text);
    if (hub_repo_parse(HUB_MODEL, name.p ? name.p : "", &repo, &err))
        check(!strstr(repo.id, "..") && !strstr(repo.rev, "..") && repo.rev[0] != '/' && hub_path_check(sv_of(repo.rev), &err));
    buf_fini(&name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char commit[41];
    gv_err err = GV_ERR_INIT;
    hub_parquet p = {0};
    if (size == 0) return 0;
    const sv text = {(const char *)data + 1, size - 1};
    switch (data[0]) {
    case 't': read_listing(text, false); break;
    case 'c': read_listing(text, true); break;
    case 'h': read_headers(text); break;
    case 'n': read_name(text); break;
    case 'i':
        if (hub_info_commit(text, commit, &err)) check(hub_commit_check(sv_of(commit)));
        break;
    case 'p':
        arena_init(&p.a);
        if (!hub_parquet_parse(text, &p, &err)) check(err.code != GV_OK);
        hub_parquet_fini(&p);
        break;
    default: break;
    }
    return 0;
}
