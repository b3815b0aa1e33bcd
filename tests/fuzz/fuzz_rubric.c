/* Rubric files of any bytes.  Input: 'j', 'y' or 't' (suffix), a digit (style), then the file.  JSON objects also go through distilabel's task
 * checks and, as a row's value, through rubric_from_value. */
#include <stdlib.h>
#include <string.h>

#include "judge/pystr.h"
#include "judge/rubric.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void check_rubric(const rubric *r, judge_style style) {
    check(strlen(r->hash) == 64 && r->text.n <= 64 * 1024 && utf8_invalid_at(r->text) == SIZE_MAX);
    if (style == STYLE_DISTILABEL) check(rubric_has_shape(r->text));
    for (int mode = JUDGE_ABSOLUTE; mode <= JUDGE_RELATIVE; mode++) {
        sv text = rubric_insert(r, style, (judge_mode)mode);
        check(text.n <= r->text.n && (text.n == 0 || (text.p >= r->text.p && text.p + text.n <= r->text.p + r->text.n)));
    }
}

static void check_object(sv text, judge_style style, arena *a) {
    gv_err err = GV_ERR_INIT;
    json_doc *doc = json_parse(text, &err);
    if (!doc) return;
    rubric r;
    gv_err_clear(&err);
    if (rubric_from_value(json_root(doc), (sv){0}, style, a, &r, &err))
        check_rubric(&r, style);
    else
        check(err.code != GV_OK && err.msg[0]);
    if (json_kind_of(json_root(doc)) == JSON_OBJECT) {
        rubric_check result;
        rubric_check_task(json_root(doc), NULL, a, &result);
        check(result.accept == (result.text.n == 0));
    }
    buf shown = {0};
    py_str(&shown, json_root(doc));
    check(utf8_invalid_at(buf_view(&shown)) == SIZE_MAX);
    buf_fini(&shown);
    json_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    const char *path = data[0] == 'j' ? "f.json" : data[0] == 'y' ? "f.yaml" : "f.txt";
    judge_style style = (judge_style)(data[1] % 4);
    sv bytes = {(const char *)data + 2, size - 2};
    arena a;
    arena_init(&a);
    rubric r;
    for (int pick = 0; pick < 2; pick++) {
        gv_err err = GV_ERR_INIT;
        if (rubric_parse_file(bytes, path, pick ? "x" : NULL, style, &a, &r, &err))
            check_rubric(&r, style);
        else
            check(err.code != GV_OK && strncmp(err.msg, path, strlen(path)) == 0);
    }
    if (data[0] == 'j') check_object(bytes, style, &a);
    arena_fini(&a);
    return 0;
}
