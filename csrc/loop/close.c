/* close.c: closes a connection: its client, its socket and its slot. The reasons for which
 * connections are closed are enum fl_reason in loop.h. */
#include "loop_internal.h"

void conn_close(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    if (c->client)
        client_lose_connection(loop, c->client);
    c->client = NULL;
    conn_free(loop, slot);
}

void conn_close_partial(fl_loop *loop, uint32_t slot, int reason)
{
    conn *c = &loop->conns[slot];
    if (c->protocol != PROTOCOL_FASTLOG)
        reject_frame(loop, reason, c, c->partial_data, c->partial_len);
    conn_close(loop, slot);
}
