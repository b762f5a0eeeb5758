/* containers.c: opcodes that make and fill lists, tuples, sets and dicts. Pure. */
#include "containers.h"

static int push(fl_machine *m, uint8_t kind, const fl_value *values, size_t n)
{
    fl_pool *pool = &m->unpickler->pool;
    if (!fl_machine_count_container(m)) {
        fl_machine_push(m, FL_K_OVERFLOW);
        return FL_PLAIN;
    }
    fl_value made;
    fl_node *node = fl_pool_add_node(pool, kind, &made);
    if (!node || fl_pool_append(pool, &node->items, values, n))
        return FL_FALLBACK;
    *m->sp++ = made;
    return FL_PLAIN;
}

int fl_container_empty(fl_machine *m, uint8_t kind)
{
    return push(m, kind, NULL, 0);
}

int fl_container_tuple(fl_machine *m, size_t n)
{
    if (fl_machine_depth(m) < n)
        return FL_BAD_UNDERFLOW;
    m->sp -= n;
    return push(m, FL_K_TUPLE, m->sp, n);
}

int fl_container_from_mark(fl_machine *m, uint8_t kind)
{
    fl_value *values;
    size_t n;
    int verdict = fl_machine_pop_mark(m, &values, &n);
    if (!verdict && kind == FL_K_DICT && n % 2)
        return FL_BAD_PAIRS;
    return verdict ? verdict : push(m, kind, values, n);
}

/* Adds n values, just removed from the stack, to the topmost one. */
static int add(fl_machine *m, uint8_t kind, const fl_value *values, size_t n)
{
    fl_pool *pool = &m->unpickler->pool;
    if (m->sp == m->base)
        return FL_BAD_UNDERFLOW;
    const fl_value *target = m->sp - 1;
    if (kind == FL_K_DICT && n % 2)
        return FL_BAD_PAIRS;
    if (target->kind == FL_K_OVERFLOW)
        return FL_PLAIN;
    bool is_object = target->kind == FL_K_OBJECT && kind != FL_K_SET;
    if (target->kind != kind && !is_object)
        return kind == FL_K_LIST   ? FL_BAD_APPEND
               : kind == FL_K_DICT ? FL_BAD_SETITEM
                                   : FL_BAD_ADDITEMS;
    fl_node *node = &pool->nodes[target->at.node];
    pool->may_cycle |= node->is_shared;
    return fl_pool_append(pool, is_object && kind == FL_K_DICT ? &node->pairs : &node->items,
                          values, n);
}

int fl_container_add(fl_machine *m, uint8_t kind, size_t n)
{
    if (fl_machine_depth(m) < n)
        return FL_BAD_UNDERFLOW;
    m->sp -= n;
    return add(m, kind, m->sp, n);
}

int fl_container_add_from_mark(fl_machine *m, uint8_t kind)
{
    fl_value *values;
    size_t n;
    int verdict = fl_machine_pop_mark(m, &values, &n);
    return verdict ? verdict : add(m, kind, values, n);
}
