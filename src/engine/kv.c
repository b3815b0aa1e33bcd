/* See kv.h.  Node data lies in arrays indexed by page: a node is its page.  The tree's children are found through one hash table keyed by
 * (parent, tokens), open addressing with linear probing and backward-shift deletion, at most half full.
 *
 * Unreferenced nodes form a list from least to most recently released.  A sequence releases its pages last to first, so a node always
 * stands after (more recent than) its descendants: the list's head is a leaf, and evicting the head is always allowed. */
#include "engine/kv.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE_TOKENS = KERN_PAGE_TOKENS };

typedef struct kv_node {
    kv_page parent;
    kv_page prev, next; /* in the list of unreferenced nodes; KV_NONE at the ends */
    int32_t refs;
    int32_t n_children;
    bool in_tree, ready;
    uint32_t hash;
    int32_t tokens[PAGE_TOKENS];
} kv_node;

struct kv_pool {
    kv_shape shape;
    size_t slab_bytes; /* K or V of one layer and head */
    size_t page_bytes;
    int32_t n_pages;
    uint8_t *data;
    size_t data_bytes;
    kv_node *node; /* [n_pages] */
    kv_page *free; /* stack */
    int32_t n_free;
    kv_page oldest, newest; /* unreferenced nodes */
    int32_t n_cached;
    kv_page *table; /* hash table of nodes, KV_NONE = empty */
    uint32_t table_mask;
};

static size_t element_bytes(kern_kv_type type) {
    return type == KERN_KV_F32 ? 4 : 2;
}

size_t kv_page_bytes(const kv_shape *s) {
    return (size_t)s->n_layer * (size_t)s->n_head_kv * 2 * (size_t)s->head_dim * PAGE_TOKENS * element_bytes(s->type);
}

static uint32_t table_slots(int32_t n_pages) {
    uint32_t slots = 16;
    while (slots < 2u * (uint32_t)n_pages) slots *= 2;
    return slots;
}

size_t kv_pool_bytes(const kv_shape *s, int32_t n_pages) {
    return (size_t)n_pages * (kv_page_bytes(s) + sizeof(kv_node) + sizeof(kv_page)) + table_slots(n_pages) * sizeof(kv_page);
}

kv_pool *kv_pool_new(const kv_shape *shape, int32_t n_pages, gv_err *err) {
    kv_pool *p = gv_xcalloc(1, sizeof *p);
    p->shape = *shape;
    p->slab_bytes = (size_t)shape->head_dim * PAGE_TOKENS * element_bytes(shape->type);
    p->page_bytes = kv_page_bytes(shape);
    p->n_pages = n_pages;
    p->oldest = p->newest = KV_NONE;
    const uint32_t slots = table_slots(n_pages);
    p->table_mask = slots - 1;
    if (!gv_mul_size(p->page_bytes, (size_t)n_pages, &p->data_bytes)) {
        gv_fail(err, GV_MEMORY, -1, "KV cache: %d pages of %zu bytes overflow", n_pages, p->page_bytes);
        goto fail;
    }
    p->node = gv_try_calloc((size_t)n_pages, sizeof *p->node, "KV page index", err);
    p->free = gv_try_malloc((size_t)n_pages, sizeof *p->free, "KV free list", err);
    p->table = gv_try_malloc(slots, sizeof *p->table, "KV prefix table", err);
    if (!p->node || !p->free || !p->table) goto fail;
    p->data = mmap(NULL, p->data_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p->data == MAP_FAILED) {
        p->data = NULL;
        gv_fail(err, GV_MEMORY, -1, "KV cache: %zu MiB are not to be had: %s", p->data_bytes >> 20, strerror(errno));
        goto fail;
    }
    (void)madvise(p->data, p->data_bytes, MADV_HUGEPAGE); /* only speed depends on it */
    for (uint32_t i = 0; i < slots; i++) p->table[i] = KV_NONE;
    for (int32_t i = 0; i < n_pages; i++) p->free[i] = n_pages - 1 - i;
    p->n_free = n_pages;
    return p;
fail:
    kv_pool_free(p);
    return NULL;
}

