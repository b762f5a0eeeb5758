/* read_client.c: reads a fastlog client, and puts its batches and gaps into the block.
 *
 * Bytes are received into the loop's scratch memory, and records are copied once, into the block.
 * The rest of an incomplete frame stays with the connection. A frame too large for the scratch
 * memory is completed in the connection's memory first.
 */
#include "loop_internal.h"

#include "../bytes.h"

#include <string.h>

/* The result of taking one frame. */
enum frame_result {
    FRAME_TAKEN,
    FRAME_WAITS,   /* it is incomplete, or the client is being closed */
    FRAME_NO_ROOM, /* the block has no room for it */
};

static void send_error(fl_loop *loop, client *k, int code, const char *text)
{
    uint8_t frame[FL_ERROR_BYTES];
    int action = code == FL_CODE_OUT_OF_TURN ? FL_ACTION_FIX_CONFIG : FL_ACTION_RETRY;
    client_send(loop, k, frame, fl_error_write(frame, code, action, k->session.accepted, text));
}

/* Closes the client: counts the reason, and sends an ERROR with code and text. */
static enum frame_result fail(fl_loop *loop, uint32_t slot, int reason, int code, const char *text)
{
    const conn *c = &loop->conns[slot];
    reject(loop, reason, c->peer, NULL, 0);
    send_error(loop, c->client, code, text);
    client_close(loop, c->client);
    return FRAME_WAITS;
}

static void write_stamp(uint8_t to[FL_RUN_STAMP], const client *k, uint64_t first)
{
    memcpy(to, k->id, sizeof k->id);
    uint8_t *key = write_u64(write_u64(to + sizeof k->id, k->incarnation), first);
    memcpy(key, k->key, sizeof k->key);
}

/* Puts frames with the sequences first to last into the block, as a run of their own. */
static enum frame_result put_run(fl_loop *loop, uint32_t slot, int kind, uint64_t first,
                                 uint64_t last, uint32_t frames, const uint8_t *bytes, size_t len)
{
    const conn *c = &loop->conns[slot];
    client *k = c->client;
    size_t before = (size_t)FL_RUN_HEADER + c->peer_len;
    if (!block_has_room(loop, before + FL_RUN_STAMP + len) && loop->arena_len)
        return FRAME_NO_ROOM;
    if (!block_has_room(loop, before + FL_RUN_STAMP + len) || !fl_session_reserve(&k->session))
        return fail(loop, slot, FL_REASON_MEMORY, FL_CODE_FULL, "no memory for this frame now");
    size_t body = loop->arena_len + before;
    write_stamp(loop->arena + body, k, first);
    memcpy(loop->arena + body + FL_RUN_STAMP, bytes, len);
    block_end_run(loop, c, kind, frames, body, body + FL_RUN_STAMP + len);
    k->session.accepted = last;
    client_set_dirty(loop, k);
    return FRAME_TAKEN;
}

/* Acknowledges a frame that was accepted before as a whole, since the last ACK may be lost. */
static enum frame_result acknowledge_repeated(fl_loop *loop, client *k)
{
    k->ack_due = true;
    client_flush(loop, k);
    return FRAME_TAKEN;
}

static enum frame_result take_batch(fl_loop *loop, uint32_t slot, const fl_header *header,
                                    const uint8_t *payload)
{
    client *k = loop->conns[slot].client;
    fl_batch batch;
    uint64_t skip;
    int result = fl_batch_read(&loop->crc, header, payload, loop->options.max_frame, &batch);
    if (result == FL_ETOOLONG)
        return fail(loop, slot, FL_REASON_TOO_LONG, FL_CODE_LIMIT, "a record over the limit");
    if (result < 0)
        return fail(loop, slot, FL_REASON_MALFORMED, FL_CODE_MALFORMED, "malformed BATCH");
    if (fl_session_offer(&k->session, batch.base, batch.count, &skip) < 0)
        return fail(loop, slot, FL_REASON_SEQUENCE, FL_CODE_SEQUENCE,
                    "records are missing before these");
    uint32_t count = batch.count;
    fl_batch_skip(&batch, (uint32_t)skip);
    enum frame_result taken = FRAME_TAKEN;
    if (batch.count)
        taken = put_run(loop, slot, FL_RUN_BATCH, batch.base, batch.base + batch.count - 1,
                        batch.count, batch.frames, batch.len);
    if (taken == FRAME_TAKEN)
        loop->stats.repeated += count - batch.count;
    return batch.count ? taken : acknowledge_repeated(loop, k);
}

