/* gzip (RFC 1952) and zstd (RFC 8878) streams into a file that is being written: one member, one frame, no name and no time in it, so that the
 * same bytes pack to the same bytes.  unpack.h is the way back. */
#ifndef GAVEL_DATA_PACK_H
#define GAVEL_DATA_PACK_H

#include "base/err.h"
#include "base/file.h"

typedef enum pack_kind { PACK_NONE, PACK_GZIP, PACK_ZSTD } pack_kind;

typedef struct packer packer;

/* kind is not PACK_NONE.  f: borrowed until pack_close. */
packer *pack_open(pack_kind kind, file_writer *f, gv_err *err) GV_MUST_USE;
bool pack_put(packer *p, const void *bytes, size_t n, gv_err *err) GV_MUST_USE;
/* Ends the stream; the file can then be committed. */
bool pack_finish(packer *p, gv_err *err) GV_MUST_USE;
void pack_close(packer *p);

#endif
