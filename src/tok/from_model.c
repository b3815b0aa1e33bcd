/* Tokenizer from a SentencePiece tokenizer.model: a protobuf message, read by a bounded reader of our own.
 *
 * Format: protobuf wire format (varint, 64-bit, length-delimited, 32-bit; groups refused) and sentencepiece_model.proto.  Fields read:
 * ModelProto 1 pieces {1 piece, 2 score, 3 type}, 2 trainer_spec {3 model_type, 24 treat_whitespace_as_suffix, 35 byte_fallback,
 * 44 unk_surface, 46 bos_piece, 47 eos_piece}, 3 normalizer_spec and 5 denormalizer_spec {2 precompiled_charsmap, 3 add_dummy_prefix,
 * 4 remove_extra_whitespaces, 5 escape_whitespaces}.  Only BPE with byte fallback and the identity normaliser is accepted. */
#include "base/bytes.h"
#include "tok/tok_internal.h"

typedef struct field {
    uint64_t number;
    unsigned wire;  /* 0 varint, 1 64-bit, 2 bytes, 5 32-bit */
    uint64_t value; /* wire 0, 1, 5 */
    sv data;        /* wire 2 */
} field;

typedef struct spec { /* what the message says, with the proto's defaults */
    uint64_t model_type;
    bool byte_fallback, suffix, dummy_prefix, remove_extra, escape;
    sv unk_surface, bos, eos;
} spec;

static bool read_varint(bytes *b, uint64_t *v, gv_err *err) {
    *v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t c;
        if (!bytes_u8(b, &c, "varint", err)) return false;
        if (shift == 63 && c > 1) break;
        *v |= (uint64_t)(c & 127) << shift;
        if (c < 128) return true;
    }
    return gv_fail(err, GV_FORMAT, (int64_t)b->pos, "varint of more than 64 bits at offset %zu", b->pos);
}

static bool next_field(bytes *b, field *f, gv_err *err) {
    uint64_t key, n;
    uint32_t v32;
    size_t at = b->pos;
    if (!read_varint(b, &key, err)) return false;
    f->number = key >> 3;
    f->wire = (unsigned)(key & 7);
    f->data = (sv){NULL, 0};
    f->value = 0;
    if (f->number == 0 || f->number > 536870911)
        return gv_fail(err, GV_FORMAT, (int64_t)at, "field number %llu at offset %zu", (unsigned long long)f->number, at);
    switch (f->wire) {
    case 0: return read_varint(b, &f->value, err);
    case 1: return bytes_u64(b, &f->value, "64-bit field", err);
    case 2: return read_varint(b, &n, err) && bytes_view(b, n, &f->data, "length-delimited field", err);
    case 5:
        if (!bytes_u32(b, &v32, "32-bit field", err)) return false;
        f->value = v32;
        return true;
    default: return gv_fail(err, GV_FORMAT, (int64_t)at, "wire type %u at offset %zu is not supported", f->wire, at);
    }
}

static bool expect_wire(const field *f, unsigned wire, const char *what, gv_err *err) {
    if (f->wire == wire) return true;
    return gv_fail(err, GV_FORMAT, -1, "%s has wire type %u, expected %u", what, f->wire, wire);
}

static bool read_piece(tok *t, sv data, gv_err *err) {
    bytes b = {(const uint8_t *)data.p, data.n, 0};
    field f;
    sv name = {0};
    float score = 0;
    uint64_t type = TT_NORMAL;
    while (bytes_left(&b)) {
        if (!next_field(&b, &f, err)) return gv_context(err, "piece %d", t->n);
        if (f.number == 1) {
            if (!expect_wire(&f, 2, "piece", err)) return gv_context(err, "piece %d", t->n);
            name = f.data;
        } else if (f.number == 2) {
            if (!expect_wire(&f, 5, "score", err)) return gv_context(err, "piece %d", t->n);
            uint32_t bits = (uint32_t)f.value;
            memcpy(&score, &bits, sizeof score);
        } else if (f.number == 3) {
            if (!expect_wire(&f, 0, "type", err)) return gv_context(err, "piece %d", t->n);
            type = f.value;
        }
    }
    if (type == TT_UNUSED) return gv_fail(err, GV_UNSUPPORTED, t->n, "piece %d is of type UNUSED, which is not supported", t->n);
    if (type == TT_UNKNOWN && t->unk >= 0) return gv_fail(err, GV_FORMAT, t->n, "pieces %d and %d are both of type UNKNOWN", t->unk, t->n);
    if (type == TT_UNKNOWN) t->unk = t->n;
    if (!tok_add(t, name, type > TT_BYTE ? 7 : (int)type, score, err)) return false;
    t->e[t->n - 1].frozen = type == TT_USER_DEFINED;
    return true;
}

