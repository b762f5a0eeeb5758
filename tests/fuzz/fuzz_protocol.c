/* fuzz_protocol.c: sends any stream in any pieces to a loop, and checks that its blocks have
 * exactly the records of the stream, each sequence once and in order, and that no acknowledgement
 * is early.
 *
 * A trial is a loop, a pair of sockets, and a journal that stores, rejects and syncs as the input
 * orders. The blocks are compared with the stream as protocol.h reads it. The input:
 *
 *     flags u8          bit 0: a HELLO is answered by a CHALLENGE; bits 4-7: committed at first
 *     limit u8          of a record, in units of 256 bytes
 *     step u8           bytes that are sent at once, less one
 *     stores u8         bit n: the journal stores the blocks after poll n, modulo 8
 *     rejects u8        bit n: the journal rejects them
 *     syncs u8          bit n: what it has stored becomes durable
 *     at u16, fill u16  `fill` more bytes of the stream at this position, so that a small input
 *                       makes a large frame
 *     stream            what the peer sends: HELLO and frames, or frames of a stock client
 *
 * Build it with libFuzzer, or with driver.c where there is none.
 */
#include "protocol.h"
#include "require.h"

#include <sys/socket.h>
#include <unistd.h>

enum {
    STREAM_MAX = 1 << 20,
    POLLS_MAX = 1000,
    LINGER = 16, /* polls after which a journal that ever stores and syncs has done both */
    INCARNATION = 7,
    HANDSHAKE_FRAME = 12,
};

static const char PEER[] = "a peer";
static const uint8_t WELCOME[HANDSHAKE_FRAME] = {0xFA, 0x57, FL_TYPE_WELCOME, 0, 0, 0, 0, 4};
static const uint8_t KEY[FL_CLIENT_KEY] = {'a', ' ', 'k', 'e', 'y'};
static const uint8_t CHALLENGE[HANDSHAKE_FRAME] = {0xFA, 0x57, FL_TYPE_CHALLENGE, 0, 0, 0, 0, 4};

/* A connection between a peer and the loop. */
typedef struct trial {
    fl_loop *loop;
    int peer; /* the peer's end of the connection */
    uint32_t max_record;
    cursor stream;                         /* what no event and no block has contained yet */
    uint8_t flags, stores, rejects, syncs; /* of the input */
    uint8_t id[FL_CLIENT_ID];
    bool is_admitted, is_rejected, has_ended;
    uint64_t accepted, journaled, safe; /* safe: the last sequence that may be acknowledged */
    uint64_t offset;                    /* of the journal */
    uint8_t replies[1024];              /* received from the loop and not checked yet */
    size_t replies_len;
    uint64_t acked; /* by the latest ACK */
    bool has_failed;
} trial;

/* ---- the blocks ---- */

/* Returns the next frame with a new sequence; the frames before it repeat earlier ones. */
static client_frame next_new_frame(trial *t)
{
    client_frame frame;
    do {
        REQUIRE(read_frame(&t->stream, t->max_record, &frame) == 1 && frame.error == 0);
        REQUIRE(frame.type == FL_TYPE_BATCH || frame.type == FL_TYPE_GAP);
        REQUIRE(frame.first <= t->accepted + 1);
    } while (frame.last <= t->accepted);
    return frame;
}

static void check_stamp(const trial *t, cursor *run)
{
    const uint8_t *id = skip_bytes(run, sizeof t->id);
    REQUIRE(t->is_admitted && !t->is_rejected && id && memcmp(id, t->id, sizeof t->id) == 0);
    REQUIRE(take_int(run, 8) == INCARNATION && take_int(run, 8) == t->accepted + 1);
    const uint8_t *key = skip_bytes(run, sizeof KEY);
    REQUIRE(key && memcmp(key, KEY, sizeof KEY) == 0);
}

static void check_batch(trial *t, uint64_t frames, cursor *run)
{
    client_frame frame = next_new_frame(t);
    REQUIRE(frame.type == FL_TYPE_BATCH && frames == frame.last - t->accepted);
    for (uint64_t seq = frame.first; seq <= t->accepted; seq++)
        REQUIRE(skip_bytes(&frame.records, take_int(&frame.records, 4)));
    REQUIRE(run->len == frame.records.len && memcmp(run->p, frame.records.p, run->len) == 0);
    t->accepted = frame.last;
}

static void check_gap(trial *t, uint64_t frames, cursor *run)
{
    client_frame frame = next_new_frame(t);
    REQUIRE(frame.type == FL_TYPE_GAP && frames == 1 && take_int(run, 4) == FL_GAP_BYTES);
    REQUIRE(take_int(run, 8) == t->accepted + 1 && take_int(run, 8) == frame.last);
    REQUIRE(run->len == 17 && memcmp(run->p, frame.payload + 16, 17) == 0);
    t->accepted = frame.last;
}

