/* The Hugging Face Hub: what lies there, and files of it in the cache that the Python client uses too.
 *
 * A hub is an endpoint, a token, a cache folder; hub_open reads what is not given from the variables of the Python client (hub_env.c).
 * One thread owns it; hub_fetch uses threads of its own inside.
 *
 * The cache (read and written so that both clients share it):
 *   models--ORG--NAME/refs/REV                 the commit that REV was last time, 40 hex digits
 *                     blobs/ETAG               content; ETAG is its sha256 (LFS) or git blob id, and is checked
 *                     blobs/ETAG.incomplete    what has come of it; resumed
 *                     snapshots/COMMIT/PATH    relative link to the blob
 *                     .no_exist/COMMIT/PATH    known not to be there
 *   .locks/models--ORG--NAME/ETAG.lock         flock(2) while ETAG is being written
 *
 * All that the server says is checked: ids, names (no way out of the snapshot), sizes, pages, digests. */
#ifndef GAVEL_HTTP_HUB_H
#define GAVEL_HTTP_HUB_H

#include "base/mem.h"
#include "http/http.h"

#include <signal.h>

typedef struct hub hub;

typedef enum hub_kind { HUB_MODEL, HUB_DATASET } hub_kind;
const char *hub_kind_name(hub_kind k); /* "model", "data set" */

/* Zero = from the environment. */
typedef struct hub_options {
    const char *endpoint; /* HF_ENDPOINT, or the public Hub */
    const char *token;    /* HF_TOKEN, HUGGING_FACE_HUB_TOKEN, file HF_TOKEN_PATH or $HF_HOME/token; "" = none */
    const char *cache;    /* HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, $HF_HOME/hub */
    bool offline;         /* also by HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, and for data sets HF_DATASETS_OFFLINE */
    int64_t retries;      /* after a failure that may pass; 5, none if negative */
    int64_t parallel;     /* files at a time; 4 */
    const volatile sig_atomic_t *stop;
} hub_options;
hub *hub_open(const hub_options *o, gv_err *err) GV_MUST_USE;
void hub_close(hub *h);
const char *hub_endpoint(const hub *h);
const char *hub_cache(const hub *h);
/* The token, if url is of the endpoint's origin; else NULL. */
const char *hub_token_for(const hub *h, const char *url);
bool hub_is_offline(const hub *h, hub_kind kind);

/* A repository at a revision. */
typedef struct hub_repo {
    hub_kind kind;
    char id[200];   /* ORG/NAME, or NAME of an old repository */
    char rev[256];  /* branch, tag, commit or refs/...; "main" */
    char quant[32]; /* "Q4_K_M" of ORG/NAME:Q4_K_M, or "" */
} hub_repo;
/* ORG/NAME[:QUANT][@REV]; QUANT for models only.  GV_USAGE says what is wrong with it. */
bool hub_repo_parse(hub_kind kind, const char *text, hub_repo *out, gv_err *err) GV_MUST_USE;
/* Does text look like ORG/NAME[:QUANT][@REV] and name no file or folder here? */
bool hub_is_ref(const char *text);

/* Is path a file name that stays inside its snapshot?  GV_FORMAT otherwise. */
bool hub_path_check(sv path, gv_err *err) GV_MUST_USE;
bool hub_commit_check(sv commit); /* 40 lower-case hex digits */

typedef struct hub_file {
    const char *path;
    uint64_t size;
    const char *etag;    /* sha256 (LFS) or git blob id of the content: the blob's name.  NULL if only a snapshot folder was looked at */
    const char *blob_id; /* git blob id: the same, or of the LFS pointer; NULL as above */
} hub_file;

/* The files of one commit, sorted by path.  Strings are the list's. */
typedef struct hub_list {
    char commit[41];
    hub_file *files;
    size_t n, cap;
    bool cached; /* made from the cache, where files may be missing that the repository has */
    arena a;
} hub_list;
void hub_list_fini(hub_list *l);
const hub_file *hub_list_find(const hub_list *l, const char *path);

/* The commit that repo.rev is now; 41 bytes.  A commit id is not asked for. */
bool hub_commit(hub *h, const hub_repo *repo, char commit[41], gv_err *err) GV_MUST_USE;
/* All files below folder ("" or NULL: all).  Offline, or if the Hub cannot be reached and the cache has the revision: what the cache has. */
bool hub_ls(hub *h, const hub_repo *repo, const char *folder, hub_list *out, gv_err *err) GV_MUST_USE;

