/* handed.c: connections on their way to another process: what a new receiver takes over.
 *
 *     state  = version u8 | protocol u8 | flags u8 | terms u8 | client, if FASTLOG | part
 *     client = id 16 | key 8 | incarnation u64 | committed u64 | out_len u16 | out
 *
 * part is what was received of the next frame, to the end. Integers are as this machine has them:
 * the state never leaves it.
 */
#include "loop_internal.h"

#include <fcntl.h>
#include <string.h>

enum {
    STATE_VERSION = 2,
    STATE_HEAD = 4,
    KEPT_FLAGS = HAS_SPOKEN | IS_KNOWN,
    STATE_CLIENT = FL_CLIENT_ID + FL_CLIENT_KEY + 8 + 8 + 2,
};

/* Greetings are begun anew, and partings end: only who was admitted, and owes nothing to the
 * journal, goes along. */
static bool can_go(const conn *c)
{
    const client *k = c->client;
    return c->fd >= 0 && (!k || (k->state == ADMITTED && !k->is_touched && !k->is_waiting));
}

static uint32_t waiting_out(const client *k)
{
    return (uint32_t)(k->out_len - k->out_at);
}

int fl_loop_export(const fl_loop *loop, uint32_t *at, char peer[FL_PEER_SIZE], size_t *len)
{
    while (*at < loop->slots) {
        const conn *c = &loop->conns[(*at)++];
        if (!can_go(c))
            continue;
        memcpy(peer, c->peer, FL_PEER_SIZE);
        *len = STATE_HEAD + c->part_len;
        if (c->client)
            *len += STATE_CLIENT + waiting_out(c->client);
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
    uint16_t out_len = (uint16_t)waiting_out(k);
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
    uint8_t head[STATE_HEAD] = {STATE_VERSION, c->protocol, c->flags & KEPT_FLAGS, c->terms};
    uint8_t *p = put(state, head, sizeof head);
    if (c->client)
        p = write_client(p, c->client);
    if (c->part_len)
        put(p, c->part, c->part_len);
}

/* What a state says of a client. */
typedef struct handed_client {
    uint8_t id[FL_CLIENT_ID], key[FL_CLIENT_KEY];
    uint64_t incarnation, committed;
    uint16_t out_len;
    const uint8_t *out;
} handed_client;

static const uint8_t *get(void *to, const uint8_t *from, size_t len)
{
    memcpy(to, from, len);
    return from + len;
}

/* Returns the bytes that it takes, or 0 if it is none. */
static size_t read_client(const uint8_t *state, size_t len, handed_client *out)
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

static void restore_client(fl_loop *loop, client *k, const handed_client *from)
{
    memcpy(k->id, from->id, sizeof k->id);
    memcpy(k->key, from->key, sizeof k->key);
    memcpy(k->out, from->out, from->out_len);
    k->out_len = from->out_len;
    k->incarnation = from->incarnation;
    k->ack_due = true; /* the window may be another now */
    k->state = ADMITTED;
    k->is_known = k->was_admitted = true;
    fl_session_begin(&k->session, from->committed);
    loop->stats.clients++;
    client_flush_later(loop, k); /* the connection may yet stay with the other process */
}

int fl_loop_take(fl_loop *loop, int fd, const char *peer, const uint8_t *state, size_t len,
                 uint64_t *conn_name, uint8_t id[FL_CLIENT_ID], uint8_t key[FL_CLIENT_KEY])
{
    handed_client handed = {0};
    size_t at = STATE_HEAD;
    uint32_t slot;
    *conn_name = 0;
    if (len < STATE_HEAD || state[0] != STATE_VERSION || state[1] > FASTLOG)
        return FL_EINVAL;
    if (state[2] & ~KEPT_FLAGS || (state[1] == UNDECIDED && len > at))
        return FL_EINVAL; /* which lists it is on is ours to say, and half a frame is no silence */
    if (state[1] == FASTLOG) {
        size_t size = read_client(state + at, len - at, &handed);
        if (!size)
            return FL_EINVAL;
        at += size;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || !(flags & O_NONBLOCK)) /* it comes from a loop */
        return FL_EINVAL;
    int result = conn_open(loop, fd, peer, &slot);
    if (result < 0)
        return result;
    conn *c = &loop->conns[slot];
    probe_peer(loop, fd); /* what is configured may be another than when it was accepted */
    if (state[1] != UNDECIDED)
        conn_speaks(loop, slot, state[1]);
    c->flags |= state[2];
    c->terms = state[3];
    if (c->protocol == FASTLOG) {
        if (!client_begin(loop, slot)) {
            conn_close(loop, slot);
            return 0; /* its client connects again */
        }
        restore_client(loop, c->client, &handed);
        *conn_name = c->client->name;
        memcpy(id, handed.id, sizeof handed.id);
        memcpy(key, handed.key, sizeof handed.key);
    }
    if (at < len && !conn_hold(loop, slot, state + at, len - at, true))
        return 0; /* no memory for a half frame: closed, and reported */
    conn_set_ready(loop, slot, true);
    return 0;
}
