/* gavel render: the exact prompts of rows, or a chat template over messages given as JSON lines. */
#include "base/file.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/transfer.h"
#include "judge/row_prompt.h"
#include "lm/layout.h"

#include <stdlib.h>

typedef struct render_opts {
    model_opts model;
    data_opts data;
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
    {"rubric", 'r', OPT_STRING, AT(rubric), "NAME|FILE", NULL, 0, 0,
     "Built-in rubric (helpfulness, harmlessness, honesty, factual-validity, reasoning) or file", "Prompts"},
    {"rubric-col", 0, OPT_STRING, AT(rubric_col), "COLUMN", NULL, 0, 0, "Column with a rubric per row", NULL},
    {"mode", 0, OPT_CHOICE, AT(mode), "MODE", "absolute|relative", 0, 0, "One response, or two (default: absolute)", NULL},
    {"reference", 0, OPT_FLAG, AT(reference), NULL, NULL, 0, 0, "Show the judge a reference answer (column reference)", NULL},
    {"prompt", 'p', OPT_CHOICE, AT(prompt), "STYLE", "distilabel|prometheus-eval|paper|raw", 0, 0,
     "Prompt style; raw: column prompt is the whole user message (default: distilabel)", NULL},
    {"map", 0, OPT_LIST, AT(map), "NAME=COLUMN,...", NULL, 0, 0, "Read NAME (instruction, generation, ...) from the input's COLUMN", NULL},
    CLI_OPTS_DATA(render_opts, data),
    {"row", 0, OPT_INT, AT(row), "K", NULL, 0, 9e15, "Only row number K, from 0", NULL},
    CLI_OPT_MODEL(render_opts, model,
                  "Lay out as this model's chat template says: a GGUF, tokenizer.json or folder with them, or ORG/NAME of the Hub "
                  "(default: the style's own layout)"),
    CLI_OPT_TEMPLATE(render_opts, model),
    {"template", 0, OPT_STRING, AT(template), "NAME|FILE", NULL, 0, 0,
     "Render this chat template over lines of {\"messages\", ...} instead of prompts", "Chat templates"},
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
    prompt_text p;
    arena_reset(&c->a);
    if (!row_prompt(&c->spec, in, c->rubric_col, c->rubric, &c->a, &p, err)) return false;
    buf_printf(out, "{\"row\":%llu,\"system\":", (unsigned long long)in->number);
    if (p.system.n)
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

static bool prepare(const render_opts *o, render_ctx *c, rubric *rub, rows_map *map, arena *a, gv_err *err) {
    const bool raw = strcmp(o->prompt, "raw") == 0;
    judge_style_from(o->prompt, &c->spec.style);
    c->spec.mode = strcmp(o->mode, "relative") == 0 ? JUDGE_RELATIVE : JUDGE_ABSOLUTE;
    c->spec.reference = o->reference;
    c->rubric_col = o->rubric_col;
    if (o->rubric && o->rubric_col) return gv_fail(err, GV_USAGE, -1, "--rubric and --rubric-col exclude each other");
    if (raw && (o->rubric || o->rubric_col))
        return gv_fail(err, GV_USAGE, -1, "--prompt raw takes no rubric: the row has the whole prompt");
    if (!raw && !o->rubric && !o->rubric_col)
        return gv_fail(err, GV_USAGE, -1, "no rubric given; add --rubric NAME|FILE or --rubric-col COLUMN");
    for (size_t i = 0; i < o->map.n; i++)
        if (!rows_map_add(map, o->map.v[i], err)) return false;
    if (o->rubric) {
        if (!rubric_load(o->rubric, c->spec.style, a, rub, err)) return false;
        c->rubric = rub;
    }
    if (!o->model.model) {
        if (o->model.chat_template) return gv_fail(err, GV_USAGE, -1, "--chat-template needs --model; --template renders a template alone");
        return true;
    }
    char *path = NULL;
    c->t = cli_model_path(o->model.model, HUB_TOKENIZER, false, false, &path, err) ? tok_open(path, err) : NULL;
    free(path);
    c->chat = c->t ? layout_open(c->t, NULL, o->model.chat_template, err) : NULL;
    return c->chat != NULL;
}

/* ---- templates over messages ---- */

enum { MAX_VARS = 32, MAX_NAME = 64, MAX_TEMPLATE_BYTES = 1 << 20 };

typedef struct template_vars {
    tmpl_var v[MAX_VARS];
    char name[MAX_VARS][MAX_NAME];
    size_t n;
} template_vars;

static bool add_variable(template_vars *vars, const row_column *c, int64_t line, gv_err *err) {
    if (vars->n == MAX_VARS) return gv_fail(err, GV_LIMIT, line, "more than %d template variables", MAX_VARS);
    if (c->name.n >= MAX_NAME || memchr(c->name.p, 0, c->name.n))
        return gv_fail(err, GV_LIMIT, line, "a variable's name has %zu bytes, at most %d", c->name.n, MAX_NAME - 1);
    memcpy(vars->name[vars->n], c->name.p, c->name.n);
    vars->name[vars->n][c->name.n] = 0;
    vars->v[vars->n] = (tmpl_var){.name = vars->name[vars->n], .value = c->value};
    vars->n++;
    return true;
}

/* A line's members: messages, add_generation_prompt, and variables of the template; `template` names where the line is from. */
static bool read_members(const row *in, tmpl_input *input, template_vars *vars, gv_err *err) {
    for (size_t i = 0; i < in->n_columns; i++) {
        const row_column *c = &in->columns[i];
        const json_kind kind = json_kind_of(c->value);
        if (sv_is(c->name, "messages"))
            input->json_messages = c->value;
        else if (sv_is(c->name, "add_generation_prompt") && kind != JSON_BOOL)
            return gv_fail(err, GV_FORMAT, in->line, "add_generation_prompt is %s, expected true or false", json_kind_name(c->value));
        else if (sv_is(c->name, "add_generation_prompt"))
            input->add_generation_prompt = json_bool(c->value);
        else if (!sv_is(c->name, "template") && !add_variable(vars, c, in->line, err))
            return false;
    }
    input->var = vars->v;
    input->n_var = vars->n;
    return input->json_messages || gv_fail(err, GV_FORMAT, in->line, "the line has no member \"messages\"");
}

static bool render_messages(void *ctx, const row *in, buf *out, gv_err *err) {
    tmpl_input input = {0};
    template_vars vars = {.n = 0};
    if (!read_members(in, &input, &vars, err)) return false;
    tmpl_output text = {0};
    gv_err why = GV_ERR_INIT;
    if (tmpl_render(ctx, &input, &text, &why)) {
        buf_add_str(out, "{\"text\":");
        json_put_string(out, buf_view(&text.text));
        buf_add_char(out, '}');
    } else {
        buf_add_str(out, "{\"error\":[");
        json_put_string(out, sv_of(text.error_type));
        buf_add_char(out, ',');
        json_put_string(out, buf_view(&text.error_text));
        buf_add_str(out, "]}");
    }
    tmpl_output_fini(&text);
    return true;
}

static tmpl *open_template(const render_opts *o, gv_err *err) {
    if (o->rubric || o->rubric_col || o->reference || o->map.n || o->model.model || o->model.chat_template || o->data.config ||
        o->data.split) {
        gv_fail(err, GV_USAGE, -1, "--template renders messages; it goes with no option but --row");
        return NULL;
    }
    const char *builtin = tmpl_builtin(o->template);
    if (builtin) return tmpl_compile(sv_of(builtin), err);
    if (!file_exists(o->template)) {
        const char *near = nearest_name(o->template, tmpl_builtin_names());
        gv_fail(err, GV_USAGE, -1, "--template %s: neither a built-in template nor a file%s%s%s", o->template,
                near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
        return NULL;
    }
    buf source = {0};
    tmpl *t = file_read_all(o->template, MAX_TEMPLATE_BYTES, &source, err) ? tmpl_compile(buf_view(&source), err) : NULL;
    if (!t) gv_context(err, "--template %s", o->template);
    buf_fini(&source);
    return t;
}

/* ---- the command ---- */

static uint64_t only_row(const render_opts *o) {
    return o->row < 0 ? UINT64_MAX : (uint64_t)o->row;
}

static int run_template(const render_opts *o, const char *input) {
    gv_err err = GV_ERR_INIT;
    tmpl *t = open_template(o, &err);
    if (!t) return cli_fail(&err);
    const int code = lines_run(input, &(rows_options){.format = ROWS_JSONL}, only_row(o), render_messages, t);
    tmpl_free(t);
    return code;
}

static int run_prompts(const render_opts *o, const char *input) {
    gv_err err = GV_ERR_INIT;
    rows_map map = {0};
    rubric rub;
    arena a; /* holds the rubric; rows have one of their own */
    render_ctx c = {0};
    arena_init(&a);
    arena_init(&c.a);
    rows_options rows = {.map = &map};
    const bool ok = prepare(o, &c, &rub, &map, &a, &err) && cli_open_dataset(input, &o->data, false, false, &rows.data, &err);
    const int code = ok ? lines_run(input, &rows, only_row(o), render_row, &c) : cli_fail(&err);
    dataset_close(rows.data);
    layout_free(c.chat);
    tok_free(c.t);
    rows_map_fini(&map);
    arena_fini(&c.a);
    arena_fini(&a);
    return code;
}

static int run(int n_args, const char **args, const void *opts) {
    const render_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    const char *input = lines_input(n_args, args, &err);
    if (!input) return cli_fail(&err);
    return o->template ? run_template(o, input) : run_prompts(o, input);
}

const opt_command command_render = {
    .name = "render",
    .args = "[INPUT]",
    .summary = "Print the exact prompts of rows",
    .detail =
        "Prints one JSON line a row of INPUT, which is what gavel judge reads: {\"row\",\"system\",\"user\",\"prompt\"}. Without --model "
        "the prompt has the style's own chat "
        "layout. A line that cannot be read gives {\"row\",\"status\",\"message\"}.\n\n"
        "With --template it renders a chat template: each input line holds {\"messages\",\"add_generation_prompt\"} and the template's "
        "variables (bos_token, eos_token, date_string, ...), each output line {\"text\"} or {\"error\": [type, message]} as Python would "
        "raise it.",
    .example = "gavel render rows.jsonl --rubric helpfulness --row 0\n"
               "gavel render messages.jsonl --template chatml",
    .opts = options,
    .min_args = 0,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(render_opts),
    .defaults = defaults,
};
