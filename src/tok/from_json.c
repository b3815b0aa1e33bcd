/* Tokenizer from a tokenizer.json of the tokenizers library (0.13 to 0.22).
 *
 * The file can describe arbitrary pipelines; only those of our two families are accepted, each part by type and values, everything else is
 * refused by name.  Expressions in the file are compared with the known ones as strings and never run.  SentencePiece vocabularies that
 * were converted (model BPE with byte_fallback) get sentencepiece's rules, so that a model gives the same ids from all its files: the
 * dummy prefix stands in front of every stretch whatever prepend_scheme says but "never", and of merges that make one piece the first
 * counts.  Added tokens: special ones are CONTROL, others USER_DEFINED; all are searched in the text as written. */
#include "base/json.h"
#include "tok/tok_internal.h"

#include <stdlib.h>

#define MAX_VALUES ((size_t)8 << 20)
#define SPACE      "\xe2\x96\x81"
#define WORDS      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
#define REST       "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static bool is_null(const json_value *v) {
    return !v || json_kind_of(v) == JSON_NULL;
}
static bool is_kind(const json_value *v, json_kind k) {
    return v && json_kind_of(v) == k;
}

/* Member as string, empty if absent or of another type. */
static sv text_of(const json_value *v, const char *key) {
    const json_value *s = json_get(v, key);
    return is_kind(s, JSON_STRING) ? json_string(s) : (sv){"", 0};
}

static bool flag_of(const json_value *v, const char *key, bool otherwise) {
    const json_value *s = json_get(v, key);
    return is_kind(s, JSON_BOOL) ? json_bool(s) : otherwise;
}

static bool has_type(const json_value *v, const char *type) {
    return is_kind(v, JSON_OBJECT) && sv_is(text_of(v, "type"), type);
}

static bool refuse(const json_value *v, const char *part, gv_err *err) {
    buf b = {0};
    json_put_value(&b, v);
    gv_fail(err, GV_UNSUPPORTED, -1, "%s is not one gavel knows: " SV_FMT, part, SV_ARG(sv_sub(buf_view(&b), 0, 300)));
    buf_fini(&b);
    return false;
}

/* The parts of a Sequence object (member `list`), or v itself as one part; at most cap. */
static size_t parts_of(const json_value *v, const char *list, const json_value **part, size_t cap) {
    if (is_null(v)) return 0;
    const json_value *a = has_type(v, "Sequence") ? json_get(v, list) : NULL;
    if (!a) {
        part[0] = v;
        return 1;
    }
    size_t n = 0;
    if (!is_kind(a, JSON_ARRAY)) return cap + 1;
    for (json_iter it = json_each(a); json_next(&it);) {
        if (n == cap) return cap + 1;
        part[n++] = it.value;
    }
    return n;
}

/* ---- vocabulary */

typedef struct json_vocab {
    sv *name; /* by id; p NULL: missing */
    uint8_t *type;
    size_t n;
} json_vocab;

static bool read_id(const json_value *v, const char *what, sv name, size_t *id, gv_err *err) {
    int64_t i;
    if (!v || !json_int64(v, &i) || i < 0) return gv_fail(err, GV_FORMAT, -1, "%s \"%s\" has no id", what, str_show(name).text);
    if (i >= TOK_MAX_VOCAB)
        return gv_fail(err, GV_LIMIT, -1, "%s \"%s\" has id %lld; ids go to %u", what, str_show(name).text, (long long)i,
                       TOK_MAX_VOCAB - 1);
    *id = (size_t)i;
    return true;
}

static bool check_added(const json_value *v, gv_err *err) {
    static const char *const flags[] = {"single_word", "lstrip", "rstrip"};
    if (!is_kind(v, JSON_OBJECT) || !text_of(v, "content").n) return gv_fail(err, GV_FORMAT, -1, "an added token has no content");
    for (size_t i = 0; i < 3; i++)
        if (flag_of(v, flags[i], false))
            return gv_fail(err, GV_UNSUPPORTED, -1, "added token \"%s\": %s is not supported", str_show(text_of(v, "content")).text,
                           flags[i]);
    return true;
}

static bool count_ids(const json_value *vocab, const json_value *added, size_t *n, gv_err *err) {
    size_t id;
    *n = 0;
    for (json_iter it = json_each(vocab); json_next(&it);) {
        if (!read_id(it.value, "token", it.key, &id, err)) return false;
        if (id >= *n) *n = id + 1;
    }
    if (!is_kind(added, JSON_ARRAY)) return true;
    for (json_iter it = json_each(added); json_next(&it);) {
        if (!check_added(it.value, err) || !read_id(json_get(it.value, "id"), "added token", text_of(it.value, "content"), &id, err))
            return false;
        if (id >= *n) *n = id + 1;
    }
    return true;
}

