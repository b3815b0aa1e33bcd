/* Values as JSON text; see value_text.h. */
#include "data/value_text.h"

#include "base/base64.h"

#include <math.h>

enum { SECONDS_A_DAY = 86400 };

void value_put_float(buf *out, double d) {
    if (isnan(d))
        buf_add_str(out, "\"NaN\"");
    else if (isinf(d))
        buf_add_str(out, d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        json_put_double(out, d);
}

double value_half(uint16_t h) {
    const int e = h >> 10 & 31, m = h & 1023;
    const double sign = h & 0x8000 ? -1 : 1;
    if (e == 31) return m ? (double)NAN : sign * (double)INFINITY;
    return sign * (e ? ldexp(1024 + m, e - 25) : ldexp(m, -24));
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* The proleptic Gregorian calendar: http://howardhinnant.github.io/date_algorithms.html; in 128 bits, days may be any number. */
static void put_day(buf *out, int64_t days) {
    const __int128 z = (__int128)days + 719468, era = z / 146097 - (z % 146097 < 0);
    const int64_t doe = (int64_t)(z - era * 146097), yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153, d = doy - (153 * mp + 2) / 5 + 1;
    const int64_t m = mp < 10 ? mp + 3 : mp - 9, y = (int64_t)(yoe + era * 400 + (m <= 2));
    buf_printf(out, y < 0 ? "-%04lld-%02lld-%02lld" : "%04lld-%02lld-%02lld", (long long)(y < 0 ? -y : y), (long long)m, (long long)d);
}

void value_put_date(buf *out, int64_t days) {
    buf_add_char(out, '"');
    put_day(out, days);
    buf_add_char(out, '"');
}

static void put_clock(buf *out, int64_t units, int64_t per_second) {
    const int64_t s = units / per_second, rest = units % per_second;
    int digits = 0;
    for (int64_t n = per_second; n > 1; n /= 10) digits++;
    buf_printf(out, "%02lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60), (long long)(s % 60));
    if (rest) buf_printf(out, ".%0*lld", digits, (long long)rest);
}

bool value_put_time(buf *out, int64_t units, int64_t per_second) {
    if (units < 0 || units >= SECONDS_A_DAY * per_second) return false;
    buf_add_char(out, '"');
    put_clock(out, units, per_second);
    buf_add_char(out, '"');
    return true;
}

bool value_put_moment(buf *out, int64_t days, int64_t units, int64_t per_second, bool utc) {
    if (units < 0 || units >= SECONDS_A_DAY * per_second) return false;
    buf_add_char(out, '"');
    put_day(out, days);
    buf_add_char(out, 'T');
    put_clock(out, units, per_second);
    buf_add_str(out, utc ? "Z\"" : "\"");
    return true;
}

void value_put_timestamp(buf *out, int64_t v, int64_t per_second, bool utc) {
    const int64_t a_day = SECONDS_A_DAY * per_second, days = floor_div(v, a_day), rest = v % a_day;
    (void)value_put_moment(out, days, rest < 0 ? rest + a_day : rest, per_second, utc); /* rest lies within its day */
}

void value_put_base64(buf *out, const void *p, size_t n) {
    buf_add_char(out, '"');
    base64_encode(p, n, out);
    buf_add_char(out, '"');
}

void value_put_decimal(buf *out, __int128 v, int scale) {
    char text[64];
    size_t n = 0;
    unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
    for (int i = 0; u || i <= scale; i++, u /= 10) {
        if (i && i == scale) text[n++] = '.';
        text[n++] = (char)('0' + (int)(u % 10));
    }
    buf_add_str(out, v < 0 ? "\"-" : "\"");
    while (n) buf_add_char(out, text[--n]);
    buf_add_char(out, '"');
}