static enum frame_result take_gap(fl_loop *loop, uint32_t slot, const fl_header *header,
                                  const uint8_t *payload)
{
    client *k = loop->conns[slot].client;
    uint8_t frame[FL_FRAME_HEADER + FL_GAP_BYTES];
    fl_gap gap;
    uint64_t skip;
    if (fl_gap_read(header, payload, &gap) < 0)
        return fail(loop, slot, FL_REASON_MALFORMED, FL_CODE_MALFORMED, "malformed GAP");
    if (fl_session_offer(&k->session, gap.first, gap.last - gap.first + 1, &skip) < 0)
        return fail(loop, slot, FL_REASON_SEQUENCE, FL_CODE_SEQUENCE,
                    "records are missing before this gap");
    gap.first += skip;
    if (gap.first > gap.last)
        return acknowledge_repeated(loop, k);
    fl_gap_write(write_u32(frame, FL_GAP_BYTES), &gap);
    return put_run(loop, slot, FL_RUN_GAP, gap.first, gap.last, 1, frame, sizeof frame);
}

static enum frame_result take_bye(fl_loop *loop, uint32_t slot, const fl_header *header,
                                  const uint8_t *payload)
{
    client *k = loop->conns[slot].client;
    uint64_t last;
    if (fl_bye_read(header, payload, &last) < 0)
        return fail(loop, slot, FL_REASON_MALFORMED, FL_CODE_MALFORMED, "malformed BYE");
    if (last > k->session.accepted)
        return fail(loop, slot, FL_REASON_SEQUENCE, FL_CODE_SEQUENCE,
                    "records are missing before this BYE");
    k->state = CLIENT_LEAVING;
    client_leave(loop, k);
    return FRAME_TAKEN;
}

static enum frame_result take_frame(fl_loop *loop, uint32_t slot, const fl_header *header,
                                    const uint8_t *payload)
{
    client *k = loop->conns[slot].client;
    int expected = k->is_challenged ? FL_TYPE_AUTH : FL_TYPE_HELLO;
    if (k->state == CLIENT_HANDSHAKE && header->type == expected) {
        client_await_answer(loop, k, header, payload);
        return FRAME_TAKEN;
    }
    if (k->state == CLIENT_ADMITTED && header->type == FL_TYPE_BATCH)
        return take_batch(loop, slot, header, payload);
    if (k->state == CLIENT_ADMITTED && header->type == FL_TYPE_GAP)
        return take_gap(loop, slot, header, payload);
    if (k->state == CLIENT_ADMITTED && header->type == FL_TYPE_BYE)
        return take_bye(loop, slot, header, payload);
    return fail(loop, slot, FL_REASON_OUT_OF_TURN, FL_CODE_OUT_OF_TURN,
                "this frame is not allowed now");
}

static uint32_t payload_limit(const fl_loop *loop, const client *k)
{
    if (k->state == CLIENT_HANDSHAKE)
        return FL_HANDSHAKE_MAX;
    return loop->options.max_frame + FL_BATCH_EXTRA;
}

/* Reads the header at data. Returns 1: there is a whole frame of *need bytes; 0: *need bytes are
 * needed (8 while the header is incomplete); -1: no frame that this client may send begins here. */
static int frame_at(const fl_loop *loop, const client *k, const uint8_t *data, size_t len,
                    fl_header *header, size_t *need)
{
    int result = fl_header_read(data, len, header);
    *need = FL_HEADER_BYTES;
    if (result <= 0)
        return result;
    if (header->len > payload_limit(loop, k))
        return -1;
    *need += header->len;
    return len >= *need;
}

/* Closes a client for bytes that frame_at() has rejected. An unauthenticated client that sends no
 * frame gets no reply. */
static void reject_bytes(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len)
{
    const conn *c = &loop->conns[slot];
    client *k = c->client;
    fl_header header;
    bool is_frame = fl_header_read(data, len, &header) == 1;
    if (is_frame && (k->state == CLIENT_ADMITTED || header.type == FL_TYPE_HELLO)) {
        reject(loop, FL_REASON_TOO_LONG, c->peer, data, len);
        send_error(loop, k, FL_CODE_LIMIT, "a frame over the limit");
    } else if (is_frame) {
        reject(loop, FL_REASON_OUT_OF_TURN, c->peer, data, len);
        send_error(loop, k, FL_CODE_OUT_OF_TURN, "this frame is not allowed now");
    } else if (k->is_reported) {
        reject(loop, FL_REASON_MALFORMED, c->peer, data, len);
        send_error(loop, k, FL_CODE_MALFORMED, "no magic number before a frame");
    } else {
        reject(loop, FL_REASON_UNKNOWN, c->peer, data, len);
    }
    client_close(loop, k);
}