static bool place_tokens(json_vocab *v, const json_value *vocab, const json_value *added, gv_err *err) {
    size_t id = 0;
    for (json_iter it = json_each(vocab); json_next(&it);) {
        if (!read_id(it.value, "token", it.key, &id, err)) return false;
        if (v->name[id].p)
            return gv_fail(err, GV_FORMAT, -1, "tokens \"%s\" and \"%s\" both have id %zu", str_show(v->name[id]).text,
                           str_show(it.key).text, id);
        v->name[id] = it.key;
        v->type[id] = TT_NORMAL;
    }
    if (!is_kind(added, JSON_ARRAY)) return true;
    for (json_iter it = json_each(added); json_next(&it);) {
        sv name = text_of(it.value, "content");
        if (!read_id(json_get(it.value, "id"), "added token", name, &id, err)) return false;
        if (v->name[id].p && !sv_eq(v->name[id], name))
            return gv_fail(err, GV_FORMAT, -1, "added token \"%s\" has id %zu, which is \"%s\"", str_show(name).text, id,
                           str_show(v->name[id]).text);
        v->name[id] = name;
        v->type[id] = flag_of(it.value, "special", false) ? TT_CONTROL : TT_USER_DEFINED;
    }
    return true;
}

static bool is_byte_name(sv s) {
    return s.n == 6 && memcmp(s.p, "<0x", 3) == 0 && s.p[5] == '>';
}

static bool add_tokens(tok *t, const json_vocab *v, gv_err *err) {
    for (size_t i = 0; i < v->n; i++) {
        if (!v->name[i].p) return gv_fail(err, GV_FORMAT, -1, "no token has id %zu, but %zu ids are in use", i, v->n);
        int type = v->type[i];
        if (t->family == TOK_SPM && type == TT_NORMAL && is_byte_name(v->name[i])) type = TT_BYTE;
        if (!tok_add(t, v->name[i], type, 0, err)) return false;
    }
    return tok_index(t, err);
}

static bool read_vocab(tok *t, const json_value *root, const json_value *model, gv_err *err) {
    const json_value *vocab = json_get(model, "vocab"), *added = json_get(root, "added_tokens");
    if (!is_kind(vocab, JSON_OBJECT)) return gv_fail(err, GV_FORMAT, -1, "model.vocab is not an object");
    if (!is_null(added) && !is_kind(added, JSON_ARRAY)) return gv_fail(err, GV_FORMAT, -1, "added_tokens is not an array");
    json_vocab v = {0};
    if (!count_ids(vocab, added, &v.n, err)) return false;
    v.name = gv_try_calloc(v.n, sizeof *v.name, "vocabulary", err);
    v.type = v.name ? gv_try_calloc(v.n, 1, "vocabulary", err) : NULL;
    bool done = v.type && place_tokens(&v, vocab, added, err) && add_tokens(t, &v, err);
    free(v.name);
    free(v.type);
    return done;
}

static bool read_merges(tok *t, const json_value *merges, gv_err *err) {
    if (!is_kind(merges, JSON_ARRAY)) return gv_fail(err, GV_FORMAT, -1, "model.merges is not an array");
    if (!tok_reserve_merges(t, json_size(merges), err)) return false;
    size_t i = 0;
    for (json_iter it = json_each(merges); json_next(&it); i++) {
        sv left = {0}, right = {0};
        if (json_kind_of(it.value) == JSON_STRING) {
            sv m = json_string(it.value);
            size_t cut = m.n ? sv_find(m, SV(" "), 0) : SIZE_MAX;
            if (cut != SIZE_MAX && sv_find(m, SV(" "), cut + 1) == SIZE_MAX) {
                left = sv_sub(m, 0, cut);
                right = sv_sub(m, cut + 1, m.n);
            }
        } else if (json_kind_of(it.value) == JSON_ARRAY && json_size(it.value) == 2) {
            json_iter two = json_each(it.value);
            if (json_next(&two) && json_kind_of(two.value) == JSON_STRING) left = json_string(two.value);
            if (json_next(&two) && json_kind_of(two.value) == JSON_STRING) right = json_string(two.value);
        }
        if (!left.n || !right.n) return gv_fail(err, GV_FORMAT, (int64_t)i, "merge %zu is not two tokens", i);
        if (!tok_add_merge(t, left, right, err)) return false;
    }
    return true;
}

