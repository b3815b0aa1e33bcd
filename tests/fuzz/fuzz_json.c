/* JSON of a stranger: parse; what parses must print to text that parses to the same print, keep its numbers, and hold only valid UTF-8.
 * What does not parse must say so with a place inside the text.  Any bytes printed as a string must come back as their replacement. */
#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void walk(const json_value *v, int depth) {
    check(depth <= 64);
    int64_t i;
    double d;
    switch (json_kind_of(v)) {
    case JSON_STRING: check(utf8_invalid_at(json_string(v)) == SIZE_MAX); break;
    case JSON_NUMBER: {
        sv s = json_number_text(v);
        check(s.n > 0);
        for (size_t k = 0; k < s.n; k++) check(memchr("0123456789+-.eE", s.p[k], 15));
        if (json_int64(v, &i)) check(json_double(v, &d) && d == (double)i);
        break;
    }
    case JSON_ARRAY:
    case JSON_OBJECT: {
        size_t n = 0;
        for (json_iter it = json_each(v); json_next(&it); n++) {
            if (json_kind_of(v) == JSON_OBJECT && n < 50) check(json_get_sv(v, it.key) == it.value);
            walk(it.value, depth + 1);
        }
        check(n == json_size(v));
        break;
    }
    default: check(!json_int64(v, &i) && !json_double(v, &d));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sv text = {(const char *)data, size};
    gv_err err = GV_ERR_INIT;
    json_doc *doc = json_parse(text, &err);
    if (!doc) {
        check((err.code == GV_FORMAT || err.code == GV_LIMIT) && err.where >= 0 && (size_t)err.where <= size && err.msg[0]);
    } else {
        walk(json_root(doc), 0);
        buf once = {0}, twice = {0};
        json_put_value(&once, json_root(doc));
        json_doc *again = json_parse(buf_view(&once), &err);
        check(again);
        json_put_value(&twice, json_root(again));
        check(sv_eq(buf_view(&once), buf_view(&twice)));
        json_free(again);
        buf_fini(&once);
        buf_fini(&twice);
        json_free(doc);
    }
    buf quoted = {0}, clean = {0};
    json_put_string(&quoted, text);
    utf8_replace(text, &clean);
    gv_err_clear(&err);
    doc = json_parse(buf_view(&quoted), &err);
    check(doc && sv_eq(json_string(json_root(doc)), buf_view(&clean)));
    json_free(doc);
    buf_fini(&quoted);
    buf_fini(&clean);
    return 0;
}
