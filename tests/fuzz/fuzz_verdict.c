/* Verdict parsers on any bytes.  Input: '0' or '1' (mode), then the answer. */
#include <stdlib.h>

#include "base/mem.h"
#include "judge/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void check_verdict(const verdict *v, bool found, judge_mode mode, sv raw) {
    check(found == (v->result != 0) && found == (v->rule != NULL));
    if (!found) return;
    check(mode == JUDGE_ABSOLUTE ? v->result >= 1 && v->result <= 5 : v->result == 'A' || v->result == 'B');
    check(v->feedback.n <= raw.n && (v->feedback.n == 0 || (v->feedback.p >= raw.p && v->feedback.p + v->feedback.n <= raw.p + raw.n)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    judge_mode mode = data[0] & 1 ? JUDGE_RELATIVE : JUDGE_ABSOLUTE;
    /* a copy of exact size, so that a read past the end is seen; behind a pointer that is never NULL */
    char *copy = gv_xmalloc(size);
    memcpy(copy, data + 1, size - 1);
    copy[size - 1] = '5';
    sv raw = {copy, size - 1};
    verdict v[4];
    for (int p = PARSE_STRICT; p <= PARSE_CONSTRAINED; p++) {
        bool found = verdict_parse((verdict_parser)p, mode, raw, &v[p]);
        check_verdict(&v[p], found, mode, raw);
    }
    if (v[PARSE_STRICT].result)
        check(v[PARSE_ROBUST].result == v[PARSE_STRICT].result && v[PARSE_CONSTRAINED].result == v[PARSE_STRICT].result);
    verdict chosen;
    check_verdict(&chosen, verdict_from_choice(mode, raw, size / 2, data[0] % 7, false, &chosen), mode, raw);
    free(copy);
    return 0;
}
