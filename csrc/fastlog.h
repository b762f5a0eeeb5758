/* fastlog.h: the C API of fastlog.
 *
 * Four parts. The framer, the checksums and the fastlog dialect are pure: no system header, no I/O,
 * no global state. To embed the framer in a program of your own, take framer.c and this header;
 * nothing else is needed. The loop (Linux) receives from many sockets by edge-triggered epoll,
 * hands complete frames to one callback, and acknowledges those of clients that want it.
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
    FL_EMAGIC = -6,     /* these bytes do not begin a frame of the fastlog dialect */
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

/* CRC-32C (Castagnoli; RFC 3720, B.4) of data, continuing from crc; the first call passes 0. */
uint32_t fl_crc32c(uint32_t crc, const uint8_t *data, size_t len);

/* ---- Blocks: runs of frames, as the loop makes them and the translator reads them ----------
 *
 * A run is a header, its peer, and the frames of one connection. fastlog/block.py has the layout.
 */

/* What the frames of a run are; those that are not here the loop does not make. */
enum { FL_RUN_STOCK = 0, FL_RUN_BATCH = 3, FL_RUN_GAP = 4 };

enum {
    FL_CLIENT_ID = 16,
    FL_CLIENT_KEY = 8, /* names the key that a client has proved; zeros: none */
    FL_RUN_HEADER = 16,
    FL_RUN_STAMP = 40, /* of a run of a fastlog client: id, incarnation, first sequence, key */
};

/* ---- The translator: pickles in, rows out ---------------------------------------------------
 *
 * A row has one value for each column. The rows of a block come as one pickle of a list of tuples.
 * It holds nothing but data, and nothing in it was copied without being understood, so an unpickler
 * may read it. A frame whose values are as the columns want them, and of a few well-known classes,
 * is plain. What else a frame holds stands in its row as an inert tree, for Python to tell what it
 * means (fastlog/decode/nodes.py has its form). The rows of plain frames may come as lines of JSON
 * instead. See docs/pickle.md for what becomes of a value.
 */

enum fl_form {
    FL_ROWS,  /* all rows come in the pickle */
    FL_LINES, /* a line for each frame: an object for a plain one, which then has no row in the
                 pickle; an empty line for any other */
};

/* What stands in a column; the last four name attributes that have no column. */
enum fl_column_kind {
    FL_COL_TIME,    /* an attribute: a number within bounds->first and last; else `received` */
    FL_COL_INTEGER, /* an attribute: an integer of 64 bits, or None */
    FL_COL_TEXT,    /* an attribute: a str, or None */
    FL_COL_TRACE,   /* the same, and None where it is empty or a single line feed */
    FL_COL_MESSAGE, /* an attribute: a str */
    FL_COL_HOST,
    FL_COL_RECEIVED,
    FL_COL_EXTRA, /* all other attributes, as JSON text */
    FL_COL_OFFSET,
    FL_COL_IDX,
    FL_COL_SILENT, /* dropped */
    FL_COL_EMPTY,  /* dropped when it is None, or empty */
    FL_COL_ARGS,   /* the same, and a frame is plain only then */
    FL_COL_TWIN,   /* dropped when it is None, or equals the message */
};

enum {
    FL_COL_RECURS = 1,   /* its values recur from row to row: each is written once */
    FL_COL_TOGETHER = 2, /* columns of which a plain frame has all or none */
};

typedef struct fl_column {
    const char *name; /* of the attribute, under 64 bytes of ASCII; copied */
    const char *key;  /* its name in lines, which needs no escape; NULL: the same */
    uint8_t kind;     /* enum fl_column_kind */
    uint8_t flags;
} fl_column;

/* What a plain frame stays below. */
typedef struct fl_bounds {
    uint32_t depth;        /* containers inside each other */
    uint32_t nodes;        /* values, and no more than */
    uint32_t nodes_more;   /* the frame has bytes, and so many */
    uint32_t weight;       /* bytes as JSON writes them, and no more than */
    uint32_t weight_times; /* so many times the bytes of the frame, */
    uint32_t weight_more;  /* and so many more */
    uint32_t work_times;   /* units of work for each byte of the frame, */
    uint32_t work_more;    /* and so many more */
    uint32_t value, container, object, key,
        escape;         /* units that each takes; more than Python would count */
    double first, last; /* times, in seconds since the epoch; the last is excluded */
} fl_bounds;

