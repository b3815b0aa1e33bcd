/* Base64; see base64.h. */
#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t n, buf *out) {
    const uint8_t *p = data;
    char *to = buf_reserve(out, (n + 2) / 3 * 4);
    for (size_t i = 0; i < n; i += 3) {
        const uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0u);
        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        *to++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digits[v & 63] : '=';
    }
    *to = 0;
    out->n += (n + 2) / 3 * 4;
}

bool base64_decode(sv s, buf *out) {
    while (s.n && s.p[s.n - 1] == '=') s.n--;
    uint32_t bits = 0;
    int n = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *at = s.p[i] ? strchr(digits, s.p[i]) : NULL;
        if (!at) return false;
        bits = bits << 6 | (uint32_t)(at - digits);
        n += 6;
        if (n >= 8) {
            n -= 8;
            buf_add_char(out, (char)(bits >> n & 255));
        }
    }
    return s.n % 4 != 1;
}
