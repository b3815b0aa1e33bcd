/* Values of Parquet columns to JSON text and back; docs/data.md has the table.
 *
 * What JSON has is JSON: null, true, integers digit by digit, floats as the shortest text that reads back, text.  What it has not is a string:
 * "NaN", "Infinity", "-Infinity", ISO 8601 for dates and times, decimals with their digits, base64 (RFC 4648) for bytes.  Each way back reads
 * exactly what the other writes. */
#include "data/parquet_internal.h"

#include "base/base64.h"
#include "data/value_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { JULIAN_1970 = 2440588, SECONDS_A_DAY = 86400 };
static const int64_t per_second[] = {1000, 1000000, 1000000000};
static const int digits_of[] = {3, 6, 9};

size_t pq_value_bytes(const pq_leaf *l) {
    switch (l->physical) {
    case CARQUET_PHYSICAL_BOOLEAN: return 1;
    case CARQUET_PHYSICAL_INT32:
    case CARQUET_PHYSICAL_FLOAT: return 4;
    case CARQUET_PHYSICAL_INT96: return 12;
    case CARQUET_PHYSICAL_BYTE_ARRAY: return sizeof(carquet_byte_array_t);
    case CARQUET_PHYSICAL_FIXED_LEN_BYTE_ARRAY: return (size_t)l->width;
    default: return 8;
    }
}

/* ---- to text ---- */

static bool put_int96(buf *out, const uint8_t *p, const char **why) {
    int64_t ns;
    int32_t julian;
    memcpy(&ns, p, 8);
    memcpy(&julian, p + 8, 4);
    *why = "a time of day out of its range";
    return value_put_moment(out, (int64_t)julian - JULIAN_1970, ns, per_second[UNIT_NS], false);
}

/* Big-endian two's complement of at most 16 bytes. */
static bool decimal_of(const pq_leaf *l, const void *p, __int128 *out, const char **why) {
    int32_t i32;
    int64_t i64;
    const uint8_t *b = p;
    size_t n = (size_t)l->width;
    if (l->physical == CARQUET_PHYSICAL_INT32) return memcpy(&i32, p, 4), *out = i32, true;
    if (l->physical == CARQUET_PHYSICAL_INT64) return memcpy(&i64, p, 8), *out = i64, true;
    if (l->physical == CARQUET_PHYSICAL_BYTE_ARRAY) {
        const carquet_byte_array_t *a = p;
        b = a->data;
        n = (size_t)a->length;
    }
    if (n == 0 || n > 16) return *why = "a decimal of no or more than 16 bytes", false;
    unsigned __int128 v = b[0] & 0x80 ? ~(unsigned __int128)0 : 0;
    for (size_t i = 0; i < n; i++) v = v << 8 | b[i];
    *out = (__int128)v;
    return true;
}

static void put_uuid(buf *out, const uint8_t *p) {
    buf_add_char(out, '"');
    for (int i = 0; i < 16; i++) buf_printf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", p[i]);
    buf_add_char(out, '"');
}

static bool put_text(buf *out, const carquet_byte_array_t *a, const char **why) {
    const sv s = {(const char *)a->data, (size_t)a->length};
    if (utf8_invalid_at(s) != SIZE_MAX) return *why = "a text that is no UTF-8", false;
    json_put_string(out, s);
    return true;
}

static int64_t integer_of(const pq_leaf *l, const void *p) {
    int32_t i32;
    int64_t i64;
    if (l->physical != CARQUET_PHYSICAL_INT32) return memcpy(&i64, p, 8), i64;
    memcpy(&i32, p, 4);
    switch (l->type->kind) {
    case TYPE_INT8: return (int8_t)i32;
    case TYPE_INT16: return (int16_t)i32;
    case TYPE_UINT8: return (uint8_t)i32;
    case TYPE_UINT16: return (uint16_t)i32;
    case TYPE_UINT32: return (uint32_t)i32;
    default: return i32;
    }
}