/* What became of a frame. */
enum fl_verdict {
    FL_PLAIN,
    FL_FOREIGN, /* it is JSON, or too large for the translator's arrays */
    FL_EXTRA,   /* for `extra` the row has (length of the frame, [key, value, ...], met): a tree.
                   `met` is a list of nodes through which each cycle goes, or None */
    FL_TREE,    /* the same with the whole record as a tree, and None for each attribute */
    FL_NO_STOP, /* from here on: malformed, forbidden, or no record */
    FL_CUT,
    FL_UNDERFLOW,
    FL_MEMO_INDEX,
    FL_MEMO_UNSET,
    FL_NOT_UTF8,
    FL_NESTED_FRAME,
    FL_FRAME_LENGTH,
    FL_PROTOCOL,
    FL_MARKS,
    FL_TRAILING,
    FL_OPEN_MARK,
    FL_NOT_ONE,
    FL_NUMBER,
    FL_NEGATIVE,
    FL_ODD_PAIRS,
    FL_NO_LIST,
    FL_NO_DICT,
    FL_NO_SET,
    FL_NO_OBJECT,
    FL_NO_GLOBAL,
    FL_NO_ARGUMENTS,
    FL_NO_NAME,
    FL_STRING,
    FL_OPCODE,
    FL_DUP,
    FL_PERSID,
    FL_BINPERSID,
    FL_EXT1,
    FL_EXT2,
    FL_EXT4,
    FL_NEXT_BUFFER,
    FL_READONLY_BUFFER,
    FL_IS_NONE, /* from here on: what the value is, in place of a record */
    FL_IS_BOOL,
    FL_IS_INT,
    FL_IS_FLOAT,
    FL_IS_STR,
    FL_IS_BYTES,
    FL_IS_GLOBAL,
    FL_IS_LIST,
    FL_IS_SET,
    FL_IS_TUPLE,
    FL_IS_OVERFLOW,
    FL_VERDICTS, /* how many there are */
};

/* A rejection in words, static: "malformed pickle: no STOP". */
const char *fl_verdict_text(int verdict);

typedef struct fl_repacker fl_repacker;

/* The names that have a meaning to Python: objects of all other classes are written as they came,
 * {"!": "module.Class", "args": [...], "state": ...}. */
typedef struct fl_meanings {
    const char *const
        *names; /* in the order of strcmp(): "module.Class", or "module:" for all in it */
    size_t n;
} fl_meanings;

/* A translator into rows of these columns, 32 at most. The names of the meanings must live as long
 * as it does. NULL: no memory, or an argument out of range.
 */
fl_repacker *fl_repacker_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                             const fl_meanings *meanings, enum fl_form form);
void fl_repacker_free(fl_repacker *repacker);

/* Begins a block: what all its rows have in common. Returns 0. */
int fl_repacker_begin(fl_repacker *repacker, double received, uint64_t offset);

/* Translates a run: that many frames, each behind its length (u32), in exactly len bytes. idx is
 * the number of the first one, host their sender. verdicts gets one byte a frame. Returns how many
 * are not plain, FL_EINVAL when the lengths do not fit, or FL_ENOMEM. After an error, begin anew.
 */
int fl_repacker_run(fl_repacker *repacker, const uint8_t *frames, size_t len, uint32_t count,
                    uint32_t idx, const char *host, size_t host_len, uint8_t *verdicts);

/* Translates all runs of a block of the journal (fastlog/block.py has the layout), with `frames`
 * frames in all, numbered from 0. Runs of anything but records are left alone: their frames count
 * as foreign. Otherwise like fl_repacker_run(). */
int fl_repacker_block(fl_repacker *repacker, const uint8_t *runs, size_t len, uint32_t frames,
                      uint8_t *verdicts);

