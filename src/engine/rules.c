/* See rules.h. */
#include "engine/rules.h"

size_t rules_find_stop(const sample_rules *r, sv text, size_t from, size_t *end) {
    size_t best = SIZE_MAX;
    for (int i = 0; i < r->n_stops; i++) {
        const sv stop = sv_of(r->stop[i]);
        const size_t at = sv_find(text, stop, from >= stop.n ? from + 1 - stop.n : 0);
        if (at == SIZE_MAX || at > best || (at == best && at + stop.n <= *end)) continue;
        best = at;
        *end = at + stop.n;
    }
    return best;
}

size_t rules_cut(const sample_rules *r, sv text, size_t from) {
    size_t end = 0;
    const size_t at = rules_find_stop(r, text, from, &end);
    return at == SIZE_MAX ? text.n : r->keep_stop ? end : at;
}
