/* loop_internal.h: the data of a loop, and what its files offer each other. Not public.
 *
 * A connection is a slot of one table. Other code names slots by index, because the table moves
 * when it grows. A slot that is used again gets a new generation. epoll carries slot and
 * generation, so an event of an earlier connection is recognised and ignored.
 *
 * A connection that sends the magic number has a client beside its slot. The client outlives the
 * connection until all its records are durable or discarded.
 *
 * This is one file because all files of the loop work on the same few structures.
 *
 * Calls between the files go down this list, never up; tests/unit/test_architecture.py checks it:
 *
 *     loop.c poll.c               a loop from its creation to its end; one poll
 *     housekeeping.c handover.c   timeouts, once a second; connections for another process
 *     read.c                      detects the protocol of a connection, and reads it
 *     read_stock.c read_client.c  read a stock client; read a fastlog client
 *     accept.c handshake.c        listeners; the caller's decisions about clients
 *     receive.c throttle.c        recv(), also into a partial frame; rate limits
 *     coalesce.c                  delays between polls that receive little
 *     partial.c                   partial frames and their memory budget
 *     close.c                     closes a connection
 *     clients.c conn.c            fastlog clients; the table of connections
 *     client_write.c              frames to a client
 *     lists.c hosts.c             lists of connections; connections of each host
 *     rejection.c block.c         reports of rejections; the block of a poll
 */
#ifndef FL_LOOP_INTERNAL_H
#define FL_LOOP_INTERNAL_H

#include "loop.h"

#include <sys/types.h>
#include <time.h>

#define NO_SLOT UINT32_MAX
#define WATCHED 0x80000000u /* in epoll's data: a watched descriptor */

enum {
    MAX_LISTENERS = 16,
    MAX_WATCHED = 8,
    REJECTIONS = 256,
    HOUSEKEEPING_MS = 1000,
    CHUNK = 128 * 1024, /* bytes of one recv(), and of one connection in one poll */
    LARGE = 32 * 1024,  /* a frame of more bytes is received into its connection's memory */
    CLIENT_OUT = 512,
    HOST_BUCKET_BITS = 12,
    HOST_BUCKETS = 1 << HOST_BUCKET_BITS, /* two hosts share one with a probability of 1 : 4096 */
};

enum protocol { PROTOCOL_UNDECIDED, PROTOCOL_STOCK, PROTOCOL_FASTLOG };

enum conn_flag {
    IS_READY = 1,          /* on the ready list */
    IS_ENDING = 2,         /* epoll reported RDHUP, HUP or ERR: read until 0 or an error */
    HAS_SENT_FRAME = 4,    /* has sent a complete frame, so its protocol is certain */
    IS_PARTIAL = 8,        /* on the partial list */
    IS_SILENT = 16,        /* on the silent list */
    IS_THROTTLED = 32,     /* on the throttled list */
    HAS_OWN_RATE = 64,     /* was read empty after a first frame, so it has a rate of its own */
    IS_WAIT_COUNTED = 128, /* has been throttled, and not been read since */
    USES_HOST_RATE = 256   /* was over its own rate, or had none, when it was read last */
};

typedef struct neighbours {
    uint32_t prev, next;
} neighbours;

typedef struct list {
    uint32_t head, tail, count;
} list;

typedef struct conn {
    int fd; /* -1: the slot is free, and ready.next is the next free one */
    uint32_t generation;
    uint32_t serial; /* number of the connection in this loop, from 1 */
    uint16_t flags;  /* enum conn_flag */
    uint8_t protocol;
    uint8_t listen_flags;
    uint8_t peer_len;
    char peer[FL_PEER_SIZE];
    struct client *client; /* PROTOCOL_FASTLOG, else NULL */
    neighbours ready;      /* in the ready list or the throttled list; it is never in both */
    neighbours partial;    /* in the partial list or the silent list */
    uint8_t *partial_data; /* the partial frame, with its length field */
    uint32_t partial_len, partial_cap;
    uint32_t overdue_len;    /* partial_len when the frame became older than stall_ms, or 0 */
    uint32_t host;           /* index in the table of hosts; NO_SLOT: it is not counted */
    int64_t partial_since;   /* ms: first byte of the partial frame; while silent: accepted */
    int64_t partial_last;    /* ms: latest byte of the partial frame */
    int64_t rate_used_until; /* us: see throttle.c */
    uint32_t host_bucket;    /* index in host_rate_used_until */
    uint32_t throttlings;    /* waits that fl_loop_throttled() has not reported yet */
} conn;