static bool read_trainer(spec *s, sv data, gv_err *err) {
    bytes b = {(const uint8_t *)data.p, data.n, 0};
    field f;
    while (bytes_left(&b)) {
        if (!next_field(&b, &f, err)) return gv_context(err, "trainer_spec");
        bool text = f.number == 44 || f.number == 46 || f.number == 47, flag = f.number == 3 || f.number == 24 || f.number == 35;
        if ((text || flag) && !expect_wire(&f, text ? 2 : 0, "a field", err)) return gv_context(err, "trainer_spec");
        switch (f.number) {
        case 3: s->model_type = f.value; break;
        case 24: s->suffix = f.value != 0; break;
        case 35: s->byte_fallback = f.value != 0; break;
        case 44: s->unk_surface = f.data; break;
        case 46: s->bos = f.data; break;
        case 47: s->eos = f.data; break;
        default: break;
        }
    }
    return true;
}

static bool read_normalizer(spec *s, sv data, bool denormalizer, gv_err *err) {
    const char *what = denormalizer ? "denormalizer_spec" : "normalizer_spec";
    bytes b = {(const uint8_t *)data.p, data.n, 0};
    field f;
    while (bytes_left(&b)) {
        if (!next_field(&b, &f, err)) return gv_context(err, "%s", what);
        if (f.number == 2 && f.data.n) return gv_fail(err, GV_UNSUPPORTED, -1, "%s: a normalisation table is not supported", what);
        if (denormalizer || f.number < 3 || f.number > 5) continue;
        if (!expect_wire(&f, 0, "a field", err)) return gv_context(err, "%s", what);
        *(f.number == 3 ? &s->dummy_prefix : f.number == 4 ? &s->remove_extra : &s->escape) = f.value != 0;
    }
    return true;
}

static bool check_spec(const spec *s, gv_err *err) {
    static const char *const types[] = {"0", "unigram", "bpe", "word", "char"};
    if (s->model_type != 2)
        return gv_fail(err, GV_UNSUPPORTED, -1, "model_type %s is not supported, only bpe",
                       s->model_type < 5 ? types[s->model_type] : "unknown");
    if (!s->byte_fallback) return gv_fail(err, GV_UNSUPPORTED, -1, "a vocabulary without byte_fallback is not supported");
    if (s->suffix) return gv_fail(err, GV_UNSUPPORTED, -1, "treat_whitespace_as_suffix is not supported");
    if (s->remove_extra) return gv_fail(err, GV_UNSUPPORTED, -1, "remove_extra_whitespaces is not supported");
    if (!s->escape) return gv_fail(err, GV_UNSUPPORTED, -1, "escape_whitespaces false is not supported");
    if (s->unk_surface.n > TOK_MAX_SPECIAL || utf8_invalid_at(s->unk_surface) != SIZE_MAX)
        return gv_fail(err, GV_FORMAT, -1, "unk_surface is not valid UTF-8 of at most %u bytes", TOK_MAX_SPECIAL);
    return true;
}

static int32_t find_control(const tok *t, sv name) {
    for (int32_t id = 0; id < t->n; id++)
        if (t->e[id].type == TT_CONTROL && sv_eq(tok_name(t, id), name)) return id;
    return -1;
}

bool tok_load_model(tok *t, sv data, gv_err *err) {
    bytes b = {(const uint8_t *)data.p, data.n, 0};
    spec s = {.model_type = 1,
              .dummy_prefix = true,
              .remove_extra = true,
              .escape = true,
              .unk_surface = SV(" \xe2\x81\x87 "),
              .bos = SV("<s>"),
              .eos = SV("</s>")};
    field f;
    while (bytes_left(&b)) {
        if (!next_field(&b, &f, err)) return gv_context(err, "not a SentencePiece model");
        if (f.number != 1 && f.number != 2 && f.number != 3 && f.number != 5) continue;
        if (!expect_wire(&f, 2, "a field", err)) return gv_context(err, "not a SentencePiece model");
        bool done = f.number == 1   ? read_piece(t, f.data, err)
                    : f.number == 2 ? read_trainer(&s, f.data, err)
                                    : read_normalizer(&s, f.data, f.number == 5, err);
        if (!done) return false;
    }
    if (!t->n) return gv_fail(err, GV_FORMAT, -1, "not a SentencePiece model: it has no pieces");
    if (!check_spec(&s, err)) return false;
    if (t->unk < 0) return gv_fail(err, GV_FORMAT, -1, "no piece is of type UNKNOWN");
    t->family = TOK_SPM;
    t->dummy_prefix = s.dummy_prefix;
    buf_add_sv(&t->unk_surface, s.unk_surface);
    t->bos = find_control(t, s.bos);
    t->eos = find_control(t, s.eos);
    t->adds_bos = t->bos >= 0;
    return true;
}
