/* gavel inspect: what a model file, a run's journal or this CPU is. */
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/transfer.h"
#include "engine/model.h"
#include "judge/run.h"
#include "kern/kern.h"
#include "tok/tok.h"

#include <stdlib.h>

typedef struct inspect_opts {
    bool cpu, list;
} inspect_opts;

static const opt_def options[] = {
    {"cpu", 0, OPT_FLAG, offsetof(inspect_opts, cpu), NULL, NULL, 0, 0, "Instruction sets of this CPU and the kernels gavel uses on it",
     "What"},
    {"tensors", 0, OPT_FLAG, offsetof(inspect_opts, list), NULL, NULL, 0, 0, "Every tensor of a model file", NULL},
    {0},
};

static void put_tensor(const tensor_view *t, buf *out) {
    buf_printf(out, "  %-32s %-5s [", str_show(sv_of(t->name)).text, dtype_get(t->type)->name);
    for (uint32_t i = 0; i < t->n_dims; i++) buf_printf(out, "%s%lld", i ? ", " : "", (long long)t->ne[i]);
    buf_add_str(out, "]\n");
}

static void put_types(const tensors *m, buf *out) {
    size_t count[DT_COUNT] = {0}, bytes[DT_COUNT] = {0};
    for (size_t i = 0; i < tensors_count(m); i++) {
        count[tensors_at(m, i)->type]++;
        bytes[tensors_at(m, i)->type] += tensors_at(m, i)->n_bytes;
    }
    for (int t = 0; t < DT_COUNT; t++)
        if (count[t])
            buf_printf(out, "  %-5s %5zu tensors %9.1f MiB\n", dtype_get((uint32_t)t)->name, count[t], (double)bytes[t] / 1048576);
}

static void put_shape(const tensors *m, buf *out) {
    gv_err err = GV_ERR_INIT;
    model_shape s;
    const char *arch = model_read_shape(m, &s, &err);
    if (!arch) {
        buf_printf(out, "shape: cannot be run: %s\n", err.msg);
        return;
    }
    double n = 0;
    for (size_t i = 0; i < tensors_count(m); i++) {
        const tensor_view *t = tensors_at(m, i);
        double elements = 1;
        for (uint32_t k = 0; k < t->n_dims; k++) elements *= (double)t->ne[k];
        n += elements;
    }
    buf_printf(out, "shape: %s, %.1f M parameters, %d layers, width %d, %d heads of %d (%d for keys and values), feed-forward %d\n", arch,
               n * 1e-6, s.n_layer, s.n_embd, s.n_head, s.head_dim, s.n_head_kv, s.n_ff);
    buf_printf(out, "       vocabulary %d%s, context %lld, RoPE theta %.9g", s.n_vocab,
               tensors_find(m, "output.weight") ? "" : " (embeddings tied)", (long long)s.ctx_train, (double)s.rope_theta);
    if (s.rope_divide != 1) buf_printf(out, " (linear, factor %.9g)", (double)s.rope_divide);
    if (s.yarn.factor > 0) buf_printf(out, " (yarn, factor %.9g from %.9g)", (double)s.yarn.factor, (double)s.yarn.original_ctx);
    if (s.n_expert) buf_printf(out, ", %d experts, %d used", s.n_expert, s.n_expert_used);
    if (s.sliding_window) buf_printf(out, ", sliding window %lld", (long long)s.sliding_window);
    buf_printf(out, ", K/V %d bytes a token (f16)\n", 4 * s.n_layer * s.n_head_kv * s.head_dim);
}

static void put_templates(const tok *t, const tensors *m, buf *out) {
    buf names = {0};
    tok_put_template_names(t, &names);
    if (names.n == 0)
        buf_add_str(out, "chat template: none\n");
    else if (strcmp(names.p, "default") == 0)
        buf_printf(out, "chat template: in the %s\n", tensors_is_folder(m) ? "folder" : "file");
    else
        buf_printf(out, "chat templates: %s (--chat-template :NAME)%s\n", names.p, tok_chat_template(t).n ? "" : "; none is the default");
    buf_fini(&names);
}

/* A tokenizer that cannot be used is told of; only missing memory is a failure. */
static bool put_tokenizer(const tensors *m, buf *out, gv_err *err) {
    gv_err why = GV_ERR_INIT;
    tok *t = tok_from_tensors(m, &why);
    if (!t) {
        buf_printf(out, "tokenizer: cannot be used: %s\n", why.msg);
        return why.code != GV_MEMORY || gv_fail(err, why.code, why.where, "%s", why.msg);
    }
    buf_printf(out, "tokenizer: %s, %d tokens, BOS ", tok_kind(t), tok_n_vocab(t));
    if (tok_bos(t) >= 0)
        buf_printf(out, "%s (%s)", str_show(tok_piece(t, tok_bos(t))).text, tok_adds_bos(t) ? "added" : "not added");
    else
        buf_add_str(out, "none");
    if (tok_eos(t) >= 0) buf_printf(out, ", EOS %s", str_show(tok_piece(t, tok_eos(t))).text);
    if (tok_adds_bos(t) && sv_find(tok_chat_template(t), SV("bos_token"), 0) != SIZE_MAX)
        buf_add_str(out, "; the chat template writes BOS too: one is used");
    buf_printf(out, "\ntokenizer sha256: %s\n", tok_hash(t));
    put_templates(t, m, out);
    tok_free(t);
    return true;
}

