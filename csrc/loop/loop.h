/* loop.h: receives from many sockets by edge-triggered epoll. Linux only.
 *
 * fl_loop_poll() runs one poll: it waits, accepts, reads what the connections have, and calls the
 * callback at most once with the runs of a block: every complete frame that the poll received, laid
 * out as the journal stores it (runs.h has the layout). Bytes of a partial frame wait in memory of
 * their connection. That memory grows as bytes arrive, under one budget for all connections.
 *
 * Times are in milliseconds of the monotonic clock, sizes in bytes. Functions return a success or a
 * count (>= 0), or an error code (< 0): FL_ESYS, or one of enum fl_error. Nothing here is
 * thread-safe: one thread at a time uses a loop.
 */
#ifndef FL_LOOP_H
#define FL_LOOP_H

#include "../protocol/protocol.h"
#include "../runs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */

enum fl_loop_error {
    FL_ESYS = -5, /* a system call failed: fl_loop_errno() has its errno */
};

/* Returns the text of any error code of fastlog: static, lower case, no full stop. */
const char *fl_loop_strerror(int error);

/* ---- Options and counters ------------------------------------------------------------------- */

/* Why a connection was rejected or closed. */
enum fl_reason {
    FL_REASON_TOO_LONG,  /* a frame over the limit */
    FL_REASON_TRUNCATED, /* the connection ended, or stalled, inside a frame */
    FL_REASON_HTTP,      /* another protocol, recognised by its first bytes */
    FL_REASON_TLS,
    FL_REASON_SYSLOG,
    FL_REASON_FLUENTD,
    FL_REASON_LUMBERJACK,
    FL_REASON_UNKNOWN,     /* a protocol that is none of these */
    FL_REASON_STOCK,       /* a stock client on a listener with FL_LISTEN_NO_STOCK */
    FL_REASON_HANDSHAKE,   /* a fastlog client that did not complete its handshake in time */
    FL_REASON_OUT_OF_TURN, /* a frame of the fastlog protocol that is not allowed now */
    FL_REASON_MALFORMED,   /* a frame of the fastlog protocol that is malformed */
    FL_REASON_SEQUENCE,    /* records of a fastlog client are missing before those that came */
    FL_REASON_CONNECTIONS, /* max_connections are open */
    FL_REASON_HOST,        /* max_per_host connections are open from this host */
    FL_REASON_SILENT,      /* it had never sent a byte, and another connection needed its place */
    FL_REASON_DESCRIPTORS, /* the process has no file descriptor left */
    FL_REASON_MEMORY,      /* partial_memory is used up, and this partial frame was the largest */
    FL_REASON_COUNT,       /* the number of reasons */
};

/* Returns the text of a reason, static: "frame over the limit". */
const char *fl_reason_text(int reason);

enum {
    FL_PEER_SIZE = 192, /* a peer's name with its NUL: "[IPv6 address]:port", and after a space the
                           identity that its certificate proves, if it has one */
    FL_HEAD_SIZE = 64,  /* the first bytes of a frame that a rejection keeps */
};

/* One rejection, of a connection or of a frame. */
typedef struct fl_rejection {
    int reason;                 /* enum fl_reason */
    uint32_t length;            /* the length that the frame announced; 0: it is not known */
    uint32_t head_len;          /* bytes in head */
    uint8_t head[FL_HEAD_SIZE]; /* the first bytes of the rejected frame, with its length */
    char peer[FL_PEER_SIZE];    /* "address:port", "address:port identity", or "unix" */
} fl_rejection;

