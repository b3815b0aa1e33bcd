/* The output folder: layout, rows and types read back, shards, replacement of an older folder, and what must stay untouched.
 *
 * `test_distiset write FOLDER [RUN]` writes the recorded runs (tests/data/distiset) as FOLDER/RUN, for the tests in Python that read them with
 * real clients and that make system calls fail. */
#include "base/file.h"
#include "base/yaml.h"
#include "data/parquet.h"
#include "pipe/distiset.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "support/base_check.h"

static char root[] = "/tmp/gavel-distiset-XXXXXX";

static int make_root(void **state) {
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}
static int remove_root(void **state) {
    (void)state;
    buf command = {0};
    buf_printf(&command, "rm -rf %s", root);
    const int rc = system(command.p);
    buf_fini(&command);
    return rc;
}

/* ROOT/NAME, in one of a few static rooms. */
static const char *at(const char *name) {
    static char rooms[8][256];
    static size_t next;
    char *room = rooms[next++ % 8];
    snprintf(room, sizeof rooms[0], "%s/%s", root, name);
    return room;
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void assert_file(const char *path, const char *text) {
    gv_err err = GV_ERR_INIT;
    buf b = {0};
    if (!file_read_all(path, 1 << 20, &b, &err)) fail_msg("%s", err.msg);
    assert_string_equal(b.p, text);
    buf_fini(&b);
}

/* Entries of the folder whose names begin so. */
static size_t count_entries(const char *folder, const char *prefix) {
    size_t n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.' && !strncmp(e->d_name, prefix, strlen(prefix));
    closedir(d);
    return n;
}

static bool put(distiset *d, size_t config, const char *object, gv_err *err) {
    rows_cell cells[32];
    buf raw[32] = {{0}};
    size_t n = 0;
    json_doc *doc = json_parse(sv_of(object), err);
    assert_non_null(doc);
    for (json_iter it = json_each(json_root(doc)); json_next(&it); n++) {
        json_put_value(&raw[n], it.value);
        cells[n] = (rows_cell){.name = it.key, .raw = buf_view(&raw[n])};
    }
    const bool ok = distiset_put(d, config, cells, n, err);
    for (size_t i = 0; i < n; i++) buf_fini(&raw[i]);
    json_free(doc);
    return ok;
}

/* A Distiset with one config of one column and n rows. */
static bool write_small(const char *dir, int n, const distiset_about *about, gv_err *err) {
    size_t config;
    distiset *d = distiset_open(dir, err);
    if (!d) return false;
    bool ok = distiset_add_config(d, SV("default"), NULL, 0, &config, err);
    for (int i = 0; i < n && ok; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"a\":%d}", i);
        ok = put(d, config, text, err);
    }
    if (ok) return distiset_finish(d, about, err);
    distiset_abandon(d);
    return false;
}

static void must_write(const char *dir, int n, const distiset_about *about) {
    gv_err err = GV_ERR_INIT;
    if (!write_small(dir, n, about, &err)) fail_msg("%s", err.msg);
}

/* ---- recorded runs ---- */

typedef struct recorded {
    buf text;
    json_doc *lines[16];
    size_t n;
} recorded;

static bool load_runs(recorded *r, gv_err *err) {
    *r = (recorded){0};
    if (!file_read_all(GAVEL_TEST_DATA "/distiset/runs.jsonl", 1 << 20, &r->text, err)) return false;
    for (size_t from = 0; from < r->text.n; r->n++) {
        const size_t end = sv_find(buf_view(&r->text), SV("\n"), from);
        r->lines[r->n] = json_parse(sv_sub(buf_view(&r->text), from, end - from), err);
        if (!r->lines[r->n]) return false;
        from = end + 1;
    }
    return true;
}
static void free_runs(recorded *r) {
    for (size_t i = 0; i < r->n; i++) json_free(r->lines[i]);
    buf_fini(&r->text);
}

