/* share.c: who is read more slowly than he sends, so that his bytes wait with him and not in front
 * of everybody's.
 *
 * A limited connection has a rate, kept as one time: `paid_until`, up to which its share is used
 * up. What it adds to the block moves that on; once the clock has passed it, it may be read again.
 * Time that a connection did not use is kept for BURST_US, time that it owes for DEBT_US.
 *
 * Connections of which nothing was judged yet are newcomers, and have a share together besides: who
 * comes anew again and again, with a little each time, would have as many shares as he likes.
 *
 * Who is over his share is on the slowed list, not on the ready list: nobody looks at him before he
 * is due, whatever events come. He may have more to read all the while, so he must be read then.
 */
#include "loop.h"

enum {
    BURST_US = 125 * 1000,
    DEBT_US = 2000 * 1000,    /* so that who was dear for a moment does not wait for long */
    SLOW_BUDGET = 16 * 1024,  /* of a limited connection in one turn, */
    SLOW_LEAST = 4096,        /* and of one whose bytes are dear */
    SLOW_TICK_MS = 10,        /* the slowed are looked through no more often than that */
    FIRST_WINDOW = 64 * 1024, /* what a newcomer may have unjudged; then eight times as much, */
    PROVEN = 4,               /* so many times */
    NEWCOMERS_WINDOW = 1024 * 1024, /* what all newcomers may have unjudged, */
    NEWCOMERS_SHARES = 4,           /* and how many shares they have together beyond that */
    NEWCOMERS_A_TICK = 64,          /* that are let to the share, which may be spent by the first */
};

static int64_t now_us(const fl_loop *loop)
{
    return loop->now * 1000;
}

static uint64_t window_of(const conn *c)
{
    int steps = c->surcharge && c->proven == PROVEN ? PROVEN - 1 : c->proven;
    return (uint64_t)FIRST_WINDOW << 3 * steps;
}

/* Has what this connection sent come out at the other end? Then it may send more at once. What came
 * in one round is judged when the next is over; what came after that is forgiven. */
static void judge(const fl_loop *loop, conn *c)
{
    if (!c->unjudged || loop->round - c->round < 2)
        return;
    if (c->unjudged >= window_of(c) / 2 && c->proven < PROVEN && !loop->limits_all)
        c->proven++;
    c->unjudged = 0;
    c->flags |= IS_JUDGED;
}

static void judge_newcomers(fl_loop *loop)
{
    if (loop->round - loop->newcomers.round >= 2)
        loop->newcomers.unjudged = 0;
}

static bool is_newcomer(const conn *c)
{
    return !(c->flags & IS_JUDGED);
}

static bool is_limited(const fl_loop *loop, const conn *c)
{
    if (!loop->rate || loop->draining)
        return false;
    if (is_newcomer(c) && loop->newcomers.unjudged >= NEWCOMERS_WINDOW)
        return true;
    return loop->limits_all || c->unjudged >= window_of(c);
}

/* Up to when its share is used up, and that of the newcomers if it is one. */
static int64_t paid_until(const fl_loop *loop, const conn *c)
{
    if (is_newcomer(c) && loop->newcomers.paid_until > c->paid_until)
        return loop->newcomers.paid_until;
    return c->paid_until;
}

bool share_is_spent(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    judge(loop, c);
    return is_limited(loop, c) && paid_until(loop, c) > now_us(loop);
}

/* What it may send in one turn: never much more than it has left, as far as it is known what its
 * bytes weigh. */
size_t share_budget(const fl_loop *loop, uint32_t slot)
{
    const conn *c = &loop->conns[slot];
    if (!loop->rate || loop->draining)
        return CHUNK;
    uint64_t left = window_of(c) - c->unjudged;
    if (is_limited(loop, c))
        left = SLOW_BUDGET;
    else if (!(c->flags & HAS_SPOKEN))
        left = SLOW_LEAST; /* nobody knows yet how many frames there are in a byte */
    left /= (c->surcharge + 1u) * (c->density + 1u);
    if (left > CHUNK)
        return CHUNK;
    return left > SLOW_LEAST ? (size_t)left : SLOW_LEAST;
}

