/* The run journal's records and texts; see journal.h for the contract and journal_open.c for how a journal is opened.
 *
 * A key is packed into SQLite's 64-bit rowid: row in bits 27-62, variant in 14-26, sample in 0-13, so that one B-tree holds the records in
 * key order.  SQLite's pages have no checksums: each record and text carries a digest of its own, which every reader compares, so that a flipped
 * bit is an error and not another verdict.  No statement stays stepped between calls: an open read would keep the log from being checkpointed. */
#include "store/journal_internal.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>

static const char *const stmt_sql[STMT_N] = {
    [STMT_PUT] = ("INSERT INTO record (key, failed, body, digest) VALUES (?1, ?2, ?3, ?4) "
                  "ON CONFLICT (key) DO UPDATE SET failed = excluded.failed, body = excluded.body, digest = excluded.digest"),
    [STMT_STATE] = "SELECT failed FROM record WHERE key = ?1",
    [STMT_GET] = "SELECT failed, body, digest FROM record WHERE key = ?1",
    [STMT_NEXT] = "SELECT key, failed, body, digest FROM record WHERE key >= ?1 ORDER BY key LIMIT 1",
    [STMT_DELETE] = "DELETE FROM record WHERE key = ?1",
    [STMT_DELETE_FAILED] = "DELETE FROM record WHERE failed <> 0",
    [STMT_SET_META] = ("INSERT INTO meta (name, value, digest) VALUES (?1, ?2, ?3) "
                       "ON CONFLICT (name) DO UPDATE SET value = excluded.value, digest = excluded.digest"),
    [STMT_GET_META] = "SELECT value, digest FROM meta WHERE name = ?1",
    [STMT_NEXT_META] = "SELECT name, value, digest FROM meta WHERE name > ?1 OR ?2 ORDER BY name LIMIT 1",
};

static bool key_pack(const journal *j, journal_key k, int64_t *out, gv_err *err) {
    if (k.row > JOURNAL_MAX_ROW || k.variant > JOURNAL_MAX_VARIANT || k.sample > JOURNAL_MAX_SAMPLE)
        return gv_fail(err, GV_LIMIT, -1, "journal %s: row %llu, variant %u, sample %u is over the cap of row %llu, variant %u, sample %u",
                       j->path, (unsigned long long)k.row, k.variant, k.sample, (unsigned long long)JOURNAL_MAX_ROW, JOURNAL_MAX_VARIANT,
                       JOURNAL_MAX_SAMPLE);
    *out = (int64_t)(k.row << 27 | (uint64_t)k.variant << 14 | k.sample);
    return true;
}

static journal_key key_unpack(int64_t packed) {
    uint64_t k = (uint64_t)packed;
    return (journal_key){k >> 27, (uint32_t)(k >> 14) & JOURNAL_MAX_VARIANT, (uint32_t)k & JOURNAL_MAX_SAMPLE};
}

/* First eight bytes of a SHA-256, as SQLite's integer. */
static int64_t digest_end(sha256 *h) {
    char hex[65];
    uint64_t v = 0;
    sha256_hex(h, hex);
    for (int i = 0; i < 16; i++) v = v << 4 | (uint64_t)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
    return (int64_t)v;
}

/* Over the key (8 bytes, the highest first), 1 if failed else 0, and the body. */
static int64_t record_digest(int64_t key, bool failed, sv body) {
    sha256 h;
    unsigned char head[9];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)((uint64_t)key >> (56 - 8 * i));
    head[8] = failed;
    sha256_init(&h);
    sha256_add(&h, head, sizeof head);
    sha256_add(&h, body.p, body.n);
    return digest_end(&h);
}

/* Over name, a NUL, and the text. */
static int64_t meta_digest(sv name, sv text) {
    sha256 h;
    sha256_init(&h);
    sha256_add(&h, name.p, name.n);
    sha256_add(&h, "", 1);
    sha256_add(&h, text.p, text.n);
    return digest_end(&h);
}

static bool fail_record(const journal *j, int64_t key, gv_err *err) {
    const uint64_t row = (uint64_t)key >> 27;
    return gv_fail(err, GV_FORMAT, (int64_t)row, "journal %s is damaged: the record of row %llu is not as it was written", j->path,
                   (unsigned long long)row);
}

