/* share.c: reads connections that send much more slowly while the sinks are behind.
 *
 * There are two shares, a connection's own and its host's. Each is kept as one time, up to which it
 * is used up: what comes into the block moves that on, and the clock catches up with it. Time that
 * was not used is kept for BURST_US, time that is owed for DEBT_US.
 *
 * A connection is read while one of the two is left, and its own is used first. A connection that
 * was never read empty is new, and has only its host's: else each of ever new connections would
 * bring a share of its own. The share of a host is found by a hash of its address, and not deleted
 * with its last connection, since the next may be on its way.
 *
 * A connection that is over its share is on the throttled list, not on the ready list: no event
 * wakes it before it is due. It may have more to read all the while, so it is read then.
 */
#include "loop_internal.h"

enum {
    BURST_US = 125 * 1000,
    DEBT_US = 750 * 1000, /* a stock handler drops records when nothing moves for a second */
    SLOW_BUDGET = 8192,   /* of a limited connection in one turn */
    STEP_MIN = 4096,
    SLOW_TICK_MS = 10, /* the throttled are looked through no more often than that */
    HOST_A_TICK = 64,  /* that are let to their host's share, which the first may use up */
};

static int64_t now_us(const fl_loop *loop)
{
    return loop->now * 1000;
}

static bool is_limited(const fl_loop *loop)
{
    return loop->own_rate && !loop->draining;
}

static bool has_own(const fl_loop *loop, const conn *c)
{
    return c->flags & IS_KNOWN && c->paid_until <= now_us(loop);
}

/* When it may be read again. */
static int64_t due_us(const fl_loop *loop, const conn *c)
{
    int64_t host = loop->host_paid_until[c->host_share];
    return c->flags & IS_KNOWN && c->paid_until < host ? c->paid_until : host;
}

bool share_is_spent(const fl_loop *loop, uint32_t slot)
{
    return is_limited(loop) && due_us(loop, &loop->conns[slot]) > now_us(loop);
}

size_t share_budget(const fl_loop *loop)
{
    if (is_limited(loop))
        return SLOW_BUDGET;
    return loop->step && loop->step < CHUNK && !loop->draining ? loop->step : CHUNK;
}

bool share_step_is_done(const fl_loop *loop)
{
    uint64_t weight = loop->arena_len + (uint64_t)loop->arena_frames * FL_FRAME_WEIGHT;
    return loop->step && weight >= loop->step && !loop->draining;
}

/* Moves on the time up to which a share is used up. */
static void spend(const fl_loop *loop, int64_t *until, uint64_t weight, uint64_t rate)
{
    int64_t now = now_us(loop);
    if (*until < now - BURST_US)
        *until = now - BURST_US;
    *until += (int64_t)(weight * 1000000 / rate);
    if (*until > now + DEBT_US)
        *until = now + DEBT_US;
}

void share_pay(fl_loop *loop, uint32_t slot, uint64_t bytes, uint32_t frames)
{
    conn *c = &loop->conns[slot];
    uint64_t weight = bytes + (uint64_t)frames * FL_FRAME_WEIGHT;
    c->flags &= (uint8_t)~IS_WAITING;
    if (!weight || !is_limited(loop))
        return;
    if (has_own(loop, c))
        spend(loop, &c->paid_until, weight, loop->own_rate);
    else
        spend(loop, &loop->host_paid_until[c->host_share], weight, loop->host_rate);
}

void share_emptied(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    if (c->flags & IS_KNOWN || !(c->flags & HAS_SPOKEN))
        return;
    c->flags |= IS_KNOWN;
    c->paid_until = now_us(loop); /* it has saved nothing yet */
}

/* When it falls due, but not before the next tick. */
static int64_t due_ms(const fl_loop *loop, const conn *c)
{
    int64_t due = (due_us(loop, c) + 999) / 1000;
    return due > loop->now + SLOW_TICK_MS ? due : loop->now + SLOW_TICK_MS;
}

void share_wait(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    int64_t due = due_ms(loop, c);
    if (!loop->throttled.count || due < loop->throttled_due)
        loop->throttled_due = due;
    conn_set_throttled(loop, slot);
    if (c->flags & IS_WAITING)
        return; /* it fell due, but another was first */
    c->flags |= IS_WAITING;
    loop->stats.throttlings++;
    c->throttlings++;
}

static void come_back(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    conn_set_ready(loop, slot, true);
    if (c->part_len) { /* it was we who were silent */
        c->part_since = c->part_last = loop->now;
        c->graced_len = 0;
    }
}

void share_release(fl_loop *loop)
{
    if (!loop->throttled.count || loop->now < loop->throttled_due)
        return;
    loop->throttled_due = INT64_MAX;
    unsigned by_host = HOST_A_TICK;
    for (uint32_t s = loop->throttled.head, next; s != NO_SLOT; s = next) {
        const conn *c = &loop->conns[s];
        next = c->ready.next;
        bool is_due = due_us(loop, c) <= now_us(loop);
        if (is_due && !has_own(loop, c))
            is_due = by_host && by_host--;
        if (is_due)
            come_back(loop, s);
        else if (due_ms(loop, c) < loop->throttled_due)
            loop->throttled_due = due_ms(loop, c);
    }
}

void fl_loop_step(fl_loop *loop, uint32_t weight)
{
    loop->step = weight && weight < STEP_MIN ? STEP_MIN : weight;
}

void fl_loop_limit(fl_loop *loop, uint32_t own, uint32_t host)
{
    loop->own_rate = host ? own : 0;
    loop->host_rate = host;
    if (loop->own_rate)
        return;
    loop->now = monotonic_ms();
    while (loop->throttled.count)
        come_back(loop, loop->throttled.head);
}

int fl_loop_throttled(fl_loop *loop, uint32_t *at, char peer[FL_PEER_SIZE])
{
    while (*at < loop->slots) {
        conn *c = &loop->conns[(*at)++];
        uint32_t times = c->throttlings;
        c->throttlings = 0;
        if (c->fd < 0 || !times)
            continue;
        for (size_t i = 0; i < FL_PEER_SIZE; i++)
            peer[i] = c->peer[i];
        return times < INT32_MAX ? (int)times : INT32_MAX;
    }
    return 0;
}
