/* read.c: receives from one connection, straight into the block, and splits there.
 *
 * A run of the block is a header and the bytes of the connection's complete frames as they came.
 * What is left behind the last of them goes to the connection's own memory and comes back in front
 * of the next read. A frame that is too large for that to and fro is received into the connection's
 * memory until it is complete, and copied once.
 */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    CHUNK = 64 * 1024,       /* of one recv() */
    TURN_BUDGET = 2 * CHUNK, /* of one connection in one turn */
    LARGE = 32 * 1024,       /* a frame from here on is completed in the connection's memory */
    ROOM_MIN = 4096,         /* what a recv() must have room for to be worth its cost */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Receives at most len bytes. Returns how many; 0: there are none now; -1: the connection ended. */
static ssize_t receive(fl_loop *loop, const conn *c, uint8_t *to, size_t len)
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
static bool has_emptied(const conn *c, size_t got, size_t asked)
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
static enum service fill_held(fl_loop *loop, uint32_t slot, size_t need, size_t *budget)
{
    conn *c = &loop->conns[slot];
    while (c->part_len < need && *budget) {
        if (c->part_len == c->part_cap &&
            !conn_reserve(loop, slot, (uint32_t)smaller(need, (size_t)c->part_cap * 2)))
            return CLOSED;
        size_t asked = smaller(smaller(need, c->part_cap) - c->part_len, *budget);
        ssize_t n = receive(loop, c, c->part + c->part_len, asked);
        if (n < 0) {
            conn_close_partial(loop, slot, FL_TRUNCATED);
            return CLOSED;
        }
        if (n == 0)
            return DRAINED;
        c->part_len += (uint32_t)n;
        c->part_last = loop->now;
        *budget -= (size_t)n;
        if (c->part_len < need && has_emptied(c, (size_t)n, asked))
            return DRAINED;
    }
    return UNDONE;
}

/* Is there room for len more bytes in the arena? An empty one grows for a large frame. */
static bool has_room(fl_loop *loop, size_t len)
{
    if (loop->arena_cap - loop->arena_len >= len)
        return true;
    if (loop->arena_len)
        return false;
    uint8_t *grown = realloc(loop->arena, len);
    if (!grown)
        return false;
    loop->arena = grown;
    loop->arena_cap = len;
    return true;
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
        size_t asked = smaller(smaller(CHUNK, loop->arena_cap - r->end), budget);
        if (asked < ROOM_MIN)
            return UNDONE;
        ssize_t n = receive(loop, c, loop->arena + r->end, asked);
        if (n <= 0)
            return n ? CLOSED : DRAINED;
        r->end += (size_t)n;
        budget -= (size_t)n;
        if (split(loop, r) < 0 || has_emptied(c, (size_t)n, asked))
            return DRAINED;
    }
    return UNDONE;
}

static void put_u32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

/* Makes the run a part of the block: fastlog/block.py has the layout. */
static void commit_run(fl_loop *loop, conn *c, const run *r)
{
    uint8_t *header = loop->arena + loop->arena_len;
    header[0] = 0; /* Kind.STOCK */
    header[1] = c->peer_len;
    header[2] = header[3] = 0;
    put_u32(header + 4, c->serial);
    put_u32(header + 8, r->frames);
    put_u32(header + 12, (uint32_t)(r->split - r->body));
    memcpy(header + RUN_HEADER, c->peer, c->peer_len);
    loop->arena_len = r->split;
    loop->arena_frames += r->frames;
    c->flags |= HAS_SPOKEN;
}

enum service conn_read(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    size_t budget = TURN_BUDGET, need = held_need(c);

    if (need > LARGE && c->part_len < need) {
        enum service service = fill_held(loop, slot, need, &budget);
        if (service == CLOSED || c->part_len < need)
            return service;
    }
    size_t before_body = (size_t)RUN_HEADER + c->peer_len;
    if (!has_room(loop, before_body + c->part_len + ROOM_MIN)) {
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

    if (r.frames)
        commit_run(loop, c, &r);
    const uint8_t *rest = loop->arena + r.split;
    size_t rest_len = r.end - r.split;
    fl_span span;
    if (fl_scan(rest, rest_len, loop->options.max_frame, &span) < 0) {
        refuse_frame(loop, FL_TOO_LONG, c, rest, rest_len);
        service = CLOSED;
    } else if (service == CLOSED && rest_len) {
        refuse_frame(loop, FL_TRUNCATED, c, rest, rest_len);
    }
    if (service == CLOSED) {
        conn_close(loop, slot);
        return CLOSED;
    }
    if (rest_len && !conn_hold(loop, slot, rest, rest_len, !(continues && r.frames == 0)))
        return CLOSED;
    return service;
}