static bool fail_meta(const journal *j, sv name, gv_err *err) {
    return gv_fail(err, GV_FORMAT, -1, "journal %s is damaged: the text \"" SV_FMT "\" is not as it was written", j->path,
                   SV_ARG(sv_sub(name, 0, 40)));
}

/* The cached statement, ready for its parameters; NULL on failure. */
static sqlite3_stmt *stmt_get(journal *j, journal_stmt id, gv_err *err) {
    if (!j->stmts[id]) {
        int rc = sqlite3_prepare_v3(j->db, stmt_sql[id], -1, SQLITE_PREPARE_PERSISTENT, &j->stmts[id], NULL);
        if (rc != SQLITE_OK) {
            journal_fail(j->path, j->db, rc, "read", err);
            return NULL;
        }
    }
    errno = 0; /* see journal_fail */
    return j->stmts[id];
}

/* Ends a call: the statement is reset, so that it commits and holds no lock, and its bindings borrow nothing any more. */
static bool stmt_end(journal *j, sqlite3_stmt *s, int rc, const char *doing, gv_err *err) {
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW || journal_fail(j->path, j->db, rc, doing, err);
    int reset = sqlite3_reset(s); /* repeats the step's error; a new one would be a failed commit */
    if (ok && reset != SQLITE_OK) ok = journal_fail(j->path, j->db, reset, doing, err);
    sqlite3_clear_bindings(s);
    return ok;
}

static bool check_writable(const journal *j, gv_err *err) {
    return j->mode != JOURNAL_READ || gv_fail(err, GV_STATE, -1, "journal %s was opened for reading", j->path);
}

static int bind_blob(sqlite3_stmt *s, int at, sv v) {
    return sqlite3_bind_blob64(s, at, v.p ? v.p : "", v.n, SQLITE_STATIC);
}

static sv column_sv(sqlite3_stmt *s, int at) {
    const char *p = sqlite3_column_blob(s, at);
    return (sv){p, p ? (size_t)sqlite3_column_bytes(s, at) : 0};
}

/* Is there a record, and is it failed? */
static bool record_state(journal *j, int64_t key, bool *found, bool *failed, gv_err *err) {
    sqlite3_stmt *s = stmt_get(j, STMT_STATE, err);
    if (!s) return false;
    sqlite3_bind_int64(s, 1, key);
    int rc = sqlite3_step(s);
    *found = rc == SQLITE_ROW;
    *failed = *found && sqlite3_column_int64(s, 0) != 0;
    return stmt_end(j, s, rc, "read", err);
}

bool journal_put(journal *j, journal_key key, bool failed, sv record, gv_err *err) {
    int64_t packed;
    bool had, had_failed;
    if (!check_writable(j, err) || !key_pack(j, key, &packed, err)) return false;
    if (record.n > JOURNAL_MAX_RECORD_BYTES)
        return gv_fail(err, GV_LIMIT, -1, "journal %s: the record of row %llu has %zu bytes, the cap is %zu", j->path,
                       (unsigned long long)key.row, record.n, JOURNAL_MAX_RECORD_BYTES);
    if (!record_state(j, packed, &had, &had_failed, err)) return false;
    sqlite3_stmt *s = stmt_get(j, STMT_PUT, err);
    if (!s) return false;
    sqlite3_bind_int64(s, 1, packed);
    sqlite3_bind_int64(s, 2, failed);
    sqlite3_bind_int64(s, 4, record_digest(packed, failed, record));
    int rc = bind_blob(s, 3, record);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    if (!stmt_end(j, s, rc, "write", err)) return false;
    j->counts.records += !had;
    j->counts.failed += (uint64_t)failed;
    j->counts.failed -= had && had_failed;
    return true;
}