bool pq_put_value(buf *out, const pq_leaf *l, const void *p, const char **why) {
    float f;
    double d;
    uint16_t h;
    __int128 decimal;
    const schema_type *t = l->type;
    if (l->special == PQ_INT96) return put_int96(out, p, why);
    switch (t->kind) {
    case TYPE_NULL: buf_add_str(out, "null"); return true;
    case TYPE_BOOL: buf_add_str(out, *(const uint8_t *)p ? "true" : "false"); return true;
    case TYPE_UINT64: buf_printf(out, "%llu", (unsigned long long)integer_of(l, p)); return true;
    case TYPE_FLOAT16: memcpy(&h, p, 2), value_put_float(out, value_half(h)); return true;
    case TYPE_FLOAT32: memcpy(&f, p, 4), value_put_float(out, (double)f); return true;
    case TYPE_FLOAT64: memcpy(&d, p, 8), value_put_float(out, d); return true;
    case TYPE_STRING:
        if (l->special == PQ_UUID) return put_uuid(out, p), true;
        return put_text(out, p, why);
    case TYPE_BINARY: {
        const carquet_byte_array_t *a = p;
        return value_put_base64(out, a->data, (size_t)a->length), true;
    }
    case TYPE_FIXED_BINARY: value_put_base64(out, p, (size_t)t->width); return true;
    case TYPE_DATE: value_put_date(out, integer_of(l, p)); return true;
    case TYPE_TIME: *why = "a time of day out of its range"; return value_put_time(out, integer_of(l, p), per_second[t->unit]);
    case TYPE_TIMESTAMP: value_put_timestamp(out, integer_of(l, p), per_second[t->unit], t->utc); return true;
    case TYPE_DECIMAL: return decimal_of(l, p, &decimal, why) && (value_put_decimal(out, decimal, t->scale), true);
    default: json_put_int(out, integer_of(l, p)); return true;
    }
}

/* ---- from text ---- */

/* n decimal digits at *at; false if there are fewer. */
static bool take_digits(sv s, size_t *at, size_t n, int64_t *out) {
    *out = 0;
    for (size_t i = 0; i < n; i++, ++*at) {
        if (*at >= s.n || s.p[*at] < '0' || s.p[*at] > '9') return false;
        *out = *out * 10 + (s.p[*at] - '0');
    }
    return true;
}

static bool take_char(sv s, size_t *at, char c) {
    return *at < s.n && s.p[*at] == c ? ++*at, true : false;
}

static bool take_date(sv s, size_t *at, int64_t *days) {
    static const int8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t y, m, d;
    const bool negative = take_char(s, at, '-');
    size_t n = 0;
    while (*at + n < s.n && s.p[*at + n] >= '0' && s.p[*at + n] <= '9') n++;
    if (n < 4 || n > 12 || !take_digits(s, at, n, &y) || !take_char(s, at, '-') || !take_digits(s, at, 2, &m) || !take_char(s, at, '-') ||
        !take_digits(s, at, 2, &d) || m < 1 || m > 12 || d < 1 || d > month_days[m - 1])
        return false;
    if (negative) y = -y;
    if (m == 2 && d == 29 && !(y % 4 == 0 && (y % 100 != 0 || y % 400 == 0))) return false;
    y -= m <= 2;
    const int64_t era = y / 400 - (y % 400 < 0), yoe = y - era * 400, doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    *days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
    return true;
}

static bool take_time(sv s, size_t *at, time_unit u, int64_t *units) {
    int64_t h, m, sec, frac = 0;
    if (!take_digits(s, at, 2, &h) || !take_char(s, at, ':') || !take_digits(s, at, 2, &m) || !take_char(s, at, ':') ||
        !take_digits(s, at, 2, &sec) || h > 23 || m > 59 || sec > 59)
        return false;
    if (take_char(s, at, '.')) {
        int n = 0;
        for (int64_t digit; n < 9 && take_digits(s, at, 1, &digit); n++) {
            if (n < digits_of[u])
                frac = frac * 10 + digit;
            else if (digit)
                return false; /* finer than the column's unit */
        }
        if (n == 0) return false;
        for (; n < digits_of[u]; n++) frac *= 10;
    }
    *units = (h * 3600 + m * 60 + sec) * per_second[u] + frac;
    return true;
}

static bool timestamp_of(sv s, const schema_type *t, int64_t *out) {
    size_t at = 0;
    int64_t days, units, a_day = SECONDS_A_DAY * per_second[t->unit];
    if (!take_date(s, &at, &days) || !(take_char(s, &at, 'T') || take_char(s, &at, ' ')) || !take_time(s, &at, t->unit, &units))
        return false;
    if (t->utc && !take_char(s, &at, 'Z')) return false;
    return at == s.n && !__builtin_mul_overflow(days, a_day, out) && !__builtin_add_overflow(*out, units, out);
}