static bool write_config(distiset *d, const json_value *line, gv_err *err) {
    /* what the pipeline knows of its columns: an all-null result is still int64 */
    static const distiset_column known[] = {
        {SV("instruction"), NULL}, {SV("generation"), NULL}, {SV("feedback"), "string"}, {SV("result"), "int64"}};
    const bool fixed = sv_is(json_string(json_get(line, "run")), "all_null");
    size_t config;
    bool ok = distiset_add_config(d, json_string(json_get(line, "config")), known, fixed ? 4 : 0, &config, err);
    for (json_iter it = json_each(json_get(line, "rows")); ok && json_next(&it);) {
        buf text = {0};
        json_put_value(&text, it.value);
        ok = put(d, config, text.p, err);
        buf_fini(&text);
    }
    return ok;
}

/* Writes run `name` into folder/name. */
static bool write_run(const recorded *r, const char *folder, sv name, gv_err *err) {
    static const char *const citations[] = {card_cite_prometheus_eval};
    buf dir = {0};
    buf_printf(&dir, "%s/" SV_FMT, folder, SV_ARG(name));
    distiset *d = distiset_open(dir.p, err);
    bool ok = d != NULL;
    for (size_t i = 0; i < r->n && ok; i++)
        if (sv_eq(json_string(json_get(json_root(r->lines[i]), "run")), name)) ok = write_config(d, json_root(r->lines[i]), err);
    const distiset_about about = {.pipeline_yaml = SV("distilabel:\n  version: 1.5.3\n"),
                                  .citations = citations,
                                  .n_citations = 1,
                                  .max_shard_bytes = sv_is(name, "seed") ? 1500 : 0};
    if (ok)
        ok = distiset_finish(d, &about, err);
    else
        distiset_abandon(d);
    buf_fini(&dir);
    return ok;
}

/* Are they the same value?  Members of an object come sorted, and those that a row lacks are null. */
static bool same(const json_value *got, const json_value *want) {
    if (!got || !want) return json_kind_of(got ? got : want) == JSON_NULL;
    if (json_kind_of(got) != json_kind_of(want)) return false;
    switch (json_kind_of(got)) {
    case JSON_NULL: return true;
    case JSON_BOOL: return json_bool(got) == json_bool(want);
    case JSON_NUMBER: return sv_eq(json_number_text(got), json_number_text(want));
    case JSON_STRING: return sv_eq(json_string(got), json_string(want));
    case JSON_ARRAY:
        if (json_size(got) != json_size(want)) return false;
        for (json_iter a = json_each(got), b = json_each(want); json_next(&a) && json_next(&b);)
            if (!same(a.value, b.value)) return false;
        return true;
    case JSON_OBJECT:
        for (json_iter a = json_each(got); json_next(&a);)
            if (!same(a.value, json_get_sv(want, a.key))) return false;
        for (json_iter b = json_each(want); json_next(&b);)
            if (!json_get_sv(got, b.key)) return false;
        return true;
    }
    return false;
}

static uint64_t shard_rows(const char *dir, const char *name, buf *rows, schema *out) {
    gv_err err = GV_ERR_INIT;
    buf path = {0};
    buf_printf(&path, "%s/%s", dir, name);
    pq_reader *r = pq_open(path.p, NULL, 0, &err);
    if (!r) fail_msg("%s", err.msg);
    const uint64_t n = pq_n_rows(r);
    for (bool end = false;;) {
        const char *bad = NULL;
        if (!pq_next(r, rows, 1 << 20, &bad, &end, &err)) fail_msg("%s", err.msg);
        if (end) break;
        assert_null(bad);
        if (rows) buf_add_char(rows, '\n');
    }
    if (out)
        for (size_t i = 0; i < pq_schema(r)->root.n_fields; i++) {
            const schema_field *from = &pq_schema(r)->root.fields[i];
            schema_field *to = schema_add(out, from->name, &err);
            assert_true(to && schema_copy_type(out, &to->type, &from->type, &err));
        }
    pq_close(r);
    buf_fini(&path);
    return n;
}

