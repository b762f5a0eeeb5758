/* read_stock.c: reads a stock client: receives straight into the block, and splits there.
 *
 * A run of the block is a header and the connection's complete frames as they arrived. The bytes
 * after the last of them are moved to the connection's own memory, and back in front of the next
 * read. A large frame is received into the connection's memory until it is complete, and copied
 * once, since moving it with each read would cost too much.
 */
#include "loop_internal.h"

#include "../bytes.h"

enum { ROOM_MIN = 4096 }; /* a recv() with room for fewer bytes is not worth its cost */

/* Returns the bytes of the partial frame when complete, or 0 while its length is not known. */
static size_t partial_need(const conn *c)
{
    if (c->partial_len < FL_FRAME_HEADER)
        return 0;
    return FL_FRAME_HEADER + (size_t)read_u32(c->partial_data);
}

/* The run that is being received; positions are in the arena. */
typedef struct run {
    size_t body;  /* the first frame */
    size_t split; /* after the last complete frame */
    size_t end;   /* after the last received byte */
    uint32_t frames;
} run;

/* Finds the complete frames among the new bytes. Returns 0 or FL_ETOOLONG. */
static int split(fl_loop *loop, run *r)
{
    fl_span span;
    int result = fl_scan(loop->arena + r->split, r->end - r->split, loop->options.max_frame, &span);
    r->split += span.used;
    r->frames += span.frames;
    return result;
}

static enum read_result receive_run(fl_loop *loop, const conn *c, run *r, size_t budget)
{
    while (budget) {
        size_t room = loop->arena_cap - r->end, wanted = room < budget ? room : budget;
        if (wanted < ROOM_MIN)
            return READ_UNFINISHED;
        ssize_t n = conn_receive(loop, c, loop->arena + r->end, wanted);
        if (n <= 0)
            return n ? READ_CLOSED : READ_EMPTY;
        r->end += (size_t)n;
        budget -= (size_t)n;
        if (split(loop, r) < 0 || conn_is_emptied(c, (size_t)n, wanted))
            return READ_EMPTY;
    }
    return READ_UNFINISHED;
}

enum read_result stock_read(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    size_t budget = throttle_budget(loop), need = partial_need(c);

    if (need > LARGE && c->partial_len < need) {
        enum read_result result = conn_fill_partial(loop, slot, need, &budget);
        if (result == READ_CLOSED || c->partial_len < need)
            return result;
    }
    size_t before_body = (size_t)FL_RUN_HEADER + c->peer_len;
    if (!block_has_room(loop, before_body + c->partial_len + ROOM_MIN)) {
        if (loop->arena_len)
            return READ_NO_ROOM;
        /* The block of the next poll would have no more room. */
        conn_close_partial(loop, slot, FL_REASON_MEMORY);
        return READ_CLOSED;
    }

    bool continues = c->partial_len > 0;
    run r = {.body = loop->arena_len + before_body};
    r.split = r.body;
    r.end = r.body + partial_move(loop, slot, loop->arena + r.body);
    split(loop, &r); /* a large frame may be complete without another byte */
    enum read_result result = receive_run(loop, c, &r, budget);

    if (r.frames) {
        block_end_run(loop, c, FL_RUN_STOCK, r.frames, r.body, r.split);
        c->flags |= HAS_SENT_FRAME;
    }
    const uint8_t *rest = loop->arena + r.split;
    size_t rest_len = r.end - r.split;
    fl_span span;
    if (fl_scan(rest, rest_len, loop->options.max_frame, &span) < 0) {
        reject_frame(loop, FL_REASON_TOO_LONG, c, rest, rest_len);
        result = READ_CLOSED;
    } else if (result == READ_CLOSED && rest_len) {
        reject_frame(loop, FL_REASON_TRUNCATED, c, rest, rest_len);
    }
    if (result == READ_CLOSED) {
        conn_close(loop, slot);
        return READ_CLOSED;
    }
    bool is_new = !continues || r.frames;
    if (rest_len && !partial_keep(loop, slot, rest, rest_len, is_new))
        return READ_CLOSED;
    return result;
}
