/* SHA-256 of mapped files on a thread of its own, beside other work: a model is hashed while its weights are packed.
 *
 * Reads front to back and gives the pages back as it goes, so that the resident set grows by DIGEST_WINDOW at most. */
#ifndef GAVEL_BASE_DIGEST_H
#define GAVEL_BASE_DIGEST_H

#include "base/file.h"

#define DIGEST_WINDOW ((size_t)4 << 20)

typedef struct digest_job digest_job;
/* The map must stay until digest_free.  Never fails: without a thread digest_wait does the work. */
digest_job *digest_start(const file_map *map);
/* Of several files, which are named: the digest of what sha256sum prints about them in this order, "HEX  NAME\n" for each.  Names and maps must
 * stay; the list is copied. */
typedef struct digest_file {
    const char *name;
    const file_map *map;
} digest_file;
digest_job *digest_start_list(const digest_file *files, size_t n);
/* Of the files' bytes, one after the other, as if they were one file; names are not looked at. */
digest_job *digest_start_joined(const digest_file *files, size_t n);
/* Waits for the result: 64 hex digits, the job's. */
const char *digest_wait(digest_job *j);
/* Ends it, finished or not; NULL is fine. */
void digest_free(digest_job *j);

#endif
