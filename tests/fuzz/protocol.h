/* protocol.h: docs/protocol.md, read a second time, for the checkers.
 *
 * What a frame of a client says, by another arithmetic than that of csrc/protocol/frames.c: a
 * cursor that runs dry instead of lengths that are compared, and a checksum bit by bit.
 */
#include "fastlog.h"

#include <string.h>

/* Bytes to be read. When they run out, what is read is 0 and `dry` stays true. */
typedef struct cursor {
    const uint8_t *p;
    size_t left;
    bool dry;
} cursor;

/* Moves on by n bytes, and returns where they begin, or NULL. */
static inline const uint8_t *pass(cursor *in, size_t n)
{
    const uint8_t *at = in->p;
    in->dry |= n > in->left;
    if (in->dry)
        return NULL;
    in->p += n;
    in->left -= n;
    return at;
}

static inline uint64_t take(cursor *in, int width)
{
    const uint8_t *at = pass(in, (size_t)width);
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
typedef struct said {
    uint64_t type, flags;
    const uint8_t *payload;
    uint64_t len;
    int fault;            /* of a BATCH, GAP or BYE: an error, or 0 */
    uint64_t first, last; /* the sequences of a BATCH or a GAP; last: of a BYE */
    cursor records;       /* of a BATCH: each behind its length */
} said;

#define SEQUENCES (UINT64_C(1) << 48) /* numbers are below */
#define GAP_SPAN (UINT64_C(1) << 40)

static inline int read_batch(said *it, uint32_t max_record)
{
    cursor in = {it->payload, it->len, false};
    if (it->flags == 1) {
        if (it->len < 4)
            return FL_EMALFORMED;
        in.left -= 4;
        cursor sum = {in.p + in.left, 4, false};
        if (take(&sum, 4) != checksum(in.p, in.left))
            return FL_EMALFORMED;
    }
    it->first = take(&in, 8);
    uint64_t count = take(&in, 2), format = take(&in, 1), codec = take(&in, 1);
    uint64_t raw = take(&in, 4);
    if (it->flags > 1 || in.dry || raw != in.left || format > 1 || codec || !count)
        return FL_EMALFORMED;
    if (it->first == 0 || it->first >= SEQUENCES || it->first + count > SEQUENCES)
        return FL_EMALFORMED;
    it->last = it->first + count - 1;
    it->records = in;
    while (count--) {
        uint64_t len = take(&in, 4);
        if (len > max_record)
            return FL_ETOOLONG;
        if (!pass(&in, len))
            return FL_EMALFORMED;
    }
    return in.left ? FL_EMALFORMED : 0;
}

static inline int read_gap(said *it)
{
    cursor in = {it->payload, it->len, false};
    it->first = take(&in, 8);
    it->last = take(&in, 8);
    bool fits = it->len == 33 && !it->flags;
    bool counts = it->first && it->first <= it->last && it->last < SEQUENCES;
    return fits && counts && it->last < it->first + GAP_SPAN ? 0 : FL_EMALFORMED;
}

static inline int read_bye(said *it)
{
    cursor in = {it->payload, it->len, false};
    it->last = take(&in, 8);
    return it->len == 8 && !it->flags ? 0 : FL_EMALFORMED;
}

/* The next frame of a stream. 1: it is in out, and `in` behind it; 0: it is not complete, but out
 * has its head if that is; FL_EMAGIC: it is none. */
static inline int read_frame(cursor *in, uint32_t max_record, said *out)
{
    cursor rest = *in;
    memset(out, 0, sizeof *out);
    if (!rest.left)
        return 0;
    if (take(&rest, 1) != 0xFA || (rest.left && take(&rest, 1) != 0x57))
        return FL_EMAGIC;
    out->type = take(&rest, 1);
    out->flags = take(&rest, 1);
    out->len = take(&rest, 4);
    out->payload = pass(&rest, out->len);
    if (rest.dry)
        return 0;
    switch (out->type) {
    case 0x10: out->fault = read_batch(out, max_record); break;
    case 0x11: out->fault = read_gap(out); break;
    case 0x50: out->fault = read_bye(out); break;
    }
    *in = rest;
    return 1;
}
