/* framer.c: bytes in, frames out. Pure: see fastlog.h for the contract.
 *
 * The only bytes ever copied are those of a frame that spans two feeds; they are held, length
 * included, until the rest has come. The memory for them grows with what has arrived and never by
 * what a length announces.
 */
#include "framer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct fl_framer {
    const uint8_t *in; /* lent by the caller, not used up yet */
    size_t in_len;
    uint8_t *held; /* the beginning of a frame, with its length */
    size_t held_len;
    size_t held_cap;
    uint32_t max_frame;
    bool handed_out; /* held is a frame that the caller is looking at */
    int error;
};

enum { HELD_MIN = 256, HELD_KEEP = 64 * 1024 };

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

const char *fl_strerror(int error)
{
    switch (error) {
    case FL_ENOMEM: return "out of memory";
    case FL_ETOOLONG: return "frame over the limit";
    case FL_ETRUNCATED: return "the stream ended inside a frame";
    case FL_EINVAL: return "argument out of range, or call out of turn";
    case FL_ESYS: return "system call failed";
    case FL_EMAGIC: return "not a frame of the fastlog protocol";
    case FL_EMALFORMED: return "a frame that contradicts itself";
    case FL_ESEQUENCE: return "records are missing before these";
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
        uint32_t body = read_u32(data + at);
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
    free(framer->held);
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

/* Moves lent bytes to the held ones until these are `want`, or the lent ones are used up. Returns 1
 * when they are `want`, 0 when not yet, or FL_ENOMEM. */
static int hold(fl_framer *framer, size_t want)
{
    size_t missing = want - framer->held_len;
    size_t n = framer->in_len < missing ? framer->in_len : missing;
    if (n > framer->held_cap - framer->held_len) {
        size_t cap = framer->held_cap ? framer->held_cap : HELD_MIN;
        while (cap - framer->held_len < n)
            cap *= 2; /* at most twice what has arrived, so it cannot overflow */
        uint8_t *grown = realloc(framer->held, cap);
        if (!grown)
            return framer->error = FL_ENOMEM;
        framer->held = grown;
        framer->held_cap = cap;
    }
    if (n) {
        memcpy(framer->held + framer->held_len, framer->in, n);
        framer->held_len += n;
        framer->in += n;
        framer->in_len -= n;
    }
    return framer->held_len == want;
}

/* The held frame was looked at: forget it, and its memory if a large frame made it large. */
static void release(fl_framer *framer)
{
    framer->handed_out = false;
    framer->held_len = 0;
    if (framer->held_cap > HELD_KEEP) {
        free(framer->held);
        framer->held = NULL;
        framer->held_cap = 0;
    }
}

/* Completes the frame that earlier feeds began. Returns 1, 0 (needs more), or an error. */
static int finish_held(fl_framer *framer, fl_frame *out)
{
    if (framer->held_len < FL_FRAME_HEADER) {
        int result = hold(framer, FL_FRAME_HEADER);
        if (result <= 0)
            return result;
    }
    uint32_t body = read_u32(framer->held);
    if (body > framer->max_frame)
        return framer->error = FL_ETOOLONG;
    int result = hold(framer, (size_t)FL_FRAME_HEADER + body);
    if (result <= 0)
        return result;
    out->data = framer->held + FL_FRAME_HEADER;
    out->len = body;
    framer->handed_out = true;
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
    if (framer->handed_out)
        release(framer);
    if (framer->held_len) {
        int result = finish_held(framer, out);
        if (result <= 0)
            return result;
        got = 1;
    }
    while (got < n && framer->in_len >= FL_FRAME_HEADER) {
        uint32_t body = read_u32(framer->in);
        if (body > framer->max_frame) {
            framer->error = FL_ETOOLONG;
            return got ? (int)got : FL_ETOOLONG; /* first the good ones, then the bad news */
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
    return hold(framer, framer->held_len + framer->in_len) < 0 ? framer->error : 0;
}

int fl_framer_end(fl_framer *framer)
{
    if (framer->error)
        return framer->error;
    if (framer->handed_out)
        release(framer);
    if (framer->held_len || framer->in_len)
        return framer->error = FL_ETRUNCATED;
    return 0;
}
