/* Where a push goes: whose repository a bare name is, whether repository and branch are there, and making them.  See hub_push.h and
 * hub_push_internal.h.
 *
 * A name without an owner is the token's user's, as in the Python client: whoami says who that is, so the name is known before anything is
 * made.  Making a repository or a branch is a POST whose reply may be lost; what counts is the info that is asked for behind it. */
#include "http/hub_push_internal.h"

enum { CREATE_TRIES = 6 };

static bool need_token(const hub *h, gv_err *err) {
    return h->token || gv_fail(err, GV_USAGE, -1, "pushing to %s needs a token that may write: put one into HF_TOKEN", h->endpoint);
}

/* ---- names ---- */

static bool read_name(hub_repo *repo, sv json, gv_err *err) {
    json_doc *d = json_parse(json, err);
    const sv name = d ? push_text(json_root(d), "name") : (sv){0};
    hub_repo whole;
    buf id = {0};
    buf_printf(&id, SV_FMT "/%s", SV_ARG(sv_sub(name, 0, 200)), repo->id);
    const bool ok =
        d && (name.n || gv_fail(err, GV_FORMAT, -1, "whoami-v2: the reply has no name")) && hub_repo_parse(repo->kind, id.p, &whole, err);
    if (ok) memcpy(repo->id, whole.id, sizeof repo->id);
    buf_fini(&id);
    json_free(d);
    return ok;
}

bool hub_push_own(hub *h, hub_repo *repo, gv_err *err) {
    if (strchr(repo->id, '/')) return true;
    buf url = {0};
    http_response r = {0};
    http *web = hub_web(h, repo->kind, err);
    buf_printf(&url, "%s/api/whoami-v2", h->endpoint);
    const bool ok = web && need_token(h, err) && http_send(web, &(http_request){.url = url.p, .token = h->token}, &r, err) &&
                    hub_check(h, repo, NULL, &r, err) && read_name(repo, buf_view(&r.body), err);
    http_response_fini(&r);
    buf_fini(&url);
    return ok || gv_context(err, "%s has no owner, and whose token it is cannot be told; give ORG/%s", repo->id, repo->id);
}

/* Can there be a branch of that name?  Others are refs of the Hub's own, and commits. */
static bool is_branch(const char *rev) {
    return strncmp(rev, "refs/", 5) != 0 && !hub_commit_check(sv_of(rev));
}

/* ---- what is there ---- */

/* The head of the branch and whether the repository is private. */
static bool read_info(push *p, sv json, bool *is_private, gv_err *err) {
    json_doc *d = json_parse(json, err);
    const json_value *flag = d ? json_get(json_root(d), "private") : NULL;
    *is_private = flag && json_kind_of(flag) == JSON_BOOL && json_bool(flag);
    const bool ok = d && hub_info_commit(json, p->head, err);
    json_free(d);
    return ok || gv_context(err, "%s %s", hub_kind_name(p->repo->kind), p->repo->id);
}

/* What is at rev.  Of a repository without it only that it is there. */
static bool ask_rev(push *p, const char *rev, hub_push_place *place, bool *is_private, gv_err *err) {
    buf below = {0}, url = {0};
    http_response r = {0};
    http *web = hub_web(p->h, p->repo->kind, err);
    buf_add_str(&below, "/revision/");
    http_url_escape(sv_of(rev), "", &below);
    hub_api_url(p->h, p->repo, below.p, &url);
    bool ok = web && http_send(web, &(http_request){.url = url.p, .token = hub_token_for(p->h, url.p)}, &r, err);
    *place = (hub_push_place){.repo = true, .branch = true};
    if (ok && (r.status == 404 || r.status == 401) && hub_error_is(&r, "RepoNotFound"))
        place->repo = place->branch = false;
    else if (ok && r.status == 404 && hub_error_is(&r, "RevisionNotFound") && is_branch(rev))
        place->branch = false;
    else
        ok = ok && hub_check(p->h, p->repo, NULL, &r, err) && read_info(p, buf_view(&r.body), is_private, err);
    http_response_fini(&r);
    buf_fini(&below);
    buf_fini(&url);
    return ok;
}

/* p->head: of the branch, or of main, from which the branch will be made. */
static bool ask_info(push *p, hub_push_place *place, bool *is_private, gv_err *err) {
    hub_push_place at_main;
    if (!ask_rev(p, p->repo->rev, place, is_private, err)) return false;
    if (!place->repo || place->branch) return true;
    return ask_rev(p, "main", &at_main, is_private, err) &&
           (at_main.branch || gv_fail(err, GV_STATE, -1, "%s %s has no branch main to make %s from", hub_kind_name(p->repo->kind),
                                      p->repo->id, p->repo->rev));
}

/* ---- making ---- */

