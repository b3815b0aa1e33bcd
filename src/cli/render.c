/* gavel render: the exact prompts of rows, or a chat template over messages given as JSON lines. */
#include "base/file.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "judge/prompt.h"
#include "judge/rubric.h"
#include "lm/layout.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct render_opts {
    model_opts model;
    opt_list map;
    const char *rubric, *rubric_col, *mode, *prompt, *template;
    int64_t row;
    bool reference;
} render_opts;

static void defaults(void *opts) {
    render_opts *o = opts;
    o->mode = "absolute";
    o->prompt = "distilabel";
    o->row = -1;
}

#define AT(field) offsetof(render_opts, field)

static const opt_def options[] = {
    {"rubric", 'r', OPT_STRING, AT(rubric), "NAME|FILE", NULL, 0, 0, "Built-in rubric or file", "Prompts"},
    {"rubric-col", 0, OPT_STRING, AT(rubric_col), "COLUMN", NULL, 0, 0, "Column with a rubric per row", NULL},
    {"mode", 0, OPT_CHOICE, AT(mode), "MODE", "absolute|relative", 0, 0, "One response, or two (default: absolute)", NULL},
    {"reference", 0, OPT_FLAG, AT(reference), NULL, NULL, 0, 0, "Show a reference answer", NULL},
    {"prompt", 'p', OPT_CHOICE, AT(prompt), "STYLE", "distilabel|prometheus-eval|paper|raw", 0, 0, "Prompt style (default: distilabel)",
     NULL},
    {"map", 0, OPT_LIST, AT(map), "NAME=COLUMN,...", NULL, 0, 0, "Read NAME from another column", NULL},
    {"row", 0, OPT_INT, AT(row), "K", NULL, 0, 9e15, "Only row number K", NULL},
    CLI_OPT_MODEL(render_opts, model, "Use this model's chat layout: a GGUF, tokenizer or folder (default: the style's own layout)"),
    CLI_OPT_TEMPLATE(render_opts, model),
    {"template", 0, OPT_STRING, AT(template), "NAME|FILE", NULL, 0, 0,
     "Render this chat template over lines of {\"messages\", ...} instead", "Templates"},
    {0},
};

/* ---- rows to prompts ---- */

typedef struct render_ctx {
    prompt_spec spec;
    const char *rubric_col;
    const rubric *rubric;
    tok *t;
    layout *chat; /* NULL: the style's own layout */
    arena a;
} render_ctx;

static bool look_up(void *ctx, const char *column, prompt_field *out) {
    const row_column *c = row_get(ctx, column);
    if (c) *out = (prompt_field){c->value, {0}};
    return c != NULL;
}

static bool put_prompt(const render_ctx *c, const prompt_text *p, buf *out, gv_err *err) {
    buf prompt = {0};
    bool ok = true;
    if (c->chat) {
        lm_message m[2];
        tmpl_output text = {0};
        ok = layout_render(c->chat, m, prompt_messages(p, m), &text, err);
        if (ok) buf_add_sv(&prompt, buf_view(&text.text));
        tmpl_output_fini(&text);
    } else {
        prompt_layout(c->spec.style, p, &prompt);
    }
    if (ok) json_put_string(out, buf_view(&prompt));
    buf_fini(&prompt);
    return ok;
}

static bool render_row(void *ctx, const row *in, buf *out, gv_err *err) {
    render_ctx *c = ctx;
    prompt_values v = {0};
    prompt_text p;
    rubric own;
    arena_reset(&c->a);
    if (!prompt_values_read(&c->spec, look_up, (void *)in, &c->a, &v, err)) return false;
    if (c->rubric_col) {
        const row_column *col = row_need(in, c->rubric_col, err);
        if (!col || !rubric_from_value(col->value, (sv){0}, c->spec.style, &c->a, &own, err)) return false;
        v.rubric = rubric_insert(&own, c->spec.style, c->spec.mode);
    } else if (c->rubric) {
        v.rubric = rubric_insert(c->rubric, c->spec.style, c->spec.mode);
    }
    prompt_build(&c->spec, &v, &c->a, &p);
    buf_printf(out, "{\"row\":%llu,\"system\":", (unsigned long long)in->number);
    if (p.has_system)
        json_put_string(out, p.system);
    else
        buf_add_str(out, "null");
    buf_add_str(out, ",\"user\":");
    json_put_string(out, p.user);
    buf_add_str(out, ",\"prompt\":");
    if (!put_prompt(c, &p, out, err)) return false;
    buf_add_char(out, '}');
    return true;
}

