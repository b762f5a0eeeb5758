/* framer.c: splits a stream into frames. Pure: no I/O. framer.h has the contract.
 *
 * The server's loop calls fl_scan() only, and keeps partial frames itself (csrc/loop/read_stock.c).
 * fl_framer is for programs that embed the framer.
 *
 * Only the bytes of a frame that spans two feeds are copied. The framer keeps them, with their
 * length field, until the frame is complete. Their memory grows with the bytes that arrive and
 * never by the length that a frame announces.
 */
#include "framer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct fl_framer {
    const uint8_t *in; /* lent by the caller and not consumed yet */
    size_t in_len;
    uint8_t *partial; /* the beginning of a frame, with its length field */
    size_t partial_len;
    size_t partial_cap;
    uint32_t max_frame;
    bool is_returned; /* `partial` is a whole frame that fl_framer_next() has returned */
    int error;
};

enum {
    PARTIAL_MIN = 256,        /* the first allocation */
    PARTIAL_KEEP = 64 * 1024, /* a larger buffer is freed after its frame */
};

/* The length field of a frame. Not in a header of its own, so that two files are the framer. */
static uint32_t read_length(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

const char *fl_strerror(int error)
{
    switch (error) {
    case FL_ENOMEM: return "out of memory";
    case FL_ETOOLONG: return "frame over the limit";
    case FL_ETRUNCATED: return "the stream ended inside a frame";
    case FL_EINVAL: return "argument out of range, or call in the wrong order";
    default: return error < 0 ? "unknown error" : "no error";
    }
}

int fl_scan(const uint8_t *data, size_t len, uint32_t max_frame, fl_span *out)
{
    size_t at = 0;
    uint32_t frames = 0;
    int result = 0;
    size_t need = FL_FRAME_HEADER;

    while (len - at >= FL_FRAME_HEADER) {
        uint32_t body = read_length(data + at);
        if (body > max_frame) {
            result = FL_ETOOLONG;
            break;
        }
        if (len - at - FL_FRAME_HEADER < body) {
            need = (size_t)FL_FRAME_HEADER + body;
            break;
        }
        at += (size_t)FL_FRAME_HEADER + body;
        frames++;
    }
    out->used = at;
    out->frames = frames;
    out->need = need;
    return result;
}

fl_framer *fl_framer_new(uint32_t max_frame)
{
    if (max_frame < 1 || max_frame > FL_FRAME_LIMIT)
        return NULL;
    fl_framer *framer = calloc(1, sizeof *framer);
    if (framer)
        framer->max_frame = max_frame;
    return framer;
}

void fl_framer_free(fl_framer *framer)
{
    if (!framer)
        return;
    free(framer->partial);
    free(framer);
}

int fl_framer_feed(fl_framer *framer, const uint8_t *data, size_t len)
{
    if (framer->error)
        return framer->error;
    if (framer->in_len || (!data && len))
        return FL_EINVAL;
    framer->in = data;
    framer->in_len = len;
    return 0;
}

/* Moves lent bytes into the partial frame until that has `want` bytes or no lent byte is left.
 * Returns 1 when it has `want` bytes, 0 when it has fewer, or FL_ENOMEM. */
static int keep(fl_framer *framer, size_t want)
{
    size_t missing = want - framer->partial_len;
    size_t n = framer->in_len < missing ? framer->in_len : missing;
    if (n > framer->partial_cap - framer->partial_len) {
        size_t cap = framer->partial_cap ? framer->partial_cap : PARTIAL_MIN;
        while (cap - framer->partial_len < n)
            cap *= 2; /* at most twice the bytes that arrived, so it cannot overflow */
        uint8_t *grown = realloc(framer->partial, cap);
        if (!grown)
            return framer->error = FL_ENOMEM;
        framer->partial = grown;
        framer->partial_cap = cap;
    }
    if (n) {
        memcpy(framer->partial + framer->partial_len, framer->in, n);
        framer->partial_len += n;
        framer->in += n;
        framer->in_len -= n;
    }
    return framer->partial_len == want;
}

/* Empties the buffer of the partial frame, and frees it if it is large. */
static void drop_partial(fl_framer *framer)
{
    framer->is_returned = false;
    framer->partial_len = 0;
    if (framer->partial_cap > PARTIAL_KEEP) {
        free(framer->partial);
        framer->partial = NULL;
        framer->partial_cap = 0;
    }
}

/* Completes the frame that an earlier feed began. Returns 1, 0 when it needs more bytes, or an
 * error. */
static int complete_partial(fl_framer *framer, fl_frame *out)
{
    if (framer->partial_len < FL_FRAME_HEADER) {
        int result = keep(framer, FL_FRAME_HEADER);
        if (result <= 0)
            return result;
    }
    uint32_t body = read_length(framer->partial);
    if (body > framer->max_frame)
        return framer->error = FL_ETOOLONG;
    int result = keep(framer, (size_t)FL_FRAME_HEADER + body);
    if (result <= 0)
        return result;
    out->data = framer->partial + FL_FRAME_HEADER;
    out->len = body;
    framer->is_returned = true;
    return 1;
}

int fl_framer_next(fl_framer *framer, fl_frame *out, size_t n)
{
    size_t got = 0;

    if (framer->error)
        return framer->error;
    if (n < 1)
        return FL_EINVAL;
    if (n > INT32_MAX)
        n = INT32_MAX;
    if (framer->is_returned)
        drop_partial(framer);
    if (framer->partial_len) {
        int result = complete_partial(framer, out);
        if (result <= 0)
            return result;
        got = 1;
    }
    while (got < n && framer->in_len >= FL_FRAME_HEADER) {
        uint32_t body = read_length(framer->in);
        if (body > framer->max_frame) {
            framer->error = FL_ETOOLONG;
            return got ? (int)got
                       : FL_ETOOLONG; /* the complete frames first, the error next time */
        }
        if (framer->in_len - FL_FRAME_HEADER < body)
            break;
        out[got].data = framer->in + FL_FRAME_HEADER;
        out[got].len = body;
        got++;
        framer->in += (size_t)FL_FRAME_HEADER + body;
        framer->in_len -= (size_t)FL_FRAME_HEADER + body;
    }
    if (got)
        return (int)got;
    return keep(framer, framer->partial_len + framer->in_len) < 0 ? framer->error : 0;
}

int fl_framer_end(fl_framer *framer)
{
    if (framer->error)
        return framer->error;
    if (framer->is_returned)
        drop_partial(framer);
    if (framer->partial_len || framer->in_len)
        return framer->error = FL_ETRUNCATED;
    return 0;
}
