/* GGUF v2/v3 reader and a small writer.
 *
 * Format: ggml docs/gguf.md.  A reader maps the file, checks everything it will ever rely on at open (caps, offsets, overlaps, types,
 * UTF-8 of keys), and then hands out borrowed views: nothing is copied but the index.  All bytes are untrusted; the rules and caps are
 * those of facts on loader security kept in docs/formats.md.  Tensor data is never touched at open. */
#ifndef GAVEL_MODELFILE_GGUF_H
#define GAVEL_MODELFILE_GGUF_H

#include "base/dtype.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"

/* A borrowed tensor of any file, GGUF or safetensors: valid while its file is open.  Shape in GGUF order: ne[0] is the contiguous dimension
 * (columns of a weight matrix, i.e. its input width); ne[i] = 1 for i >= n_dims.  data holds n_bytes in file layout.  rope_heads: see
 * tensor_row in tensors.h; 0 in every GGUF. */
typedef struct tensor_view {
    const char *name; /* NUL-terminated; < 64 bytes in a GGUF */
    dtype type;
    uint32_t n_dims;
    int64_t ne[4];
    const uint8_t *data;
    size_t n_bytes;
    uint32_t rope_heads; /* above 0: rows are stored in another order than they are numbered */
} tensor_view;

typedef enum gguf_type { /* GGUF metadata value types */
                         GGUF_U8,
                         GGUF_I8,
                         GGUF_U16,
                         GGUF_I16,
                         GGUF_U32,
                         GGUF_I32,
                         GGUF_F32,
                         GGUF_BOOL,
                         GGUF_STRING,
                         GGUF_ARRAY,
                         GGUF_U64,
                         GGUF_I64,
                         GGUF_F64,
} gguf_type;

/* "u32", "string", "array" ... for messages; "?" for a number that is no type. */
const char *gguf_type_name(gguf_type type);

/* Caps, checked at open (docs/formats.md, table of caps). */
#define GGUF_MAX_KEYS          65536
#define GGUF_MAX_TENSORS       65536
#define GGUF_MAX_KEY_BYTES     65536
#define GGUF_MAX_STRING_BYTES  (16u << 20)
#define GGUF_MAX_ARRAY_ELEMS   (16u << 20)
#define GGUF_MAX_NAME_BYTES    63 /* of a tensor */
#define GGUF_MAX_PARTS         1024
#define GGUF_DEFAULT_ALIGNMENT 32

typedef struct gguf gguf;

/* Maps and checks PATH.  If it is a part of a split model (gguf_split.c), all parts are opened, and the gguf has the keys of the first and the
 * tensors of all.  Errors are "PATH: ..." of the file that is wrong.  NULL on failure; close with gguf_close. */
gguf *gguf_open(const char *path, gv_err *err) GV_MUST_USE;
/* One file, which may be a part, over borrowed memory that outlives the gguf (tests, fuzzing), aligned to 8 bytes; `name` stands for the path in messages. */
gguf *gguf_open_memory(const void *p, size_t n, const char *name, gv_err *err) GV_MUST_USE;
void gguf_close(gguf *g);

uint32_t gguf_version(const gguf *g);
const char *gguf_path(const gguf *g);
/* The map itself, for dropping pages once a tensor is repacked; NULL for memory. */
const file_map *gguf_map(const gguf *g);
/* The files it was opened from, for their paths and maps: itself and the other parts in order; 1 unless it is split. */
size_t gguf_n_parts(const gguf *g);
const gguf *gguf_part(const gguf *g, size_t i);

size_t gguf_n_tensors(const gguf *g);
const tensor_view *gguf_tensor(const gguf *g, size_t i); /* in the order of the file, or of the parts */
/* NULL if absent. */
const tensor_view *gguf_find_tensor(const gguf *g, const char *name);

size_t gguf_n_keys(const gguf *g);
sv gguf_key(const gguf *g, size_t i);
gguf_type gguf_key_type(const gguf *g, size_t i);
/* Index of key, or SIZE_MAX. */
size_t gguf_find_key(const gguf *g, const char *key);

