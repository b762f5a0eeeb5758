/* loop.h: what the files of the loop share. Not public.
 *
 * A connection is a slot of one table. Slots are named by index, since the table moves when it
 * grows. A slot that is used again gets a new generation, and epoll carries both, so an event for
 * the connection that had the slot before finds nobody.
 *
 * A connection that shows the magic number has a client beside its slot. The client outlives the
 * connection until the journal has answered for all that it sent.
 *
 * Four lists run through the slots: the ready list (connections that have, or may have, more to
 * read), the throttled list (the same, but not before their time has come), the partial list (those
 * that are inside a frame) and the silent list (those that have not sent a byte, the oldest first).
 * They are doubly linked, because a connection can be closed while it is anywhere in them.
 */
#ifndef FL_LOOP_INTERNAL_H
#define FL_LOOP_INTERNAL_H

#include "loop.h"

#include <sys/types.h>

#define NO_SLOT UINT32_MAX
#define WATCHED 0x80000000u /* in epoll's data: a watched descriptor */

enum {
    MAX_LISTENERS = 16,
    MAX_WATCHED = 8,
    REJECTIONS = 256,
    SWEEP_MS = 1000,
    CHUNK = 128 * 1024, /* of one recv(), and of one connection in one turn */
    LARGE = 32 * 1024,  /* a frame from here on is completed in the connection's memory */
    CLIENT_OUT = 512,
    HOST_SHARE_BITS = 12,
    HOST_SHARES = 1 << HOST_SHARE_BITS, /* two hosts meet in one with a chance of 1 : 4096 */
};

enum protocol { UNDECIDED, STOCK, FASTLOG };

enum conn_flag {
    IS_READY = 1,      /* on the ready list */
    IS_ENDING = 2,     /* RDHUP, HUP or ERR was seen: read until 0 or an error */
    HAS_SPOKEN = 4,    /* has sent a complete frame, so it is what it seems */
    IS_PARTIAL = 8,    /* on the partial list */
    IS_SILENT = 16,    /* on the silent list */
    IS_THROTTLED = 32, /* on the throttled list */
    IS_KNOWN = 64,     /* was read empty once after it had spoken: it has a share of its own */
    IS_WAITING = 128,  /* was not read since it was put on the throttled list */
};

typedef struct neighbours {
    uint32_t prev, next;
} neighbours;

typedef struct list {
    uint32_t head, tail, count;
} list;

typedef struct conn {
    int fd; /* -1: the slot is free, ready.next is the next free one */
    uint32_t generation;
    uint32_t serial; /* of the connection, from 1, in this loop */
    uint8_t flags;
    uint8_t protocol; /* enum protocol */
    uint8_t terms;    /* of the listener: FL_NO_STOCK, FL_AUTH */
    uint8_t peer_len;
    char peer[FL_PEER_SIZE];
    struct client *client; /* FASTLOG: who it is */
    neighbours ready;      /* on the ready or the throttled list: nobody is on both */
    neighbours partial;    /* on the partial or the silent list */
    uint8_t *part;         /* the beginning of a frame, with its length */
    uint32_t part_len, part_cap;
    uint32_t graced_len;           /* part_len when the frame became older than stall_ms, or 0 */
    uint32_t host;                 /* in the table of hosts; NO_SLOT: it is not counted */
    int64_t part_since, part_last; /* ms: its first and its latest byte; part_since of a connection
                                      that is silent: when it came */
    int64_t paid_until;            /* us: its own share is used up until then */
    uint32_t host_share;           /* where its host's is, in host_paid_until */
    uint32_t throttlings;          /* times that it was made to wait, and nobody was told yet */
} conn;

/* A host, and how many connections it has. */
typedef struct host {
    uint64_t network;
    uint32_t connections;
    uint32_t next; /* in its chain, or of the free ones */
} host;

