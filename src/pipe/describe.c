/* A pipeline as text, for `gavel info`: what `distilabel pipeline info` shows, without the boxes. */
#include "pipe/pipe_internal.h"

static void put_value(const json_value *v, buf *out) {
    buf text = {0};
    pipe_put_value(v, &text);
    str_escape(buf_view(&text), 100, out);
    buf_fini(&text);
}

/* Parameters that the class has and the file sets, nested ones by their dotted names. */
static void put_params(const json_value *object, const pipe_param *params, const char *prefix, buf *out) {
    for (; params->name; params++) {
        const json_value *v = pipe_arg(object, params->name);
        if (!v || params->type == ARG_RESOURCES || params->type == ARG_LLM || strcmp(params->name, "rubrics") == 0) continue;
        if ((json_kind_of(v) == JSON_OBJECT || json_kind_of(v) == JSON_ARRAY) && json_size(v) == 0) continue;
        if (json_kind_of(v) == JSON_OBJECT) {
            for (json_iter it = json_each(v); json_next(&it);) {
                buf_printf(out, "  %s%s.%s = ", prefix, params->name, str_show(it.key).text);
                put_value(it.value, out);
                buf_add_char(out, '\n');
            }
            continue;
        }
        buf_printf(out, "  %s%s = ", prefix, params->name);
        put_value(v, out);
        buf_add_char(out, '\n');
    }
}

void pipe_describe(const pipeline *p, buf *out) {
    buf_printf(out, "pipeline %s", str_show(sv_of(p->name)).text);
    if (*p->version) buf_printf(out, " (distilabel %s)", str_show(sv_of(p->version)).text);
    buf_add_char(out, '\n');
    if (*p->description) {
        str_escape(sv_of(p->description), 1000, out);
        buf_add_char(out, '\n');
    }
    for (size_t i = 0; i < p->n_steps; i++) {
        const pipe_step *s = &p->steps[p->order[i]];
        const json_value *llm = pipe_arg(s->json, "llm");
        const pipe_class *c = pipe_class_find(sv_of(s->class_name));
        const pipe_llm_class *l = llm ? pipe_llm_class_find(pipe_type_name(llm)) : NULL;
        buf_printf(out, "\n%s: %s", s->name, s->class_name);
        if (llm) buf_printf(out, ", %s", str_show(pipe_type_name(llm)).text);
        buf_add_char(out, '\n');
        put_params(s->json, c->params, "", out);
        if (l) put_params(llm, l->params, "llm.", out);
        for (size_t k = 0; k < s->n_after; k++) buf_printf(out, "  -> %s\n", p->steps[s->after[k]].name);
        if (!s->n_after) buf_add_str(out, "  -> output\n");
    }
}
