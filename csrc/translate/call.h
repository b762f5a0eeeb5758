/* call.h: an object as the call that made it. For the files that read objects. */
#ifndef FL_TRANSLATE_CALL_H
#define FL_TRANSLATE_CALL_H

#include "classes.h"

/* A call of a global with positional arguments, and perhaps a state that was set afterwards. */
typedef struct fl_call {
    uint8_t class_id;
    const fl_value *args; /* n of them, one after the other */
    size_t n;
    const fl_value *state; /* FL_K_UNSET: none */
} fl_call;

/* Fills in the arguments. Returns false if they are not contiguous in the pool. */
static inline bool fl_call_arguments(const fl_pool *pool, const fl_value *args, fl_call *out)
{
    const fl_items *items = &fl_node_of(pool, args)->items;
    out->n = args->at.node ? items->len : 0;
    out->args = pool->values + items->first + 1;
    return items->first == items->last; /* one batch, or none */
}

/* Whether anything beside a call and a state made the object: keyword arguments, or what was
 * appended to it or set in it. */
static inline bool fl_call_has_more(const fl_pool *pool, const fl_value *object)
{
    const fl_node *node = fl_node_of(pool, object);
    return node->items.len || node->pairs.len ||
           fl_parts_of(pool, object)[FL_PART_KWARGS].kind != FL_K_NONE;
}

/* Returns whether a value is an object that such a call made, and fills in the call. */
static inline bool fl_call_of(const fl_pool *pool, const fl_value *object, fl_call *out)
{
    if (object->kind != FL_K_OBJECT || fl_call_has_more(pool, object))
        return false;
    const fl_value *parts = fl_parts_of(pool, object);
    if (parts[FL_PART_CLASS].kind != FL_K_GLOBAL)
        return false;
    out->class_id = parts[FL_PART_CLASS].class_id;
    out->state = &parts[FL_PART_STATE];
    return fl_call_arguments(pool, &parts[FL_PART_ARGS], out);
}

/* The same, of this class and without a state. */
static inline bool fl_call_is(const fl_pool *pool, const fl_value *value, uint8_t class_id,
                              fl_call *out)
{
    return fl_call_of(pool, value, out) && out->class_id == class_id &&
           out->state->kind <= FL_K_NONE;
}

#endif
