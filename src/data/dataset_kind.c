/* Builders by file suffix, as the library's table of packaged modules has them (datasets 5.2.0): which files are data at all, which builder most
 * files ask for, which files that builder keeps.  gavel reads csv, json, parquet and arrow; the others are known so that the same files are chosen
 * and the message can name them. */
#include "data/dataset_internal.h"

#include <stdlib.h>

/* Suffixes are separated by blanks; of `both` builders the upper-case forms count as well. */
static const struct builder {
    const char *module;
    kind kind;
    bool both;
    const char *suffixes;
} builders[] = {
    {"csv", KIND_CSV, false, ".csv .tsv "},
    {"json", KIND_JSON, false, ".json .jsonl .ndjson "},
    {"parquet", KIND_PARQUET, false, ".parquet .geoparquet .gpq "},
    {"arrow", KIND_ARROW, false, ".arrow "},
    {"text", KIND_OTHER, false, ".txt "},
    {"conll", KIND_OTHER, false, ".conll .conllu "},
    {"webdataset", KIND_OTHER, false, ".tar "},
    {"xml", KIND_OTHER, false, ".xml "},
    {"hdf5", KIND_OTHER, false, ".hdf5 .h5 "},
    {"eval", KIND_OTHER, false, ".eval "},
    {"harbor", KIND_OTHER, false, ".toml .md "},
    {"lance", KIND_OTHER, false, ".lance "},
    {"tsfile", KIND_OTHER, false, ".tsfile "},
    {"vortex", KIND_OTHER, false, ".vortex "},
    {"fasta", KIND_OTHER, false, ".fa .fasta .fna .ffn .faa .frn .afa "},
    {"genbank", KIND_OTHER, false, ".gb .gbk .genbank "},
    {"fastq", KIND_OTHER, false, ".fq .fastq "},
    {"pdb", KIND_OTHER, true, ".pdb .ent "},
    {"mmcif", KIND_OTHER, false, ".cif .mmcif "},
    {"imagefolder", KIND_OTHER, true,
     ".blp .bmp .dib .bufr .cur .pcx .dcx .dds .ps .eps .fit .fits .fli .flc .ftc .ftu .gbr .gif .grib "
     ".png .apng .jp2 .j2k .jpc .jpf .jpx .j2c .icns .ico .im .iim .tif .tiff .jfif .jpe .jpg .jpeg .msp "
     ".pcd .pxr .pbm .pgm .ppm .pnm .psd .bw .rgb .rgba .sgi .ras .tga .icb .vda .vst .webp .wmf .emf .xbm "
     ".xpm "},
    {"audiofolder", KIND_OTHER, true,
     ".mpg .aiff .au .avr .caf .flac .htk .svx .mat4 .mat5 .mpc2k .ogg .paf .pvf .raw .rf64 .sd2 .sds "
     ".ircam .voc .w64 .wav .nist .wavex .wve .xi .mp3 .opus .3gp .3g2 .asf .flv .m4v .webm .f4v .wmv .wma "
     ".ogm .mxf .nut "},
    {"videofolder", KIND_OTHER, true, ".mpeg .avi .mp4 .mov .mkv "},
    {"meshfolder", KIND_OTHER, true, ".glb .gltf .ply .stl "},
    {"pdffolder", KIND_OTHER, true, ".pdf "},
    {"niftifolder", KIND_OTHER, true, ".nii "},
};
enum { N_BUILDERS = sizeof builders / sizeof builders[0], SUFFIX_MAX = 32, COUNTED_MAX = 4096 };

/* Files that a folder builder takes beside its own suffixes. */
static const char *const metadata_names[] = {"metadata.csv", "metadata.jsonl", "metadata.parquet"};

bool kind_by_name(const char *builder, kind *out, gv_err *err) {
    for (int i = 0; i < N_BUILDERS; i++)
        if (builders[i].kind != KIND_OTHER && !strcmp(builder, builders[i].module)) return *out = builders[i].kind, true;
    return gv_fail(err, GV_UNSUPPORTED, -1, "data files of type \"%s\" are not read; gavel reads csv, json, parquet and arrow", builder);
}

