/* gzip (RFC 1952, several members) and zstd (RFC 8878, several frames) as streams.  Refused: data that end early or break their checksum, bytes behind
 * the last member, zstd windows over 128 MiB, and more than UNPACK_RATIO times the packed bytes once that is over UNPACK_FREE_BYTES. */
#ifndef GAVEL_DATA_UNPACK_H
#define GAVEL_DATA_UNPACK_H

#include "base/err.h"
#include "base/str.h"

enum { UNPACK_RATIO = 256, UNPACK_FREE_BYTES = 256 << 20 };

typedef struct unpacker unpacker;

/* By the magic number that head begins with; *out NULL if it is neither.  name: borrowed, for messages. */
bool unpack_open(sv head, const char *name, unpacker **out, gv_err *err) GV_MUST_USE;
/* Takes packed bytes from the front of *in and puts n at most at out; *got is how many.  With *in empty and *got == n there may be more. */
bool unpack_some(unpacker *u, sv *in, char *out, size_t n, size_t *got, gv_err *err) GV_MUST_USE;
/* All packed bytes have been taken: is the last member whole? */
bool unpack_finish(const unpacker *u, gv_err *err) GV_MUST_USE;
void unpack_close(unpacker *u);

#endif
