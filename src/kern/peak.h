/* Peaks: what a core can do at most with the instructions of a kernel set, for `gavel bench` to compare with.
 *
 * Each function does a fixed small piece of work on the calling thread, some tens of microseconds, and returns how much that was; the caller repeats
 * and times it, on all threads at once.  Nothing here is used to compute results. */
#ifndef GAVEL_KERN_PEAK_H
#define GAVEL_KERN_PEAK_H

#include "kern/kern.h"

typedef struct kern_peaks {
    const char *int8_name;    /* the instructions that a product's integer sums run on */
    double (*int8_dot)(void); /* operations: a multiplication and an addition are two */
    double (*fma)(void);      /* operations, f32 */
    /* Reads n bytes at p (64-byte aligned, n a multiple of KERN_PEAK_READ). */
    void (*read)(const uint8_t *p, size_t n);
} kern_peaks;

#define KERN_PEAK_READ 512

/* Of a set that kern_get gives. */
const kern_peaks *kern_peaks_of(kern_set set);

#endif
