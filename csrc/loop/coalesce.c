/* coalesce.c: while little arrives, the loop does not read again at once.
 *
 * A wakeup costs more than a record. After a poll that received little, the loop therefore leaves
 * its sockets alone for a delay, and then reads in one poll what has arrived. A watched descriptor,
 * a signal or the timeout ends the call during a delay, but not the delay.
 *
 * A delay is at most twice as long as the one before, and as long as ENOUGH bytes take to arrive.
 * Under load that is shorter than the least delay: then there is none. There is none either if one
 * connection sent so much that its socket's buffer may fill up meanwhile, which would make its
 * sender wait. While a connection waits for its rate limit, and in the shutdown, delays have the
 * least length.
 *
 * A delay that brought one frame or batch is followed by one of half its length. So a client that
 * waits for the acknowledgement of each batch is not slowed down, while it is alone.
 */
#include "loop_internal.h"

#include <poll.h>

enum {
    ENOUGH = 192 * 1024, /* bytes: less than a block, so that one poll can read them */
    LITTLE = 16 * 1024,  /* bytes: fewer are no load. TCP stalls if small pieces are read at once */
    BUSY = 48 * 1024,    /* bytes of one read, and */
    BUSY_ARRIVALS = 64, /* frames or batches of one read: half of each ends the growth of a delay */
    HANDSHAKE_MS = 100, /* after a frame of a handshake, delays have the least length for so long */
};

static int64_t monotonic_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void coalesce_note_read(fl_loop *loop, uint64_t bytes, uint32_t arrivals)
{
    loop->gathered += bytes;
    if (bytes >= BUSY || arrivals >= BUSY_ARRIVALS)
        loop->is_one_busy = true;
    if (bytes >= BUSY / 2 || arrivals >= BUSY_ARRIVALS / 2)
        loop->is_one_half_busy = true;
}

void coalesce_note_handshake(fl_loop *loop)
{
    loop->handshake_at = loop->now;
}

/* Returns the microseconds of the next delay, by what arrived since the last one began; 0: none. */
static uint32_t next_delay(const fl_loop *loop, int64_t now)
{
    uint32_t least = loop->options.coalesce_us, most = loop->options.coalesce_max_us;
    uint64_t until_enough = (uint64_t)(now - loop->gathering_since) * ENOUGH / loop->gathered;
    bool is_load = (until_enough < least || loop->draining) && loop->gathered >= LITTLE;
    if (is_load || loop->is_one_busy)
        return 0;
    uint64_t delay = loop->delay_us > least ? loop->delay_us : least;
    if (loop->arrivals <= 1)
        delay /= 2;
    else if (!loop->is_one_half_busy)
        delay *= 2;
    if (delay > until_enough)
        delay = until_enough;
    if (delay < least || loop->throttled.count || loop->draining)
        return least;
    return delay < most ? (uint32_t)delay : most;
}

void coalesce_begin(fl_loop *loop)
{
    if (loop->ready.count || !loop->options.coalesce_us)
        return; /* what the poll has left over counts with what it has read */
    int64_t now = monotonic_us();
    if (loop->gathered) {
        uint32_t delay = loop->delay_us = next_delay(loop, now);
        if (delay && loop->now - loop->handshake_at < HANDSHAKE_MS)
            delay = loop->options.coalesce_us;
        loop->delay_until = delay ? now + delay : 0;
    }
    loop->gathering_since = now;
    loop->gathered = 0;
    loop->arrivals = 0;
    loop->is_one_busy = loop->is_one_half_busy = false;
}

/* Returns whether there is no delay, or something that does not wait for its end. */
static bool may_poll(const fl_loop *loop)
{
    return !loop->delay_until || loop->ready.count || loop->events.head || loop->paused;
}

/* Waits for a watched descriptor. Returns a positive number if one is readable, 0 after the time,
 * -1 after a signal. */
static int wait_for_watched(fl_loop *loop, int64_t us)
{
    struct pollfd watched[MAX_WATCHED];
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    for (uint32_t i = 0; i < loop->watched_count; i++)
        watched[i] = (struct pollfd){.fd = loop->watched[i], .events = POLLIN};
    int n = ppoll(watched, loop->watched_count, &t, NULL);
    loop->now = monotonic_ms();
    return n;
}

bool coalesce_wait(fl_loop *loop, int timeout_ms, int *flags)
{
    *flags = 0;
    if (!may_poll(loop)) {
        int64_t left = loop->delay_until - monotonic_us();
        bool is_whole = timeout_ms < 0 || left <= (int64_t)timeout_ms * 1000;
        int n = left > 0 ? wait_for_watched(loop, is_whole ? left : (int64_t)timeout_ms * 1000) : 0;
        if (n > 0)
            *flags = FL_POLL_WOKEN;
        if (n || !is_whole)
            return false;
    }
    loop->delay_until = 0;
    return true;
}
