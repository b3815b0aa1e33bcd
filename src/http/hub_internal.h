/* Inner parts of the Hub client: requests and their errors (hub_api.c), JSON (hub_json.c), the cache (hub_cache.c), one blob (hub_blob.c).
 * hub_push builds on the first three. */
#ifndef GAVEL_HTTP_HUB_INTERNAL_H
#define GAVEL_HTTP_HUB_INTERNAL_H

#include "http/hub.h"

#include <stdatomic.h>

#define HUB_SIZE_UNKNOWN UINT64_MAX

enum { HUB_MAX_FILES = 500000, HUB_MAX_PAGES = 10000, HUB_MAX_PATH = 1024 };

struct hub {
    char *endpoint, *token, *token_from, *cache, *ca_file;
    bool offline, offline_datasets;
    int64_t parallel, retries;
    const volatile sig_atomic_t *stop;
    http *web;  /* of the owning thread; NULL until it is needed */
    buf warned; /* the last X-HF-Warning */
};

/* ---- requests ---- */

/* The client of the owning thread; GV_STATE when offline. */
http *hub_web(hub *h, hub_kind kind, gv_err *err) GV_MUST_USE;
/* {endpoint}/api/{models|datasets}/ID + below, and {endpoint}/[datasets/]ID/resolve/REV/PATH. */
void hub_api_url(const hub *h, const hub_repo *repo, const char *below, buf *url);
void hub_resolve_url(const hub *h, const hub_repo *repo, const char *rev, const char *path, buf *url);
/* Sends q (token filled in) and makes a status that is no 2xx an error that says what to do.  file: which file it was about, NULL for none. */
bool hub_send(hub *h, const hub_repo *repo, const char *file, http_request *q, http_response *r, gv_err *err) GV_MUST_USE;
bool hub_check(const hub *h, const hub_repo *repo, const char *file, const http_response *r, gv_err *err) GV_MUST_USE;
bool hub_error_is(const http_response *r, const char *code); /* X-Error-Code */

/* ---- JSON ---- */

/* One page of a tree listing, added to l: files only; every path, size and id is checked. */
bool hub_tree_page(sv json, hub_list *l, gv_err *err) GV_MUST_USE;
/* Sorts by path; GV_FORMAT for a path that is there twice. */
bool hub_list_sort(hub_list *l, gv_err *err) GV_MUST_USE;
/* "sha" of repository info. */
bool hub_info_commit(sv json, char commit[41], gv_err *err) GV_MUST_USE;
/* trees/COMMIT.json of the Python client, version 1. */
bool hub_tree_cache_parse(sv json, hub_list *l, gv_err *err) GV_MUST_USE;
void hub_tree_cache_put(const hub_list *l, buf *json);
/* The answer of /parquet. */
bool hub_parquet_parse(sv json, hub_parquet *p, gv_err *err) GV_MUST_USE;
hub_file *hub_list_add(hub_list *l, sv path, uint64_t size, sv etag, sv blob_id);
bool hub_etag_check(sv etag); /* 40 or 64 lower-case hex digits */

/* ---- the cache ---- */

/* CACHE/models--ORG--NAME */
void hub_cache_repo(const hub *h, const hub_repo *repo, buf *path);
void hub_cache_blob(const hub *h, const hub_repo *repo, const char *etag, buf *path);
void hub_cache_snapshot(const hub *h, const hub_repo *repo, const char *commit, const char *file, buf *path); /* file NULL: the folder */
/* The commit that refs/REV holds (or REV itself); false without a message if the cache does not know it. */
bool hub_cache_commit(const hub *h, const hub_repo *repo, char commit[41]);
/* The same if there is a snapshot of it too. */
bool hub_cache_has(const hub *h, const hub_repo *repo, char commit[41]);
bool hub_cache_set_ref(const hub *h, const hub_repo *repo, const char *commit, gv_err *err) GV_MUST_USE;
/* What a snapshot folder holds; an empty list if there is none. */
bool hub_cache_walk(const hub *h, const hub_repo *repo, const char *commit, hub_list *l, gv_err *err) GV_MUST_USE;
/* True if the cache has the listing of the commit. */
bool hub_cache_tree(const hub *h, const hub_repo *repo, const char *commit, hub_list *l);
void hub_cache_set_tree(const hub *h, const hub_repo *repo, const hub_list *l); /* a failure costs a later listing only */
bool hub_cache_no_exist(const hub *h, const hub_repo *repo, const char *commit, const char *file);
void hub_cache_set_no_exist(const hub *h, const hub_repo *repo, const char *commit, const char *file);
/* Links snapshots/COMMIT/FILE to blobs/ETAG. */
bool hub_cache_link(const hub *h, const hub_repo *repo, const char *commit, const char *file, const char *etag, gv_err *err) GV_MUST_USE;
/* The folders above path. */
bool hub_make_folders(const char *path, gv_err *err) GV_MUST_USE;

/* ---- digests ---- */

/* Of content as the Hub names it: sha256 for 64 digits, SHA-1 of a git blob (whose size goes first) for 40. */
typedef struct hub_digest {
    bool git;
    sha256 s256;
    struct sha1 {
        uint32_t h[5];
        uint64_t n_bytes;
        uint8_t block[64];
    } s1;
} hub_digest;
void hub_digest_init(hub_digest *d, bool git, uint64_t size);
void hub_digest_add(hub_digest *d, const void *p, size_t n);
void hub_digest_hex(hub_digest *d, char out[65]); /* 40 or 64 digits and a NUL */

/* ---- one blob ---- */

/* Who downloads: threads of hub_fetch, or the owner in hub_get. */
typedef struct hub_getter {
    const hub *h;
    http *web;
    const hub_repo *repo;
    const char *commit;
    _Atomic int64_t *n_bytes; /* bytes of blobs that are there; falls when a download starts over */
} hub_getter;
/* Is the blob there, whole as far as its size tells? */
bool hub_blob_there(const hub *h, const hub_repo *repo, const hub_file *f);
/* Brings the blob of f into the cache, checked, and links it. */
bool hub_blob_get(const hub_getter *g, const hub_file *f, gv_err *err) GV_MUST_USE;

#endif
