/* values.h: the values that a pickle is read into, and the pool that holds them.
 *
 * For every file of this folder; it uses none of them. In all of them, a function that can reject a
 * frame returns a verdict: FL_PLAIN (0) to continue, FL_FALLBACK or a rejection to stop with this
 * frame. FL_ENOMEM, negative, ends the whole block.
 */
#ifndef FL_TRANSLATE_VALUES_H
#define FL_TRANSLATE_VALUES_H

#include "translate.h"

#include <string.h>

/* What a value is, and which member of fl_value.at is set. */
enum fl_kind {
    FL_K_UNSET, /* a memo slot that was never set */
    FL_K_NONE,
    FL_K_TRUE,
    FL_K_FALSE,
    FL_K_INT,        /* at.integer */
    FL_K_UINT,       /* at.natural: 2^63 and more */
    FL_K_BIG_DIGITS, /* a larger integer: len decimal digits at at.text, perhaps after a minus */
    FL_K_BIG_BYTES,  /* a larger integer: len bytes at at.text, little-endian two's complement */
    FL_K_FLOAT,      /* at.real */
    FL_K_TEXT,       /* a str: len bytes of UTF-8 at at.text, without NULs and surrogates */
    FL_K_UNCLEAN,    /* a str: the same with NULs or lone surrogates */
    FL_K_BYTES,      /* len bytes at at.text */
    FL_K_GLOBAL,     /* len bytes at at.text: "protocol:module:name" */
    FL_K_LIST,       /* from here on: the node at.node */
    FL_K_SET,
    FL_K_TUPLE, /* node 0 is the empty tuple */
    FL_K_DICT,
    FL_K_OBJECT,
    FL_K_OVERFLOW, /* in place of each container beyond FL_CONTAINERS_MAX */
    FL_K_BATCH,    /* no value: the head of a batch of `len` values; at.node is the next batch */
};

typedef struct fl_value {
    uint8_t kind;
    uint8_t class_id; /* of a global: enum fl_class_id */
    bool from_memo;   /* it was fetched from the memo, so other references to it can exist */
    uint32_t len;
    union {
        int64_t integer;
        uint64_t natural;
        double real;
        const uint8_t *text;
        uint32_t node;
    } at;
} fl_value;

/* A list of values that can grow: a chain of batches in the pool. first == 0: none. */
typedef struct fl_items {
    uint32_t len, first, last;
} fl_items;

/* The content of a container or an object. Values refer to nodes by number, as in Python: what is
 * added to a node later is seen wherever the node is referred to. */
typedef struct fl_node {
    uint8_t kind;
    bool is_shared;     /* it was fetched from the memo */
    fl_items items;     /* a dict's keys and values in turn; what was appended to an object */
    fl_items pairs;     /* keys and values in turn that were set in an object */
    uint32_t parts;     /* of an object: the batch of its parts, enum below */
    uint32_t tree_memo; /* its slot in the memo of the translation, for tree.c */
} fl_node;

/* The parts of an object, in its batch. */
enum { FL_PART_CLASS, FL_PART_ARGS, FL_PART_KWARGS, FL_PART_STATE, FL_PARTS };

enum {
    FL_GLOBAL_HEAD = 2,        /* bytes of a global's text before its module */
    FL_CONTAINERS_MAX = 65536, /* containers and objects of one pickle */
    FL_POOL_VALUES = 1 << 19,
    FL_POOL_NODES = 2 * FL_CONTAINERS_MAX +
        1, /* an object's arguments may be a node of their own */
};

typedef struct fl_chunk fl_chunk;

/* The values of one pickle. The arrays have fixed sizes: a frame that needs more is FL_FALLBACK.
 * They are allocated once, as memory that is never touched costs nothing. */
typedef struct fl_pool {
    fl_value *values; /* value 0 is not used: 0 means no batch */
    fl_node *nodes;   /* node 0 is the empty tuple */
    uint32_t values_used, nodes_used;
    bool may_cycle;    /* something was added to a shared node */
    fl_chunk *scratch; /* texts that are not in the frame */
} fl_pool;

/* Allocates the arrays of a zeroed pool. Returns false if there is no memory; the caller calls
 * fl_pool_free() either way. */
bool fl_pool_init(fl_pool *pool);

/* Frees what the pool owns, not the pool itself. */
void fl_pool_free(fl_pool *pool);

/* Forgets all values and scratch texts, before the next pickle. */
void fl_pool_reset(fl_pool *pool);

/* Returns room for a text of len bytes, which lives until the next reset; NULL: no memory. */
uint8_t *fl_pool_scratch(fl_pool *pool, size_t len);

