/* poll.c: one poll: waits, accepts, reads, calls the callback, and does the housekeeping.
 *
 * epoll's data names the target of an event: generation << 32 | slot for a connection; generation 0
 * and an index for a listener, with WATCHED added for a watched descriptor.
 */
#include "loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum {
    EVENTS = 256, /* of one epoll_wait() */
    ACCEPTS = 64, /* connections of one listener in one poll */
};

/* Returns the timeout of epoll_wait(): less than timeout_ms when a timer of the loop ends earlier.
 */
static int wait_ms(const fl_loop *loop, int timeout_ms)
{
    int64_t due = INT64_MAX;
    if ((loop->ready.count && !loop->paused) || loop->events.head)
        return 0; /* there is input, or an event for the caller */
    if (loop->clients || (loop->partial.count && !loop->paused))
        due = loop->housekeeping_at - loop->now;
    if (loop->throttled.count && !loop->paused && loop->throttled_due - loop->now < due)
        due = loop->throttled_due - loop->now;
    if (loop->rearm_at && loop->rearm_at - loop->now < due)
        due = loop->rearm_at - loop->now;
    if (due < 0)
        due = 0;
    return timeout_ms >= 0 && timeout_ms <= due ? timeout_ms : due < INT32_MAX ? (int)due : -1;
}

static void note_event(fl_loop *loop, uint32_t slot, uint32_t generation, uint32_t events)
{
    if (slot >= loop->slots || loop->conns[slot].generation != generation)
        return; /* closed earlier in this poll; another connection may have the slot now */
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        loop->conns[slot].flags |= IS_ENDING;
    if (events & EPOLLOUT && loop->conns[slot].client)
        client_flush(loop, loop->conns[slot].client);
    if (!(loop->conns[slot].flags & IS_THROTTLED))
        conn_set_ready(loop, slot, true);
}

/* Notes the events, and accepts. Returns FL_POLL_WOKEN, 0, or an error. */
static int dispatch(fl_loop *loop, const struct epoll_event *events, int n)
{
    int flags = 0;
    for (int i = 0; i < n; i++) {
        uint32_t generation = (uint32_t)(events[i].data.u64 >> 32);
        uint32_t index = (uint32_t)events[i].data.u64;
        if (generation) {
            note_event(loop, index, generation, events[i].events);
        } else if (index & WATCHED) {
            flags |= FL_POLL_WOKEN;
        } else {
            int result = accept_some(loop, index, ACCEPTS);
            if (result < 0)
                return result;
        }
    }
    return flags;
}

/* Reads from a connection, and charges its rate for what that adds to the block: the work of the
 * sinks. Partial frames have a budget of their own. A connection that was closed is charged too,
 * for its host. */
static enum read_result read_one(fl_loop *loop, uint32_t slot)
{
    size_t bytes = loop->arena_len;
    uint32_t frames = loop->arena_frames, arrivals = loop->arrivals;
    uint64_t received = loop->poll_bytes;
    enum read_result result = conn_read(loop, slot);
    throttle_charge(loop, slot, loop->arena_len - bytes, loop->arena_frames - frames);
    coalesce_note_read(loop, loop->poll_bytes - received, loop->arrivals - arrivals);
    return result;
}

/* Reads each ready connection once, until the block is full or the poll has read its limit. */
static void read_ready(fl_loop *loop)
{
    for (uint32_t n = loop->ready.count; n && loop->ready.head != NO_SLOT; n--) {
        uint32_t slot = loop->ready.head;
        if (throttle_poll_is_full(loop))
            return;
        if (throttle_is_over(loop, slot)) {
            throttle_wait(loop, slot);
            continue;
        }
        switch (read_one(loop, slot)) {
        case READ_NO_ROOM: return; /* it stays the first, for the next poll's empty block */
        case READ_UNFINISHED:
            conn_set_ready(loop, slot, false);
            conn_set_ready(loop, slot, true); /* to the end of the list */
            break;
        case READ_EMPTY:
            conn_set_ready(loop, slot, false);
            throttle_note_empty(loop, slot);
            break;
        case READ_CLOSED: break;
        }
    }
    throttle_end_turns(loop);
}

static void deliver(fl_loop *loop, void *context)
{
    loop->stats.frames += loop->arena_frames;
    loop->stats.bytes += loop->poll_bytes;
    if (loop->arena_frames)
        loop->on_block(context, loop->arena, loop->arena_len, loop->arena_frames);
    loop->arena_len = 0;
    loop->arena_frames = 0;
    if (loop->arena_cap > loop->options.arena) { /* it has grown for a large frame */
        uint8_t *usual = realloc(loop->arena, loop->options.arena);
        if (usual) {
            loop->arena = usual;
            loop->arena_cap = loop->options.arena;
        }
    }
}

int fl_loop_poll(fl_loop *loop, int timeout_ms, void *context)
{
    struct epoll_event events[EVENTS];
    int flags;

    if (!coalesce_wait(loop, timeout_ms, &flags))
        return flags;
    loop->poll_bytes = 0;
    loop->now = monotonic_ms();
    uint64_t accepted = loop->stats.accepted;
    int n = epoll_wait(loop->epoll_fd, events, EVENTS, wait_ms(loop, timeout_ms));
    if (n < 0 && errno != EINTR)
        return system_error(loop, errno);
    loop->now = monotonic_ms();
    if (loop->rearm_at && loop->now >= loop->rearm_at && listeners_arm(loop) < 0)
        return FL_ESYS;
    flags = dispatch(loop, events, n);
    if (flags < 0)
        return flags;
    if (!loop->paused) {
        throttle_release(loop);
        read_ready(loop);
        deliver(loop, context);
        /* A new connection has probably sent its first bytes; after so many events are others. */
        if (loop->stats.accepted == accepted && n < EVENTS)
            coalesce_begin(loop);
    }
    if (loop->now >= loop->housekeeping_at) {
        loop->housekeeping_at = loop->now + HOUSEKEEPING_MS;
        housekeeping(loop);
    }
    return flags | (loop->ready.count && !loop->paused ? FL_POLL_MORE : 0) |
           (loop->rejection_count ? FL_POLL_REJECTIONS : 0) |
           (loop->events.head ? FL_POLL_EVENTS : 0);
}
