/* fastlog.h: the C API of fastlog.
 *
 * Three parts. The framer and the checksum are pure: no system header, no I/O, no global state.
 * To embed the framer in a program of your own, take framer.c and this header; nothing else is
 * needed. The loop (Linux) receives from many sockets by edge-triggered epoll and hands complete
 * frames to one callback.
 *
 * Conventions. A result >= 0 is a success or a count; a negative one is one of enum fl_error, and
 * fl_strerror() has its text. Errors of a framer are sticky. Objects come from *_new() and go to
 * *_free(), which takes NULL. Nothing here is thread-safe: one object, one thread at a time. Sizes
 * are in bytes, integers on the wire and in blocks are big-endian.
 *
 * The regions between the "cffi" marks are also what Python sees: build_ext.py reads them.
 */
#ifndef FASTLOG_H
#define FASTLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin pure */

enum fl_error {
    FL_ENOMEM = -1,     /* no memory */
    FL_ETOOLONG = -2,   /* a frame announces more than the limit */
    FL_ETRUNCATED = -3, /* the stream ended inside a frame */
    FL_EINVAL = -4,     /* an argument out of range, or a call out of turn */
    FL_ESYS = -5,       /* a system call failed: errno, or fl_loop_errno(), says why */
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

/* CRC-32C (Castagnoli; RFC 3720, B.4) of data, continuing from crc; the first call passes 0. */
uint32_t fl_crc32c(uint32_t crc, const uint8_t *data, size_t len);

/* cffi: end pure */

#ifdef __linux__
/* cffi: begin loop */

/* ---- The loop ------------------------------------------------------------------------------
 *
 * A turn, fl_loop_poll(), waits, reads what the connections have, and calls the callback at most
 * once, with the runs of a block: every complete frame that the turn received, laid out as the
 * journal stores it (fastlog/block.py has the layout). Bytes of incomplete frames wait in memory of
 * their connection, which grows as they arrive, all of it under one budget.
 */

/* Why a connection was closed or not admitted. */
enum fl_reason {
    FL_TOO_LONG,  /* a frame over the limit */
    FL_TRUNCATED, /* it ended, or fell silent, inside a frame */
    FL_HTTP,      /* another protocol, by its first bytes */
    FL_TLS,
    FL_SYSLOG,
    FL_FLUENTD,
    FL_LUMBERJACK,
    FL_FASTLOG,     /* our own dialect, of which this version speaks nothing yet */
    FL_UNKNOWN,     /* none that we know */
    FL_CONNECTIONS, /* max_connections are open */
    FL_DESCRIPTORS, /* the process has no file descriptor left */
    FL_MEMORY,      /* partial_memory is used up, and this half-received frame was the largest */
    FL_REASONS,     /* how many there are */
};

/* The reason in words, static: "frame over the limit". */
const char *fl_reason_text(int reason);

enum {
    FL_PEER_SIZE = 56, /* of a peer's name with its NUL: "[IPv6 address]:port" */
    FL_HEAD_SIZE = 64, /* of the first bytes that a refusal keeps */
};

/* One connection that was refused. */
typedef struct fl_refusal {
    int reason;      /* enum fl_reason */
    uint32_t length; /* what the frame announced, 0 if it had not come to that */
    uint32_t head_len;
    uint8_t head[64]; /* FL_HEAD_SIZE first bytes of the offending frame */
    char peer[56];    /* FL_PEER_SIZE "address:port", or "unix" */
} fl_refusal;

typedef struct fl_loop_options {
    uint32_t max_frame;       /* 1 to FL_FRAME_LIMIT */
    uint32_t max_connections; /* the newest beyond that are closed */
    size_t partial_memory;    /* budget for all half-received frames together */
    uint32_t arena;           /* size of a block, about: at least 64 KiB */
    uint32_t stall_ms;        /* a half-received frame may be silent so long */
    uint32_t min_rate;        /* bytes/s that one must bring once it is older than that */
    uint32_t nap_us; /* after a turn that brought little: wait so long for more; 0: never */
} fl_loop_options;

typedef struct fl_loop_stats {
    uint64_t accepted;    /* connections taken, since the start */
    uint64_t frames;      /* complete frames handed to the callback */
    uint64_t bytes;       /* bytes received */
    uint64_t refused[12]; /* FL_REASONS counts */
    uint64_t unreported;  /* refusals that found the queue of fl_loop_refusal() full */
    uint32_t connections; /* open now */
    uint32_t partials;    /* of these, inside a frame */
    size_t partial_bytes; /* memory these hold */
    uint32_t ready;       /* connections that are known to have more to read */
} fl_loop_stats;

/* Called with the runs of a block. The bytes are the loop's and gone when the call returns. */
typedef void (*fl_block_fn)(void *context, const uint8_t *runs, size_t len, uint32_t frames);

typedef struct fl_loop fl_loop;

/* A loop without sockets. NULL: FL_EINVAL for bad options, FL_ENOMEM, or FL_ESYS in *error. */
fl_loop *fl_loop_new(const fl_loop_options *options, fl_block_fn on_block, int *error);

/* Closes every connection; listeners and watched descriptors stay open, they are the caller's. */
void fl_loop_free(fl_loop *loop);

/* Accepts from a listening socket, TCP or Unix, which is made non-blocking. Up to 16 of them. */
int fl_loop_listen(fl_loop *loop, int fd);

/* Makes a readable fd end a turn at once (FL_WOKEN). Up to 8. The caller reads it. */
int fl_loop_watch(fl_loop *loop, int fd);

/* Takes over a connected socket, and what was received of its next frame already: the beginning of
 * one incomplete frame, or nothing. The loop owns fd if this returns 0. peer is cut at
 * FL_PEER_SIZE - 1 bytes. */
int fl_loop_add(fl_loop *loop, int fd, const char *peer, const uint8_t *partial, size_t len);

int fl_loop_export(const fl_loop *loop, uint32_t *at, char peer[56], size_t *len);
void fl_loop_state(const fl_loop *loop, uint32_t at, uint8_t *state);
int fl_loop_take(fl_loop *loop, int fd, const char *peer, const uint8_t *state, size_t len);

enum {
    FL_WOKEN = 1, /* a watched descriptor is readable */
    FL_MORE = 2,  /* there is more to read: the next turn will not wait */
};

/* Runs one turn, waiting timeout_ms at most (-1: for ever). Returns FL_ flags, or an error. A
 * signal ends the wait. */
int fl_loop_poll(fl_loop *loop, int timeout_ms, void *context);

/* Stops reading, or goes on; nothing is closed for its silence meanwhile. */
void fl_loop_pause(fl_loop *loop, bool paused);

/* Begins the end: takes what waits to be accepted, stops listening, and has every connection read
 * once more. A paused loop stays paused. Poll until fl_loop_stats.bytes has stood still for a
 * moment, or as long as you care to; then hang up. A moment is more than the 40 ms for which a
 * kernel may keep back a sender's last bytes (Nagle's algorithm and delayed acknowledgements). */
int fl_loop_drain(fl_loop *loop);

/* Closes every connection; those that are inside a frame are reported as truncated. */
void fl_loop_hang_up(fl_loop *loop);

/* Takes the oldest refusal that was not taken yet: 1, or 0 if there is none. 256 are kept. */
int fl_loop_refusal(fl_loop *loop, fl_refusal *out);

void fl_loop_stats_get(const fl_loop *loop, fl_loop_stats *out);

/* errno of the last FL_ESYS. */
int fl_loop_errno(const fl_loop *loop);

/* cffi: end loop */
#endif

#endif
