/* Pipeline files of any bytes: 'j' or 'y' (suffix), then the file.  What loads is described, checked, and loaded again with a parameter. */
#include "pipe/pipe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    const char *path = data[0] == 'j' ? "f.json" : "f.yaml";
    const sv bytes = {(const char *)data + 1, size - 1};
    gv_err err = GV_ERR_INIT;
    pipeline *p = pipe_parse(bytes, path, NULL, 0, &err);
    if (!p) {
        if (err.code == GV_OK || strncmp(err.msg, path, strlen(path)) != 0) abort();
        return 0;
    }
    buf text = {0};
    pipe_describe(p, &text);
    if (utf8_invalid_at(buf_view(&text)) != SIZE_MAX) abort();
    for (int has_dataset = 0; has_dataset < 2; has_dataset++) {
        gv_err_clear(&err);
        if (!pipe_check(p, has_dataset, &err) && (err.code == GV_OK || !err.msg[0])) abort();
    }
    buf_clear(&text);
    buf_printf(&text, "%s.llm.generation_kwargs={\"temperature\": 0.5}", p->steps[0].name);
    const char *params[] = {text.p};
    gv_err_clear(&err);
    pipeline *with = pipe_parse(bytes, path, params, 1, &err);
    if (!with && err.code == GV_OK) abort();
    pipe_free(with);
    pipe_free(p);
    buf_fini(&text);
    return 0;
}