void kv_pool_free(kv_pool *p) {
    if (!p) return;
    if (p->data) munmap(p->data, p->data_bytes);
    free(p->node);
    free(p->free);
    free(p->table);
    free(p);
}

void *kv_page_k(const kv_pool *p, kv_page page, int layer, int head) {
    size_t slab = ((size_t)layer * (size_t)p->shape.n_head_kv + (size_t)head) * 2;
    return p->data + (size_t)page * p->page_bytes + slab * p->slab_bytes;
}

void *kv_page_v(const kv_pool *p, kv_page page, int layer, int head) {
    return (uint8_t *)kv_page_k(p, page, layer, head) + p->slab_bytes;
}

/* ---- the hash table of nodes ---- */

static uint32_t hash_key(kv_page parent, const int32_t *tokens) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ (uint32_t)parent;
    for (int i = 0; i < PAGE_TOKENS; i++) {
        h = (h ^ (uint32_t)tokens[i]) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return (uint32_t)h;
}

static bool is_child(const kv_pool *p, kv_page page, kv_page parent, uint32_t hash, const int32_t *tokens) {
    const kv_node *n = &p->node[page];
    return n->hash == hash && n->parent == parent && memcmp(n->tokens, tokens, sizeof n->tokens) == 0;
}

kv_page kv_tree_find(const kv_pool *p, kv_page parent, const int32_t *tokens) {
    uint32_t hash = hash_key(parent, tokens);
    for (uint32_t i = hash & p->table_mask; p->table[i] != KV_NONE; i = (i + 1) & p->table_mask)
        if (is_child(p, p->table[i], parent, hash, tokens)) return p->table[i];
    return KV_NONE;
}

static void table_remove(kv_pool *p, kv_page page) {
    uint32_t i = p->node[page].hash & p->table_mask;
    while (p->table[i] != page) i = (i + 1) & p->table_mask;
    /* Close the gap: move back every later entry of the cluster that may stand here. */
    for (uint32_t j = (i + 1) & p->table_mask; p->table[j] != KV_NONE; j = (j + 1) & p->table_mask) {
        uint32_t home = p->node[p->table[j]].hash & p->table_mask;
        if (((j - home) & p->table_mask) >= ((j - i) & p->table_mask)) {
            p->table[i] = p->table[j];
            i = j;
        }
    }
    p->table[i] = KV_NONE;
}

/* ---- the list of unreferenced nodes ---- */

static void list_push(kv_pool *p, kv_page page) {
    kv_node *n = &p->node[page];
    n->prev = p->newest;
    n->next = KV_NONE;
    if (p->newest != KV_NONE)
        p->node[p->newest].next = page;
    else
        p->oldest = page;
    p->newest = page;
    p->n_cached++;
}

static void list_remove(kv_pool *p, kv_page page) {
    kv_node *n = &p->node[page];
    if (n->prev != KV_NONE)
        p->node[n->prev].next = n->next;
    else
        p->oldest = n->next;
    if (n->next != KV_NONE)
        p->node[n->next].prev = n->prev;
    else
        p->newest = n->prev;
    p->n_cached--;
}

static void tree_remove(kv_pool *p, kv_page page) {
    kv_node *n = &p->node[page];
    table_remove(p, page);
    if (n->parent != KV_NONE) p->node[n->parent].n_children--;
    n->in_tree = n->ready = false;
}

/* ---- pages ---- */

kv_page kv_page_take(kv_pool *p) {
    if (p->n_free == 0) {
        kv_page victim = p->oldest;
        if (victim == KV_NONE) return KV_NONE;
        list_remove(p, victim);
        tree_remove(p, victim);
        p->free[p->n_free++] = victim;
    }
    kv_page page = p->free[--p->n_free];
    kv_node *n = &p->node[page];
    n->refs = 1;
    n->n_children = 0;
    n->in_tree = n->ready = false;
    return page;
}

void kv_page_share(kv_pool *p, kv_page page) {
    kv_node *n = &p->node[page];
    if (n->refs++ == 0) list_remove(p, page);
}

