/* dialect.c: receives from a fastlog client, and puts its batches and gaps into the block.
 *
 * Bytes are looked at in the loop's scratch memory, and records copied once, into the block; what
 * is left of an incomplete frame waits with the connection. A frame too large for that is completed
 * in the connection's memory first.
 */
#include "loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum step {
    NEXT, /* a frame was taken */
    WAIT, /* the next one is not complete, or waits for the caller */
    FULL, /* the block has no room for it */
};

static void say_error(fl_loop *loop, client *k, int code, const char *text)
{
    uint8_t frame[FL_ERROR_BYTES];
    int action = code == FL_C_TURN ? FL_FIX_CONFIG : FL_RETRY;
    client_tell(loop, k, frame, fl_error_write(frame, code, action, k->session.accepted, text));
}

/* The connection ends: counted as this, and said to the client as that. */
static enum step fail(fl_loop *loop, uint32_t slot, int reason, int code, const char *text)
{
    const conn *c = &loop->conns[slot];
    reject(loop, reason, c->peer, NULL, 0);
    say_error(loop, c->client, code, text);
    client_part(loop, c->client);
    return WAIT;
}

static void stamp(uint8_t to[FL_RUN_STAMP], const client *k, uint64_t first)
{
    memcpy(to, k->id, sizeof k->id);
    for (int i = 0; i < 8; i++) {
        to[16 + i] = (uint8_t)(k->incarnation >> (56 - 8 * i));
        to[24 + i] = (uint8_t)(first >> (56 - 8 * i));
    }
    memcpy(to + 32, k->key, sizeof k->key);
}

/* Puts frames with the sequences first to last into the block, as a run of their own. */
static enum step put_run(fl_loop *loop, uint32_t slot, int kind, uint64_t first, uint64_t last,
                         uint32_t frames, const uint8_t *bytes, size_t len)
{
    const conn *c = &loop->conns[slot];
    client *k = c->client;
    size_t before = (size_t)FL_RUN_HEADER + c->peer_len;
    if (!block_has_room(loop, before + FL_RUN_STAMP + len) && loop->arena_len)
        return FULL;
    if (!block_has_room(loop, before + FL_RUN_STAMP + len) || !fl_session_reserve(&k->session))
        return fail(loop, slot, FL_MEMORY, FL_C_FULL, "no memory for this frame now");
    size_t body = loop->arena_len + before;
    stamp(loop->arena + body, k, first);
    memcpy(loop->arena + body + FL_RUN_STAMP, bytes, len);
    block_end_run(loop, c, kind, frames, body, body + FL_RUN_STAMP + len);
    k->session.accepted = last;
    client_touch(loop, k);
    return NEXT;
}

/* All of it was taken before: that is worth an acknowledgement, since the last may have been lost.
 */
static enum step known(fl_loop *loop, client *k)
{
    k->ack_due = true;
    client_flush(loop, k);
    return NEXT;
}

static enum step take_batch(fl_loop *loop, uint32_t slot, const fl_head *head,
                            const uint8_t *payload)
{
    client *k = loop->conns[slot].client;
    fl_batch batch;
    uint64_t skip;
    int result = fl_batch_read(&loop->crc, head, payload, loop->options.max_frame, &batch);
    if (result == FL_ETOOLONG)
        return fail(loop, slot, FL_TOO_LONG, FL_C_LIMIT, "a record over the limit");
    if (result < 0)
        return fail(loop, slot, FL_MALFORMED, FL_C_MALFORMED, "a batch that contradicts itself");
    if (fl_session_offer(&k->session, batch.base, batch.count, &skip) < 0)
        return fail(loop, slot, FL_SEQUENCE, FL_C_SEQUENCE, "records are missing before these");
    uint32_t count = batch.count;
    fl_batch_skip(&batch, (uint32_t)skip);
    enum step step = NEXT;
    if (batch.count)
        step = put_run(loop, slot, FL_RUN_BATCH, batch.base, batch.base + batch.count - 1,
                       batch.count, batch.frames, batch.len);
    if (step == NEXT)
        loop->stats.repeated += count - batch.count;
    return batch.count ? step : known(loop, k);
}