/* A host, and the number of its connections. */
typedef struct host {
    uint64_t network;
    uint32_t connections;
    uint32_t next; /* in its chain, or in the list of free entries */
} host;

typedef struct hosts {
    host *all;
    uint32_t *chains; /* `size` chains: the index of the first host of each */
    uint32_t size, shift, free;
    uint64_t key;
} hosts;

enum client_state {
    CLIENT_HANDSHAKE, /* HELLO must come next, or AUTH after a challenge */
    CLIENT_ASKED,     /* the caller has to answer a HELLO or AUTH; nothing is read meanwhile */
    CLIENT_ADMITTED,
    CLIENT_LEAVING, /* has sent BYE; the connection is closed when all is acknowledged */
    CLIENT_CLOSING, /* the last bytes are being sent; what it sends is dropped */
};

typedef struct client {
    struct client *prev, *next; /* in the list of all clients */
    struct client *next_dirty, *next_pending, *next_event;
    uint32_t slot; /* of its connection; NO_SLOT once that has ended */
    uint64_t name; /* generation << 32 | slot, while there is a connection */
    uint8_t state; /* enum client_state */
    uint8_t listen_flags;
    bool is_reported;   /* the caller has got its HELLO, so it gets FL_EVENT_ENDED too */
    bool is_challenged; /* AUTH must come next, not HELLO */
    bool was_admitted, sent_bye;
    bool is_dirty;   /* has records in a block that is neither journaled nor discarded */
    bool is_pending; /* has records that are journaled and not durable */
    bool has_event;
    bool ack_due;
    bool awaits_writable; /* EPOLLOUT is registered */
    bool is_shut_down;    /* its socket, for writing */
    uint8_t id[FL_CLIENT_ID], key[FL_CLIENT_KEY];
    uint64_t incarnation;
    fl_session session;
    int64_t since;          /* ms: when its handshake, or its closing, began */
    int64_t last_sent;      /* ms: when its socket last took a byte */
    uint8_t handshake_type; /* FL_TYPE_HELLO or FL_TYPE_AUTH: the frame that awaits an answer */
    uint16_t handshake_len, out_at, out_len;
    uint8_t handshake[FL_HANDSHAKE_MAX]; /* its payload */
    uint8_t out[CLIENT_OUT];             /* bytes that its socket has not taken yet */
} client;

typedef struct client_queue {
    client *head, *tail;
} client_queue;

struct fl_loop {
    fl_loop_options options;
    fl_block_fn on_block;
    int epoll_fd;
    int spare_fd; /* closed for a moment to accept and close a connection without descriptors */
    int error;    /* errno of the last FL_ESYS */

    conn *conns;
    uint32_t slots, free_slot, last_serial, last_generation;
    list ready, throttled, partial, silent;
    size_t partial_peak, evicted; /* since the heap was trimmed: the most memory of partial frames,
                                     and the memory of those that were evicted */
    hosts hosts;

    client *clients, *dirty, *pending;
    client_queue events;
    uint32_t dirty_count;
    uint32_t window;
    uint8_t journal_state;
    fl_crc32_tables crc;
    uint8_t *scratch; /* LARGE + CHUNK bytes, into which frames of clients are received */