/* What it is, and the files if there are several. */
static void put_files(const tensors *m, buf *out) {
    if (!tensors_is_folder(m)) {
        buf_printf(out, "%s: GGUF v%u, %zu tensors", tensors_path(m), gguf_version(tensors_keys(m)), tensors_count(m));
        if (tensors_n_files(m) > 1) buf_printf(out, " in %zu parts", tensors_n_files(m));
        buf_add_char(out, '\n');
        if (tensors_n_files(m) == 1) return;
    } else {
        buf_printf(out, "%s: folder of model_type %s, %zu tensors\n", tensors_path(m), tensors_hf_config(m)->model_type, tensors_count(m));
    }
    for (size_t i = tensors_is_folder(m); i < tensors_n_files(m); i++)
        buf_printf(out, "  %s %.1f MiB\n", str_show(sv_of(tensors_file_name(m, i))).text, (double)tensors_file_map(m, i)->n / 1048576);
}

static int inspect_model(const char *given, bool list) {
    gv_err err = GV_ERR_INIT;
    char *path = NULL;
    tensors *m = cli_model_path(given, HUB_WEIGHTS, false, false, &path, &err) ? tensors_open(path, &err) : NULL;
    if (!m) {
        free(path);
        return cli_fail(&err);
    }
    const gguf *g = tensors_keys(m);
    buf out = {0};
    put_files(m, &out);
    put_types(m, &out);
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        buf_add_str(&out, "  ");
        gguf_print_key(g, i, &out);
        if (out.n && out.p[out.n - 1] != '\n') buf_add_char(&out, '\n');
    }
    put_shape(m, &out);
    bool ok = put_tokenizer(m, &out, &err);
    if (known_model_of(m)) known_model_print(known_model_of(m), &out);
    for (size_t i = 0; list && i < tensors_count(m); i++) put_tensor(tensors_at(m, i), &out);
    int code = ok ? EXIT_OK : cli_fail(&err);
    if (ok && !(lines_print(&out) && lines_flush())) code = EXIT_FAILED;
    buf_fini(&out);
    tensors_close(m);
    free(path);
    return code;
}

static void put_setting(sv name, sv text, buf *out) {
    buf_printf(out, "%-22.*s ", SV_ARG(name));
    if (text.n == 0)
        buf_add_str(out, "none");
    else
        str_escape(text, SIZE_MAX, out);
    buf_add_char(out, '\n');
}

typedef struct meta_ctx {
    buf *out;
    gv_err *err;
} meta_ctx;

/* What a journal knows about its run; the settings are one JSON object among it and repeat some of the others. */
static bool put_meta(void *ctx, sv name, sv text) {
    const meta_ctx *c = ctx;
    buf *out = c->out;
    if (sv_is(name, "mode") || sv_is(name, "verdict") || sv_is(name, "numerics") || sv_is(name, "model_name") ||
        sv_is(name, "rubric")) /* pages of text; the settings have its digest */
        return true;
    if (!sv_is(name, "settings")) {
        put_setting(name, text, out);
        return true;
    }
    json_doc *d = json_parse(text, c->err);
    if (!d) return gv_context(c->err, "settings of the run");
    for (json_iter it = json_each(json_root(d)); json_next(&it);) {
        buf value = {0};
        if (json_kind_of(it.value) == JSON_STRING)
            buf_add_sv(&value, json_string(it.value));
        else
            json_put_value(&value, it.value);
        put_setting(it.key, buf_view(&value), out);
        buf_fini(&value);
    }
    json_free(d);
    return true;
}

typedef struct rubric_count {
    char *name;
    uint64_t n, ok, scores; /* judgments; with a verdict; sum of the verdicts that are scores */
    bool letters;
} rubric_count;

typedef struct run_counts {
    uint64_t status[JUDGMENT_ERROR + 1], forced, rows, last_row;
    rubric_count *rubrics;
    size_t n_rubrics;
} run_counts;