/* ---- pipeline */

static bool is_byte_level(const json_value *v, bool use_regex) {
    return has_type(v, "ByteLevel") && !flag_of(v, "add_prefix_space", true) && flag_of(v, "use_regex", true) == use_regex;
}

static bool is_split(const json_value *v, const char *regex) {
    return has_type(v, "Split") && sv_is(text_of(json_get(v, "pattern"), "Regex"), regex) && sv_is(text_of(v, "behavior"), "Isolated") &&
           !flag_of(v, "invert", true);
}

static bool read_bpe_pipeline(tok *t, const json_value *root, gv_err *err) {
    const json_value *pre = json_get(root, "pre_tokenizer"), *norm = json_get(root, "normalizer"), *dec = json_get(root, "decoder");
    const json_value *p[2], *q[1];
    size_t n = parts_of(pre, "pretokenizers", p, 2), m = parts_of(norm, "normalizers", q, 1);
    if (n == 1 && is_byte_level(p[0], true))
        t->pretok = PRETOK_GPT2;
    else if (n == 2 && has_type(p[0], "Digits") && flag_of(p[0], "individual_digits", false) && is_byte_level(p[1], true))
        t->pretok = PRETOK_SMOLLM;
    else if (n == 2 && is_split(p[0], WORDS "{1,3}" REST) && is_byte_level(p[1], false))
        t->pretok = PRETOK_LLAMA3;
    else if (n == 2 && is_split(p[0], WORDS REST) && is_byte_level(p[1], false))
        t->pretok = PRETOK_QWEN2;
    else if (is_null(pre))
        return gv_fail(err, GV_UNSUPPORTED, -1, "pre_tokenizer is missing");
    else
        return refuse(pre, "pre_tokenizer", err);
    if (m > 1 || (m == 1 && !has_type(q[0], "NFC"))) return refuse(norm, "normalizer", err);
    t->nfc = m == 1;
    if (!has_type(dec, "ByteLevel"))
        return is_null(dec) ? gv_fail(err, GV_UNSUPPORTED, -1, "decoder is missing") : refuse(dec, "decoder", err);
    return true;
}

static bool is_replace(const json_value *v, const char *from, const char *to) {
    return has_type(v, "Replace") && sv_is(text_of(json_get(v, "pattern"), "String"), from) && sv_is(text_of(v, "content"), to);
}

static bool is_spm_decoder(const json_value *dec) {
    const json_value *p[4];
    size_t n = parts_of(dec, "decoders", p, 4);
    if (n == 1) return has_type(p[0], "Metaspace");
    if (n < 3 || n > 4 || !is_replace(p[0], SPACE, " ") || !has_type(p[1], "ByteFallback") || !has_type(p[2], "Fuse")) return false;
    return n == 3 || (has_type(p[3], "Strip") && sv_is(text_of(p[3], "content"), " "));
}

static bool read_spm_pipeline(tok *t, const json_value *root, gv_err *err) {
    const json_value *pre = json_get(root, "pre_tokenizer"), *norm = json_get(root, "normalizer"), *dec = json_get(root, "decoder");
    const json_value *p[2];
    size_t n = parts_of(norm, "normalizers", p, 2);
    if (is_null(pre)) {
        bool prepend = n == 2 && has_type(p[0], "Prepend") && sv_is(text_of(p[0], "prepend"), SPACE);
        if ((n != 1 && !prepend) || !is_replace(p[n - 1], " ", SPACE))
            return is_null(norm) ? gv_fail(err, GV_UNSUPPORTED, -1, "normalizer and pre_tokenizer are missing")
                                 : refuse(norm, "normalizer", err);
        t->dummy_prefix = prepend;
    } else {
        sv scheme = text_of(pre, "prepend_scheme");
        if (n) return refuse(norm, "normalizer", err);
        if (!has_type(pre, "Metaspace") || !sv_is(text_of(pre, "replacement"), SPACE) || flag_of(pre, "split", true))
            return refuse(pre, "pre_tokenizer", err);
        t->dummy_prefix = scheme.n ? !sv_is(scheme, "never") : flag_of(pre, "add_prefix_space", true);
    }
    if (!is_spm_decoder(dec)) return is_null(dec) ? gv_fail(err, GV_UNSUPPORTED, -1, "decoder is missing") : refuse(dec, "decoder", err);
    return true;
}