/* What became of a block. It is the repacker's, until the next begin. */
typedef struct fl_translation {
    const uint8_t *rows; /* a pickle */
    size_t rows_len;
    const uint8_t *lines; /* in FL_LINES only */
    size_t lines_len;
} fl_translation;

/* Ends the block. Returns 0 or FL_ENOMEM. */
int fl_repacker_end(fl_repacker *repacker, fl_translation *out);

/* cffi: end pure */

/* ---- The fastlog dialect: docs/protocol.md has its frames and rules ----------------------------
 */

enum fl_type {
    FL_T_HELLO = 0x01,
    FL_T_CHALLENGE = 0x02,
    FL_T_AUTH = 0x03,
    FL_T_WELCOME = 0x04,
    FL_T_BATCH = 0x10,
    FL_T_GAP = 0x11,
    FL_T_ACK = 0x20,
    FL_T_NOTICE = 0x40,
    FL_T_ERROR = 0x4F,
    FL_T_BYE = 0x50,
};

/* Codes of an ERROR, and what the client shall do. */
enum {
    FL_C_SEQUENCE = 4,
    FL_C_MALFORMED = 5,
    FL_C_FULL = 6,
    FL_C_TURN = 7,
    FL_C_LIMIT = 8,
    FL_RETRY = 0,
    FL_FIX_CONFIG = 1,
};

enum {
    FL_HEAD_BYTES = 8,      /* before every frame */
    FL_GREETING_MAX = 512,  /* payload of a frame before WELCOME */
    FL_BATCH_EXTRA = 65536, /* what a batch may have beyond one record at the limit */
    FL_GAP_BYTES = 33,
    FL_ACK_BYTES = 21,
    FL_TEXT_BYTES = 200,
    FL_ERROR_BYTES = FL_HEAD_BYTES + 11 + FL_TEXT_BYTES,
};

typedef struct fl_head {
    uint8_t type, flags;
    uint32_t len; /* of the payload */
} fl_head;

/* Reads a header. 1: it is in out; 0: it takes more bytes; FL_EMAGIC, as early as that shows. */
int fl_head_read(const uint8_t *data, size_t len, fl_head *out);

typedef struct fl_crc32_tables {
    uint32_t of[8][256];
} fl_crc32_tables;

void fl_crc32_prepare(fl_crc32_tables *tables);

/* zlib's crc32() of data. */
uint32_t fl_crc32(const fl_crc32_tables *tables, const uint8_t *data, size_t len);

/* Records `base` to `base + count - 1`, as frames behind their lengths. */
typedef struct fl_batch {
    uint64_t base;
    uint32_t count;
    const uint8_t *frames; /* in the payload */
    size_t len;
} fl_batch;

/* Reads the payload of a BATCH, head->len bytes, and checks every length in it. Returns 0,
 * FL_EMALFORMED, or FL_ETOOLONG for a record over max_record. */
int fl_batch_read(const fl_crc32_tables *tables, const fl_head *head, const uint8_t *payload,
                  uint32_t max_record, fl_batch *out);

/* Leaves out the first n records, n <= count. */
void fl_batch_skip(fl_batch *batch, uint32_t n);

/* Records first to last will never come. */
typedef struct fl_gap {
    uint64_t first, last;
    uint8_t reason;
    uint64_t t0, t1; /* when the first and the last were given up, microseconds since the epoch */
} fl_gap;

/* 0 or FL_EMALFORMED. */
int fl_gap_read(const fl_head *head, const uint8_t *payload, fl_gap *out);
void fl_gap_write(uint8_t to[FL_GAP_BYTES], const fl_gap *gap);

/* The last sequence of a client that leaves: 0 or FL_EMALFORMED. */
int fl_bye_read(const fl_head *head, const uint8_t *payload, uint64_t *last);

/* Whole frames; those with a text (cut at FL_TEXT_BYTES) return their length. */
void fl_ack_write(uint8_t to[FL_ACK_BYTES], uint64_t committed, uint32_t window, uint8_t state);
size_t fl_error_write(uint8_t to[FL_ERROR_BYTES], int code, int action, uint64_t seq,
                      const char *text);
