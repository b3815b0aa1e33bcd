/* Opening a journal: the lock, the schema, and SQLite's result codes in our words.
 *
 * Order matters.  The exclusive lock is taken first (BEGIN EXCLUSIVE under locking_mode=EXCLUSIVE, which keeps it until close); only then
 * is the file looked at; a file that is not ours is never changed; a new file gets its whole schema in one transaction, so that a crash
 * leaves it either empty or complete; the write-ahead log is switched on last.  With an exclusive lock the log's index lives in our
 * memory, so there is no -shm file and no shared mapping, and network file systems without coherent mappings are no danger. */
#include "store/journal_internal.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { BUSY_TIMEOUT_MS = 500 };

/* Also what an existing journal must hold, word for word. Ordered by name. */
static const char *const schema[][2] = {
    {"meta", "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL, digest INTEGER NOT NULL) STRICT, WITHOUT ROWID"},
    {"record",
     "CREATE TABLE record (key INTEGER PRIMARY KEY, failed INTEGER NOT NULL, body BLOB NOT NULL, digest INTEGER NOT NULL) STRICT"},
    {"record_by_failed", "CREATE INDEX record_by_failed ON record (failed)"},
    {"records", "CREATE VIEW records AS SELECT key >> 27 AS row, (key >> 14) & 8191 AS variant, key & 16383 AS sample, failed, "
                "CAST(body AS TEXT) AS body FROM record"},
};
enum { SCHEMA_N = sizeof schema / sizeof schema[0] };

/* Process that holds a POSIX lock on path, from /proc/locks (proc(5)); 0 if unknown. A descriptor of our own must not be opened for this:
 * closing it would drop this process's locks on the file. */
static long lock_holder(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return 0;
    FILE *f = fopen("/proc/locks", "re");
    if (!f) return 0;
    char line[256];
    long found = 0;
    while (!found && fgets(line, sizeof line, f)) {
        long pid;
        unsigned major_id, minor_id;
        unsigned long long inode;
        if (sscanf(line, "%*s POSIX %*s WRITE %ld %x:%x:%llu", &pid, &major_id, &minor_id, &inode) == 4 && pid > 0 &&
            major_id == major(st.st_dev) && minor_id == minor(st.st_dev) && inode == st.st_ino)
            found = pid;
    }
    fclose(f);
    return found;
}

static bool fail_locked(const char *path, gv_err *err) {
    long pid = lock_holder(path);
    if (pid > 0)
        return gv_fail(err, GV_STATE, -1, "%s is in use by process %ld; wait for it or stop it, or write to another --out", path, pid);
    return gv_fail(err, GV_STATE, -1, "%s is in use by another process; wait for it or stop it, or write to another --out", path);
}

bool journal_fail(const char *path, sqlite3 *db, int rc, const char *doing, gv_err *err) {
    int os = db ? sqlite3_system_errno(db) : 0;
    if (!os) os = errno; /* SQLite does not keep it when a commit fails; callers clear errno before */
    const char *why = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return fail_locked(path, err);
    case SQLITE_FULL:
        return gv_fail(err, GV_IO, -1, "cannot %s journal %s: No space left on device; free some and run the same command again", doing,
                       path);
    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_NOMEM) return gv_fail(err, GV_MEMORY, -1, "journal %s: out of memory", path);
        return gv_fail(err, GV_IO, -1, "cannot %s journal %s: %s", doing, path, os ? strerror(os) : why);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH: return gv_fail(err, GV_IO, -1, "cannot %s journal %s: %s", doing, path, os ? strerror(os) : why);
    case SQLITE_READONLY:
        if (rc == SQLITE_READONLY_DIRECTORY) return gv_fail(err, GV_IO, -1, "cannot write journal %s: its folder is read-only", path);
        return gv_fail(err, GV_IO, -1, "cannot write journal %s: it is read-only", path);
    case SQLITE_NOTADB: return gv_fail(err, GV_FORMAT, -1, "%s is not a gavel journal", path);
    case SQLITE_CORRUPT: return gv_fail(err, GV_FORMAT, -1, "journal %s is damaged: %s", path, why);
    case SQLITE_NOMEM: return gv_fail(err, GV_MEMORY, -1, "journal %s: out of memory", path);
    case SQLITE_TOOBIG: return gv_fail(err, GV_LIMIT, -1, "journal %s: a record is over SQLite's limit", path);
    default: return gv_fail(err, GV_IO, -1, "cannot %s journal %s: %s", doing, path, why);
    }
}

