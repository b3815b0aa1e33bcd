/* Verdict parsers.  See verdict.h and docs/judging.md.
 *
 * strict: PrometheusEval.format_output of distilabel 1.5.3.  lenient: parser.py of prometheus-eval 0.1.20, whose two regular expressions
 * are written out by hand: the absolute one is anchored at the end of the text, so it is read backwards; the relative one is line based
 * and is read forwards.  Neither backtracks: each byte is looked at a bounded number of times.  Letter case folds as Python's re does with
 * IGNORECASE: for the letters of these patterns that is ASCII plus U+017F for s.  robust: the fall-backs, ours.
 *
 * Input is any bytes; malformed UTF-8 matches nothing. */
#include "judge/verdict.h"

#include "judge/pystr.h"

static const char *const parser_names[] = {"strict", "lenient", "robust", "constrained"};

const char *verdict_parser_name(verdict_parser p) {
    return parser_names[p];
}

bool verdict_parser_from(const char *name, verdict_parser *out) {
    for (size_t i = 0; i < sizeof parser_names / sizeof *parser_names; i++) {
        if (strcmp(name, parser_names[i]) != 0) continue;
        *out = (verdict_parser)i;
        return true;
    }
    return false;
}

/* ---- moving over text ---- */

/* Position after the white space that begins at pos. */
static size_t skip_space(sv s, size_t pos) {
    while (pos < s.n) {
        size_t next = pos;
        if (!py_is_space(utf8_next(s, &next))) break;
        pos = next;
    }
    return pos;
}

/* The character that ends at `end` (> 0); *start is where it begins.  -1 if malformed. */
static int32_t char_before(sv s, size_t end, size_t *start) {
    size_t from = end - 1;
    while (from > 0 && end - from < 4 && ((unsigned char)s.p[from] & 0xc0) == 0x80) from--;
    size_t pos = from;
    int32_t c = utf8_next((sv){s.p, end}, &pos);
    if (pos != end) {
        *start = end - 1;
        return -1;
    }
    *start = from;
    return c;
}

static size_t skip_space_back(sv s, size_t end) {
    while (end > 0) {
        size_t start = 0;
        if (!py_is_space(char_before(s, end, &start))) break;
        end = start;
    }
    return end;
}

static int32_t fold(int32_t c) {
    if (c >= 'A' && c <= 'Z') return c + 32;
    return c == 0x17f ? 's' : c; /* LATIN SMALL LETTER LONG S */
}

/* Whether the lower-case ASCII word stands at pos, case ignored; *end is after it. */
static bool word_at(sv s, size_t pos, const char *word, size_t *end) {
    for (; *word; word++) {
        if (pos >= s.n || fold(utf8_next(s, &pos)) != *word) return false;
    }
    *end = pos;
    return true;
}

/* Whether the word ends at `end`; *start is where it begins. */
static bool word_before(sv s, size_t end, const char *word, size_t *start) {
    for (size_t n = strlen(word); n > 0; n--) {
        if (end == 0 || fold(char_before(s, end, &end)) != word[n - 1]) return false;
    }
    *start = end;
    return true;
}

/* ---- strict ---- */

static const sv tag = {"[RESULT]", 8};

/* The feedback as distilabel stores it. */
static sv clean_feedback(sv text) {
    text = py_strip(text);
    if (sv_starts(text, SV("Feedback:"))) text = py_strip(sv_sub(text, 9, text.n));
    return text;
}

static int strict_result(judge_mode mode, sv text) {
    if (text.n != 1) return 0;
    char c = text.p[0];
    if (mode == JUDGE_ABSOLUTE) return c >= '1' && c <= '5' ? c - '0' : 0;
    return c == 'A' || c == 'B' ? c : 0;
}

static bool parse_strict(judge_mode mode, sv raw, verdict *out) {
    size_t at = sv_find(raw, tag, 0);
    if (at == SIZE_MAX || sv_find(raw, tag, at + tag.n) != SIZE_MAX) return false;
    int result = strict_result(mode, py_strip(sv_sub(raw, at + tag.n, raw.n)));
    if (!result) return false;
    *out = (verdict){result, clean_feedback(sv_sub(raw, 0, at)), "strict"};
    return true;
}

/* ---- lenient, absolute ---- */