static bool prepare(const render_opts *o, render_ctx *c, rubric *rub, rows_map *map, gv_err *err) {
    const bool raw = strcmp(o->prompt, "raw") == 0;
    judge_style_from(o->prompt, &c->spec.style);
    c->spec.mode = strcmp(o->mode, "relative") == 0 ? JUDGE_RELATIVE : JUDGE_ABSOLUTE;
    c->spec.reference = o->reference;
    c->rubric_col = o->rubric_col;
    if (o->rubric && o->rubric_col) return gv_fail(err, GV_USAGE, -1, "--rubric and --rubric-col exclude each other");
    if (!raw && !o->rubric && !o->rubric_col)
        return gv_fail(err, GV_USAGE, -1, "no rubric given; add --rubric NAME|FILE or --rubric-col COLUMN");
    for (size_t i = 0; i < o->map.n; i++)
        if (!rows_map_add(map, o->map.v[i], err)) return false;
    if (o->rubric) {
        if (!rubric_load(o->rubric, c->spec.style, &c->a, rub, err)) return false;
        c->rubric = rub;
    }
    if (!o->model.model) {
        if (o->model.chat_template) return gv_fail(err, GV_USAGE, -1, "--chat-template needs --model; --template renders a template alone");
        return true;
    }
    c->t = tok_open(o->model.model, err);
    c->chat = c->t ? layout_open(c->t, o->model.chat_template, err) : NULL;
    return c->chat != NULL;
}

/* ---- templates over messages ---- */

enum { MAX_VARS = 32 };

static void put_error(const char *type, sv message, buf *out) {
    buf_add_str(out, "{\"error\":[");
    json_put_string(out, sv_of(type));
    buf_add_char(out, ',');
    json_put_string(out, message);
    buf_add_str(out, "]}");
}

static bool render_messages(void *ctx, const row *in, buf *out, gv_err *err) {
    tmpl_input input = {0};
    tmpl_var vars[MAX_VARS];
    char names[MAX_VARS][64];
    size_t n = 0;
    for (size_t i = 0; i < in->n_columns; i++) {
        const row_column *c = &in->columns[i];
        const bool text = json_kind_of(c->value) == JSON_STRING;
        if (sv_is(c->name, "messages"))
            input.json_messages = c->value;
        else if (sv_is(c->name, "add_generation_prompt"))
            input.add_generation_prompt = json_kind_of(c->value) == JSON_BOOL && json_bool(c->value);
        else if (sv_is(c->name, "bos_token") && text)
            input.bos_token = json_string(c->value);
        else if (sv_is(c->name, "eos_token") && text)
            input.eos_token = json_string(c->value);
        else if (sv_is(c->name, "date_string") && text)
            input.date_string = json_string(c->value);
        else if (!sv_is(c->name, "template") && n < MAX_VARS && c->name.n < sizeof names[0]) {
            snprintf(names[n], sizeof names[n], SV_FMT, SV_ARG(c->name));
            vars[n] = (tmpl_var){.name = names[n], .value = c->value};
            n++;
        }
    }
    input.var = vars;
    input.n_var = n;
    if (!input.json_messages) return gv_fail(err, GV_FORMAT, in->line, "no member \"messages\"");
    tmpl_output text = {0};
    gv_err why = GV_ERR_INIT;
    if (tmpl_render(ctx, &input, &text, &why)) {
        buf_add_str(out, "{\"text\":");
        json_put_string(out, buf_view(&text.text));
        buf_add_char(out, '}');
    } else {
        put_error(text.error_type ? text.error_type : "Error", buf_view(&text.error_text), out);
    }
    tmpl_output_fini(&text);
    return true;
}

static int run_template(const char *choice, const char *input) {
    gv_err err = GV_ERR_INIT;
    buf source = {0};
    const char *builtin = tmpl_builtin(choice);
    if (builtin)
        buf_add_str(&source, builtin);
    else if (!file_read_all(choice, 1 << 20, &source, &err))
        return cli_fail(&err);
    tmpl *t = tmpl_compile(buf_view(&source), &err);
    buf_fini(&source);
    if (!t) {
        gv_context(&err, "%s", choice);
        return cli_fail(&err);
    }
    const int code = lines_run(input, &(rows_options){.format = ROWS_JSONL}, UINT64_MAX, render_messages, t);
    tmpl_free(t);
    return code;
}

static int run(int n_args, const char **args, const void *opts) {
    const render_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    rows_map map = {0};
    rubric rub;
    render_ctx c = {0};
    (void)n_args;
    if (o->template) return run_template(o->template, args[0]);
    arena rubric_arena;
    arena_init(&rubric_arena);
    c.a = rubric_arena;
    int code;
    if (!prepare(o, &c, &rub, &map, &err)) {
        code = cli_fail(&err);
    } else {
        rubric_arena = c.a; /* holds the rubric; rows get an arena of their own */
        arena_init(&c.a);
        code = lines_run(args[0], &(rows_options){.map = &map}, o->row < 0 ? UINT64_MAX : (uint64_t)o->row, render_row, &c);
        arena_fini(&rubric_arena);
    }
    layout_free(c.chat);
    tok_free(c.t);
    rows_map_fini(&map);
    arena_fini(&c.a);
    return code;
}

const opt_command command_render = {
    .name = "render",
    .args = "INPUT",
    .summary = "Print the exact prompts of rows",
    .detail = "Prints one JSON line a row: {\"row\",\"system\",\"user\",\"prompt\"}. Without --model the prompt has the style's own chat "
              "layout.\n\n"
              "With --template it renders a chat template: each input line holds {\"messages\",\"add_generation_prompt\"}, tokens such as "
              "bos_token, and date_string; each output line {\"text\"} or {\"error\"}.",
    .example = "gavel render rows.jsonl --rubric helpfulness --row 0\n"
               "gavel render messages.jsonl --template chatml",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(render_opts),
    .defaults = defaults,
};
