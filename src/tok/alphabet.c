/* GPT-2's byte alphabet: how a byte-level vocabulary writes bytes as printable characters.
 *
 * Bytes 21-7E, A1-AC and AE-FF stand for the character of the same number; the other 68 bytes are numbered in order from U+0100
 * (bytes_to_unicode of the GPT-2 release). */
#include "tok/tok_internal.h"

static bool stands_for_itself(unsigned b) {
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

uint32_t tok_alphabet_char(uint8_t b) {
    if (stands_for_itself(b)) return b;
    if (b <= 0x20) return 0x100u + b;
    if (b <= 0xa0) return 0x100u + 33 + (b - 0x7fu);
    return 0x100 + 67; /* AD */
}

/* The byte of character c, or -1. */
static int alphabet_byte(uint32_t c) {
    if (c < 256) return stands_for_itself(c) ? (int)c : -1;
    if (c <= 0x120) return (int)(c - 0x100);
    if (c <= 0x142) return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

bool tok_alphabet_bytes(sv name, char *out, size_t *n) {
    *n = 0;
    for (size_t i = 0; i < name.n;) {
        int32_t c = utf8_next(name, &i);
        int b = c < 0 ? -1 : alphabet_byte((uint32_t)c);
        if (b < 0) return false;
        out[(*n)++] = (char)b;
    }
    return true;
}