typedef struct hub_progress {
    size_t files, files_done;
    uint64_t bytes, bytes_done; /* of these files; what was there before counts as done */
    uint64_t bytes_before;      /* was in the cache */
    int64_t elapsed_us;
    const char *what; /* a file that is coming, or the last that came */
    bool final;
} hub_progress;
typedef void hub_show(void *ctx, const hub_progress *p);

/* Is f whole in the cache? */
bool hub_has(const hub *h, const hub_repo *repo, const hub_file *f);
/* Puts the chosen files (indices into l->files; NULL: all) into the cache and links them into the snapshot; the folder of the snapshot to *folder (free it).
 * show is called from the calling thread, ten times a second at most, and once at the end.  NULL is fine. */
bool hub_fetch(hub *h, const hub_repo *repo, const hub_list *l, const size_t *chosen, size_t n, hub_show *show, void *ctx, char **folder,
               gv_err *err) GV_MUST_USE;
/* One file by name, without a listing; its place in the cache to *path (free it).  found false, and true returned, if the repository has no such file. */
bool hub_get(hub *h, const hub_repo *repo, const char *file, char **path, bool *found, gv_err *err) GV_MUST_USE;
/* The same with the content, at most cap bytes. */
bool hub_read(hub *h, const hub_repo *repo, const char *file, size_t cap, buf *out, bool *found, gv_err *err) GV_MUST_USE;

/* Parquet files that the Hub made of a data set. */
typedef struct hub_parquet_file {
    const char *config, *split, *url, *filename;
    uint64_t size;
} hub_parquet_file;

typedef struct hub_parquet {
    hub_parquet_file *files;
    size_t n;
    bool partial;      /* not the whole data set, or conversion pending or failed */
    char revision[41]; /* commit of the data set that was converted, "" if not told */
    arena a;
} hub_parquet;
void hub_parquet_fini(hub_parquet *p);
/* found false if there is no conversion (private or unsupported data set). */
bool hub_parquet_export(hub *h, const hub_repo *repo, hub_parquet *out, bool *found, gv_err *err) GV_MUST_USE;

/* Which files a command needs of a model repository. */
typedef enum hub_need { HUB_WEIGHTS, HUB_TOKENIZER, HUB_FOLDER } hub_need;
/* One of several quantisations: its name, its file or first part, the bytes of all parts. */
typedef struct hub_choice {
    sv quant;
    const char *path;
    uint64_t bytes;
} hub_choice;
/* Who chooses among them: the number to *which; false: nobody. */
typedef struct hub_chooser {
    bool (*ask)(void *ctx, const hub_repo *repo, const hub_choice *c, size_t n, size_t *which);
    void *ctx;
} hub_chooser;
/* Chooses: one quantisation of GGUF, or safetensors with configuration and tokenizer, or with HUB_TOKENIZER what tok_open reads, or with
 * HUB_FOLDER safetensors or nothing.  Indices to *chosen (free it).  *main is the file to open,
 * NULL if it is the folder.  If there are several quantisations and repo->quant does not say which, the chooser does; without one (NULL), or if it does not,
 * GV_USAGE lists them with their sizes. */
bool hub_pick_model(const hub_repo *repo, const hub_list *l, hub_need need, const hub_chooser *chooser, size_t **chosen, size_t *n,
                    const char **main, gv_err *err) GV_MUST_USE;
/* Does path match one of the patterns (fnmatch, * also matches /)? */
bool hub_glob_match(const char *const *globs, size_t n, const char *path);
/* Files whose path matches one of the patterns; all without patterns. */
bool hub_pick_globs(const hub_repo *repo, const hub_list *l, const char *const *globs, size_t n_globs, size_t **chosen, size_t *n,
                    gv_err *err) GV_MUST_USE;

/* A model by ORG/NAME[:QUANT][@REV] as a path to open (free it): pulled into the cache if it is not there. */
bool hub_model_path(hub *h, const char *ref, hub_need need, hub_show *show, void *ctx, char **path, gv_err *err) GV_MUST_USE;

#endif
