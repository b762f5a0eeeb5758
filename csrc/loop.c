/* loop.c: a turn. Wait, note who has something to read, accept, read, hand over, look at the clock.
 *
 * epoll's data names whom an event is for: generation << 32 | slot for a connection; generation 0
 * and an index for a listener, with WATCHED added for a watched descriptor.
 */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 256, /* of one epoll_wait() */
    ACCEPTS = 64, /* of one listener in one turn */
    ARENA_MIN = 65536,
    LITTLE = 16 * 1024, /* a turn that brought less may wait for company */
    SWEEP_MS = 1000,
};

#define WATCHED 0x80000000u

_Static_assert(FL_REASONS == sizeof((fl_loop_stats *)0)->refused / sizeof(uint64_t),
               "one count each");
_Static_assert(FL_HEAD_SIZE == sizeof((fl_refusal *)0)->head, "the header says so");
_Static_assert(FL_PEER_SIZE == sizeof((fl_refusal *)0)->peer, "the header says so");

static int64_t monotonic_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool options_are_valid(const fl_loop_options *o)
{
    return o->max_frame >= 1 && o->max_frame <= FL_FRAME_LIMIT && o->max_connections >= 1 &&
           o->max_connections < WATCHED && o->arena >= ARENA_MIN && o->arena <= INT32_MAX &&
           o->partial_memory >= 4096 && o->nap_us < 1000000;
}

fl_loop *fl_loop_new(const fl_loop_options *options, fl_block_fn on_block, int *error)
{
    *error = FL_EINVAL;
    if (!on_block || !options_are_valid(options))
        return NULL;
    *error = FL_ENOMEM;
    fl_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return NULL;
    loop->options = *options;
    loop->on_block = on_block;
    loop->free_slot = NOBODY;
    loop->ready = loop->partial = (list){.head = NOBODY, .tail = NOBODY};
    loop->now = monotonic_ms();
    loop->sweep_at = loop->now + SWEEP_MS;
    loop->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->arena = malloc(options->arena);
    loop->arena_cap = options->arena;
    if (loop->epoll_fd < 0 || loop->spare_fd < 0)
        *error = FL_ESYS;
    else if (loop->arena)
        return loop;
    int saved = errno;
    fl_loop_free(loop);
    errno = saved;
    return NULL;
}

void fl_loop_free(fl_loop *loop)
{
    if (!loop)
        return;
    for (uint32_t slot = 0; slot < loop->slots; slot++)
        if (loop->conns[slot].fd >= 0)
            conn_close(loop, slot);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->spare_fd >= 0)
        close(loop->spare_fd);
    free(loop->conns);
    free(loop->arena);
    free(loop);
}

int fl_loop_watch(fl_loop *loop, int fd)
{
    if (loop->watched_count == MAX_WATCHED)
        return FL_EINVAL;
    struct epoll_event event = {.events = EPOLLIN};
    event.data.u64 = (uint64_t)WATCHED | loop->watched_count;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        loop->error = errno;
        return FL_ESYS;
    }
    loop->watched_count++;
    return 0;
}

int fl_loop_add(fl_loop *loop, int fd, const char *peer, const uint8_t *partial, size_t len)
{
    fl_span span = {0};
    uint32_t slot;
    if (len && (fl_scan(partial, len, loop->options.max_frame, &span) < 0 || span.used))
        return FL_EINVAL;
    if (loop->stats.connections >= loop->options.max_connections)
        return FL_EINVAL;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        loop->error = errno;
        return FL_ESYS;
    }
    int result = conn_open(loop, fd, peer, &slot);
    if (result == 0 && len)
        (void)conn_hold(loop, slot, partial, len, true); /* no memory: closed, and reported */
    return result;
}

/* How long epoll_wait() may take: less than asked when something of our own falls due earlier. */
static int wait_ms(const fl_loop *loop, int timeout_ms)
{
    int64_t due = INT64_MAX;
    if (loop->ready.count && !loop->paused)
        return 0;
    if (loop->partial.count)
        due = loop->sweep_at - loop->now;
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

/* Each ready connection once, in turn, until the block is full. */
static void read_ready(fl_loop *loop)
{
    for (uint32_t left = loop->ready.count; left && loop->ready.head != NOBODY; left--) {
        uint32_t slot = loop->ready.head;
        switch (conn_read(loop, slot)) {
        case NO_ROOM: return; /* it stays the first, for the next turn's empty block */
        case UNDONE:
            conn_set_ready(loop, slot, false);
            conn_set_ready(loop, slot, true); /* to the end of the queue */
            break;
        case DRAINED:
            conn_set_ready(loop, slot, false);
            if (loop->draining)
                conn_ask_for_more(loop, slot);
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
        read_ready(loop);
        hand_over(loop, context);
        if (loop->now >= loop->sweep_at) {
            loop->sweep_at = loop->now + SWEEP_MS;
            conn_sweep(loop);
        }
    }
    return flags | (loop->ready.count && !loop->paused ? FL_MORE : 0);
}

void fl_loop_pause(fl_loop *loop, bool paused)
{
    if (loop->paused && !paused) {
        loop->now = monotonic_ms();
        for (uint32_t s = loop->partial.head; s != NOBODY; s = loop->conns[s].partial.next) {
            loop->conns[s].part_since = loop->conns[s].part_last = loop->now;
            loop->conns[s].graced_len = 0; /* it was we who were silent */
        }
    }
    loop->paused = paused;
}

int fl_loop_drain(fl_loop *loop)
{
    for (uint32_t i = 0; i < loop->listener_count; i++) {
        int result = accept_some(loop, i, loop->options.max_connections);
        if (result < 0)
            return result;
        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, loop->listeners[i], NULL) < 0) {
            loop->error = errno;
            return FL_ESYS;
        }
    }
    loop->listener_count = 0;
    loop->rearm_at = 0;
    loop->paused = false;
    loop->draining = true;
    for (uint32_t slot = 0; slot < loop->slots; slot++)
        if (loop->conns[slot].fd >= 0)
            conn_set_ready(loop, slot, true);
    return 0;
}

void fl_loop_hang_up(fl_loop *loop)
{
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        const conn *c = &loop->conns[slot];
        if (c->fd >= 0 && c->part_len)
            conn_close_partial(loop, slot, FL_TRUNCATED);
        else if (c->fd >= 0)
            conn_close(loop, slot);
    }
}

void fl_loop_stats_get(const fl_loop *loop, fl_loop_stats *out)
{
    *out = loop->stats;
    out->partials = loop->partial.count;
    out->ready = loop->ready.count;
}

int fl_loop_errno(const fl_loop *loop)
{
    return loop->error;
}