static void check_types(const json_value *line, const schema *got) {
    const bool all_null = sv_is(json_string(json_get(line, "run")), "all_null");
    size_t i = 0;
    for (json_iter it = json_each(json_get(line, "columns")); json_next(&it); i++) {
        gv_err err = GV_ERR_INIT;
        schema want;
        schema_init(&want);
        json_iter pair = json_each(it.value);
        assert_true(json_next(&pair) && i < got->root.n_fields);
        const sv name = json_string(pair.value);
        assert_true(sv_eq(name, got->root.fields[i].name));
        assert_true(json_next(&pair));
        sv type = json_string(pair.value);
        if (sv_is(type, "null")) type = all_null && sv_is(name, "result") ? SV("int64") : SV("string"); /* our rule */
        schema_field *f = schema_add(&want, name, &err);
        assert_true(f && schema_from_arrow(&want, &f->type, type, &err));
        buf a = {0}, b = {0};
        schema_put_arrow(&a, &f->type, "element");
        schema_put_arrow(&b, &got->root.fields[i].type, "element");
        assert_string_equal(b.p, a.p);
        buf_fini(&a);
        buf_fini(&b);
        schema_fini(&want);
    }
    assert_int_equal(i, got->root.n_fields);
}

static void recorded_runs_give_their_rows_types_and_sizes(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    recorded r;
    size_t sized = 0;
    if (!load_runs(&r, &err)) fail_msg("%s", err.msg);
    assert_int_equal(r.n, 10);
    for (size_t i = 0; i < r.n; i++) {
        const json_value *line = json_root(r.lines[i]), *bytes = json_get(line, "arrow_bytes");
        const sv run = json_string(json_get(line, "run")), config = json_string(json_get(line, "config"));
        if (!write_run(&r, root, run, &err)) fail_msg(SV_FMT ": %s", SV_ARG(run), err.msg);
        buf dir = {0}, shard = {0}, rows = {0}, readme = {0};
        schema got;
        schema_init(&got);
        buf_printf(&dir, "%s/" SV_FMT, root, SV_ARG(run));
        const size_t n_shards = sv_is(run, "seed") ? 3 : 1;
        for (size_t k = 0; k < n_shards; k++) {
            buf_clear(&shard);
            buf_printf(&shard, SV_FMT "/train-%05zu-of-%05zu.parquet", SV_ARG(sv_is(config, "default") ? SV("data") : config), k, n_shards);
            const uint64_t n = shard_rows(dir.p, shard.p, &rows, k ? NULL : &got);
            if (n_shards > 1) assert_int_equal(n, 4);
        }
        check_types(line, &got);
        size_t from = 0;
        for (json_iter it = json_each(json_get(line, "rows")); json_next(&it);) {
            const size_t end = sv_find(buf_view(&rows), SV("\n"), from);
            json_doc *doc = json_parse(sv_sub(buf_view(&rows), from, end - from), &err);
            if (!doc) fail_msg("%s", err.msg);
            if (!same(json_root(doc), it.value)) fail_msg(SV_FMT ": row at byte %zu of\n%s", SV_ARG(run), from, rows.p);
            json_free(doc);
            from = end + 1;
        }
        assert_int_equal(from, rows.n);
        if (json_kind_of(bytes) == JSON_NUMBER) {
            buf path = {0}, text = {0};
            buf_printf(&path, "%s/README.md", dir.p);
            assert_true(file_read_all(path.p, 1 << 20, &readme, &err));
            buf_printf(&text, "  dataset_size: " SV_FMT "\n", SV_ARG(json_number_text(bytes)));
            if (sv_find(buf_view(&readme), buf_view(&text), 0) == SIZE_MAX)
                fail_msg(SV_FMT ": no %s in\n%.900s", SV_ARG(run), text.p, readme.p);
            sized++;
            buf_fini(&path);
            buf_fini(&text);
        }
        schema_fini(&got);
        buf_fini(&dir);
        buf_fini(&shard);
        buf_fini(&rows);
        buf_fini(&readme);
    }
    assert_int_equal(sized, 4);
    free_runs(&r);
}

