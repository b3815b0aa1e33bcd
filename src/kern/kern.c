/* The kernel table: which sets this build has, which this CPU and its operating system can run, and the floating-point mode around
 * kernel calls.
 *
 * Tables are composed once (pthread_once) from the product half and the vector half of each set and never change.  A set counts as usable
 * only if CPUID lists every extension its files are compiled with and XCR0 says that the system saves the registers.  Set neon has three
 * variants of its products; Linux's HWCAP says which of their instructions there are. */
#include "kern/kern_internal.h"

#include "base/err.h"

#include <pthread.h>
#include <stdio.h>

#if defined(__x86_64__)
#define KERN_X86 1
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xmmintrin.h>
#else
#define KERN_X86 0
#endif
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

typedef struct set_state {
    kern_ops ops;
    bool usable;
} set_state;

static set_state sets[KERN_SET_COUNT];
static char cpu_text[256];
static pthread_once_t sets_once = PTHREAD_ONCE_INIT;

static void set_fill(kern_set set, const char *name, const kern_product_ops *p, const kern_vector_ops *v) {
    sets[set].ops = (kern_ops){
        .name = name,
        .set = set,
        .quant32 = p->quant32,
        .quant256 = p->quant256,
        .product = p->product,
        .tile_put = p->tile_put,
        .rmsnorm = v->rmsnorm,
        .add = v->add,
        .scale_add = v->scale_add,
        .silu_mul = v->silu_mul,
        .rope = v->rope,
        .kv_put = v->kv_put,
        .attention = v->attention,
        .argmax = v->argmax,
    };
    sets[set].usable = true;
}

#if KERN_X86
typedef struct cpu_features {
    bool fma, avx2_set, avxvnni_set, avx512_set, amx_set;
} cpu_features;

static uint64_t read_xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool bit(uint32_t word, int n) {
    return word >> n & 1;
}

/* Linux hands out the 8 KiB of tile registers on request, to the whole process (kernel: Documentation/arch/x86/xstate.rst). */
static bool request_tiles(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* CPUID leaves 1 and 7 (Intel SDM vol. 2, CPUID); XCR0 bits: 1 SSE, 2 AVX, 5 opmask, 6 upper halves of zmm0-15, 7 zmm16-31,
 * 17 tile configuration, 18 tile data. */
static cpu_features detect_cpu(void) {
    cpu_features f = {false, false, false, false, false};
    uint32_t a, b, c, d, a7 = 0, b7 = 0, c7 = 0, d7 = 0, a71 = 0, b71, c71, d71;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
    if (!bit(c, 27)) return f; /* OSXSAVE */
    uint64_t xcr0 = read_xcr0();
    __get_cpuid_count(7, 0, &a7, &b7, &c7, &d7);
    if (a7 >= 1) __get_cpuid_count(7, 1, &a71, &b71, &c71, &d71);
    bool ymm = (xcr0 & 0x6) == 0x6, zmm = (xcr0 & 0xe6) == 0xe6;
    f.fma = ymm && bit(c, 28) && bit(c, 12);
    f.avx2_set = f.fma && bit(c, 29) && bit(b7, 5) && bit(b7, 8); /* F16C, AVX2, BMI2 */
    f.avxvnni_set = f.avx2_set && bit(a71, 4);
    f.avx512_set = f.avx2_set && zmm && bit(b7, 16) && bit(b7, 17) && bit(b7, 30) && bit(b7, 31) /* F, DQ, BW, VL */
                   && bit(c7, 11);                                                               /* VNNI */
    f.amx_set = f.avx512_set && (xcr0 >> 17 & 3) == 3 && bit(d7, 24) && bit(d7, 25) && request_tiles();
    return f;
}

static void cpu_brand(char *text, size_t n) {
    uint32_t r[13] = {0}, max;
    snprintf(text, n, "x86-64");
    if (!__get_cpuid(0x80000000u, &max, &r[1], &r[2], &r[3]) || max < 0x80000004u) return;
    for (uint32_t i = 0; i < 3; i++) __get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]);
    r[12] = 0;
    const char *brand = (const char *)r;
    while (*brand == ' ') brand++;
    if (*brand) snprintf(text, n, "%s", brand);
}
#endif

static const kern_ops *best_set(void) {
    static const kern_set order[] = {KERN_AMX, KERN_AVX512, KERN_AVXVNNI, KERN_AVX2, KERN_NEON};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (sets[order[i]].usable) return &sets[order[i]].ops;
    return &sets[KERN_REF].ops;
}