size_t fl_notice_write(uint8_t to[FL_ERROR_BYTES], int code, uint32_t retry_ms, const char *text);

typedef struct fl_mark {
    uint64_t offset, accepted;
} fl_mark;

/* What was taken from one client. Its fields are for reading. */
typedef struct fl_session {
    uint64_t accepted;  /* the last sequence that is in a block */
    uint64_t journaled; /* the last that the journal has taken */
    uint64_t committed; /* the last that is durable: what is acknowledged */
    fl_mark *marks; /* a ring: what becomes committed when the journal is durable up to offset */
    uint32_t mark_first, mark_count, mark_cap;
} fl_session;

void fl_session_begin(fl_session *session, uint64_t committed);
void fl_session_end(fl_session *session);

/* How many of these `count` sequences, from `first`, were taken before. 0 or FL_ESEQUENCE. */
int fl_session_offer(const fl_session *session, uint64_t first, uint64_t count, uint64_t *skip);

/* Makes room for one more mark; to be called before `accepted` is moved. False: no memory. */
bool fl_session_reserve(fl_session *session);

/* The journal has taken what was accepted, in a block that ends at this offset of it. */
void fl_session_journaled(fl_session *session, uint64_t offset);

/* The journal has refused what was accepted since the last block. */
void fl_session_discarded(fl_session *session);

/* The journal is durable up to this offset. True: there is something to acknowledge. */
bool fl_session_durable(fl_session *session, uint64_t offset);

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
    FL_UNKNOWN,     /* none that we know */
    FL_STOCK,       /* a stock client, where the listener admits none */
    FL_SILENT,      /* a fastlog client that did not say hello in time */
    FL_OUT_OF_TURN, /* a frame of the fastlog dialect that may not come now */
    FL_MALFORMED,   /* one that contradicts itself */
    FL_SEQUENCE,    /* records of a fastlog client are missing before those it sent */
    FL_CONNECTIONS, /* max_connections are open */
    FL_HOST,        /* max_per_host are open from its host */
    FL_UNUSED,      /* it never sent a byte, and another needed its place */
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
    uint32_t max_per_host;    /* so are those of one host beyond that: see hosts.c */
    size_t partial_memory;    /* budget for all half-received frames together */
    uint32_t arena;           /* size of a block, about: at least 64 KiB */
    uint32_t stall_ms;        /* a half-received frame may be silent so long */
    uint32_t min_rate;        /* bytes/s that one must bring once it is older than that */
    uint32_t nap_us;       /* after a turn that brought little: wait so long for more; 0: never */
    uint32_t hello_ms;     /* a fastlog client has so long to be welcomed; another that has not sent
                              a byte for so long makes room for who comes when there is none */
    uint32_t keepalive_ms; /* it hears from us at least this often */
    uint32_t probe_idle_s; /* TCP: the kernel probes a silent peer after so long, at most 32767; */
    uint32_t probe_every_s; /* again so often, at most 32767; 0, of this or the others: as the */
    uint32_t probe_count;   /* kernel is set; and closes it after so many in vain, at most 127 */
} fl_loop_options;

typedef struct fl_loop_stats {
    uint64_t accepted;    /* connections taken, since the start */
    uint64_t frames;      /* complete frames handed to the callback */
    uint64_t bytes;       /* bytes received */
    uint64_t refused[32]; /* FL_REASONS counts */
    uint64_t unreported;  /* refusals that found the queue of fl_loop_refusal() full */
    uint64_t acks;        /* sent to fastlog clients */
    uint64_t repeated;    /* records that these sent once more, and that were skipped */
    uint64_t slowings;    /* times that a connection had to wait for its share: fl_loop_limit() */
    uint32_t clients;     /* fastlog clients that are welcome now */
    uint32_t connections; /* open now */
    uint32_t partials;    /* of these, inside a frame */
    size_t partial_bytes; /* memory these hold */
    uint32_t ready;       /* connections that are known to have more to read */
    uint32_t slowed;      /* connections that wait for their share */
} fl_loop_stats;

