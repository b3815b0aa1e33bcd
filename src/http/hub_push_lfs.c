/* Large files of a push: the batch API of Git LFS, then a PUT of the whole file or of its parts to where the Hub says, then its verification.
 * Uploads are named by their content, so an upload that is there already is not asked for again, and a repeated one does no harm.  Where the
 * file goes is another host, and gets no token. */
#include "http/hub_push_internal.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define LFS_TYPE "application/vnd.git-lfs+json"

enum { BATCH_FILES = 100, TRIES = 3 /* of one file, each with fresh addresses */, MAX_PARTS = 10000 };

/* ---- where it goes ---- */

static bool batch(push *p, const size_t *which, size_t n, json_doc **reply, gv_err *err) {
    buf body = {0}, url = {0};
    http_response r = {0};
    buf_add_str(&body, "{\"operation\":\"upload\",\"transfers\":[\"basic\",\"multipart\"],\"hash_algo\":\"sha256\",\"ref\":{\"name\":");
    json_put_string(&body, sv_of(p->repo->rev));
    buf_add_str(&body, "},\"objects\":[");
    for (size_t i = 0; i < n; i++) {
        const push_file *f = &p->files[which[i]];
        buf_printf(&body, "%s{\"oid\":\"%s\",\"size\":%llu}", i ? "," : "", f->sha256, (unsigned long long)f->size);
    }
    buf_add_str(&body, "]}");
    buf_printf(&url, "%s/%s%s.git/info/lfs/objects/batch", p->h->endpoint, p->repo->kind == HUB_DATASET ? "datasets/" : "", p->repo->id);
    http *web = hub_web(p->h, p->repo->kind, err);
    bool ok = web &&
              http_send(web,
                        &(http_request){.method = "POST",
                                        .url = url.p,
                                        .token = hub_token_for(p->h, url.p),
                                        .headers = (const char *const[]){"Accept: " LFS_TYPE, NULL},
                                        .content_type = LFS_TYPE,
                                        .has_body = true,
                                        .body = buf_view(&body),
                                        .retry = HTTP_RETRY_ALWAYS,
                                        .follow = HTTP_FOLLOW_ORIGIN},
                        &r, err) &&
              hub_check(p->h, p->repo, NULL, &r, err);
    *reply = ok ? json_parse(buf_view(&r.body), err) : NULL;
    if (ok && !*reply) gv_context(err, "LFS batch of %s", p->repo->id);
    http_response_fini(&r);
    buf_fini(&body);
    buf_fini(&url);
    return *reply != NULL;
}

/* The object of a file in the reply; NULL with a message if it is missing or refused. */
static const json_value *object_of(const push_file *f, const json_value *root, gv_err *err) {
    const json_value *list = json_get(root, "objects");
    for (json_iter it = json_each(list); list && json_kind_of(list) == JSON_ARRAY && json_next(&it);) {
        if (!sv_is(push_text(it.value, "oid"), f->sha256)) continue;
        const json_value *refused = json_get(it.value, "error");
        if (!refused) return it.value;
        const sv words = push_text(refused, "message");
        gv_fail(err, GV_IO, -1, "%s: the Hub takes no upload of it: %s", f->path, str_show(words).text);
        return NULL;
    }
    gv_fail(err, GV_FORMAT, -1, "%s: the Hub's LFS reply does not mention it (sha256 %s)", f->path, f->sha256);
    return NULL;
}

/* ---- sending ---- */

static void bytes_sent(void *ctx, uint64_t n_bytes) {
    push *p = ctx;
    const uint64_t before = p->progress.bytes_done;
    p->progress.bytes_done = p->sending + n_bytes;
    if (p->progress.bytes_done != before) push_show(p, false);
}

