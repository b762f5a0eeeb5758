/* loop.h: what the files of the loop share. Not public.
 *
 * A connection is a slot of one table. Slots are named by index, since the table moves when it
 * grows. A slot that is used again gets a new generation, and epoll carries both, so an event for
 * the connection that had the slot before finds nobody.
 *
 * Two lists run through the slots: the ready list (connections that have, or may have, more to
 * read) and the partial list (connections that are inside a frame). Both are doubly linked, because
 * a connection can be closed while it is anywhere in them.
 */
#ifndef FASTLOG_LOOP_H
#define FASTLOG_LOOP_H

#include "fastlog.h"

#define NOBODY UINT32_MAX
#define WATCHED 0x80000000u /* in epoll's data: a watched descriptor */

enum {
    MAX_LISTENERS = 16,
    MAX_WATCHED = 8,
    REFUSALS = 256,
    RUN_HEADER = 16,
    SWEEP_MS = 1000,
};

enum conn_flag {
    IS_READY = 1,   /* on the ready list */
    IS_ENDING = 2,  /* RDHUP, HUP or ERR was seen: read until 0 or an error */
    HAS_SPOKEN = 4, /* has sent a complete frame, so it is what it seems */
    IS_PARTIAL = 8, /* on the partial list */
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
    uint8_t peer_len;
    char peer[FL_PEER_SIZE];
    neighbours ready, partial;
    uint8_t *part; /* the beginning of a frame, with its length */
    uint32_t part_len, part_cap;
    uint32_t graced_len;           /* part_len when the frame became older than stall_ms, or 0 */
    int64_t part_since, part_last; /* ms: its first and its latest byte */
} conn;

struct fl_loop {
    fl_loop_options options;
    fl_block_fn on_block;
    int epoll_fd;
    int spare_fd; /* given up for a moment to shed a connection when descriptors run out */
    int error;    /* errno of the last FL_ESYS */

    conn *conns;
    uint32_t slots, free_slot, last_serial, last_generation;
    list ready, partial;

    int listeners[MAX_LISTENERS];
    uint32_t listener_count, watched_count;
    int64_t rearm_at; /* ms: when the disarmed listeners listen again; 0: they are armed */
    bool paused, draining;

    uint8_t *arena;
    size_t arena_cap, arena_len;
    uint32_t arena_frames;
    uint64_t turn_bytes; /* received in the last turn */

    int64_t now, sweep_at; /* ms, monotonic */
    fl_loop_stats stats;
    fl_refusal refusals[REFUSALS];
    uint32_t refusal_first, refusal_count;
};

/* loop.c */
int64_t monotonic_ms(void);

/* conn.c */
int conn_open(fl_loop *loop, int fd, const char *peer, uint32_t *slot);
void conn_close(fl_loop *loop, uint32_t slot);
void conn_close_partial(fl_loop *loop, uint32_t slot, int reason);
void conn_set_ready(fl_loop *loop, uint32_t slot, bool ready);
bool conn_reserve(fl_loop *loop, uint32_t slot, uint32_t cap);
bool conn_hold(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len, bool fresh);
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

/* accept.c */
int accept_some(fl_loop *loop, uint32_t index, uint32_t limit);
int listeners_arm(fl_loop *loop);
int listeners_disarm(fl_loop *loop);

/* refusal.c */
void refuse(fl_loop *loop, int reason, const char *peer, const uint8_t *head, size_t len);
void refuse_frame(fl_loop *loop, int reason, const conn *c, const uint8_t *head, size_t len);

#endif
