/* wire.c: the frames of the fastlog protocol, read and written. Pure: see fastlog.h.
 *
 * docs/protocol.md has the layouts. What a peer announces is believed only as far as its bytes
 * reach: a batch whose lengths do not add up to what came is malformed as a whole.
 */
#include "protocol.h"

#include <string.h>

/* Sequences are below the one, and a gap spans at most the other: more than any client gets to, few
 * enough to be summed up. */
#define SEQUENCE_MAX (UINT64_C(1) << 48)
#define GAP_MAX (UINT64_C(1) << 40)

enum {
    MAGIC_0 = 0xFA,
    MAGIC_1 = 0x57,
    BATCH_HEAD = 16, /* base_seq, count, format, codec, raw_length */
    GAP_SIZE = 33,
    FLAG_CRC = 1,
};

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static uint64_t read_u64(const uint8_t *p)
{
    return (uint64_t)read_u32(p) << 32 | read_u32(p + 4);
}

static uint8_t *write_u16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
    return p + 2;
}

static uint8_t *write_u32(uint8_t *p, uint32_t value)
{
    return write_u16(write_u16(p, value >> 16), value);
}

static uint8_t *write_u64(uint8_t *p, uint64_t value)
{
    return write_u32(write_u32(p, (uint32_t)(value >> 32)), (uint32_t)value);
}

static uint8_t *write_head(uint8_t *p, int type, uint32_t len)
{
    p[0] = MAGIC_0;
    p[1] = MAGIC_1;
    p[2] = (uint8_t)type;
    p[3] = 0;
    return write_u32(p + 4, len);
}

int fl_head_read(const uint8_t *data, size_t len, fl_head *out)
{
    if ((len > 0 && data[0] != MAGIC_0) || (len > 1 && data[1] != MAGIC_1))
        return FL_EMAGIC;
    if (len < FL_HEAD_BYTES)
        return 0;
    out->type = data[2];
    out->flags = data[3];
    out->len = read_u32(data + 4);
    return 1;
}

/* Do `count` frames fill these bytes exactly, none of them over the limit? */
static int check_frames(const uint8_t *frames, size_t len, uint32_t count, uint32_t max_record)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (len - at < FL_FRAME_HEADER)
            return FL_EMALFORMED;
        uint32_t body = read_u32(frames + at);
        if (body > max_record)
            return FL_ETOOLONG;
        if (len - at - FL_FRAME_HEADER < body)
            return FL_EMALFORMED;
        at += (size_t)FL_FRAME_HEADER + body;
    }
    return at == len ? 0 : FL_EMALFORMED;
}

int fl_batch_read(const fl_crc32_tables *crc, const fl_head *head, const uint8_t *payload,
                  uint32_t max_record, fl_batch *out)
{
    size_t len = head->len;
    if (head->flags & ~FLAG_CRC)
        return FL_EMALFORMED;
    if (head->flags & FLAG_CRC) {
        if (len < 4 || fl_crc32(crc, payload, len - 4) != read_u32(payload + len - 4))
            return FL_EMALFORMED;
        len -= 4;
    }
    if (len < BATCH_HEAD)
        return FL_EMALFORMED;
    out->base = read_u64(payload);
    out->count = (uint32_t)payload[8] << 8 | payload[9];
    out->frames = payload + BATCH_HEAD;
    out->len = len - BATCH_HEAD;
    uint8_t format = payload[10], codec = payload[11];
    if (!out->base || !out->count || out->base > SEQUENCE_MAX - out->count || format > 1 || codec ||
        read_u32(payload + 12) != out->len)
        return FL_EMALFORMED;
    return check_frames(out->frames, out->len, out->count, max_record);
}

void fl_batch_skip(fl_batch *batch, uint32_t n)
{
    while (n--) {
        size_t size = (size_t)FL_FRAME_HEADER + read_u32(batch->frames);
        batch->frames += size;
        batch->len -= size;
        batch->base++;
        batch->count--;
    }
}

int fl_gap_read(const fl_head *head, const uint8_t *payload, fl_gap *out)
{
    if (head->len != GAP_SIZE || head->flags)
        return FL_EMALFORMED;
    out->first = read_u64(payload);
    out->last = read_u64(payload + 8);
    out->reason = payload[16];
    out->t0 = read_u64(payload + 17);
    out->t1 = read_u64(payload + 25);
    bool spans = out->first && out->last >= out->first && out->last - out->first < GAP_MAX;
    return spans && out->last < SEQUENCE_MAX ? 0 : FL_EMALFORMED;
}

void fl_gap_write(uint8_t to[FL_GAP_BYTES], const fl_gap *gap)
{
    uint8_t *p = write_u64(write_u64(to, gap->first), gap->last);
    *p++ = gap->reason;
    write_u64(write_u64(p, gap->t0), gap->t1);
}

int fl_bye_read(const fl_head *head, const uint8_t *payload, uint64_t *last)
{
    if (head->len != 8 || head->flags)
        return FL_EMALFORMED;
    *last = read_u64(payload);
    return 0;
}

void fl_ack_write(uint8_t to[FL_ACK_BYTES], uint64_t committed, uint32_t window, uint8_t state)
{
    uint8_t *p = write_u64(write_head(to, FL_T_ACK, 13), committed);
    *write_u32(p, window) = state;
}

size_t fl_error_write(uint8_t to[FL_ERROR_BYTES], int code, int action, uint64_t seq,
                      const char *text)
{
    size_t len = strlen(text);
    if (len > FL_TEXT_BYTES)
        len = FL_TEXT_BYTES;
    uint8_t *p = write_u16(write_head(to, FL_T_ERROR, (uint32_t)(11 + len)), (uint32_t)code);
    *p++ = (uint8_t)action;
    memcpy(write_u64(p, seq), text, len);
    return FL_HEAD_BYTES + 11 + len;
}

size_t fl_notice_write(uint8_t to[FL_ERROR_BYTES], int code, uint32_t retry_ms, const char *text)
{
    size_t len = strlen(text);
    if (len > FL_TEXT_BYTES)
        len = FL_TEXT_BYTES;
    uint8_t *p = write_head(to, FL_T_NOTICE, (uint32_t)(3 + len));
    *p++ = (uint8_t)code;
    memcpy(write_u16(p, retry_ms), text, len);
    return FL_HEAD_BYTES + 3 + len;
}