typedef struct fl_loop_options {
    uint32_t max_frame;       /* largest frame, 1 to FL_FRAME_LIMIT */
    uint32_t max_connections; /* newer connections are closed */
    uint32_t max_per_host;    /* newer connections of that host are closed: see hosts.c */
    size_t partial_memory;    /* budget for all partial frames together, at least 4096 */
    uint32_t arena;           /* approximate size of a block, at least 64 KiB */
    uint32_t stall_ms;        /* a partial frame that gets no byte for so long is closed */
    uint32_t min_rate;        /* bytes/s that a partial frame must receive once it is older than
                                 stall_ms */
    uint32_t coalesce_us;     /* after a poll that received little, nothing is read for so many
                                 microseconds; 0: the next poll reads at once, always */
    uint32_t coalesce_max_us; /* the same while many connections send little, under 1,000,000 */
    uint32_t handshake_ms;  /* a fastlog client must complete its handshake in this time. Any other
                           connection without a byte for so long can be closed to make room */
    uint32_t keepalive_ms;  /* longest time without a frame to a fastlog client, at least 1 */
    uint32_t probe_idle_s;  /* TCP_KEEPIDLE in seconds, at most 32767; 0: the kernel's setting */
    uint32_t probe_every_s; /* TCP_KEEPINTVL in seconds, at most 32767; 0: the kernel's setting */
    uint32_t probe_count;   /* TCP_KEEPCNT, at most 127; 0: the kernel's setting */
} fl_loop_options;

typedef struct fl_loop_stats {
    uint64_t accepted;                  /* connections accepted or added, since the start */
    uint64_t frames;                    /* complete frames given to the callback */
    uint64_t bytes;                     /* bytes received */
    uint64_t rejected[FL_REASON_COUNT]; /* rejections by reason */
    uint64_t unreported;                /* rejections for which the queue had no room */
    uint64_t acks;                      /* ACK frames sent */
    uint64_t repeated;                  /* records that clients sent again and that were skipped */
    uint64_t throttlings;               /* waits of connections over their rate limit */
    uint32_t clients;                   /* fastlog clients that are admitted now */
    uint32_t connections;               /* open now */
    uint32_t partials;                  /* connections with a partial frame now */
    size_t partial_bytes;               /* memory of the partial frames now */
    uint32_t ready;                     /* connections that have, or may have, more to read */
    uint32_t throttled;                 /* connections that wait for their rate limit now */
} fl_loop_stats;

/* ---- A loop and its sockets ----------------------------------------------------------------- */

/* Receives the runs of a block: len bytes with `frames` frames. The bytes belong to the loop and
 * are valid during the call. context: the argument of fl_loop_poll(). */
typedef void (*fl_block_fn)(void *context, const uint8_t *runs, size_t len, uint32_t frames);

typedef struct fl_loop fl_loop;

/* Creates a loop without sockets. Returns NULL on failure, with *error FL_EINVAL (an option is out
 * of range), FL_ENOMEM, or FL_ESYS (errno is set). */
fl_loop *fl_loop_new(const fl_loop_options *options, fl_block_fn on_block, int *error);

/* Closes every connection and frees the loop; NULL is allowed. Listeners and watched descriptors
 * belong to the caller and stay open. */
void fl_loop_free(fl_loop *loop);

/* Which clients a listener admits. */
enum {
    FL_LISTEN_NO_STOCK = 1, /* only clients that send the magic number */
    FL_LISTEN_AUTH = 2,     /* only clients that prove a key; the caller checks the proof */
    FL_LISTEN_IDENTITY = 4, /* the identity in a peer's name is as good as a key, to the caller */
};

/* Accepts from a listening TCP or Unix socket, which becomes non-blocking and stays the caller's.
 * At most 16. flags: FL_LISTEN_NO_STOCK, FL_LISTEN_AUTH. Returns 0, FL_EINVAL or FL_ESYS. */
int fl_loop_listen(fl_loop *loop, int fd, uint32_t flags);

/* Takes a connection that another process has accepted for a peer, under the limits of the loop's
 * own listeners: beyond them it is closed and reported. fd becomes non-blocking. flags: FL_LISTEN_.
 * Returns 0: the loop owns fd, or has closed it; or FL_EINVAL or FL_ESYS: the caller keeps fd. */
int fl_loop_accept(fl_loop *loop, int fd, const char *peer, uint32_t flags);

/* Lets a readable fd end a poll (FL_POLL_WOKEN). The caller reads it. At most 8.
 * Returns 0, FL_EINVAL or FL_ESYS. */
int fl_loop_watch(fl_loop *loop, int fd);

/* Adds a connected socket, and what has been received of its next frame: the beginning of one
 * incomplete frame, or nothing. peer is cut at FL_PEER_SIZE - 1 bytes. Returns 0: the loop owns fd;
 * or FL_EINVAL, FL_ENOMEM or FL_ESYS: the caller keeps fd. */
