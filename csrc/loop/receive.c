/* receive.c: receives from a socket, into any memory or into a partial frame. */
#include "loop_internal.h"

#include <errno.h>
#include <sys/socket.h>

ssize_t conn_receive(fl_loop *loop, const conn *c, uint8_t *to, size_t len)
{
    for (;;) {
        ssize_t n = recv(c->fd, to, len, 0);
        if (n > 0) {
            loop->poll_bytes += (size_t)n;
            return n;
        }
        if (n == 0)
            return -1;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

/* A read that got fewer bytes than it asked for has emptied the socket (epoll(7)), unless an end or
 * an error follows the data: another read returns that. A read also stops at TCP's urgent mark; a
 * peer that sends one delays only its own next byte. */
bool conn_is_emptied(const conn *c, size_t got, size_t wanted)
{
    return got < wanted && !(c->flags & IS_ENDING);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

enum read_result conn_fill_partial(fl_loop *loop, uint32_t slot, size_t need, size_t *budget)
{
    conn *c = &loop->conns[slot];
    while (c->partial_len < need && *budget) {
        if (c->partial_len == c->partial_cap &&
            !partial_reserve(loop, slot, (uint32_t)smaller(need, (size_t)c->partial_cap * 2)))
            return READ_CLOSED;
        size_t wanted = smaller(smaller(need, c->partial_cap) - c->partial_len, *budget);
        ssize_t n = conn_receive(loop, c, c->partial_data + c->partial_len, wanted);
        if (n < 0) {
            conn_close_partial(loop, slot, FL_REASON_TRUNCATED);
            return READ_CLOSED;
        }
        if (n == 0)
            return READ_EMPTY;
        c->partial_len += (uint32_t)n;
        c->partial_last = loop->now;
        *budget -= (size_t)n;
        if (c->partial_len < need && conn_is_emptied(c, (size_t)n, wanted))
            return READ_EMPTY;
    }
    return READ_UNFINISHED;
}
