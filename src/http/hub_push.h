/* Files into a repository of the Hugging Face Hub, in one commit.
 *
 * Large files go up first, by content (LFS): what the Hub has already is not sent again, so a push that was cut off goes on where it was.
 * Then one commit names all of them, on top of the head that was there when the push began; nobody sees a half pushed state.  A reply to the
 * commit that is lost is never answered by a second commit: the head is read, and if it has our files, that was our commit. */
#ifndef GAVEL_HTTP_HUB_PUSH_H
#define GAVEL_HTTP_HUB_PUSH_H

#include "http/hub.h"

enum { HUB_PUSH_MAX_FILES = 100000, HUB_PUSH_MAX_INLINE = 256 << 20 };

typedef struct hub_push_file {
    const char *path;  /* in the repository */
    const char *local; /* the file that goes there; it must not change meanwhile */
} hub_push_file;

typedef struct hub_push_options {
    const char *message;             /* of the commit; NULL: "Upload with gavel" */
    bool make_private;               /* a repository that has to be made is private; one that is there must be */
    const char *const *delete_globs; /* files of the repository that match one of these and are not pushed are deleted in the same commit */
    size_t n_delete_globs;
} hub_push_options;

typedef struct hub_push_result {
    char commit[41];        /* the head that has our files */
    size_t n_sent, n_there; /* files with new content, and those that the repository had */
    size_t n_deleted;
    bool created, unchanged; /* the repository was made; nothing was to be committed */
} hub_push_result;

/* NAME without an owner becomes USER/NAME of the token's user, whom the Hub is asked for; ORG/NAME stays. */
bool hub_push_own(hub *h, hub_repo *repo, gv_err *err) GV_MUST_USE;

/* What of a push's place is there. */
typedef struct hub_push_place {
    bool repo, branch;
} hub_push_place;

/* Could a push go there, as far as can be known without sending anything: a token, one that the Hub accepts, no public repository where a private one is
 * wanted, a revision that is a branch or can become one. */
bool hub_push_check(hub *h, const hub_repo *repo, bool make_private, hub_push_place *place, gv_err *err) GV_MUST_USE;

/* repo->rev is the branch; it is made from main if it is not there.  show as in hub_fetch, over bytes of large files.  GV_STATE: the repository is public though it should be private, or others commit
 * to it all the time. */
bool hub_push(hub *h, const hub_repo *repo, const hub_push_file *files, size_t n, const hub_push_options *o, hub_show *show, void *ctx,
              hub_push_result *out, gv_err *err) GV_MUST_USE;

#endif