/* Checks complete frames of a stock client, which a block has as they were sent. */
static void check_stock(trial *t, uint64_t frames, cursor *run)
{
    const uint8_t *sent = skip_bytes(&t->stream, run->len);
    REQUIRE(!t->is_admitted && sent && memcmp(run->p, sent, run->len) == 0);
    while (frames--) {
        uint64_t len = take_int(run, 4);
        REQUIRE(len <= t->max_record && skip_bytes(run, len));
    }
    REQUIRE(!run->len);
}

static void check_block(void *context, const uint8_t *runs, size_t len, uint32_t frames)
{
    trial *t = context;
    cursor block = {runs, len, false};
    uint64_t found = 0;
    while (block.len) {
        uint64_t kind = take_int(&block, 1), peer_len = take_int(&block, 1),
                 zero = take_int(&block, 2);
        uint64_t serial = take_int(&block, 4), count = take_int(&block, 4),
                 size = take_int(&block, 4);
        const uint8_t *peer = skip_bytes(&block, peer_len);
        REQUIRE(zero == 0 && serial == 1 && peer && peer_len == strlen(PEER));
        REQUIRE(memcmp(peer, PEER, peer_len) == 0);
        cursor run = {skip_bytes(&block, size), size, false};
        REQUIRE(run.p && count);
        if (kind)
            check_stamp(t, &run);
        switch (kind) {
        case 0: check_stock(t, count, &run); break;
        case 3: check_batch(t, count, &run); break;
        case 4: check_gap(t, count, &run); break;
        default: abort();
        }
        found += count;
    }
    REQUIRE(found == frames);
}

/* Returns whether a client may not send this frame after what was accepted. */
static bool is_invalid(const trial *t, const client_frame *frame)
{
    if (frame->error || frame->len > t->max_record + FL_BATCH_EXTRA)
        return true;
    switch (frame->type) {
    case FL_TYPE_BATCH:
    case FL_TYPE_GAP: return frame->first > t->accepted + 1;
    case FL_TYPE_BYE: return frame->last > t->accepted;
    default: return true;
    }
}

/* Checks the frames that no block has, after the end of the connection: they repeat earlier ones,
 * or one is invalid and was answered by an ERROR. */
static void check_rest_of_client(trial *t)
{
    client_frame frame;
    int result;
    while ((result = read_frame(&t->stream, t->max_record, &frame)) == 1 &&
           !is_invalid(t, &frame)) {
        if (frame.type == FL_TYPE_BYE) { /* all is acknowledged, unless more follows it */
            REQUIRE(t->has_failed || !t->stores || !t->syncs || t->acked == t->accepted);
            return;
        }
        REQUIRE(frame.last <= t->accepted);
    }
    bool is_too_long = frame.len > t->max_record + FL_BATCH_EXTRA;
    REQUIRE(t->has_failed == (result != 0 || is_too_long));
}

static void check_rest_of_stock(const trial *t)
{
    cursor in = t->stream;
    uint64_t len = take_int(&in, 4);
    REQUIRE(in.is_over || len > t->max_record || !skip_bytes(&in, len));
}

/* ---- the replies ---- */

static void check_answer(trial *t, uint64_t type, cursor *in)
{
    REQUIRE(!t->has_failed); /* nothing follows an ERROR */
    switch (type) {
    case FL_TYPE_CHALLENGE:
    case FL_TYPE_WELCOME: REQUIRE(in->len == 4); break;
    case FL_TYPE_ACK: {
        uint64_t committed = take_int(in, 8);
        REQUIRE(t->is_admitted && in->len == 5);
        REQUIRE(committed >= t->acked && committed <= t->safe);
        t->acked = committed;
        break;
    }
    case FL_TYPE_ERROR:
        skip_bytes(in, 3); /* code, action */
        REQUIRE(take_int(in, 8) == t->accepted && in->len <= FL_TEXT_BYTES && !in->is_over);
        t->has_failed = true;
        break;
    default: abort();
    }
}

static void read_replies(trial *t)
{
    for (;;) {
        uint8_t *to = t->replies + t->replies_len;
        ssize_t n = recv(t->peer, to, sizeof t->replies - t->replies_len, MSG_DONTWAIT);
        t->has_ended |= n == 0;
        if (n <= 0)
            return;
        cursor in = {t->replies, t->replies_len + (size_t)n, false};
        client_frame frame;
        while (read_frame(&in, 0, &frame) == 1)
            check_answer(t, frame.type, &(cursor){frame.payload, frame.len, false});
        memmove(t->replies, in.p, in.len);
        t->replies_len = in.len;
    }
}

/* ---- the server ---- */

static void admit(trial *t, const fl_event *event)
{
    t->is_admitted = true;
    t->accepted = t->journaled = t->safe = t->flags >> 4;
    memcpy(t->id, event->data, sizeof t->id);
    REQUIRE(fl_loop_admit(t->loop, event->conn, t->id, KEY, INCARNATION, t->accepted, WELCOME,
                          HANDSHAKE_FRAME) == 0);
}

