/* Distiset: the output folder of a pipeline, laid out as distilabel's push_to_hub lays out a repository.
 *
 *     DIR/README.md                              card; its metadata lets datasets.load_dataset(DIR) find configs and types
 *     DIR/data/train-00000-of-0000N.parquet      config `default`: the only leaf step of a pipeline
 *     DIR/CONFIG/train-00000-of-0000N.parquet    one folder for each leaf step of several
 *     DIR/pipeline.yaml  DIR/pipeline.log
 *
 * The folder appears, whole, at distiset_finish: everything is written into DIR.tmp-PID beside it, which then takes DIR's place in one
 * rename.  A failed, abandoned or killed writer leaves DIR as it was; the next writer of DIR removes what a killed one left.  A DIR that
 * exists must be empty or hold nothing but files of a Distiset (it is replaced; metadata of its README.md is kept, see docs/distiset.md);
 * anything else in it is GV_STATE, and nothing is touched.
 *
 * Rows are spooled to that folder as JSON lines, because a Parquet file begins with its schema and a column's type is known only after the
 * last row; memory does not grow with the rows.  A writer belongs to one thread. */
#ifndef GAVEL_PIPE_DISTISET_H
#define GAVEL_PIPE_DISTISET_H

#include "data/rows.h"
#include "pipe/card.h"

#define DISTISET_DEFAULT          "default"
#define DISTISET_MAX_CONFIGS      1000u
#define DISTISET_MAX_CONFIG_BYTES 128u

typedef struct distiset distiset;

/* type: as Arrow prints it ("int64", "string", "list<element: int64>"): for a column whose rows may all be null, or whose type must not depend
 * on them; a value that does not fit is GV_FORMAT.  NULL: from the values, and string where all are null. */
typedef struct distiset_column {
    sv name;
    const char *type;
} distiset_column;

/* Checks that DIR can be written and makes the temporary folder.  GV_STATE: DIR holds something else; GV_IO. */
distiset *distiset_open(const char *dir, gv_err *err) GV_MUST_USE;

/* A config: the name of a leaf step, or DISTISET_DEFAULT if it is the only one.  GV_USAGE unless the name is [A-Za-z0-9_-]+, at most
 * DISTISET_MAX_CONFIG_BYTES long, new, and none that the layout uses itself ("data", "artifacts").  columns fixes the order of what it
 * names; may be empty.  *config is the index for distiset_put; the card lists configs in this order. */
bool distiset_check_config(sv name, gv_err *err) GV_MUST_USE; /* of the name alone, before there are rows */
bool distiset_add_config(distiset *d, sv name, const distiset_column *columns, size_t n_columns, size_t *config, gv_err *err) GV_MUST_USE;

/* One row.  Columns not seen before go behind the others; a column that the row lacks is null.  raw_name of a cell is not used. */
bool distiset_put(distiset *d, size_t config, const rows_cell *cells, size_t n, gv_err *err) GV_MUST_USE;
uint64_t distiset_rows(const distiset *d, size_t config);

/* What goes beside the rows.  Zero is the default everywhere; all borrowed. */
typedef struct distiset_about {
    /* ORG/NAME, as the card's commands name it; NULL: DIR's last part, with - for what such a name cannot hold.  GV_USAGE for other
     * characters than [A-Za-z0-9._/-]. */
    const char *repo_id;
    /* Path of a README.md whose metadata is kept (that of the repository to push to).  NULL: DIR's own, if any, without what it says of
     * configs that are not written again. */
    const char *readme;
    sv pipeline_yaml;             /* bytes of pipeline.yaml (base/yaml_out.h); empty: no file, and no sentence about it in the card */
    const char *log;              /* path of the log to copy (pipe/run_log.h); NULL: no pipeline.log */
    const char *const *citations; /* BibTeX, in the order of the steps (card_cite_prometheus_eval) */
    size_t n_citations;
    const card_judge *judges; /* one for each judging step */
    size_t n_judges;
    uint64_t max_shard_bytes; /* of rows in Arrow's memory layout; 0: 500 MB, as `datasets` has it */
} distiset_about;

/* Writes Parquet, card, pipeline.yaml and pipeline.log, then puts the folder in place; frees d whether it succeeds or not. */
bool distiset_finish(distiset *d, const distiset_about *about, gv_err *err) GV_MUST_USE;
/* Removes the temporary folder and frees; abandon(NULL) is fine. */
void distiset_abandon(distiset *d);

/* A finished Distiset's files, for a push: paths relative to DIR with '/', data first, README.md last, so that whoever uploads one by one
 * has the card only when all it names is there. */
typedef struct distiset_file {
    char *path;
    uint64_t bytes;
    char sha256[65];
} distiset_file;
typedef struct distiset_files {
    distiset_file *v;
    size_t n;
} distiset_files;
/* Reads every byte.  GV_STATE if DIR is no Distiset, naming what is missing or foreign.  On failure *out is empty. */
bool distiset_list(const char *dir, distiset_files *out, gv_err *err) GV_MUST_USE;
void distiset_files_fini(distiset_files *f);

#endif
