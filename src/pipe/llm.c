/* Which engine stands for a pipeline's LLM: vLLM, TransformersLLM and LlamaCppLLM run in ours, OpenAILLM and ClientvLLM ask a server.
 * --model takes the place of either, because a pipeline written for a GPU names a model that this machine may not have as a file. */
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

bool pipe_open_model(pipe_runner *r, const pipe_step *s, const pipe_judge *j, gv_err *err) {
    lm_options o = r->spec->engine;
    const char *given = pipe_for_step(r->p, r->spec->models, r->spec->n_models, s->name);
    const bool server = j->llm.kind == PIPE_OPENAI || j->llm.kind == PIPE_CLIENT_VLLM;
    buf url = {0}, key = {0};
    o.model = given ? given : j->llm.model;
    if (!given) o.name = j->llm.model; /* as distilabel writes it */
    if (!given && server) {
        const char *usual = getenv("OPENAI_BASE_URL");
        if (!usual || !*usual) usual = "https://api.openai.com/v1";
        buf_printf(&url, "%s%s%s", *j->llm.base_url ? j->llm.base_url : usual, *j->llm.model ? "#" : "", j->llm.model);
        o.model = url.p;
        o.api_key = s->api_key;
    }
    o.chat_template_text = j->llm.kind == PIPE_OPENAI ? NULL : j->llm.chat_template;
    buf_printf(&key, "%s\n%s\n%s", o.model, o.api_key ? o.api_key : "", o.chat_template_text ? o.chat_template_text : "");
    if (r->model && strcmp(r->model_key, key.p) == 0) {
        buf_fini(&url);
        buf_fini(&key);
        return true;
    }
    char *path = NULL;
    lm_free(r->model);
    free(r->model_key);
    r->model_key = key.p;
    const bool found = url.n || r->spec->model_path(r->spec->model_path_ctx, o.model, &path, err);
    if (path) o.model = path;
    r->model = found ? lm_open(&o, err) : NULL;
    free(path);
    buf_fini(&url);
    return r->model || gv_context(err, "step \"%s\"", s->name);
}
