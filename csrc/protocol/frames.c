/* frames.c: reads and writes the frames of the fastlog protocol. Pure: see protocol.h.
 *
 * docs/protocol.md has the layouts. Each length is checked against the bytes that have arrived: a
 * batch whose lengths do not add up to its payload is malformed as a whole.
 */
#include "protocol.h"

#include "../bytes.h"

#include <string.h>

/* Sequences are below SEQUENCE_MAX, and a gap spans at most GAP_MAX of them: more than any client
 * reaches, and few enough that sums of them do not overflow. */
#define SEQUENCE_MAX (UINT64_C(1) << 48)
#define GAP_MAX (UINT64_C(1) << 40)

enum {
    MAGIC_0 = 0xFA,
    MAGIC_1 = 0x57,
    BATCH_FIELDS = 16, /* bytes: base_seq, count, format, codec, raw_length */
    FLAG_CRC = 1,
};

const char *fl_protocol_strerror(int error)
{
    switch (error) {
    case FL_EMAGIC: return "not a frame of the fastlog protocol";
    case FL_EMALFORMED: return "malformed frame";
    case FL_ESEQUENCE: return "records are missing before these";
    default: return NULL;
    }
}

static uint8_t *write_header(uint8_t *p, int type, uint32_t len)
{
    p[0] = MAGIC_0;
    p[1] = MAGIC_1;
    p[2] = (uint8_t)type;
    p[3] = 0;
    return write_u32(p + 4, len);
}

int fl_header_read(const uint8_t *data, size_t len, fl_header *out)
{
    if ((len > 0 && data[0] != MAGIC_0) || (len > 1 && data[1] != MAGIC_1))
        return FL_EMAGIC;
    if (len < FL_HEADER_BYTES)
        return 0;
    out->type = data[2];
    out->flags = data[3];
    out->len = read_u32(data + 4);
    return 1;
}

/* Checks that `count` frames fill the bytes exactly, and that none exceeds max_record. */
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

int fl_batch_read(const fl_crc32_tables *crc, const fl_header *header, const uint8_t *payload,
                  uint32_t max_record, fl_batch *out)
{
    size_t len = header->len;
    if (header->flags & ~FLAG_CRC)
        return FL_EMALFORMED;
    if (header->flags & FLAG_CRC) {
        if (len < 4 || fl_crc32(crc, payload, len - 4) != read_u32(payload + len - 4))
            return FL_EMALFORMED;
        len -= 4;
    }
    if (len < BATCH_FIELDS)
        return FL_EMALFORMED;
    out->base = read_u64(payload);
    out->count = read_u16(payload + 8);
    out->frames = payload + BATCH_FIELDS;
    out->len = len - BATCH_FIELDS;
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

int fl_gap_read(const fl_header *header, const uint8_t *payload, fl_gap *out)
{
    if (header->len != FL_GAP_BYTES || header->flags)
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

int fl_bye_read(const fl_header *header, const uint8_t *payload, uint64_t *last)
{
    if (header->len != 8 || header->flags)
        return FL_EMALFORMED;
    *last = read_u64(payload);
    return 0;
}

void fl_ack_write(uint8_t to[FL_ACK_BYTES], uint64_t committed, uint32_t window, uint8_t state)
{
    uint8_t *p = write_u64(write_header(to, FL_TYPE_ACK, 13), committed);
    *write_u32(p, window) = state;
}

size_t fl_error_write(uint8_t to[FL_ERROR_BYTES], int code, int action, uint64_t seq,
                      const char *text)
{
    size_t len = strlen(text);
    if (len > FL_TEXT_BYTES)
        len = FL_TEXT_BYTES;
    uint8_t *p = write_u16(write_header(to, FL_TYPE_ERROR, (uint32_t)(11 + len)), (uint32_t)code);
    *p++ = (uint8_t)action;
    memcpy(write_u64(p, seq), text, len);
    return FL_HEADER_BYTES + 11 + len;
}

size_t fl_notice_write(uint8_t to[FL_ERROR_BYTES], int code, uint32_t retry_ms, const char *text)
{
    size_t len = strlen(text);
    if (len > FL_TEXT_BYTES)
        len = FL_TEXT_BYTES;
    uint8_t *p = write_header(to, FL_TYPE_NOTICE, (uint32_t)(3 + len));
    *p++ = (uint8_t)code;
    memcpy(write_u16(p, retry_ms), text, len);
    return FL_HEADER_BYTES + 3 + len;
}