/* The tag that ends at `end`, as the pattern's alternatives have it; NULL if none. */
static const char *score_tag_before(sv s, size_t end) {
    size_t at = 0;
    if (word_before(s, end, "[result]", &at)) return "lenient:[RESULT]";
    if (word_before(s, end, "[score]", &at)) return "lenient:[SCORE]";
    if (word_before(s, end, "of", &at)) {
        size_t gap = skip_space_back(s, at);
        if (gap < at && word_before(s, gap, "score", &at)) return "lenient:score of";
    }
    bool colon = end > 0 && s.p[end - 1] == ':';
    if (colon && word_before(s, end - 1, "[result]", &at)) return "lenient:[RESULT]";
    if (word_before(s, colon ? end - 1 : end, "score", &at)) return "lenient:score";
    if (word_before(s, colon ? end - 1 : end, "result", &at)) return "lenient:result";
    return NULL;
}

/* A number that ends at `end`, brackets and white space before it, a tag before those. */
static int scored_number_before(sv s, size_t end, const char **rule) {
    int value = 0;
    bool any = false;
    int place = 1; /* beyond the first three places only zeros can stand in a number of 1..5 */
    for (size_t start = 0; end > 0; end = start) {
        int digit = py_digit(char_before(s, end, &start));
        if (digit < 0) break;
        any = true;
        value = value + digit * place > 99 ? 99 : value + digit * place;
        if (place < 1000) place *= 10;
    }
    if (!any || value < 1 || value > 5) return 0;
    while (end > 0) {
        size_t start = 0;
        int32_t c = char_before(s, end, &start);
        if (c != '(' && c != '[' && !py_is_space(c)) break;
        end = start;
    }
    *rule = score_tag_before(s, end);
    return *rule ? value : 0;
}

static int lenient_absolute(sv s, const char **rule) {
    size_t end = skip_space_back(s, s.n);
    if (end == 0) return 0;
    char last = s.p[end - 1];
    if (last == ')' || last == ']') return scored_number_before(s, end - 1, rule);
    int value = scored_number_before(s, end, rule);
    if (value || last != '5') return value;
    /* "/ 5" or "out of 5" after the number */
    size_t at = skip_space_back(s, end - 1);
    if (at > 0 && s.p[at - 1] == '/') return scored_number_before(s, at - 1, rule);
    if (!word_before(s, at, "of", &at)) return 0;
    if (!word_before(s, skip_space_back(s, at), "out", &at)) return 0;
    return scored_number_before(s, skip_space_back(s, at), rule);
}

/* ---- lenient, relative ---- */

/* What may follow a tag: white space, A or B, perhaps ']', then only white space to the end of a line.  *end is where to go on looking. */
static int letter_after(sv s, size_t pos) {
    pos = skip_space(s, pos);
    if (pos >= s.n) return 0;
    int letter = s.p[pos] == 'A' || s.p[pos] == 'a' ? 'A' : s.p[pos] == 'B' || s.p[pos] == 'b' ? 'B' : 0;
    if (!letter) return 0;
    pos++;
    if (pos < s.n && s.p[pos] == ']') pos++;
    while (pos < s.n) {
        if (s.p[pos] == '\n') return letter;
        if (!py_is_space(utf8_next(s, &pos))) return 0;
    }
    return letter;
}

static int bracket_tag_at(sv s, size_t pos, const char **rule) {
    size_t end = 0;
    int letter = 0;
    if (word_at(s, pos, "[result]", &end)) {
        *rule = "lenient:[RESULT]";
        letter = letter_after(s, end);
        if (letter) return letter;
        size_t gap = skip_space(s, end);
        return gap > end && word_at(s, gap, "response", &end) ? letter_after(s, end) : 0;
    }
    if (word_at(s, pos, "[result:", &end)) {
        *rule = "lenient:[RESULT:";
        return letter_after(s, end);
    }
    if (word_at(s, pos, "[response", &end)) {
        *rule = "lenient:[Response";
        return skip_space(s, end) > end ? letter_after(s, end) : 0;
    }
    return 0;
}

static int line_tag_at(sv s, size_t pos, const char **rule) {
    size_t end = 0;
    if (!word_at(s, pos, "result", &end)) return 0;
    *rule = "lenient:Result line";
    if (end < s.n && s.p[end] == ':') end++;
    return letter_after(s, end);
}