/* ---- the folder ---- */

static void files_are_listed_with_the_card_last(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    const char *dir = at("listed"), *log = at("log");
    distiset_files files;
    write_text(log, "[2026-01-01 00:00:00] INFO     done\n");
    distiset *d = distiset_open(dir, &err);
    assert_non_null(d);
    for (int i = 0; i < 2; i++) {
        size_t config;
        assert_true(distiset_add_config(d, i ? SV("absolute") : SV("relative"), NULL, 0, &config, &err));
        assert_int_equal(config, i);
        assert_true(put(d, config, "{\"x\":1}", &err));
        assert_int_equal(distiset_rows(d, config), 1);
    }
    assert_false(file_exists(dir));
    if (!distiset_finish(d, &(distiset_about){.pipeline_yaml = SV("a: 1\n"), .log = log, .repo_id = "org/x"}, &err))
        fail_msg("%s", err.msg);
    if (!distiset_list(dir, &files, &err)) fail_msg("%s", err.msg);
    static const char *const names[] = {"absolute/train-00000-of-00001.parquet", "relative/train-00000-of-00001.parquet", "pipeline.log",
                                        "pipeline.yaml", "README.md"};
    assert_int_equal(files.n, 5);
    for (size_t i = 0; i < 5; i++) assert_string_equal(files.v[i].path, names[i]);
    assert_int_equal(files.v[3].bytes, 5);
    assert_string_equal(files.v[3].sha256, "37b128c59f1f5097f73f82691cb519f1f568667faab5ced1b4ab979d36837eae");
    distiset_files_fini(&files);
    assert_int_equal(count_entries(root, "listed"), 1);
}

static void a_folder_that_is_no_distiset_is_not_listed(void **state) {
    (void)state;
    distiset_files files;
    char message[400];
    const char *dir = at("bare");
    assert_int_equal(mkdir(dir, 0777), 0);
    snprintf(message, sizeof message, "%s is no Distiset: it has no README.md", dir);
    CHECK_FAILS(distiset_list(dir, &files, &err), GV_STATE, -1, message);
    write_text(at("bare/README.md"), "x");
    snprintf(message, sizeof message, "%s is no Distiset: it has no data/train-*.parquet", dir);
    CHECK_FAILS(distiset_list(dir, &files, &err), GV_STATE, -1, message);
    snprintf(message, sizeof message, "cannot read %s/none: No such file or directory", root);
    CHECK_FAILS(distiset_list(at("none"), &files, &err), GV_IO, -1, message);
}

static void an_older_distiset_is_replaced_and_its_metadata_kept(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    const char *dir = at("again"), *readme = at("again/README.md");
    must_write(dir, 11, &(distiset_about){.max_shard_bytes = 20, .pipeline_yaml = SV("a: 1\n")});
    assert_int_equal(count_entries(at("again/data"), "train-"), 5);
    assert_int_equal(shard_rows(dir, "data/train-00000-of-00005.parquet", NULL, NULL), 3); /* 11 = 3 + 2 + 2 + 2 + 2 */
    for (int i = 1; i < 5; i++) {
        char shard[64];
        snprintf(shard, sizeof shard, "data/train-%05d-of-00005.parquet", i);
        assert_int_equal(shard_rows(dir, shard, NULL, NULL), 2);
    }
    write_text(readme, "---\nlicense: mit\nconfigs:\n- config_name: gone\n---\n");
    must_write(dir, 3, &(distiset_about){0});
    assert_int_equal(count_entries(at("again/data"), "train-"), 1);
    assert_false(file_exists(at("again/pipeline.yaml")));
    assert_int_equal(count_entries(root, "again"), 1);
    buf text = {0};
    assert_true(file_read_all(readme, 1 << 20, &text, &err));
    assert_true(sv_starts(buf_view(&text), SV("---\nlicense: mit\nsize_categories: n<1K\n")));
    assert_true(sv_find(buf_view(&text), SV("gone"), 0) == SIZE_MAX);
    assert_true(sv_find(buf_view(&text), SV("# Dataset Card for again\n"), 0) != SIZE_MAX);
    buf_fini(&text);
    assert_int_equal(shard_rows(dir, "data/train-00000-of-00001.parquet", NULL, NULL), 3);
}

