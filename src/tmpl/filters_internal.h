/* What the two filter files share: the signature of a filter and the ones over sequences. */
#ifndef GAVEL_TMPL_FILTERS_INTERNAL_H
#define GAVEL_TMPL_FILTERS_INTERNAL_H

#include "tmpl/tmpl_internal.h"

/* name is the filter's own (several share one function). */
typedef bool filter_fn(ev *e, const char *name, val in, const cargs *a, val *out);

filter_fn filter_first, filter_last, filter_reverse, filter_list, filter_items, filter_join, filter_map, filter_select, filter_sort,
    filter_dictsort, filter_unique, filter_minmax, filter_sum;

static inline bool arg_given(val v) {
    return v.kind != V_MISSING && v.kind != V_NONE;
}
static inline bool arg_true(val v) {
    return v.kind != V_MISSING && val_truthy(v);
}

#endif
