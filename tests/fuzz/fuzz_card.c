/* A card of a data set: block, configurations, patterns (matched against a few names), and a split instruction of its first line. */
#include "data/dataset_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_patterns(const split_patterns *splits, size_t n) {
    static const char *const names[] = {"train.jsonl", "data/train-00000-of-00001.parquet", "a/b/c/.hidden/__x/test.csv"};
    pattern_budget budget = {1 << 22};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < splits[i].n; k++) {
            gv_err err = GV_ERR_INIT;
            pattern *p = pattern_compile(splits[i].patterns[k], &err);
            bool matches;
            for (int j = 0; p && j < 3; j++)
                if (!pattern_match(p, sv_of(names[j]), &budget, &matches, &err)) break;
            pattern_free(p);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gv_err err = GV_ERR_INIT;
    card c;
    char first[256];
    const sv text = {(const char *)data, size};
    if (card_parse(text, "README.md", &c, &err)) {
        size_t at;
        for (size_t i = 0; i < c.n_configs; i++) {
            split_patterns *splits;
            size_t n;
            gv_err bad = GV_ERR_INIT;
            if (c.configs[i].data_files && data_files_read(c.configs[i].data_files, "README.md", false, &c.a, &splits, &n, &bad))
                use_patterns(splits, n);
        }
        if (c.n_configs && card_choose(&c, NULL, "x", &at, &err) && at >= c.n_configs) abort();
        card_column_type(&c, "default", SV("a"));
        card_fini(&c);
    }
    size_t n = 0;
    while (n < size && n < sizeof first - 1 && data[n] != '\n' && data[n] != 0) first[n] = (char)data[n], n++;
    first[n] = 0;
    split_spec s;
    gv_err bad = GV_ERR_INIT;
    if (split_parse(first, &s, &bad)) {
        for (size_t i = 0; i < s.n; i++) {
            uint64_t from, to;
            if (split_bounds(&s.terms[i], 327, &from, &to, &bad) && (from > to || to > 327)) abort();
        }
        split_fini(&s);
    }
    return 0;
}