static enum step take_gap(fl_loop *loop, uint32_t slot, const fl_head *head, const uint8_t *payload)
{
    client *k = loop->conns[slot].client;
    uint8_t frame[FL_FRAME_HEADER + FL_GAP_BYTES] = {0, 0, 0, FL_GAP_BYTES};
    fl_gap gap;
    uint64_t skip;
    if (fl_gap_read(head, payload, &gap) < 0)
        return fail(loop, slot, FL_MALFORMED, FL_C_MALFORMED, "a gap that contradicts itself");
    if (fl_session_offer(&k->session, gap.first, gap.last - gap.first + 1, &skip) < 0)
        return fail(loop, slot, FL_SEQUENCE, FL_C_SEQUENCE, "records are missing before this gap");
    gap.first += skip;
    if (gap.first > gap.last)
        return known(loop, k);
    fl_gap_write(frame + FL_FRAME_HEADER, &gap);
    return put_run(loop, slot, FL_RUN_GAP, gap.first, gap.last, 1, frame, sizeof frame);
}

static enum step take_bye(fl_loop *loop, uint32_t slot, const fl_head *head, const uint8_t *payload)
{
    client *k = loop->conns[slot].client;
    uint64_t last;
    if (fl_bye_read(head, payload, &last) < 0)
        return fail(loop, slot, FL_MALFORMED, FL_C_MALFORMED, "a bye that contradicts itself");
    if (last > k->session.accepted)
        return fail(loop, slot, FL_SEQUENCE, FL_C_SEQUENCE, "records are missing before this bye");
    k->state = LEAVING;
    client_leave(loop, k);
    return NEXT;
}

static enum step take_frame(fl_loop *loop, uint32_t slot, const fl_head *head,
                            const uint8_t *payload)
{
    client *k = loop->conns[slot].client;
    int greeting = k->was_asked ? FL_T_AUTH : FL_T_HELLO;
    if (k->state == GREETING && head->type == greeting) {
        client_ask(loop, k, head, payload);
        return NEXT;
    }
    if (k->state == ADMITTED && head->type == FL_T_BATCH)
        return take_batch(loop, slot, head, payload);
    if (k->state == ADMITTED && head->type == FL_T_GAP)
        return take_gap(loop, slot, head, payload);
    if (k->state == ADMITTED && head->type == FL_T_BYE)
        return take_bye(loop, slot, head, payload);
    return fail(loop, slot, FL_OUT_OF_TURN, FL_C_TURN, "this frame may not come now");
}

static uint32_t payload_limit(const fl_loop *loop, const client *k)
{
    return k->state == GREETING ? FL_GREETING_MAX : loop->options.max_frame + FL_BATCH_EXTRA;
}

/* Reads the header at data. 1: there is a whole frame of *need bytes; 0: *need bytes are needed (8
 * while the header is not complete); -1: it cannot be a frame that this client may send. */
static int frame_at(const fl_loop *loop, const client *k, const uint8_t *data, size_t len,
                    fl_head *head, size_t *need)
{
    int result = fl_head_read(data, len, head);
    *need = FL_HEAD_BYTES;
    if (result <= 0)
        return result;
    if (head->len > payload_limit(loop, k))
        return -1;
    *need += head->len;
    return len >= *need;
}

/* The bytes are not those of a frame: said as what it is, and the connection ends. */
static void reject_bytes(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len)
{
    const conn *c = &loop->conns[slot];
    client *k = c->client;
    fl_head head;
    bool is_frame = fl_head_read(data, len, &head) == 1;
    if (is_frame && (k->state == ADMITTED || head.type == FL_T_HELLO)) {
        reject(loop, FL_TOO_LONG, c->peer, data, len);
        say_error(loop, k, FL_C_LIMIT, "a frame over the limit");
    } else if (is_frame) {
        reject(loop, FL_OUT_OF_TURN, c->peer, data, len);
        say_error(loop, k, FL_C_TURN, "this frame may not come now");
    } else if (k->is_known) {
        reject(loop, FL_MALFORMED, c->peer, data, len);
        say_error(loop, k, FL_C_MALFORMED, "no magic number before a frame");
    } else { /* a stranger: not a word */
        reject(loop, FL_UNKNOWN, c->peer, data, len);
    }
    client_part(loop, k);
}

