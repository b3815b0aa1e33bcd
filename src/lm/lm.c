/* The seam's own functions: choose an engine by the model's name, then pass calls on. */
#include "lm/lm_internal.h"

lm *lm_open(const lm_options *o, gv_err *err) {
    if (!o->model) {
        gv_fail(err, GV_USAGE, -1, "no model given (--model FILE.gguf or FOLDER)");
        return NULL;
    }
#ifdef GAVEL_TESTING
    if (strcmp(o->model, "mock") == 0 || strncmp(o->model, "mock:", 5) == 0) return lm_mock_open(o, err);
#endif
    return lm_is_remote(o->model) ? lm_remote_open(o, err) : lm_local_open(o, err);
}

bool lm_render(lm *m, const lm_message *messages, size_t n, buf *out, gv_err *err) {
    return m->v->render(m, messages, n, out, err);
}
bool lm_submit(lm *m, const lm_request *r, gv_err *err) {
    return m->v->submit(m, r, err);
}
bool lm_poll(lm *m, const lm_result **results, size_t *n, gv_err *err) {
    return m->v->poll(m, results, n, err);
}
void lm_cancel(lm *m, uint64_t id) {
    m->v->cancel(m, id);
}
size_t lm_in_flight(const lm *m) {
    return m->v->in_flight(m);
}
const lm_caps *lm_get_caps(lm *m) {
    return m->v->caps(m, true);
}
const lm_caps *lm_peek_caps(lm *m) {
    return m->v->caps(m, false);
}
lm_stats lm_get_stats(const lm *m) {
    return m->v->stats(m);
}
void lm_free(lm *m) {
    if (m) m->v->free(m);
}
