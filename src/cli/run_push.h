/* Where `gavel run --repo-id` pushes its Distiset. */
#ifndef GAVEL_CLI_RUN_PUSH_H
#define GAVEL_CLI_RUN_PUSH_H

#include "http/hub_push.h"
#include "pipe/pipe.h"

typedef struct run_push {
    hub *h;
    hub_repo repo;
    bool make_private, json, quiet;
    const char *message;  /* of the commit, or NULL */
    hub_push_place place; /* what was there when the run began */
    char *readme;         /* its README.md in the cache, or NULL */
    gv_err err;           /* why it could not be read */
} run_push;

/* Before rows are judged for hours: the name (a bare one is the user's), the token, the repository. */
bool run_push_open(run_push *p, const char *repo_id, gv_err *err) GV_MUST_USE;
void run_push_close(run_push *p);

/* pipe_run_spec.readme; ctx: a run_push.  A failure is kept for run_push_send, so that the folder is written and only the push fails. */
const char *run_push_readme(void *ctx);

/* All files of the Distiset in one commit, which deletes shards of an earlier push of the same configs.  The exit code; a failure has been said. */
int run_push_send(run_push *p, const pipeline *pl, const char *dir);

/* Prints what a push would commit and delete, as far as the pipeline tells it; nothing is sent. */
int run_push_plan(run_push *p, const pipeline *pl);

#endif