/* Takes the frames at data that can be taken now. Returns their bytes. */
static size_t take_frames(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len,
                          enum frame_result *result)
{
    const client *k = loop->conns[slot].client;
    size_t at = 0, need;
    fl_header header;
    *result = FRAME_TAKEN;
    while (*result == FRAME_TAKEN && k->state != CLIENT_CLOSING && k->state != CLIENT_ASKED) {
        int found = frame_at(loop, k, data + at, len - at, &header, &need);
        if (found < 0)
            reject_bytes(loop, slot, data + at, len - at);
        if (found <= 0) {
            *result = FRAME_WAITS;
            break;
        }
        *result = take_frame(loop, slot, &header, data + at + FL_HEADER_BYTES);
        if (*result != FRAME_NO_ROOM)
            at += need;
    }
    return k->state == CLIENT_CLOSING ? len : at;
}

/* Reads and drops what a closing client sends, up to its end. */
static enum read_result discard(fl_loop *loop, uint32_t slot)
{
    const conn *c = &loop->conns[slot];
    ssize_t n = conn_receive(loop, c, loop->scratch, CHUNK);
    if (n < 0) {
        conn_close(loop, slot);
        return READ_CLOSED;
    }
    return n ? READ_UNFINISHED : READ_EMPTY;
}

/* Takes the frames in the connection's memory, of which the first is complete. */
static enum read_result take_kept(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    enum frame_result result;
    size_t used = take_frames(loop, slot, c->partial_data, c->partial_len, &result);
    if (result == FRAME_NO_ROOM && !used)
        return READ_NO_ROOM;
    size_t rest = c->partial_len - used;
    if (rest) {
        memmove(c->partial_data, c->partial_data + used, rest);
        c->partial_len = (uint32_t)rest;
        partial_restart_clock(loop, c);
    } else {
        conn_drop_partial(loop, slot);
    }
    return result == FRAME_NO_ROOM ? READ_NO_ROOM : READ_UNFINISHED;
}

/* Receives once, after the partial frame, and takes the frames that are complete then. */
static enum read_result receive_frames(fl_loop *loop, uint32_t slot, size_t *budget)
{
    conn *c = &loop->conns[slot];
    size_t kept = c->partial_len, wanted = *budget < CHUNK ? *budget : CHUNK;
    ssize_t n = conn_receive(loop, c, loop->scratch + kept, wanted);
    if (n < 0) {
        conn_close(loop, slot); /* the client sends its partial frame again */
        return READ_CLOSED;
    }
    if (n == 0)
        return READ_EMPTY;
    *budget -= (size_t)n;
    partial_move(loop, slot, loop->scratch);
    enum frame_result result;
    size_t len = kept + (size_t)n;
    size_t used = take_frames(loop, slot, loop->scratch, len, &result);
    bool is_new = !kept || used;
    if (used < len && !partial_keep(loop, slot, loop->scratch + used, len - used, is_new))
        return READ_CLOSED;
    if (result == FRAME_NO_ROOM)
        return READ_NO_ROOM;
    return conn_is_emptied(c, (size_t)n, wanted) ? READ_EMPTY : READ_UNFINISHED;
}

enum read_result client_read(fl_loop *loop, uint32_t slot)
{
    enum read_result result = READ_UNFINISHED;
    for (size_t budget = throttle_budget(loop); result == READ_UNFINISHED && budget;) {
        const conn *c = &loop->conns[slot];
        const client *k = c->client;
        fl_header header;
        size_t need = 0;
        if (k->state == CLIENT_CLOSING)
            return discard(loop, slot);
        if (k->state == CLIENT_ASKED)
            return READ_EMPTY; /* the caller's answer makes it ready again */
        if (c->partial_len && frame_at(loop, k, c->partial_data, c->partial_len, &header, &need))
            result = take_kept(loop, slot);
        else if (need > LARGE)
            result = conn_fill_partial(loop, slot, need, &budget);
        else
            result = receive_frames(loop, slot, &budget);
    }
    return result;
}