/* Moves on the time up to which a share is used up. */
static void spend(const fl_loop *loop, int64_t *until, uint64_t weight, uint64_t rate)
{
    int64_t now = now_us(loop), unused = loop->limits_all ? BURST_US : 0;
    if (*until < now - unused)
        *until = now - unused;
    *until += (int64_t)(weight * 1000000 / rate);
    if (*until > now + DEBT_US)
        *until = now + DEBT_US;
}

void share_pay(fl_loop *loop, uint32_t slot, uint64_t bytes, uint32_t frames)
{
    conn *c = &loop->conns[slot];
    if (!bytes)
        return;
    uint64_t weight = bytes + (uint64_t)frames * FL_FRAME_WEIGHT;
    bool limited = is_limited(loop, c);
    if (loop->rate)
        c->density = (uint8_t)(weight / bytes - 1 < UINT8_MAX ? weight / bytes - 1 : UINT8_MAX);
    weight *= c->surcharge + 1u;
    if (!c->unjudged)
        c->round = loop->round;
    c->unjudged += weight;
    if (is_newcomer(c)) {
        if (!loop->newcomers.unjudged)
            loop->newcomers.round = loop->round;
        loop->newcomers.unjudged += weight;
    }
    if (!limited)
        return;
    spend(loop, &c->paid_until, weight, loop->rate);
    if (is_newcomer(c))
        spend(loop, &loop->newcomers.paid_until, weight, (uint64_t)loop->rate * NEWCOMERS_SHARES);
}

/* When it falls due, but not before the next tick. */
static int64_t due_ms(const fl_loop *loop, const conn *c)
{
    int64_t due = (paid_until(loop, c) + 999) / 1000;
    return due > loop->now + SLOW_TICK_MS ? due : loop->now + SLOW_TICK_MS;
}

void share_wait(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    int64_t due = due_ms(loop, c);
    if (!loop->slowed.count || due < loop->slowed_due)
        loop->slowed_due = due;
    conn_set_slowed(loop, slot);
    loop->stats.slowings++;
    c->slowings++;
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
    if (!loop->slowed.count || loop->now < loop->slowed_due)
        return;
    loop->slowed_due = INT64_MAX;
    unsigned newcomers_left = NEWCOMERS_A_TICK;
    for (uint32_t s = loop->slowed.head, next; s != NOBODY; s = next) {
        const conn *c = &loop->conns[s];
        next = c->ready.next;
        bool is_due = paid_until(loop, c) <= now_us(loop);
        if (is_due && is_newcomer(c))
            is_due = newcomers_left && newcomers_left--;
        if (is_due)
            come_back(loop, s);
        else if (due_ms(loop, c) < loop->slowed_due)
            loop->slowed_due = due_ms(loop, c);
    }
}

/* Whoever waits is looked at anew: the rules are others now. */
static void release_all(fl_loop *loop)
{
    loop->now = monotonic_ms();
    while (loop->slowed.count)
        come_back(loop, loop->slowed.head);
}

void fl_loop_limit(fl_loop *loop, uint32_t bytes_per_second, bool everyone)
{
    bool eases = !bytes_per_second || bytes_per_second > loop->rate || !everyone;
    bool changes = bytes_per_second != loop->rate || everyone != loop->limits_all;
    loop->rate = bytes_per_second;
    loop->limits_all = everyone;
    if (changes && eases)
        release_all(loop);
}

void fl_loop_judged(fl_loop *loop)
{
    loop->round++;
    judge_newcomers(loop);
    if (!loop->limits_all)
        release_all(loop);
}

void fl_loop_surcharge(fl_loop *loop, const fl_surcharge *of, size_t n)
{
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        conn *c = &loop->conns[slot];
        c->surcharge = 0;
        for (size_t i = 0; i < n && c->fd >= 0; i++)
            if (of[i].serial == c->serial)
                c->surcharge = of[i].times;
    }
}

int fl_loop_slowed(fl_loop *loop, uint32_t *at, char peer[FL_PEER_SIZE])
{
    while (*at < loop->slots) {
        conn *c = &loop->conns[(*at)++];
        uint32_t times = c->slowings;
        c->slowings = 0;
        if (c->fd < 0 || !times)
            continue;
        for (size_t i = 0; i < FL_PEER_SIZE; i++)
            peer[i] = c->peer[i];
        return times < INT32_MAX ? (int)times : INT32_MAX;
    }
    return 0;
}
