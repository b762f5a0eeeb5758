/* protocol.h: a second reader of the fastlog protocol, against which the first is checked.
 *
 * It reads the frames of a client by other means than csrc/protocol/frames.c: a cursor that runs
 * out of bytes instead of comparisons of lengths, and a checksum bit by bit.
 */
#include "fastlog.h"

#include <string.h>

/* Bytes to read. Once they run out, `is_over` stays true and every integer reads as 0. */
typedef struct cursor {
    const uint8_t *p;
    size_t len;
    bool is_over;
} cursor;

/* Skips n bytes. Returns their address, or NULL if there are fewer. */
static inline const uint8_t *skip_bytes(cursor *in, size_t n)
{
    const uint8_t *at = in->p;
    in->is_over |= n > in->len;
    if (in->is_over)
        return NULL;
    in->p += n;
    in->len -= n;
    return at;
}

static inline uint64_t take_int(cursor *in, int width)
{
    const uint8_t *at = skip_bytes(in, (size_t)width);
    uint64_t value = 0;
    for (int i = 0; at && i < width; i++)
        value = value * 256 + at[i];
    return value;
}

static inline uint32_t checksum(const uint8_t *data, size_t len)
{
    uint32_t crc = ~0u;
    while (len--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

/* A frame of a client. */
typedef struct client_frame {
    uint64_t type, flags;
    const uint8_t *payload;
    uint64_t len;
    int error;            /* of a BATCH, GAP or BYE: an error code, or 0 */
    uint64_t first, last; /* the sequences of a BATCH or a GAP; last: of a BYE */
    cursor records;       /* of a BATCH: each after its length */
} client_frame;

#define SEQUENCES (UINT64_C(1) << 48) /* every sequence is below */
#define GAP_SPAN (UINT64_C(1) << 40)

static inline int read_batch(client_frame *frame, uint32_t max_record)
{
    cursor in = {frame->payload, frame->len, false};
    if (frame->flags == 1) {
        if (frame->len < 4)
            return FL_EMALFORMED;
        in.len -= 4;
        cursor sum = {in.p + in.len, 4, false};
        if (take_int(&sum, 4) != checksum(in.p, in.len))
            return FL_EMALFORMED;
    }
    frame->first = take_int(&in, 8);
    uint64_t count = take_int(&in, 2), format = take_int(&in, 1), codec = take_int(&in, 1);
    uint64_t raw = take_int(&in, 4);
    if (frame->flags > 1 || in.is_over || raw != in.len || format > 1 || codec || !count)
        return FL_EMALFORMED;
    if (frame->first == 0 || frame->first >= SEQUENCES || frame->first + count > SEQUENCES)
        return FL_EMALFORMED;
    frame->last = frame->first + count - 1;
    frame->records = in;
    while (count--) {
        uint64_t len = take_int(&in, 4);
        if (len > max_record)
            return FL_ETOOLONG;
        if (!skip_bytes(&in, len))
            return FL_EMALFORMED;
    }
    return in.len ? FL_EMALFORMED : 0;
}

static inline int read_gap(client_frame *frame)
{
    cursor in = {frame->payload, frame->len, false};
    frame->first = take_int(&in, 8);
    frame->last = take_int(&in, 8);
    bool fits = frame->len == 33 && !frame->flags;
    bool counts = frame->first && frame->first <= frame->last && frame->last < SEQUENCES;
    return fits && counts && frame->last < frame->first + GAP_SPAN ? 0 : FL_EMALFORMED;
}

static inline int read_bye(client_frame *frame)
{
    cursor in = {frame->payload, frame->len, false};
    frame->last = take_int(&in, 8);
    return frame->len == 8 && !frame->flags ? 0 : FL_EMALFORMED;
}

/* Reads the next frame of a stream. Returns 1: it is in *out, and `in` is behind it; 0: it is
 * incomplete, and *out has its header if that is complete; FL_EMAGIC: it is no frame. */
static inline int read_frame(cursor *in, uint32_t max_record, client_frame *out)
{
    cursor rest = *in;
    memset(out, 0, sizeof *out);
    if (!rest.len)
        return 0;
    if (take_int(&rest, 1) != 0xFA || (rest.len && take_int(&rest, 1) != 0x57))
        return FL_EMAGIC;
    out->type = take_int(&rest, 1);
    out->flags = take_int(&rest, 1);
    out->len = take_int(&rest, 4);
    out->payload = skip_bytes(&rest, out->len);
    if (rest.is_over)
        return 0;
    switch (out->type) {
    case 0x10: out->error = read_batch(out, max_record); break;
    case 0x11: out->error = read_gap(out); break;
    case 0x50: out->error = read_bye(out); break;
    }
    *in = rest;
    return 1;
}
