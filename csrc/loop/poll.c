/* turn.c: wait, note who has something to read, accept, read, hand over, look at the clock.
 *
 * epoll's data names whom an event is for: generation << 32 | slot for a connection; generation 0
 * and an index for a listener, with WATCHED added for a watched descriptor.
 */
#include "loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

enum {
    EVENTS = 256,       /* of one epoll_wait() */
    ACCEPTS = 64,       /* of one listener in one turn */
    LITTLE = 16 * 1024, /* a turn that brought less may wait for company */
};

/* How long epoll_wait() may take: less than asked when something of our own falls due earlier. */
static int wait_ms(const fl_loop *loop, int timeout_ms)
{
    int64_t due = INT64_MAX;
    if ((loop->ready.count && !loop->paused) || loop->events.head)
        return 0; /* there is something to read, or to be taken by the caller */
    if (loop->clients || (loop->partial.count && !loop->paused))
        due = loop->sweep_at - loop->now;
    if (loop->throttled.count && !loop->paused && loop->throttled_due - loop->now < due)
        due = loop->throttled_due - loop->now;
    if (loop->rearm_at && loop->rearm_at - loop->now < due)
        due = loop->rearm_at - loop->now;
    if (due < 0)
        due = 0;
    return timeout_ms >= 0 && timeout_ms <= due ? timeout_ms : due < INT32_MAX ? (int)due : -1;
}

/* Waking up costs more than all the rest when records trickle: let some gather. */
static void nap(const fl_loop *loop)
{
    if (!loop->options.nap_us || loop->ready.count || !loop->turn_bytes ||
        loop->turn_bytes >= LITTLE)
        return;
    struct timespec t = {.tv_nsec = (long)loop->options.nap_us * 1000};
    (void)nanosleep(&t, NULL); /* a signal ends it early, which is meant */
}

static void note_connection(fl_loop *loop, uint32_t slot, uint32_t generation, uint32_t events)
{
    if (slot >= loop->slots || loop->conns[slot].generation != generation)
        return; /* closed earlier in this turn, and perhaps the slot was given to another */
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        loop->conns[slot].flags |= IS_ENDING;
    if (events & EPOLLOUT && loop->conns[slot].client)
        client_flush(loop, loop->conns[slot].client);
    if (!(loop->conns[slot].flags & IS_THROTTLED))
        conn_set_ready(loop, slot, true);
}

/* Notes what happened. Returns FL_WOKEN or 0, or an error. */
static int dispatch(fl_loop *loop, const struct epoll_event *events, int n)
{
    int flags = 0;
    for (int i = 0; i < n; i++) {
        uint32_t generation = (uint32_t)(events[i].data.u64 >> 32);
        uint32_t index = (uint32_t)events[i].data.u64;
        if (generation) {
            note_connection(loop, index, generation, events[i].events);
        } else if (index & WATCHED) {
            flags |= FL_WOKEN;
        } else {
            int result = accept_some(loop, index, ACCEPTS);
            if (result < 0)
                return result;
        }
    }
    return flags;
}

/* Reads from a connection, and sets against its share what that adds to the block: what the sinks
 * will have to take. Half frames have a budget of their own. One that has closed pays too, for its
 * host. */
static enum service read_one(fl_loop *loop, uint32_t slot)
{
    size_t bytes = loop->arena_len;
    uint32_t frames = loop->arena_frames;
    enum service service = conn_read(loop, slot);
    share_pay(loop, slot, loop->arena_len - bytes, loop->arena_frames - frames);
    return service;
}

/* Each ready connection once, in turn, until the block is full or the step is done. */
static void read_ready(fl_loop *loop)
{
    for (uint32_t left = loop->ready.count; left && loop->ready.head != NO_SLOT; left--) {
        uint32_t slot = loop->ready.head;
        if (share_step_is_done(loop))
            return;
        if (share_is_spent(loop, slot)) {
            share_wait(loop, slot);
            continue;
        }
        switch (read_one(loop, slot)) {
        case NO_ROOM: return; /* it stays the first, for the next turn's empty block */
        case UNDONE:
            conn_set_ready(loop, slot, false);
            conn_set_ready(loop, slot, true); /* to the end of the queue */
            break;
        case DRAINED:
            conn_set_ready(loop, slot, false);
            share_emptied(loop, slot);
            break;
        case CLOSED: break;
        }
    }
}

static void hand_over(fl_loop *loop, void *context)
{
    loop->stats.frames += loop->arena_frames;
    loop->stats.bytes += loop->turn_bytes;
    if (loop->arena_frames)
        loop->on_block(context, loop->arena, loop->arena_len, loop->arena_frames);
    loop->arena_len = 0;
    loop->arena_frames = 0;
    if (loop->arena_cap > loop->options.arena) { /* it had grown for one large frame */
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

    nap(loop);
    loop->turn_bytes = 0;
    loop->now = monotonic_ms();
    int n = epoll_wait(loop->epoll_fd, events, EVENTS, wait_ms(loop, timeout_ms));
    if (n < 0 && errno != EINTR) {
        loop->error = errno;
        return FL_ESYS;
    }
    loop->now = monotonic_ms();
    if (loop->rearm_at && loop->now >= loop->rearm_at && listeners_arm(loop) < 0)
        return FL_ESYS;
    int flags = dispatch(loop, events, n);
    if (flags < 0)
        return flags;
    if (!loop->paused) {
        share_release(loop);
        read_ready(loop);
        hand_over(loop, context);
    }
    if (loop->now >= loop->sweep_at) {
        loop->sweep_at = loop->now + SWEEP_MS;
        if (!loop->paused)
            conn_sweep(loop);
        clients_sweep(loop);
    }
    return flags | (loop->ready.count && !loop->paused ? FL_MORE : 0) |
           (loop->rejection_count ? FL_REJECTED : 0) | (loop->events.head ? FL_ASKED : 0);
}
