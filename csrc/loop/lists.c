/* lists.c: the four lists of connections.
 *
 *     ready      connections that have, or may have, more to read
 *     throttled  the same, over their rate limit: not to be read before their time
 *     partial    connections inside a frame
 *     silent     connections that have not sent a byte, the oldest first
 *
 * The lists are doubly linked, because a connection can be closed anywhere in them.
 */
#include "loop_internal.h"

static neighbours *neighbours_of(fl_loop *loop, const list *l, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    return l == &loop->partial || l == &loop->silent ? &c->partial : &c->ready;
}

static void list_append(fl_loop *loop, list *l, uint32_t slot)
{
    neighbours *own = neighbours_of(loop, l, slot);
    own->prev = l->tail;
    own->next = NO_SLOT;
    if (l->tail == NO_SLOT)
        l->head = slot;
    else
        neighbours_of(loop, l, l->tail)->next = slot;
    l->tail = slot;
    l->count++;
}

static void list_remove(fl_loop *loop, list *l, uint32_t slot)
{
    neighbours *own = neighbours_of(loop, l, slot);
    if (own->prev == NO_SLOT)
        l->head = own->next;
    else
        neighbours_of(loop, l, own->prev)->next = own->next;
    if (own->next == NO_SLOT)
        l->tail = own->prev;
    else
        neighbours_of(loop, l, own->next)->prev = own->prev;
    l->count--;
}

/* Appends a connection to a list, or removes it; its flag says whether it is there. */
static void set_listed(fl_loop *loop, list *l, enum conn_flag flag, uint32_t slot, bool listed)
{
    conn *c = &loop->conns[slot];
    if (listed == !!(c->flags & flag))
        return;
    c->flags ^= (uint16_t)flag;
    if (listed)
        list_append(loop, l, slot);
    else
        list_remove(loop, l, slot);
}

void conn_set_ready(fl_loop *loop, uint32_t slot, bool ready)
{
    set_listed(loop, &loop->throttled, IS_THROTTLED, slot, false);
    set_listed(loop, &loop->ready, IS_READY, slot, ready);
}

void conn_set_throttled(fl_loop *loop, uint32_t slot)
{
    conn_set_ready(loop, slot, false);
    set_listed(loop, &loop->throttled, IS_THROTTLED, slot, true);
}

void conn_set_partial(fl_loop *loop, uint32_t slot, bool partial)
{
    set_listed(loop, &loop->partial, IS_PARTIAL, slot, partial);
}

void conn_set_silent(fl_loop *loop, uint32_t slot, bool silent)
{
    set_listed(loop, &loop->silent, IS_SILENT, slot, silent);
}
