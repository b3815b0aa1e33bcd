/* Replays a folder of inputs (or single files) through LLVMFuzzerTestOneInput, for builds without libFuzzer. */
#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    buf b = {0};
    gv_err err = GV_ERR_INIT;
    if (!file_read_all(path, (size_t)1 << 30, &b, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    /* An exact-size copy, so that the address sanitizer sees reads past the end. */
    uint8_t *exact = malloc(b.n ? b.n : 1);
    if (!exact) abort();
    memcpy(exact, b.p ? b.p : "", b.n);
    LLVMFuzzerTestOneInput(exact, b.n);
    free(exact);
    buf_fini(&b);
    return 0;
}

int main(int argc, char **argv) {
    int n = 0, failed = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (!d) {
            failed += replay_file(argv[i]);
            n++;
            continue;
        }
        for (struct dirent *e; (e = readdir(d));) {
            if (e->d_name[0] == '.') continue;
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            failed += replay_file(path);
            n++;
        }
        closedir(d);
    }
    printf("%d inputs replayed\n", n);
    return failed || n == 0; /* an empty corpus is a failure: it would test nothing */
}
