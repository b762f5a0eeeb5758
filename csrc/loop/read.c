/* read.c: receives from one connection, straight into the block, and splits there.
 *
 * A run of the block is a header and the bytes of the connection's complete frames as they came.
 * What is left behind the last of them goes to the connection's own memory and comes back in front
 * of the next read. A frame that is too large for that to and fro is received into the connection's
 * memory until it is complete, and copied once.
 */
#include "loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { ROOM_MIN = 4096 }; /* what a recv() must have room for to be worth its cost */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Receives at most len bytes. Returns how many; 0: there are none now; -1: the connection ended. */
ssize_t conn_receive(fl_loop *loop, const conn *c, uint8_t *to, size_t len)
{
    for (;;) {
        ssize_t n = recv(c->fd, to, len, 0);
        if (n > 0) {
            loop->turn_bytes += (size_t)n;
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

/* A read that got less than it asked for has emptied the socket (epoll(7)), unless an end or an
 * error waits behind the data: that takes one more read. A read also stops short at TCP's urgent
 * mark; who sends one may wait for his own next byte. */
bool conn_has_emptied(const conn *c, size_t got, size_t asked)
{
    return got < asked && !(c->flags & IS_ENDING);
}

/* Bytes that the held frame has in all, or 0 while its length is not known. */
static size_t held_need(const conn *c)
{
    if (c->part_len < FL_FRAME_HEADER)
        return 0;
    return FL_FRAME_HEADER + ((size_t)c->part[0] << 24 | (size_t)c->part[1] << 16 |
                              (size_t)c->part[2] << 8 | (size_t)c->part[3]);
}

/* Receives into the held frame until it is complete: UNDONE then, or when the budget is spent. */
enum service conn_fill(fl_loop *loop, uint32_t slot, size_t need, size_t *budget)
{
    conn *c = &loop->conns[slot];
    while (c->part_len < need && *budget) {
        if (c->part_len == c->part_cap &&
            !conn_reserve(loop, slot, (uint32_t)smaller(need, (size_t)c->part_cap * 2)))
            return CLOSED;
        size_t asked = smaller(smaller(need, c->part_cap) - c->part_len, *budget);
        ssize_t n = conn_receive(loop, c, c->part + c->part_len, asked);
        if (n < 0) {
            conn_close_partial(loop, slot, FL_TRUNCATED);
            return CLOSED;
        }
        if (n == 0)
            return DRAINED;
        c->part_len += (uint32_t)n;
        c->part_last = loop->now;
        *budget -= (size_t)n;
        if (c->part_len < need && conn_has_emptied(c, (size_t)n, asked))
            return DRAINED;
    }
    return UNDONE;
}

typedef struct run {
    size_t body;  /* where in the arena its first frame begins */
    size_t split; /* behind its last complete frame */
    size_t end;   /* behind the last byte received */
    uint32_t frames;
} run;

/* Finds the frames among the new bytes. Returns 0 or FL_ETOOLONG. */
static int split(fl_loop *loop, run *r)
{
    fl_span span;
    int result = fl_scan(loop->arena + r->split, r->end - r->split, loop->options.max_frame, &span);
    r->split += span.used;
    r->frames += span.frames;
    return result;
}

static enum service receive_run(fl_loop *loop, const conn *c, run *r, size_t budget)
{
    while (budget) {
        size_t asked = smaller(loop->arena_cap - r->end, budget);
        if (asked < ROOM_MIN)
            return UNDONE;
        ssize_t n = conn_receive(loop, c, loop->arena + r->end, asked);
        if (n <= 0)
            return n ? CLOSED : DRAINED;
        r->end += (size_t)n;
        budget -= (size_t)n;
        if (split(loop, r) < 0 || conn_has_emptied(c, (size_t)n, asked))
            return DRAINED;
    }
    return UNDONE;
}

/* What does a new connection speak? Looks at its first byte without taking it. */
static enum service decide(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    uint8_t head[FL_HEAD_SIZE];
    ssize_t n = recv(c->fd, head, sizeof head, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return errno == EINTR ? UNDONE : DRAINED;
    if (n > 0 && head[0] == 0xFA && client_begin(loop, slot)) {
        conn_speaks(loop, slot, FASTLOG);
        return UNDONE;
    }
    conn_speaks(loop, slot, STOCK); /* or a stranger, which its first frame will show */
    if (n > 0 && !(head[0] == 0 && c->terms & FL_NO_STOCK))
        return UNDONE;
    if (n > 0)
        reject(loop, FL_STOCK, c->peer, head, (size_t)n);
    conn_close(loop, slot);
    return CLOSED;
}

static enum service stock_read(fl_loop *loop, uint32_t slot);

enum service conn_read(fl_loop *loop, uint32_t slot)
{
    const conn *c = &loop->conns[slot];
    if (c->protocol == UNDECIDED) {
        enum service service = decide(loop, slot);
        if (c->protocol == UNDECIDED || service == CLOSED)
            return service;
    }
    return c->protocol == FASTLOG ? client_read(loop, slot) : stock_read(loop, slot);
}

static enum service stock_read(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    size_t budget = share_budget(loop), need = held_need(c);

    if (need > LARGE && c->part_len < need) {
        enum service service = conn_fill(loop, slot, need, &budget);
        if (service == CLOSED || c->part_len < need)
            return service;
    }
    size_t before_body = (size_t)FL_RUN_HEADER + c->peer_len;
    if (!block_has_room(loop, before_body + c->part_len + ROOM_MIN)) {
        if (loop->arena_len)
            return NO_ROOM;
        conn_close_partial(loop, slot, FL_MEMORY); /* the next turn would have no more of it */
        return CLOSED;
    }

    bool continues = c->part_len > 0;
    run r = {.body = loop->arena_len + before_body};
    r.split = r.body;
    r.end = r.body + conn_release(loop, slot, loop->arena + r.body);
    split(loop, &r); /* a large frame may be complete without another byte */
    enum service service = receive_run(loop, c, &r, budget);

    if (r.frames) {
        block_end_run(loop, c, FL_RUN_STOCK, r.frames, r.body, r.split);
        c->flags |= HAS_SPOKEN;
    }
    const uint8_t *rest = loop->arena + r.split;
    size_t rest_len = r.end - r.split;
    fl_span span;
    if (fl_scan(rest, rest_len, loop->options.max_frame, &span) < 0) {
        reject_frame(loop, FL_TOO_LONG, c, rest, rest_len);
        service = CLOSED;
    } else if (service == CLOSED && rest_len) {
        reject_frame(loop, FL_TRUNCATED, c, rest, rest_len);
    }
    if (service == CLOSED) {
        conn_close(loop, slot);
        return CLOSED;
    }
    if (rest_len && !conn_hold(loop, slot, rest, rest_len, !(continues && r.frames == 0)))
        return CLOSED;
    return service;
}
