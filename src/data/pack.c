/* gzip and zstd streams through zlib and libzstd; see pack.h. */
#include "data/pack.h"

#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum { GZIP_WINDOW = 15 + 16 /* with a gzip header */, GZIP_LEVEL = 6, GZIP_MEMORY = 8, ZSTD_LEVEL = 3, BLOCK_BYTES = 1 << 16 };

struct packer {
    file_writer *f;
    z_stream z;
    ZSTD_CCtx *zstd; /* NULL: gzip */
    bool has_z;
    char block[BLOCK_BYTES]; /* packed, on its way to the file */
};

packer *pack_open(pack_kind kind, file_writer *f, gv_err *err) {
    packer *p = gv_xcalloc(1, sizeof *p);
    p->f = f;
    if (kind == PACK_ZSTD) {
        p->zstd = ZSTD_createCCtx();
        if (p->zstd && !ZSTD_isError(ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)) &&
            !ZSTD_isError(ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_checksumFlag, 1)))
            return p;
    } else {
        p->has_z = deflateInit2(&p->z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK;
        if (p->has_z) return p;
    }
    pack_close(p);
    gv_fail(err, GV_MEMORY, -1, "%s: no memory to compress it", f->path);
    return NULL;
}

void pack_close(packer *p) {
    if (!p) return;
    if (p->has_z) deflateEnd(&p->z);
    ZSTD_freeCCtx(p->zstd);
    free(p);
}

static bool deflate_all(packer *p, sv in, bool last, gv_err *err) {
    for (bool more = true; more;) {
        const uInt some = in.n < UINT_MAX ? (uInt)in.n : UINT_MAX;
        p->z.next_in = (Bytef *)(uintptr_t)in.p; /* zlib's field is not const; it only reads */
        p->z.avail_in = some;
        p->z.next_out = (Bytef *)p->block;
        p->z.avail_out = BLOCK_BYTES;
        const int status = deflate(&p->z, last && some == in.n ? Z_FINISH : Z_NO_FLUSH); /* Z_BUF_ERROR: nothing was left to do */
        if (!file_writer_put(p->f, p->block, BLOCK_BYTES - p->z.avail_out, err)) return false;
        in = sv_sub(in, some - p->z.avail_in, in.n);
        more = last ? status != Z_STREAM_END : in.n > 0 || p->z.avail_out == 0;
    }
    return true;
}

static bool zstd_all(packer *p, sv in, bool last, gv_err *err) {
    ZSTD_inBuffer from = {in.p, in.n, 0};
    for (bool more = true; more;) {
        ZSTD_outBuffer to = {p->block, BLOCK_BYTES, 0};
        const size_t left = ZSTD_compressStream2(p->zstd, &to, &from, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) return gv_fail(err, GV_MEMORY, -1, "%s: cannot compress it: %s", p->f->path, ZSTD_getErrorName(left));
        if (!file_writer_put(p->f, p->block, to.pos, err)) return false;
        more = last ? left > 0 : from.pos < from.size;
    }
    return true;
}

static bool put_all(packer *p, sv in, bool last, gv_err *err) {
    return p->zstd ? zstd_all(p, in, last, err) : deflate_all(p, in, last, err);
}

bool pack_put(packer *p, const void *bytes, size_t n, gv_err *err) {
    return n == 0 || put_all(p, (sv){bytes, n}, false, err);
}

bool pack_finish(packer *p, gv_err *err) {
    return put_all(p, (sv){0}, true, err);
}