bool journal_get(journal *j, journal_key key, bool *found, bool *failed, buf *out, gv_err *err) {
    int64_t packed;
    *found = false;
    if (!key_pack(j, key, &packed, err)) return false;
    sqlite3_stmt *s = stmt_get(j, STMT_GET, err);
    if (!s) return false;
    sqlite3_bind_int64(s, 1, packed);
    int rc = sqlite3_step(s);
    bool is_failed = false, same = true;
    if (rc == SQLITE_ROW) {
        sv body = column_sv(s, 1);
        is_failed = sqlite3_column_int64(s, 0) != 0;
        same = sqlite3_column_int64(s, 2) == record_digest(packed, is_failed, body);
        if (same && out) buf_add_sv(out, body);
    }
    if (!stmt_end(j, s, rc, "read", err)) return false;
    if (!same) return fail_record(j, packed, err);
    *found = rc == SQLITE_ROW;
    if (failed) *failed = is_failed;
    return true;
}

bool journal_next(journal *j, journal_cursor *c, bool *end, gv_err *err) {
    int64_t packed;
    *end = true;
    if (c->done) return true;
    if (!key_pack(j, c->next, &packed, err)) return false;
    sqlite3_stmt *s = stmt_get(j, STMT_NEXT, err);
    if (!s) return false;
    sqlite3_bind_int64(s, 1, packed);
    int rc = sqlite3_step(s);
    bool same = true;
    if (rc == SQLITE_ROW) {
        int64_t key = sqlite3_column_int64(s, 0);
        buf_clear(&j->record);
        buf_add_sv(&j->record, column_sv(s, 2));
        c->failed = sqlite3_column_int64(s, 1) != 0;
        same = sqlite3_column_int64(s, 3) == record_digest(key, c->failed, buf_view(&j->record));
        packed = key;
        c->key = key_unpack(key);
        c->record = buf_view(&j->record);
        c->done = key == INT64_MAX;
        if (!c->done) c->next = key_unpack(key + 1);
        *end = false;
    } else if (rc == SQLITE_DONE) {
        c->done = true;
    }
    return stmt_end(j, s, rc, "read", err) && (same || fail_record(j, packed, err));
}

bool journal_delete_failed(journal *j, uint64_t *n, gv_err *err) {
    if (!check_writable(j, err)) return false;
    sqlite3_stmt *s = stmt_get(j, STMT_DELETE_FAILED, err);
    if (!s || !stmt_end(j, s, sqlite3_step(s), "write", err)) return false;
    uint64_t deleted = (uint64_t)sqlite3_changes64(j->db);
    j->counts.records -= deleted;
    j->counts.failed -= deleted;
    if (n) *n = deleted;
    return true;
}

bool journal_delete(journal *j, journal_key key, gv_err *err) {
    int64_t packed;
    bool had, had_failed;
    if (!check_writable(j, err) || !key_pack(j, key, &packed, err) || !record_state(j, packed, &had, &had_failed, err)) return false;
    if (!had) return true;
    sqlite3_stmt *s = stmt_get(j, STMT_DELETE, err);
    if (!s) return false;
    sqlite3_bind_int64(s, 1, packed);
    if (!stmt_end(j, s, sqlite3_step(s), "write", err)) return false;
    j->counts.records--;
    j->counts.failed -= had_failed;
    return true;
}

journal_counts journal_count(const journal *j) {
    return j->counts;
}

bool journal_set_meta(journal *j, const char *name, sv text, gv_err *err) {
    if (!check_writable(j, err)) return false;
    sqlite3_stmt *s = stmt_get(j, STMT_SET_META, err);
    if (!s) return false;
    sqlite3_bind_int64(s, 3, meta_digest(sv_of(name), text));
    int rc = sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = bind_blob(s, 2, text);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    return stmt_end(j, s, rc, "write", err);
}

bool journal_get_meta(journal *j, const char *name, bool *found, buf *out, gv_err *err) {
    *found = false;
    sqlite3_stmt *s = stmt_get(j, STMT_GET_META, err);
    if (!s) return false;
    int rc = sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    bool same = true;
    *found = rc == SQLITE_ROW;
    if (*found) {
        sv text = column_sv(s, 0);
        same = sqlite3_column_int64(s, 1) == meta_digest(sv_of(name), text);
        if (same && out) buf_add_sv(out, text);
    }
    return stmt_end(j, s, rc, "read", err) && (same || fail_meta(j, sv_of(name), err));
}

