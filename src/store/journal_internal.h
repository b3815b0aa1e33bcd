/* Shared by journal.c (records and texts) and journal_open.c (opening, schema, SQLite's errors in our words). */
#ifndef GAVEL_STORE_JOURNAL_INTERNAL_H
#define GAVEL_STORE_JOURNAL_INTERNAL_H

#include "store/journal.h"

#include <sqlite3.h>

/* "GAVL", in bytes 68-71 of the file (SQLite file format, section 1.3); file(1) and we know the file by it. */
#define JOURNAL_APPLICATION_ID 0x4741564c
#define JOURNAL_SCHEMA_VERSION 1

typedef enum journal_stmt {
    STMT_PUT,
    STMT_STATE, /* failed by key */
    STMT_GET,
    STMT_NEXT,
    STMT_DELETE,
    STMT_DELETE_FAILED,
    STMT_SET_META,
    STMT_GET_META,
    STMT_NEXT_META,
    STMT_N,
} journal_stmt;

struct journal {
    sqlite3 *db;
    char *path;
    journal_mode mode;
    bool in_tx;
    journal_counts counts, counts_at_begin;
    buf record; /* what journal_cursor.record shows */
    sqlite3_stmt *stmts[STMT_N];
};

/* Sets err from SQLite's result code; doing is "write" or "read".  Returns false. */
bool journal_fail(const char *path, sqlite3 *db, int rc, const char *doing, gv_err *err);
/* Runs statements without parameters. */
bool journal_exec(journal *j, const char *sql, const char *doing, gv_err *err);
/* First column of the first row as an integer. */
bool journal_query_int(journal *j, const char *sql, int64_t *out, gv_err *err);
bool journal_load_counts(journal *j, journal_counts *out, gv_err *err);

#endif
