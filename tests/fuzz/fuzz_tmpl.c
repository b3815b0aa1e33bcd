/* Chat templates: compile and render, with small limits.  Input: template source, then optionally a line "%%%%" and the messages as JSON.
 * Checked besides memory errors: segments cover the text and alternate, a failure names its type and leaves no text, and a second
 * render gives the same bytes. */
#include "base/json.h"
#include "tmpl/tmpl.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void check_output(const tmpl_output *o, bool ok) {
    size_t pos = 0;
    for (size_t i = 0; i < o->n_seg; i++) {
        check(o->seg[i].offset == pos && o->seg[i].n > 0);
        check(i == 0 || o->seg[i].is_user != o->seg[i - 1].is_user);
        pos += o->seg[i].n;
    }
    if (ok) {
        check(pos == o->text.n && !o->error_type);
    } else {
        check(o->n_seg == 0 && o->text.n == 0 && o->error_type);
        check(utf8_invalid_at(buf_view(&o->error_text)) == SIZE_MAX);
    }
}

static void render_twice(const tmpl *t, const tmpl_input *in) {
    tmpl_output a = {0}, b = {0};
    gv_err err_a = GV_ERR_INIT, err_b = GV_ERR_INIT;
    bool ok = tmpl_render(t, in, &a, &err_a);
    check_output(&a, ok);
    check(ok == (err_a.code == GV_OK));
    check(tmpl_render(t, in, &b, &err_b) == ok);
    check(sv_eq(buf_view(&a.text), buf_view(&b.text)) && a.n_seg == b.n_seg && !strcmp(err_a.msg, err_b.msg));
    tmpl_output_fini(&a);
    tmpl_output_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const tmpl_message message[] = {
        {"system", {"Be <|im_end|> brief.", 20}}, {"user", {" h\xc3\xa9llo ", 8}}, {"assistant", {"ok", 2}}};
    sv all = {(const char *)data, size};
    size_t cut = sv_find(all, SV("\n%%%%\n"), 0);
    sv source = sv_sub(all, 0, cut);
    gv_err err = GV_ERR_INIT;
    tmpl *t = tmpl_compile(source, &err);
    check((t != NULL) == (err.code == GV_OK));
    if (!t) return 0;
    json_doc *d = NULL;
    if (cut != SIZE_MAX) {
        gv_err_clear(&err);
        d = json_parse(sv_sub(all, cut + 6, SIZE_MAX), &err);
    }
    struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5};
    tmpl_input in = {.json_messages = d ? json_root(d) : NULL,
                     .message = message,
                     .n_message = 3,
                     .add_generation_prompt = size & 1,
                     .bos_token = SV("<s>"),
                     .eos_token = SV("</s>"),
                     .now = &now,
                     .limits = {.max_steps = 100000, .max_output_bytes = 1 << 18, .max_memory_bytes = 1 << 24, .max_range = 5000}};
    render_twice(t, &in);
    json_free(d);
    tmpl_free(t);
    return 0;
}
