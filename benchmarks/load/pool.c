/* pool.c: see pool.h. */
#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEADER = 12, STAMP = 8 };
#define NOWHERE UINT32_MAX
#define STEP 1e-5 /* seconds between the `created` of two records */

typedef struct entry {
    const uint8_t *data;
    uint32_t len, number_at, created_at;
} entry;

struct pool {
    uint8_t *bytes;
    entry *entries;
    uint32_t count;
    double start; /* `created` of the first record */
};

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static uint8_t *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    long size = -1;

    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0)
        bytes = malloc((size_t)size);
    if (bytes && fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    *len = (size_t)size;
    return bytes;
}

static int has_field(uint32_t at, uint32_t size, uint32_t len)
{
    return at <= len && len - at >= size;
}

/* Notes where the frames are. Returns how many, 0 for a file that is none of ours. */
static uint32_t find_frames(const uint8_t *bytes, size_t len, entry *entries)
{
    uint32_t count = 0;

    for (size_t at = 0; at < len; count++) {
        if (len - at < HEADER)
            return 0;
        entry found = {bytes + at + HEADER, read_u32(bytes + at), read_u32(bytes + at + 4),
                       read_u32(bytes + at + 8)};
        at += HEADER;
        if (found.len > len - at || found.len > POOL_FRAME_MAX ||
            !has_field(found.number_at, POOL_DIGITS, found.len) ||
            (found.created_at != NOWHERE && !has_field(found.created_at, STAMP, found.len)))
            return 0;
        at += found.len;
        if (entries)
            entries[count] = found;
    }
    return count;
}

pool *pool_open(const char *path)
{
    pool *frames = calloc(1, sizeof *frames);
    size_t len = 0;

    if (frames && (frames->bytes = read_file(path, &len)) &&
        (frames->count = find_frames(frames->bytes, len, NULL)) &&
        (frames->entries = calloc(frames->count, sizeof *frames->entries))) {
        find_frames(frames->bytes, len, frames->entries);
        frames->start = (double)time(NULL);
        return frames;
    }
    fprintf(stderr, "%s is no pool of frames, or there is no memory for it\n", path);
    pool_close(frames);
    return NULL;
}

void pool_close(pool *frames)
{
    if (!frames)
        return;
    free(frames->entries);
    free(frames->bytes);
    free(frames);
}

size_t pool_write(const pool *frames, uint32_t number, uint8_t *to)
{
    const entry *from = &frames->entries[number % frames->count];
    uint32_t rest = number;

    memcpy(to, from->data, from->len);
    for (int digit = POOL_DIGITS - 1; digit >= 0; digit--, rest /= 10)
        to[from->number_at + (uint32_t)digit] = (uint8_t)('0' + rest % 10);
    if (from->created_at != NOWHERE) {
        double created = frames->start + number * STEP;
        uint64_t bits;
        memcpy(&bits, &created, sizeof bits);
        for (int at = 0; at < STAMP; at++)
            to[from->created_at + (uint32_t)at] = (uint8_t)(bits >> (56 - 8 * at));
    }
    return from->len;
}
