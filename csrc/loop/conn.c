/* conn.c: the table of connections, their half-received frames, and the lists. */
#include "loop_internal.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { GIVE_BACK = 8 * 1024 * 1024 }; /* that much less than there was: worth a search */

/* ---- lists ---- */

static neighbours *neighbours_of(fl_loop *loop, const list *l, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    return l == &loop->partial || l == &loop->silent ? &c->partial : &c->ready;
}

static void list_append(fl_loop *loop, list *l, uint32_t slot)
{
    neighbours *own = neighbours_of(loop, l, slot);
    own->prev = l->tail;
    own->next = NO_SLOT;
    if (l->tail == NO_SLOT)
        l->head = slot;
    else
        neighbours_of(loop, l, l->tail)->next = slot;
    l->tail = slot;
    l->count++;
}

static void list_remove(fl_loop *loop, list *l, uint32_t slot)
{
    neighbours *own = neighbours_of(loop, l, slot);
    if (own->prev == NO_SLOT)
        l->head = own->next;
    else
        neighbours_of(loop, l, own->prev)->next = own->next;
    if (own->next == NO_SLOT)
        l->tail = own->prev;
    else
        neighbours_of(loop, l, own->next)->prev = own->prev;
    l->count--;
}

/* Puts a connection on a list, at its end, or takes it off. */
static void set_listed(fl_loop *loop, list *l, enum conn_flag flag, uint32_t slot, bool listed)
{
    conn *c = &loop->conns[slot];
    if (listed == !!(c->flags & flag))
        return;
    c->flags ^= (uint8_t)flag;
    if (listed)
        list_append(loop, l, slot);
    else
        list_remove(loop, l, slot);
}

void conn_set_ready(fl_loop *loop, uint32_t slot, bool ready)
{
    set_listed(loop, &loop->throttled, IS_THROTTLED, slot, false);
    set_listed(loop, &loop->ready, IS_READY, slot, ready);
}

void conn_set_silent(fl_loop *loop, uint32_t slot, bool silent)
{
    set_listed(loop, &loop->silent, IS_SILENT, slot, silent);
}

void conn_set_throttled(fl_loop *loop, uint32_t slot)
{
    conn_set_ready(loop, slot, false);
    set_listed(loop, &loop->throttled, IS_THROTTLED, slot, true);
}

static void set_partial(fl_loop *loop, uint32_t slot, bool partial)
{
    set_listed(loop, &loop->partial, IS_PARTIAL, slot, partial);
}

/* ---- slots ---- */

static bool more_slots(fl_loop *loop)
{
    uint32_t old = loop->slots;
    uint32_t slots = old ? old * 2 : 64;
    if (slots > loop->options.max_connections)
        slots = loop->options.max_connections;
    if (slots <= old)
        return false;
    conn *grown = realloc(loop->conns, slots * sizeof *grown);
    if (!grown)
        return false;
    loop->conns = grown;
    for (uint32_t i = slots; i-- > old;) {
        memset(&grown[i], 0, sizeof *grown);
        grown[i].fd = -1;
        grown[i].ready.next = loop->free_slot;
        loop->free_slot = i;
    }
    loop->slots = slots;
    return true;
}

/* Registers a connected, non-blocking socket. Returns 0 and its slot, or an error: then fd is still
 * the caller's. */
int conn_open(fl_loop *loop, int fd, const char *peer, uint32_t *out)
{
    if (loop->free_slot == NO_SLOT && !more_slots(loop))
        return FL_ENOMEM;
    uint32_t slot = loop->free_slot;
    conn *c = &loop->conns[slot];
    if (++loop->last_generation == 0) /* 0 marks listeners and watched descriptors */
        loop->last_generation = 1;
    uint32_t host;
    if (!hosts_enter(&loop->hosts, peer, &host))
        return FL_ENOMEM;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
    event.data.u64 = (uint64_t)loop->last_generation << 32 | slot;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        loop->error = errno;
        hosts_leave(&loop->hosts, host);
        return FL_ESYS;
    }
    loop->free_slot = c->ready.next;
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->generation = loop->last_generation;
    c->serial = ++loop->last_serial;
    c->host = host;
    c->host_share = hosts_share(&loop->hosts, peer);
    c->peer_len = (uint8_t)strnlen(peer, FL_PEER_SIZE - 1);
    memcpy(c->peer, peer, c->peer_len);
    c->part_since = loop->now;
    conn_set_silent(loop, slot, true);
    loop->stats.connections++;
    *out = slot;
    return 0;
}

/* It has sent a first byte, or has ended: what it speaks is known, and it is silent no more. */
void conn_speaks(fl_loop *loop, uint32_t slot, enum protocol protocol)
{
    loop->conns[slot].protocol = (uint8_t)protocol;
    conn_set_silent(loop, slot, false);
}

void conn_drop_part(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    loop->stats.partial_bytes -= c->part_cap;
    free(c->part);
    c->part = NULL;
    c->part_len = c->part_cap = 0;
    set_partial(loop, slot, false);
}