static void count_record(run_counts *c, const journal_key key, const judgment *g) {
    if (!c->rows || key.row != c->last_row) c->rows++; /* records come in order of rows */
    c->last_row = key.row;
    c->status[g->status]++;
    c->forced += g->forced;
    size_t i = 0;
    while (i < c->n_rubrics && !sv_is(g->rubric, c->rubrics[i].name)) i++;
    if (i == c->n_rubrics) {
        c->rubrics = gv_xrealloc(c->rubrics, ++c->n_rubrics * sizeof *c->rubrics);
        c->rubrics[i] = (rubric_count){.name = gv_xcalloc(g->rubric.n + 1, 1)};
        if (g->rubric.n) memcpy(c->rubrics[i].name, g->rubric.p, g->rubric.n);
    }
    rubric_count *r = &c->rubrics[i];
    r->n++;
    r->ok += g->status == JUDGMENT_OK;
    r->letters = r->letters || g->verdict >= 'A';
    r->scores += (uint64_t)(g->status == JUDGMENT_OK ? g->verdict : 0);
}

static void put_counts(const run_counts *c, bool several, buf *out) {
    const char *unit = several ? "judgments" : "rows";
    if (several) buf_printf(out, "%-22s %llu rows\n", "judged", (unsigned long long)c->rows);
    for (int s = 0; s <= JUDGMENT_ERROR; s++)
        if (c->status[s])
            buf_printf(out, "%-22s %llu %s\n", judgment_status_name((judgment_status)s), (unsigned long long)c->status[s], unit);
    if (c->forced) buf_printf(out, "%-22s %llu %s\n", "verdict forced", (unsigned long long)c->forced, unit);
    for (size_t i = 0; several && i < c->n_rubrics; i++) {
        const rubric_count *r = &c->rubrics[i];
        if (!r->name[0]) continue;
        buf_add_str(out, "by ");
        str_escape(sv_of(r->name), SIZE_MAX, out);
        buf_printf(out, "%*s %llu judgments, %llu with a verdict", (int)(strlen(r->name) < 19 ? 19 - strlen(r->name) : 0), "",
                   (unsigned long long)r->n, (unsigned long long)r->ok);
        if (r->ok && !r->letters) buf_printf(out, ", mean %.2f", (double)r->scores / (double)r->ok);
        buf_add_char(out, '\n');
    }
}

static bool count_records(journal *j, buf *out, gv_err *err) {
    run_counts counts = {0};
    journal_cursor c = {0};
    bool end = false, several = false, ok = run_has_several(j, &several, err);
    arena a;
    arena_init(&a);
    while (ok && (ok = journal_next(j, &c, &end, err)) && !end) {
        judgment g;
        ok = judgment_from_json(c.record, &g, &a, err) || gv_context(err, "%s, row %llu", journal_path(j), (unsigned long long)c.key.row);
        if (ok) count_record(&counts, c.key, &g);
        arena_reset(&a);
    }
    if (ok) put_counts(&counts, several, out);
    for (size_t i = 0; i < counts.n_rubrics; i++) free(counts.rubrics[i].name);
    free(counts.rubrics);
    arena_fini(&a);
    return ok;
}

static int inspect_run(const char *path) {
    gv_err err = GV_ERR_INIT;
    journal *j = journal_open(path, JOURNAL_READ, &err);
    if (!j) return cli_fail(&err);
    buf out = {0};
    bool ok = journal_each_meta(j, put_meta, &(meta_ctx){&out, &err}, &err) && err.code == GV_OK && count_records(j, &out, &err);
    int code = ok ? EXIT_OK : cli_fail(&err);
    if (ok && out.n == 0) buf_add_str(&out, "nothing is recorded yet\n");
    if (ok && !(lines_print(&out) && lines_flush())) code = EXIT_FAILED;
    buf_fini(&out);
    journal_close(j);
    return code;
}

static int inspect_cpu(void) {
    char text[1024];
    buf out = {0};
    kern_describe_cpu(text, sizeof text);
    buf_printf(&out, "%s%s", text, text[0] && text[strlen(text) - 1] == '\n' ? "" : "\n");
    const bool ok = lines_print(&out) && lines_flush();
    buf_fini(&out);
    return ok ? EXIT_OK : EXIT_FAILED;
}

static int run(int n_args, const char **args, const void *opts) {
    const inspect_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    if (o->cpu && n_args == 0) return inspect_cpu();
    if (o->cpu || n_args == 0) {
        gv_fail(&err, GV_USAGE, -1, "give a model file, a run's journal, or --cpu");
        return cli_fail(&err);
    }
    return cli_is_journal(args[0]) ? inspect_run(args[0]) : inspect_model(args[0], o->list);
}

const opt_command command_inspect = {
    .name = "inspect",
    .args = "[MODEL|RUN]",
    .summary = "Show a model file, a run's journal, or this CPU",
    .detail = "MODEL is a GGUF file, a Hugging Face folder, or ORG/NAME[:QUANT][@REV] of the Hub: keys (of a folder: those made from its "
              "config.json), tensor types, shape, tokenizer, chat template. RUN is a journal (OUT.run): settings and rows "
              "(judgments, where a row has several) by status. "
              "--cpu tells which kernels are used here.",
    .example = "gavel inspect model.gguf\ngavel inspect verdicts.jsonl.run\ngavel inspect --cpu",
    .opts = options,
    .min_args = 0,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(inspect_opts),
};
