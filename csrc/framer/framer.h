/* framer.h: splits a stream into frames, without I/O.
 *
 * Copy framer.c and this header to embed the framer in a program of your own.
 */
#ifndef FL_FRAMER_H
#define FL_FRAMER_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

enum fl_error {
    FL_ENOMEM = -1,     /* no memory */
    FL_ETOOLONG = -2,   /* a frame announces more than the limit */
    FL_ETRUNCATED = -3, /* the stream ended inside a frame */
    FL_EINVAL = -4,     /* an argument out of range, or a call out of turn */
    FL_ESYS = -5,       /* a system call failed: errno, or fl_loop_errno(), says why */
    FL_EMAGIC = -6,     /* these bytes do not begin a frame of the fastlog protocol */
    FL_EMALFORMED = -7, /* a frame of it contradicts itself */
    FL_ESEQUENCE = -8,  /* records are missing before these */
};

/* The text of an error, static, in lower case, without a full stop. */
const char *fl_strerror(int error);

/* ---- Frames: a length (u32) and that many bytes ------------------------------------------- */

enum {
    FL_FRAME_HEADER = 4,       /* bytes of the length before a frame */
    FL_FRAME_LIMIT = 0xFFFFFF, /* the largest limit: a length's first byte is always 0 */
};

/* A frame, without its length. */
typedef struct fl_frame {
    const uint8_t *data;
    uint32_t len;
} fl_frame;

/* What fl_scan() found. */
typedef struct fl_span {
    size_t used;     /* bytes that the complete frames take, lengths included */
    uint32_t frames; /* how many they are */
    size_t need; /* bytes that the next, incomplete frame has in all; 4 until its length is known */
} fl_span;

/* Finds the complete frames at the start of data. Returns 0, or FL_ETOOLONG if the frame at
 * data[out->used] announces more than max_frame; out is filled either way. */
int fl_scan(const uint8_t *data, size_t len, uint32_t max_frame, fl_span *out);

typedef struct fl_framer fl_framer;

/* A framer for frames of up to max_frame bytes, 1 to FL_FRAME_LIMIT. NULL: no memory, or
 * max_frame is out of range. */
fl_framer *fl_framer_new(uint32_t max_frame);
void fl_framer_free(fl_framer *framer);

/* Lends len bytes to the framer. They must stay until fl_framer_next() has returned 0 or an error.
 * Returns 0, FL_EINVAL if bytes lent before are not used up, or the sticky error. */
int fl_framer_feed(fl_framer *framer, const uint8_t *data, size_t len);

/* Takes the next complete frames, n >= 1 at most, in order. Returns how many, 0 when more bytes are
 * needed, or an error, which stays. Frames point into the bytes that were lent, but the first may
 * point into the framer, if it began in bytes lent earlier; all are valid until the next call. */
int fl_framer_next(fl_framer *framer, fl_frame *out, size_t n);

/* Says that the stream has ended. Returns 0 between frames, FL_ETRUNCATED inside one, or the
 * sticky error. */
int fl_framer_end(fl_framer *framer);

/* cffi: end */

#endif
