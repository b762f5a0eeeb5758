/* pool.c: the memory of the values of one pickle. Pure. */
#include "values.h"

#include <stdlib.h>

enum { CHUNK_BYTES = 64 * 1024 };

struct fl_chunk {
    fl_chunk *next;
    size_t used, cap; /* in bytes */
    uint8_t data[];
};

bool fl_pool_init(fl_pool *pool)
{
    pool->values = malloc(FL_POOL_VALUES * sizeof *pool->values);
    pool->nodes = calloc(FL_POOL_NODES, sizeof *pool->nodes);
    return pool->values && pool->nodes;
}

static void free_first_chunk(fl_pool *pool)
{
    fl_chunk *chunk = pool->scratch;
    pool->scratch = chunk->next;
    free(chunk);
}

void fl_pool_free(fl_pool *pool)
{
    free(pool->values);
    free(pool->nodes);
    while (pool->scratch)
        free_first_chunk(pool);
}

void fl_pool_reset(fl_pool *pool)
{
    pool->values_used = pool->nodes_used = 1;
    pool->may_cycle = false;
    /* One chunk of the usual size is kept for the next pickle. */
    while (pool->scratch && (pool->scratch->next || pool->scratch->cap > CHUNK_BYTES))
        free_first_chunk(pool);
    if (pool->scratch)
        pool->scratch->used = 0;
}

uint8_t *fl_pool_scratch(fl_pool *pool, size_t len)
{
    fl_chunk *chunk = pool->scratch;
    if (!chunk || chunk->cap - chunk->used < len) {
        size_t cap = len > CHUNK_BYTES ? len : CHUNK_BYTES;
        fl_chunk *fresh = malloc(sizeof *fresh + cap);
        if (!fresh)
            return NULL;
        *fresh = (fl_chunk){.next = chunk, .cap = cap};
        pool->scratch = chunk = fresh;
    }
    chunk->used += len;
    return chunk->data + chunk->used - len;
}

int fl_pool_add_text(fl_pool *pool, const char *text, size_t len, fl_value *out)
{
    uint8_t *copy = fl_pool_scratch(pool, len);
    if (!copy)
        return FL_ENOMEM;
    memcpy(copy, text, len);
    *out = (fl_value){.kind = FL_K_TEXT, .len = (uint32_t)len, .at.text = copy};
    return FL_PLAIN;
}
