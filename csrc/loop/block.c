/* block.c: the block that a turn fills. fastlog/block.py has the layout of its runs. */
#include "loop_internal.h"

#include <stdlib.h>
#include <string.h>

/* Is there room for len more bytes? An empty block grows for a large frame. */
bool block_has_room(fl_loop *loop, size_t len)
{
    if (loop->arena_cap - loop->arena_len >= len)
        return true;
    if (loop->arena_len)
        return false;
    uint8_t *grown = realloc(loop->arena, len);
    if (!grown)
        return false;
    loop->arena = grown;
    loop->arena_cap = len;
    return true;
}

static void put_u32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

/* Makes a run of the bytes from `body` to `end` of the arena; its header goes before them, where
 * FL_RUN_HEADER + peer_len bytes were left free. */
void block_end_run(fl_loop *loop, const conn *c, int kind, uint32_t frames, size_t body, size_t end)
{
    uint8_t *header = loop->arena + loop->arena_len;
    header[0] = (uint8_t)kind;
    header[1] = c->peer_len;
    header[2] = header[3] = 0;
    put_u32(header + 4, c->serial);
    put_u32(header + 8, frames);
    put_u32(header + 12, (uint32_t)(end - body));
    memcpy(header + FL_RUN_HEADER, c->peer, c->peer_len);
    loop->arena_len = end;
    loop->arena_frames += frames;
}
