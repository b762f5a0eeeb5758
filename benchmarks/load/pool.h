/* pool.h: ready frames in memory, made different by their numbers.
 *
 * A file of them is made once, by Python (bench/frames.py). Each frame is stored behind three
 * integers of 32 bits, big-endian: its length, where its number's digits are, and where the eight
 * bytes of its `created` are (NOWHERE: it has none). What goes out is a frame's copy with its own
 * number, and a `created` that rises from one to the next.
 */
#ifndef POOL_H
#define POOL_H

#include <stddef.h>
#include <stdint.h>

enum {
    POOL_DIGITS = 9,            /* of a number, with leading zeros */
    POOL_FRAME_MAX = 64 * 1024, /* bytes of the largest frame that is taken */
};

typedef struct pool pool;

/* Reads the file. NULL and a line on stderr: it cannot be read, or is none. */
pool *pool_open(const char *path);
void pool_close(pool *frames);

/* Writes frame `number` to `to`, which has POOL_FRAME_MAX bytes. Returns its length. */
size_t pool_write(const pool *frames, uint32_t number, uint8_t *to);

#endif
