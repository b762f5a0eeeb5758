/* conn.c: the table of connections. */
#include "loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static bool grow_table(fl_loop *loop)
{
    uint32_t old = loop->slots;
    uint32_t slots = old ? old * 2 : 64;
    if (slots > loop->options.max_connections)
        slots = loop->options.max_connections;
    if (slots <= old)
        return false;
    conn *grown = realloc(loop->conns, slots * sizeof *grown);
    if (!grown)
        return false;
    loop->conns = grown;
    for (uint32_t i = slots; i-- > old;) {
        memset(&grown[i], 0, sizeof *grown);
        grown[i].fd = -1;
        grown[i].ready.next = loop->free_slot;
        loop->free_slot = i;
    }
    loop->slots = slots;
    return true;
}

int conn_open(fl_loop *loop, int fd, const char *peer, uint32_t *out)
{
    if (loop->free_slot == NO_SLOT && !grow_table(loop))
        return FL_ENOMEM;
    uint32_t slot = loop->free_slot;
    conn *c = &loop->conns[slot];
    if (++loop->last_generation == 0) /* 0 stands for listeners and watched descriptors */
        loop->last_generation = 1;
    uint32_t host;
    if (!hosts_enter(&loop->hosts, peer, &host))
        return FL_ENOMEM;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
    event.data.u64 = (uint64_t)loop->last_generation << 32 | slot;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        loop->error = errno;
        hosts_leave(&loop->hosts, host);
        return FL_ESYS;
    }
    loop->free_slot = c->ready.next;
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->generation = loop->last_generation;
    c->serial = ++loop->last_serial;
    c->host = host;
    c->host_bucket = hosts_bucket(&loop->hosts, peer);
    c->peer_len = (uint8_t)strnlen(peer, FL_PEER_SIZE - 1);
    memcpy(c->peer, peer, c->peer_len);
    c->partial_since = loop->now;
    conn_set_silent(loop, slot, true);
    loop->stats.connections++;
    *out = slot;
    return 0;
}

void conn_set_protocol(fl_loop *loop, uint32_t slot, enum protocol protocol)
{
    loop->conns[slot].protocol = (uint8_t)protocol;
    conn_set_silent(loop, slot, false);
}

void conn_drop_partial(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    loop->stats.partial_bytes -= c->partial_cap;
    free(c->partial_data);
    c->partial_data = NULL;
    c->partial_len = c->partial_cap = 0;
    conn_set_partial(loop, slot, false);
}

void conn_free(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    conn_drop_partial(loop, slot);
    conn_set_ready(loop, slot, false);
    conn_set_silent(loop, slot, false);
    hosts_leave(&loop->hosts, c->host);
    /* close() alone keeps the registration if another process has the descriptor too. */
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    c->fd = -1;
    c->generation = 0;
    c->ready.next = loop->free_slot;
    loop->free_slot = slot;
    loop->stats.connections--;
}