static int lenient_relative(sv s, const char **rule) {
    for (size_t pos = 0; pos < s.n; pos++) {
        int letter = 0;
        if (s.p[pos] == '[') letter = bracket_tag_at(s, pos, rule);
        if (!letter && (pos == 0 || s.p[pos - 1] == '\n')) letter = line_tag_at(s, pos, rule);
        if (letter) return letter;
    }
    return 0;
}

static bool parse_lenient(judge_mode mode, sv raw, verdict *out) {
    const char *rule = NULL;
    int result = mode == JUDGE_ABSOLUTE ? lenient_absolute(raw, &rule) : lenient_relative(raw, &rule);
    if (!result) return false;
    *out = (verdict){result, raw, rule};
    return true;
}

/* ---- robust ---- */

static const char opening[] = "*_`\"'([<:=#"; /* what may stand before a verdict, beside white space */

static bool is_word_char(int32_t c) {
    return (c >= '0' && c <= '9') || (fold(c) >= 'a' && fold(c) <= 'z') || c == '_' || c >= 0x80 || c < 0;
}

static size_t skip_any(sv s, size_t pos, const char *chars) {
    for (;;) {
        pos = skip_space(s, pos);
        if (pos >= s.n || !strchr(chars, s.p[pos]) || !s.p[pos]) return pos;
        pos++;
    }
}

static int verdict_char(judge_mode mode, char c) {
    if (mode == JUDGE_ABSOLUTE) return c >= '1' && c <= '5' ? c - '0' : 0;
    return c == 'A' || c == 'a' ? 'A' : c == 'B' || c == 'b' ? 'B' : 0;
}

/* Skips "Response" and the like with what may stand between it and a verdict. */
static size_t skip_introduction(judge_mode mode, sv s, size_t pos) {
    static const char *const absolute_words[] = {"score", "rating", NULL}, *const relative_words[] = {"response", "assistant", "output",
                                                                                                      NULL};
    for (const char *const *w = mode == JUDGE_ABSOLUTE ? absolute_words : relative_words; *w; w++) {
        size_t end = 0;
        if (!word_at(s, pos, *w, &end)) continue;
        size_t next = skip_any(s, end, opening);
        if (next > end) return next;
    }
    return pos;
}

/* Whether another verdict is joined to the one that ends at pos: "4-5", "4 or 5", "A/B", "A and Response B". */
static bool is_joined(judge_mode mode, sv s, size_t pos) {
    size_t next = pos;
    int32_t c = utf8_next(s, &next);
    bool joined = c == '/' || c == '-' || c == '=' || c == '&' || c == '+' || c == '|' || c == 0x2013; /* EN DASH */
    if (!joined) joined = word_at(s, pos, "or", &next) || word_at(s, pos, "and", &next) || word_at(s, pos, "to", &next);
    if (!joined) return false;
    next = skip_introduction(mode, s, skip_any(s, next, opening));
    if (next >= s.n || !verdict_char(mode, s.p[next])) return false;
    next++;
    return next >= s.n || !is_word_char((unsigned char)s.p[next]);
}

/* A number that says of how many, at pos: true if it is 5. */
static bool is_out_of_five(sv s, size_t pos) {
    pos = skip_space(s, pos);
    return pos < s.n && s.p[pos] == '5' && (pos + 1 == s.n || !is_word_char((unsigned char)s.p[pos + 1]));
}

/* Whether what follows the verdict that ends at pos lets it stand.  `introduced`: a word such as "Response" came before the letter;
 * without one a letter with a word after it may be the article or a name ("A better answer", "B Spears") and does not stand. */
static bool stands(judge_mode mode, sv s, size_t pos, bool introduced) {
    if (mode == JUDGE_ABSOLUTE && pos + 1 < s.n && (s.p[pos] == '.' || s.p[pos] == ',') && s.p[pos + 1] >= '0' && s.p[pos + 1] <= '9')
        return false;
    pos = skip_any(s, pos, "*_`\"')]");
    if (pos >= s.n) return true;
    size_t next = pos;
    if (mode == JUDGE_ABSOLUTE && s.p[pos] == '/') return is_out_of_five(s, pos + 1);
    if (mode == JUDGE_ABSOLUTE && word_at(s, pos, "out", &next) && word_at(s, skip_space(s, next), "of", &next))
        return is_out_of_five(s, next);
    if (is_joined(mode, s, pos)) return false;
    if (mode == JUDGE_ABSOLUTE || introduced) return true;
    size_t line = pos;
    while (line > 0 && py_is_space((unsigned char)s.p[line - 1]) && s.p[line - 1] != '\n') line--;
    if (line > 0 && s.p[line - 1] == '\n') return true;
    next = pos;
    return !is_word_char(utf8_next(s, &next));
}

