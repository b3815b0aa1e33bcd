/* Values of tables as JSON text where JSON has no such value: texts in quotes, ISO 8601 for dates and times, Base64 (RFC 4648) for bytes. */
#ifndef GAVEL_DATA_VALUE_TEXT_H
#define GAVEL_DATA_VALUE_TEXT_H

#include "base/json.h"

/* The shortest text that reads back; "NaN", "Infinity" and "-Infinity" in quotes. */
void value_put_float(buf *out, double d);
double value_half(uint16_t bits); /* IEEE 754 binary16 */
/* Days since 1970-01-01. */
void value_put_date(buf *out, int64_t days);
/* per_second: 1, 1000, 1000000, 1000000000.  False: no time of a day. */
bool value_put_time(buf *out, int64_t units, int64_t per_second);
/* Since 1970-01-01T00:00:00; an instant ends in Z. */
void value_put_timestamp(buf *out, int64_t units, int64_t per_second, bool utc);
/* A day and a time of it, as value_put_date and value_put_time. */
bool value_put_moment(buf *out, int64_t days, int64_t units, int64_t per_second, bool utc);
void value_put_base64(buf *out, const void *p, size_t n);
/* v / 10^scale, 0 <= scale <= 38. */
void value_put_decimal(buf *out, __int128 v, int scale);

#endif
