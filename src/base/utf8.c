/* See str.h: UTF-8 as RFC 3629 and the Unicode Standard's table 3-7 (well-formed byte sequences) define it.
 *
 * One function, scan, decides everything: it returns the length of the well-formed character at p, or minus the length of the maximal
 * malformed part there (Unicode's "maximal subpart": the longest start of a well-formed sequence, at least one byte), which is what
 * Python, WHATWG and ICU replace by one U+FFFD. */
#include "base/str.h"

/* n >= 1 bytes at p. */
static int scan(const unsigned char *p, size_t n) {
    unsigned char c = p[0];
    if (c < 0x80) return 1;
    unsigned lo = 0x80, hi = 0xBF;
    int len;
    if (c >= 0xC2 && c <= 0xDF) {
        len = 2;
    } else if (c >= 0xE0 && c <= 0xEF) {
        len = 3;
        if (c == 0xE0) lo = 0xA0; /* overlong */
        if (c == 0xED) hi = 0x9F; /* surrogates */
    } else if (c >= 0xF0 && c <= 0xF4) {
        len = 4;
        if (c == 0xF0) lo = 0x90; /* overlong */
        if (c == 0xF4) hi = 0x8F; /* above U+10FFFF */
    } else {
        return -1;
    }
    for (int i = 1; i < len; i++) {
        if ((size_t)i >= n || p[i] < lo || p[i] > hi) return -i;
        lo = 0x80;
        hi = 0xBF;
    }
    return len;
}

int32_t utf8_next(sv s, size_t *pos) {
    const unsigned char *p = (const unsigned char *)s.p + *pos;
    int len = scan(p, s.n - *pos);
    if (len < 0) {
        *pos += 1;
        return -1;
    }
    *pos += (size_t)len;
    switch (len) {
    case 1: return p[0];
    case 2: return (p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    case 3: return (p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    default: return (p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 | (p[3] & 0x3F);
    }
}

size_t utf8_put(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        if (c >= 0xD800 && c <= 0xDFFF) return 0;
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    if (c > 0x10FFFF) return 0;
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* First byte at or after pos that is not ASCII, or n. */
static size_t skip_ascii(const unsigned char *p, size_t pos, size_t n) {
    while (n - pos >= 8) {
        uint64_t w;
        memcpy(&w, p + pos, 8);
        if (w & 0x8080808080808080u) break;
        pos += 8;
    }
    while (pos < n && p[pos] < 0x80) pos++;
    return pos;
}

/* First malformed byte at or after pos, or n. */
static size_t skip_valid(const unsigned char *p, size_t pos, size_t n) {
    while ((pos = skip_ascii(p, pos, n)) < n) {
        int len = scan(p + pos, n - pos);
        if (len < 0) break;
        pos += (size_t)len;
    }
    return pos;
}

size_t utf8_invalid_at(sv s) {
    if (s.n == 0) return SIZE_MAX;
    size_t pos = skip_valid((const unsigned char *)s.p, 0, s.n);
    return pos == s.n ? SIZE_MAX : pos;
}

void utf8_replace(sv s, buf *out) {
    const unsigned char *p = (const unsigned char *)s.p;
    size_t pos = 0;
    while (pos < s.n) {
        size_t end = skip_valid(p, pos, s.n);
        buf_add(out, s.p + pos, end - pos);
        pos = end;
        if (pos < s.n) {
            buf_add(out, "\xEF\xBF\xBD", 3);
            pos += (size_t)-scan(p + pos, s.n - pos);
        }
    }
}

/* ---- text of strangers ---- */

/* True for code points that may reach a terminal as they are: no C0 or C1 controls, no direction overrides. */
static bool printable(int32_t c) {
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
    return !(c >= 0x200e && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

void str_escape(sv s, size_t max_bytes, buf *out) {
    size_t pos = 0;
    while (pos < s.n && pos < max_bytes) {
        size_t from = pos;
        int32_t c = utf8_next(s, &pos);
        if (c == '\n')
            buf_add_str(out, "\\n");
        else if (c == '\t')
            buf_add_str(out, "\\t");
        else if (c == '\r')
            buf_add_str(out, "\\r");
        else if (c >= 0 && printable(c))
            buf_add(out, s.p + from, pos - from);
        else
            for (size_t i = from; i < pos; i++) buf_printf(out, "\\x%02x", (unsigned)(uint8_t)s.p[i]);
    }
    if (pos < s.n) buf_add_str(out, "...");
}

str_shown str_show(sv name) {
    str_shown shown = {{0}};
    buf b = {0};
    str_escape(name, 80, &b);
    size_t n = b.n < sizeof shown.text - 1 ? b.n : sizeof shown.text - 1;
    while (n < b.n && n > 0 && ((uint8_t)b.p[n] & 0xc0) == 0x80) n--; /* cut between characters */
    if (n) memcpy(shown.text, b.p, n);
    buf_fini(&b);
    return shown;
}
