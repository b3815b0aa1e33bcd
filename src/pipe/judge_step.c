/* The arguments of a PrometheusEval step and of its LLM, but for how it generates (generation.c): what is honoured, what changes no row and is ignored (resources, devices, engine
 * settings), and what is refused by name.  docs/distilabel.md has the lists. */
#include "judge/warn.h"
#include "pipe/pipe_internal.h"
#include "tmpl/tmpl.h"

bool pipe_refuse(const pipe_step *s, const char *what, const char *why, gv_err *err) {
    return gv_fail(err, GV_UNSUPPORTED, -1, "step \"%s\": %s is not supported: %s", s->name, what, why);
}

/* Null, false, 0, "" and empty containers ask for nothing. */
bool pipe_asks(const json_value *object, const char *key) {
    const json_value *v = pipe_arg(object, key);
    int64_t n = 1;
    if (!v) return false;
    switch (json_kind_of(v)) {
    case JSON_BOOL: return json_bool(v);
    case JSON_NUMBER: return !json_int64(v, &n) || n != 0;
    case JSON_STRING: return json_string(v).n > 0;
    default: return json_size(v) > 0;
    }
}

/* What would change rows and is not done, or would publish a password. */
static bool check_refused(const pipe_step *s, const json_value *llm, const pipe_llm *l, gv_err *err) {
    const char *host = strstr(l->base_url, "://");
    const bool client = l->kind == PIPE_CLIENT_VLLM;
    if (pipe_asks(llm, "use_offline_batch_generation"))
        return gv_fail(err, GV_UNSUPPORTED, -1, "step \"%s\": `PrometheusEval` task cannot be used with offline batch generation feature.",
                       s->name);
    if (pipe_asks(llm, "chat_format"))
        return pipe_refuse(s, "llm.chat_format", "write the layout as a template into llm.chat_template, or remove it for the model's own",
                           err);
    if (pipe_asks(llm, "use_magpie_template"))
        return pipe_refuse(s, "llm.use_magpie_template", "it makes up instructions; set it to false", err);
    if (pipe_asks(llm, "default_headers"))
        return pipe_refuse(s, "llm.default_headers",
                           "the only header is Authorization, with llm.api_key; give the key there, and remove it", err);
    if (!client && *l->tokenizer && strcmp(l->tokenizer, l->model) != 0)
        return pipe_refuse(s, "llm.tokenizer", "the tokenizer is that of the model's file; remove it", err);
    host = host ? host + 3 : l->base_url;
    if (memchr(host, '@', strcspn(host, "/?#")))
        return pipe_refuse(s, "a password in llm.base_url", "it would be written with the pipeline; give it as llm.api_key", err);
    return true;
}

static bool read_llm(const pipe_step *s, judge_mode mode, arena *a, pipe_judge *out, gv_err *err) {
    const json_value *llm = pipe_arg(s->json, "llm");
    if (!llm) return gv_fail(err, GV_FORMAT, -1, "step \"%s\" has no llm", s->name);
    const sv type = pipe_type_name(llm);
    const pipe_llm_class *c = pipe_llm_class_find(type);
    pipe_llm *l = &out->llm;
    int64_t seed;
    if (!c)
        return gv_fail(err, GV_UNSUPPORTED, -1,
                       "step \"%s\": gavel does not run the LLM %s; it runs vLLM, TransformersLLM and LlamaCppLLM with its own engine and "
                       "OpenAILLM and ClientvLLM as a client. Replace the class in llm.type_info.name",
                       s->name, type.n ? str_show(type).text : "without a type_info");
    *l = (pipe_llm){.kind = c->kind, .class_name = c->name};
    if (!pipe_arg_text(s, llm, c->kind == PIPE_LLAMACPP ? "model_path" : "model", "", a, &l->model, err) ||
        !pipe_arg_text(s, llm, "base_url", "", a, &l->base_url, err) ||
        !pipe_arg_text(s, llm, "chat_template", NULL, a, &l->chat_template, err) ||
        !pipe_arg_text(s, llm, "revision", "", a, &l->revision, err) || !pipe_arg_text(s, llm, "tokenizer", "", a, &l->tokenizer, err) ||
        !pipe_arg_text(s, llm, "tokenizer_revision", "", a, &l->tokenizer_revision, err) || !pipe_arg_int(s, llm, "seed", 0, &seed, err))
        return false;
    l->sampling.seed = (uint64_t)seed;
    if (!check_refused(s, llm, l, err)) return false;
    if (!*l->model && c->kind != PIPE_CLIENT_VLLM && c->kind != PIPE_LLAMACPP) /* its model_path is in no file of distilabel's */
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": llm has no model; give it with --param %s.llm.model=...", s->name, s->name);
    if (!pipe_read_generation(s, llm, c, a, &l->sampling, err) || !pipe_read_structure(s, llm, mode, &out->constrained, err)) return false;
    if (out->constrained && l->sampling.rules && l->sampling.rules->n_stops)
        return pipe_refuse(s, "llm.generation_kwargs.stop beside llm.structured_output", "the verdict ends the answer; remove stop", err);
    return true;
}

