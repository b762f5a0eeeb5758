/* clients.c: fastlog clients, and what the journal reports about their records. */
#include "loop_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- the list of clients ---- */

bool client_begin(fl_loop *loop, uint32_t slot)
{
    if (!loop->scratch)
        loop->scratch = malloc((size_t)LARGE + CHUNK);
    client *k = loop->scratch ? calloc(1, sizeof *k) : NULL;
    if (!k)
        return false;
    conn *c = &loop->conns[slot];
    int on = 1; /* so that an ACK does not wait until the peer's kernel confirms the one before */
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    k->slot = slot;
    k->name = (uint64_t)c->generation << 32 | slot;
    k->listen_flags = c->listen_flags;
    k->since = k->last_sent = loop->now;
    k->next = loop->clients;
    if (k->next)
        k->next->prev = k;
    loop->clients = k;
    c->client = k;
    return true;
}

void client_free(fl_loop *loop, client *k)
{
    if (k->prev)
        k->prev->next = k->next;
    else
        loop->clients = k->next;
    if (k->next)
        k->next->prev = k->prev;
    fl_session_end(&k->session);
    free(k);
}

void clients_free(fl_loop *loop)
{
    while (loop->clients)
        client_free(loop, loop->clients);
}

bool client_is_served(const client *k)
{
    return k->slot != NO_SLOT && (k->state == CLIENT_ADMITTED || k->state == CLIENT_LEAVING);
}

/* ---- the end of a connection ---- */

void client_queue_event(fl_loop *loop, client *k)
{
    if (k->has_event)
        return;
    k->has_event = true;
    k->next_event = NULL;
    if (loop->events.tail)
        loop->events.tail->next_event = k;
    else
        loop->events.head = k;
    loop->events.tail = k;
}

void client_settle(fl_loop *loop, client *k)
{
    if (k->slot != NO_SLOT || k->is_dirty || k->is_pending || k->has_event)
        return;
    if (k->is_reported)
        client_queue_event(loop, k);
    else
        client_free(loop, k);
}

void client_lose_connection(fl_loop *loop, client *k)
{
    if (client_is_served(k))
        loop->stats.clients--;
    k->slot = NO_SLOT;
    k->ack_due = false;
    client_settle(loop, k);
}

void client_close(fl_loop *loop, client *k)
{
    if (k->state == CLIENT_CLOSING)
        return;
    if (client_is_served(k))
        loop->stats.clients--;
    k->state = CLIENT_CLOSING;
    k->since = loop->now;
    client_flush(loop, k);
}

/* sent_bye lets the caller forget the id. A client that loses its connection before all is
 * committed can connect again with the rest, so its id must stay known. */
void client_leave(fl_loop *loop, client *k)
{
    if (k->state != CLIENT_LEAVING || k->session.committed != k->session.accepted)
        return;
    k->sent_bye = k->ack_due = true;
    client_close(loop, k);
}

/* ---- from the block to the acknowledgement ---- */

void client_set_dirty(fl_loop *loop, client *k)
{
    if (k->is_dirty)
        return;
    k->is_dirty = true;
    k->next_dirty = loop->dirty;
    loop->dirty = k;
    loop->dirty_count++;
}

uint32_t fl_loop_dirty(const fl_loop *loop)
{
    return loop->dirty_count;
}

/* Removes a client from the list of dirty ones. Returns NULL if there is none. */
static client *pop_dirty(fl_loop *loop)
{
    client *k = loop->dirty;
    if (k) {
        loop->dirty = k->next_dirty;
        loop->dirty_count--;
        k->is_dirty = false;
    }
    return k;
}

void fl_loop_journaled(fl_loop *loop, uint64_t offset)
{
    for (client *k; (k = pop_dirty(loop));) {
        fl_session_journaled(&k->session, offset);
        if (!k->is_pending && k->session.pending_count) {
            k->is_pending = true;
            k->next_pending = loop->pending;
            loop->pending = k;
        }
        client_settle(loop, k);
    }
}

void fl_loop_discarded(fl_loop *loop)
{
    uint8_t frame[FL_ERROR_BYTES];
    for (client *k; (k = pop_dirty(loop));) {
        fl_session_discarded(&k->session);
        if (k->slot != NO_SLOT) {
            size_t len = fl_error_write(frame, FL_CODE_FULL, FL_ACTION_RETRY, k->session.accepted,
                                        "the journal takes nothing now");
            client_send(loop, k, frame, len);
            client_close(loop, k);
        }
        client_settle(loop, k);
    }
}

void fl_loop_durable(fl_loop *loop, uint64_t offset)
{
    client *pending = loop->pending;
    loop->pending = NULL;
    for (client *k; (k = pending);) {
        pending = k->next_pending;
        if (fl_session_durable(&k->session, offset))
            k->ack_due = k->slot != NO_SLOT;
        k->is_pending = k->session.pending_count > 0;
        if (k->is_pending) {
            k->next_pending = loop->pending;
            loop->pending = k;
        }
        if (k->slot != NO_SLOT)
            client_leave(loop, k);
        client_flush(loop, k);
        client_settle(loop, k);
    }
}

void fl_loop_window(fl_loop *loop, uint32_t bytes, uint8_t state)
{
    bool is_larger = bytes > loop->window;
    loop->window = bytes;
    loop->journal_state = state;
    for (client *k = is_larger ? loop->clients : NULL; k; k = k->next)
        if (client_is_served(k)) {
            k->ack_due = true;
            client_flush(loop, k);
        }
}
