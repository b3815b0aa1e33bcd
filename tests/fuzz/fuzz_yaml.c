/* YAML of any bytes, with both sets of options: an error with a message, or a document that prints as JSON and reads back. */
#include "base/yaml.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const yaml_options options[] = {{.max_values = 5000}, {.strings = true, .no_aliases = true, .max_depth = 16}};
    for (size_t i = 0; i < 2; i++) {
        gv_err err = GV_ERR_INIT;
        json_doc *doc = yaml_parse((sv){(const char *)data, size}, &options[i], &err);
        if (!doc) {
            if (err.code == GV_OK || !err.msg[0]) abort();
            continue;
        }
        buf out = {0};
        json_put_value(&out, json_root(doc));
        json_doc *again = json_parse_caps(buf_view(&out), 10000, 20000, &err);
        if (!again) abort();
        json_free(again);
        json_free(doc);
        buf_fini(&out);
    }
    return 0;
}
