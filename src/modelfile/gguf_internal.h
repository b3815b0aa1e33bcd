/* Inner header of the GGUF reader and writer: the index that open builds, and the helpers both sides share. */
#ifndef GAVEL_MODELFILE_GGUF_INTERNAL_H
#define GAVEL_MODELFILE_GGUF_INTERNAL_H

#include "modelfile/gguf.h"

#define GGUF_MAGIC         0x46554747u /* "GGUF", little-endian */
#define GGUF_MIN_ALIGNMENT 8           /* gguf.md: a multiple of 8 */

/* One metadata entry; every pointer goes into the file. */
typedef struct gguf_kv {
    sv key;
    gguf_type type;
    gguf_type elem;   /* of an array; else equal to type */
    uint64_t n;       /* elements of an array; else 1 */
    const uint8_t *p; /* value; for a string its bytes, for an array its first element */
    size_t n_bytes;   /* from p on */
} gguf_kv;

/* Names in byte order, for lookup and for finding repeats.  Sorted, not hashed: no file can make it slower than n log n. */
typedef struct gguf_name {
    sv name;
    size_t i; /* place in the file */
} gguf_name;

struct gguf {
    char *path;
    file_map map; /* p NULL when over memory */
    bool mapped;
    uint32_t version;
    uint32_t alignment;
    gguf_kv *kv;
    gguf_name *kv_names;
    size_t n_kv;
    tensor_view *tensors;
    gguf_name *tensor_names;
    char (*name_text)[GGUF_MAX_NAME_BYTES + 1]; /* NUL-terminated copies, one a tensor */
    size_t n_tensors;
    struct gguf **more; /* the other parts, which are its own: tensors and tensor_names above cover them */
    size_t n_more;
};

/* Maps and checks one file, which may be a part. */
gguf *gguf_open_file(const char *path, gv_err *err) GV_MUST_USE;
/* Makes one of the first part and the others in order, after checking that they belong together.  It takes them, also on failure. */
bool gguf_join(gguf *first, gguf **more, size_t n_more, gv_err *err) GV_MUST_USE;

/* Bytes of one value; 0 for strings and arrays, whose size is in the file. */
size_t gguf_type_bytes(gguf_type type);

/* Sorts names; false if one is there twice: *repeated is then the later place of the first such name in the file. */
bool gguf_names_sort(gguf_name *names, size_t n, size_t *repeated);
/* Place in the file, or SIZE_MAX. */
size_t gguf_names_find(const gguf_name *names, size_t n, sv name);

/* Checks shape against type and computes the bytes: rows in whole blocks, no overflow.  Messages have no context in front. */
bool gguf_tensor_bytes(dtype type, const int64_t ne[4], uint32_t n_dims, size_t *n_bytes, gv_err *err) GV_MUST_USE;
/* "key name" rules: 1 to max bytes, UTF-8, no NUL. `what` is "key" or "tensor name". */
bool gguf_check_name(sv name, size_t max_bytes, const char *what, gv_err *err) GV_MUST_USE;

#endif