#if defined(__aarch64__)
/* Fills set neon with the products for this CPU and returns their name. */
static const char *neon_fill(void) {
    bool dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP, i8mm = dot && getauxval(AT_HWCAP2) & HWCAP2_I8MM;
    set_fill(KERN_NEON, "neon", i8mm ? &kern_product_neon_i8mm : dot ? &kern_product_neon_dot : &kern_product_neon, &kern_vector_neon);
    return i8mm ? " neon (i8mm)" : dot ? " neon (dotprod)" : " neon (without dotprod)";
}
#endif

static void sets_init(void) {
    char brand[64] = "CPU without special kernels";
    const char *neon = "";
    set_fill(KERN_REF, "ref", &kern_product_ref, &kern_vector_ref);
#if KERN_X86
    cpu_features f = detect_cpu();
    if (f.fma) set_fill(KERN_REF_FMA, "ref-fma", &kern_product_ref_fma, &kern_vector_ref_fma);
    if (f.avx2_set) set_fill(KERN_AVX2, "avx2", &kern_product_avx2, &kern_vector_avx2);
    if (f.avxvnni_set) set_fill(KERN_AVXVNNI, "avxvnni", &kern_product_avxvnni, &kern_vector_avx2);
    if (f.avx512_set) set_fill(KERN_AVX512, "avx512", &kern_product_avx512, &kern_vector_avx512);
    if (f.amx_set) set_fill(KERN_AMX, "amx", &kern_product_amx, &kern_vector_avx512);
    cpu_brand(brand, sizeof brand);
#elif defined(__aarch64__)
    neon = neon_fill();
    snprintf(brand, sizeof brand, "AArch64");
#endif
    snprintf(cpu_text, sizeof cpu_text, "%s; kernel sets: ref%s%s%s%s%s; used: %s", brand, sets[KERN_AVX2].usable ? " avx2" : "",
             sets[KERN_AVXVNNI].usable ? " avxvnni" : "", sets[KERN_AVX512].usable ? " avx512 (VNNI)" : "",
             sets[KERN_AMX].usable ? " amx" : "", neon, best_set()->name);
}

const kern_ops *kern_get(kern_set set) {
    pthread_once(&sets_once, sets_init);
    return (unsigned)set < KERN_SET_COUNT && sets[set].usable ? &sets[set].ops : NULL;
}

const kern_ops *kern_best(void) {
    pthread_once(&sets_once, sets_init);
    return best_set();
}

int kern_tile_cols(const kern_ops *ops, int n) {
    enum { FEWEST = 8 }; /* below, tiles are mostly unpacking of weights */
    if (!ops->tile_put || n < FEWEST) return 0;
    const int n_tiles = (n + KERN_TILE_COLS - 1) / KERN_TILE_COLS; /* equal tiles: their cost goes with their columns */
    return (n + n_tiles - 1) / n_tiles;
}

const kern_ops *kern_by_name(const char *name, gv_err *err) {
    static const struct {
        const char *name;
        kern_set set;
    } names[] = {{"ref", KERN_REF},       {"avx2", KERN_AVX2}, {"avxvnni", KERN_AVXVNNI},
                 {"avx512", KERN_AVX512}, {"amx", KERN_AMX},   {"neon", KERN_NEON}};
    char have[64] = "";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const kern_ops *ops = kern_get(names[i].set);
        if (ops && strcmp(name, names[i].name) == 0) return ops;
        size_t used = strlen(have);
        if (ops) snprintf(have + used, sizeof have - used, "%s%s", used ? ", " : "", names[i].name);
    }
    gv_fail(err, GV_USAGE, -1, "kernel set '%s' is not one this machine has: %s", name, have);
    return NULL;
}

void kern_describe_cpu(char *text, size_t n) {
    pthread_once(&sets_once, sets_init);
    snprintf(text, n, "%s", cpu_text);
}

/* x86: MXCSR 0x1f80 is all exceptions masked, round to nearest, FTZ and DAZ off.  AArch64: FPCR 0 is round to nearest, no flushing. */
uint32_t kern_fp_enter(void) {
#if KERN_X86
    uint32_t saved = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return saved;
#elif defined(__aarch64__)
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return (uint32_t)saved;
#else
    return 0;
#endif
}

void kern_fp_leave(uint32_t saved) {
#if KERN_X86
    _mm_setcsr(saved);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)saved));
#else
    (void)saved;
#endif
}
