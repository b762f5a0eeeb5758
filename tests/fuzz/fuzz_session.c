/* fuzz_session.c: what a client sends is read as docs/protocol.md says, and counted as a model does
 * that keeps the whole history.
 *
 * The first byte is the limit of a record, in sixteens. Behind it come, each with its letter,
 * frames of a client and moves of the journal:
 *
 *     F frame             as it is
 *     C frame             its last four bytes become the right checksum first
 *     J step u8           the journal has taken what was accepted, in a block of `step` bytes
 *     D                   the journal has rejected it
 *     S offset u16        the journal is durable up to this offset
 *     B committed u8      another session begins
 *     W code u16 | action u8 | seq u64 | length u8 | text       the server writes its own frames
 *
 * Built with libFuzzer, or with driver.c where there is none.
 */
#include "protocol.h"
#include "require.h"

enum { MARKS = 512 };

/* The session, and what it should be: marks are never thrown away. */
typedef struct trial {
    fl_crc32_tables crc;
    uint32_t max_record;
    fl_session session;
    uint64_t accepted, journaled, committed, offset;
    fl_mark marks[MARKS];
    uint32_t mark_count;
} trial;

static void check(const trial *t)
{
    const fl_session *s = &t->session;
    uint32_t open = 0;
    for (uint32_t i = 0; i < t->mark_count; i++)
        open += t->marks[i].accepted > t->committed;
    REQUIRE(s->accepted == t->accepted && s->journaled == t->journaled);
    REQUIRE(s->committed == t->committed);
    REQUIRE(s->committed <= s->journaled && s->journaled <= s->accepted);
    REQUIRE(s->mark_count == open && s->mark_count <= s->mark_cap);
}

/* Memory of its own, so that reading too far is seen. */
static uint8_t *copy(const uint8_t *data, size_t len)
{
    uint8_t *own = malloc(len ? len : 1);
    REQUIRE(own);
    if (len)
        memcpy(own, data, len);
    return own;
}

/* ---- the client ---- */

/* Returns how many of its sequences are new, or FL_ESEQUENCE. */
static int64_t offer(trial *t, const said *it, uint64_t *skip)
{
    uint64_t count = it->last - it->first + 1, known = 0;
    int result = fl_session_offer(&t->session, it->first, count, skip);
    if (it->first > t->accepted + 1) {
        REQUIRE(result == FL_ESEQUENCE);
        return result;
    }
    if (it->first <= t->accepted)
        known = (it->last < t->accepted ? it->last : t->accepted) - it->first + 1;
    REQUIRE(result == 0 && *skip == known);
    if (known < count) {
        REQUIRE(fl_session_reserve(&t->session));
        t->session.accepted = t->accepted = it->last;
    }
    return (int64_t)(count - known);
}

static void try_batch(trial *t, const fl_head *head, const uint8_t *payload, said *it)
{
    fl_batch batch;
    uint64_t skip;
    int result = fl_batch_read(&t->crc, head, payload, t->max_record, &batch);
    REQUIRE(result == it->fault);
    if (result < 0)
        return;
    REQUIRE(batch.base == it->first && batch.base + batch.count - 1 == it->last);
    REQUIRE(batch.frames - payload == it->records.p - it->payload);
    REQUIRE(batch.len == it->records.left);
    int64_t fresh = offer(t, it, &skip);
    if (fresh < 0)
        return;
    fl_batch_skip(&batch, (uint32_t)skip);
    for (uint64_t i = 0; i < skip; i++)
        REQUIRE(pass(&it->records, take(&it->records, 4)));
    REQUIRE(batch.base == it->first + skip && batch.count == fresh);
    REQUIRE(batch.frames - payload == it->records.p - it->payload);
    REQUIRE(batch.len == it->records.left && (fresh == 0) == (batch.len == 0));
}

static void try_gap(trial *t, const fl_head *head, const uint8_t *payload, const said *it)
{
    fl_gap gap;
    uint64_t skip;
    uint8_t written[FL_GAP_BYTES];
    int result = fl_gap_read(head, payload, &gap);
    REQUIRE(result == it->fault);
    if (result < 0)
        return;
    REQUIRE(gap.first == it->first && gap.last == it->last);
    fl_gap_write(written, &gap);
    REQUIRE(memcmp(written, payload, FL_GAP_BYTES) == 0);
    (void)offer(t, it, &skip);
}

static void try_bye(const fl_head *head, const uint8_t *payload, const said *it)
{
    uint64_t last;
    int result = fl_bye_read(head, payload, &last);
    REQUIRE(result == it->fault && (result < 0 || last == it->last));
}

/* What the first bytes of a frame tell: that it is none as soon as that shows, its head as soon as
 * it is there. */
static int head_result(const uint8_t *head, size_t len)
{
    bool is_wrong = (len > 0 && head[0] != 0xFA) || (len > 1 && head[1] != 0x57);
    return is_wrong ? FL_EMAGIC : len == FL_HEAD_BYTES;
}

static fl_head try_head(const cursor *in)
{
    fl_head out = {0};
    size_t len = in->left < FL_HEAD_BYTES ? in->left : FL_HEAD_BYTES;
    for (size_t n = 0; n <= len; n++) {
        uint8_t *head = copy(in->p, n);
        REQUIRE(fl_head_read(head, n, &out) == head_result(head, n));
        free(head);
    }
    return out;
}

