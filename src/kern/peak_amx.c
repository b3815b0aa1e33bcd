/* Peaks of set amx: products of full tiles (16 columns x 64 inputs x 16 rows); the rest as avx512. */
#include "kern/peak_internal.h"

#if defined(__x86_64__)

#include <immintrin.h>

enum { TILE_OPS = 2 * 16 * 64 * 16, ROUNDS = PEAK_ROUNDS / 16 };

static double int8_dot(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("" : : "m"(config) : "memory"); /* all of it is written before it is read */
    _tile_loadconfig(&config);
    for (int round = 0; round < ROUNDS; round++) { /* four sums, four products of two tiles each */
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
    return 4.0 * TILE_OPS * ROUNDS;
}

static double fma_chains(void) {
    return kern_peaks_avx512.fma();
}

static void read_bytes(const uint8_t *p, size_t n) {
    kern_peaks_avx512.read(p, n);
}

const kern_peaks kern_peaks_amx = {"tdpbssd", int8_dot, fma_chains, read_bytes};

#else
typedef int kern_peak_amx_is_not_built; /* ISO C wants a declaration in every file */
#endif
