/* Data sets against what the library `datasets` made of the same files: tests/data/dataset, made by its generate.py. */
#include "base/file.h"
#include "data/dataset.h"
#include "data/dataset_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define DATA GAVEL_TEST_DATA "/dataset/"

static json_doc *load(const char *name) {
    buf text = {0}, path = {0};
    gv_err err = GV_ERR_INIT;
    buf_printf(&path, DATA "%s", name);
    assert_true(file_read_all(path.p, 64 << 20, &text, &err));
    json_doc *d = json_parse(buf_view(&text), &err);
    if (!d) fail_msg("%s: %s", path.p, err.msg);
    buf_fini(&text);
    buf_fini(&path);
    return d;
}

static char *str(const json_value *v, const char *key, char out[256]) {
    const json_value *s = json_get(v, key);
    if (!s) return NULL;
    snprintf(out, 256, SV_FMT, SV_ARG(json_string(s)));
    return out;
}

static char root[64];

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/gavel-dataset-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static void write_file(const char *folder, sv name, sv text) {
    buf path = {0};
    buf_printf(&path, "%s/%s/" SV_FMT, root, folder, SV_ARG(name));
    for (char *p = path.p + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(path.p, 0700);
        *p = '/';
    }
    FILE *f = fopen(path.p, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    fclose(f);
    buf_fini(&path);
}

/* The same value: numbers by value and by having a point, members by name (a null member may be absent in ours). */
static bool same(const json_value *a, const json_value *b) {
    const json_kind k = json_kind_of(a);
    if (k != json_kind_of(b)) return false;
    if (k == JSON_STRING) return sv_eq(json_string(a), json_string(b));
    if (k == JSON_BOOL) return json_bool(a) == json_bool(b);
    if (k == JSON_NUMBER) {
        double x, y;
        int64_t i, j;
        const bool whole = json_int64(a, &i), whole_b = json_int64(b, &j);
        if (whole || whole_b) return whole && whole_b && i == j;
        return json_double(a, &x) && json_double(b, &y) && x == y &&
               (memchr(json_number_text(a).p, '.', json_number_text(a).n) == NULL) ==
                   (memchr(json_number_text(b).p, '.', json_number_text(b).n) == NULL);
    }
    if (k != JSON_NULL && json_size(a) != json_size(b)) return false;
    json_iter it = json_each(a), other = json_each(b);
    if (k == JSON_ARRAY || k == JSON_OBJECT)
        while (json_next(&it)) {
            if (!json_next(&other) || (k == JSON_OBJECT && !sv_eq(it.key, other.key)) || !same(it.value, other.value)) return false;
        }
    return true;
}

static void check_split(dataset *d, const char *what, const json_value *want) {
    gv_err err = GV_ERR_INIT;
    uint64_t n;
    int64_t rows;
    size_t n_columns;
    assert_true(json_int64(json_get(want, "num_rows"), &rows));
    if (!dataset_num_rows(d, &n, &err)) fail_msg("%s: %s", what, err.msg);
    if ((int64_t)n != rows) fail_msg("%s: %lld rows, expected %lld", what, (long long)n, (long long)rows);
    const sv *columns = dataset_columns(d, &n_columns);
    if (n_columns != json_size(json_get(want, "columns"))) fail_msg("%s: %zu columns", what, n_columns);
    size_t i = 0;
    for (json_iter it = json_each(json_get(want, "columns")); json_next(&it); i++)
        if (!sv_eq(json_string(it.value), columns[i])) fail_msg("%s: column %zu is " SV_FMT, what, i, SV_ARG(columns[i]));
    rows_reader *r = dataset_rows(d, NULL, &err);
    if (!r) fail_msg("%s: %s", what, err.msg);
    row at;
    bool end = false;
    uint64_t number = 0;
    for (json_iter it = json_each(json_get(want, "rows")); json_next(&it); number++) {
        if (!rows_next(r, &at, &end, &err)) fail_msg("%s: %s", what, err.msg);
        assert_false(end);
        if (at.bad) fail_msg("%s: " SV_FMT, what, SV_ARG(at.message));
        assert_int_equal(at.number, number);
        json_doc *mine = json_parse(at.text, &err);
        assert_non_null(mine);
        if (!same(it.value, json_root(mine))) {
            buf text = {0};
            json_put_value(&text, it.value);
            fail_msg("%s: row %llu is " SV_FMT ", expected %s", what, (unsigned long long)number, SV_ARG(at.text), text.p);
        }
        json_free(mine);
    }
    while (number < n) {
        assert_true(rows_next(r, &at, &end, &err) && !end);
        number++;
    }
    assert_true(rows_next(r, &at, &end, &err) && end);
    rows_close(r);
}

/* Our words where the library fails, and where it does not and we do; each is explained in docs/datasets.md. */
static const struct refusal {
    const char *name, *argument; /* of the case; what its arguments begin with */
    gv_code code;
    const char *message;
} refusals[] = {
    {"single_file", "{\"name\":\"x\"", GV_USAGE, "ROOT: no configuration \"x\"; there is \"default\""},
    {"single_file", "{\"data_files\":\"no", GV_UNSUPPORTED, "ROOT: no data files: .parquet, .arrow, .csv, .tsv, .json, .jsonl"},
    {"card_two", "{\"name\":\"fr\"", GV_USAGE, "ROOT: no configuration \"fr\"; there are \"en\", \"de\""},
    {"card_two_no_default", "{}", GV_USAGE, "ROOT: which configuration? there are \"en\", \"de\""},
    {"mixed_splits", "{}", GV_UNSUPPORTED, "ROOT: the splits differ in their format: json in \"train\", csv in \"test\""},
    {"card_missing_file", "{}", GV_USAGE, "ROOT: there is no data file \"nothere.jsonl\""},
    {"card_bad_split", "{}", GV_FORMAT, "ROOT: data_files: \"a-b\" is no name of a split: letters, digits, _ and dots between them"},
    {"card_two_defaults", "{}", GV_FORMAT, "ROOT: two configurations are the default one: \"default\", \"b\""},
    {"card_no_name", "{}", GV_FORMAT, "ROOT/README.md: configs: entry 1 has no config_name that is text"},
    {"empty", "{}", GV_UNSUPPORTED, "ROOT: no data files: .parquet, .arrow, .csv, .tsv, .json, .jsonl"},
};

static const struct refusal *refusal_of(const char *name, const char *arguments) {
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (!strcmp(refusals[i].name, name) && !strncmp(refusals[i].argument, arguments, strlen(refusals[i].argument))) return &refusals[i];
    return NULL;
}

/* Opens split (NULL: any) of the case; asserts the refusal if there is one. */
static dataset *open_case(const json_value *c, const char *folder, const char *split, const char *what) {
    char name[256], config[256], dir[256], path[512];
    gv_err err = GV_ERR_INIT;
    const json_value *a = json_get(c, "arguments");
    buf arguments = {0}, message = {0};
    if (a) json_put_value(&arguments, a);
    snprintf(path, sizeof path, "%s/%s", root, folder);
    dataset *d = dataset_open(&(dataset_spec){.path = path,
                                              .config = str(a, "name", config),
                                              .data_dir = str(a, "data_dir", dir),
                                              .split = split,
                                              .data_files = json_get(a, "data_files")},
                              &err);
    const struct refusal *r = json_get(c, "error") && str(c, "name", name) ? refusal_of(name, arguments.p) : NULL;
    if (r) {
        buf_printf(&message, "%s%s", path, r->message + 4);
        if (d) fail_msg("%s: opened", what);
        assert_string_equal(err.msg, message.p);
        assert_int_equal(err.code, r->code);
    } else if (!d) {
        fail_msg("%s: %s", what, err.msg);
    }
    buf_fini(&arguments);
    buf_fini(&message);
    return d;
}

static void folders_resolve_as_in_the_library(void **state) {
    (void)state;
    json_doc *doc = load("cases.json");
    int n = 0;
    for (json_iter it = json_each(json_root(doc)); json_next(&it); n++) {
        char name[256], what[1024], folder[300];
        const json_value *c = it.value, *splits = json_get(c, "splits");
        str(c, "name", name);
        snprintf(folder, sizeof folder, "%s_%d", name, n);
        for (json_iter f = json_each(json_get(c, "tree")); json_next(&f);) write_file(folder, f.key, json_string(f.value));
        if (!splits) {
            dataset *d = open_case(c, folder, strcmp(name, "jsonl_keys") ? NULL : "train", name);
            if (!d) continue;
            assert_string_equal(name, "jsonl_keys"); /* files with different columns: the only one that opens here and not there */
            dataset_close(d);
            continue;
        }
        const json_value *order[16];
        for (json_iter s = json_each(splits); json_next(&s);) {
            char split[64];
            snprintf(split, sizeof split, SV_FMT, SV_ARG(s.key));
            snprintf(what, sizeof what, "case %d, %s, split %s", n, name, split);
            dataset *d = open_case(c, folder, split, what);
            size_t n_splits;
            const char *const *names = dataset_splits(d, &n_splits);
            assert_int_equal(n_splits, json_size(splits));
            size_t i = 0;
            for (json_iter k = json_each(splits); json_next(&k); i++) {
                order[i] = k.value;
                if (!sv_is(k.key, names[i])) fail_msg("%s: split %zu is %s", what, i, names[i]);
            }
            assert_non_null(order[0]);
            check_split(d, what, s.value);
            dataset_close(d);
        }
    }
    assert_true(n > 40);
    json_free(doc);
}

static void slices_hold_the_rows_of_the_library(void **state) {
    (void)state;
    json_doc *doc = load("slices.json");
    buf text = {0};
    for (int file = 0, i = 0; file < 3; file++) {
        buf_clear(&text);
        for (int n = file == 0 ? 100 : file == 1 ? 227 : 10; n > 0; n--, i++)
            buf_printf(&text, "{\"a\": %d}\n", file == 2 ? 1000 + i - 327 : i);
        write_file("slices", file == 0 ? SV("train_0.jsonl") : file == 1 ? SV("train_1.jsonl") : SV("test.jsonl"), buf_view(&text));
    }
    buf_fini(&text);
    char path[128];
    snprintf(path, sizeof path, "%s/slices", root);
    for (json_iter it = json_each(json_root(doc)); json_next(&it);) {
        char split[256];
        gv_err err = GV_ERR_INIT;
        str(it.value, "split", split);
        dataset *d = dataset_open(&(dataset_spec){.path = path, .split = split}, &err);
        const json_value *want = json_get(it.value, "rows");
        if (!want || json_size(want) == 0) {
            if (!strcmp(split, "train[:3] + test[-2:]")) { /* blanks around the plus are fine here */
                assert_non_null(d);
                dataset_close(d);
                continue;
            }
            if (d) fail_msg("%s: opened", split);
            assert_int_equal(err.code, GV_USAGE);
            assert_true(strstr(err.msg, "split") != NULL);
            continue;
        }
        if (!d) fail_msg("%s: %s", split, err.msg);
        rows_reader *r = dataset_rows(d, NULL, &err);
        row at;
        bool end;
        for (json_iter w = json_each(want); json_next(&w);) {
            int64_t number, mine;
            assert_true(rows_next(r, &at, &end, &err) && !end && !at.bad);
            assert_true(json_int64(w.value, &number) && json_int64(at.columns[0].value, &mine));
            if (number != mine) fail_msg("%s: row %lld, expected %lld", split, (long long)mine, (long long)number);
        }
        assert_true(rows_next(r, &at, &end, &err) && end);
        uint64_t n;
        assert_true(dataset_num_rows(d, &n, &err));
        assert_int_equal(n, json_size(want));
        rows_close(r);
        dataset_close(d);
    }
    json_free(doc);
}

/* Files whose values differ on purpose; docs/datasets.md has the reasons. */
static const char *const differing[] = {"zeros.csv is not here", "dates.jsonl", "big.csv"};

static void values_are_those_of_the_library(void **state) {
    (void)state;
    json_doc *doc = load("values.json");
    int n = 0;
    for (json_iter it = json_each(json_root(doc)); json_next(&it); n++) {
        char file[256], folder[300];
        str(it.value, "file", file);
        snprintf(folder, sizeof folder, "values_%d", n);
        write_file(folder, sv_of(file), json_string(json_get(it.value, "text")));
        dataset *d = open_case(it.value, folder, "train", file);
        bool differs = false;
        for (size_t i = 0; i < sizeof differing / sizeof differing[0]; i++) differs |= !strcmp(differing[i], file);
        if (!differs) check_split(d, file, json_get(json_get(it.value, "splits"), "train"));
        dataset_close(d);
    }
    json_free(doc);
}

static void patterns_match_as_fsspec_translates_them(void **state) {
    (void)state;
    json_doc *doc = load("patterns.json");
    const json_value *paths = json_get(json_root(doc), "paths");
    for (json_iter it = json_each(json_get(json_root(doc), "patterns")); json_next(&it);) {
        gv_err err = GV_ERR_INIT;
        pattern_budget budget = {PATTERN_BUDGET};
        const sv text = json_string(json_get(it.value, "pattern"));
        const json_value *want = json_get(it.value, "matches");
        pattern *p = pattern_compile(text, &err);
        if (!want) {
            assert_null(p);
            assert_int_equal(err.code, GV_FORMAT);
            assert_true(strstr(err.msg, "\"**\" can only be a whole component of a path") != NULL);
            continue;
        }
        assert_non_null(p);
        for (json_iter path = json_each(paths); json_next(&path);) {
            bool expected = false, matches;
            for (json_iter w = json_each(want); json_next(&w);) expected |= sv_eq(json_string(w.value), json_string(path.value));
            assert_true(pattern_match(p, json_string(path.value), &budget, &matches, &err));
            if (matches != expected)
                fail_msg("pattern " SV_FMT ", path " SV_FMT ": %d", SV_ARG(text), SV_ARG(json_string(path.value)), matches);
        }
        pattern_free(p);
    }
    json_free(doc);
}

/* The data set's rows, one text after the other. */
static void expect_rows(const char *path, const char *split, const char *want) {
    gv_err err = GV_ERR_INIT;
    buf got = {0};
    row at;
    bool end = false;
    dataset *d = dataset_open(&(dataset_spec){.path = path, .split = split}, &err);
    if (!d) fail_msg("%s: %s", path, err.msg);
    rows_reader *r = dataset_rows(d, NULL, &err);
    while (r && rows_next(r, &at, &end, &err) && !end) buf_add_sv(&got, at.bad ? at.message : at.text);
    if (err.code) fail_msg("%s: %s", path, err.msg);
    assert_string_equal(got.p, want);
    rows_close(r);
    dataset_close(d);
    buf_fini(&got);
}

/* gzip, else zstd */
static void z_pack(buf *out, sv text, bool gzip) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)text.p, .avail_in = (uInt)text.n, .avail_out = 4096};
    char *to = buf_reserve(out, 4096);
    if (gzip) {
        z.next_out = (Bytef *)to;
        assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        out->n += z.total_out;
        deflateEnd(&z);
    } else {
        out->n += ZSTD_compress(to, 4096, text.p, text.n, 3);
    }
}