static void a_folder_with_other_files_is_refused_and_stays(void **state) {
    (void)state;
    char message[600];
    const char *dir = at("mine");
    assert_int_equal(mkdir(dir, 0777), 0);
    write_text(at("mine/notes.txt"), "precious");
    snprintf(message, sizeof message, "cannot replace %s: %s/notes.txt is no file of a Distiset", dir, dir);
    CHECK_FAILS(distiset_open(dir, &err) != NULL, GV_STATE, -1, message);
    assert_int_equal(unlink(at("mine/notes.txt")), 0);
    assert_int_equal(mkdir(at("mine/data"), 0777), 0);
    assert_int_equal(symlink("/etc/passwd", at("mine/data/train-00000-of-00001.parquet")), 0);
    snprintf(message, sizeof message, "cannot replace %s: %s/data/train-00000-of-00001.parquet is no file of a Distiset", dir, dir);
    CHECK_FAILS(distiset_open(dir, &err) != NULL, GV_STATE, -1, message);
    assert_int_equal(unlink(at("mine/data/train-00000-of-00001.parquet")), 0);
    assert_int_equal(rmdir(at("mine/data")), 0);

    gv_err none = GV_ERR_INIT; /* a file that comes while the run goes on */
    size_t config;
    distiset *d = distiset_open(dir, &none);
    assert_non_null(d);
    assert_true(distiset_add_config(d, SV("default"), NULL, 0, &config, &none));
    assert_true(put(d, config, "{\"a\":1}", &none));
    write_text(at("mine/late"), "precious");
    snprintf(message, sizeof message, "cannot replace %s: %s/late is no file of a Distiset", dir, dir);
    CHECK_FAILS(distiset_finish(d, &(distiset_about){0}, &err), GV_STATE, -1, message);
    assert_file(at("mine/late"), "precious");
    assert_int_equal(count_entries(root, "mine"), 1);

    snprintf(message, sizeof message, "cannot write %s: it is no folder", at("mine/late"));
    CHECK_FAILS(distiset_open(at("mine/late"), &err) != NULL, GV_IO, -1, message);
}

static void the_current_folder_is_not_replaced(void **state) {
    (void)state;
    char *here = realpath(".", NULL), message[5000];
    const char *dir = at("here");
    assert_int_equal(mkdir(dir, 0777), 0);
    assert_int_equal(chdir(dir), 0);
    snprintf(message, sizeof message, "cannot replace .: it is the current folder");
    CHECK_FAILS(distiset_open(".", &err) != NULL, GV_USAGE, -1, message);
    CHECK_FAILS(distiset_open("", &err) != NULL, GV_USAGE, -1, "the output folder has no name");
    assert_int_equal(chdir(here), 0);
    free(here);
}

