/* Files: maps, capped reads, and the writer that replaces a file only when everything was written (full disk, size limit, no permission). */
#include "support/base_check.h"

#include "base/digest.h"
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static char dir[64], path[128], msg[512];

static int set_up(void **state) {
    (void)state;
    strcpy(dir, "/tmp/gavel-test-XXXXXX");
    if (!mkdtemp(dir)) return 1;
    snprintf(path, sizeof path, "%s/out.jsonl", dir);
    return 0;
}

/* Names in the folder, removed if asked. */
static int count_files(bool remove_them) {
    int n = 0;
    DIR *d = opendir(dir);
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        char name[512];
        snprintf(name, sizeof name, "%s/%s", dir, e->d_name);
        if (remove_them) unlink(name);
        n++;
    }
    closedir(d);
    return n;
}

static int tear_down(void **state) {
    (void)state;
    count_files(true);
    return rmdir(dir);
}

static void put_file(const char *name, const void *p, size_t n) {
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void check_file(const char *name, const char *want) {
    buf b = {0};
    gv_err ok = GV_ERR_INIT;
    assert_true(file_read_all(name, 1 << 20, &b, &ok));
    assert_string_equal(b.p, want);
    buf_fini(&b);
}

static const char *about(const char *fmt, const char *name) {
    snprintf(msg, sizeof msg, fmt, name);
    return msg;
}

static void a_map_shows_the_file_and_survives_dropping_pages(void **state) {
    (void)state;
    enum { N = 5 * 4096 + 123 };
    static uint8_t data[N];
    for (int i = 0; i < N; i++) data[i] = (uint8_t)(i * 7 >> 3);
    put_file(path, data, N);
    file_map m;
    gv_err ok = GV_ERR_INIT;
    assert_true(file_map_open(&m, path, &ok));
    assert_int_equal(m.n, N);
    assert_memory_equal(m.p, data, N);
    file_map_drop(&m, 0, N);
    file_map_drop(&m, 100, 50);
    file_map_drop(&m, 4000, SIZE_MAX);
    file_map_drop(&m, SIZE_MAX, 1);
    assert_memory_equal(m.p, data, N);
    file_map_close(&m);
    file_map_close(&m);
    put_file(path, "", 0);
    assert_true(file_map_open(&m, path, &ok));
    assert_null(m.p);
    assert_int_equal(m.n, 0);
    file_map_drop(&m, 0, 1);
    file_map_close(&m);
}

static void a_map_of_something_else_says_why_not(void **state) {
    (void)state;
    file_map m;
    CHECK_FAILS(file_map_open(&m, path, &err), GV_IO, -1, about("cannot open %s: No such file or directory", path));
    CHECK_FAILS(file_map_open(&m, dir, &err), GV_IO, -1, about("cannot read %s: it is a folder", dir));
    CHECK_FAILS(file_map_open(&m, "/dev/null", &err), GV_IO, -1, "cannot read /dev/null: not a regular file");
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    put_file(path, pointer, sizeof pointer - 1);
    CHECK_FAILS(file_map_open(&m, path, &err), GV_FORMAT, -1,
                about("%s: a Git LFS pointer, not the file itself; `git lfs pull` fetches it", path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* without a writer, whom opening must not wait for */
    CHECK_FAILS(file_map_open(&m, path, &err), GV_IO, -1, about("cannot read %s: not a regular file", path));
    assert_int_equal(unlink(path), 0);
}

static void a_whole_read_appends_and_keeps_to_its_cap(void **state) {
    (void)state;
    put_file(path, "0123456789", 10);
    buf b = {0};
    gv_err ok = GV_ERR_INIT;
    buf_add_str(&b, "x");
    assert_true(file_read_all(path, 10, &b, &ok));
    assert_string_equal(b.p, "x0123456789");
    CHECK_FAILS(file_read_all(path, 9, &b, &err), GV_LIMIT, -1, about("%s: 10 bytes, more than the cap of 9", path));
    CHECK_FAILS(file_read_all("/dev/zero", 100000, &b, &err), GV_LIMIT, -1, "/dev/zero: more than the cap of 100000 bytes");
    CHECK_FAILS(file_read_all(dir, 100, &b, &err), GV_IO, -1, about("cannot read %s: Is a directory", dir));
    CHECK_FAILS(file_read_all("/nowhere/x", 100, &b, &err), GV_IO, -1, "cannot open /nowhere/x: No such file or directory");
    assert_int_equal(b.n, 11);
    assert_string_equal(b.p, "x0123456789");                           /* failures leave it as it was */
    assert_true(file_read_all("/proc/self/status", 1 << 20, &b, &ok)); /* says it has 0 bytes */
    assert_true(b.n > 100);
    buf_fini(&b);
    assert_true(file_exists(path));
    assert_false(file_exists("/nowhere/x"));
}

static void the_file_appears_at_commit_and_not_before(void **state) {
    (void)state;
    file_writer w;
    gv_err ok = GV_ERR_INIT;
    put_file(path, "old", 3);
    assert_int_equal(chmod(path, 0640), 0);
    assert_true(file_writer_open(&w, path, &ok));
    assert_true(file_writer_put(&w, "new", 3, &ok));
    assert_true(file_writer_put(&w, NULL, 0, &ok));
    fputs(" text", w.f);
    fflush(w.f);
    check_file(path, "old");
    assert_int_equal(count_files(false), 2);
    assert_true(file_writer_commit(&w, &ok));
    check_file(path, "new text");
    assert_int_equal(count_files(false), 1);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    file_writer_abandon(&w);
    CHECK_FAILS(file_writer_commit(&w, &err), GV_STATE, -1, "file writer: commit without an open file");
}

static void an_abandoned_write_leaves_the_old_file(void **state) {
    (void)state;
    file_writer w = {0};
    gv_err ok = GV_ERR_INIT;
    file_writer_abandon(&w);
    put_file(path, "old", 3);
    assert_true(file_writer_open(&w, path, &ok));
    assert_true(file_writer_put(&w, "new", 3, &ok));
    file_writer_abandon(&w);
    check_file(path, "old");
    assert_int_equal(count_files(false), 1);
}

static void a_symbolic_link_stays_one(void **state) {
    (void)state;
    char link[160];
    snprintf(link, sizeof link, "%s/link", dir);
    put_file(path, "old", 3);
    assert_int_equal(symlink("out.jsonl", link), 0);
    file_writer w;
    gv_err ok = GV_ERR_INIT;
    assert_true(file_writer_open(&w, link, &ok) && file_writer_put(&w, "new", 3, &ok) && file_writer_commit(&w, &ok));
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    check_file(path, "new");
}

static void a_leftover_of_a_dead_process_is_no_obstacle(void **state) {
    (void)state;
    char stale[200];
    snprintf(stale, sizeof stale, "%s.tmp-%ld", path, (long)getpid());
    put_file(stale, "left", 4);
    file_writer w;
    gv_err ok = GV_ERR_INIT;
    assert_true(file_writer_open(&w, path, &ok) && file_writer_put(&w, "new", 3, &ok) && file_writer_commit(&w, &ok));
    check_file(path, "new");
    assert_int_equal(count_files(false), 1);
}

static void leftovers_of_killed_writers_go_and_live_ones_stay(void **state) {
    (void)state;
    char name[4][200];
    static const char *const endings[] = {".tmp-999999999", ".tmp-999999998", ".tmp-12x", ".tmp-"};
    for (int i = 0; i < 4; i++) {
        snprintf(name[i], sizeof name[i], "%s%s", path, endings[i]);
        put_file(name[i], "left", 4);
    }
    const int held = open(name[1], O_WRONLY);
    assert_int_equal(flock(held, LOCK_EX), 0);
    file_writer w, second;
    gv_err ok = GV_ERR_INIT;
    assert_true(file_writer_open(&w, path, &ok));
    assert_int_equal(access(name[0], F_OK), -1);                            /* nobody's */
    for (int i = 1; i < 4; i++) assert_int_equal(access(name[i], F_OK), 0); /* somebody's; not a name of ours */
    close(held);
    char mine[200], other[200];
    snprintf(mine, sizeof mine, "%s", w.tmp);
    snprintf(other, sizeof other, "%s.tmp-999999997", path);
    assert_int_equal(rename(mine, other), 0); /* as if w were another process's */
    free(w.tmp);
    w.tmp = strdup(other);
    assert_true(file_writer_open(&second, path, &ok) && file_writer_put(&second, "second", 6, &ok));
    assert_int_equal(access(name[1], F_OK), -1);
    assert_true(file_writer_commit(&second, &ok));
    check_file(path, "second");
    assert_true(file_writer_put(&w, "first", 5, &ok) && file_writer_commit(&w, &ok));
    check_file(path, "first");
    unlink(name[2]);
    unlink(name[3]);
    assert_int_equal(count_files(false), 1);
}

/* Writes n bytes; the failure may show at put or at commit. */
static bool write_all(const char *name, size_t n, gv_err *err) {
    static const char block[4096];
    file_writer w;
    if (!file_writer_open(&w, name, err)) return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i += sizeof block) ok = file_writer_put(&w, block, sizeof block, err);
    if (ok) return file_writer_commit(&w, err);
    file_writer_abandon(&w);
    return false;
}

/* A device that is always full, safe from a writer that would rename over it: as root, who could destroy the machine's /dev/full, a node of
 * our own.  NULL if there is none. */
static const char *full_device(void) {
    static char name[160];
    if (geteuid() != 0) return "/dev/full";
    snprintf(name, sizeof name, "%s/full", dir);
    if (mknod(name, S_IFCHR | 0600, makedev(1, 7)) != 0) return NULL;
    int fd = open(name, O_WRONLY); /* refused where the file system allows no devices */
    if (fd < 0) return NULL;
    close(fd);
    return name;
}

static void a_full_device_is_reported(void **state) {
    (void)state;
    const char *full = full_device();
    if (!full) skip();
    CHECK_FAILS(write_all(full, 4096, &err), GV_IO, -1, about("cannot write %s: No space left on device", full));
    CHECK_FAILS(write_all(full, 1 << 20, &err), GV_IO, -1, about("cannot write %s: No space left on device", full));
    struct stat st;
    assert_int_equal(stat(full, &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void a_full_disk_is_reported_and_the_old_file_kept(void **state) {
    (void)state;
    put_file(path, "old", 3);
    struct rlimit before, small = {100000, 0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    gv_err at_put = GV_ERR_INIT, at_commit = GV_ERR_INIT;
    bool put = write_all(path, 1 << 20, &at_put), commit = write_all(path, 102400, &at_commit);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_false(put);
    assert_false(commit);
    assert_string_equal(at_put.msg, about("cannot write %s: File too large", path));
    assert_string_equal(at_commit.msg, msg);
    check_file(path, "old");
    assert_int_equal(count_files(false), 1);
}

static void an_earlier_failure_is_not_forgotten_at_commit(void **state) {
    (void)state;
    file_writer w;
    gv_err ok = GV_ERR_INIT, err = GV_ERR_INIT;
    const char *full = full_device();
    if (!full) skip();
    assert_true(file_writer_open(&w, full, &ok));
    fputs("text", w.f);
    assert_int_equal(fflush(w.f), EOF); /* the caller writes to w.f itself and does not look */
    assert_false(file_writer_commit(&w, &err));
    assert_int_equal(err.code, GV_IO);
    snprintf(msg, sizeof msg, "cannot write %s: ", full);
    assert_true(sv_starts(sv_of(err.msg), sv_of(msg)));
}

static void a_pipe_is_written_in_place(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0); /* stands for every file that is not regular, devices included */
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    gv_err ok = GV_ERR_INIT;
    assert_true(write_all(path, 8192, &ok));
    static char got[10000];
    assert_int_equal(read(fd, got, sizeof got), 8192);
    close(fd);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(count_files(false), 1);
}

static void a_place_that_cannot_be_written_says_so_at_open(void **state) {
    (void)state;
    file_writer w;
    char want[300];
    CHECK_FAILS(file_writer_open(&w, dir, &err), GV_IO, -1, about("cannot write %s: it is a folder", dir));
    snprintf(want, sizeof want, "cannot create /nowhere/out.tmp-%ld: No such file or directory", (long)getpid());
    CHECK_FAILS(file_writer_open(&w, "/nowhere/out", &err), GV_IO, -1, want);
    assert_int_equal(chmod(dir, 0555), 0);
    bool root = geteuid() == 0;
    if (root) assert_int_equal(seteuid(65534), 0);
    gv_err denied = GV_ERR_INIT;
    bool opened = file_writer_open(&w, path, &denied);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_false(opened);
    snprintf(want, sizeof want, "cannot create %s.tmp-%ld: Permission denied", path, (long)getpid());
    assert_string_equal(denied.msg, want);
}

static void a_path_in_the_current_folder_needs_no_slash(void **state) {
    (void)state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(dir), 0);
    gv_err ok = GV_ERR_INIT;
    bool written = write_all("plain", 4096, &ok);
    assert_int_equal(chdir(before), 0);
    assert_true(written);
    assert_int_equal(count_files(false), 1);
}

/* 9 MiB and a bit: more than two windows. */
static void a_file_is_hashed_on_a_thread_of_its_own(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    buf text = {0};
    for (size_t i = 0; i < 9437197; i++) buf_add_char(&text, (char)(i * 7 % 251));
    put_file(path, text.p, text.n);
    char want[65];
    sha256 h;
    sha256_init(&h);
    sha256_add(&h, text.p, text.n);
    sha256_hex(&h, want);
    file_map m;
    assert_true(file_map_open(&m, path, &err));
    digest_job *j = digest_start(&m);
    assert_string_equal(digest_wait(j), want);
    assert_string_equal(digest_wait(j), want);
    assert_memory_equal(m.p, text.p, text.n); /* its pages were dropped, not its bytes */
    digest_free(j);
    for (int i = 0; i < 20; i++) digest_free(digest_start(&m)); /* not waited for */
    digest_free(NULL);
    file_map_close(&m);
    buf_fini(&text);
}

static void a_file_that_was_replaced_or_changed_has_another_identity(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    file_map a, b;
    put_file(path, "one", 3);
    assert_true(file_map_open(&a, path, &err) && file_map_open(&b, path, &err));
    assert_memory_equal(&a.id, &b.id, sizeof a.id);
    file_map_close(&b);
    char other[160];
    snprintf(other, sizeof other, "%s.other", path);
    put_file(other, "two", 3);
    assert_int_equal(rename(other, path), 0);
    assert_true(file_map_open(&b, path, &err));
    assert_int_not_equal(a.id.ino, b.id.ino);
    file_map_close(&a);
    const struct timespec past[2] = {{1, 0}, {1, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0);
    assert_true(file_map_open(&a, path, &err));
    assert_int_equal(a.id.mtime_ns, 1000000000);
    assert_true(a.id.mtime_ns != b.id.mtime_ns);
    file_map_close(&a);
    file_map_close(&b);
}

static void files_are_hashed_as_one_or_as_a_list(void **state) {
    (void)state;
    gv_err err = GV_ERR_INIT;
    file_map whole, part;
    put_file(path, "one, two", 8);
    assert_true(file_map_open(&whole, path, &err));
    unlink(path); /* put_file writes into the file that is there */
    put_file(path, "one, two, three", 15);
    assert_true(file_map_open(&part, path, &err));
    const digest_file files[] = {{"a b", &whole}, {"c", &part}};
    digest_job *joined = digest_start_joined(files, 2), *list = digest_start_list(files, 2), *one = digest_start_joined(files + 1, 1);
    char want[65], lines[200], hex[2][65];
    sha256 h;
    sha256_init(&h);
    sha256_add(&h, "one, twoone, two, three", 23);
    sha256_hex(&h, want);
    assert_string_equal(digest_wait(joined), want);
    for (int i = 0; i < 2; i++) {
        sha256_init(&h);
        sha256_add(&h, files[i].map->p, files[i].map->n);
        sha256_hex(&h, hex[i]);
    }
    assert_string_equal(digest_wait(one), hex[1]);
    snprintf(lines, sizeof lines, "%s  a b\n%s  c\n", hex[0], hex[1]);
    sha256_init(&h);
    sha256_add(&h, lines, strlen(lines));
    sha256_hex(&h, want);
    assert_string_equal(digest_wait(list), want);
    digest_free(joined);
    digest_free(list);
    digest_free(one);
    file_map_close(&whole);
    file_map_close(&part);
}

static void an_absolute_path_keeps_the_name_of_the_file(void **state) {
    (void)state;
    char link[256], want[512], *real = realpath(dir, NULL);
    put_file(path, "x", 1);
    snprintf(link, sizeof link, "%s/link", dir);
    assert_int_equal(symlink(path, link), 0);
    snprintf(want, sizeof want, "%s/link", real);
    char *got = file_absolute(link);
    assert_string_equal(got, want);
    free(got);
    unlink(link);
    assert_null(file_absolute(link));
    got = file_absolute(dir);
    assert_string_equal(got, real);
    free(got);
    got = file_absolute("/dev/../dev/null");
    assert_string_equal(got, "/dev/null");
    free(got);
    assert_int_equal(chdir(dir), 0);
    got = file_absolute(strrchr(path, '/') + 1);
    snprintf(want, sizeof want, "%s%s", real, strrchr(path, '/'));
    assert_string_equal(got, want);
    free(got);
    free(real);
    assert_int_equal(chdir("/"), 0);
}

static void the_number_of_a_part_is_read_from_the_end_of_its_name(void **state) {
    (void)state;
    static const char *const others[] = {"",
                                         "-00001-of-00002",
                                         "m-00000-of-00002",
                                         "m-00003-of-00002",
                                         "m-00000-of-00000",
                                         "m-0001-of-00002",
                                         "m-000001-of-00002.",
                                         "m-+0001-of-00002",
                                         "m- 0001-of-00002",
                                         "m-0000a-of-00002",
                                         "m-00001-of-0000:",
                                         "m_00001-of-00002",
                                         "m-00001_of-00002"};
    uint32_t part = 7, parts = 7;
    sv name = SV("a/m-00002-of-00003-00012-of-99999");
    assert_true(file_take_part(&name, &part, &parts));
    assert_true(sv_is(name, "a/m-00002-of-00003") && part == 12 && parts == 99999);
    assert_true(file_take_part(&name, &part, &parts));
    assert_true(sv_is(name, "a/m") && part == 2 && parts == 3);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        name = sv_of(others[i]);
        assert_false(file_take_part(&name, &part, &parts));
        assert_true(sv_is(name, others[i]) && part == 2 && parts == 3);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_map_shows_the_file_and_survives_dropping_pages),
        T(a_map_of_something_else_says_why_not),
        T(a_whole_read_appends_and_keeps_to_its_cap),
        T(the_file_appears_at_commit_and_not_before),
        T(an_abandoned_write_leaves_the_old_file),
        T(a_symbolic_link_stays_one),
        T(a_leftover_of_a_dead_process_is_no_obstacle),
        T(leftovers_of_killed_writers_go_and_live_ones_stay),
        T(a_full_disk_is_reported_and_the_old_file_kept),
        T(an_earlier_failure_is_not_forgotten_at_commit),
        T(a_pipe_is_written_in_place),
        T(a_full_device_is_reported),
        T(a_place_that_cannot_be_written_says_so_at_open),
        T(a_path_in_the_current_folder_needs_no_slash),
        T(a_file_is_hashed_on_a_thread_of_its_own),
        T(files_are_hashed_as_one_or_as_a_list),
        T(an_absolute_path_keeps_the_name_of_the_file),
        T(the_number_of_a_part_is_read_from_the_end_of_its_name),
        T(a_file_that_was_replaced_or_changed_has_another_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