/* Takes the frames at data, as many as may be taken now. Returns how many bytes they are. */
static size_t take_frames(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len,
                          enum step *step)
{
    const client *k = loop->conns[slot].client;
    size_t at = 0, need;
    fl_head head;
    for (*step = NEXT; *step == NEXT && k->state != PARTING && k->state != ASKING;) {
        int found = frame_at(loop, k, data + at, len - at, &head, &need);
        if (found < 0)
            reject_bytes(loop, slot, data + at, len - at);
        if (found <= 0) {
            *step = WAIT;
            break;
        }
        *step = take_frame(loop, slot, &head, data + at + FL_HEAD_BYTES);
        if (*step != FULL)
            at += need;
    }
    return k->state == PARTING ? len : at;
}

/* The client has nothing more to say that we want to hear: reads it to its end. */
static enum service discard(fl_loop *loop, uint32_t slot)
{
    const conn *c = &loop->conns[slot];
    ssize_t n = conn_receive(loop, c, loop->scratch, CHUNK);
    if (n < 0) {
        conn_close(loop, slot);
        return CLOSED;
    }
    return n ? UNDONE : DRAINED;
}

/* Takes what is held, which is at least one whole frame. */
static enum service take_held(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    enum step step;
    size_t used = take_frames(loop, slot, c->part, c->part_len, &step);
    if (step == FULL && !used)
        return NO_ROOM;
    size_t rest = c->part_len - used;
    uint8_t *part = c->part;
    if (rest) {
        memmove(part, part + used, rest);
        c->part_len = (uint32_t)rest;
        c->part_since = c->part_last = loop->now;
        c->graced_len = 0;
    } else {
        conn_drop_part(loop, slot);
    }
    return step == FULL ? NO_ROOM : UNDONE;
}

/* Receives once, behind what is held of a frame, and takes what that completes. */
static enum service receive_frames(fl_loop *loop, uint32_t slot, size_t *budget)
{
    conn *c = &loop->conns[slot];
    size_t held = c->part_len, asked = *budget < CHUNK ? *budget : CHUNK;
    ssize_t n = conn_receive(loop, c, loop->scratch + held, asked);
    if (n < 0) {
        conn_close(loop, slot); /* what it had begun to send, it will send again */
        return CLOSED;
    }
    if (n == 0)
        return DRAINED;
    *budget -= (size_t)n;
    conn_release(loop, slot, loop->scratch);
    enum step step;
    size_t len = held + (size_t)n;
    size_t used = take_frames(loop, slot, loop->scratch, len, &step);
    bool fresh = !held || used;
    if (used < len && !conn_hold(loop, slot, loop->scratch + used, len - used, fresh))
        return CLOSED;
    if (step == FULL)
        return NO_ROOM;
    return conn_has_emptied(c, (size_t)n, asked) ? DRAINED : UNDONE;
}

enum service client_read(fl_loop *loop, uint32_t slot)
{
    enum service service = UNDONE;
    for (size_t budget = share_budget(loop); service == UNDONE && budget;) {
        const conn *c = &loop->conns[slot];
        const client *k = c->client;
        fl_head head;
        size_t need = 0;
        if (k->state == PARTING)
            return discard(loop, slot);
        if (k->state == ASKING)
            return DRAINED; /* the answer makes it ready again */
        if (c->part_len && frame_at(loop, k, c->part, c->part_len, &head, &need) != 0)
            service = take_held(loop, slot);
        else if (need > LARGE)
            service = conn_fill(loop, slot, need, &budget);
        else
            service = receive_frames(loop, slot, &budget);
    }
    return service;
}
