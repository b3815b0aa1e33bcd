/* gavel parse: verdicts out of raw answers, from JSON lines or from a run's journal, without a model. */
#include "cli/commands.h"
#include "cli/lines.h"
#include "judge/judgment.h"
#include "judge/run.h"

typedef struct parse_opts {
    const char *verdict;
} parse_opts;

static void defaults(void *opts) {
    ((parse_opts *)opts)->verdict = "strict";
}

static const opt_def options[] = {
    {"verdict", 0, OPT_CHOICE, offsetof(parse_opts, verdict), "PARSER", "strict|lenient|robust", 0, 0,
     "strict: distilabel's rule; lenient: prometheus-eval's; robust: strict, then documented fall-backs (default: strict)", "Parsing"},
    {0},
};

static void put_verdict(verdict_parser parser, judge_mode mode, sv raw, buf *out) {
    verdict v = {0};
    const bool found = verdict_parse(parser, mode, raw, &v);
    buf_add_str(out, "\"feedback\":");
    if (found)
        json_put_string(out, v.feedback);
    else
        buf_add_str(out, "null");
    if (!found)
        buf_add_str(out, ",\"result\":null,\"status\":\"unparsable\",\"rule\":null");
    else if (v.result >= 'A')
        buf_printf(out, ",\"result\":\"%c\",\"status\":\"ok\",\"rule\":", v.result);
    else
        buf_printf(out, ",\"result\":%d,\"status\":\"ok\",\"rule\":", v.result);
    if (found) json_put_string(out, sv_of(v.rule));
}

static bool parse_line(void *ctx, const row *in, buf *out, gv_err *err) {
    const row_column *raw = row_need(in, "raw", err), *mode = raw ? row_get(in, "mode") : NULL;
    if (!raw) return false;
    const json_kind kind = json_kind_of(raw->value);
    if (kind != JSON_STRING && kind != JSON_NULL)
        return gv_fail(err, GV_FORMAT, in->line, "raw is a %s, expected a string or null", json_kind_name(raw->value));
    judge_mode m = JUDGE_ABSOLUTE;
    if (mode && json_kind_of(mode->value) == JSON_STRING && sv_is(json_string(mode->value), "relative"))
        m = JUDGE_RELATIVE;
    else if (mode && (json_kind_of(mode->value) != JSON_STRING || !sv_is(json_string(mode->value), "absolute")))
        return gv_fail(err, GV_FORMAT, in->line, "mode is neither \"absolute\" nor \"relative\"");
    buf_add_char(out, '{');
    put_verdict(*(const verdict_parser *)ctx, m, kind == JSON_NULL ? (sv){0} : json_string(raw->value), out);
    buf_add_char(out, '}');
    return true;
}

static bool put_record(verdict_parser parser, judge_mode mode, bool several, sv record, arena *a, buf *out, gv_err *err) {
    judgment g;
    if (!judgment_from_json(record, &g, a, err)) return false;
    buf_clear(out);
    buf_printf(out, "{\"row\":%llu,\"id\":", (unsigned long long)g.row);
    json_put_string(out, g.row_id);
    buf_add_char(out, ',');
    if (several) {
        buf_add_str(out, "\"rubric\":");
        if (g.rubric.n)
            json_put_string(out, g.rubric);
        else
            buf_add_str(out, "null");
        buf_printf(out, ",\"sample\":%u,", g.sample);
    }
    if (g.has_raw) {
        put_verdict(parser, mode, g.raw, out);
    } else {
        buf_printf(out, "\"feedback\":null,\"result\":null,\"status\":\"%s\",\"rule\":null", judgment_status_name(g.status));
    }
    buf_add_str(out, "}\n");
    return true;
}

static int parse_journal(const char *path, verdict_parser parser) {
    gv_err err = GV_ERR_INIT;
    journal *j = journal_open(path, JOURNAL_READ, &err);
    if (!j) return cli_fail(&err);
    buf mode = {0}, out = {0};
    arena a;
    arena_init(&a);
    bool found = false, several = false, end = false, ok = journal_get_meta(j, "mode", &found, &mode, &err);
    const judge_mode m = found && sv_is(buf_view(&mode), "relative") ? JUDGE_RELATIVE : JUDGE_ABSOLUTE;
    journal_cursor c = {0};
    ok = ok && run_has_several(j, &several, &err);
    while (ok && (ok = journal_next(j, &c, &end, &err)) && !end) {
        ok = put_record(parser, m, several, c.record, &a, &out, &err);
        if (!ok) gv_context(&err, "%s, row %llu", path, (unsigned long long)c.key.row);
        if (ok && !lines_print(&out)) break;
        arena_reset(&a);
    }
    int code = ok ? EXIT_OK : cli_fail(&err);
    if (ok && (!end || !lines_flush())) code = EXIT_FAILED;
    buf_fini(&mode);
    buf_fini(&out);
    arena_fini(&a);
    journal_close(j);
    return code;
}

static int run(int n_args, const char **args, const void *opts) {
    verdict_parser parser = PARSE_STRICT;
    (void)n_args;
    verdict_parser_from(((const parse_opts *)opts)->verdict, &parser);
    if (cli_is_journal(args[0])) return parse_journal(args[0], parser);
    return lines_run(args[0], &(rows_options){.format = ROWS_JSONL}, UINT64_MAX, parse_line, &parser);
}

const opt_command command_parse = {
    .name = "parse",
    .args = "FILE|RUN",
    .summary = "Parse raw answers again, without a model",
    .detail = "Reads lines of {\"raw\",\"mode\"} (- is standard input; raw may be null) or a run's journal (OUT.run) and prints "
              "{\"feedback\",\"result\",\"status\",\"rule\"} for each; for a journal with row and id in front, and rubric and sample if it "
              "has several "
              "judgments a row. Without \"mode\" a line is "
              "absolute.",
    .example = "gavel parse answers.jsonl --verdict lenient\ngavel parse verdicts.jsonl.run --verdict robust",
    .opts = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
    .opts_size = sizeof(parse_opts),
    .defaults = defaults,
};
