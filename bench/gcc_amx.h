/* For building llama.cpp with GCC 12 on a CPU with AMX (script/bench includes it by -include).  That compiler's _tile_loadconfig says of the 64 bytes
 * that it reads only 8; the stores of the others are dropped as dead, and the first tile instruction ends the program with SIGILL.  This one says it
 * all. */
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
static inline void tile_loadconfig_64(const void *p) {
    __asm__ volatile("ldtilecfg\t%0" : : "m"(*(const char(*)[64])p));
}
#define _tile_loadconfig tile_loadconfig_64
#endif