void kv_page_release(kv_pool *p, kv_page page) {
    kv_node *n = &p->node[page];
    if (--n->refs > 0) return;
    if (n->in_tree)
        list_push(p, page);
    else
        p->free[p->n_free++] = page;
}

int32_t kv_pages_available(const kv_pool *p) {
    return p->n_free + p->n_cached;
}
void kv_tree_enter(kv_pool *p, kv_page parent, kv_page page, const int32_t *tokens) {
    kv_node *n = &p->node[page];
    n->parent = parent;
    n->in_tree = true;
    n->ready = false;
    n->hash = hash_key(parent, tokens);
    memcpy(n->tokens, tokens, sizeof n->tokens);
    if (parent != KV_NONE) p->node[parent].n_children++;
    uint32_t i = n->hash & p->table_mask;
    while (p->table[i] != KV_NONE) i = (i + 1) & p->table_mask;
    p->table[i] = page;
}

void kv_tree_set_ready(kv_pool *p, kv_page page) {
    p->node[page].ready = true;
}
bool kv_tree_ready(const kv_pool *p, kv_page page) {
    return p->node[page].ready;
}
bool kv_tree_has(const kv_pool *p, kv_page page) {
    return p->node[page].in_tree;
}
void kv_tree_leave(kv_pool *p, kv_page page) {
    tree_remove(p, page);
}

/* ---- invariants ---- */

static bool check_list(const kv_pool *p, gv_err *err) {
    int32_t n = 0;
    kv_page before = KV_NONE;
    for (kv_page i = p->oldest; i != KV_NONE; i = p->node[i].next) {
        const kv_node *node = &p->node[i];
        if (node->refs != 0 || !node->in_tree || !node->ready)
            return gv_fail(err, GV_STATE, i, "KV page %d is in the cache list but is referenced, unready or no node", i);
        if (node->prev != before) return gv_fail(err, GV_STATE, i, "KV page %d: cache list links disagree", i);
        before = i;
        if (++n > p->n_pages) return gv_fail(err, GV_STATE, i, "KV cache list has a cycle");
    }
    if (before != p->newest || n != p->n_cached) return gv_fail(err, GV_STATE, n, "KV cache list has %d pages, counted %d", n, p->n_cached);
    return true;
}

bool kv_check(const kv_pool *p, gv_err *err) {
    if (!check_list(p, err)) return false;
    int32_t used = 0, nodes = 0;
    int64_t children = 0, linked = 0;
    for (int32_t i = 0; i < p->n_pages; i++) {
        const kv_node *n = &p->node[i];
        if (n->refs < 0) return gv_fail(err, GV_STATE, i, "KV page %d has %d references", i, n->refs);
        used += n->refs > 0;
        if (!n->in_tree) continue;
        nodes++;
        children += n->n_children;
        if (kv_tree_find(p, n->parent, n->tokens) != i) return gv_fail(err, GV_STATE, i, "KV node %d is not found by its tokens", i);
        if (!n->ready && n->refs != 1) return gv_fail(err, GV_STATE, i, "KV node %d is not ready but has %d users", i, n->refs);
        if (n->parent == KV_NONE) continue;
        linked++;
        const kv_node *up = &p->node[n->parent];
        if (!up->in_tree) return gv_fail(err, GV_STATE, i, "KV node %d: its parent %d is no node", i, n->parent);
        if (n->refs > 0 && up->refs == 0) return gv_fail(err, GV_STATE, i, "KV node %d is referenced, its parent %d is not", i, n->parent);
    }
    int32_t in_table = 0;
    for (uint32_t i = 0; i <= p->table_mask; i++) in_table += p->table[i] != KV_NONE;
    if (in_table != nodes || children != linked)
        return gv_fail(err, GV_STATE, -1, "KV tree: %d nodes, %d in the table, %lld child links, %lld parents", nodes, in_table,
                       (long long)children, (long long)linked);
    if (used + p->n_cached + p->n_free != p->n_pages)
        return gv_fail(err, GV_STATE, -1, "KV pool: %d used + %d cached + %d free is not %d pages", used, p->n_cached, p->n_free,
                       p->n_pages);
    return true;
}