/* PUT of size bytes of fd from `from` on.  etag: the header, NULL if it is not asked for. */
static bool put_part(push *p, const push_file *f, int fd, const char *url, uint64_t from, uint64_t size, buf *etag, int *status,
                     gv_err *err) {
    http_response r = {0};
    http *web = hub_web(p->h, p->repo->kind, err);
    *status = 0;
    bool ok = web && http_url_check(url, err) &&
              http_send(web,
                        &(http_request){.method = "PUT",
                                        .url = url,
                                        .token = NULL,
                                        .has_body = true,
                                        .fd = fd,
                                        .body_from = from,
                                        .body_bytes = size,
                                        .sent = bytes_sent,
                                        .ctx = p,
                                        .retry = HTTP_RETRY_SAFE,
                                        .follow = HTTP_FOLLOW_NONE},
                        &r, err);
    if (ok) *status = r.status;
    ok = ok && http_check(&r, err);
    if (ok && etag) {
        const sv tag = http_header(&r, "ETag");
        if (!tag.n) ok = gv_fail(err, GV_FORMAT, -1, "%s: the reply to a part has no ETag", f->path);
        buf_add_sv(etag, tag);
    }
    http_response_fini(&r);
    return ok;
}

static char *text_of(sv s) {
    char *t = gv_xcalloc(s.n + 1, 1);
    if (s.n) memcpy(t, s.p, s.n);
    return t;
}

/* Parts of chunk bytes to the addresses "1", "2", ... (zero-padded or not), then their completion at href. */
static bool put_parts(push *p, const push_file *f, int fd, const json_value *header, uint64_t chunk, const char *href, int *status,
                      gv_err *err) {
    const uint64_t n = (f->size + chunk - 1) / chunk;
    buf done = {0};
    bool ok = true;
    char **urls = gv_xcalloc(MAX_PARTS, sizeof *urls);
    uint64_t told = 0;
    if (n > MAX_PARTS)
        ok = gv_fail(err, GV_LIMIT, -1, "%s: %llu parts, more than the cap of %d", f->path, (unsigned long long)n, MAX_PARTS);
    for (json_iter it = json_each(header); ok && json_next(&it);) {
        uint64_t number = 0;
        for (size_t i = 0; i < it.key.n && number < MAX_PARTS + 1; i++)
            number = it.key.p[i] >= '0' && it.key.p[i] <= '9' ? number * 10 + (uint64_t)(it.key.p[i] - '0') : MAX_PARTS + 1;
        if (number < 1 || number > n || json_kind_of(it.value) != JSON_STRING || urls[number - 1]) continue;
        urls[number - 1] = text_of(json_string(it.value));
        told++;
    }
    if (ok && told != n)
        ok = gv_fail(err, GV_FORMAT, -1, "%s: the Hub gave addresses for %llu of %llu parts", f->path, (unsigned long long)told,
                     (unsigned long long)n);
    buf_printf(&done, "{\"oid\":\"%s\",\"parts\":[", f->sha256);
    const uint64_t before = p->sending;
    for (uint64_t i = 0; ok && i < n; i++) {
        buf etag = {0};
        const uint64_t size = f->size - i * chunk < chunk ? f->size - i * chunk : chunk;
        ok = put_part(p, f, fd, urls[i], i * chunk, size, &etag, status, err);
        buf_printf(&done, "%s{\"partNumber\":%llu,\"etag\":", i ? "," : "", (unsigned long long)i + 1);
        json_put_string(&done, buf_view(&etag));
        buf_add_char(&done, '}');
        buf_fini(&etag);
        p->sending += size;
    }
    p->sending = before;
    buf_add_str(&done, "]}");
    http_response r = {0};
    if (ok) ok = push_post(p, href, LFS_TYPE, buf_view(&done), HTTP_RETRY_ALWAYS, &r, err);
    if (ok) {
        *status = r.status;
        ok = http_check(&r, err);
    }
    http_response_fini(&r);
    for (int i = 0; i < MAX_PARTS; i++) free(urls[i]);
    free(urls);
    buf_fini(&done);
    return ok;
}