/* Called with the runs of a block. The bytes are the loop's and gone when the call returns. */
typedef void (*fl_block_fn)(void *context, const uint8_t *runs, size_t len, uint32_t frames);

typedef struct fl_loop fl_loop;

/* A loop without sockets. NULL: FL_EINVAL for bad options, FL_ENOMEM, or FL_ESYS in *error. */
fl_loop *fl_loop_new(const fl_loop_options *options, fl_block_fn on_block, int *error);

/* Closes every connection; listeners and watched descriptors stay open, they are the caller's. */
void fl_loop_free(fl_loop *loop);

/* What a listener asks of those who connect. */
enum {
    FL_NO_STOCK = 1, /* only clients that show the magic number */
    FL_AUTH = 2,     /* only clients that prove that they have a key: for the caller to check */
};

/* Accepts from a listening socket, TCP or Unix, which is made non-blocking. Up to 16 of them.
 * terms: FL_NO_STOCK, FL_AUTH. */
int fl_loop_listen(fl_loop *loop, int fd, uint32_t terms);

/* Makes a readable fd end a turn at once (FL_WOKEN). Up to 8. The caller reads it. */
int fl_loop_watch(fl_loop *loop, int fd);

/* Takes over a connected socket, and what was received of its next frame already: the beginning of
 * one incomplete frame, or nothing. The loop owns fd if this returns 0. peer is cut at
 * FL_PEER_SIZE - 1 bytes. */
int fl_loop_add(fl_loop *loop, int fd, const char *peer, const uint8_t *partial, size_t len);

/* ---- Fastlog clients: greeted by the caller, then served by the loop ----
 *
 * The loop reports a HELLO and an AUTH as events, and reads no further on that connection until the
 * caller has answered: with fl_loop_send(), fl_loop_admit() or fl_loop_dismiss(). A client that was
 * admitted is the loop's: its batches and gaps become runs of the block, what it sent before is
 * skipped, and what fl_loop_durable() makes safe is acknowledged. When its connection has ended and
 * all that it sent is durable or discarded, FL_ENDED says so.
 */
enum fl_event_kind {
    FL_HELLO, /* a HELLO has come: its payload is in data */
    FL_PROOF, /* an AUTH has come */
    FL_ENDED, /* the connection of a client that said hello has ended */
};

typedef struct fl_event {
    uint64_t conn; /* names the connection in the calls below */
    int kind;      /* enum fl_event_kind */
    uint32_t terms;
    uint32_t len;
    uint8_t data[512];  /* FL_GREETING_MAX */
    char peer[56];      /* FL_PEER_SIZE */
    uint64_t committed; /* FL_ENDED: what is durable, if it was admitted */
    bool admitted, said_bye;
} fl_event;

/* Takes the oldest event that was not taken yet: 1, or 0 if there is none. */
int fl_loop_event(fl_loop *loop, fl_event *out);

/* Sends a frame of the greeting, len <= 512, and reads on. The calls that name a connection return
 * FL_EINVAL when it has ended. */
int fl_loop_send(fl_loop *loop, uint64_t conn, const uint8_t *data, size_t len);

/* Makes it a client: all up to `committed` is known of it. key goes into the stamps of its runs, so
 * that the journal says whose the id is. welcome is the frame that says so. */
int fl_loop_admit(fl_loop *loop, uint64_t conn, const uint8_t id[FL_CLIENT_ID],
                  const uint8_t key[FL_CLIENT_KEY], uint64_t incarnation, uint64_t committed,
                  const uint8_t *welcome, size_t len);

/* Sends a last frame, if len > 0, and closes; what the client has sent and we have not read is
 * dropped. */
int fl_loop_dismiss(fl_loop *loop, uint64_t conn, const uint8_t *frame, size_t len);

/* What is durable of an admitted client. */
int fl_loop_committed(const fl_loop *loop, uint64_t conn, uint64_t *out);

/* Clients whose records are in blocks of which the journal has not said yet whether it takes them.
 */