/* Makes *out a text that is a scratch copy of these bytes. Returns FL_PLAIN or FL_ENOMEM. */
int fl_pool_add_text(fl_pool *pool, const char *text, size_t len, fl_value *out);

/* Copies n values into a new batch and returns it; 0 if the pool has no room. */
static inline uint32_t fl_pool_add_batch(fl_pool *pool, const fl_value *values, size_t n)
{
    if (n >= FL_POOL_VALUES - pool->values_used)
        return 0;
    uint32_t batch = pool->values_used;
    pool->values[batch] = (fl_value){.kind = FL_K_BATCH, .len = (uint32_t)n};
    memcpy(&pool->values[batch + 1], values, n * sizeof *values);
    pool->values_used += (uint32_t)n + 1;
    return batch;
}

/* Appends n values to a list of the pool. Returns FL_PLAIN, or FL_FALLBACK: no room. */
static inline int fl_pool_append(fl_pool *pool, fl_items *items, const fl_value *values, size_t n)
{
    if (!n)
        return FL_PLAIN;
    uint32_t batch = fl_pool_add_batch(pool, values, n);
    if (!batch)
        return FL_FALLBACK;
    if (items->last)
        pool->values[items->last].at.node = batch;
    else
        items->first = batch;
    items->last = batch;
    items->len += (uint32_t)n;
    return FL_PLAIN;
}

/* Makes an empty node, and *out a reference to it. Returns it, or NULL: no room. */
static inline fl_node *fl_pool_add_node(fl_pool *pool, uint8_t kind, fl_value *out)
{
    if (pool->nodes_used == FL_POOL_NODES)
        return NULL;
    uint32_t index = pool->nodes_used++;
    *out = (fl_value){.kind = kind, .at.node = index};
    pool->nodes[index] = (fl_node){.kind = kind};
    return &pool->nodes[index];
}

/* Iterates over a list of values. */
typedef struct fl_walk {
    const fl_pool *pool;
    const fl_value *next, *end; /* of the current batch */
    uint32_t batch;             /* the batch after it */
} fl_walk;

static inline void fl_walk_enter(fl_walk *walk, uint32_t batch)
{
    const fl_value *head = &walk->pool->values[batch];
    walk->next = head + 1;
    walk->end = batch ? head + 1 + head->len : walk->next;
    walk->batch = batch ? head->at.node : 0;
}

static inline fl_walk fl_walk_over(const fl_pool *pool, const fl_items *items)
{
    fl_walk walk = {.pool = pool};
    fl_walk_enter(&walk, items->first);
    return walk;
}

/* Returns the next value, NULL after the last. */
static inline const fl_value *fl_walk_next(fl_walk *walk)
{
    if (walk->next == walk->end) {
        if (!walk->batch)
            return NULL;
        fl_walk_enter(walk, walk->batch);
    }
    return walk->next++;
}

/* Whether it is a str or bytes. */
static inline bool fl_is_text(const fl_value *value)
{
    return value->kind == FL_K_TEXT || value->kind == FL_K_UNCLEAN || value->kind == FL_K_BYTES;
}

static inline bool fl_is_str(const fl_value *value)
{
    return value->kind == FL_K_TEXT || value->kind == FL_K_UNCLEAN;
}

static inline bool fl_is_sequence(const fl_value *value)
{
    return value->kind >= FL_K_LIST && value->kind <= FL_K_TUPLE;
}

static inline bool fl_is_container(const fl_value *value)
{
    return value->kind >= FL_K_LIST && value->kind <= FL_K_DICT;
}

static inline bool fl_has_node(const fl_value *value)
{
    return value->kind >= FL_K_LIST && value->kind <= FL_K_OBJECT && value->at.node;
}

static inline const fl_node *fl_node_of(const fl_pool *pool, const fl_value *value)
{
    return &pool->nodes[value->at.node];
}

/* Whether it is None, or a text or container with nothing in it. */
static inline bool fl_is_empty(const fl_pool *pool, const fl_value *value)
{
    return value->kind == FL_K_NONE || (fl_is_text(value) && !value->len) ||
           (fl_is_container(value) && !fl_node_of(pool, value)->items.len);
}

/* Returns the FL_PARTS parts of an object. */
static inline const fl_value *fl_parts_of(const fl_pool *pool, const fl_value *object)
{
    return &pool->values[fl_node_of(pool, object)->parts + 1];
}

/* Whether the text of a value is this string. */
static inline bool fl_value_equals(const fl_value *value, const char *text)
{
    return value->len == strlen(text) && memcmp(value->at.text, text, value->len) == 0;
}

#endif
