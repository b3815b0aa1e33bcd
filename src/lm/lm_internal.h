/* What is behind the seam: each engine fills one lm_vtable. */
#ifndef GAVEL_LM_INTERNAL_H
#define GAVEL_LM_INTERNAL_H

#include "lm/lm.h"

typedef struct lm_vtable {
    bool (*render)(lm *m, const lm_message *messages, size_t n, buf *out, gv_err *err);
    bool (*submit)(lm *m, const lm_request *r, gv_err *err);
    bool (*poll)(lm *m, const lm_result **results, size_t *n, gv_err *err);
    void (*cancel)(lm *m, uint64_t id);
    size_t (*in_flight)(const lm *m);
    const lm_caps *(*caps)(lm *m, bool wait);
    lm_stats (*stats)(const lm *m);
    void (*free)(lm *m);
} lm_vtable;

/* Every lm begins with this. */
struct lm {
    const lm_vtable *v;
};

lm *lm_local_open(const lm_options *o, gv_err *err) GV_MUST_USE;
lm *lm_remote_open(const lm_options *o, gv_err *err) GV_MUST_USE;
#ifdef GAVEL_TESTING
lm *lm_mock_open(const lm_options *o, gv_err *err) GV_MUST_USE;
#endif

#endif