int fl_loop_add(fl_loop *loop, int fd, const char *peer, const uint8_t *partial, size_t len);

/* The result of a poll: a set of flags. */
enum {
    FL_POLL_WOKEN = 1,      /* a watched descriptor is readable */
    FL_POLL_MORE = 2,       /* there is more to read: the next poll does not wait */
    FL_POLL_REJECTIONS = 4, /* fl_loop_rejection() has something to return */
    FL_POLL_EVENTS = 8,     /* fl_loop_event() has something to return */
};

/* Runs one poll and waits at most timeout_ms for input; -1: without limit. A signal ends the wait.
 * context is passed to the callback. Returns a set of FL_POLL_ flags, or FL_ESYS. */
int fl_loop_poll(fl_loop *loop, int timeout_ms, void *context);

/* Stops reading, or resumes it. No connection is closed as stalled while the loop is paused. */
void fl_loop_pause(fl_loop *loop, bool paused);

/* Begins the shutdown: notifies the fastlog clients, accepts the backlog, stops listening, and
 * makes every connection be read once more. A paused loop stays paused. Poll afterwards until
 * fl_loop_stats.bytes has not changed for some time, or for as long as wanted; then close the
 * connections. That time must exceed the 40 ms for which a kernel may delay a sender's last bytes
 * (Nagle's algorithm and delayed acknowledgements). Returns 0 or FL_ESYS. */
int fl_loop_drain(fl_loop *loop);

/* Closes every connection. A partial frame of a stock client is reported as truncated. */
void fl_loop_close_connections(fl_loop *loop);

/* Removes the oldest rejection from the queue, which keeps 256. Returns 1, or 0 if it is empty. */
int fl_loop_rejection(fl_loop *loop, fl_rejection *out);

/* Copies the counters. */
void fl_loop_stats_get(const fl_loop *loop, fl_loop_stats *out);

/* Returns the errno of the last FL_ESYS. */
int fl_loop_errno(const fl_loop *loop);

/* ---- Fastlog clients ------------------------------------------------------------------------
 *
 * The caller does the handshake, the loop does the rest. The loop reports a HELLO and an AUTH as
 * events, and reads no further on that connection until the caller has answered by fl_loop_send(),
 * fl_loop_admit() or fl_loop_dismiss(). The batches and gaps of an admitted client become runs of a
 * block. The loop skips records that the client sends again, and acknowledges what
 * fl_loop_durable() has made durable. When the connection has ended, and all records that came over
 * it are durable or discarded, FL_EVENT_ENDED follows.
 *
 * `conn` names a connection in these calls. They return FL_EINVAL when it has ended.
 */
enum fl_event_kind {
    FL_EVENT_HELLO, /* a HELLO has come; its payload is in data */
    FL_EVENT_AUTH,  /* an AUTH has come; its payload is in data */
    FL_EVENT_ENDED, /* the connection of a client that had sent HELLO has ended */
};

typedef struct fl_event {
    uint64_t conn;                  /* names the connection */
    int kind;                       /* enum fl_event_kind */
    uint32_t listen_flags;          /* of its listener: FL_LISTEN_NO_STOCK, FL_LISTEN_AUTH */
    uint32_t len;                   /* bytes in data */
    uint8_t data[FL_HANDSHAKE_MAX]; /* FL_EVENT_HELLO, FL_EVENT_AUTH: the payload */
    char peer[FL_PEER_SIZE];        /* FL_EVENT_HELLO, FL_EVENT_AUTH */
    uint64_t committed;             /* FL_EVENT_ENDED: the last durable sequence, if admitted */
    bool admitted;                  /* FL_EVENT_ENDED: the client had been admitted */
    bool sent_bye;                  /* FL_EVENT_ENDED: it had sent BYE, and all was committed */
} fl_event;

/* Removes the oldest event from the queue. Returns 1, or 0 if there is none. */
int fl_loop_event(fl_loop *loop, fl_event *out);

/* Sends a frame of the handshake, len <= 512, and continues to read. The client must send AUTH
 * next. */
int fl_loop_send(fl_loop *loop, uint64_t conn, const uint8_t *data, size_t len);

/* Admits the client: its sequences up to `committed` are durable, and it sends those after. key is
 * written into the stamps of its runs, so that the journal records which key owns the id. welcome
 * is the WELCOME frame, len bytes. */
