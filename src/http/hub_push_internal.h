/* What the parts of a push share: files and their digests (hub_push.c), the repository (hub_push_repo.c), large files (hub_push_lfs.c), the commit (hub_push_commit.c). */
#ifndef GAVEL_HTTP_HUB_PUSH_INTERNAL_H
#define GAVEL_HTTP_HUB_PUSH_INTERNAL_H

#include "base/json.h"
#include "http/hub_internal.h"
#include "http/hub_push.h"

enum { PUSH_SAMPLE = 512 };

typedef struct push_file {
    const char *path, *local;
    uint64_t size;
    int64_t changed_ns;          /* time of the last change, when it was read */
    char sha256[65], git_id[41]; /* of the content */
    uint8_t sample[PUSH_SAMPLE]; /* its first bytes */
    bool lfs;                    /* the Hub wants it as a large file */
    bool there;                  /* the repository has it with this content */
} push_file;

typedef struct push {
    hub *h;
    const hub_repo *repo;
    const hub_push_options *o;
    push_file *files;
    size_t n;
    char head[41]; /* the commit to build upon */
    hub_show *show;
    void *ctx;
    hub_progress progress;
    int64_t start_us, shown_us;
    uint64_t sending; /* bytes of earlier parts of the file being sent */
} push;

/* POST of JSON below the API's or another URL; the reply's status is the caller's to judge.  NULL content type: application/json. */
bool push_post(push *p, const char *url, const char *content_type, sv body, http_retry retry, http_response *r, gv_err *err) GV_MUST_USE;
/* Text of a string member, empty if it is none. */
sv push_text(const json_value *v, const char *key);
void push_show(push *p, bool final);

/* Finds the repository and the branch, or makes them; p->head is then its head. */
bool push_open_repo(push *p, hub_push_result *out, gv_err *err) GV_MUST_USE;
/* Sends every large file that the Hub does not have. */
bool push_lfs(push *p, gv_err *err) GV_MUST_USE;
/* Commits what is not there, and the deletions. */
bool push_commit(push *p, const hub_list *deleted, hub_push_result *out, gv_err *err) GV_MUST_USE;

#endif