/* Is s one of the builder's suffixes, in its own letters? */
static bool has_suffix(const struct builder *b, sv s) {
    char lower[SUFFIX_MAX];
    if (s.n < 2 || s.n >= sizeof lower) return false;
    bool any_upper = false, any_lower = false;
    for (size_t i = 0; i < s.n; i++) {
        const bool up = s.p[i] >= 'A' && s.p[i] <= 'Z';
        any_upper |= up;
        any_lower |= s.p[i] >= 'a' && s.p[i] <= 'z';
        lower[i] = (char)(up ? s.p[i] | 0x20 : s.p[i]);
    }
    if (any_upper && (any_lower || !b->both)) return false;
    for (const char *p = b->suffixes; *p;) {
        const size_t n = strcspn(p, " ");
        if (n == s.n && !memcmp(p, lower, n)) return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

kind kind_of_suffix(sv suffix, const char **module) {
    for (int i = 0; i < N_BUILDERS; i++)
        if (has_suffix(&builders[i], suffix)) {
            *module = builders[i].module;
            return sv_is(suffix, ".tsv") ? KIND_TSV : builders[i].kind;
        }
    *module = NULL;
    return KIND_NONE;
}

static sv base_name(sv path) {
    const char *slash = memrchr(path.p, '/', path.n);
    return slash ? sv_sub(path, (size_t)(slash - path.p) + 1, path.n) : path;
}

/* The next suffix of name from *at on: from a dot up to the next one. */
static bool next_suffix(sv name, size_t *at, sv *suffix) {
    const char *dot = *at < name.n ? memchr(name.p + *at, '.', name.n - *at) : NULL;
    if (!dot) return false;
    const size_t begin = (size_t)(dot - name.p);
    const char *end = memchr(dot + 1, '.', name.n - begin - 1);
    *suffix = sv_sub(name, begin, (end ? (size_t)(end - name.p) : name.n) - begin);
    *at = begin + suffix->n;
    return true;
}

bool kind_is_data(sv path) {
    const sv name = base_name(path);
    const char *module;
    sv s;
    for (size_t at = 0; next_suffix(name, &at, &s);)
        if (sv_is(s, ".zip") || kind_of_suffix(s, &module) != KIND_NONE) return true;
    return false;
}

typedef struct counted {
    char suffix[SUFFIX_MAX];
    bool metadata;
    size_t n;
} counted;

/* Most files first, files that are metadata of a folder builder last, then the library's favourites, then the alphabet backwards. */
static int rank(const char *suffix) {
    static const char *const favourites[] = {".parquet", ".lance", ".vortex", ".arrow", ".jsonl", ".json", ".csv"};
    for (int i = 0; i < 7; i++)
        if (!strcmp(suffix, favourites[i])) return 7 - i;
    return 0;
}

static int compare_counted(const void *pa, const void *pb) {
    const counted *a = pa, *b = pb;
    if (a->metadata != b->metadata) return a->metadata - b->metadata;
    if (a->n != b->n) return a->n < b->n ? 1 : -1;
    if (rank(a->suffix) != rank(b->suffix)) return rank(b->suffix) - rank(a->suffix);
    return strcmp(b->suffix, a->suffix);
}

static void count_suffixes(sv path, buf *counts) {
    const sv name = base_name(path);
    bool metadata = false;
    for (int i = 0; i < 3; i++) metadata |= sv_is(name, metadata_names[i]);
    sv s;
    for (size_t at = 0; next_suffix(name, &at, &s);) {
        counted *c = (counted *)(void *)counts->p, found = {.metadata = metadata, .n = 1};
        const size_t n = counts->n / sizeof *c;
        if (s.n >= SUFFIX_MAX) continue;
        for (size_t i = 0; i < s.n; i++) found.suffix[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
        size_t i = 0;
        while (i < n && (c[i].metadata != metadata || strcmp(c[i].suffix, found.suffix) != 0)) i++;
        if (i < n)
            c[i].n++;
        else if (n < COUNTED_MAX) /* what is no suffix of a format (a.b.c) must not make this slow */
            buf_add(counts, &found, sizeof found);
    }
}

kind kind_infer(const sv *paths, size_t n, const char **module) {
    buf counts = {0};
    for (size_t i = 0; i < n; i++) count_suffixes(paths[i], &counts);
    counted *c = (counted *)(void *)counts.p;
    const size_t n_counts = counts.n / sizeof *c;
    kind k = KIND_NONE;
    *module = NULL;
    if (n_counts) qsort(c, n_counts, sizeof *c, compare_counted);
    for (size_t i = 0; i < n_counts && k == KIND_NONE; i++) {
        k = kind_of_suffix(sv_of(c[i].suffix), module);
        if (!strcmp(c[i].suffix, ".zip")) k = KIND_OTHER, *module = "zip archives";
    }
    buf_fini(&counts);
    return k;
}

/* .*(SUFFIX)(\..+)?$ */
static bool ends_in(sv path, const char *suffix, size_t n) {
    for (size_t at = 0; (at = sv_find(path, (sv){suffix, n}, at)) != SIZE_MAX; at++)
        if (at + n == path.n || (path.p[at + n] == '.' && at + n + 1 < path.n)) return true;
    return false;
}

bool kind_keeps(const char *module, sv path) {
    if (ends_in(path, ".zip", 4)) return true;
    for (int i = 0; i < N_BUILDERS; i++) {
        if (strcmp(builders[i].module, module) != 0) continue;
        for (const char *p = builders[i].suffixes; *p;) {
            const size_t n = strcspn(p, " ");
            if (ends_in(path, p, n)) return true;
            p += n + (p[n] == ' ');
        }
    }
    return false;
}
