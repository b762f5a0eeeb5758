/* block.c: the block that a poll fills. runs.h has its layout. */
#include "loop_internal.h"

#include "../bytes.h"

#include <stdlib.h>
#include <string.h>

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

void block_end_run(fl_loop *loop, const conn *c, int kind, uint32_t frames, size_t body, size_t end)
{
    uint8_t *header = loop->arena + loop->arena_len;
    header[0] = (uint8_t)kind;
    header[1] = c->peer_len;
    uint8_t *p = write_u16(header + 2, 0);
    p = write_u32(write_u32(p, c->serial), frames);
    memcpy(write_u32(p, (uint32_t)(end - body)), c->peer, c->peer_len);
    loop->arena_len = end;
    loop->arena_frames += frames;
    loop->arrivals += kind == FL_RUN_STOCK ? frames : 1;
}
