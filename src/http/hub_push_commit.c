/* The commit of a push: NDJSON of a header, small files in base64, large ones by digest, deletions (API of the Hub, POST /commit/REV).
 *
 * It is not idempotent, and a 5xx or a broken connection may come after it was carried out.  So it is sent once, on top of a named parent; when the
 * outcome is not known the head is read: if it is still the parent, nothing happened and the commit is sent again; if it has our files, it
 * was ours; else somebody else committed, and ours goes on top of that, as 412 (the parent is not the head any more) asks for. */
#include "http/hub_push_internal.h"

#include "base/base64.h"
#include "base/file.h"
#include "base/log.h"

enum { TRIES = 6, MAX_SMALL = 32 << 20 };

static bool put_file(const push_file *f, buf *out, gv_err *err) {
    if (f->lfs) {
        buf_add_str(out, "{\"key\":\"lfsFile\",\"value\":{\"path\":");
        json_put_string(out, sv_of(f->path));
        buf_printf(out, ",\"algo\":\"sha256\",\"oid\":\"%s\",\"size\":%llu}}\n", f->sha256, (unsigned long long)f->size);
        return true;
    }
    buf content = {0};
    bool ok = file_read_all(f->local, MAX_SMALL, &content, err);
    if (ok && out->n + content.n / 3 * 4 > HUB_PUSH_MAX_INLINE)
        ok = gv_fail(err, GV_LIMIT, -1, "the small files of one commit are over the cap of %d MiB", HUB_PUSH_MAX_INLINE >> 20);
    buf_add_str(out, "{\"key\":\"file\",\"value\":{\"content\":\"");
    base64_encode(content.p, content.n, out);
    buf_add_str(out, "\",\"path\":");
    json_put_string(out, sv_of(f->path));
    buf_add_str(out, ",\"encoding\":\"base64\"}}\n");
    buf_fini(&content);
    return ok;
}

/* All lines but the header. */
static bool put_changes(const push *p, const hub_list *deleted, hub_push_result *out, buf *lines, gv_err *err) {
    for (size_t i = 0; i < p->n; i++) {
        if (p->files[i].there) {
            out->n_there++;
            continue;
        }
        out->n_sent++;
        if (!put_file(&p->files[i], lines, err)) return false;
    }
    out->n_deleted = deleted->n;
    for (size_t i = 0; i < deleted->n; i++) {
        buf_add_str(lines, "{\"key\":\"deletedFile\",\"value\":{\"path\":");
        json_put_string(lines, sv_of(deleted->files[i].path));
        buf_add_str(lines, "}}\n");
    }
    return true;
}

static bool read_commit(sv json, char commit[41], gv_err *err) {
    json_doc *d = json_parse(json, err);
    const sv oid = d ? push_text(json_root(d), "commitOid") : (sv){0};
    const bool ok = d && (hub_commit_check(oid) || gv_fail(err, GV_FORMAT, -1, "the reply has no commitOid"));
    if (ok) memcpy(commit, oid.p, 40);
    json_free(d);
    return ok || gv_context(err, "the commit was made, but the Hub's reply is not as expected");
}

/* Does the commit have all our files and none of the deleted ones? */
static bool is_ours(push *p, const char *commit, const hub_list *deleted, bool *ours, gv_err *err) {
    hub_repo at = *p->repo;
    hub_list l = {0};
    memcpy(at.rev, commit, 41);
    const bool ok = hub_ls(p->h, &at, NULL, &l, err);
    *ours = ok;
    for (size_t i = 0; ok && *ours && i < p->n; i++) {
        const push_file *f = &p->files[i];
        const hub_file *have = hub_list_find(&l, f->path);
        *ours = have && have->etag && strcmp(have->etag, f->lfs ? f->sha256 : f->git_id) == 0;
    }
    for (size_t i = 0; ok && *ours && i < deleted->n; i++) *ours = !hub_list_find(&l, deleted->files[i].path);
    hub_list_fini(&l);
    return ok;
}

typedef enum outcome { COMMITTED, NOT_COMMITTED, UNKNOWN, FAILED } outcome;

static outcome send_commit(push *p, sv lines, int64_t *wait_us, char commit[41], gv_err *err) {
    buf body = {0}, below = {0}, url = {0};
    http_response r = {0};
    buf_add_str(&body, "{\"key\":\"header\",\"value\":{\"summary\":");
    json_put_string(&body, sv_of(p->o->message ? p->o->message : "Upload with gavel"));
    buf_printf(&body, ",\"description\":\"\",\"parentCommit\":\"%s\"}}\n", p->head);
    buf_add_sv(&body, lines);
    buf_add_str(&below, "/commit/");
    http_url_escape(sv_of(p->repo->rev), "", &below);
    hub_api_url(p->h, p->repo, below.p, &url);
    outcome end;
    if (!push_post(p, url.p, "application/x-ndjson", buf_view(&body), HTTP_RETRY_NEVER, &r, err))
        end = r.transient && err->code != GV_INTERRUPTED ? UNKNOWN : FAILED;
    else if (hub_check(p->h, p->repo, NULL, &r, err))
        end = read_commit(buf_view(&r.body), commit, err) ? COMMITTED : FAILED;
    else
        end = r.status == 412 || r.status == 409 || r.status == 429 ? NOT_COMMITTED : r.status >= 500 ? UNKNOWN : FAILED;
    *wait_us = r.wait_us;
    http_response_fini(&r);
    buf_fini(&body);
    buf_fini(&below);
    buf_fini(&url);
    return end;
}

/* After a commit that may have been carried out, or was refused: the head now.  *done: it is ours. */
static bool look_at_head(push *p, const hub_list *deleted, char commit[41], bool *done, gv_err *err) {
    if (!hub_commit(p->h, p->repo, commit, err)) return false;
    *done = false;
    if (strcmp(commit, p->head) == 0) return true;
    if (!is_ours(p, commit, deleted, done, err)) return false;
    if (!*done) log_msg(LOG_WARN, "%s: %s was committed meanwhile; ours goes on top of it", p->repo->id, commit);
    memcpy(p->head, commit, 41);
    return true;
}

bool push_commit(push *p, const hub_list *deleted, hub_push_result *out, gv_err *err) {
    buf lines = {0};
    bool ok = put_changes(p, deleted, out, &lines, err), done = false;
    if (ok && lines.n == 0) {
        out->unchanged = done = true;
        memcpy(out->commit, p->head, 41);
    }
    for (int t = 1; ok && !done; t++) {
        gv_err why = GV_ERR_INIT;
        int64_t wait_us;
        const outcome end = send_commit(p, buf_view(&lines), &wait_us, out->commit, &why);
        if (end == COMMITTED) break;
        if (end == FAILED || t == TRIES) {
            ok = gv_fail(err, why.code, -1, "cannot commit to %s: %s", p->repo->id, why.msg);
            break;
        }
        log_msg(LOG_WARN, "%s: %s; looking whether the commit was made", p->repo->id, why.msg);
        ok = http_pause(p->h->web, t, wait_us, err) && look_at_head(p, deleted, out->commit, &done, err);
        if (!ok) gv_context(err, "the commit to %s may or may not have been made (%s); the same command finds out", p->repo->id, why.msg);
    }
    buf_fini(&lines);
    return ok;
}
