/* handed.c: connections on their way to another process (a stand-in until the dialect's is there). */
#include "loop.h"

#include <string.h>

int fl_loop_export(const fl_loop *loop, uint32_t *at, char peer[FL_PEER_SIZE], size_t *len)
{
    while (*at < loop->slots) {
        const conn *c = &loop->conns[(*at)++];
        if (c->fd < 0)
            continue;
        memcpy(peer, c->peer, FL_PEER_SIZE);
        *len = c->part_len;
        return c->fd;
    }
    return -1;
}

void fl_loop_state(const fl_loop *loop, uint32_t at, uint8_t *state)
{
    const conn *c = &loop->conns[at - 1];
    if (c->part_len)
        memcpy(state, c->part, c->part_len);
}

int fl_loop_take(fl_loop *loop, int fd, const char *peer, const uint8_t *state, size_t len)
{
    return fl_loop_add(loop, fd, peer, state, len);
}
