/* framer.h: splits a stream into length-prefixed frames, without I/O.
 *
 * To embed the framer in another program, copy framer.c and this header. They need the C standard
 * library and nothing else.
 *
 * A frame is a length, u32 big-endian, and that many bytes. All sizes are in bytes. Functions
 * return a success or a count (>= 0) or a code of enum fl_error (< 0). A framer serves one thread
 * at a time; it shares nothing with other framers.
 *
 *     fl_framer *framer = fl_framer_new(1 << 20);
 *     while ((n = read(fd, buffer, sizeof buffer)) > 0) {
 *         fl_framer_feed(framer, buffer, n);
 *         while ((count = fl_framer_next(framer, frames, 64)) > 0)
 *             handle(frames, count);
 *     }
 *     fl_framer_end(framer);
 *     fl_framer_free(framer);
 */
#ifndef FL_FRAMER_H
#define FL_FRAMER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */

/* Errors of the framer. The other parts of fastlog return them too, and add codes of their own in
 * their headers: FL_ESYS in loop/loop.h, FL_EMAGIC, FL_EMALFORMED and FL_ESEQUENCE in
 * protocol/protocol.h. No value occurs twice. */
enum fl_error {
    FL_ENOMEM = -1,     /* out of memory */
    FL_ETOOLONG = -2,   /* a frame announces more bytes than the limit */
    FL_ETRUNCATED = -3, /* the stream ended inside a frame */
    FL_EINVAL = -4,     /* an argument is out of range, or the calls are in the wrong order */
};

/* Returns the text of a code of enum fl_error: static, lower case, no full stop. */
const char *fl_strerror(int error);

enum {
    FL_FRAME_HEADER = 4,       /* bytes of the length field before a frame */
    FL_FRAME_LIMIT = 0xFFFFFF, /* the largest max_frame: the first byte of a length is always 0 */
};

/* One frame, without its length field. */
typedef struct fl_frame {
    const uint8_t *data;
    uint32_t len;
} fl_frame;

/* The result of fl_scan(). */
typedef struct fl_span {
    size_t used;     /* bytes of the complete frames, length fields included */
    uint32_t frames; /* the number of complete frames */
    size_t need;     /* bytes of the next, incomplete frame with its length field; 4 until its
                        length is known */
} fl_span;

/* Finds the complete frames at the start of data. Fills *out in any case. Returns 0, or FL_ETOOLONG
 * if the frame at data[out->used] announces more than max_frame bytes. */
int fl_scan(const uint8_t *data, size_t len, uint32_t max_frame, fl_span *out);

typedef struct fl_framer fl_framer;

/* Creates a framer for frames of at most max_frame bytes, 1 to FL_FRAME_LIMIT. The caller owns it.
 * Returns NULL if there is no memory or max_frame is out of range. */
fl_framer *fl_framer_new(uint32_t max_frame);

/* Frees a framer; NULL is allowed. */
void fl_framer_free(fl_framer *framer);

/* Lends len bytes of the stream to the framer. The caller keeps them unchanged until
 * fl_framer_next() returns 0 or an error. Returns 0, FL_EINVAL if bytes of the previous call are
 * not consumed, or the error that an earlier call has returned. */
int fl_framer_feed(fl_framer *framer, const uint8_t *data, size_t len);

/* Returns the next complete frames in order: fills at most n >= 1 of them into `out` and returns
 * their number, 0 when more bytes are needed, or an error. Errors are sticky: every later call
 * returns the same one. Frames point into the lent bytes; the first one points into the framer if
 * it began in bytes of an earlier feed. All are valid until the next call. */
int fl_framer_next(fl_framer *framer, fl_frame *out, size_t n);

/* Checks the end of the stream. Returns 0 between frames, FL_ETRUNCATED inside a frame, or the
 * sticky error. */
int fl_framer_end(fl_framer *framer);

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