    int listeners[MAX_LISTENERS];
    uint8_t listen_flags[MAX_LISTENERS];
    uint32_t listener_count, watched_count;
    int watched[MAX_WATCHED];
    int64_t rearm_at; /* ms: when the disarmed listeners are armed again; 0: they are armed */
    bool paused, draining;

    uint32_t connection_rate, host_rate;        /* weight/s; 0: no limit */
    int64_t host_rate_used_until[HOST_BUCKETS]; /* us: see throttle.c */
    uint32_t poll_limit;   /* weight that one poll may read; 0: what the block can hold */
    int64_t throttled_due; /* ms: when the first throttled connection is to be read again */

    uint8_t *arena; /* the block of this poll */
    size_t arena_cap, arena_len;
    uint32_t arena_frames;
    uint64_t poll_bytes; /* received in this poll */

    int64_t delay_until; /* us, monotonic: nothing is read before; 0: no delay. See coalesce.c */
    uint32_t delay_us;   /* length of the last delay */
    uint32_t arrivals;   /* since then: frames of stock clients, and batches and gaps */
    uint64_t gathered;   /* since then: bytes received */
    bool is_one_busy, is_one_half_busy; /* since then: one connection may have filled its socket's
                                           buffer in the delay, or half of it */
    int64_t gathering_since;            /* us, monotonic: when it began, or there was none */
    int64_t handshake_at;               /* ms: when the last HELLO or AUTH came */

    int64_t now, housekeeping_at; /* ms, monotonic */
    fl_loop_stats stats;
    fl_rejection rejections[REJECTIONS]; /* a ring */
    uint32_t rejection_first, rejection_count;
};

static inline int64_t monotonic_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Records a failed system call. Returns FL_ESYS. */
static inline int system_error(fl_loop *loop, int error)
{
    loop->error = error;
    return FL_ESYS;
}

/* ---- lists.c: the four lists of connections ---- */

void conn_set_ready(fl_loop *loop, uint32_t slot, bool ready);
void conn_set_throttled(fl_loop *loop, uint32_t slot);
void conn_set_partial(fl_loop *loop, uint32_t slot, bool partial);
void conn_set_silent(fl_loop *loop, uint32_t slot, bool silent);

/* ---- hosts.c: the number of connections of each host ---- */

/* Returns false if the system has no random numbers; errno is set. */
bool hosts_init(hosts *h);
void hosts_free(hosts *h);
/* Returns the number of connections of the peer's host; 0 if it is not counted. */
uint32_t hosts_count(const hosts *h, const char *peer);
/* Counts a connection. Fills *out with the index of its host, NO_SLOT if that is not counted.
 * Returns false if there is no memory. */
bool hosts_enter(hosts *h, const char *peer, uint32_t *out);
/* Counts one connection less for the host at this index. */
void hosts_leave(hosts *h, uint32_t index);
/* Returns the rate-limit bucket of the peer's host, below HOST_BUCKETS; this machine has one too.
 */
uint32_t hosts_bucket(const hosts *h, const char *peer);

/* ---- rejection.c: rejections, counted and queued ---- */

/* Counts a rejection and queues its report. head: the first len bytes of the frame. */
void reject(fl_loop *loop, int reason, const char *peer, const uint8_t *head, size_t len);
/* Rejects a frame of a connection. If the connection has sent no complete frame, and its first byte
 * cannot begin one, the reason is the protocol that the bytes look like. */
void reject_frame(fl_loop *loop, int reason, const conn *c, const uint8_t *head, size_t len);

/* ---- block.c: the block that a poll fills ---- */

/* Returns whether the block has room for len more bytes. An empty block grows for a large frame. */
bool block_has_room(fl_loop *loop, size_t len);
/* Makes a run of the bytes from `body` to `end` of the arena. Its header is written before them,
 * where FL_RUN_HEADER + peer_len bytes were left free. */
void block_end_run(fl_loop *loop, const conn *c, int kind, uint32_t frames, size_t body,
                   size_t end);