static bool verify(push *p, const push_file *f, const json_value *action, gv_err *err) {
    buf body = {0};
    http_response r = {0};
    char *href = text_of(push_text(action, "href"));
    buf_printf(&body, "{\"oid\":\"%s\",\"size\":%llu}", f->sha256, (unsigned long long)f->size);
    const bool ok =
        http_url_check(href, err) && push_post(p, href, NULL, buf_view(&body), HTTP_RETRY_ALWAYS, &r, err) && http_check(&r, err);
    http_response_fini(&r);
    free(href);
    buf_fini(&body);
    return ok || gv_context(err, "%s was sent, but the Hub does not confirm it", f->path);
}

/* Sends a file as its object says.  No actions: the Hub has it. */
static bool send_object(push *p, const push_file *f, const json_value *object, int *status, gv_err *err) {
    const json_value *actions = json_get(object, "actions"), *upload = actions ? json_get(actions, "upload") : NULL;
    if (!upload) return true;
    const json_value *header = json_get(upload, "header"), *chunk_size = header ? json_get(header, "chunk_size") : NULL,
                     *check = json_get(actions, "verify");
    const int fd = open(f->local, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return gv_fail_errno(err, "cannot open %s", f->local);
    char *href = text_of(push_text(upload, "href"));
    bool ok = http_url_check(href, err);
    if (ok && chunk_size) {
        char *digits = json_kind_of(chunk_size) == JSON_STRING ? text_of(json_string(chunk_size)) : text_of(json_number_text(chunk_size)),
             *end;
        const unsigned long long chunk = strtoull(digits, &end, 10);
        ok = chunk > 0 && !*end ? put_parts(p, f, fd, header, chunk, href, status, err)
                                : gv_fail(err, GV_FORMAT, -1, "%s: the Hub's chunk_size \"%s\" is no size", f->path, digits);
        free(digits);
    } else if (ok) {
        ok = put_part(p, f, fd, href, 0, f->size, NULL, status, err);
    }
    close(fd);
    free(href);
    return ok && (!check || verify(p, f, check, err));
}

/* Addresses expire: a file that was refused with 403, or came to nothing, gets new ones. */
static bool send_file(push *p, size_t i, const json_value *object, gv_err *err) {
    const push_file *f = &p->files[i];
    json_doc *fresh = NULL;
    int status;
    bool ok = false;
    p->progress.what = f->path;
    p->sending = p->progress.bytes_done;
    for (int t = 1; !ok; t++) {
        status = 0;
        ok = send_object(p, f, object, &status, err);
        p->progress.bytes_done = p->sending;
        json_free(fresh);
        fresh = NULL;
        if (ok || t == TRIES || err->code == GV_INTERRUPTED || (status && status != 403 && status < 500)) break;
        log_msg(LOG_WARN, "%s: %s; once more with a new address", f->path, err->msg);
        gv_err_clear(err);
        if (!batch(p, &i, 1, &fresh, err) || !(object = object_of(f, json_root(fresh), err))) break;
    }
    json_free(fresh);
    if (!ok) return gv_context(err, "%s", f->path);
    p->progress.bytes_done = p->sending + f->size;
    p->progress.files_done++;
    push_show(p, false);
    return true;
}

bool push_lfs(push *p, gv_err *err) {
    for (size_t at = 0; at < p->n;) {
        size_t which[BATCH_FILES], n = 0;
        json_doc *reply = NULL;
        for (; at < p->n && n < BATCH_FILES; at++)
            if (p->files[at].lfs && !p->files[at].there) which[n++] = at;
        bool ok = n == 0 || batch(p, which, n, &reply, err);
        for (size_t i = 0; ok && i < n; i++) {
            const json_value *object = object_of(&p->files[which[i]], json_root(reply), err);
            ok = object && send_file(p, which[i], object, err);
        }
        json_free(reply);
        if (!ok) return false;
    }
    return true;
}
