/* See row_prompt.h. */
#include "judge/row_prompt.h"

static prompt_field field_of(const row *in, const row_column *c) {
    size_t n_header;
    if (rows_header(in->reader, &n_header)) return (prompt_field){NULL, json_string(c->value)};
    return (prompt_field){c->value, {0}};
}

static bool look_up(void *ctx, const char *column, prompt_field *out) {
    const row_column *c = row_get(ctx, column);
    if (c) *out = field_of(ctx, c);
    return c != NULL;
}

bool row_prompt(const prompt_spec *spec, const row *in, const char *rubric_col, const rubric *all, arena *a, prompt_text *out,
                gv_err *err) {
    prompt_values v = {0};
    rubric own;
    if (!prompt_values_read(spec, look_up, (void *)in, a, &v, err)) return false;
    if (rubric_col) {
        const row_column *c = row_need(in, rubric_col, err);
        if (!c) return false;
        const prompt_field f = field_of(in, c);
        if (!rubric_from_value(f.json, f.text, spec->style, a, &own, err)) return false;
        all = &own;
    }
    if (all) v.rubric = rubric_insert(all, spec->style, spec->mode);
    prompt_build(spec, &v, a, out);
    return true;
}