/* Returns whether there was one. */
static bool try_frame(trial *t, cursor *in)
{
    said it;
    fl_head head = try_head(in);
    if (read_frame(in, t->max_record, &it) <= 0)
        return false;
    REQUIRE(head.type == it.type && head.flags == it.flags && head.len == it.len);
    uint8_t *payload = copy(it.payload, head.len);
    switch (it.type) {
    case FL_T_BATCH: try_batch(t, &head, payload, &it); break;
    case FL_T_GAP: try_gap(t, &head, payload, &it); break;
    case FL_T_BYE: try_bye(&head, payload, &it); break;
    }
    free(payload);
    return true;
}

/* The same with the right checksum, which mutants do not have. */
static bool try_checked(trial *t, cursor *in)
{
    said it;
    cursor rest = *in;
    if (read_frame(&rest, t->max_record, &it) <= 0 || it.len < 4)
        return try_frame(t, in);
    size_t len = (size_t)(rest.p - in->p);
    uint8_t *frame = copy(in->p, len);
    uint32_t crc = checksum(it.payload, it.len - 4);
    for (int i = 0; i < 4; i++)
        frame[len - 1 - (size_t)i] = (uint8_t)(crc >> 8 * i);
    frame[3] = 1;
    cursor own = {frame, len, false};
    REQUIRE(try_frame(t, &own) && !own.left);
    free(frame);
    *in = rest;
    return true;
}

/* ---- the journal ---- */

static void journaled(trial *t, uint64_t step)
{
    t->offset += step;
    if (t->accepted > t->journaled)
        t->marks[t->mark_count++] = (fl_mark){t->offset, t->accepted};
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
    for (uint32_t i = 0; i < t->mark_count; i++)
        if (t->marks[i].offset <= offset && t->marks[i].accepted > t->committed)
            t->committed = t->marks[i].accepted;
    REQUIRE(fl_session_durable(&t->session, offset) == (t->committed > before));
}

static void begin(trial *t, uint64_t committed)
{
    fl_session_end(&t->session);
    fl_session_begin(&t->session, committed);
    t->accepted = t->journaled = t->committed = committed;
    t->mark_count = 0;
}

/* ---- the server's own frames ---- */

static void check_text(cursor *in, const char *text)
{
    size_t len = strlen(text) < 200 ? strlen(text) : 200;
    REQUIRE(in->left == len && memcmp(in->p, text, len) == 0);
}

static void check_written(const trial *t, cursor *in)
{
    uint64_t code = take(in, 2), action = take(in, 1), seq = take(in, 8);
    uint8_t *to = malloc(FL_ERROR_BYTES), *ack = malloc(FL_ACK_BYTES);
    char text[256] = {0};
    size_t len = (size_t)take(in, 1);
    const uint8_t *given = pass(in, len);
    said it;
    if (given)
        memcpy(text, given, len);
    REQUIRE(to && ack);

    cursor out = {to, fl_error_write(to, (int)code, (int)action, seq, text), false};
    REQUIRE(read_frame(&out, 0, &it) == 1 && it.type == 0x4F && !out.left);
    cursor fields = {it.payload, it.len, false};
    REQUIRE(take(&fields, 2) == code && take(&fields, 1) == action && take(&fields, 8) == seq);
    check_text(&fields, text);

    out = (cursor){to, fl_notice_write(to, (int)action, (uint32_t)code, text), false};
    REQUIRE(read_frame(&out, 0, &it) == 1 && it.type == 0x40 && !out.left);
    fields = (cursor){it.payload, it.len, false};
    REQUIRE(take(&fields, 1) == action && take(&fields, 2) == code);
    check_text(&fields, text);

    fl_ack_write(ack, t->committed, (uint32_t)seq, (uint8_t)action);
    out = (cursor){ack, FL_ACK_BYTES, false};
    REQUIRE(read_frame(&out, 0, &it) == 1 && it.type == 0x20 && !out.left);
    fields = (cursor){it.payload, it.len, false};
    REQUIRE(take(&fields, 8) == t->committed && take(&fields, 4) == (uint32_t)seq);
    REQUIRE(take(&fields, 1) == action && !fields.left);
    free(ack);
    free(to);
}

/* Returns false at the end of what can be understood. */
static bool move(trial *t, cursor *in)
{
    switch (take(in, 1)) {
    case 'F': return try_frame(t, in);
    case 'C': return try_checked(t, in);
    case 'J': journaled(t, take(in, 1)); break;
    case 'D': discarded(t); break;
    case 'S': durable(t, take(in, 2)); break;
    case 'B': begin(t, take(in, 1)); break;
    case 'W': check_written(t, in); break;
    default: return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static trial t; /* which the tables make large */
    cursor in = {data, size, false};
    t.max_record = (uint32_t)take(&in, 1) * 16;
    t.offset = 0;
    if (!t.crc.of[0][1])
        fl_crc32_prepare(&t.crc);
    begin(&t, 0);
    while (in.left && t.mark_count < MARKS && move(&t, &in))
        check(&t);
    check(&t);
    fl_session_end(&t.session);
    return 0;
}
