/* gavel tokenize: text to ids and ids to text, with a model's tokenizer alone. */
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/transfer.h"
#include "tok/tok.h"

#include <stdlib.h>

typedef struct tokenize_opts {
    const char *model;
    bool special, decode, hex;
} tokenize_opts;

static const opt_def options[] = {
    {"model", 'm', OPT_STRING, offsetof(tokenize_opts, model), "MODEL", NULL, 0, 0,
     "A GGUF (tensors are not needed), tokenizer.model, tokenizer.json, a folder with these, or ORG/NAME of the Hub", "Tokenizer"},
    {"special", 0, OPT_FLAG, offsetof(tokenize_opts, special), NULL, NULL, 0, 0, "Recognise control tokens written in the text", NULL},
    {"decode", 'd', OPT_FLAG, offsetof(tokenize_opts, decode), NULL, NULL, 0, 0, "From {\"ids\"} to {\"text\"}", NULL},
    {"hex", 0, OPT_FLAG, offsetof(tokenize_opts, hex), NULL, NULL, 0, 0, "With --decode: {\"hex\"}, the exact bytes", NULL},
    {0},
};

typedef struct tokenize_ctx {
    const tok *t;
    const tokenize_opts *o;
} tokenize_ctx;

static bool encode_line(void *ctx, const row *in, buf *out, gv_err *err) {
    const tokenize_ctx *c = ctx;
    const row_column *text = row_need(in, "text", err);
    if (!text) return false;
    if (json_kind_of(text->value) != JSON_STRING)
        return gv_fail(err, GV_FORMAT, in->line, "text is a %s, expected a string", json_kind_name(text->value));
    ids list = {0};
    const bool ok = tok_encode(c->t, json_string(text->value), c->o->special, &list, err);
    if (ok) {
        buf_add_str(out, "{\"ids\":[");
        for (size_t i = 0; i < list.n; i++) buf_printf(out, "%s%d", i ? "," : "", list.v[i]);
        buf_add_str(out, "]}");
    }
    ids_fini(&list);
    return ok;
}

static bool read_ids(const tok *t, const row *in, ids *list, gv_err *err) {
    const row_column *col = row_need(in, "ids", err);
    if (!col) return false;
    if (json_kind_of(col->value) != JSON_ARRAY)
        return gv_fail(err, GV_FORMAT, in->line, "ids is a %s, expected an array", json_kind_name(col->value));
    for (json_iter it = json_each(col->value); json_next(&it);) {
        int64_t id;
        if (!json_int64(it.value, &id) || id < 0 || id >= tok_n_vocab(t))
            return gv_fail(err, GV_FORMAT, in->line, "ids[%zu] is no id of the vocabulary (0 to %d)", list->n, tok_n_vocab(t) - 1);
        ids_add(list, (int32_t)id);
    }
    return true;
}

static bool decode_line(void *ctx, const row *in, buf *out, gv_err *err) {
    const tokenize_ctx *c = ctx;
    ids list = {0};
    buf text = {0};
    const bool ok = read_ids(c->t, in, &list, err);
    if (ok && c->o->hex) {
        tok_decode(c->t, list.v, list.n, true, true, &text);
        buf_add_str(out, "{\"hex\":\"");
        for (size_t i = 0; i < text.n; i++) buf_printf(out, "%02x", (uint8_t)text.p[i]);
        buf_add_str(out, "\"}");
    } else if (ok) {
        tok_decode_reference(c->t, list.v, list.n, &text);
        buf_add_str(out, "{\"text\":");
        json_put_string(out, buf_view(&text));
        buf_add_char(out, '}');
    }
    ids_fini(&list);
    buf_fini(&text);
    return ok;
}

static int run(int n_args, const char **args, const void *opts) {
    const tokenize_opts *o = opts;
    gv_err err = GV_ERR_INIT;
    const char *input = NULL;
    if (!o->model)
        gv_fail(&err, GV_USAGE, -1, "no tokenizer given; add --model FILE");
    else if (o->hex && !o->decode)
        gv_fail(&err, GV_USAGE, -1, "--hex needs --decode");
    else if (o->special && o->decode)
        gv_fail(&err, GV_USAGE, -1, "--special and --decode exclude each other");
    if (err.code || !(input = lines_input(n_args, args, &err))) return cli_fail(&err);
    char *path = NULL;
    tok *t = cli_model_path(o->model, HUB_TOKENIZER, false, false, &path, &err) ? tok_open(path, &err) : NULL;
    free(path);
    if (!t) return cli_fail(&err);
    tokenize_ctx c = {t, o};
    const int code = lines_run(input, &(rows_options){.format = ROWS_JSONL}, UINT64_MAX, o->decode ? decode_line : encode_line, &c);
    tok_free(t);
    return code;
}

const opt_command command_tokenize = {
    .name = "tokenize",
    .args = "[FILE]",
    .summary = "Text to token ids and back",
    .detail =
        "Reads lines of {\"text\"} (- is standard input) and prints {\"ids\"}; with --decode reads {\"ids\"} and prints {\"text\"}, or "
        "{\"hex\"} with --hex. No BOS or EOS is added. Text is text: control tokens written in it are recognised only with --special.",
    .example = "echo '{\"text\":\"Hello\"}' | gavel tokenize - --model tokenizer.json",
    .opts = options,
    .min_args = 0,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(tokenize_opts),
};
