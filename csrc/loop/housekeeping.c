/* housekeeping.c: what is checked once a second: timeouts and keepalives. */
#include "loop_internal.h"

enum { CLOSING_MS = 2000 }; /* a client has this time to read its last frames and to close */

static void check_client(fl_loop *loop, client *k)
{
    int64_t age = loop->now - k->since;
    if (k->state == CLIENT_CLOSING && age >= CLOSING_MS) {
        conn_close(loop, k->slot);
    } else if (k->state == CLIENT_HANDSHAKE && age >= loop->options.handshake_ms) {
        reject(loop, FL_REASON_HANDSHAKE, loop->conns[k->slot].peer, NULL, 0);
        conn_close(loop, k->slot);
    } else if (client_is_served(k) && loop->now - k->last_sent >= loop->options.keepalive_ms) {
        k->ack_due = true;
        client_flush(loop, k);
    }
}

void housekeeping(fl_loop *loop)
{
    if (!loop->paused)
        partials_check(loop);
    for (client *k = loop->clients, *next; k; k = next) {
        next = k->next; /* closing its connection can free the client */
        if (k->slot != NO_SLOT)
            check_client(loop, k);
    }
}