/* BOS in front of the text is the only thing a template may add. */
static bool read_template(tok *t, const json_value *v, gv_err *err) {
    const json_value *single = json_get(v, "single");
    size_t i = 0, n = is_kind(single, JSON_ARRAY) ? json_size(single) : 0;
    for (json_iter it = n ? json_each(single) : (json_iter){0}; n && json_next(&it); i++) {
        const json_value *special = json_get(it.value, "SpecialToken"), *text = json_get(it.value, "Sequence");
        if (special && i == 0 && n == 2) {
            sv name = text_of(special, "id");
            t->bos = tok_find(t, name);
            if (t->bos < 0)
                return gv_fail(err, GV_FORMAT, -1, "post_processor names \"%s\", which is not in the vocabulary", str_show(name).text);
            t->adds_bos = true;
        } else if (!text || i + 1 != n) {
            return refuse(v, "post_processor", err);
        }
    }
    return n ? true : refuse(v, "post_processor", err);
}

static bool read_post_processor(tok *t, const json_value *root, gv_err *err) {
    const json_value *v = json_get(root, "post_processor"), *p[4];
    size_t n = parts_of(v, "processors", p, 4);
    if (n > 4) return refuse(v, "post_processor", err);
    if (n) t->adds_bos = false;
    for (size_t i = 0; i < n; i++) {
        if (has_type(p[i], "TemplateProcessing")) {
            if (!read_template(t, p[i], err)) return false;
        } else if (!has_type(p[i], "ByteLevel")) {
            return refuse(p[i], "post_processor", err);
        }
    }
    return true;
}

static bool check_model(const json_value *model, gv_err *err) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    if (!is_kind(model, JSON_OBJECT)) return gv_fail(err, GV_FORMAT, -1, "not a tokenizer.json: it has no model");
    const json_value *type = json_get(model, "type");
    if (type && !has_type(model, "BPE")) return refuse(type, "model type", err);
    double dropout = 0;
    const json_value *d = json_get(model, "dropout");
    if (!is_null(d) && (!json_double(d, &dropout) || dropout != 0)) return refuse(d, "model.dropout", err);
    for (size_t i = 0; i < 2; i++) {
        const json_value *a = json_get(model, affixes[i]);
        if (!is_null(a) && (json_kind_of(a) != JSON_STRING || json_string(a).n)) return refuse(a, affixes[i], err);
    }
    return true;
}

/* sentencepiece's <unk>.  A byte-level unk_token is never produced: it is a special token, and text never becomes one. */
static bool read_unknown(tok *t, const json_value *model, gv_err *err) {
    sv unk = text_of(model, "unk_token");
    if (!unk.n) return true;
    t->unk = tok_find(t, unk);
    if (t->unk < 0) return gv_fail(err, GV_FORMAT, -1, "unk_token \"%s\" is not in the vocabulary", str_show(unk).text);
    if (t->family == TOK_SPM) t->e[t->unk].type = TT_UNKNOWN;
    return true;
}

static bool load_document(tok *t, const json_value *root, gv_err *err) {
    const json_value *model = json_get(root, "model");
    if (!check_model(model, err)) return false;
    t->by_pair = true;
    t->family = flag_of(model, "byte_fallback", false) ? TOK_SPM : TOK_BPE;
    t->dummy_prefix = false;
    t->ignore_merges = flag_of(model, "ignore_merges", false);
    if (t->family == TOK_SPM && t->ignore_merges)
        return gv_fail(err, GV_UNSUPPORTED, -1, "ignore_merges with byte_fallback is not supported");
    bool done = t->family == TOK_SPM ? read_spm_pipeline(t, root, err) : read_bpe_pipeline(t, root, err);
    if (!done || !read_vocab(t, root, model, err) || !read_merges(t, json_get(model, "merges"), err) || !read_unknown(t, model, err))
        return false;
    if (t->family == TOK_SPM) {
        t->bos = tok_find(t, SV("<s>"));
        t->eos = tok_find(t, SV("</s>"));
        t->adds_bos = t->bos >= 0;
    }
    return read_post_processor(t, root, err);
}

bool tok_load_json(tok *t, sv text, gv_err *err) {
    json_doc *d = json_parse_caps(text, TOK_MAX_VOCAB, MAX_VALUES, err);
    if (!d) return false;
    const json_value *root = json_root(d);
    bool done = is_kind(root, JSON_OBJECT) ? load_document(t, root, err)
                                           : gv_fail(err, GV_FORMAT, -1, "not a tokenizer.json: %s, not an object", json_kind_name(root));
    json_free(d);
    return done;
}