bool journal_exec(journal *j, const char *sql, const char *doing, gv_err *err) {
    errno = 0;
    int rc = sqlite3_exec(j->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK || journal_fail(j->path, j->db, rc, doing, err);
}

bool journal_query_int(journal *j, const char *sql, int64_t *out, gv_err *err) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(j->db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(s, 0);
    bool ok = rc == SQLITE_ROW || journal_fail(j->path, j->db, rc, "read", err);
    sqlite3_finalize(s);
    return ok;
}

bool journal_load_counts(journal *j, journal_counts *out, gv_err *err) {
    int64_t good, failed;
    if (!journal_query_int(j, "SELECT count(*) FROM record INDEXED BY record_by_failed WHERE failed = 0", &good, err)) return false;
    if (!journal_query_int(j, "SELECT count(*) FROM record INDEXED BY record_by_failed WHERE failed <> 0", &failed, err)) return false;
    *out = (journal_counts){(uint64_t)(good + failed), (uint64_t)failed};
    return true;
}

/* "./" in front of a relative path keeps SQLite from reading ":memory:", "" and "file:..." as something else. */
static char *plain_name(const char *path) {
    buf b = {0};
    buf_printf(&b, "%s%s", path[0] == '/' ? "" : "./", path);
    return b.p;
}

/* A URI (RFC 3986 escapes) that opens path without locks or side files. */
static char *immutable_name(const char *path) {
    buf b = {0};
    buf_add_str(&b, path[0] == '/' ? "file:" : "file:./");
    for (; *path; path++) {
        if (strchr("%?#", *path))
            buf_printf(&b, "%%%02X", (unsigned char)*path);
        else
            buf_add_char(&b, *path);
    }
    buf_add_str(&b, "?immutable=1");
    return b.p;
}

/* errno says why not. */
static bool folder_writable(const char *path) {
    char *folder = gv_xstrdup(path), *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    bool ok = access(slash ? folder : ".", W_OK) == 0;
    int why = errno;
    free(folder);
    errno = why;
    return ok;
}

/* True if reading must do without the lock and side files because nothing can be written there. */
static bool read_only_media(const char *path) {
    return access(path, F_OK) == 0 && (access(path, W_OK) != 0 || !folder_writable(path));
}

/* Another process may remove the file while we wait for its lock: records would go where nobody finds them. */
static bool was_removed(journal *j) {
    int moved = 0;
    return sqlite3_file_control(j->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved;
}

/* Opens and locks; sets *ours when the file has our application id, *empty when it holds nothing at all. */
static bool open_locked(journal *j, bool create, bool immutable, bool *ours, bool *empty, gv_err *err) {
    gv_err why = GV_ERR_INIT;
    char *name = immutable ? immutable_name(j->path) : plain_name(j->path);
    int flags = immutable ? SQLITE_OPEN_READONLY | SQLITE_OPEN_URI : SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    int rc = sqlite3_open_v2(name, &j->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    free(name);
    if (rc != SQLITE_OK) {
        /* SQLite tried again without writing and kept that second errno, ENOENT. */
        bool closed = create && !file_exists(j->path) && !folder_writable(j->path) && (errno == EACCES || errno == EROFS);
        return journal_fail(j->path, j->db, closed ? SQLITE_READONLY_DIRECTORY : rc, "open", err);
    }
    sqlite3_extended_result_codes(j->db, 1);
    sqlite3_busy_timeout(j->db, BUSY_TIMEOUT_MS);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!immutable && sqlite3_db_readonly(j->db, "main") == 1) return journal_fail(j->path, j->db, SQLITE_READONLY, "write", err);
    const bool locked = immutable || journal_exec(j, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE", "open", &why);
    if (!immutable && was_removed(j))
        return gv_fail(err, GV_STATE, -1, "journal %s was removed or replaced by another process just now; run the same command again",
                       j->path);
    if (!locked) return gv_fail(err, why.code, why.where, "%s", why.msg);
    int64_t id, objects;
    if (!journal_query_int(j, "PRAGMA application_id", &id, err)) return false;
    if (!journal_query_int(j, "SELECT count(*) FROM sqlite_schema", &objects, err)) return false;
    *ours = id == JOURNAL_APPLICATION_ID;
    *empty = id == 0 && objects == 0;
    if (!*ours && !*empty) return gv_fail(err, GV_FORMAT, -1, "%s is not a gavel journal (it is another program's SQLite file)", j->path);
    return true;
}

static bool create_schema(journal *j, gv_err *err) {
    for (size_t i = 0; i < SCHEMA_N; i++)
        if (!journal_exec(j, schema[i][1], "write", err)) return false;
    char sql[96];
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d", JOURNAL_APPLICATION_ID, JOURNAL_SCHEMA_VERSION);
    return journal_exec(j, sql, "write", err);
}

/* A changed schema (a trigger, another view) could make our statements do something else. */
static bool check_schema(journal *j, gv_err *err) {
    int64_t version;
    if (!journal_query_int(j, "PRAGMA user_version", &version, err)) return false;
    if (version != JOURNAL_SCHEMA_VERSION)
        return gv_fail(err, GV_STATE, -1, "journal %s has schema %lld, this gavel knows %d; use the gavel that wrote it", j->path,
                       (long long)version, JOURNAL_SCHEMA_VERSION);
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(j->db, "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name", -1, &s, NULL);
    size_t n = 0;
    bool same = true;
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(s);
        if (rc != SQLITE_ROW) break;
        const char *name = (const char *)sqlite3_column_text(s, 0), *sql = (const char *)sqlite3_column_text(s, 1);
        same = same && n < SCHEMA_N && name && sql && !strcmp(name, schema[n][0]) && !strcmp(sql, schema[n][1]);
        n++;
    }
    bool ok = rc == SQLITE_DONE || journal_fail(j->path, j->db, rc, "read", err);
    sqlite3_finalize(s);
    if (ok && (!same || n != SCHEMA_N))
        return gv_fail(err, GV_FORMAT, -1, "journal %s is damaged: its tables are not those of schema 1", j->path);
    return ok;
}

static bool open_journal(journal *j, gv_err *err) {
    bool ours = false, empty = false, immutable = j->mode == JOURNAL_READ && read_only_media(j->path);
    if (immutable) {
        buf wal = {0};
        struct stat st;
        buf_printf(&wal, "%s-wal", j->path);
        bool pending = stat(wal.p, &st) == 0 && st.st_size > 0;
        buf_fini(&wal);
        if (pending)
            return gv_fail(
                err, GV_IO, -1,
                "cannot read journal %s: %s-wal must be folded into it first, but the folder is read-only; copy both to a writable one",
                j->path, j->path);
    }
    if (!open_locked(j, j->mode == JOURNAL_OPEN, immutable, &ours, &empty, err)) return false;
    if (empty && j->mode == JOURNAL_READ) return gv_fail(err, GV_FORMAT, -1, "%s is not a gavel journal (it is empty)", j->path);
    if (empty && !create_schema(j, err)) return false;
    if (!empty && !check_schema(j, err)) return false;
    if (!immutable && !journal_exec(j, "COMMIT", "write", err)) return false;
    /* Up to 32 MiB of log between two checkpoints: fewer of them, and the log stays small beside the journal. */
    if (!immutable && !journal_exec(j, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=8192", "write", err))
        return false;
    if (!journal_exec(j, "PRAGMA cache_size=-8192; PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON", "read", err)) return false;
    return journal_load_counts(j, &j->counts, err);
}

journal *journal_open(const char *path, journal_mode mode, gv_err *err) {
    journal *j = gv_xcalloc(1, sizeof *j);
    j->path = gv_xstrdup(path);
    j->mode = mode;
    if (!open_journal(j, err)) {
        journal_close(j);
        return NULL;
    }
    return j;
}

void journal_close(journal *j) {
    if (!j) return;
    for (int i = 0; i < STMT_N; i++) sqlite3_finalize(j->stmts[i]);
    sqlite3_close(j->db); /* checkpoints, removes the log, drops the lock */
    buf_fini(&j->record);
    free(j->path);
    free(j);
}

/* The journal itself last: a half-removed one still opens. */
static bool remove_files(const char *path, gv_err *err) {
    static const char *const suffixes[] = {"-wal", "-journal", "-shm", ""};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof suffixes / sizeof suffixes[0]; i++) {
        buf name = {0};
        buf_printf(&name, "%s%s", path, suffixes[i]);
        if (unlink(name.p) != 0 && errno != ENOENT) ok = gv_fail_errno(err, "cannot remove %s", name.p);
        buf_fini(&name);
    }
    return ok;
}

bool journal_drop(journal *j, gv_err *err) {
    const bool ok = !j || remove_files(j->path, err);
    journal_close(j);
    return ok;
}

bool journal_remove(const char *path, gv_err *err) {
    struct stat st;
    if (stat(path, &st) != 0 && errno == ENOENT) return true;
    journal j = {.path = (char *)(uintptr_t)path, .mode = JOURNAL_OPEN};
    bool ours, empty, ok = open_locked(&j, false, false, &ours, &empty, err);
    ok = ok && remove_files(path, err);
    sqlite3_close(j.db);
    return ok;
}