bool journal_each_meta(journal *j, journal_meta_fn *fn, void *ctx, gv_err *err) {
    buf name = {0}, text = {0};
    bool ok = true, go = true;
    for (bool first = true; ok && go; first = false) {
        sqlite3_stmt *s = stmt_get(j, STMT_NEXT_META, err);
        ok = s != NULL;
        if (!ok) break;
        int rc = sqlite3_bind_text64(s, 1, name.p ? name.p : "", name.n, SQLITE_TRANSIENT, SQLITE_UTF8);
        if (rc == SQLITE_OK) rc = sqlite3_bind_int(s, 2, first);
        if (rc == SQLITE_OK) rc = sqlite3_step(s);
        bool same = true;
        go = rc == SQLITE_ROW;
        buf_clear(&name);
        buf_clear(&text);
        if (go) {
            buf_add_sv(&name, column_sv(s, 0));
            buf_add_sv(&text, column_sv(s, 1));
            same = sqlite3_column_int64(s, 2) == meta_digest(buf_view(&name), buf_view(&text));
        }
        ok = stmt_end(j, s, rc, "read", err) && (same || fail_meta(j, buf_view(&name), err));
        go = ok && go && fn(ctx, buf_view(&name), buf_view(&text));
    }
    buf_fini(&name);
    buf_fini(&text);
    return ok;
}

bool journal_begin(journal *j, gv_err *err) {
    if (!check_writable(j, err)) return false;
    if (j->in_tx) return gv_fail(err, GV_STATE, -1, "journal %s: begin inside a begun transaction", j->path);
    if (!journal_exec(j, "BEGIN IMMEDIATE", "write", err)) return false;
    j->in_tx = true;
    j->counts_at_begin = j->counts;
    return true;
}

bool journal_commit(journal *j, gv_err *err) {
    if (!j->in_tx) return gv_fail(err, GV_STATE, -1, "journal %s: commit without begin", j->path);
    if (sqlite3_get_autocommit(j->db)) { /* SQLite undid it by itself when a write failed */
        journal_rollback(j);
        return gv_fail(err, GV_IO, -1, "journal %s: the transaction was undone when one of its writes failed", j->path);
    }
    if (journal_exec(j, "COMMIT", "write", err)) {
        j->in_tx = false;
        return true;
    }
    journal_rollback(j);
    return false;
}

void journal_rollback(journal *j) {
    if (!j->in_tx) return;
    if (!sqlite3_get_autocommit(j->db)) sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL); /* fails only if there is nothing left to undo */
    j->in_tx = false;
    j->counts = j->counts_at_begin;
}

bool journal_sync(journal *j, gv_err *err) {
    if (j->mode == JOURNAL_READ) return true;
    if (j->in_tx) return gv_fail(err, GV_STATE, -1, "journal %s: sync inside a transaction", j->path);
    errno = 0;
    int rc = sqlite3_wal_checkpoint_v2(j->db, "main", SQLITE_CHECKPOINT_FULL, NULL, NULL);
    return rc == SQLITE_OK || journal_fail(j->path, j->db, rc, "write", err);
}

bool journal_check(journal *j, gv_err *err) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(j->db, "PRAGMA integrity_check(1)", -1, &s, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    bool ok = rc == SQLITE_ROW || journal_fail(j->path, j->db, rc, "read", err);
    const char *text = ok ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (ok && (!text || strcmp(text, "ok") != 0))
        ok = gv_fail(err, GV_FORMAT, -1, "journal %s is damaged: %s", j->path, text ? text : "no answer");
    sqlite3_finalize(s);
    journal_cursor c = {0};
    for (bool end = false; ok && !end;) ok = journal_next(j, &c, &end, err);
    journal_counts now;
    if (!ok || !journal_load_counts(j, &now, err)) return false;
    if (now.records != j->counts.records || now.failed != j->counts.failed)
        return gv_fail(err, GV_FORMAT, -1, "journal %s is damaged: %llu records and %llu failed counted, %llu and %llu known", j->path,
                       (unsigned long long)now.records, (unsigned long long)now.failed, (unsigned long long)j->counts.records,
                       (unsigned long long)j->counts.failed);
    return true;
}

const char *journal_path(const journal *j) {
    return j->path;
}
