/* fuzz_session.c: reads what a client sends as docs/protocol.md specifies, and counts its sequences
 * as a model that keeps the whole history.
 *
 * The first byte of the input is the limit of a record, in units of 16 bytes. Steps follow, each
 * with its letter:
 *
 *     F frame             a frame as it is
 *     C frame             a frame whose last four bytes are replaced by the right checksum first
 *     J size u8           the journal stores what was accepted, in a block of `size` bytes
 *     D                   the journal rejects it
 *     S offset u16        the journal is durable up to this offset
 *     B committed u8      a new session begins
 *     W code u16 | action u8 | seq u64 | length u8 | text       the server writes its own frames
 *
 * Build it with libFuzzer, or with driver.c where there is none.
 */
#include "protocol.h"
#include "require.h"

enum { PENDING_MAX = 512 };

/* The session, and the model of it, which never removes a pending block. */
typedef struct trial {
    fl_crc32_tables crc;
    uint32_t max_record;
    fl_session session;
    uint64_t accepted, journaled, committed, offset;
    fl_pending pending[PENDING_MAX];
    uint32_t pending_count;
} trial;

static void check(const trial *t)
{
    const fl_session *s = &t->session;
    uint32_t open = 0;
    for (uint32_t i = 0; i < t->pending_count; i++)
        open += t->pending[i].accepted > t->committed;
    REQUIRE(s->accepted == t->accepted && s->journaled == t->journaled);
    REQUIRE(s->committed == t->committed);
    REQUIRE(s->committed <= s->journaled && s->journaled <= s->accepted);
    REQUIRE(s->pending_count == open && s->pending_count <= s->pending_cap);
}

/* Copies bytes into memory of their own, so that a sanitizer detects an over-read. */
static uint8_t *copy(const uint8_t *data, size_t len)
{
    uint8_t *own = malloc(len ? len : 1);
    REQUIRE(own);
    if (len)
        memcpy(own, data, len);
    return own;
}

/* ---- the client ---- */

/* Offers a frame to the session. Returns the number of its new sequences, or FL_ESEQUENCE. */
static int64_t offer(trial *t, const client_frame *frame, uint64_t *skip)
{
    uint64_t count = frame->last - frame->first + 1, repeated = 0;
    int result = fl_session_offer(&t->session, frame->first, count, skip);
    if (frame->first > t->accepted + 1) {
        REQUIRE(result == FL_ESEQUENCE);
        return result;
    }
    if (frame->first <= t->accepted)
        repeated = (frame->last < t->accepted ? frame->last : t->accepted) - frame->first + 1;
    REQUIRE(result == 0 && *skip == repeated);
    if (repeated < count) {
        REQUIRE(fl_session_reserve(&t->session));
        t->session.accepted = t->accepted = frame->last;
    }
    return (int64_t)(count - repeated);
}

static void try_batch(trial *t, const fl_header *header, const uint8_t *payload,
                      client_frame *frame)
{
    fl_batch batch;
    uint64_t skip;
    int result = fl_batch_read(&t->crc, header, payload, t->max_record, &batch);
    REQUIRE(result == frame->error);
    if (result < 0)
        return;
    REQUIRE(batch.base == frame->first && batch.base + batch.count - 1 == frame->last);
    REQUIRE(batch.frames - payload == frame->records.p - frame->payload);
    REQUIRE(batch.len == frame->records.len);
    int64_t new_count = offer(t, frame, &skip);
    if (new_count < 0)
        return;
    fl_batch_skip(&batch, (uint32_t)skip);
    for (uint64_t i = 0; i < skip; i++)
        REQUIRE(skip_bytes(&frame->records, take_int(&frame->records, 4)));
    REQUIRE(batch.base == frame->first + skip && batch.count == new_count);
    REQUIRE(batch.frames - payload == frame->records.p - frame->payload);
    REQUIRE(batch.len == frame->records.len && (new_count == 0) == (batch.len == 0));
}

static void try_gap(trial *t, const fl_header *header, const uint8_t *payload,
                    const client_frame *frame)
{
    fl_gap gap;
    uint64_t skip;
    uint8_t written[FL_GAP_BYTES];
    int result = fl_gap_read(header, payload, &gap);
    REQUIRE(result == frame->error);
    if (result < 0)
        return;
    REQUIRE(gap.first == frame->first && gap.last == frame->last);
    fl_gap_write(written, &gap);
    REQUIRE(memcmp(written, payload, FL_GAP_BYTES) == 0);
    (void)offer(t, frame, &skip);
}

static void try_bye(const fl_header *header, const uint8_t *payload, const client_frame *frame)
{
    uint64_t last;
    int result = fl_bye_read(header, payload, &last);
    REQUIRE(result == frame->error && (result < 0 || last == frame->last));
}

/* Returns the result that fl_header_read() must have for the first bytes of a frame: FL_EMAGIC as
 * soon as a byte of the magic number is wrong, 1 as soon as the header is complete. */
static int header_result(const uint8_t *header, size_t len)
{
    bool is_wrong = (len > 0 && header[0] != 0xFA) || (len > 1 && header[1] != 0x57);
    return is_wrong ? FL_EMAGIC : len == FL_HEADER_BYTES;
}

static fl_header try_header(const cursor *in)
{
    fl_header out = {0};
    size_t len = in->len < FL_HEADER_BYTES ? in->len : FL_HEADER_BYTES;
    for (size_t n = 0; n <= len; n++) {
        uint8_t *header = copy(in->p, n);
        REQUIRE(fl_header_read(header, n, &out) == header_result(header, n));
        free(header);
    }
    return out;
}

