/* The data set card of a Distiset: README.md, with distilabel's sections, ours, and YAML metadata that the Hub and `datasets` read.
 * docs/distiset.md has the layout and how each value is escaped.
 *
 * Sizes and features come from the writer (distiset.h); this part of the header is what only the run knows. */
#ifndef GAVEL_PIPE_CARD_H
#define GAVEL_PIPE_CARD_H

#include "data/schema.h"
#include "judge/judgment.h"

enum { CARD_N_STATUS = JUDGMENT_ERROR + 1, CARD_N_SCORES = 5 };

/* One judging step of the pipeline: its verdicts, its failures, and what it takes to get the same bytes again.  Strings are borrowed; an empty
 * one is left out of the card. */
typedef struct card_judge {
    sv step;           /* name of the step */
    judge_mode mode;   /* absolute: n_score[0..4] are the scores 1..5; relative: n_score[0..1] are A and B */
    sv rubric;         /* its name */
    sv model;          /* as the rows say it: model_name */
    sv weights_sha256; /* 64 hex digits; empty for a model that is not run here */
    sv numerics;       /* numerics id, "canonical-1 kv=f16 w=q8_0" */
    bool has_seed;
    uint64_t seed;
    uint64_t n_score[CARD_N_SCORES];
    uint64_t n_status[CARD_N_STATUS]; /* by judgment_status; n_status[JUDGMENT_OK] counts what n_score counts */
    sv message[CARD_N_STATUS];        /* of the first failure of each kind */
} card_judge;

/* Adds one judgment; verdict as in judgment.h, read only with JUDGMENT_OK. */
void card_judge_count(card_judge *j, judgment_status status, int verdict);

/* What the writer knows of a config. */
typedef struct card_config {
    sv name;
    const schema *columns;
    uint64_t n_rows;
    uint64_t arrow_bytes; /* of the rows as Arrow holds them in memory: num_bytes and dataset_size */
    uint64_t file_bytes;  /* of its Parquet files: download_size */
    sv first_row;         /* JSON object; empty without rows */
} card_config;

typedef struct card {
    const char *repo_id;
    const card_config *configs;
    size_t n_configs;
    sv old_readme;          /* its metadata is kept; may be empty */
    bool keeps_old_configs; /* also what it says of configs with other names: the repository still has their files */
    bool has_pipeline;
    const char *const *citations;
    size_t n_citations;
    const card_judge *judges;
    size_t n_judges;
} card;

/* Appends the whole README.md.  GV_FORMAT: the metadata of old_readme is no YAML mapping; GV_USAGE: repo_id has other characters than
 * [A-Za-z0-9._/-]. */
bool card_put(buf *out, const card *c, gv_err *err) GV_MUST_USE;

/* The BibTeX entry that distilabel prints for PrometheusEval. */
extern const char card_cite_prometheus_eval[];

#endif
