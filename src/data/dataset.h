/* Data sets as the Python library `datasets` finds them: a folder, a file or a Hub repository -> configurations -> splits -> files in order ->
 * one stream of rows (data/rows.h).  docs/datasets.md has the rules and where they differ on purpose.
 *
 * Opening resolves names, fetches the files of the chosen split into the Hub cache, and reads JSON and CSV files once to learn their columns
 * and types; a pass over the rows then needs no network.  One thread. */
#ifndef GAVEL_DATA_DATASET_H
#define GAVEL_DATA_DATASET_H

#include "data/rows.h"
#include "http/hub.h"

typedef struct dataset dataset;

/* Zero is the default everywhere; all is borrowed during dataset_open only, but the hub, which is needed until then as well. */
typedef struct dataset_spec {
    /* A folder or file here; hf://datasets/ORG/NAME[@REV][:CONFIG[/SPLIT]]; hf://datasets/ORG/NAME[@REV]/FILE; or ORG/NAME, unless such a folder is here.  NULL: data_files
     * against the current folder, as load_dataset(builder, data_files=) does. */
    const char *path;
    const char *builder;          /* "json", "csv", "parquet", "arrow": the files' format; NULL: by their suffixes */
    const char *config;           /* configuration; NULL: the default one */
    const char *split;            /* "test", "test[:10%]", "train[5:20]+test"; NULL: the only split there is */
    const char *revision;         /* branch, tag or commit; NULL: main */
    const char *data_dir;         /* folder inside path to look in */
    const json_value *data_files; /* text, list of texts, object of split -> text or list: patterns; instead of the card's */
    hub *hub;                     /* NULL: one from the environment is opened if it is needed */
    hub_show *show;               /* progress of downloads; may be NULL */
    void *show_ctx;
} dataset_spec;

/* NULL on failure.  GV_USAGE: no such configuration or split (the message lists them), a slice that is none; GV_UNSUPPORTED: formats that gavel
 * does not read; GV_FORMAT: a card or file that breaks its format; GV_LIMIT: more than the caps; what hub.h says of the Hub. */
dataset *dataset_open(const dataset_spec *spec, gv_err *err) GV_MUST_USE;

/* What Dataset.save_to_disk and DatasetDict.save_to_disk wrote; with is_distiset what Distiset.save_to_disk wrote, where config names one
 * (NULL: "default").  A folder without such files, but with a card, is a Distiset as gavel writes and the Hub has it: dataset_open with that config. */
typedef struct dataset_disk_spec {
    const char *path;
    bool is_distiset;
    const char *config, *split;
} dataset_disk_spec;
dataset *dataset_open_disk(const dataset_disk_spec *spec, gv_err *err) GV_MUST_USE;
void dataset_close(dataset *d);

/* Is path something that dataset_open reads and a file reader does not: hf://..., or a folder? */
bool dataset_is_source(const char *path);

/* Does the name end as that of a data file of some format? */
bool dataset_is_file_name(const char *path);

/* The names of all splits of the configuration, in the library's order; strings are the data set's. */
const char *const *dataset_splits(const dataset *d, size_t *n);
/* Rows of the chosen split or slice. */
bool dataset_num_rows(dataset *d, uint64_t *n, gv_err *err) GV_MUST_USE;
/* Columns of every row, in order. */
const sv *dataset_columns(const dataset *d, size_t *n);

/* The rows from the first one on: numbers are global over all files.  o->format and o->name are not used; d must outlive the reader.  Every row has
 * all columns, null where its file has none.  A data set without rows is not an error here: the first rows_next is the end. */
rows_reader *dataset_rows(dataset *d, const rows_options *o, gv_err *err) GV_MUST_USE;

#endif
