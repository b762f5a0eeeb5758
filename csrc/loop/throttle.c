/* throttle.c: while sinks are behind, reads connections that send much at a limited rate.
 *
 * There are two rates, that of a connection and that of its host. Each is kept as one time, up to
 * which it is used up (rate_used_until): input that enters the block moves this time on, and the
 * clock catches up with it. An unused rate accumulates for BURST_US, an excess counts for DEBT_US
 * at most.
 *
 * A connection may be read while one of the two times has passed; its own rate is used first. A
 * connection that was never read empty has no rate of its own, only its host's. Otherwise a host
 * could get more by opening more connections. The rate of a host is found by a hash of its address,
 * and outlives its last connection, because the host can connect again.
 *
 * A connection over its rate limit is on the throttled list, not on the ready list. No epoll event
 * wakes it before its time, and it may have input all the while, so it is read when its time comes.
 */
#include "loop_internal.h"

#include <string.h>

enum {
    BURST_US = 125 * 1000,
    DEBT_US = 750 * 1000,    /* a stock handler drops records when it cannot send for a second */
    THROTTLED_BUDGET = 8192, /* bytes of one connection in one poll, under a rate limit */
    POLL_LIMIT_MIN = 4096,
    TICK_US = 1000,        /* of loop->now */
    RELEASE_MS = 10,       /* shortest time between two scans of the throttled list */
    RELEASES_BY_HOST = 64, /* of a scan: connections on their host's rate, which one can use up */
};

static int64_t now_us(const fl_loop *loop)
{
    return loop->now * 1000;
}

static bool is_limited(const fl_loop *loop)
{
    return loop->connection_rate && !loop->draining;
}

/* Whether a time has come, or comes within this tick of the clock: a connection that sends two
 * records in a millisecond does not wait. */
static bool has_come(const fl_loop *loop, int64_t us)
{
    return us < now_us(loop) + TICK_US;
}

static bool is_within_own_rate(const fl_loop *loop, const conn *c)
{
    return c->flags & HAS_OWN_RATE && has_come(loop, c->rate_used_until);
}

/* Returns when the connection may be read again. */
static int64_t due_us(const fl_loop *loop, const conn *c)
{
    int64_t host = loop->host_rate_used_until[c->host_bucket];
    return c->flags & HAS_OWN_RATE && c->rate_used_until < host ? c->rate_used_until : host;
}

bool throttle_is_over(const fl_loop *loop, uint32_t slot)
{
    return is_limited(loop) && !has_come(loop, due_us(loop, &loop->conns[slot]));
}

size_t throttle_budget(const fl_loop *loop)
{
    if (is_limited(loop))
        return THROTTLED_BUDGET;
    bool is_small = loop->poll_limit && loop->poll_limit < CHUNK && !loop->draining;
    return is_small ? loop->poll_limit : CHUNK;
}

bool throttle_poll_is_full(const fl_loop *loop)
{
    uint64_t weight = loop->arena_len + (uint64_t)loop->arena_frames * FL_FRAME_WEIGHT;
    return loop->poll_limit && weight >= loop->poll_limit && !loop->draining;
}

/* Moves on the time up to which a rate is used up. */
static void charge(const fl_loop *loop, int64_t *used_until, uint64_t weight, uint64_t rate)
{
    int64_t now = now_us(loop);
    if (*used_until < now - BURST_US)
        *used_until = now - BURST_US;
    *used_until += (int64_t)(weight * 1000000 / rate);
    if (*used_until > now + DEBT_US)
        *used_until = now + DEBT_US;
}

void throttle_charge(fl_loop *loop, uint32_t slot, uint64_t bytes, uint32_t frames)
{
    conn *c = &loop->conns[slot];
    uint64_t weight = bytes + (uint64_t)frames * FL_FRAME_WEIGHT;
    c->flags &= (uint16_t)~(IS_WAIT_COUNTED | USES_HOST_RATE);
    if (!weight || !is_limited(loop))
        return;
    if (is_within_own_rate(loop, c)) {
        charge(loop, &c->rate_used_until, weight, loop->connection_rate);
    } else {
        charge(loop, &loop->host_rate_used_until[c->host_bucket], weight, loop->host_rate);
        c->flags |= USES_HOST_RATE;
    }
}

void throttle_note_empty(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    if (c->flags & HAS_OWN_RATE || !(c->flags & HAS_SENT_FRAME))
        return;
    c->flags |= HAS_OWN_RATE;
    c->rate_used_until = now_us(loop); /* nothing has accumulated yet */
}

/* Returns when the connection may be read again, but not before the next scan. */
static int64_t due_ms(const fl_loop *loop, const conn *c)
{
    int64_t due = (due_us(loop, c) + 999) / 1000;
    return due > loop->now + RELEASE_MS ? due : loop->now + RELEASE_MS;
}

void throttle_wait(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    int64_t due = due_ms(loop, c);
    if (!loop->throttled.count || due < loop->throttled_due)
        loop->throttled_due = due;
    conn_set_throttled(loop, slot);
    if (c->flags & IS_WAIT_COUNTED)
        return; /* its time came, but another connection used up the rate first */
    c->flags |= IS_WAIT_COUNTED;
    loop->stats.throttlings++;
    c->throttlings++;
}

void throttle_end_turns(fl_loop *loop)
{
    if (!is_limited(loop))
        return;
    for (uint32_t s = loop->ready.head, next; s != NO_SLOT; s = next) {
        next = loop->conns[s].ready.next;
        if (loop->conns[s].flags & USES_HOST_RATE && throttle_is_over(loop, s))
            throttle_wait(loop, s);
    }
}

static void release(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    conn_set_ready(loop, slot, true);
    if (c->partial_len) /* it was not the sender that stalled */
        partial_restart_clock(loop, c);
}

void throttle_release(fl_loop *loop)
{
    if (!loop->throttled.count || loop->now < loop->throttled_due)
        return;
    loop->throttled_due = INT64_MAX;
    unsigned by_host = RELEASES_BY_HOST;
    for (uint32_t s = loop->throttled.head, next; s != NO_SLOT; s = next) {
        const conn *c = &loop->conns[s];
        next = c->ready.next;
        bool is_due = has_come(loop, due_us(loop, c));
        if (is_due && !is_within_own_rate(loop, c))
            is_due = by_host && by_host--;
        if (is_due)
            release(loop, s);
        else if (due_ms(loop, c) < loop->throttled_due)
            loop->throttled_due = due_ms(loop, c);
    }
}

void fl_loop_limit_poll(fl_loop *loop, uint32_t weight)
{
    loop->poll_limit = weight && weight < POLL_LIMIT_MIN ? POLL_LIMIT_MIN : weight;
}

void fl_loop_limit_rate(fl_loop *loop, uint32_t connection_rate, uint32_t host_rate)
{
    loop->connection_rate = host_rate ? connection_rate : 0;
    loop->host_rate = host_rate;
    if (loop->connection_rate)
        return;
    loop->now = monotonic_ms();
    while (loop->throttled.count)
        release(loop, loop->throttled.head);
}

int fl_loop_throttled(fl_loop *loop, uint32_t *at, char peer[FL_PEER_SIZE])
{
    while (*at < loop->slots) {
        conn *c = &loop->conns[(*at)++];
        uint32_t times = c->throttlings;
        c->throttlings = 0;
        if (c->fd < 0 || !times)
            continue;
        memcpy(peer, c->peer, FL_PEER_SIZE);
        return times < INT32_MAX ? (int)times : INT32_MAX;
    }
    return 0;
}