uint32_t fl_loop_touched(const fl_loop *loop);

/* The journal has taken those blocks; the last ends at this offset of it. */
void fl_loop_journaled(fl_loop *loop, uint64_t offset);

/* The journal has refused them: these clients are told to send again later. */
void fl_loop_discarded(fl_loop *loop);

/* The journal is durable up to this offset: acknowledges what that makes safe. */
void fl_loop_durable(fl_loop *loop, uint64_t offset);

/* How much clients may send beyond what is committed, in bytes, and how the journal is: 0 ok, 1
 * slow, 2 full. Clients are told at once if it is more than before. */
void fl_loop_window(fl_loop *loop, uint32_t bytes, uint8_t state);

/* ---- Handing connections to another process ----
 *
 * A connection is a descriptor, its peer and its state: what was received of its next frame, and
 * for an admitted client its numbers. The state has a version; its layout is handed.c's own.
 */

/* The next connection from slot *at on, which becomes the slot behind it. Returns its descriptor,
 * which stays the loop's, or -1 at the end. Clients that were not admitted yet are left out. *len
 * is the size of its state. */
int fl_loop_export(const fl_loop *loop, uint32_t *at, char peer[56], size_t *len);

/* Writes the state of the connection that fl_loop_export() found last, *len bytes. */
void fl_loop_state(const fl_loop *loop, uint32_t at, uint8_t *state);

/* Takes over a connection with such a state. Returns 0 and the name of the connection if it is an
 * admitted client, else 0 in *conn, with its id and its key; or an error: then fd is still the
 * caller's. */
int fl_loop_take(fl_loop *loop, int fd, const char *peer, const uint8_t *state, size_t len,
                 uint64_t *conn, uint8_t id[FL_CLIENT_ID], uint8_t key[FL_CLIENT_KEY]);

enum {
    FL_WOKEN = 1,   /* a watched descriptor is readable */
    FL_MORE = 2,    /* there is more to read: the next turn will not wait */
    FL_REFUSED = 4, /* fl_loop_refusal() has something */
    FL_ASKED = 8,   /* fl_loop_event() has something */
};

/* Runs one turn, waiting timeout_ms at most (-1: for ever). Returns FL_ flags, or an error. A
 * signal ends the wait. */
int fl_loop_poll(fl_loop *loop, int timeout_ms, void *context);

/* ---- Shares: reading more slowly from who sends too much ----
 *
 * A connection that is read more slowly loses nothing: its kernel's buffers fill, and then its
 * sender waits. Shares are counted in weight: the bytes, and FL_FRAME_WEIGHT for each frame. What
 * was not used of a share can be used within an eighth of a second, and what is owed is forgotten
 * after three quarters of one.
 */
enum { FL_FRAME_WEIGHT = 256 };

/* Reads from each connection at most `own` a second, and beyond that from all connections of a host
 * together at most `host`; 0: as much as they send. A connection has a share of its own once it was
 * read empty after a first complete frame; until then it has only its host's. A host is as in
 * max_per_host, and this machine is one. */
void fl_loop_limit(fl_loop *loop, uint32_t own, uint32_t host);

/* Lets a turn read about so much weight, 4096 at least, so that the caller can soon limit what
 * follows; 0: as much as a block takes. */
void fl_loop_step(fl_loop *loop, uint32_t weight);

/* The next connection from slot *at on, which becomes the slot behind it, that had to wait since
 * this was asked last: how often, or 0 at the end. */
int fl_loop_slowed(fl_loop *loop, uint32_t *at, char peer[56]);

/* Stops reading, or goes on; nothing is closed for its silence meanwhile. */
void fl_loop_pause(fl_loop *loop, bool paused);

/* Begins the end: tells the clients, takes what waits to be accepted, stops listening, and has
 * every connection read once more. A paused loop stays paused. Poll until fl_loop_stats.bytes has
 * stood still for a moment, or as long as you care to; then hang up. A moment is more than the 40
 * ms for which a kernel may keep back a sender's last bytes (Nagle's algorithm and delayed
 * acknowledgements). */
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
