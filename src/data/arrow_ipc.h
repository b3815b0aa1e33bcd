/* Arrow IPC: the stream format (schema, then record batches) and the file format around it, as Dataset.save_to_disk writes it.  Every offset, length
 * and count of the file is checked before use.  Read: null, bool, integers, floats, text, binary (as Base64), lists, structs, dates, times,
 * timestamps, decimals; else GV_UNSUPPORTED naming the column's type.  Uncompressed buffers only.  A reader belongs to one thread. */
#ifndef GAVEL_DATA_ARROW_IPC_H
#define GAVEL_DATA_ARROW_IPC_H

#include "base/err.h"
#include "base/str.h"

typedef struct arrow_reader arrow_reader;

/* name is shown in messages; NULL: the path.  GV_FORMAT, GV_UNSUPPORTED, GV_IO, GV_LIMIT. */
arrow_reader *arrow_open(const char *path, const char *name, gv_err *err) GV_MUST_USE;
/* The same over borrowed bytes. */
arrow_reader *arrow_open_memory(const void *p, size_t n, const char *name, gv_err *err) GV_MUST_USE;
void arrow_close(arrow_reader *r);
/* Names of the columns, in order. */
const sv *arrow_columns(const arrow_reader *r, size_t *n);
/* The next row as a JSON object in out, or *end. */
bool arrow_next(arrow_reader *r, buf *out, bool *end, gv_err *err) GV_MUST_USE;
/* Passes over n rows without making them; *skipped is less at the end. */
bool arrow_skip(arrow_reader *r, uint64_t n, uint64_t *skipped, gv_err *err) GV_MUST_USE;

#endif
