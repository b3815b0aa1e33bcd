/* The chat template of a tokenizer that a server's model has: from a folder here, or from the Hub, where tokenizer_config.json alone is fetched.
 * See pipe_internal.h. */
#include "base/file.h"
#include "http/hub.h"
#include "pipe/pipe_internal.h"
#include "tok/tok.h"

enum { MAX_CONFIG_BYTES = 16 << 20, TRIES_AGAIN = 1 };

static const char file_name[] = "tokenizer_config.json";

static bool read_hub(const char *name, const char *revision, const volatile sig_atomic_t *stop, buf *out, gv_err *err) {
    hub_repo repo;
    bool found = false;
    buf ref = {0};
    buf_printf(&ref, "%s%s%s", name, revision ? "@" : "", revision ? revision : "");
    hub *h = hub_repo_parse(HUB_MODEL, ref.p, &repo, err) ? hub_open(&(hub_options){.retries = TRIES_AGAIN, .stop = stop}, err) : NULL;
    const bool ok = h && hub_read(h, &repo, file_name, MAX_CONFIG_BYTES, out, &found, err) &&
                    (found || gv_fail(err, GV_IO, -1, "%s has no file \"%s\"", ref.p, file_name));
    hub_close(h);
    buf_fini(&ref);
    return ok;
}

bool pipe_tokenizer_template(const char *name, const char *revision, const volatile sig_atomic_t *stop, buf *out, gv_err *err) {
    buf text = {0}, path = {0};
    buf_printf(&path, "%s/%s", name, file_name);
    bool ok = file_exists(path.p) ? file_read_all(path.p, MAX_CONFIG_BYTES, &text, err) : read_hub(name, revision, stop, &text, err);
    json_doc *d = ok ? json_parse(buf_view(&text), err) : NULL;
    ok = d && tok_config_template(json_root(d), out, err);
    if (d && !ok) gv_context(err, "%s", path.p);
    if (ok && !out->n) ok = gv_fail(err, GV_FORMAT, -1, "%s has no chat_template", path.p);
    json_free(d);
    buf_fini(&text);
    buf_fini(&path);
    return ok;
}