/* distilabel's own checks of the rubric and of the argument types. */
static bool check_task(const pipe_step *s, arena *a, rubric_check *out, gv_err *err) {
    static const char *const keys[] = {"rubric", "rubrics", "reference", "num_generations"};
    buf text = {0};
    buf_add_str(&text, "{\"name\":");
    json_put_string(&text, sv_of(s->name));
    for (size_t i = 0; i < 4; i++) {
        const json_value *v = json_get(s->json, keys[i]);
        if (!v || (json_kind_of(v) == JSON_NULL && i >= 1)) continue;
        buf_printf(&text, ",\"%s\":", keys[i]);
        json_put_value(&text, v);
    }
    buf_add_char(&text, '}');
    json_doc *doc = json_parse(buf_view(&text), err);
    buf_fini(&text);
    if (!doc) return false;
    rubric_check_task(json_root(doc), NULL, a, out);
    out->rubric = (sv){arena_dup(a, out->rubric.p, out->rubric.n), out->rubric.n};
    if (!out->accept && out->cause.n) gv_fail(err, GV_USAGE, -1, "step \"%s\": " SV_FMT, s->name, SV_ARG(out->cause));
    if (!out->accept) gv_fail(err, GV_USAGE, -1, "step \"%s\": " SV_FMT, s->name, SV_ARG(out->text));
    json_free(doc);
    return out->accept;
}

static bool take_rubric(const pipe_step *s, sv name, arena *a, rubric *out, gv_err *err) {
    const json_value *rubrics = pipe_arg(s->json, "rubrics"), *text = rubrics ? json_get_sv(rubrics, name) : NULL;
    if (!text) return rubric_load(arena_dup(a, name.p, name.n), STYLE_DISTILABEL, a, out, err);
    if (!rubric_from_value(text, json_string(text), STYLE_DISTILABEL, a, out, err)) return gv_context(err, "step \"%s\"", s->name);
    out->name = name;
    return true;
}

bool pipe_judge_read(const pipe_step *s, arena *a, pipe_judge *out, gv_err *err) {
    const char *mode;
    rubric_check check;
    *out = (pipe_judge){.prompt.style = STYLE_DISTILABEL};
    if (!pipe_arg_text(s, s->json, "mode", "absolute", a, &mode, err)) return false;
    if (strcmp(mode, "absolute") != 0 && strcmp(mode, "relative") != 0)
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": mode is \"%s\", expected absolute or relative", s->name,
                       str_show(sv_of(mode)).text);
    out->prompt.mode = *mode == 'r' ? JUDGE_RELATIVE : JUDGE_ABSOLUTE;
    if (!check_task(s, a, &check, err) || !take_rubric(s, check.rubric, a, &out->rubric, err) ||
        !pipe_arg_bool(s, s->json, "group_generations", false, &out->group, err) ||
        !pipe_arg_bool(s, s->json, "add_raw_input", true, &out->raw_input, err) ||
        !pipe_arg_bool(s, s->json, "add_raw_output", true, &out->raw_output, err))
        return false;
    out->prompt.reference = check.reference;
    if (check.num_generations < 1 || check.num_generations > PIPE_MAX_GENERATIONS)
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": num_generations is %lld, expected 1 to %d", s->name,
                       (long long)check.num_generations, PIPE_MAX_GENERATIONS);
    out->n_generations = (uint32_t)check.num_generations;
    return read_llm(s, out->prompt.mode, a, out, err);
}