/* load_dataset("json", data_files=...), as LoadDataFromFileSystem calls it: paths of the user's own, anywhere. */
static void data_files_of_the_user_may_lie_anywhere(void **state) {
    (void)state;
    write_file("anywhere", SV("a.data"), SV("{\"a\": 1}\n{\"a\": 2}\n"));
    write_file("anywhere", SV("b.jsonl"), SV("{\"a\": 3}\n"));
    static const struct {
        const char *builder, *files, *split;
        int rows;
        const char *message;
    } t[] = {
        {"json", "\"%s/anywhere/a.data\"", NULL, 2, NULL},
        {"json", "[\"%s/anywhere/b.jsonl\", \"%s/anywhere/*.data\"]", "train[1:]", 2, NULL},
        {"json", "{\"x\": \"%s/anywhere/../anywhere/b.jsonl\", \"y\": [\"%s/anywhere/?.data\"]}", "y", 2, NULL},
        {NULL, "\"%s/anywhere/b.jsonl\"", "train", 1, NULL},
        {NULL, "\"%s/anywhere/c.jsonl\"", NULL, 0, "there is no data file"},
        {"json", "\"%s/anywhere/*.x\"", NULL, 0, "no data files"},
        {"xml", "\"%s/anywhere/b.jsonl\"", NULL, 0, "data files of type \"xml\" are not read; gavel reads csv, json, parquet and arrow"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        gv_err err = GV_ERR_INIT;
        buf text = {0};
        for (const char *p = t[i].files; *p; p++)
            if (p[0] == '%')
                buf_add_str(&text, root), p++;
            else
                buf_add_char(&text, *p);
        json_doc *files = json_parse(buf_view(&text), &err);
        assert_non_null(files);
        dataset *d = dataset_open(&(dataset_spec){.builder = t[i].builder, .data_files = json_root(files), .split = t[i].split}, &err);
        uint64_t n = 0;
        if (t[i].message ? d || !strstr(err.msg, t[i].message) : !d || !dataset_num_rows(d, &n, &err) || n != (uint64_t)t[i].rows)
            fail_msg("%s: %llu rows, %s", text.p, (unsigned long long)n, err.msg);
        dataset_close(d);
        json_free(files);
        buf_fini(&text);
    }
}

static void compressed_files_of_a_data_set_are_read_by_their_inner_suffix(void **state) {
    (void)state;
    static const char *const names[] = {"data/train-00000-of-00002.jsonl.gz", "data/train-00001-of-00002.jsonl.zst"};
    buf lines = {0}, array = {0}, csv = {0};
    z_pack(&lines, SV("{\"a\": 1}\n{\"a\": 2}\n"), true);
    z_pack(&array, SV("[{\"a\": 3}]"), false);
    z_pack(&csv, SV("a,b\n1,x\n,y\n"), true);
    write_file("packed", sv_of(names[0]), buf_view(&lines));
    write_file("packed", sv_of(names[1]), buf_view(&array));
    write_file("packed_csv", SV("test.csv.gz"), buf_view(&csv));
    write_file("packed_bad", SV("train.jsonl.gz"), sv_sub(buf_view(&lines), 0, lines.n - 4));
    static const struct {
        const char *folder, *split, *rows;
    } t[] = {{"packed", "train", "{\"a\":1}{\"a\":2}{\"a\":3}"},
             {"packed", "train[1:]", "{\"a\":2}{\"a\":3}"},
             {"packed_csv", "test", "{\"a\":1.0,\"b\":\"x\"}{\"a\":null,\"b\":\"y\"}"}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", root, t[i].folder);
        expect_rows(path, t[i].split, t[i].rows);
    }
    char path[128], want[256];
    gv_err err = GV_ERR_INIT;
    snprintf(path, sizeof path, "%s/packed_bad", root);
    snprintf(want, sizeof want, "%s/train.jsonl.gz: the gzip data ends early; the file was cut off", path);
    assert_null(dataset_open(&(dataset_spec){.path = path}, &err));
    assert_string_equal(err.msg, want);
    assert_int_equal(err.code, GV_FORMAT);
    buf_fini(&lines);
    buf_fini(&array);
    buf_fini(&csv);
}

static void put_parquet(const char *name, int from, int n) {
    char path[256];
    gv_err err = GV_ERR_INIT;
    schema s;
    static const sv names[] = {{"n", 1}, {"text", 4}};
    schema_init(&s);
    json_doc *first = json_parse(SV("{\"n\":1,\"text\":\"x\"}"), &err);
    assert_true(schema_see_row(&s, json_root(first), 0, &err));
    json_free(first);
    write_file("parquet", sv_of(name), SV("")); /* for its folder */
    snprintf(path, sizeof path, "%s/parquet/%s", root, name);
    rows_writer *w = rows_writer_open_typed(path, &s, &err);
    if (!w) fail_msg("%s", err.msg);
    for (int i = from; i < from + n; i++) {
        char number[16], text[32];
        snprintf(number, sizeof number, "%d", i);
        snprintf(text, sizeof text, "\"row %d\"", i);
        const rows_cell cells[] = {{.name = names[0], .raw = sv_of(number)}, {.name = names[1], .raw = sv_of(text)}};
        assert_true(rows_writer_put(w, cells, 2, &err));
    }
    assert_true(rows_writer_commit(w, &err));
    schema_fini(&s);
}

static void sharded_parquet_files_are_a_data_set_with_slices(void **state) {
    (void)state;
    char path[128];
    gv_err err = GV_ERR_INIT;
    size_t n_splits;
    uint64_t n;
    put_parquet("data/train-00000-of-00003.parquet", 0, 3);
    put_parquet("data/train-00001-of-00003.parquet", 3, 1);
    put_parquet("data/train-00002-of-00003.parquet", 4, 2);
    put_parquet("data/test-00000-of-00001.parquet", 100, 2);
    snprintf(path, sizeof path, "%s/parquet", root);
#define ROW(n) "{\"n\": " #n ", \"text\": \"row " #n "\"}"
    expect_rows(path, "train", ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5));
    expect_rows(path, "train[2:5]", ROW(2) ROW(3) ROW(4));
    expect_rows(path, "train[-1:]+test[:50%]", ROW(5) ROW(100));
    dataset *d = dataset_open(&(dataset_spec){.path = path, .split = "train[50%:]"}, &err);
    assert_non_null(d);
    const char *const *splits = dataset_splits(d, &n_splits);
    assert_int_equal(n_splits, 2);
    assert_string_equal(splits[0], "train");
    assert_string_equal(splits[1], "test");
    assert_true(dataset_num_rows(d, &n, &err));
    assert_int_equal(n, 3);
    const sv *columns = dataset_columns(d, &n_splits);
    assert_int_equal(n_splits, 2);
    assert_true(sv_is(columns[0], "n") && sv_is(columns[1], "text"));
    dataset_close(d);
}