static bool get_decimal(buf *out, sv s, const schema_type *t) {
    size_t at = 0;
    const bool negative = take_char(s, &at, '-');
    unsigned __int128 v = 0;
    int digits = 0, behind = -1;
    for (; at < s.n; at++) {
        if (s.p[at] == '.' && behind < 0) {
            behind = 0;
            continue;
        }
        if (s.p[at] < '0' || s.p[at] > '9' || (v && ++digits > 37)) return false;
        v = v * 10 + (unsigned)(s.p[at] - '0');
        if (behind >= 0) behind++;
    }
    if (s.n == 0 || behind > t->scale || (v && digits + 1 + t->scale - (behind < 0 ? 0 : behind) > 38)) return false;
    for (int i = behind < 0 ? 0 : behind; i < t->scale; i++) v *= 10;
    unsigned __int128 limit = 1;
    for (int i = 0; i < t->precision; i++) limit *= 10;
    if (v >= limit) return false;
    if (negative) v = -v;
    for (int i = 15; i >= 0; i--) buf_add_char(out, (char)(v >> (8 * i) & 255));
    return true;
}

static bool get_float(const json_value *v, double *out, const char **why) {
    *why = "a number is expected";
    if (json_kind_of(v) == JSON_STRING) {
        const sv s = json_string(v);
        if (sv_is(s, "NaN")) return *out = (double)NAN, true;
        if (sv_is(s, "Infinity")) return *out = (double)INFINITY, true;
        return sv_is(s, "-Infinity") ? *out = -(double)INFINITY, true : false;
    }
    if (json_kind_of(v) != JSON_NUMBER) return false;
    const sv text = json_number_text(v);
    *why = "a number that float64 does not hold";
    if (!json_double(v, out)) return false;
    const bool integer = !memchr(text.p, '.', text.n) && !memchr(text.p, 'e', text.n) && !memchr(text.p, 'E', text.n);
    int64_t i;
    *why = "an integer that float64 does not hold exactly";
    return !integer || (json_int64(v, &i) && (__int128)*out == i);
}

static bool get_integer(buf *out, const pq_leaf *l, const json_value *v, const char **why) {
    static const struct {
        int64_t low, high;
    } range[] = {{INT8_MIN, INT8_MAX}, {INT16_MIN, INT16_MAX}, {INT32_MIN, INT32_MAX}, {INT64_MIN, INT64_MAX},
                 {0, UINT8_MAX},       {0, UINT16_MAX},        {0, UINT32_MAX},        {0, INT64_MAX}};
    int64_t i;
    *why = "an integer is expected";
    if (json_kind_of(v) != JSON_NUMBER) return false;
    if (json_int64(v, &i)) {
        *why = "an integer out of the type's range";
        if (i < range[l->type->kind - TYPE_INT8].low || i > range[l->type->kind - TYPE_INT8].high) return false;
    } else {
        const sv text = json_number_text(v);
        uint64_t u = 0;
        for (size_t k = 0; k < text.n; k++) {
            if (text.p[k] < '0' || text.p[k] > '9') return false;
            if (__builtin_mul_overflow(u, 10, &u) || __builtin_add_overflow(u, (uint64_t)(text.p[k] - '0'), &u)) return false;
        }
        *why = "an integer out of the type's range";
        if (l->type->kind != TYPE_UINT64) return false;
        i = (int64_t)u;
    }
    buf_add(out, &i, l->physical == CARQUET_PHYSICAL_INT32 ? 4 : 8); /* little-endian, as the machine is */
    return true;
}

static uint16_t half_of(double d) {
    const uint16_t sign = signbit(d) ? 0x8000 : 0;
    const double a = fabs(d);
    if (isnan(d)) return 0x7e00;
    if (a >= 65520) return sign | 0x7c00;
    if (a < 6.103515625e-05) return (uint16_t)(sign | (int)nearbyint(ldexp(a, 24))); /* denormal; rounds up into the smallest normal */
    int e;
    const double m = frexp(a, &e); /* [0.5, 1) */
    return (uint16_t)(sign | (((e + 14) << 10) - 1024 + (int)nearbyint(ldexp(m, 11))));
}