int fl_loop_admit(fl_loop *loop, uint64_t conn, const uint8_t id[FL_CLIENT_ID],
                  const uint8_t key[FL_CLIENT_KEY], uint64_t incarnation, uint64_t committed,
                  const uint8_t *welcome, size_t len);

/* Sends a last frame, if len > 0, and closes the connection. Bytes that the loop has not read are
 * dropped. */
int fl_loop_dismiss(fl_loop *loop, uint64_t conn, const uint8_t *frame, size_t len);

/* Writes the last durable sequence of an admitted client to *out. */
int fl_loop_committed(const fl_loop *loop, uint64_t conn, uint64_t *out);

/* Returns the number of clients with records in blocks that are neither journaled nor discarded. */
uint32_t fl_loop_dirty(const fl_loop *loop);

/* Reports that the journal has stored those blocks; the last one ends at `offset`. */
void fl_loop_journaled(fl_loop *loop, uint64_t offset);

/* Reports that the journal has rejected those blocks. Their clients get an ERROR with
 * FL_ACTION_RETRY. */
void fl_loop_discarded(fl_loop *loop);

/* Reports that the journal is durable up to `offset`, and acknowledges the records below. */
void fl_loop_durable(fl_loop *loop, uint64_t offset);

/* Sets how many bytes clients may send beyond what is committed, and the state of the journal: 0
 * ok, 1 slow, 2 full. A larger window is sent to the clients at once. */
void fl_loop_window(fl_loop *loop, uint32_t bytes, uint8_t state);

/* ---- Handover of connections to another process ---------------------------------------------
 *
 * A connection is handed over as a descriptor, the name of its peer, and its state: the bytes of
 * its partial frame, and the numbers of an admitted client. The state has a version; its layout is
 * private to handover.c.
 */

/* Finds the next connection to hand over, from slot *at on, and sets *at to the slot after it.
 * Start with *at = 0. Returns its descriptor, which the loop still owns, or -1 at the end; fills
 * peer and *len, the size of its state. Clients that are not admitted are skipped. */
int fl_loop_export(const fl_loop *loop, uint32_t *at, char peer[FL_PEER_SIZE], size_t *len);

/* Writes the state, *len bytes, of the connection that fl_loop_export() has found last. */
void fl_loop_state(const fl_loop *loop, uint32_t at, uint8_t *state);

/* Takes over a connection by its state. For an admitted client, fills *conn, id and key; else *conn
 * is 0. Returns 0: the loop owns fd; or an error: the caller keeps it. */
int fl_loop_take(fl_loop *loop, int fd, const char *peer, const uint8_t *state, size_t len,
                 uint64_t *conn, uint8_t id[FL_CLIENT_ID], uint8_t key[FL_CLIENT_KEY]);

/* ---- Rate limits: fairness between clients --------------------------------------------------
 *
 * A connection over its rate limit is throttled: it is read later. It loses nothing, because its
 * kernel buffers fill, and then its sender waits. Rates are in weight per second. The weight of
 * input is its bytes, plus FL_FRAME_WEIGHT for each frame. An unused rate accumulates for an eighth
 * of a second; an excess counts for three quarters of a second at most.
 */
enum { FL_FRAME_WEIGHT = 256 };

/* Limits each connection to connection_rate, and all connections of one host together to host_rate
 * beyond that. 0, for either: no limit. A connection gets a rate of its own once it has been read
 * empty after a first complete frame; until then, only the rate of its host applies. A host is
 * the same as for max_per_host, and this machine counts as one. */
void fl_loop_limit_rate(fl_loop *loop, uint32_t connection_rate, uint32_t host_rate);

/* Limits the weight that one poll reads to about `weight`, at least 4096, so that the caller can
 * soon set another rate limit; 0: a poll reads as much as a block can hold. */
void fl_loop_limit_poll(fl_loop *loop, uint32_t weight);

/* Finds the next connection, from slot *at on, that has been throttled since the last call returned
 * it, and sets *at to the slot after it. Start with *at = 0. Returns how often it was throttled,
 * and fills peer; 0 at the end. */
int fl_loop_throttled(fl_loop *loop, uint32_t *at, char peer[FL_PEER_SIZE]);

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
