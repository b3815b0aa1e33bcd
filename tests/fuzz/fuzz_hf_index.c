/* Fuzz target: any bytes as the model.safetensors.index.json of a folder with two shards, one tensor in each. */
#include "modelfile/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

static void put(const char *name, const void *p, size_t n) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0) abort();
}

static void remove_folder(void) {
    static const char *const names[] = {"a.safetensors", "b.safetensors", SAFETENSORS_INDEX};
    char path[256];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void put_shard(const char *name, char tensor) {
    char text[128];
    uint64_t n = (uint64_t)snprintf(text + 8, sizeof text - 8, "{\"%c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", tensor);
    memcpy(text, &n, 8);
    memcpy(text + 8 + n, "\0\0\0", 4);
    put(name, text, 12 + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gv_err err = GV_ERR_INIT;
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/gavel-fuzz-XXXXXX");
        if (!mkdtemp(folder)) abort();
        atexit(remove_folder);
        put_shard("a.safetensors", 'x');
        put_shard("b.safetensors", 'y');
    }
    put(SAFETENSORS_INDEX, data, size);
    safetensors *s = safetensors_open_folder(folder, &err);
    if (!s && (err.code == GV_OK || !err.msg[0])) abort();            /* a refusal must say why */
    if (s && safetensors_count(s) != safetensors_n_files(s)) abort(); /* one tensor in each */
    safetensors_close(s);
    return 0;
}
