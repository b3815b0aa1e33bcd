/* Fuzz target: what stands beside a tokenizer in a Hugging Face folder.  A NUL ends each of tokenizer_config.json, added_tokens.json,
 * generation_config.json and chat_template.jinja, none of which is there if it is empty; the next byte chooses tokenizer.json (odd) or tokenizer.model,
 * the rest is that file. */
#include "tok_use.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[256];

static void remove_folder(void) {
    rmdir(folder);
}

static void put(char path[512], const char *name, const uint8_t *p, size_t n) {
    snprintf(path, 512, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(n ? p : (const uint8_t *)"", 1, n, f) == n && fclose(f) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"tokenizer_config.json", "added_tokens.json", "generation_config.json", "chat_template.jinja"};
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/gavel-fuzz-tok-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        must(mkdtemp(folder) && atexit(remove_folder) == 0);
    }
    char path[5][512] = {{0}};
    for (int i = 0; i < 4; i++) {
        const uint8_t *end = size ? memchr(data, 0, size) : NULL;
        if (!end) return 0;
        const size_t n = (size_t)(end - data);
        if (n) put(path[i], names[i], data, n);
        data += n + 1;
        size -= n + 1;
    }
    if (!size) return 0;
    put(path[4], data[0] & 1 ? "tokenizer.json" : "tokenizer.model", data + 1, size - 1);
    gv_err err = GV_ERR_INIT;
    tok *t = tok_open(folder, &err);
    must((t != NULL) == (err.code == GV_OK) && (t || err.msg[0]));
    if (t) tok_use(t);
    tok_free(t);
    for (int i = 0; i < 5; i++)
        if (path[i][0]) unlink(path[i]);
    return 0;
}