/* ---- throttle.c: rate limits ---- */

/* Returns whether the connection is over its rate limit and may not be read now. */
bool throttle_is_over(const fl_loop *loop, uint32_t slot);
/* Returns the bytes that a connection may receive in one poll. */
size_t throttle_budget(const fl_loop *loop);
/* Returns whether this poll has read as much as one poll may. */
bool throttle_poll_is_full(const fl_loop *loop);
/* Charges a connection for what a read has added to the block. */
void throttle_charge(fl_loop *loop, uint32_t slot, uint64_t bytes, uint32_t frames);
/* Notes that a connection was read empty. */
void throttle_note_empty(fl_loop *loop, uint32_t slot);
/* Moves a connection to the throttled list. */
void throttle_wait(fl_loop *loop, uint32_t slot);
/* Lets the connections wait that have used up their host's rate in this poll, after those that it
 * was used up for: so they take turns, also if the rate is there again at the next poll. */
void throttle_end_turns(fl_loop *loop);
/* Makes the throttled connections ready whose time has come. */
void throttle_release(fl_loop *loop);

/* ---- coalesce.c: delays between polls that receive little ---- */

/* Notes what one read of a connection has received: bytes, and frames or batches. */
void coalesce_note_read(fl_loop *loop, uint64_t bytes, uint32_t arrivals);
/* Notes that a client is in its handshake, and should not wait long. */
void coalesce_note_handshake(fl_loop *loop);
/* Begins a delay, if this poll received little. */
void coalesce_begin(fl_loop *loop);
/* Waits for the end of the delay, or for the timeout of a poll (-1: none). Returns true when the
 * poll may read, or else fills *flags with its result: a watched descriptor, a signal or the
 * timeout has ended it. */
bool coalesce_wait(fl_loop *loop, int timeout_ms, int *flags);

/* ---- client_write.c: frames to a fastlog client ---- */

/* Sends a frame after the bytes that wait already. It is dropped if there is no room for it: its
 * client has not read for long, and the end of the connection will show it. */
void client_send(fl_loop *loop, client *k, const uint8_t *frame, size_t len);
/* Sends the bytes that wait, and an ACK if one is due. */
void client_flush(fl_loop *loop, client *k);
/* Has the client flushed in the next poll in which its socket is writable. */
void client_flush_later(fl_loop *loop, client *k);

/* ---- clients.c: fastlog clients and what the journal does with their records ---- */

/* Creates the client of a connection that has sent the magic number, or its first byte. Returns
 * false if there is no memory. */
bool client_begin(fl_loop *loop, uint32_t slot);
/* Frees every client. */
void clients_free(fl_loop *loop);
/* Returns whether the client is admitted and connected. */
bool client_is_served(const client *k);
/* Queues an event about the client. */
void client_queue_event(fl_loop *loop, client *k);
/* Notes that the client has records in the block. */
void client_set_dirty(fl_loop *loop, client *k);
/* Acts on a BYE once all is committed: acknowledges and closes. */
void client_leave(fl_loop *loop, client *k);
/* Closes the client's connection once the waiting bytes are sent. */
void client_close(fl_loop *loop, client *k);
/* Notes that the client's connection has ended. */
void client_lose_connection(fl_loop *loop, client *k);
/* Reports the end of the client to the caller, or frees it, once it has ended and nothing of it is
 * dirty, pending or queued. */
void client_settle(fl_loop *loop, client *k);
/* Removes a client from the list and frees it. */
void client_free(fl_loop *loop, client *k);

/* ---- handshake.c ---- */

/* Keeps a HELLO or an AUTH, and queues the event by which the caller gets it. */
void client_await_answer(fl_loop *loop, client *k, const fl_header *header, const uint8_t *payload);

/* ---- conn.c: the table of connections ---- */

/* Registers a connected, non-blocking socket. Returns 0 and its slot, or an error: the caller keeps
 * fd. */
