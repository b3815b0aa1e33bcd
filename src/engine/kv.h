/* Paged K/V memory and the prefix tree over it.
 *
 * A page holds keys and values of 32 consecutive tokens for all layers and kv heads.  Pages are reference counted by the sequences that
 * use them.  A page whose 32 tokens are all prompt tokens may also be a node of the prefix tree: child of the page before it (or of the
 * root), found by its tokens.  A node is entered when its computation is scheduled and is `ready` once all its tokens are computed; until
 * then other sequences wait for it rather than compute it again.  Nodes that no sequence uses stay as cache and are evicted least
 * recently used, leaves first.
 *
 * Invariants (kv_check): a referenced page's tree ancestors are all referenced; the free list, the unreferenced nodes and the
 * referenced pages partition the pool; an unready node has exactly one user, its owner.
 * The engine's thread only. */
#ifndef GAVEL_ENGINE_KV_H
#define GAVEL_ENGINE_KV_H

#include "base/err.h"
#include "kern/kern.h"

typedef int32_t kv_page; /* index of a page in its pool; KV_NONE = no page, as a parent: the root */
#define KV_NONE (-1)

typedef struct kv_shape {
    int n_layer, n_head_kv, head_dim;
    kern_kv_type type;
} kv_shape;

/* Bytes of one page. */
size_t kv_page_bytes(const kv_shape *s);
/* Bytes of a pool, its nodes and tables included. */
size_t kv_pool_bytes(const kv_shape *s, int32_t n_pages);

typedef struct kv_pool kv_pool;
/* n_pages >= 1.  Memory is reserved at once, touched as pages are first used. */
kv_pool *kv_pool_new(const kv_shape *shape, int32_t n_pages, gv_err *err) GV_MUST_USE;
void kv_pool_free(kv_pool *p);

/* K (dimension-major [head_dim][32]) and V ([32][head_dim]) of one layer and kv head in a page. */
void *kv_page_k(const kv_pool *p, kv_page page, int layer, int head);
void *kv_page_v(const kv_pool *p, kv_page page, int layer, int head);

/* A page with one reference, evicting cached nodes if none is free; KV_NONE when all pages are referenced. */
kv_page kv_page_take(kv_pool *p);
void kv_page_share(kv_pool *p, kv_page page);   /* one more reference */
void kv_page_release(kv_pool *p, kv_page page); /* one less; a sequence releases its last page first */
/* Pages that kv_page_take can still give. */
int32_t kv_pages_available(const kv_pool *p);

/* The child of `parent` that holds exactly these 32 tokens, or KV_NONE. */
kv_page kv_tree_find(const kv_pool *p, kv_page parent, const int32_t *tokens);
/* Makes `page` (referenced, not in the tree, no such child yet) a node; not ready. */
void kv_tree_enter(kv_pool *p, kv_page parent, kv_page page, const int32_t *tokens);
void kv_tree_set_ready(kv_pool *p, kv_page page);
bool kv_tree_ready(const kv_pool *p, kv_page page);
bool kv_tree_has(const kv_pool *p, kv_page page);
/* Takes an unready node out of the tree again (its owner gives up). */
void kv_tree_leave(kv_pool *p, kv_page page);

/* False and what is broken, in msg, if an invariant does not hold.  Tests and debug builds. */
bool kv_check(const kv_pool *p, gv_err *err) GV_MUST_USE;

#endif
