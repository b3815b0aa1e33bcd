/* Where the Hub is, who asks, and where the cache is: options first, then the variables of the Python client, with its meaning of each.
 * The only file of this room that reads the environment. */
#include "base/file.h"
#include "http/hub_internal.h"

#include <stdlib.h>
#include <strings.h>

#define PUBLIC_HUB "https://huggingface.co"

enum { MAX_TOKEN = 1024, DEFAULT_PARALLEL = 4, MAX_PARALLEL = 32 };

static const char *variable(const char *name) {
    const char *v = getenv(name);
    return v && v[0] ? v : NULL;
}

/* 1, ON, YES, TRUE */
static bool is_true(const char *name) {
    const char *v = variable(name);
    return v && (strcmp(v, "1") == 0 || strcasecmp(v, "on") == 0 || strcasecmp(v, "yes") == 0 || strcasecmp(v, "true") == 0);
}

/* name's value, a leading ~ replaced, or base/rest. */
static char *folder_of(const char *name, const char *base, const char *rest) {
    buf b = {0};
    const char *v = variable(name), *home = variable("HOME");
    if (v && v[0] == '~' && (v[1] == '/' || !v[1]) && home)
        buf_printf(&b, "%s%s", home, v + 1);
    else if (v)
        buf_add_str(&b, v);
    else
        buf_printf(&b, "%s/%s", base, rest);
    while (b.n > 1 && b.p[b.n - 1] == '/') b.p[--b.n] = 0;
    return b.p;
}

static char *home_folder(void) {
    char *cache = folder_of("XDG_CACHE_HOME", variable("HOME") ? variable("HOME") : ".", ".cache");
    char *home = folder_of("HF_HOME", cache, "huggingface");
    free(cache);
    return home;
}

/* The first word of a token's text, without the line end that editors add. */
static char *clean_token(const char *text) {
    const size_t from = strspn(text, " \t\r\n"), n = strcspn(text + from, " \t\r\n");
    return n ? strndup(text + from, n) : NULL;
}

/* Which token to send, and where it was found, for messages. */
static void find_token(hub *h, const char *given, const char *home) {
    const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    if (given) {
        h->token = clean_token(given);
        h->token_from = gv_xstrdup("the token given");
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && !h->token; i++) {
        h->token = variable(names[i]) ? clean_token(variable(names[i])) : NULL;
        if (h->token) h->token_from = gv_xstrdup(names[i]);
    }
    if (!h->token) {
        gv_err ignored = GV_ERR_INIT; /* most people have no such file */
        buf text = {0};
        h->token_from = folder_of("HF_TOKEN_PATH", home, "token");
        if (file_read_all(h->token_from, MAX_TOKEN, &text, &ignored) && text.n) h->token = clean_token(text.p);
        buf_fini(&text);
    }
    if (is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
        free(h->token);
        h->token = NULL;
    }
}

hub *hub_open(const hub_options *o, gv_err *err) {
    hub *h = gv_xcalloc(1, sizeof *h);
    char *home = home_folder();
    const char *endpoint = o->endpoint ? o->endpoint : variable("HF_ENDPOINT") ? variable("HF_ENDPOINT") : PUBLIC_HUB;
    h->endpoint = gv_xstrdup(endpoint);
    for (size_t n = strlen(h->endpoint); n && h->endpoint[n - 1] == '/';) h->endpoint[--n] = 0;
    if (o->cache)
        h->cache = gv_xstrdup(o->cache);
    else
        h->cache = folder_of(variable("HF_HUB_CACHE") ? "HF_HUB_CACHE" : "HUGGINGFACE_HUB_CACHE", home, "hub");
    find_token(h, o->token, home);
    const char *ca = variable("REQUESTS_CA_BUNDLE") ? variable("REQUESTS_CA_BUNDLE") : variable("SSL_CERT_FILE");
    h->ca_file = ca ? gv_xstrdup(ca) : NULL;
    h->offline = o->offline || is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
    h->offline_datasets = h->offline || is_true("HF_DATASETS_OFFLINE");
    h->parallel = o->parallel > 0 ? (o->parallel < MAX_PARALLEL ? o->parallel : MAX_PARALLEL) : DEFAULT_PARALLEL;
    h->retries = o->retries;
    h->stop = o->stop;
    free(home);
    if (h->offline || http_url_check(h->endpoint, err)) return h;
    gv_context(err, "endpoint of the Hub (HF_ENDPOINT)");
    hub_close(h);
    return NULL;
}

void hub_close(hub *h) {
    if (!h) return;
    http_close(h->web);
    free(h->endpoint);
    free(h->token);
    free(h->token_from);
    free(h->cache);
    free(h->ca_file);
    buf_fini(&h->warned);
    free(h);
}

const char *hub_endpoint(const hub *h) {
    return h->endpoint;
}

const char *hub_cache(const hub *h) {
    return h->cache;
}

bool hub_is_offline(const hub *h, hub_kind kind) {
    return kind == HUB_DATASET ? h->offline_datasets : h->offline;
}