/* The verdict at pos after decoration and an introducing word; 0 if there is none. */
static int decorated_verdict_at(judge_mode mode, sv s, size_t pos) {
    pos = skip_any(s, pos, opening);
    size_t start = skip_introduction(mode, s, pos);
    bool introduced = start > pos;
    pos = start;
    if (pos >= s.n) return 0;
    int result = verdict_char(mode, s.p[pos]);
    if (!result) return 0;
    size_t next = ++pos;
    if (pos < s.n && s.p[pos] != '_' && is_word_char(utf8_next(s, &next))) return 0;
    return stands(mode, s, pos, introduced) ? result : 0;
}

/* All [RESULT] tags (case ignored) that a verdict follows: the verdict they agree on, 0 if there is none, -1 if they disagree. */
static int tagged_verdict(judge_mode mode, sv s, size_t *first, bool *repeated) {
    int found = 0;
    *repeated = false;
    for (size_t pos = 0; pos < s.n; pos++) {
        size_t end = 0;
        if (s.p[pos] != '[' || !word_at(s, pos, "[result]", &end)) continue;
        int result = decorated_verdict_at(mode, s, end);
        if (!result) continue;
        if (found && found != result) return -1;
        if (found)
            *repeated = true;
        else
            *first = pos;
        found = result;
    }
    return found;
}

/* The last line that is not blank, if it is a label and a verdict: "**Score:** 4/5", "Final verdict: Response B". */
static int labelled_line(judge_mode mode, sv s, size_t *line_start) {
    static const char *const labels[] = {"final verdict", "final score", "final answer", "overall score", "verdict",         "score",
                                         "rating",        "answer",      "result",       "winner",        "better response", NULL};
    size_t end = skip_space_back(s, s.n), start = end;
    while (start > 0 && s.p[start - 1] != '\n') start--;
    sv line = sv_sub(s, start, end - start);
    size_t at = skip_any(line, 0, "*_`\"'#->[(");
    for (const char *const *label = labels; *label; label++) {
        size_t after = 0;
        if (!word_at(line, at, *label, &after)) continue;
        size_t colon = skip_any(line, after, "*_`\"'])");
        if (colon >= line.n || (line.p[colon] != ':' && line.p[colon] != '=')) continue;
        *line_start = start;
        return decorated_verdict_at(mode, line, colon + 1);
    }
    return 0;
}

static bool parse_robust(judge_mode mode, sv raw, verdict *out) {
    if (parse_strict(mode, raw, out)) return true;
    size_t at = 0;
    bool repeated = false;
    int result = tagged_verdict(mode, raw, &at, &repeated);
    if (result < 0) return false;
    if (result) {
        *out = (verdict){result, clean_feedback(sv_sub(raw, 0, at)), repeated ? "robust:repeated tag" : "robust:tag"};
        return true;
    }
    if (parse_lenient(mode, raw, out)) return true;
    result = labelled_line(mode, raw, &at);
    if (!result) return false;
    *out = (verdict){result, clean_feedback(sv_sub(raw, 0, at)), "robust:label"};
    return true;
}

/* ---- public ---- */

bool verdict_parse(verdict_parser parser, judge_mode mode, sv raw, verdict *out) {
    *out = (verdict){0};
    if (!raw.p) return false;
    switch (parser) {
    case PARSE_STRICT: return parse_strict(mode, raw, out);
    case PARSE_LENIENT: return parse_lenient(mode, raw, out);
    case PARSE_ROBUST: return parse_robust(mode, raw, out);
    case PARSE_CONSTRAINED:
        if (!parse_strict(mode, raw, out)) return false;
        out->rule = "constrained";
        return true;
    }
    return false;
}

bool verdict_from_choice(judge_mode mode, sv raw, size_t feedback_bytes, int choice, bool forced, verdict *out) {
    *out = (verdict){0};
    if (choice < 0 || choice >= (mode == JUDGE_ABSOLUTE ? 5 : 2)) return false;
    out->result = mode == JUDGE_ABSOLUTE ? choice + 1 : 'A' + choice;
    out->feedback = clean_feedback(sv_sub(raw, 0, feedback_bytes));
    out->rule = forced ? "forced" : "constrained";
    return true;
}