/* ---- folders of save_to_disk ---- */

static dataset *open_disk(const char *folder, bool distiset, const char *config, const char *split) {
    gv_err err = GV_ERR_INIT;
    char path[512];
    snprintf(path, sizeof path, DATA "disk/%s", folder);
    dataset *d = dataset_open_disk(&(dataset_disk_spec){.path = path, .is_distiset = distiset, .config = config, .split = split}, &err);
    if (!d) fail_msg("%s: %s", folder, err.msg);
    return d;
}

static void saved_folders_hold_their_rows(void **state) {
    (void)state;
    json_doc *doc = load("disk.json");
    static const char *const names[] = {"types", "shards"};
    for (int i = 0; i < 2; i++) {
        const json_value *want = json_get(json_root(doc), names[i]);
        gv_err err = GV_ERR_INIT;
        dataset *d = open_disk(names[i], false, NULL, NULL);
        uint64_t n;
        assert_true(dataset_num_rows(d, &n, &err));
        assert_int_equal(n, json_size(want));
        rows_reader *r = dataset_rows(d, NULL, &err);
        for (json_iter it = json_each(want); json_next(&it);) {
            row at;
            bool end;
            assert_true(rows_next(r, &at, &end, &err) && !end);
            if (at.bad) fail_msg(SV_FMT, SV_ARG(at.message));
            for (json_iter m = json_each(it.value); json_next(&m);) {
                char name[64];
                snprintf(name, sizeof name, SV_FMT, SV_ARG(m.key));
                const row_column *c = row_get(&at, name);
                assert_non_null(c);
                if (!same(m.value, c->value))
                    fail_msg("%s, row %llu: %s is " SV_FMT, names[i], (unsigned long long)at.number, name, SV_ARG(c->raw));
            }
        }
        rows_close(r);
        dataset_close(d);
    }
    json_free(doc);
}

