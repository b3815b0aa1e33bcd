/* Names: repositories, revisions, files.  What passes here goes into URLs and into paths of the cache, so no name can leave its folder. */
#include "http/hub_internal.h"

#include "base/file.h"

#include <ctype.h>

enum { MAX_ID_PART = 96 };

const char *hub_kind_name(hub_kind k) {
    return k == HUB_DATASET ? "data set" : "model";
}

static bool is_id_char(char c) {
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

/* ORG or NAME: letters, digits, - _ . ; neither begins nor ends with - or . and has no -- or .. inside. */
static bool is_id_part(sv s) {
    if (s.n == 0 || s.n > MAX_ID_PART || strchr("-.", s.p[0]) || strchr("-.", s.p[s.n - 1])) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_id_char(s.p[i]) || (i && s.p[i] == s.p[i - 1] && strchr("-.", s.p[i]))) return false;
    return true;
}

static bool is_id(sv s) {
    const size_t slash = sv_find(s, SV("/"), 0);
    if (sv_ends(s, SV(".git"))) return false;
    if (slash == SIZE_MAX) return is_id_part(s);
    return is_id_part(sv_sub(s, 0, slash)) && is_id_part(sv_sub(s, slash + 1, s.n));
}

/* As git allows it, and no path out of refs/. */
static bool is_rev(sv s) {
    if (s.n == 0 || s.n > 255 || s.p[0] == '/' || s.p[s.n - 1] == '/' || s.p[s.n - 1] == '.') return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("~^:?*[\\", s.p[i])) return false;
    gv_err ignored = GV_ERR_INIT;
    return sv_find(s, SV(".."), 0) == SIZE_MAX && hub_path_check(s, &ignored);
}

static void put(char *out, sv s) {
    memcpy(out, s.p, s.n);
    out[s.n] = 0;
}

bool hub_repo_parse(hub_kind kind, const char *text, hub_repo *out, gv_err *err) {
    const str_shown shown = str_show(sv_of(text));
    sv id = sv_of(text), rev = SV("main"), quant = {0};
    const size_t at = sv_find(id, SV("@"), 0);
    if (at != SIZE_MAX) {
        rev = sv_sub(id, at + 1, id.n);
        id = sv_sub(id, 0, at);
    }
    const size_t colon = sv_find(id, SV(":"), 0);
    if (colon != SIZE_MAX && kind == HUB_MODEL) {
        quant = sv_sub(id, colon + 1, id.n);
        id = sv_sub(id, 0, colon);
        bool ok = quant.n > 0 && quant.n < sizeof out->quant;
        for (size_t i = 0; i < quant.n; i++) ok = ok && is_id_char(quant.p[i]);
        if (!ok) return gv_fail(err, GV_USAGE, -1, "%s: after : comes a quantisation such as Q4_K_M", shown.text);
    }
    if (!is_id(id))
        return gv_fail(err, GV_USAGE, -1, "%s is no repository: expected ORG/NAME%s[@REV]", shown.text,
                       kind == HUB_MODEL ? "[:QUANT]" : "");
    if (!is_rev(rev)) return gv_fail(err, GV_USAGE, -1, "%s: after @ comes a branch, a tag or a commit", shown.text);
    *out = (hub_repo){.kind = kind};
    put(out->id, id);
    put(out->rev, rev);
    put(out->quant, quant.n ? quant : SV(""));
    return true;
}

/* A missing file is not looked for at the Hub. */
static bool is_file_name(sv s) {
    const char *const ends[] = {".gguf", ".json", ".jsonl", ".model", ".safetensors", ".bin"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (sv_ends(s, sv_of(ends[i]))) return true;
    return false;
}

bool hub_is_ref(const char *text) {
    hub_repo repo;
    gv_err ignored = GV_ERR_INIT;
    return !is_file_name(sv_of(text)) && !file_exists(text) && strchr(text, '/') && hub_repo_parse(HUB_MODEL, text, &repo, &ignored) &&
           strchr(repo.id, '/');
}

bool hub_path_check(sv path, gv_err *err) {
    const char *wrong = NULL;
    if (path.n == 0 || path.n > HUB_MAX_PATH) wrong = path.n ? "longer than 1,024 bytes" : "empty";
    if (!wrong && utf8_invalid_at(path) != SIZE_MAX) wrong = "no UTF-8";
    for (size_t i = 0, from = 0; !wrong && i <= path.n; i++) {
        if (i < path.n && ((unsigned char)path.p[i] < ' ' || path.p[i] == 0x7f || path.p[i] == '\\'))
            wrong = "with a backslash or control character";
        if (i < path.n && path.p[i] != '/') continue;
        const sv part = sv_sub(path, from, i - from);
        if (part.n == 0 || sv_is(part, ".") || sv_is(part, "..")) wrong = "that leads out of its folder";
        if (part.n > 255) wrong = "with a part longer than 255 bytes";
        from = i + 1;
    }
    return !wrong || gv_fail(err, GV_FORMAT, -1, "the file name %s is refused: a name %s", str_show(path).text, wrong);
}

static bool is_hex(sv s) {
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'))) return false;
    return true;
}

bool hub_commit_check(sv commit) {
    return commit.n == 40 && is_hex(commit);
}

bool hub_etag_check(sv etag) {
    return (etag.n == 40 || etag.n == 64) && is_hex(etag);
}