static void what_a_killed_writer_left_goes_and_a_living_ones_stays(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    const char *dir = at("killed");
    const pid_t child = fork();
    if (!child) {
        size_t config;
        distiset *d = distiset_open(dir, &err);
        _exit(d && distiset_add_config(d, SV("default"), NULL, 0, &config, &err) && put(d, config, "{\"a\":1}", &err) ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_entries(root, "killed.tmp-"), 1);
    assert_int_equal(mkdir(at("killed.tmp-1"), 0777), 0);
    const int living = open(at("killed.tmp-1"), O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(living, LOCK_EX), 0);
    assert_int_equal(mkdir(at("killed.tmp-x"), 0777), 0);
    must_write(dir, 1, &(distiset_about){0});
    assert_int_equal(count_entries(root, "killed.tmp-"), 2);
    assert_true(file_exists(at("killed.tmp-1")) && file_exists(at("killed.tmp-x")));
    close(living);
    distiset *d = distiset_open(dir, &err);
    assert_non_null(d);
    distiset_abandon(d);
    distiset_abandon(NULL);
    assert_int_equal(count_entries(root, "killed.tmp-"), 1);
}

/* ---- configs and columns ---- */

static void names_of_configs_are_checked(void **state) {
    (void)state;
    gv_err none = GV_ERR_INIT;
    size_t config;
    distiset *d = distiset_open(at("names"), &none);
    assert_non_null(d);
    CHECK_FAILS(distiset_add_config(d, SV("a\nb"), NULL, 0, &config, &err), GV_USAGE, -1,
                "config \"a\\nb\": a name consists of 1 to 128 letters, digits, _ and -");
    CHECK_FAILS(distiset_add_config(d, SV("../up"), NULL, 0, &config, &err), GV_USAGE, -1,
                "config \"../up\": a name consists of 1 to 128 letters, digits, _ and -");
    CHECK_FAILS(distiset_add_config(d, SV(""), NULL, 0, &config, &err), GV_USAGE, -1,
                "config \"\": a name consists of 1 to 128 letters, digits, _ and -");
    CHECK_FAILS(distiset_add_config(d, SV("data"), NULL, 0, &config, &err), GV_USAGE, -1,
                "config \"data\": a Distiset has a folder of this name for something else");
    assert_true(distiset_add_config(d, SV("a"), NULL, 0, &config, &none));
    CHECK_FAILS(distiset_add_config(d, SV("a"), NULL, 0, &config, &err), GV_USAGE, -1, "config \"a\" is there twice");
    distiset_abandon(d);
    d = distiset_open(at("names"), &none);
    CHECK_FAILS(distiset_finish(d, &(distiset_about){0}, &err), GV_STATE, -1, "a Distiset without a config");
    assert_int_equal(count_entries(root, "names"), 0);
}

static void columns_have_the_type_that_was_asked_for(void **state) {
    (void)state;
    gv_err none = GV_ERR_INIT;
    const char *dir = at("types");
    const distiset_column columns[] = {{SV("result"), "int64"}, {SV("results"), "list<element: int64>"}, {SV("b"), NULL}};
    size_t config;
    distiset *d = distiset_open(dir, &none);
    assert_true(distiset_add_config(d, SV("default"), columns, 3, &config, &none));
    assert_true(put(d, config, "{\"c\":{\"y\":null,\"x\":[]},\"result\":null}", &none));
    assert_true(put(d, config, "{\"c\":null,\"results\":[null]}", &none));
    CHECK_FAILS(put(d, config, "{\"result\":\"A\"}", &err), GV_FORMAT, 2,
                "config default, row 2: column \"result\": string in row 2, int64 before it");
    distiset_abandon(d);

    d = distiset_open(dir, &none);
    assert_true(distiset_add_config(d, SV("default"), columns, 3, &config, &none));
    CHECK_FAILS(put(d, config, "{\"result\":1.5}", &err), GV_FORMAT, 0,
                "config default, row 0: column \"result\": row 0 needs type double, the column has int64");
    distiset_abandon(d);

    d = distiset_open(dir, &none);
    assert_true(distiset_add_config(d, SV("default"), columns, 3, &config, &none));
    assert_true(put(d, config, "{\"c\":{\"y\":null,\"x\":[]},\"result\":null}", &none));
    if (!distiset_finish(d, &(distiset_about){0}, &none)) fail_msg("%s", none.msg);
    schema got;
    buf rows = {0}, text = {0};
    schema_init(&got);
    assert_int_equal(shard_rows(dir, "data/train-00000-of-00001.parquet", &rows, &got), 1);
    schema_put_arrow(&text, &got.root, "element");
    assert_string_equal(text.p,
                        "struct<result: int64, results: list<element: int64>, b: string, c: struct<x: list<element: string>, y: string>>");
    buf_fini(&rows);
    buf_fini(&text);
    schema_fini(&got);
}

static void a_config_may_have_no_rows(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    const distiset_column columns[] = {{SV("a"), "string"}};
    size_t config;
    distiset *d = distiset_open(at("empty"), &err);
    assert_true(distiset_add_config(d, SV("default"), columns, 1, &config, &err));
    if (!distiset_finish(d, &(distiset_about){0}, &err)) fail_msg("%s", err.msg);
    assert_int_equal(shard_rows(at("empty"), "data/train-00000-of-00001.parquet", NULL, NULL), 0);
}

/* ---- disk full ---- */

static void a_full_disk_leaves_what_was_there(void **state) {
    (void)state;
    const char *dir = at("full");
    struct rlimit old, small;
    size_t failures = 0;
    must_write(dir, 7, &(distiset_about){0});
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t bytes = 0;; bytes += bytes < 64 ? 16 : bytes / 4) {
        gv_err err = GV_ERR_INIT;
        small = old;
        small.rlim_cur = bytes;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        const bool ok = write_small(dir, 2000, &(distiset_about){.pipeline_yaml = SV("a: 1\n")}, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(count_entries(root, "full"), 1);
        if (ok) break;
        failures++;
        assert_non_null(strstr(err.msg, "File too large"));
        assert_int_equal(shard_rows(dir, "data/train-00000-of-00001.parquet", NULL, NULL), 7);
        assert_true(bytes < 1000000);
    }
    assert_true(failures > 10);
    assert_int_equal(shard_rows(dir, "data/train-00000-of-00001.parquet", NULL, NULL), 2000);
}

static int write_runs(const char *folder, const char *only) {
    gv_err err = GV_ERR_INIT;
    recorded r;
    signal(SIGPIPE, SIG_IGN); /* tests/fault/failing_call counts from here */
    bool ok = load_runs(&r, &err);
    for (size_t i = 0; i < r.n && ok; i++) {
        const sv run = json_string(json_get(json_root(r.lines[i]), "run"));
        const bool first = i == 0 || !sv_eq(run, json_string(json_get(json_root(r.lines[i - 1]), "run")));
        if (first && (!only || sv_is(run, only))) ok = write_run(&r, folder, run, &err);
    }
    free_runs(&r);
    if (!ok) fprintf(stderr, "%s\n", err.msg);
    return ok ? 0 : 1;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_runs_give_their_rows_types_and_sizes),
        cmocka_unit_test(files_are_listed_with_the_card_last),
        cmocka_unit_test(a_folder_that_is_no_distiset_is_not_listed),
        cmocka_unit_test(an_older_distiset_is_replaced_and_its_metadata_kept),
        cmocka_unit_test(a_folder_with_other_files_is_refused_and_stays),
        cmocka_unit_test(the_current_folder_is_not_replaced),
        cmocka_unit_test(what_a_killed_writer_left_goes_and_a_living_ones_stays),
        cmocka_unit_test(names_of_configs_are_checked),
        cmocka_unit_test(columns_have_the_type_that_was_asked_for),
        cmocka_unit_test(a_config_may_have_no_rows),
        cmocka_unit_test(a_full_disk_leaves_what_was_there),
    };
    if (argc >= 3 && !strcmp(argv[1], "write")) return write_runs(argv[2], argc > 3 ? argv[3] : NULL);
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