static void bytes_are_base64_and_wide_types_are_read(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    dataset *d = open_disk("types", false, NULL, NULL);
    rows_reader *r = dataset_rows(d, NULL, &err);
    row at;
    bool end;
    assert_true(rows_next(r, &at, &end, &err) && !end);
    assert_true(sv_is(row_get(&at, "by")->raw, "\"AP8=\""));
    rows_close(r);
    dataset_close(d);
    d = dataset_open(&(dataset_spec){.path = DATA "disk/large.arrow"}, &err);
    if (!d) fail_msg("%s", err.msg);
    r = dataset_rows(d, NULL, &err);
    assert_true(rows_next(r, &at, &end, &err) && !end);
    if (!sv_is(at.text, "{\"s\":\"x\",\"l\":[\"a\"],\"u\":18446744073709551615,\"dec\":null,\"h\":1.5,\"fl\":[1,2],\"ti\":\"00:00:01\","
                        "\"tz\":\"1970-01-01T00:00:00Z\",\"fb\":\"YWI=\"}"))
        fail_msg(SV_FMT, SV_ARG(at.text));
    assert_true(rows_next(r, &at, &end, &err) && !end);
    if (!sv_is(at.text, "{\"s\":null,\"l\":null,\"u\":null,\"dec\":\"-1.25\",\"h\":null,\"fl\":null,\"ti\":null,\"tz\":null,\"fb\":null}"))
        fail_msg(SV_FMT, SV_ARG(at.text));
    rows_close(r);
    dataset_close(d);
}

