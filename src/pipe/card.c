/* See card.h: the card's text.  The sections up to the records and the references are distilabel's, byte for byte; "Judgments" is ours.
 *
 * What comes from the user never reaches Markdown as it is: records are JSON (card_record.c), names of configs and the repository are of a
 * checked alphabet, and everything else stands in <code> with each character beyond letters, digits and a few signs as a numeric entity,
 * which no Markdown or HTML parser takes for syntax. */
#include "pipe/card_internal.h"

#include <ctype.h>
#include <stdio.h>

#define HUB "https://huggingface.co/datasets/"

const char card_cite_prometheus_eval[] =
    "@misc{kim2024prometheus2opensource,\n"
    "    title={Prometheus 2: An Open Source Language Model Specialized in Evaluating Other Language Models},\n"
    "    author={Seungone Kim and Juyoung Suk and Shayne Longpre and Bill Yuchen Lin and Jamin Shin and Sean Welleck and Graham Neubig and "
    "Moontae Lee and Kyungjae Lee and Minjoon Seo},\n"
    "    year={2024},\n"
    "    eprint={2405.01535},\n"
    "    archivePrefix={arXiv},\n"
    "    primaryClass={cs.CL},\n"
    "    url={https://arxiv.org/abs/2405.01535},\n"
    "}";

enum { BAR = 40, CODE_CUT = 200 };

void card_judge_count(card_judge *j, judgment_status status, int verdict) {
    const int at = j->mode == JUDGE_RELATIVE ? verdict - 'A' : verdict - 1;
    j->n_status[status]++;
    if (status == JUDGMENT_OK && at >= 0 && at < (j->mode == JUDGE_RELATIVE ? 2 : CARD_N_SCORES)) j->n_score[at]++;
}

static void put_code(buf *out, sv s) {
    size_t pos = 0, n = 0;
    buf_add_str(out, "<code>");
    for (; pos < s.n && n < CODE_CUT; n++) {
        const int32_t c = utf8_next(s, &pos);
        if (c < 0x20 || c == 0x7f)
            buf_add_str(out, "&#65533;");
        else if (c < 0x80 && (isalnum(c) || strchr(" .:=/-", c)))
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "&#%d;", c);
    }
    buf_add_str(out, pos < s.n ? "...</code>" : "</code>");
}

