/* clients.c: fastlog clients, from the first byte to the last acknowledgement. */
#include "loop_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    PARTING_MS = 2000, /* a client has so long to read our last words */
    RETRY_MS = 100,    /* it shall wait so long before it comes back */
    NOTICE_CLOSING = 1,
};

/* ---- from the first byte ---- */

/* The connection shows the magic number, or the beginning of it. False: there is no memory. */
bool client_begin(fl_loop *loop, uint32_t slot)
{
    if (!loop->scratch)
        loop->scratch = malloc((size_t)LARGE + CHUNK);
    client *k = loop->scratch ? calloc(1, sizeof *k) : NULL;
    if (!k)
        return false;
    conn *c = &loop->conns[slot];
    int on = 1; /* an ACK shall not wait until the peer's kernel confirms the one before */
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    k->slot = slot;
    k->name = (uint64_t)c->generation << 32 | slot;
    k->terms = c->terms;
    k->since = k->told = loop->now;
    k->next = loop->clients;
    if (k->next)
        k->next->prev = k;
    loop->clients = k;
    c->client = k;
    return true;
}

static void queue_event(fl_loop *loop, client *k)
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

/* A HELLO or an AUTH has come: it waits for the caller. */
void client_ask(fl_loop *loop, client *k, const fl_head *head, const uint8_t *payload)
{
    k->asked_type = head->type;
    k->asked_len = (uint16_t)head->len;
    memcpy(k->asked, payload, head->len);
    k->state = ASKING;
    queue_event(loop, k);
}

/* ---- the way of its records ---- */

/* It has put something into the block. */
void client_touch(fl_loop *loop, client *k)
{
    if (k->is_touched)
        return;
    k->is_touched = true;
    k->next_touched = loop->touched;
    loop->touched = k;
    loop->touched_count++;
}

static void forget(fl_loop *loop, client *k)
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

/* Its connection has ended: when nothing of it is under way any more, the caller is told, or it is
 * forgotten at once if he never heard of it. */
static void settle(fl_loop *loop, client *k)
{
    if (k->slot != NO_SLOT || k->is_touched || k->is_waiting || k->has_event)
        return;
    if (k->is_known)
        queue_event(loop, k);
    else
        forget(loop, k);
}

/* It has said BYE, and all of it is safe: that is told, and its id may be forgotten. Who loses his
 * connection before that may come back with the rest. */
void client_leave(fl_loop *loop, client *k)
{
    if (k->state != LEAVING || k->session.committed != k->session.accepted)
        return;
    k->said_bye = k->ack_due = true;
    client_part(loop, k);
}

/* Something was committed, or rejected: says so, and lets those go who wait for it. */
static void progress(fl_loop *loop, client *k)
{
    if (k->slot != NO_SLOT)
        client_leave(loop, k);
    client_flush(loop, k);
    settle(loop, k);
}

uint32_t fl_loop_dirty(const fl_loop *loop)
{
    return loop->touched_count;
}

static client *take_touched(fl_loop *loop)
{
    client *k = loop->touched;
    if (k) {
        loop->touched = k->next_touched;
        loop->touched_count--;
        k->is_touched = false;
    }
    return k;
}

void fl_loop_journaled(fl_loop *loop, uint64_t offset)
{
    for (client *k; (k = take_touched(loop));) {
        fl_session_journaled(&k->session, offset);
        if (!k->is_waiting && k->session.mark_count) {
            k->is_waiting = true;
            k->next_waiting = loop->waiting;
            loop->waiting = k;
        }
        settle(loop, k);
    }
}

void fl_loop_discarded(fl_loop *loop)
{
    uint8_t frame[FL_ERROR_BYTES];
    for (client *k; (k = take_touched(loop));) {
        fl_session_discarded(&k->session);
        if (k->slot != NO_SLOT) {
            size_t len = fl_error_write(frame, FL_C_FULL, FL_RETRY, k->session.accepted,
                                        "the journal takes nothing now");
            client_tell(loop, k, frame, len);
            client_part(loop, k);
        }
        settle(loop, k);
    }
}

void fl_loop_durable(fl_loop *loop, uint64_t offset)
{
    client *waiting = loop->waiting;
    loop->waiting = NULL;
    for (client *k; (k = waiting);) {
        waiting = k->next_waiting;
        if (fl_session_durable(&k->session, offset))
            k->ack_due = k->slot != NO_SLOT;
        k->is_waiting = k->session.mark_count > 0;
        if (k->is_waiting) {
            k->next_waiting = loop->waiting;
            loop->waiting = k;
        }
        progress(loop, k);
    }
}

static bool is_served(const client *k)
{
    return k->slot != NO_SLOT && (k->state == ADMITTED || k->state == LEAVING);
}

void fl_loop_window(fl_loop *loop, uint32_t bytes, uint8_t state)
{
    bool opens = bytes > loop->window;
    loop->window = bytes;
    loop->journal_state = state;
    for (client *k = opens ? loop->clients : NULL; k; k = k->next)
        if (is_served(k)) {
            k->ack_due = true;
            client_flush(loop, k);
        }
}

/* ---- to the last ---- */

/* Ends the conversation once what waits has been sent. */
void client_part(fl_loop *loop, client *k)
{
    if (k->state == PARTING)
        return;
    if (is_served(k))
        loop->stats.clients--;
    k->state = PARTING;
    k->since = loop->now;
    client_flush(loop, k);
}

