/* gzip and zstd streams through zlib and libzstd; see unpack.h. */
#include "data/unpack.h"

#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { GZIP_WINDOW = 15 + 16 /* with a gzip header */, ZSTD_WINDOW_LOG = 27 };

struct unpacker {
    const char *name;
    bool is_zstd, whole; /* whole: between two members */
    z_stream z;
    ZSTD_DStream *zstd;
    uint64_t members, member_in; /* ended; packed bytes of the current one */
    uint64_t packed, unpacked;
};

static const char *kind_of(const unpacker *u) {
    return u->is_zstd ? "zstd" : "gzip";
}

bool unpack_open(sv head, const char *name, unpacker **out, gv_err *err) {
    const bool zstd = sv_starts(head, SV("\x28\xb5\x2f\xfd"));
    *out = NULL;
    if (!zstd && !sv_starts(head, SV("\x1f\x8b"))) return true;
    unpacker *u = gv_xcalloc(1, sizeof *u);
    u->name = name;
    u->is_zstd = zstd;
    if (zstd) u->zstd = ZSTD_createDStream();
    const bool ok = zstd ? u->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG))
                         : inflateInit2(&u->z, GZIP_WINDOW) == Z_OK;
    if (ok) return *out = u, true;
    unpack_close(u);
    return gv_fail(err, GV_MEMORY, -1, "%s: no memory to unpack it", name);
}

void unpack_close(unpacker *u) {
    if (!u) return;
    if (!u->is_zstd) inflateEnd(&u->z);
    ZSTD_freeDStream(u->zstd);
    free(u);
}

static bool fail_behind(const unpacker *u, gv_err *err) {
    return gv_fail(err, GV_FORMAT, -1, "%s: there are bytes behind the end of the %s data", u->name, kind_of(u));
}

static bool inflate_some(unpacker *u, sv *in, char *out, size_t *n, gv_err *err) {
    if (u->whole) (void)inflateReset(&u->z); /* fails for a stream that was not opened */
    const uInt avail_in = in->n < UINT_MAX ? (uInt)in->n : UINT_MAX, avail_out = *n < UINT_MAX ? (uInt)*n : UINT_MAX;
    u->z.next_in = (Bytef *)(uintptr_t)in->p; /* zlib's field is not const; it only reads */
    u->z.avail_in = avail_in;
    u->z.next_out = (Bytef *)out;
    u->z.avail_out = avail_out;
    const int status = inflate(&u->z, Z_NO_FLUSH);
    *in = sv_sub(*in, avail_in - u->z.avail_in, in->n);
    *n = avail_out - u->z.avail_out;
    u->whole = status == Z_STREAM_END;
    if (status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR) return true;
    if (status == Z_MEM_ERROR) return gv_fail(err, GV_MEMORY, -1, "%s: no memory to unpack it", u->name);
    if (u->members && u->z.total_in <= 2) return fail_behind(u, err); /* no magic number */
    return gv_fail(err, GV_FORMAT, -1, "%s: broken gzip data: %s", u->name, u->z.msg ? u->z.msg : "no deflate stream");
}

static bool zstd_some(unpacker *u, sv *in, char *out, size_t *n, gv_err *err) {
    ZSTD_inBuffer from = {in->p, in->n, 0};
    ZSTD_outBuffer to = {out, *n, 0};
    const size_t status = ZSTD_decompressStream(u->zstd, &to, &from);
    *in = sv_sub(*in, from.pos, in->n);
    *n = to.pos;
    u->whole = status == 0;
    if (!ZSTD_isError(status)) return true;
    const ZSTD_ErrorCode code = ZSTD_getErrorCode(status);
    if (code == ZSTD_error_prefix_unknown && u->members) return fail_behind(u, err);
    if (code == ZSTD_error_frameParameter_windowTooLarge)
        return gv_fail(err, GV_LIMIT, -1, "%s: the zstd window is over the cap of %d MiB", u->name, 1 << (ZSTD_WINDOW_LOG - 20));
    return gv_fail(err, code == ZSTD_error_memory_allocation ? GV_MEMORY : GV_FORMAT, -1, "%s: broken zstd data: %s", u->name,
                   ZSTD_getErrorName(status));
}

bool unpack_some(unpacker *u, sv *in, char *out, size_t n, size_t *got, gv_err *err) {
    const size_t before = in->n;
    *got = 0;
    if (u->whole && before == 0) return true;
    *got = n;
    if (u->whole) u->member_in = 0;
    if (!(u->is_zstd ? zstd_some(u, in, out, got, err) : inflate_some(u, in, out, got, err))) return false;
    u->members += u->whole;
    u->member_in += before - in->n;
    u->packed += before - in->n;
    u->unpacked += *got;
    return u->unpacked <= UNPACK_FREE_BYTES || u->unpacked / UNPACK_RATIO <= u->packed ||
           gv_fail(err, GV_LIMIT, -1, "%s: the %s data unpacks to more than %d times its size, the cap beyond %d MiB", u->name, kind_of(u),
                   UNPACK_RATIO, UNPACK_FREE_BYTES >> 20);
}

bool unpack_finish(const unpacker *u, gv_err *err) {
    if (u->whole) return true;
    if (u->members && u->member_in < (u->is_zstd ? 4 : 2)) return fail_behind(u, err); /* shorter than a magic number */
    return gv_fail(err, GV_FORMAT, -1, "%s: the %s data ends early; the file was cut off", u->name, kind_of(u));
}
