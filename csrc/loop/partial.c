/* partial.c: partial frames: their memory, its budget, and their timeouts. */
#include "loop_internal.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

enum {
    PARTIAL_MIN = 64,             /* the first allocation of a partial frame */
    TRIM_BYTES = 8 * 1024 * 1024, /* freed memory that makes malloc_trim() worth its cost */
};

static uint32_t largest_partial(const fl_loop *loop)
{
    uint32_t largest = NO_SLOT, cap = 0;
    for (uint32_t s = loop->partial.head; s != NO_SLOT; s = loop->conns[s].partial.next)
        if (loop->conns[s].partial_cap > cap) {
            cap = loop->conns[s].partial_cap;
            largest = s;
        }
    return largest;
}

/* Gives the memory of many freed partial frames back to the system. free() alone would keep the
 * holes that they leave in the heap, and the process would use more memory than the budget. */
static void trim_heap(fl_loop *loop)
{
    loop->partial_peak = loop->stats.partial_bytes;
    loop->evicted = 0;
#ifdef __GLIBC__ /* other C libraries have no such call, and smaller heaps */
    (void)malloc_trim(0);
#endif
}

static void evict(fl_loop *loop, uint32_t slot)
{
    loop->evicted += loop->conns[slot].partial_cap;
    conn_close_partial(loop, slot, FL_REASON_MEMORY);
    if (loop->evicted >= TRIM_BYTES)
        trim_heap(loop);
}

bool partial_reserve(fl_loop *loop, uint32_t slot, uint32_t cap)
{
    conn *c = &loop->conns[slot];
    if (cap <= c->partial_cap)
        return true;
    while (loop->stats.partial_bytes - c->partial_cap + cap > loop->options.partial_memory) {
        uint32_t victim = largest_partial(loop);
        if (victim == NO_SLOT || loop->conns[victim].partial_cap <= cap)
            victim = slot;
        evict(loop, victim);
        if (victim == slot)
            return false;
    }
    uint8_t *grown = realloc(c->partial_data, cap);
    if (!grown) {
        conn_close_partial(loop, slot, FL_REASON_MEMORY);
        return false;
    }
    loop->stats.partial_bytes += cap - c->partial_cap;
    if (loop->stats.partial_bytes > loop->partial_peak)
        loop->partial_peak = loop->stats.partial_bytes;
    c->partial_data = grown;
    c->partial_cap = cap;
    return true;
}

bool partial_keep(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len, bool is_new)
{
    if (!partial_reserve(loop, slot, len < PARTIAL_MIN ? PARTIAL_MIN : (uint32_t)len))
        return false;
    conn *c = &loop->conns[slot];
    memcpy(c->partial_data, data, len);
    c->partial_len = (uint32_t)len;
    c->partial_last = loop->now;
    if (is_new)
        partial_restart_clock(loop, c);
    conn_set_partial(loop, slot, true);
    return true;
}

uint32_t partial_move(fl_loop *loop, uint32_t slot, uint8_t *to)
{
    conn *c = &loop->conns[slot];
    uint32_t len = c->partial_len;
    if (len)
        memcpy(to, c->partial_data, len);
    conn_drop_partial(loop, slot);
    return len;
}

void partial_restart_clock(const fl_loop *loop, conn *c)
{
    c->partial_since = c->partial_last = loop->now;
    c->overdue_len = 0;
}

/* Returns whether a partial frame has got no byte for stall_ms, or, once it is older than that,
 * less than min_rate. */
static bool is_stalled(const fl_loop *loop, conn *c)
{
    int64_t stall = loop->options.stall_ms;
    if (loop->now - c->partial_last >= stall)
        return true;
    int64_t overdue = loop->now - c->partial_since - stall;
    if (overdue < 0)
        return false;
    if (!c->overdue_len) {
        c->overdue_len = c->partial_len;
        c->partial_since = loop->now - stall; /* the rate is measured from now on */
        return false;
    }
    return (int64_t)(c->partial_len - c->overdue_len) * 1000 < overdue * loop->options.min_rate;
}

void partials_check(fl_loop *loop)
{
    for (uint32_t s = loop->partial.head, next; s != NO_SLOT; s = next) {
        next = loop->conns[s].partial.next;
        if (!(loop->conns[s].flags & IS_THROTTLED) && is_stalled(loop, &loop->conns[s]))
            conn_close_partial(loop, s, FL_REASON_TRUNCATED);
    }
    if (loop->partial_peak - loop->stats.partial_bytes >= TRIM_BYTES)
        trim_heap(loop);
}
