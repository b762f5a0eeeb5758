/* fuzz_dialect.c: whatever a peer sends, in any pieces, the loop's blocks hold exactly what it
 * said, each sequence once and in order, and no acknowledgement is early.
 *
 * A loop, a pair of sockets, and a journal that takes, rejects and syncs as the input says. What
 * the blocks hold is compared with the stream, as protocol.h reads it. The input:
 *
 *     flags u8          1: a HELLO is asked for a proof; the upper half: what is committed at first
 *     limit u8          of a record, in 256 bytes
 *     step u8           how much is sent at once
 *     takes u8          bit n: the journal takes the blocks up to turn n, modulo 8
 *     rejects u8        the same: it rejects them
 *     syncs u8          the same: what it took becomes durable
 *     at u16, fill u16  the stream has `fill` more bytes there, so that small inputs make large
 * frames stream            what the peer sends, its HELLO first, or frames of a stock client
 *
 * Built with libFuzzer, or with driver.c where there is none.
 */
#include "protocol.h"
#include "require.h"

#include <sys/socket.h>
#include <unistd.h>

enum {
    STREAM_MAX = 1 << 20,
    TURNS_MAX = 1000,
    LINGER = 16, /* turns in which a journal that takes and syncs at all has done both */
    INCARNATION = 7,
    GREETING = 12,
};

static const char PEER[] = "a peer";
static const uint8_t WELCOME[GREETING] = {0xFA, 0x57, FL_T_WELCOME, 0, 0, 0, 0, 4};
static const uint8_t KEY[FL_CLIENT_KEY] = {'a', ' ', 'k', 'e', 'y'};
static const uint8_t CHALLENGE[GREETING] = {0xFA, 0x57, FL_T_CHALLENGE, 0, 0, 0, 0, 4};

/* A conversation. */
typedef struct trial {
    fl_loop *loop;
    int peer; /* our end of it */
    uint32_t max_record;
    cursor stream;                        /* what neither an event nor a block has had yet */
    uint8_t flags, takes, rejects, syncs; /* of the input */
    uint8_t id[16];
    bool is_admitted, is_rejected, has_ended;
    uint64_t accepted, journaled, safe; /* safe: the last that may be acknowledged */
    uint64_t offset;                    /* of the journal */
    uint8_t heard[1024];                /* what is left of what came back */
    size_t heard_len;
    uint64_t told; /* by the latest acknowledgement */
    bool has_failed;
} trial;

/* ---- what the blocks hold ---- */

/* The next frame that says something new; what lies before it was known. */
static said next_said(trial *t)
{
    said it;
    do {
        REQUIRE(read_frame(&t->stream, t->max_record, &it) == 1 && it.fault == 0);
        REQUIRE(it.type == FL_T_BATCH || it.type == FL_T_GAP);
        REQUIRE(it.first <= t->accepted + 1);
    } while (it.last <= t->accepted);
    return it;
}

static void check_stamp(const trial *t, cursor *run)
{
    const uint8_t *id = pass(run, sizeof t->id);
    REQUIRE(t->is_admitted && !t->is_rejected && id && memcmp(id, t->id, sizeof t->id) == 0);
    REQUIRE(take(run, 8) == INCARNATION && take(run, 8) == t->accepted + 1);
    const uint8_t *key = pass(run, sizeof KEY);
    REQUIRE(key && memcmp(key, KEY, sizeof KEY) == 0);
}

static void check_batch(trial *t, uint64_t frames, cursor *run)
{
    said it = next_said(t);
    REQUIRE(it.type == FL_T_BATCH && frames == it.last - t->accepted);
    for (uint64_t seq = it.first; seq <= t->accepted; seq++)
        REQUIRE(pass(&it.records, take(&it.records, 4)));
    REQUIRE(run->left == it.records.left && memcmp(run->p, it.records.p, run->left) == 0);
    t->accepted = it.last;
}

