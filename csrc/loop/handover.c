/* handover.c: hands connections over to another process: writes and reads their state.
 *
 *     state  = version u8 | protocol u8 | flags u8 | listen_flags u8 | client | partial frame
 *     client = id 16 | key 8 | incarnation u64 | committed u64 | out_len u16 | out
 *
 * Only a fastlog client has the part `client`. The partial frame takes the rest. Integers have the
 * byte order of the machine, which the state never leaves.
 */
#include "loop_internal.h"

#include <fcntl.h>
#include <string.h>

enum {
    STATE_VERSION = 2,
    STATE_HEAD = 4,
    KEPT_FLAGS = HAS_SENT_FRAME | HAS_OWN_RATE,
    STATE_CLIENT = FL_CLIENT_ID + FL_CLIENT_KEY + 8 + 8 + 2,
};

/* A client is handed over if it is admitted and all its records are durable. Any other client
 * connects again, and begins with its handshake. */
static bool can_be_handed_over(const conn *c)
{
    const client *k = c->client;
    return c->fd >= 0 && (!k || (k->state == CLIENT_ADMITTED && !k->is_dirty && !k->is_pending));
}

static uint32_t unsent_bytes(const client *k)
{
    return (uint32_t)(k->out_len - k->out_at);
}

int fl_loop_export(const fl_loop *loop, uint32_t *at, char peer[FL_PEER_SIZE], size_t *len)
{
    while (*at < loop->slots) {
        const conn *c = &loop->conns[(*at)++];
        if (!can_be_handed_over(c))
            continue;
        memcpy(peer, c->peer, FL_PEER_SIZE);
        *len = STATE_HEAD + c->partial_len;
        if (c->client)
            *len += STATE_CLIENT + unsent_bytes(c->client);
        return c->fd;
    }
    return -1;
}

static uint8_t *put(uint8_t *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

static uint8_t *write_client(uint8_t *p, const client *k)
{
    uint16_t out_len = (uint16_t)unsent_bytes(k);
    p = put(p, k->id, sizeof k->id);
    p = put(p, k->key, sizeof k->key);
    p = put(p, &k->incarnation, sizeof k->incarnation);
    p = put(p, &k->session.committed, sizeof k->session.committed);
    p = put(p, &out_len, sizeof out_len);
    return put(p, k->out + k->out_at, out_len);
}

void fl_loop_state(const fl_loop *loop, uint32_t at, uint8_t *state)
{
    const conn *c = &loop->conns[at - 1];
    uint8_t head[STATE_HEAD] = {STATE_VERSION, c->protocol, c->flags & KEPT_FLAGS, c->listen_flags};
    uint8_t *p = put(state, head, sizeof head);
    if (c->client)
        p = write_client(p, c->client);
    if (c->partial_len)
        put(p, c->partial_data, c->partial_len);
}

/* The part `client` of a state. */
typedef struct client_part {
    uint8_t id[FL_CLIENT_ID], key[FL_CLIENT_KEY];
    uint64_t incarnation, committed;
    uint16_t out_len;
    const uint8_t *out;
} client_part;

static const uint8_t *get(void *to, const uint8_t *from, size_t len)
{
    memcpy(to, from, len);
    return from + len;
}

/* Returns the bytes of the part `client`, or 0 if it is invalid. */
static size_t read_client(const uint8_t *state, size_t len, client_part *out)
{
    if (len < STATE_CLIENT)
        return 0;
    const uint8_t *p = get(out->id, state, sizeof out->id);
    p = get(out->key, p, sizeof out->key);
    p = get(&out->incarnation, p, sizeof out->incarnation);
    p = get(&out->committed, p, sizeof out->committed);
    p = get(&out->out_len, p, sizeof out->out_len);
    out->out = p;
    if (out->out_len > CLIENT_OUT || out->out_len > len - STATE_CLIENT)
        return 0;
    return STATE_CLIENT + (size_t)out->out_len;
}

static void restore_client(fl_loop *loop, client *k, const client_part *from)
{
    memcpy(k->id, from->id, sizeof k->id);
    memcpy(k->key, from->key, sizeof k->key);
    memcpy(k->out, from->out, from->out_len);
    k->out_len = from->out_len;
    k->incarnation = from->incarnation;
    k->ack_due = true; /* the window of this process may differ */
    k->state = CLIENT_ADMITTED;
    k->is_reported = k->was_admitted = true;
    fl_session_begin(&k->session, from->committed);
    loop->stats.clients++;
    client_flush_later(loop, k); /* not now: the other process may keep the connection */
}

int fl_loop_take(fl_loop *loop, int fd, const char *peer, const uint8_t *state, size_t len,
                 uint64_t *conn_name, uint8_t id[FL_CLIENT_ID], uint8_t key[FL_CLIENT_KEY])
{
    client_part part = {0};
    size_t at = STATE_HEAD;
    uint32_t slot;
    *conn_name = 0;
    if (len < STATE_HEAD || state[0] != STATE_VERSION || state[1] > PROTOCOL_FASTLOG)
        return FL_EINVAL;
    if (state[2] & ~KEPT_FLAGS || (state[1] == PROTOCOL_UNDECIDED && len > at))
        return FL_EINVAL; /* flags of lists are never handed over, and a silent connection has no
                             partial frame */
    if (state[1] == PROTOCOL_FASTLOG) {
        size_t size = read_client(state + at, len - at, &part);
        if (!size)
            return FL_EINVAL;
        at += size;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || !(flags & O_NONBLOCK)) /* a loop would have set it */
        return FL_EINVAL;
    int result = conn_open(loop, fd, peer, &slot);
    if (result < 0)
        return result;
    conn *c = &loop->conns[slot];
    conn_set_keepalive(loop, fd); /* the options may differ from those of the other process */
    if (state[1] != PROTOCOL_UNDECIDED)
        conn_set_protocol(loop, slot, state[1]);
    c->flags |= state[2];
    c->listen_flags = state[3];
    if (c->protocol == PROTOCOL_FASTLOG) {
        if (!client_begin(loop, slot)) {
            conn_close(loop, slot);
            return 0; /* its client connects again */
        }
        restore_client(loop, c->client, &part);
        *conn_name = c->client->name;
        memcpy(id, part.id, sizeof part.id);
        memcpy(key, part.key, sizeof part.key);
    }
    if (at < len && !partial_keep(loop, slot, state + at, len - at, true))
        return 0; /* no memory for the partial frame: it is closed and reported */
    conn_set_ready(loop, slot, true);
    return 0;
}
