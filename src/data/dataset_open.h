/* An open data set: shared by dataset.c (opening), dataset_disk.c (folders of save_to_disk) and dataset_rows.c (its rows). */
#ifndef GAVEL_DATA_DATASET_OPEN_H
#define GAVEL_DATA_DATASET_OPEN_H

#include "data/arrow_ipc.h"
#include "data/dataset_table.h"

typedef struct data_file {
    const char *path, *shown; /* to open; for messages */
    uint64_t n_rows;
    bool counted;
} data_file;

/* Rows [skip, skip + take) of a file; take UINT64_MAX: to its end. */
typedef struct data_part {
    size_t file;
    uint64_t skip, take;
} data_part;

struct dataset {
    char *name;
    char commit[41];
    kind kind;
    char delimiter;
    const char **splits;
    size_t n_splits;
    data_file *files;
    size_t n_files, cap_files;
    data_part *parts;
    size_t n_parts, cap_parts;
    table table; /* JSON and CSV */
    bool has_table;
    schema types; /* Parquet: as rows_types says */
    bool has_types;
    sv *columns;
    size_t n_columns;
    arena a;
};

dataset *dataset_new(const char *name);
/* Index of the file, added if new. */
size_t dataset_add_file(dataset *d, const char *path, const char *shown);
/* The terms of wish, or the only split; each must be one of d->splits. */
bool dataset_choose(const dataset *d, const char *wish, split_spec *out, gv_err *err) GV_MUST_USE;
/* The chosen rows: terms of split over the named splits, whose files are files[first[2i], first[2i + 1]). */
bool dataset_cut(dataset *d, const split_spec *s, const size_t *first, gv_err *err) GV_MUST_USE;
/* Reads what must be known before the first row: columns and their types. */
bool dataset_learn(dataset *d, const card *c, const char *config, gv_err *err) GV_MUST_USE;
bool dataset_count(dataset *d, size_t file, gv_err *err) GV_MUST_USE;

/* The rows of one file as they stand there: either of the two. */
typedef struct file_rows {
    rows_reader *rows;
    arrow_reader *arrow;
    uint64_t number; /* Arrow: of the next row */
    buf text;
    json_doc *doc;
} file_rows;
bool file_rows_open(const dataset *d, size_t file, file_rows *out, gv_err *err) GV_MUST_USE;
void file_rows_close(file_rows *f);
/* Passes over rows. */
bool file_rows_skip(file_rows *f, uint64_t n, gv_err *err) GV_MUST_USE;

#endif