static void put_creation(const push *p, buf *json) {
    const char *slash = strchr(p->repo->id, '/');
    buf_add_str(json, "{\"name\":");
    json_put_string(json, sv_of(slash ? slash + 1 : p->repo->id));
    if (slash) {
        buf_add_str(json, ",\"organization\":");
        json_put_string(json, (sv){p->repo->id, (size_t)(slash - p->repo->id)});
    }
    buf_printf(json, ",\"type\":\"%s\",\"private\":%s,\"visibility\":\"%s\"}", p->repo->kind == HUB_DATASET ? "dataset" : "model",
               p->o->make_private ? "true" : "false", p->o->make_private ? "private" : "public");
}

/* One try to make it; a reply that may be lost is no failure, the info behind it tells. */
static bool create_once(push *p, const char *url, sv body, gv_err *err) {
    http_response r = {0};
    bool ok = push_post(p, url, NULL, body, HTTP_RETRY_NEVER, &r, err);
    if (!ok && r.transient && err->code != GV_INTERRUPTED) { /* the reply may be lost, and it may be made */
        gv_err_clear(err);
        ok = true;
    } else if (ok && r.status != 409 && r.status != 429 && r.status < 500) { /* those: made by another, or about to be */
        ok = hub_check(p->h, p->repo, NULL, &r, err) || gv_context(err, "cannot make %s", p->repo->id);
    }
    http_response_fini(&r);
    return ok;
}

static bool make_repo(push *p, hub_push_place *place, bool *is_private, gv_err *err) {
    buf url = {0}, body = {0};
    buf_printf(&url, "%s/api/repos/create", p->h->endpoint);
    put_creation(p, &body);
    bool ok = true;
    for (int i = 1; ok && !place->repo; i++) {
        if (i > CREATE_TRIES)
            ok = gv_fail(err, GV_IO, -1, "cannot make %s %s: the Hub did not do it in %d tries", hub_kind_name(p->repo->kind), p->repo->id,
                         CREATE_TRIES);
        ok = ok && create_once(p, url.p, buf_view(&body), err);
        ok = ok && ask_info(p, place, is_private, err);
        if (ok && !place->repo) ok = http_pause(p->h->web, i, 0, err);
    }
    buf_fini(&url);
    buf_fini(&body);
    return ok;
}

/* From main, as the Python library does for a revision that is not there. */
static bool make_branch(push *p, hub_push_place *place, bool *is_private, gv_err *err) {
    buf below = {0}, url = {0};
    buf_add_str(&below, "/branch/");
    http_url_escape(sv_of(p->repo->rev), "", &below);
    hub_api_url(p->h, p->repo, below.p, &url);
    bool ok = true;
    for (int i = 1; ok && !place->branch; i++) {
        if (i > CREATE_TRIES)
            ok = gv_fail(err, GV_IO, -1, "cannot make branch %s of %s: the Hub did not do it in %d tries", p->repo->rev, p->repo->id,
                         CREATE_TRIES);
        ok = ok && (create_once(p, url.p, SV("{}"), err) || gv_context(err, "branch %s", p->repo->rev));
        ok = ok && ask_info(p, place, is_private, err);
        if (ok && !place->branch) ok = http_pause(p->h->web, i, 0, err);
    }
    buf_fini(&below);
    buf_fini(&url);
    return ok;
}

static bool check_visible(const push *p, bool is_private, gv_err *err) {
    if (!p->o->make_private || is_private) return true;
    return gv_fail(err, GV_STATE, -1, "%s %s is public; it was to be private, so nothing was pushed", hub_kind_name(p->repo->kind),
                   p->repo->id);
}

/* What can be known before anything is made. */
static bool look(push *p, hub_push_place *place, bool *is_private, gv_err *err) {
    if (!need_token(p->h, err) || !ask_info(p, place, is_private, err)) return false;
    if (place->repo) return check_visible(p, *is_private, err);
    return is_branch(p->repo->rev) || gv_fail(err, GV_USAGE, -1, "%s %s is not there, and a new one has no revision %s",
                                              hub_kind_name(p->repo->kind), p->repo->id, p->repo->rev);
}

bool push_open_repo(push *p, hub_push_result *out, gv_err *err) {
    hub_push_place place;
    bool is_private = false;
    if (!look(p, &place, &is_private, err)) return false;
    out->created = !place.repo;
    return (place.repo || make_repo(p, &place, &is_private, err)) && check_visible(p, is_private, err) &&
           (place.branch || make_branch(p, &place, &is_private, err));
}

bool hub_push_check(hub *h, const hub_repo *repo, bool make_private, hub_push_place *place, gv_err *err) {
    const hub_push_options o = {.make_private = make_private};
    push p = {.h = h, .repo = repo, .o = &o};
    bool is_private = false;
    return look(&p, place, &is_private, err);
}