static void answer_handshake(trial *t, const fl_event *event)
{
    client_frame frame;
    REQUIRE(read_frame(&t->stream, t->max_record, &frame) == 1);
    REQUIRE(frame.type == (event->kind == FL_EVENT_HELLO ? 0x01 : 0x03) && !t->is_admitted);
    REQUIRE(frame.len == event->len && frame.len <= FL_HANDSHAKE_MAX);
    REQUIRE(memcmp(frame.payload, event->data, event->len) == 0);
    if (event->kind == FL_EVENT_HELLO && t->flags & 1)
        REQUIRE(fl_loop_send(t->loop, event->conn, CHALLENGE, HANDSHAKE_FRAME) == 0);
    else
        admit(t, event);
}

static void answer_events(trial *t)
{
    fl_event event;
    while (fl_loop_event(t->loop, &event))
        if (event.kind == FL_EVENT_ENDED)
            REQUIRE(event.admitted == t->is_admitted && event.committed == t->safe);
        else
            answer_handshake(t, &event);
}

static void journal(trial *t, bool stores, bool rejects, bool syncs)
{
    if (stores) {
        t->journaled = t->accepted;
        fl_loop_journaled(t->loop, ++t->offset);
    } else if (rejects) {
        t->is_rejected |= t->accepted > t->journaled;
        t->accepted = t->journaled;
        fl_loop_discarded(t->loop);
    }
    if (syncs) {
        t->safe = t->journaled;
        fl_loop_durable(t->loop, t->offset);
    }
}

static uint32_t connections(const trial *t)
{
    fl_loop_stats stats;
    fl_loop_stats_get(t->loop, &stats);
    return stats.connections;
}

/* Sends and polls until the connection is closed, by the loop or, LINGER polls after the last byte,
 * by the peer. */
static void exchange(trial *t, size_t step)
{
    cursor unsent = t->stream;
    for (int polls = 0, idle = 0; connections(t); polls++, idle += !unsent.len) {
        ssize_t n = send(t->peer, unsent.p, step < unsent.len ? step : unsent.len,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        skip_bytes(&unsent, n > 0 ? (size_t)n : 0);
        if (t->has_ended || idle == LINGER)
            shutdown(t->peer, SHUT_WR);
        REQUIRE(polls < POLLS_MAX && fl_loop_poll(t->loop, 0, t) >= 0);
        read_replies(t);
        int bit = 1 << polls % 8;
        journal(t, t->stores & bit, t->rejects & bit, t->syncs & bit);
        answer_events(t);
        read_replies(t);
    }
}

static void check_end(trial *t, bool is_client)
{
    fl_loop_stats stats;
    journal(t, true, false, true);
    answer_events(t);
    read_replies(t);
    REQUIRE(t->has_ended && t->replies_len == 0 && fl_loop_dirty(t->loop) == 0);
    fl_loop_stats_get(t->loop, &stats);
    REQUIRE(!stats.clients && !stats.partials && !stats.partial_bytes && !stats.ready);
    if (!is_client)
        check_rest_of_stock(t);
    else if (t->is_admitted && !t->is_rejected)
        check_rest_of_client(t);
}

static fl_loop *make_loop(uint32_t max_record)
{
    const fl_loop_options options = {
        .max_frame = max_record,
        .max_connections = 4,
        .max_per_host = 4,
        .partial_memory = 1 << 20,
        .arena = 1 << 16,
        .stall_ms = 1 << 30,
        .handshake_ms = 1 << 30,
        .keepalive_ms = 1 << 30,
    };
    int error;
    fl_loop *loop = fl_loop_new(&options, check_block, &error);
    REQUIRE(loop);
    return loop;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cursor in = {data, size, false};
    trial t = {.flags = (uint8_t)take_int(&in, 1)};
    t.max_record = 256 * ((uint32_t)take_int(&in, 1) + 1);
    size_t step = take_int(&in, 1) + 1;
    t.stores = (uint8_t)take_int(&in, 1);
    t.rejects = (uint8_t)take_int(&in, 1);
    t.syncs = (uint8_t)take_int(&in, 1);
    size_t at = take_int(&in, 2), fill = take_int(&in, 2);
    int ends[2];
    if (in.is_over || in.len > STREAM_MAX)
        return 0;

    size_t len = in.len + fill;
    uint8_t *stream = malloc(len + 1);
    REQUIRE(stream && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    at = at < in.len ? at : in.len;
    memcpy(stream, in.p, at);
    memset(stream + at, 'x', fill);
    memcpy(stream + at + fill, in.p + at, in.len - at);

    t.stream = (cursor){stream, len, false};
    t.peer = ends[0];
    t.loop = make_loop(t.max_record);
    REQUIRE(fl_loop_add(t.loop, ends[1], PEER, NULL, 0) == 0);
    exchange(&t, step > len / 32 ? step : len / 32);
    check_end(&t, len && stream[0] == 0xFA);
    fl_loop_free(t.loop);
    close(t.peer);
    free(stream);
    return 0;
}