static bool check_repo_id(const char *id, gv_err *err) {
    for (const char *p = id; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._/-", *p))
            return gv_fail(err, GV_USAGE, -1, "repository \"%s\": a name consists of letters, digits, . _ - and one /",
                           str_show(sv_of(id)).text);
    return *id || gv_fail(err, GV_USAGE, -1, "the repository's name is empty");
}

static void put_head(buf *out, const card *c) {
    const char *slash = strrchr(c->repo_id, '/');
    buf_add_str(out, "\n<p align=\"left\">\n"
                     "  <a href=\"https://github.com/argilla-io/distilabel\">\n"
                     "    <img src=\"https://raw.githubusercontent.com/argilla-io/distilabel/main/docs/assets/distilabel-badge-light.png\" "
                     "alt=\"Built with Distilabel\" width=\"200\" height=\"32\"/>\n"
                     "  </a>\n"
                     "</p>\n\n");
    buf_printf(out, "# Dataset Card for %s\n\n", slash ? slash + 1 : c->repo_id);
    buf_add_str(out, "This dataset has been created with [distilabel](https://distilabel.argilla.io/).\n\n\n\n");
    if (!c->has_pipeline) return;
    buf_add_str(out,
                "## Dataset Summary\n\n"
                "This dataset contains a `pipeline.yaml` which can be used to reproduce the pipeline that generated it in distilabel using "
                "the `distilabel` CLI:\n\n");
    buf_printf(out, "```console\ndistilabel pipeline run --config \"" HUB "%s/raw/main/pipeline.yaml\"\n```\n\n", c->repo_id);
    buf_add_str(out, "or explore the configuration:\n\n");
    buf_printf(out, "```console\ndistilabel pipeline info --config \"" HUB "%s/raw/main/pipeline.yaml\"\n```\n\n", c->repo_id);
}

static bool put_config(buf *out, const card *c, const card_config *config, gv_err *err) {
    buf_printf(out, "\n<details><summary> Configuration: " SV_FMT " </summary><hr>\n\n", SV_ARG(config->name));
    if (config->first_row.n) {
        buf_add_str(out, "```json\n");
        if (!card_put_record(out, config, err)) return false;
        buf_add_str(out, "\n```\n");
    } else {
        buf_add_str(out, "It has no rows.\n");
    }
    buf_printf(out,
               "\nThis subset can be loaded as:\n\n```python\nfrom datasets import load_dataset\n\n"
               "ds = load_dataset(\"%s\", \"" SV_FMT "\")\n```\n\n",
               c->repo_id, SV_ARG(config->name));
    if (sv_is(config->name, "default"))
        buf_printf(out,
                   "Or simply as it follows, since there's only one configuration and is named `default`: \n\n"
                   "```python\nfrom datasets import load_dataset\n\nds = load_dataset(\"%s\")\n```\n\n",
                   c->repo_id);
    buf_add_str(out, "\n</details>\n");
    return true;
}

/* ---- what gavel adds ---- */

static void put_bar(buf *out, const char *name, uint64_t n, uint64_t most) {
    buf_printf(out, "| %s | %llu | ", name, (unsigned long long)n);
    const uint64_t length = most ? (uint64_t)((double)n / (double)most * BAR + 0.5) : 0;
    for (uint64_t i = 0; i < length || (i == 0 && n); i++) buf_add_str(out, "\xe2\x96\x88");
    buf_add_str(out, n ? " |\n" : "|\n");
}

static void put_histogram(buf *out, const card_judge *j) {
    static const char *const scores[] = {"1", "2", "3", "4", "5"}, *const winners[] = {"A", "B"};
    const char *const *names = j->mode == JUDGE_RELATIVE ? winners : scores;
    const size_t n = j->mode == JUDGE_RELATIVE ? 2 : CARD_N_SCORES;
    uint64_t failed = 0, most = 0;
    for (size_t i = 0; i < CARD_N_STATUS; i++) failed += i == JUDGMENT_OK ? 0 : j->n_status[i];
    for (size_t i = 0; i < n; i++) most = j->n_score[i] > most ? j->n_score[i] : most;
    most = failed > most ? failed : most;
    buf_add_str(out, "| result | judgments | |\n| --- | ---: | --- |\n");
    for (size_t i = 0; i < n; i++) put_bar(out, names[i], j->n_score[i], most);
    put_bar(out, "none", failed, most);
    if (!failed) return;
    buf_add_str(out, "\n| failure | judgments | the first one's reason |\n| --- | ---: | --- |\n");
    for (size_t i = 0; i < CARD_N_STATUS; i++) {
        if (i == JUDGMENT_OK || !j->n_status[i]) continue;
        buf_printf(out, "| %s | %llu | ", judgment_status_name((judgment_status)i), (unsigned long long)j->n_status[i]);
        if (j->message[i].n) put_code(out, j->message[i]);
        buf_add_str(out, " |\n");
    }
}

static void put_fact(buf *out, const char *name, sv value, bool *first) {
    if (!value.n) return;
    buf_printf(out, "%s%s ", *first ? "" : ", ", name);
    put_code(out, value);
    *first = false;
}

static void put_judge(buf *out, const card_judge *j) {
    bool first = true;
    buf_add_str(out, "### ");
    put_code(out, j->step);
    buf_add_str(out, "\n\n");
    put_histogram(out, j);
    buf_add_str(out, "\nReproduce with: ");
    put_fact(out, "weights sha256", j->weights_sha256, &first);
    put_fact(out, "numerics", j->numerics, &first);
    if (j->has_seed) {
        char seed[24];
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)j->seed);
        put_fact(out, "seed", sv_of(seed), &first);
    }
    put_fact(out, "rubric", j->rubric, &first);
    put_fact(out, "model", j->model, &first);
    put_fact(out, "gavel", SV(GAVEL_VERSION), &first);
    buf_add_str(out, ".\n\n");
}

static void put_references(buf *out, const card *c) {
    if (!c->n_citations) return;
    buf_add_str(out, "##\xc2\xa0References\n\n"); /* a no-break space, as in distilabel's template */
    for (size_t i = 0; i < c->n_citations; i++) buf_printf(out, "\n```\n%s\n```\n\n", c->citations[i]);
    buf_add_char(out, '\n');
}

bool card_put(buf *out, const card *c, gv_err *err) {
    if (!check_repo_id(c->repo_id, err)) return false;
    buf_add_str(out, "---\n");
    if (!card_put_metadata(out, c, err)) return false;
    buf_add_str(out, "---\n");
    put_head(out, c);
    buf_add_str(out, "## Dataset structure\n\nThe examples have the following structure per configuration:\n\n");
    for (size_t i = 0; i < c->n_configs; i++)
        if (!put_config(out, c, &c->configs[i], err)) return false;
    buf_add_str(out, "\n\n\n\n\n");
    if (c->n_judges) buf_add_str(out, "## Judgments\n\n");
    for (size_t i = 0; i < c->n_judges; i++) put_judge(out, &c->judges[i]);
    put_references(out, c);
    return true;
}