/* Typed reads by key.  *found tells if the key is there (found may be NULL: then an absent key is an error naming it); a key of another
 * type, or a value out of the asked range, is an error naming key and type (the caller puts the path in front).  Integers of any type are
 * accepted for u32; an f32 must be finite. */
bool gguf_get_u32(const gguf *g, const char *key, uint32_t *v, bool *found, gv_err *err) GV_MUST_USE;
bool gguf_get_f32(const gguf *g, const char *key, float *v, bool *found, gv_err *err) GV_MUST_USE;
bool gguf_get_bool(const gguf *g, const char *key, bool *v, bool *found, gv_err *err) GV_MUST_USE;
/* Any bytes, NUL included: UTF-8 is checked where the text is used. */
bool gguf_get_string(const gguf *g, const char *key, sv *v, bool *found, gv_err *err) GV_MUST_USE;

/* Arrays: element count and a cursor.  Element type is checked before any read; arrays of arrays were refused at open. */
typedef struct gguf_array {
    gguf_type elem;
    uint64_t n;
    const uint8_t *p; /* first element, unaligned little-endian; strings are u64 length + bytes */
    size_t n_bytes;
} gguf_array;
bool gguf_get_array(const gguf *g, const char *key, gguf_type elem, gguf_array *a, bool *found, gv_err *err) GV_MUST_USE;
/* Next string of a string array (checked at open, so it cannot fail); *pos starts at 0. */
sv gguf_array_string(const gguf_array *a, size_t *pos);
static inline float gguf_array_f32(const gguf_array *a, uint64_t i) {
    float v;
    memcpy(&v, a->p + 4 * i, 4);
    return v;
}
static inline int32_t gguf_array_i32(const gguf_array *a, uint64_t i) {
    int32_t v;
    memcpy(&v, a->p + 4 * i, 4);
    return v;
}

/* One line per key, "key = value" (arrays as "[type x n]", long strings cut), for `gavel inspect`. */
void gguf_print_key(const gguf *g, size_t i, buf *out);

/* Writer: collects keys and tensors, then writes v3 through file_writer, whole or as a stream. */
/* Keys and tensors are written in the order given; a bad or repeated key or tensor is remembered and reported by the write.  The key
 * general.alignment (u32), given or copied, sets the alignment of the tensors; without it they are aligned to 32 bytes. */
typedef struct gguf_out gguf_out;
gguf_out *gguf_out_new(void);
void gguf_out_free(gguf_out *o);
void gguf_out_u32(gguf_out *o, const char *key, uint32_t v);
void gguf_out_f32(gguf_out *o, const char *key, float v);
void gguf_out_bool(gguf_out *o, const char *key, bool v);
void gguf_out_string(gguf_out *o, const char *key, sv v);
void gguf_out_strings(gguf_out *o, const char *key, const sv *v, size_t n);
void gguf_out_f32s(gguf_out *o, const char *key, const float *v, size_t n);
void gguf_out_i32s(gguf_out *o, const char *key, const int32_t *v, size_t n);
void gguf_out_bools(gguf_out *o, const char *key, const bool *v, size_t n);
/* Copies the key of another file as it is. */
void gguf_out_copy_key(gguf_out *o, const gguf *from, size_t i);
/* data is borrowed until gguf_out_write, or NULL for a stream; the name is copied. n_bytes must be what type and shape say. */
void gguf_out_tensor(gguf_out *o, const tensor_view *t);
bool gguf_out_write(gguf_out *o, const char *path, gv_err *err) GV_MUST_USE;
/* A file whose tensors are made while it is written: begin, then put the bytes of all tensors in order, in pieces that end where a tensor ends,
 * then finish, which replaces PATH.  After a failure, or without finish, gguf_out_free leaves PATH as it was. */
bool gguf_out_begin(gguf_out *o, const char *path, gv_err *err) GV_MUST_USE;
bool gguf_out_put(gguf_out *o, const void *p, size_t n, gv_err *err) GV_MUST_USE;
bool gguf_out_finish(gguf_out *o, gv_err *err) GV_MUST_USE;
/* The whole file as bytes (small files: tests and fuzz corpora). */
bool gguf_out_bytes(gguf_out *o, buf *out, gv_err *err) GV_MUST_USE;

#endif