void pipe_warn_of_tokens(const pipe_step *s, const pipe_judge *j) {
    buf who = {0}, option = {0};
    buf_printf(&who, "step \"%s\"", s->name);
    buf_printf(&option, "max_new_tokens %lld (--param %s.llm.generation_kwargs.max_new_tokens=1024 is more)",
               (long long)j->llm.sampling.max_tokens, s->name);
    warn_of_tokens(who.p, option.p, j->llm.sampling.max_tokens);
    buf_fini(&who);
    buf_fini(&option);
}

/* ---- the other steps ---- */

static bool all_names(const json_value *v) {
    for (json_iter it = json_each(v); json_next(&it);)
        if (json_kind_of(it.value) != JSON_STRING) return false;
    return true;
}

static bool check_columns_arg(const pipe_step *s, gv_err *err) {
    const json_value *columns = pipe_arg(s->json, "columns"), *names = pipe_arg(s->json, "output_columns");
    const bool map = columns && s->kind == PIPE_EXPAND && json_kind_of(columns) == JSON_OBJECT;
    if (!columns || !(map || json_kind_of(columns) == JSON_ARRAY) || json_size(columns) == 0 || !all_names(columns))
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": columns must be a list of names", s->name);
    if (names && (json_kind_of(names) != JSON_ARRAY || !all_names(names)))
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": output_columns must be a list of names", s->name);
    if (names && json_size(names) != json_size(columns))
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": output_columns has %zu names, columns %zu", s->name, json_size(names),
                       json_size(columns));
    if (s->kind == PIPE_EXPAND && (pipe_asks(s->json, "encoded") || pipe_asks(s->json, "split_statistics")))
        return pipe_refuse(s, pipe_asks(s->json, "encoded") ? "encoded" : "split_statistics", "columns must hold lists; set it to false",
                           err);
    return true;
}

static bool check_source(const pipe_step *s, gv_err *err) {
    static const struct {
        pipe_kind kind;
        const char *key;
    } required[] = {{PIPE_LOAD_HUB, "repo_id"}, {PIPE_LOAD_FILES, "data_files"}, {PIPE_LOAD_DISK, "dataset_path"}};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (s->kind == required[i].kind && !pipe_arg(s->json, required[i].key))
            return gv_fail(err, GV_USAGE, -1,
                           "Step '%s' is missing required runtime parameter '%s'. Please, provide a value for it: --param %s.%s=...",
                           s->name, required[i].key, s->name, required[i].key);
    if (pipe_asks(s->json, "storage_options"))
        return pipe_refuse(s, "storage_options", "remote file systems are not read; download the files first", err);
    return true;
}

static bool check_template(const pipe_step *s, const pipe_llm *l, gv_err *err) {
    if (!l->chat_template) return true;
    tmpl *t = tmpl_compile(sv_of(l->chat_template), err);
    tmpl_free(t);
    return t || gv_context(err, "step \"%s\": llm.chat_template", s->name);
}

static bool check_step(const pipe_step *s, gv_err *err) {
    arena a;
    pipe_judge j;
    if (!pipe_check_args(s, err)) return false;
    if (pipe_is_source(s->kind)) return check_source(s, err);
    if (s->kind != PIPE_JUDGE) return s->kind == PIPE_COMBINE || check_columns_arg(s, err);
    arena_init(&a);
    const bool ok = pipe_judge_read(s, &a, &j, err) && check_template(s, &j.llm, err);
    arena_fini(&a);
    return ok;
}

bool pipe_check(const pipeline *p, bool has_dataset, gv_err *err) {
    bool judges = false;
    for (size_t i = 0; i < p->n_steps; i++) {
        judges = judges || p->steps[i].kind == PIPE_JUDGE;
        if (!check_step(&p->steps[i], err)) return false;
    }
    if (!judges) return gv_fail(err, GV_UNSUPPORTED, -1, "the pipeline has no PrometheusEval step, so there is nothing to judge");
    return pipe_check_graph(p, has_dataset, err);
}