typedef struct hosts {
    host *all;
    uint32_t *chains; /* `size` of them: the first host of each */
    uint32_t size, shift, free;
    uint64_t key;
} hosts;

enum client_state {
    GREETING, /* a HELLO must come next, or the AUTH that it was asked for */
    ASKING,   /* one has come: nothing more is read until the caller has answered */
    ADMITTED,
    LEAVING, /* it has said BYE: when all is acknowledged, it parts */
    PARTING, /* the last bytes are on the way out; what comes in is dropped */
};

typedef struct client {
    struct client *prev, *next; /* of all */
    struct client *next_touched, *next_waiting, *next_event;
    uint32_t slot; /* of its connection; NO_SLOT once that has ended */
    uint64_t name; /* generation << 32 | slot, as long as there is a connection */
    uint8_t state; /* enum client_state */
    uint8_t terms;
    bool is_known;  /* the caller has got its HELLO, and wants to hear of its end */
    bool was_asked; /* for an AUTH */
    bool was_admitted, said_bye;
    bool is_touched; /* it has records in a block that the journal has not answered for */
    bool is_waiting; /* it has marks */
    bool has_event;
    bool ack_due;
    bool wants_out; /* EPOLLOUT is asked for */
    bool has_shut;
    uint8_t id[FL_CLIENT_ID], key[FL_CLIENT_KEY];
    uint64_t incarnation;
    fl_session session;
    int64_t since; /* ms: of its greeting, or its parting */
    int64_t told;  /* ms: when it last got bytes from us */
    uint8_t asked_type;
    uint16_t asked_len, out_at, out_len;
    uint8_t asked[FL_GREETING_MAX];
    uint8_t out[CLIENT_OUT]; /* bytes that its socket has not taken yet */
} client;

typedef struct client_queue {
    client *head, *tail;
} client_queue;

struct fl_loop {
    fl_loop_options options;
    fl_block_fn on_block;
    int epoll_fd;
    int spare_fd; /* given up for a moment to shed a connection when descriptors run out */
    int error;    /* errno of the last FL_ESYS */

    conn *conns;
    uint32_t slots, free_slot, last_serial, last_generation;
    list ready, throttled, partial, silent;
    size_t partial_peak, evicted; /* the most memory of half frames, and what was taken from them,
                                     since some was given back to the system */
    hosts hosts;

    client *clients, *touched, *waiting;
    client_queue events;
    uint32_t touched_count;
    uint32_t window;
    uint8_t journal_state;
    fl_crc32_tables crc;
    uint8_t *scratch; /* LARGE + CHUNK bytes in which the frames of clients are looked at */

    int listeners[MAX_LISTENERS];
    uint8_t terms[MAX_LISTENERS];
    uint32_t listener_count, watched_count;
    int64_t rearm_at; /* ms: when the disarmed listeners listen again; 0: they are armed */
    bool paused, draining;

    uint32_t own_rate, host_rate; /* weight/s of a connection and of a host; 0: as they like */
    int64_t host_paid_until[HOST_SHARES]; /* us: as paid_until, of hosts */
    uint32_t step;                        /* weight that a turn may read; 0: what the block takes */
    int64_t throttled_due; /* ms: when the first of the throttled is to be read again */

    uint8_t *arena;
    size_t arena_cap, arena_len;
    uint32_t arena_frames;
    uint64_t turn_bytes; /* received in the last turn */

    int64_t now, sweep_at; /* ms, monotonic */
    fl_loop_stats stats;
    fl_rejection rejections[REJECTIONS];
    uint32_t rejection_first, rejection_count;
};

/* loop.c */
int64_t monotonic_ms(void);

/* block.c */
bool block_has_room(fl_loop *loop, size_t len);
void block_end_run(fl_loop *loop, const conn *c, int kind, uint32_t frames, size_t body,
                   size_t end);