static void check_gap(trial *t, uint64_t frames, cursor *run)
{
    said it = next_said(t);
    REQUIRE(it.type == FL_T_GAP && frames == 1 && take(run, 4) == FL_GAP_BYTES);
    REQUIRE(take(run, 8) == t->accepted + 1 && take(run, 8) == it.last);
    REQUIRE(run->left == 17 && memcmp(run->p, it.payload + 16, 17) == 0);
    t->accepted = it.last;
}

/* Whole frames of a stock client, as they came. */
static void check_stock(trial *t, uint64_t frames, cursor *run)
{
    const uint8_t *sent = pass(&t->stream, run->left);
    REQUIRE(!t->is_admitted && sent && memcmp(run->p, sent, run->left) == 0);
    while (frames--) {
        uint64_t len = take(run, 4);
        REQUIRE(len <= t->max_record && pass(run, len));
    }
    REQUIRE(!run->left);
}

static void check_block(void *context, const uint8_t *runs, size_t len, uint32_t frames)
{
    trial *t = context;
    cursor block = {runs, len, false};
    uint64_t found = 0;
    while (block.left) {
        uint64_t kind = take(&block, 1), peer_len = take(&block, 1), zero = take(&block, 2);
        uint64_t serial = take(&block, 4), count = take(&block, 4), size = take(&block, 4);
        const uint8_t *peer = pass(&block, peer_len);
        REQUIRE(zero == 0 && serial == 1 && peer && peer_len == strlen(PEER));
        REQUIRE(memcmp(peer, PEER, peer_len) == 0);
        cursor run = {pass(&block, size), size, false};
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

/* May a client not send this after what was accepted? */
static bool is_wrong(const trial *t, const said *it)
{
    if (it->fault || it->len > t->max_record + FL_BATCH_EXTRA)
        return true;
    switch (it->type) {
    case FL_T_BATCH:
    case FL_T_GAP: return it->first > t->accepted + 1;
    case FL_T_BYE: return it->last > t->accepted;
    default: return true;
    }
}

/* The conversation is over: what no block has had was known before, or wrong, which was said. */
static void check_rest_of_client(trial *t)
{
    said it;
    int result;
    while ((result = read_frame(&t->stream, t->max_record, &it)) == 1 && !is_wrong(t, &it)) {
        if (it.type == FL_T_BYE) { /* all is acknowledged, unless more came behind it */
            REQUIRE(t->has_failed || !t->takes || !t->syncs || t->told == t->accepted);
            return;
        }
        REQUIRE(it.last <= t->accepted);
    }
    bool is_too_long = it.len > t->max_record + FL_BATCH_EXTRA;
    REQUIRE(t->has_failed == (result != 0 || is_too_long));
}

static void check_rest_of_stock(const trial *t)
{
    cursor in = t->stream;
    uint64_t len = take(&in, 4);
    REQUIRE(in.dry || len > t->max_record || !pass(&in, len));
}

/* ---- what the peer hears ---- */

static void check_answer(trial *t, uint64_t type, cursor *in)
{
    REQUIRE(!t->has_failed); /* an ERROR is the last */
    switch (type) {
    case FL_T_CHALLENGE:
    case FL_T_WELCOME: REQUIRE(in->left == 4); break;
    case FL_T_ACK: {
        uint64_t committed = take(in, 8);
        REQUIRE(t->is_admitted && in->left == 5);
        REQUIRE(committed >= t->told && committed <= t->safe);
        t->told = committed;
        break;
    }
    case FL_T_ERROR:
        pass(in, 3); /* code, action */
        REQUIRE(take(in, 8) == t->accepted && in->left <= FL_TEXT_BYTES && !in->dry);
        t->has_failed = true;
        break;
    default: abort();
    }
}

static void hear(trial *t)
{
    for (;;) {
        uint8_t *to = t->heard + t->heard_len;
        ssize_t n = recv(t->peer, to, sizeof t->heard - t->heard_len, MSG_DONTWAIT);
        t->has_ended |= n == 0;
        if (n <= 0)
            return;
        cursor in = {t->heard, t->heard_len + (size_t)n, false};
        said it;
        while (read_frame(&in, 0, &it) == 1)
            check_answer(t, it.type, &(cursor){it.payload, it.len, false});
        memmove(t->heard, in.p, in.left);
        t->heard_len = in.left;
    }
}

/* ---- the server ---- */

static void admit(trial *t, const fl_event *event)
{
    t->is_admitted = true;
    t->accepted = t->journaled = t->safe = t->flags >> 4;
    memcpy(t->id, event->data, sizeof t->id);
    REQUIRE(fl_loop_admit(t->loop, event->conn, t->id, KEY, INCARNATION, t->accepted, WELCOME,
                          GREETING) == 0);
}

static void greet(trial *t, const fl_event *event)
{
    said it;
    REQUIRE(read_frame(&t->stream, t->max_record, &it) == 1);
    REQUIRE(it.type == (event->kind == FL_HELLO ? 0x01 : 0x03) && !t->is_admitted);
    REQUIRE(it.len == event->len && it.len <= FL_GREETING_MAX);
    REQUIRE(memcmp(it.payload, event->data, event->len) == 0);
    if (event->kind == FL_HELLO && t->flags & 1)
        REQUIRE(fl_loop_send(t->loop, event->conn, CHALLENGE, GREETING) == 0);
    else
        admit(t, event);
}

static void answer(trial *t)
{
    fl_event event;
    while (fl_loop_event(t->loop, &event))
        if (event.kind == FL_ENDED)
            REQUIRE(event.admitted == t->is_admitted && event.committed == t->safe);
        else
            greet(t, &event);
}

static void journal(trial *t, bool takes, bool rejects, bool syncs)
{
    if (takes) {
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

/* Until the connection is closed: by the server, or by the peer when it has heard enough. */
static void converse(trial *t, size_t step)
{
    cursor unsent = t->stream;
    for (int turn = 0, silent = 0; connections(t); turn++, silent += !unsent.left) {
        ssize_t n = send(t->peer, unsent.p, step < unsent.left ? step : unsent.left,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        pass(&unsent, n > 0 ? (size_t)n : 0);
        if (t->has_ended || silent == LINGER)
            shutdown(t->peer, SHUT_WR);
        REQUIRE(turn < TURNS_MAX && fl_loop_poll(t->loop, 0, t) >= 0);
        hear(t);
        int bit = 1 << turn % 8;
        journal(t, t->takes & bit, t->rejects & bit, t->syncs & bit);
        answer(t);
        hear(t);
    }
}

static void check_end(trial *t, bool is_client)
{
    fl_loop_stats stats;
    journal(t, true, false, true);
    answer(t);
    hear(t);
    REQUIRE(t->has_ended && t->heard_len == 0 && fl_loop_dirty(t->loop) == 0);
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
        .hello_ms = 1 << 30,
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
    trial t = {.flags = (uint8_t)take(&in, 1)};
    t.max_record = 256 * ((uint32_t)take(&in, 1) + 1);
    size_t step = take(&in, 1) + 1;
    t.takes = (uint8_t)take(&in, 1);
    t.rejects = (uint8_t)take(&in, 1);
    t.syncs = (uint8_t)take(&in, 1);
    size_t at = take(&in, 2), fill = take(&in, 2);
    int ends[2];
    if (in.dry || in.left > STREAM_MAX)
        return 0;

    size_t len = in.left + fill;
    uint8_t *stream = malloc(len + 1);
    REQUIRE(stream && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    at = at < in.left ? at : in.left;
    memcpy(stream, in.p, at);
    memset(stream + at, 'x', fill);
    memcpy(stream + at + fill, in.p + at, in.left - at);

    t.stream = (cursor){stream, len, false};
    t.peer = ends[0];
    t.loop = make_loop(t.max_record);
    REQUIRE(fl_loop_add(t.loop, ends[1], PEER, NULL, 0) == 0);
    converse(&t, step > len / 32 ? step : len / 32);
    check_end(&t, len && stream[0] == 0xFA);
    fl_loop_free(t.loop);
    close(t.peer);
    free(stream);
    return 0;
}
