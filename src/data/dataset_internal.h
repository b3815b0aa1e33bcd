/* Shared by dataset*.c, card_yaml.c, pattern.c and split.c: names found, nothing opened. */
#ifndef GAVEL_DATA_DATASET_INTERNAL_H
#define GAVEL_DATA_DATASET_INTERNAL_H

#include "data/dataset.h"
#include "data/rows_internal.h"

enum {
    LISTING_MAX_FILES = 1000000,
    LISTING_MAX_DEPTH = 64,
    CARD_MAX_BYTES = 16 << 20,
    CARD_MAX_CONFIGS = 10000,
    PATTERN_MAX_BYTES = 4096,
    PATTERNS_MAX = 10000, /* of one configuration */
    SPLITS_MAX = 10000,
    SPLIT_MAX_TERMS = 1000
};

/* ---- pattern.c: globs as fsspec translates them ---- */

typedef struct pattern pattern;
/* Work left for all matching of one data set: a hostile card can ask for 10,000 patterns over a million names. */
typedef struct pattern_budget {
    uint64_t steps;
} pattern_budget;
#define PATTERN_BUDGET ((uint64_t)4000000000)
/* GV_FORMAT: "**" beside other characters of a component; GV_LIMIT: too long. */
pattern *pattern_compile(sv text, gv_err *err) GV_MUST_USE;
void pattern_free(pattern *p);
/* The whole of path, UTF-8 by character.  GV_LIMIT when the budget is used up. */
bool pattern_match(const pattern *p, sv path, pattern_budget *b, bool *matches, gv_err *err) GV_MUST_USE;
bool pattern_is_magic(sv text); /* has one of * ? [ */
/* A match that the pattern did not ask for: inside a folder __NAME, or a hidden file or folder. */
bool pattern_is_unasked(sv path, sv asked);

/* ---- split.c: "train[:10%]+test" ---- */

/* \w+(\.\w+)* */
bool split_name_check(sv name);
typedef struct split_term {
    char *name;
    bool has_from, has_to, percent, drop_remainder;
    int64_t from, to;
} split_term;
typedef struct split_spec {
    split_term *terms;
    size_t n;
} split_spec;
bool split_parse(const char *text, split_spec *out, gv_err *err) GV_MUST_USE;
void split_fini(split_spec *s);
/* The rows [*from, *to) of n; both 0 if there are none. */
bool split_bounds(const split_term *t, uint64_t n, uint64_t *from, uint64_t *to, gv_err *err) GV_MUST_USE;

/* ---- card_yaml.c: the YAML block of README.md ---- */

/* The block between the lines ---, or false if the card has none. */
bool card_block(sv readme, sv *block);

/* Splits in order and the patterns of each; strings are the arena's or the document's. */
typedef struct split_patterns {
    sv split;
    sv *patterns;
    size_t n;
} split_patterns;
typedef struct card_config {
    sv name;
    const json_value *data_files; /* NULL: by default patterns */
    sv data_dir;
    char delimiter; /* sep or delimiter, 0: none */
    bool is_default;
} card_config;
typedef struct card {
    json_doc *doc; /* NULL: no block */
    card_config *configs;
    size_t n_configs;
    const json_value *infos; /* dataset_info, or NULL */
    arena a;
} card;
/* name is shown in messages.  A README without a block gives a card without configurations. */
bool card_parse(sv readme, const char *name, card *out, gv_err *err) GV_MUST_USE;
void card_fini(card *c);
/* Index of the configuration; without a wish the default one.  who names the data set in messages. */
bool card_choose(const card *c, const char *wish, const char *who, size_t *index, gv_err *err) GV_MUST_USE;
/* Text of the type that dataset_info gives a column of the configuration ("int64", "string"), or empty. */
sv card_column_type(const card *c, const char *config, sv column);
/* data_files in any of its forms -> splits.  outside: patterns may be absolute or lead outside of the folder (the user's own words, not a card's). */
bool data_files_read(const json_value *v, const char *where, bool outside, arena *a, split_patterns **out, size_t *n,
                     gv_err *err) GV_MUST_USE;

/* ---- dataset_kind.c: builders by suffix ---- */

typedef enum kind { KIND_NONE, KIND_CSV, KIND_TSV, KIND_JSON, KIND_PARQUET, KIND_ARROW, KIND_OTHER } kind;
/* suffix with its dot, as the library's table has it (case matters); module is the builder's name. */
kind kind_of_suffix(sv suffix, const char **module);
/* Has the base name of path a suffix of the table, or .zip? */
bool kind_is_data(sv path);
/* The builder of most files; KIND_NONE without one.  module is set for every kind but KIND_NONE. */
kind kind_infer(const sv *paths, size_t n, const char **module);
/* Does the builder's filter keep path? */
bool kind_keeps(const char *module, sv path);
bool kind_by_name(const char *builder, kind *out, gv_err *err) GV_MUST_USE;

/* ---- dataset_list.c: which files there are ---- */

/* Sorted paths below a root; the root is a folder here or a commit of a repository. */
typedef struct listing {
    char *root; /* "/data/set" or "hf://datasets/ORG/NAME@COMMIT"; for messages and, if local, for opening */
    hub *hub;   /* NULL: local */
    hub_repo repo;
    hub_list files; /* hub: all files */
    char **paths;   /* hub: borrowed from files; local: found by listing_find */
    size_t n;
    arena a;
} listing;
bool listing_open_local(listing *l, const char *folder, gv_err *err) GV_MUST_USE;
bool listing_open_hub(listing *l, hub *h, const hub_repo *repo, gv_err *err) GV_MUST_USE;
void listing_close(listing *l);
/* Appends the paths of files that the pattern matches, sorted; NAMES_IGNORED of the library are left out.  base: folder inside the root, "" for the root.
 * Paths are relative to the root, or absolute if the pattern is (local only). */
bool listing_match(listing *l, sv base, sv pattern, pattern_budget *b, buf *out, gv_err *err) GV_MUST_USE;
/* A small file of the root with at most cap bytes; *found false if it is not there. */
bool listing_read(listing *l, const char *path, size_t cap, buf *out, bool *found, gv_err *err) GV_MUST_USE;

/* ---- dataset_files.c: from listing, card and wishes to files ---- */

typedef struct split_files {
    const char *name;
    sv *paths; /* in order */
    size_t n;
} split_files;
typedef struct resolved {
    const char *config; /* "default" without a card's */
    kind kind;
    char delimiter; /* of CSV, 0: the kind's */
    split_files *splits;
    size_t n_splits;
    bool unsupported;   /* only files that gavel does not read, see module; splits may be empty */
    const char *module; /* the library's name of the builder, NULL: no data files */
    arena a;
} resolved;
bool resolve_files(listing *l, const card *c, const dataset_spec *spec, const char *who, resolved *out, gv_err *err) GV_MUST_USE;
void resolved_fini(resolved *r);

#endif