/* conn.c */
int conn_open(fl_loop *loop, int fd, const char *peer, uint32_t *slot);
void conn_speaks(fl_loop *loop, uint32_t slot, enum protocol protocol);
void conn_close(fl_loop *loop, uint32_t slot);
void conn_close_partial(fl_loop *loop, uint32_t slot, int reason);
void conn_set_ready(fl_loop *loop, uint32_t slot, bool ready);
void conn_set_silent(fl_loop *loop, uint32_t slot, bool silent);
void conn_set_throttled(fl_loop *loop, uint32_t slot);
bool conn_reserve(fl_loop *loop, uint32_t slot, uint32_t cap);
bool conn_hold(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len, bool fresh);
void conn_drop_part(fl_loop *loop, uint32_t slot);
uint32_t conn_release(fl_loop *loop, uint32_t slot, uint8_t *to);
void conn_sweep(fl_loop *loop);

enum service {
    DRAINED, /* nothing more to read now */
    UNDONE,  /* its budget of this turn is spent */
    NO_ROOM, /* the arena cannot take what it has: end the turn */
    CLOSED,
};

/* read.c */
enum service conn_read(fl_loop *loop, uint32_t slot);
ssize_t conn_receive(fl_loop *loop, const conn *c, uint8_t *to, size_t len);
bool conn_has_emptied(const conn *c, size_t got, size_t asked);
enum service conn_fill(fl_loop *loop, uint32_t slot, size_t need, size_t *budget);

/* share.c */
/* Whether it may not be read now. */
bool share_is_spent(const fl_loop *loop, uint32_t slot);
/* Bytes that a connection may receive in one turn. */
size_t share_budget(const fl_loop *loop);
/* Whether the block has what one turn may read. */
bool share_step_is_done(const fl_loop *loop);
/* It was read, and has added this to the block. */
void share_pay(fl_loop *loop, uint32_t slot, uint64_t bytes, uint32_t frames);
/* It was read, and had no more. */
void share_emptied(fl_loop *loop, uint32_t slot);
/* Puts it on the throttled list. */
void share_wait(fl_loop *loop, uint32_t slot);
/* Makes those ready that are due. */
void share_release(fl_loop *loop);

/* dialect.c */
enum service client_read(fl_loop *loop, uint32_t slot);

/* clients.c */
bool client_begin(fl_loop *loop, uint32_t slot);
void client_ask(fl_loop *loop, client *k, const fl_head *head, const uint8_t *payload);
void client_touch(fl_loop *loop, client *k);
void client_part(fl_loop *loop, client *k);
void client_leave(fl_loop *loop, client *k);
void client_lose_connection(fl_loop *loop, client *k);
void clients_sweep(fl_loop *loop);
void clients_announce_end(fl_loop *loop);
void clients_free(fl_loop *loop);

/* reply.c */
void client_tell(fl_loop *loop, client *k, const uint8_t *frame, size_t len);
void client_flush(fl_loop *loop, client *k);
void client_flush_later(fl_loop *loop, client *k);

/* hosts.c */
bool hosts_init(hosts *h);
void hosts_free(hosts *h);
uint32_t hosts_count(const hosts *h, const char *peer);
bool hosts_enter(hosts *h, const char *peer, uint32_t *out);
void hosts_leave(hosts *h, uint32_t index);
uint32_t hosts_share(const hosts *h, const char *peer);

/* accept.c */
/* Has the kernel probe the peer of a TCP connection that is silent, and close it if it is dead;
 * nothing for a Unix socket. */
void probe_peer(const fl_loop *loop, int fd);
int accept_some(fl_loop *loop, uint32_t index, uint32_t limit);
int listeners_arm(fl_loop *loop);
int listeners_disarm(fl_loop *loop);

/* rejection.c */
void reject(fl_loop *loop, int reason, const char *peer, const uint8_t *head, size_t len);
void reject_frame(fl_loop *loop, int reason, const conn *c, const uint8_t *head, size_t len);

#endif
