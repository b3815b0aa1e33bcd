/* Bytes as text and back: Base64 of RFC 4648, with its padding. */
#ifndef GAVEL_BASE_BASE64_H
#define GAVEL_BASE_BASE64_H

#include "base/err.h"
#include "base/str.h"

void base64_encode(const void *p, size_t n, buf *out);
/* Padding may be absent.  False, with some bytes added, if text is none. */
bool base64_decode(sv text, buf *out) GV_MUST_USE;

#endif
