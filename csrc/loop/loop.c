/* loop.c: a loop from its creation to its end. poll.c runs one poll. */
#include "loop_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    ARENA_MIN = 65536,
    RETRY_MS = 100, /* a client should wait this long before it connects again */
    NOTICE_CLOSING = 1,
};

const char *fl_loop_strerror(int error)
{
    const char *text = fl_protocol_strerror(error);
    if (text)
        return text;
    return error == FL_ESYS ? "system call failed" : fl_strerror(error);
}

static bool options_are_valid(const fl_loop_options *o)
{
    return o->max_frame >= 1 && o->max_frame <= FL_FRAME_LIMIT && o->max_connections >= 1 &&
           o->max_connections < WATCHED && o->max_per_host >= 1 && o->arena >= ARENA_MIN &&
           o->arena <= INT32_MAX && o->partial_memory >= 4096 &&
           o->coalesce_us <= o->coalesce_max_us && o->coalesce_max_us < 1000000 &&
           o->keepalive_ms >= 1 && o->probe_idle_s <= INT16_MAX && o->probe_every_s <= INT16_MAX &&
           o->probe_count <= INT8_MAX;
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
    loop->free_slot = NO_SLOT;
    loop->ready = loop->throttled = (list){.head = NO_SLOT, .tail = NO_SLOT};
    loop->partial = loop->silent = (list){.head = NO_SLOT, .tail = NO_SLOT};
    loop->now = monotonic_ms();
    loop->housekeeping_at = loop->now + HOUSEKEEPING_MS;
    loop->handshake_at = INT64_MIN / 2;
    loop->gathering_since = loop->now * 1000;
    loop->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->arena = malloc(options->arena);
    loop->arena_cap = options->arena;
    fl_crc32_prepare(&loop->crc);
    if (!hosts_init(&loop->hosts) || loop->epoll_fd < 0 || loop->spare_fd < 0)
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
    clients_free(loop);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->spare_fd >= 0)
        close(loop->spare_fd);
    hosts_free(&loop->hosts);
    free(loop->conns);
    free(loop->arena);
    free(loop->scratch);
    free(loop);
}

int fl_loop_watch(fl_loop *loop, int fd)
{
    if (loop->watched_count == MAX_WATCHED)
        return FL_EINVAL;
    struct epoll_event event = {.events = EPOLLIN};
    event.data.u64 = (uint64_t)WATCHED | loop->watched_count;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return system_error(loop, errno);
    loop->watched[loop->watched_count++] = fd;
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
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return system_error(loop, errno);
    int result = conn_open(loop, fd, peer, &slot);
    if (result == 0)
        loop->stats.accepted++;
    if (result == 0 && len) {
        conn_set_protocol(loop, slot, PROTOCOL_STOCK);
        /* Without memory for it, the connection is closed and reported. */
        (void)partial_keep(loop, slot, partial, len, true);
    }
    return result;
}

void fl_loop_pause(fl_loop *loop, bool paused)
{
    if (loop->paused && !paused) {
        loop->now = monotonic_ms();
        /* The senders did not stall: the loop did not read. */
        for (uint32_t s = loop->partial.head; s != NO_SLOT; s = loop->conns[s].partial.next)
            partial_restart_clock(loop, &loop->conns[s]);
    }
    loop->paused = paused;
}

/* Sends NOTICE to every client: it should send no more, and connect again. */
static void announce_shutdown(fl_loop *loop)
{
    uint8_t frame[FL_ERROR_BYTES];
    size_t len = fl_notice_write(frame, NOTICE_CLOSING, RETRY_MS, "the server is stopping");
    for (client *k = loop->clients; k; k = k->next)
        if (client_is_served(k))
            client_send(loop, k, frame, len);
}

int fl_loop_drain(fl_loop *loop)
{
    loop->draining = true;
    announce_shutdown(loop);
    for (uint32_t i = 0; i < loop->listener_count; i++) {
        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, loop->listeners[i], NULL) < 0)
            return system_error(loop, errno);
        int result = accept_some(loop, i, loop->options.max_connections);
        if (result < 0)
            return result;
    }
    loop->listener_count = 0;
    loop->rearm_at = 0;
    for (uint32_t slot = 0; slot < loop->slots; slot++)
        if (loop->conns[slot].fd >= 0)
            conn_set_ready(loop, slot, true);
    return 0;
}

void fl_loop_close_connections(fl_loop *loop)
{
    for (uint32_t slot = 0; slot < loop->slots; slot++) {
        const conn *c = &loop->conns[slot];
        if (c->fd >= 0 && c->partial_len)
            conn_close_partial(loop, slot, FL_REASON_TRUNCATED);
        else if (c->fd >= 0)
            conn_close(loop, slot);
    }
}

void fl_loop_stats_get(const fl_loop *loop, fl_loop_stats *out)
{
    *out = loop->stats;
    out->partials = loop->partial.count;
    out->ready = loop->ready.count;
    out->throttled = loop->throttled.count;
}

int fl_loop_errno(const fl_loop *loop)
{
    return loop->error;
}
