/* The folder of a Distiset: where it is made, what it may hold, how it takes its place. */
#ifndef GAVEL_PIPE_DISTISET_INTERNAL_H
#define GAVEL_PIPE_DISTISET_INTERNAL_H

#include "pipe/distiset.h"

#define DISTISET_CARD     "README.md"
#define DISTISET_PIPELINE "pipeline.yaml"
#define DISTISET_LOG      "pipeline.log"

/* path: the folder asked for, links resolved; staging: where it is made.  staging is locked with flock(2) while its writer lives. */
typedef struct dir_swap {
    char *path, *staging;
    int lock;
} dir_swap;

/* Refuses what must not be replaced, removes what killed writers left, makes the staging folder. */
bool dir_swap_open(dir_swap *d, const char *path, gv_err *err) GV_MUST_USE;
/* Puts the staging folder in place of path. */
bool dir_swap_commit(dir_swap *d, gv_err *err) GV_MUST_USE;
/* Removes the staging folder, if it is still there, and frees. */
void dir_swap_fini(dir_swap *d);

/* [A-Za-z0-9_-]+, DISTISET_MAX_CONFIG_BYTES at most. */
bool distiset_is_config_name(sv name);

#endif