/* Reads one frame. Returns whether there was one. */
static bool try_frame(trial *t, cursor *in)
{
    client_frame frame;
    fl_header header = try_header(in);
    if (read_frame(in, t->max_record, &frame) <= 0)
        return false;
    REQUIRE(header.type == frame.type && header.flags == frame.flags && header.len == frame.len);
    uint8_t *payload = copy(frame.payload, header.len);
    switch (frame.type) {
    case FL_TYPE_BATCH: try_batch(t, &header, payload, &frame); break;
    case FL_TYPE_GAP: try_gap(t, &header, payload, &frame); break;
    case FL_TYPE_BYE: try_bye(&header, payload, &frame); break;
    }
    free(payload);
    return true;
}

/* Reads one frame after its checksum is corrected; that of a mutant is wrong. */
static bool try_checked(trial *t, cursor *in)
{
    client_frame frame;
    cursor rest = *in;
    if (read_frame(&rest, t->max_record, &frame) <= 0 || frame.len < 4)
        return try_frame(t, in);
    size_t len = (size_t)(rest.p - in->p);
    uint8_t *bytes = copy(in->p, len);
    uint32_t crc = checksum(frame.payload, frame.len - 4);
    for (int i = 0; i < 4; i++)
        bytes[len - 1 - (size_t)i] = (uint8_t)(crc >> 8 * i);
    bytes[3] = 1;
    cursor own = {bytes, len, false};
    REQUIRE(try_frame(t, &own) && !own.len);
    free(bytes);
    *in = rest;
    return true;
}

/* ---- the journal ---- */

static void journaled(trial *t, uint64_t size)
{
    t->offset += size;
    if (t->accepted > t->journaled)
        t->pending[t->pending_count++] = (fl_pending){t->offset, t->accepted};
    t->journaled = t->accepted;
    fl_session_journaled(&t->session, t->offset);
}

static void discarded(trial *t)
{
    t->accepted = t->journaled;
    fl_session_discarded(&t->session);
}

static void durable(trial *t, uint64_t offset)
{
    uint64_t before = t->committed;
    for (uint32_t i = 0; i < t->pending_count; i++)
        if (t->pending[i].offset <= offset && t->pending[i].accepted > t->committed)
            t->committed = t->pending[i].accepted;
    REQUIRE(fl_session_durable(&t->session, offset) == (t->committed > before));
}

static void begin(trial *t, uint64_t committed)
{
    fl_session_end(&t->session);
    fl_session_begin(&t->session, committed);
    t->accepted = t->journaled = t->committed = committed;
    t->pending_count = 0;
}

/* ---- the server's own frames ---- */

static void check_text(cursor *in, const char *text)
{
    size_t len = strlen(text) < 200 ? strlen(text) : 200;
    REQUIRE(in->len == len && memcmp(in->p, text, len) == 0);
}

static void check_written(const trial *t, cursor *in)
{
    uint64_t code = take_int(in, 2), action = take_int(in, 1), seq = take_int(in, 8);
    uint8_t *to = malloc(FL_ERROR_BYTES), *ack = malloc(FL_ACK_BYTES);
    char text[256] = {0};
    size_t len = (size_t)take_int(in, 1);
    const uint8_t *text_bytes = skip_bytes(in, len);
    client_frame frame;
    if (text_bytes)
        memcpy(text, text_bytes, len);
    REQUIRE(to && ack);

    cursor out = {to, fl_error_write(to, (int)code, (int)action, seq, text), false};
    REQUIRE(read_frame(&out, 0, &frame) == 1 && frame.type == 0x4F && !out.len);
    cursor fields = {frame.payload, frame.len, false};
    REQUIRE(take_int(&fields, 2) == code && take_int(&fields, 1) == action &&
            take_int(&fields, 8) == seq);
    check_text(&fields, text);

    out = (cursor){to, fl_notice_write(to, (int)action, (uint32_t)code, text), false};
    REQUIRE(read_frame(&out, 0, &frame) == 1 && frame.type == 0x40 && !out.len);
    fields = (cursor){frame.payload, frame.len, false};
    REQUIRE(take_int(&fields, 1) == action && take_int(&fields, 2) == code);
    check_text(&fields, text);

    fl_ack_write(ack, t->committed, (uint32_t)seq, (uint8_t)action);
    out = (cursor){ack, FL_ACK_BYTES, false};
    REQUIRE(read_frame(&out, 0, &frame) == 1 && frame.type == 0x20 && !out.len);
    fields = (cursor){frame.payload, frame.len, false};
    REQUIRE(take_int(&fields, 8) == t->committed && take_int(&fields, 4) == (uint32_t)seq);
    REQUIRE(take_int(&fields, 1) == action && !fields.len);
    free(ack);
    free(to);
}

/* Runs one step. Returns false at the end of the valid input. */
static bool run_step(trial *t, cursor *in)
{
    switch (take_int(in, 1)) {
    case 'F': return try_frame(t, in);
    case 'C': return try_checked(t, in);
    case 'J': journaled(t, take_int(in, 1)); break;
    case 'D': discarded(t); break;
    case 'S': durable(t, take_int(in, 2)); break;
    case 'B': begin(t, take_int(in, 1)); break;
    case 'W': check_written(t, in); break;
    default: return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static trial t; /* static: the checksum tables make it large */
    cursor in = {data, size, false};
    t.max_record = (uint32_t)take_int(&in, 1) * 16;
    t.offset = 0;
    if (!t.crc.of[0][1])
        fl_crc32_prepare(&t.crc);
    begin(&t, 0);
    while (in.len && t.pending_count < PENDING_MAX && run_step(&t, &in))
        check(&t);
    check(&t);
    fl_session_end(&t.session);
    return 0;
}
