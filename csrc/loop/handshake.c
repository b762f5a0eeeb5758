/* handshake.c: the caller's decisions about fastlog clients. */
#include "loop_internal.h"

#include <string.h>

void client_await_answer(fl_loop *loop, client *k, const fl_header *header, const uint8_t *payload)
{
    k->handshake_type = header->type;
    k->handshake_len = (uint16_t)header->len;
    memcpy(k->handshake, payload, header->len);
    k->state = CLIENT_ASKED;
    client_queue_event(loop, k);
    coalesce_note_handshake(loop);
}

/* Returns the client of a connection; NULL if that has ended. */
static client *find(const fl_loop *loop, uint64_t name)
{
    uint32_t slot = (uint32_t)name;
    if (slot >= loop->slots || loop->conns[slot].generation != (uint32_t)(name >> 32))
        return NULL;
    return loop->conns[slot].client;
}

static void describe_end(const client *k, fl_event *out)
{
    out->kind = FL_EVENT_ENDED;
    out->committed = k->session.committed;
    out->admitted = k->was_admitted;
    out->sent_bye = k->sent_bye;
}

static void describe_handshake(const fl_loop *loop, const client *k, fl_event *out)
{
    const conn *c = &loop->conns[k->slot];
    out->kind = k->handshake_type == FL_TYPE_HELLO ? FL_EVENT_HELLO : FL_EVENT_AUTH;
    out->len = k->handshake_len;
    memcpy(out->data, k->handshake, k->handshake_len);
    memcpy(out->peer, c->peer, sizeof out->peer);
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
        out->listen_flags = k->listen_flags;
        bool has_ended = k->slot == NO_SLOT;
        if (has_ended && (!k->is_reported || k->is_dirty || k->is_pending)) {
            client_settle(loop, k); /* a HELLO that was not reported is not reported now */
            continue;
        }
        if (has_ended) {
            describe_end(k, out);
            client_free(loop, k);
        } else if (k->state == CLIENT_ASKED) {
            describe_handshake(loop, k, out);
            k->is_reported = true;
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
    if (!k || k->state != CLIENT_ASKED)
        return FL_EINVAL;
    k->state = CLIENT_HANDSHAKE;
    k->is_challenged = true;
    client_send(loop, k, data, len);
    conn_set_ready(loop, k->slot, true);
    return 0;
}

int fl_loop_admit(fl_loop *loop, uint64_t conn, const uint8_t id[FL_CLIENT_ID],
                  const uint8_t key[FL_CLIENT_KEY], uint64_t incarnation, uint64_t committed,
                  const uint8_t *welcome, size_t len)
{
    client *k = find(loop, conn);
    if (!k || k->state != CLIENT_ASKED)
        return FL_EINVAL;
    memcpy(k->id, id, sizeof k->id);
    memcpy(k->key, key, sizeof k->key);
    k->incarnation = incarnation;
    fl_session_begin(&k->session, committed);
    k->state = CLIENT_ADMITTED;
    k->was_admitted = true;
    loop->stats.clients++;
    loop->conns[k->slot].flags |= HAS_SENT_FRAME;
    client_send(loop, k, welcome, len);
    conn_set_ready(loop, k->slot, true);
    return 0;
}

int fl_loop_dismiss(fl_loop *loop, uint64_t conn, const uint8_t *frame, size_t len)
{
    client *k = find(loop, conn);
    if (!k)
        return FL_EINVAL;
    if (len) {
        client_flush(loop, k); /* an ACK that is due goes before the last frame, or not at all */
        k->ack_due = false;
        client_send(loop, k, frame, len);
        client_close(loop, k);
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
