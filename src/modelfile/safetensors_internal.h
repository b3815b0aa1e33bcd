/* What safetensors.c and safetensors_folder.c share. */
#ifndef GAVEL_MODELFILE_SAFETENSORS_INTERNAL_H
#define GAVEL_MODELFILE_SAFETENSORS_INTERNAL_H

#include "modelfile/gguf_internal.h"
#include "modelfile/safetensors.h"

typedef struct st_entry {
    tensor_view view; /* the name lies in its file's names */
    uint64_t begin;   /* in the file's data */
    size_t file;
} st_entry;

typedef struct st_file {
    char *name; /* without the folder */
    file_map map;
    bool mapped;
    char *names; /* NUL-terminated, one after the other */
} st_file;

struct safetensors {
    st_file *files;
    size_t n_files;
    st_entry *e; /* sorted by name once open */
    size_t n;
};

/* n_files unnamed files; NULL if memory is out. */
safetensors *st_new(size_t n_files, gv_err *err) GV_MUST_USE;
/* Checks the bytes of file number `file` and adds its tensors. */
bool st_read_file(safetensors *s, st_file *f, size_t file, const uint8_t *p, size_t n, gv_err *err) GV_MUST_USE;
/* Maps and reads it. */
bool st_open_file(safetensors *s, size_t file, const char *path, gv_err *err) GV_MUST_USE;
/* Sorts all tensors by name; one in two files is an error. */
bool st_sort(safetensors *s, gv_err *err) GV_MUST_USE;
/* The shards that the text of an index names. */
bool st_index(sv text, const char *folder, safetensors **out, gv_err *err) GV_MUST_USE;

#endif