/* Closes without a word; see conn_close_partial() for a connection that is inside a frame. */
void conn_close(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    if (c->client)
        client_lose_connection(loop, c->client);
    c->client = NULL;
    conn_drop_part(loop, slot);
    conn_set_ready(loop, slot, false);
    conn_set_silent(loop, slot, false);
    hosts_leave(&loop->hosts, c->host);
    /* close() alone leaves the registration if the descriptor was handed to another process. */
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    c->fd = -1;
    c->generation = 0;
    c->ready.next = loop->free_slot;
    loop->free_slot = slot;
    loop->stats.connections--;
}

/* ---- half-received frames ---- */

static uint32_t largest_partial(const fl_loop *loop)
{
    uint32_t largest = NO_SLOT, cap = 0;
    for (uint32_t s = loop->partial.head; s != NO_SLOT; s = loop->conns[s].partial.next)
        if (loop->conns[s].part_cap > cap) {
            cap = loop->conns[s].part_cap;
            largest = s;
        }
    return largest;
}

/* Closes, and reports the frame that it leaves half-received, unless it is a client's: who sends
 * that again has lost nothing. */
void conn_close_partial(fl_loop *loop, uint32_t slot, int reason)
{
    conn *c = &loop->conns[slot];
    if (c->protocol != FASTLOG)
        reject_frame(loop, reason, c, c->part, c->part_len);
    conn_close(loop, slot);
}

/* Many half frames have gone: free() alone would keep the holes that they leave in the heap, and
 * the budget would not be what they cost. */
static void give_back(fl_loop *loop)
{
    loop->partial_peak = loop->stats.partial_bytes;
    loop->evicted = 0;
#ifdef __GLIBC__ /* others have no such call, and smaller heaps */
    (void)malloc_trim(0);
#endif
}

static void evict(fl_loop *loop, uint32_t slot)
{
    loop->evicted += loop->conns[slot].part_cap;
    conn_close_partial(loop, slot, FL_MEMORY);
    if (loop->evicted >= GIVE_BACK)
        give_back(loop);
}

/* Makes room for `cap` bytes of the connection's frame, at the cost of the largest half-received
 * frames when the budget is used up. False: there is none, and the connection is closed. */
bool conn_reserve(fl_loop *loop, uint32_t slot, uint32_t cap)
{
    conn *c = &loop->conns[slot];
    if (cap <= c->part_cap)
        return true;
    while (loop->stats.partial_bytes - c->part_cap + cap > loop->options.partial_memory) {
        uint32_t victim = largest_partial(loop);
        if (victim == NO_SLOT || loop->conns[victim].part_cap <= cap)
            victim = slot;
        evict(loop, victim);
        if (victim == slot)
            return false;
    }
    uint8_t *grown = realloc(c->part, cap);
    if (!grown) {
        conn_close_partial(loop, slot, FL_MEMORY);
        return false;
    }
    loop->stats.partial_bytes += cap - c->part_cap;
    if (loop->stats.partial_bytes > loop->partial_peak)
        loop->partial_peak = loop->stats.partial_bytes;
    c->part = grown;
    c->part_cap = cap;
    return true;
}

/* Keeps the beginning of a frame, len >= 1, for a connection that holds nothing. A fresh frame
 * starts its clock; one that conn_release() gave back keeps it. False: there was no memory, and the
 * connection is closed. */
bool conn_hold(fl_loop *loop, uint32_t slot, const uint8_t *data, size_t len, bool fresh)
{
    if (!conn_reserve(loop, slot, len < 64 ? 64 : (uint32_t)len))
        return false;
    conn *c = &loop->conns[slot];
    memcpy(c->part, data, len);
    c->part_len = (uint32_t)len;
    c->part_last = loop->now;
    if (fresh) {
        c->part_since = loop->now;
        c->graced_len = 0;
    }
    set_partial(loop, slot, true);
    return true;
}

/* Gives the held bytes back into `to`, which has room for them, and returns how many. */
uint32_t conn_release(fl_loop *loop, uint32_t slot, uint8_t *to)
{
    conn *c = &loop->conns[slot];
    uint32_t len = c->part_len;
    if (len)
        memcpy(to, c->part, len);
    conn_drop_part(loop, slot);
    return len;
}

/* Is this half-received frame silent for too long, or too slow once it is older than that? */
static bool has_stalled(const fl_loop *loop, conn *c)
{
    int64_t stall = loop->options.stall_ms;
    if (loop->now - c->part_last >= stall)
        return true;
    int64_t overdue = loop->now - c->part_since - stall;
    if (overdue < 0)
        return false;
    if (!c->graced_len) {
        c->graced_len = c->part_len;
        c->part_since = loop->now - stall; /* the rate counts from here */
        return false;
    }
    return (int64_t)(c->part_len - c->graced_len) * 1000 < overdue * loop->options.min_rate;
}

void conn_sweep(fl_loop *loop)
{
    for (uint32_t s = loop->partial.head, next; s != NO_SLOT; s = next) {
        next = loop->conns[s].partial.next;
        if (!(loop->conns[s].flags & IS_THROTTLED) && has_stalled(loop, &loop->conns[s]))
            conn_close_partial(loop, s, FL_TRUNCATED);
    }
    if (loop->partial_peak - loop->stats.partial_bytes >= GIVE_BACK)
        give_back(loop);
}
