/* Which engine stands for a pipeline's LLM: vLLM, TransformersLLM and LlamaCppLLM run in ours, OpenAILLM and ClientvLLM ask a server.
 * --model takes the place of either, because a pipeline written for a GPU names a model that this machine may not have as a file. */
#include "base/log.h"
#include "http/hub.h"
#include "pipe/pipe_internal.h"
#include "pipe/run_pipe_internal.h"

#include <stdlib.h>

const char *pipe_for_step(const pipeline *p, const char *const *v, size_t n, const char *step) {
    const char *all = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *equals = strchr(v[i], '=');
        bool named = false;
        for (size_t k = 0; equals && k < p->n_steps; k++)
            named = named ||
                    (strlen(p->steps[k].name) == (size_t)(equals - v[i]) && strncmp(p->steps[k].name, v[i], (size_t)(equals - v[i])) == 0);
        if (!named) {
            all = v[i];
            continue;
        }
        if (strncmp(step, v[i], (size_t)(equals - v[i])) == 0 && !step[equals - v[i]]) return equals + 1;
    }
    return all;
}

/* ClientvLLM lays messages out itself, by the template of the tokenizer that it names, or of the model that is served.  Without one the server does:
 * the model that is open stays. */
static bool take_client_layout(pipe_runner *r, const pipe_step *s, const pipe_llm *l, lm_options *o, gv_err *err) {
    static const char advice[] = "the server lays messages out, where distilabel uses the tokenizer's chat template; set llm.tokenizer or "
                                 "llm.chat_template";
    const char *name = *l->tokenizer ? l->tokenizer : lm_peek_caps(r->model)->model_name;
    buf text = {0};
    gv_err why = GV_ERR_INIT;
    bool found = false, ok = true;
    if (*l->tokenizer || strchr(name, '/')) /* else it is a name that only this server knows */
        found = pipe_tokenizer_template(name, *l->tokenizer_revision ? l->tokenizer_revision : NULL, r->spec->stop, &text, &why);
    else
        gv_fail(&why, GV_USAGE, -1, "\"%s\" is no ORG/NAME of the Hub", name);
    if (found) {
        lm_free(r->model);
        o->chat_template_text = text.p;
        r->model = lm_open(o, err);
        ok = r->model != NULL;
    } else if (why.code == GV_INTERRUPTED) {
        ok = gv_fail(err, why.code, -1, "%s", why.msg);
    } else {
        log_msg(LOG_WARN, "step \"%s\": %s (%s)", s->name, advice, why.msg);
        run_log_put(r->log, RUN_LOG_WARNING, "step '%s': %s (%s)", s->name, advice, why.msg);
    }
    buf_fini(&text);
    return ok;
}

/* The address of the server that the pipeline names, if it names one. */
static void server_url(const pipe_llm *l, buf *url) {
    const char *usual = getenv("OPENAI_BASE_URL");
    if (!usual || !*usual) usual = "https://api.openai.com/v1";
    buf_printf(url, "%s%s%s", *l->base_url ? l->base_url : usual, *l->model ? "#" : "", l->model);
}

bool pipe_open_model(pipe_runner *r, const pipe_step *s, const pipe_judge *j, gv_err *err) {
    lm_options o = r->spec->engine;
    const pipe_llm *l = &j->llm;
    const char *given = pipe_for_step(r->p, r->spec->models, r->spec->n_models, s->name);
    const bool server = l->kind == PIPE_OPENAI || l->kind == PIPE_CLIENT_VLLM;
    buf name = {0}, key = {0};
    if (!given && !server && !*l->model)
        return gv_fail(err, GV_USAGE, -1, "step \"%s\": llm has no model; give it with --model FILE", s->name);
    if (given) {
        buf_add_str(&name, given);
    } else if (server) {
        server_url(l, &name);
        o.api_key = s->api_key;
    } else {
        buf_add_str(&name, l->model);
        o.name = l->model; /* as distilabel writes it */
        if (*l->revision && hub_is_ref(l->model) && !strchr(l->model, '@')) buf_printf(&name, "@%s", l->revision);
    }
    o.model = name.p;
    o.chat_template_text = l->kind == PIPE_OPENAI ? NULL : l->chat_template;
    const bool remote = lm_is_remote(o.model), own_layout = remote && l->kind == PIPE_CLIENT_VLLM && !o.chat_template_text;
    buf_printf(&key, "%s\n%s\n%s", o.model, o.api_key ? o.api_key : "", o.chat_template_text ? o.chat_template_text : "");
    if (own_layout) buf_printf(&key, "\n%s\n%s", l->tokenizer, l->tokenizer_revision);
    bool ok = !l->sampling.more || remote ||
              pipe_refuse(s, "a keyword of llm.generation_kwargs.extra_body that gavel does not know",
                          "only a server takes it; remove it, or judge without --model", err);
    if (ok && !(r->model && strcmp(r->model_key, key.p) == 0)) {
        char *path = NULL;
        lm_free(r->model);
        free(r->model_key);
        r->model_key = gv_xstrdup(key.p);
        const bool found = (!given && server) || r->spec->model_path(r->spec->model_path_ctx, o.model, &path, err);
        if (path) o.model = path;
        r->model = found ? lm_open(&o, err) : NULL;
        ok = r->model && (!own_layout || take_client_layout(r, s, l, &o, err));
        if (!ok) gv_context(err, "step \"%s\"", s->name);
        free(path);
    }
    buf_fini(&name);
    buf_fini(&key);
    return ok;
}