int conn_open(fl_loop *loop, int fd, const char *peer, uint32_t *slot);
/* Sets the protocol of a connection, which has sent a first byte or has ended: it is not silent. */
void conn_set_protocol(fl_loop *loop, uint32_t slot, enum protocol protocol);
/* Frees the partial frame of a connection. */
void conn_drop_partial(fl_loop *loop, uint32_t slot);
/* Closes the socket and frees the slot of a connection without a client. */
void conn_free(fl_loop *loop, uint32_t slot);

/* ---- close.c ---- */

/* Closes a connection without a report. */
void conn_close(fl_loop *loop, uint32_t slot);
/* Closes a connection that has a partial frame, and rejects that frame, unless it is a fastlog
 * client's: the client sends it again, so nothing is lost. */
void conn_close_partial(fl_loop *loop, uint32_t slot, int reason);

/* ---- partial.c: partial frames and their memory budget ---- */

/* Makes room for `cap` bytes of a connection's partial frame. Closes the connections with the
 * largest partial frames while the budget is used up. Returns false if there is no memory: then the
 * connection is closed. */
bool partial_reserve(fl_loop *loop, uint32_t slot, uint32_t cap);
/* Keeps the beginning of a frame, len >= 1, of a connection that has no partial frame. The clock of
 * a new frame starts; the beginning that partial_move() has moved out keeps its clock. Returns
 * false if there is no memory: then the connection is closed. */
bool partial_keep(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len, bool is_new);
/* Moves the partial frame to `to`, which has room for it. Returns its length. */
uint32_t partial_move(fl_loop *loop, uint32_t slot, uint8_t *to);
/* Starts the clock of the partial frame anew. */
void partial_restart_clock(const fl_loop *loop, conn *c);
/* Closes the connections whose partial frames have stalled. Gives freed memory back to the system.
 */
void partials_check(fl_loop *loop);

/* ---- receive.c ---- */

/* The result of reading one connection. */
enum read_result {
    READ_EMPTY,      /* nothing more to read now */
    READ_UNFINISHED, /* its budget of this poll is used up */
    READ_NO_ROOM,    /* the block has no room for its next frame: end the poll */
    READ_CLOSED,
};

/* Receives at most len bytes. Returns how many; 0: there are none now; -1: the connection ended. */
ssize_t conn_receive(fl_loop *loop, const conn *c, uint8_t *to, size_t len);
/* Returns whether a read of `got` bytes, of `wanted`, has emptied the socket. */
bool conn_is_emptied(const conn *c, size_t got, size_t wanted);
/* Receives into the partial frame until it has `need` bytes, and reduces *budget. READ_UNFINISHED:
 * it has them, or the budget is used up. */
enum read_result conn_fill_partial(fl_loop *loop, uint32_t slot, size_t need, size_t *budget);

/* ---- read_stock.c, read_client.c, read.c ---- */

/* Each reads a connection into the block. */
enum read_result stock_read(fl_loop *loop, uint32_t slot);
enum read_result client_read(fl_loop *loop, uint32_t slot);
/* Detects the protocol of a new connection, and reads it by that protocol. */
enum read_result conn_read(fl_loop *loop, uint32_t slot);

/* ---- accept.c: listeners ---- */

/* Accepts from one listener, `limit` connections at most. Returns 0 or an error. */
int accept_some(fl_loop *loop, uint32_t index, uint32_t limit);
/* Resumes accepting from all listeners, or stops it for a moment. Return 0 or FL_ESYS. */
int listeners_arm(fl_loop *loop);
int listeners_disarm(fl_loop *loop);
/* Sets TCP keepalive: the kernel probes a silent peer and closes the connection if it is dead. Does
 * nothing for a Unix socket. */
void conn_set_keepalive(const fl_loop *loop, int fd);

/* ---- housekeeping.c ---- */

/* Closes stalled partial frames and clients that take too long, and sends keepalives. */
void housekeeping(fl_loop *loop);

#endif