static bool get_number(buf *out, const pq_leaf *l, const json_value *v, const char **why) {
    double d;
    if (!get_float(v, &d, why)) return false;
    const float f = (float)d;
    const uint16_t h = half_of(d);
    if (l->type->kind == TYPE_FLOAT64)
        buf_add(out, &d, 8);
    else if (l->type->kind == TYPE_FLOAT32)
        buf_add(out, &f, 4);
    else
        buf_add(out, &h, 2);
    return true;
}

static bool get_string(buf *out, const pq_leaf *l, sv s, const char **why) {
    const schema_type *t = l->type;
    const size_t before = out->n;
    size_t at = 0;
    int64_t v = 0;
    switch (t->kind) {
    case TYPE_STRING: buf_add_sv(out, s); return true;
    case TYPE_BINARY: *why = "base64 is expected"; return base64_decode(s, out);
    case TYPE_FIXED_BINARY:
        *why = "base64 of the type's width is expected";
        return base64_decode(s, out) && out->n - before == (size_t)t->width;
    case TYPE_DECIMAL: *why = "a decimal that fits the type is expected"; return get_decimal(out, s, t);
    case TYPE_DATE:
        *why = "a date like 2024-02-29 is expected";
        if (!take_date(s, &at, &v) || at != s.n || v != (int32_t)v) return false;
        break;
    case TYPE_TIME:
        *why = "a time like 13:45:00 is expected";
        if (!take_time(s, &at, t->unit, &v) || at != s.n) return false;
        break;
    default:
        *why = t->utc ? "a time like 2024-02-29T13:45:00Z is expected" : "a time like 2024-02-29T13:45:00 is expected";
        if (!timestamp_of(s, t, &v)) return false;
    }
    buf_add(out, &v, l->physical == CARQUET_PHYSICAL_INT32 ? 4 : 8);
    return true;
}

bool pq_get_value(buf *out, const pq_leaf *l, const json_value *v, const char **why) {
    const type_kind k = l->type->kind;
    if (k == TYPE_NULL) return *why = "null is expected", false;
    if (k == TYPE_BOOL) {
        *why = "true or false is expected";
        if (json_kind_of(v) != JSON_BOOL) return false;
        buf_add_char(out, json_bool(v));
        return true;
    }
    if (k >= TYPE_INT8 && k <= TYPE_UINT64) return get_integer(out, l, v, why);
    if (k >= TYPE_FLOAT16 && k <= TYPE_FLOAT64) return get_number(out, l, v, why);
    *why = "text is expected";
    return json_kind_of(v) == JSON_STRING && get_string(out, l, json_string(v), why);
}

/* NULL: it fits. */
static const char *misfit(const schema_type *t, const json_value *v, buf *scratch) {
    const pq_leaf leaf = {.type = t, .physical = CARQUET_PHYSICAL_INT64}; /* decides how many bytes an integer takes, and nothing else */
    const char *why = NULL;
    if (json_kind_of(v) == JSON_NULL) return NULL;
    if (t->kind != TYPE_LIST && t->kind != TYPE_STRUCT) {
        buf_clear(scratch);
        return pq_get_value(scratch, &leaf, v, &why) ? NULL : why;
    }
    for (json_iter it = json_each(v); !why && json_next(&it);) {
        const schema_type *below = t->kind == TYPE_LIST ? &t->fields[0].type : NULL;
        for (size_t i = 0; i < t->n_fields && !below; i++)
            if (sv_eq(t->fields[i].name, it.key)) below = &t->fields[i].type;
        if (below) why = misfit(below, it.value, scratch);
    }
    return why;
}

bool pq_value_check(const schema_type *t, const json_value *v, sv column, uint64_t row, gv_err *err) {
    buf scratch = {0}, type = {0};
    const char *why = misfit(t, v, &scratch);
    if (why) schema_put_arrow(&type, t, "element");
    if (why)
        gv_fail(err, GV_FORMAT, (int64_t)row, "column \"%s\": row %llu does not fit type " SV_FMT ": %s", str_show(column).text,
                (unsigned long long)row, SV_ARG(sv_sub(buf_view(&type), 0, 200)), why);
    buf_fini(&scratch);
    buf_fini(&type);
    return !why;
}