static void dicts_and_distisets_are_chosen_by_name(void **state) {
    (void)state;
    static const struct {
        const char *folder;
        bool distiset;
        const char *config, *split;
        uint64_t n;
    } t[] = {{"dict", false, NULL, "train", 3}, {"dict", false, NULL, "test", 2},  {"dict", false, NULL, "test[1:]+train", 4},
             {"shards", false, NULL, NULL, 25}, {"distiset", true, NULL, NULL, 2}, {"distiset", true, "leaf", "train", 4}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        gv_err err = GV_ERR_INIT;
        uint64_t n;
        dataset *d = open_disk(t[i].folder, t[i].distiset, t[i].config, t[i].split);
        assert_true(dataset_num_rows(d, &n, &err));
        assert_int_equal(n, t[i].n);
        dataset_close(d);
    }
    static const struct {
        const char *folder;
        bool distiset;
        const char *config, *split, *message;
    } bad[] = {
        {"dict", false, NULL, NULL, "/dict: which split? there are \"train\", \"test\""},
        {"dict", false, NULL, "x", "/dict: no split \"x\"; there are \"train\", \"test\""},
        {"distiset", true, "x", NULL,
         "Configuration 'x' not found in the Distiset, available ones are: ['default', 'leaf']. Please try changing the `config` parameter "
         "to one of the available "
         "configurations."},
        {"", false, NULL, NULL, "is no folder that save_to_disk wrote: it has neither state.json nor dataset_dict.json"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gv_err err = GV_ERR_INIT;
        char path[512];
        snprintf(path, sizeof path, DATA "disk/%s", bad[i].folder);
        assert_null(dataset_open_disk(
            &(dataset_disk_spec){.path = path, .is_distiset = bad[i].distiset, .config = bad[i].config, .split = bad[i].split}, &err));
        if (!strstr(err.msg, bad[i].message)) fail_msg("%s", err.msg);
        assert_int_equal(err.code, i == 3 ? GV_FORMAT : GV_USAGE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_fsspec_translates_them),
        cmocka_unit_test(folders_resolve_as_in_the_library),
        cmocka_unit_test(slices_hold_the_rows_of_the_library),
        cmocka_unit_test(values_are_those_of_the_library),
        cmocka_unit_test(data_files_of_the_user_may_lie_anywhere),
        cmocka_unit_test(compressed_files_of_a_data_set_are_read_by_their_inner_suffix),
        cmocka_unit_test(sharded_parquet_files_are_a_data_set_with_slices),
        cmocka_unit_test(saved_folders_hold_their_rows),
        cmocka_unit_test(bytes_are_base64_and_wide_types_are_read),
        cmocka_unit_test(dicts_and_distisets_are_chosen_by_name),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
