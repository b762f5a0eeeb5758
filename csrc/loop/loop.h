/* loop.h: the loop. */
#ifndef FL_LOOP_H
#define FL_LOOP_H

#include "../protocol/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

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
    FL_OUT_OF_TURN, /* a frame of the fastlog protocol that may not come now */
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
    FL_HEAD_SIZE = 64, /* of the first bytes that a rejection keeps */
};

/* One connection that was rejected. */
typedef struct fl_rejection {
    int reason;      /* enum fl_reason */
    uint32_t length; /* what the frame announced, 0 if it had not come to that */
    uint32_t head_len;
    uint8_t head[64]; /* FL_HEAD_SIZE first bytes of the offending frame */
    char peer[56];    /* FL_PEER_SIZE "address:port", or "unix" */
} fl_rejection;

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
    uint64_t accepted;     /* connections taken, since the start */
    uint64_t frames;       /* complete frames handed to the callback */
    uint64_t bytes;        /* bytes received */
    uint64_t rejected[32]; /* FL_REASONS counts */
    uint64_t unreported;   /* rejections that found the queue of fl_loop_rejection() full */
    uint64_t acks;         /* sent to fastlog clients */
    uint64_t repeated;     /* records that these sent once more, and that were skipped */
    uint64_t throttlings;  /* times that a connection had to wait for its share: fl_loop_limit() */
    uint32_t clients;      /* fastlog clients that are welcome now */
    uint32_t connections;  /* open now */
    uint32_t partials;     /* of these, inside a frame */
    size_t partial_bytes;  /* memory these hold */
    uint32_t ready;        /* connections that are known to have more to read */
    uint32_t throttled;    /* connections that wait for their share */
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
uint32_t fl_loop_dirty(const fl_loop *loop);

/* The journal has taken those blocks; the last ends at this offset of it. */
void fl_loop_journaled(fl_loop *loop, uint64_t offset);

/* The journal has rejected them: these clients are told to send again later. */
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
    FL_WOKEN = 1,    /* a watched descriptor is readable */
    FL_MORE = 2,     /* there is more to read: the next turn will not wait */
    FL_REJECTED = 4, /* fl_loop_rejection() has something */
    FL_ASKED = 8,    /* fl_loop_event() has something */
};

/* Runs one turn, waiting timeout_ms at most (-1: for ever). Returns FL_ flags, or an error. A
 * signal ends the wait. */
int fl_loop_poll(fl_loop *loop, int timeout_ms, void *context);

/* ---- Throttle: reading more slowly from who sends too much ----
 *
 * A connection that is read more slowly loses nothing: its kernel's buffers fill, and then its
 * sender waits. Throttle are counted in weight: the bytes, and FL_FRAME_WEIGHT for each frame. What
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
int fl_loop_throttled(fl_loop *loop, uint32_t *at, char peer[56]);

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

/* Takes the oldest rejection that was not taken yet: 1, or 0 if there is none. 256 are kept. */
int fl_loop_rejection(fl_loop *loop, fl_rejection *out);

void fl_loop_stats_get(const fl_loop *loop, fl_loop_stats *out);

/* errno of the last FL_ESYS. */
int fl_loop_errno(const fl_loop *loop);

/* cffi: end */

#endif