/* conn_close() says so: the client stays for as long as the journal has to answer for it. */
void client_lose_connection(fl_loop *loop, client *k)
{
    if (is_served(k))
        loop->stats.clients--;
    k->slot = NO_SLOT;
    k->ack_due = false;
    settle(loop, k);
}

/* Keepalives, and what takes too long. */
void clients_sweep(fl_loop *loop)
{
    for (client *k = loop->clients, *next; k; k = next) {
        next = k->next;
        if (k->slot == NO_SLOT)
            continue;
        int64_t age = loop->now - k->since;
        if (k->state == PARTING && age >= PARTING_MS) {
            conn_close(loop, k->slot);
        } else if (k->state == GREETING && age >= loop->options.hello_ms) {
            reject(loop, FL_SILENT, loop->conns[k->slot].peer, NULL, 0);
            conn_close(loop, k->slot);
        } else if (is_served(k) && loop->now - k->told >= loop->options.keepalive_ms) {
            k->ack_due = true;
            client_flush(loop, k);
        }
    }
}

/* The server is about to end: clients shall send no more, and come back. */
void clients_announce_end(fl_loop *loop)
{
    uint8_t frame[FL_ERROR_BYTES];
    size_t len = fl_notice_write(frame, NOTICE_CLOSING, RETRY_MS, "the server is stopping");
    for (client *k = loop->clients; k; k = k->next)
        if (is_served(k))
            client_tell(loop, k, frame, len);
}

void clients_free(fl_loop *loop)
{
    while (loop->clients)
        forget(loop, loop->clients);
}

/* ---- what the caller has to do with them ---- */

static client *find(const fl_loop *loop, uint64_t name)
{
    uint32_t slot = (uint32_t)name;
    if (slot >= loop->slots || loop->conns[slot].generation != (uint32_t)(name >> 32))
        return NULL;
    return loop->conns[slot].client;
}

static void describe_end(const client *k, fl_event *out)
{
    out->kind = FL_ENDED;
    out->committed = k->session.committed;
    out->admitted = k->was_admitted;
    out->said_bye = k->said_bye;
}

static void describe_greeting(fl_loop *loop, client *k, fl_event *out)
{
    const conn *c = &loop->conns[k->slot];
    out->kind = k->asked_type == FL_T_HELLO ? FL_HELLO : FL_PROOF;
    out->len = k->asked_len;
    memcpy(out->data, k->asked, k->asked_len);
    memcpy(out->peer, c->peer, sizeof out->peer);
    k->is_known = true;
}

int fl_loop_event(fl_loop *loop, fl_event *out)
{
    for (client *k; (k = loop->events.head);) {
        loop->events.head = k->next_event;
        if (!loop->events.head)
            loop->events.tail = NULL;
        k->has_event = false;
        memset(out, 0, sizeof *out);
        out->conn = k->name;
        out->terms = k->terms;
        bool has_ended = k->slot == NO_SLOT;
        if (has_ended && (!k->is_known || k->is_touched || k->is_waiting)) {
            settle(loop, k); /* it ended before its greeting was heard: nobody need know */
            continue;
        }
        if (has_ended) {
            describe_end(k, out);
            forget(loop, k);
        } else if (k->state == ASKING) {
            describe_greeting(loop, k, out);
        } else {
            continue; /* it was dismissed meanwhile */
        }
        return 1;
    }
    return 0;
}

int fl_loop_send(fl_loop *loop, uint64_t conn, const uint8_t *data, size_t len)
{
    client *k = find(loop, conn);
    if (!k || k->state != ASKING)
        return FL_EINVAL;
    k->state = GREETING;
    k->was_asked = true;
    client_tell(loop, k, data, len);
    conn_set_ready(loop, k->slot, true);
    return 0;
}

int fl_loop_admit(fl_loop *loop, uint64_t conn, const uint8_t id[FL_CLIENT_ID],
                  const uint8_t key[FL_CLIENT_KEY], uint64_t incarnation, uint64_t committed,
                  const uint8_t *welcome, size_t len)
{
    client *k = find(loop, conn);
    if (!k || k->state != ASKING)
        return FL_EINVAL;
    memcpy(k->id, id, sizeof k->id);
    memcpy(k->key, key, sizeof k->key);
    k->incarnation = incarnation;
    fl_session_begin(&k->session, committed);
    k->state = ADMITTED;
    k->was_admitted = true;
    loop->stats.clients++;
    loop->conns[k->slot].flags |= HAS_SPOKEN;
    client_tell(loop, k, welcome, len);
    conn_set_ready(loop, k->slot, true);
    return 0;
}

int fl_loop_dismiss(fl_loop *loop, uint64_t conn, const uint8_t *frame, size_t len)
{
    client *k = find(loop, conn);
    if (!k)
        return FL_EINVAL;
    if (len) {
        client_flush(loop, k); /* what is due comes before the last frame, or not at all */
        k->ack_due = false;
        client_tell(loop, k, frame, len);
        client_part(loop, k);
    } else {
        conn_close(loop, k->slot);
    }
    return 0;
}

int fl_loop_committed(const fl_loop *loop, uint64_t conn, uint64_t *out)
{
    const client *k = find(loop, conn);
    if (!k || !k->was_admitted)
        return FL_EINVAL;
    *out = k->session.committed;
    return 0;
}
