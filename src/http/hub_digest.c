/* The two digests by which the Hub names content.  SHA-1 (FIPS 180-4) is here for git's blob ids only: it protects against accidents, as git does. */
#include "http/hub_internal.h"

#include <stdio.h>

static uint32_t rotl(uint32_t v, int n) {
    return v << n | v >> (32 - n);
}

static void sha1_block(struct sha1 *s, const uint8_t *p) {
    uint32_t w[80], a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3], e = s->h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5a827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ed9eba1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8f1bbcdc;
        } else {
            f = b ^ c ^ d;
            k = 0xca62c1d6;
        }
        const uint32_t t = rotl(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotl(b, 30);
        b = a;
        a = t;
    }
    s->h[0] += a;
    s->h[1] += b;
    s->h[2] += c;
    s->h[3] += d;
    s->h[4] += e;
}

static void sha1_init(struct sha1 *s) {
    *s = (struct sha1){.h = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}};
}

static void sha1_add(struct sha1 *s, const void *data, size_t n) {
    const uint8_t *p = data;
    size_t filled = s->n_bytes % 64;
    s->n_bytes += n;
    while (n) {
        const size_t take = 64 - filled < n ? 64 - filled : n;
        if (take == 64) {
            sha1_block(s, p);
        } else {
            memcpy(s->block + filled, p, take);
            if (filled + take == 64) sha1_block(s, s->block);
        }
        filled = (filled + take) % 64;
        p += take;
        n -= take;
    }
}

static void sha1_hex(struct sha1 *s, char out[41]) {
    static const char digits[] = "0123456789abcdef";
    const uint64_t bits = s->n_bytes * 8;
    const uint8_t one = 0x80, zero = 0;
    uint8_t length[8];
    sha1_add(s, &one, 1);
    while (s->n_bytes % 64 != 56) sha1_add(s, &zero, 1);
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha1_add(s, length, 8);
    for (int i = 0; i < 40; i++) out[i] = digits[s->h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    out[40] = 0;
}

void hub_digest_init(hub_digest *d, bool git, uint64_t size) {
    d->git = git;
    if (git) {
        char head[40];
        const int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
        sha1_init(&d->s1);
        sha1_add(&d->s1, head, (size_t)n + 1); /* its NUL too */
    } else {
        sha256_init(&d->s256);
    }
}

void hub_digest_add(hub_digest *d, const void *p, size_t n) {
    if (d->git)
        sha1_add(&d->s1, p, n);
    else
        sha256_add(&d->s256, p, n);
}

void hub_digest_hex(hub_digest *d, char out[65]) {
    if (d->git)
        sha1_hex(&d->s1, out);
    else
        sha256_hex(&d->s256, out);
}
