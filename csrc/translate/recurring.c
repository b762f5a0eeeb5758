/* recurring.c: combinations of values that recur, with a number for each. Pure. */
#include "recurring.h"
#include "hash.h"

#include <stdlib.h>

enum {
    SLOTS = 1 << 16,
    PROBES = 8, /* bounds the cost of a combination, whatever values a client chooses */
    FULL = SLOTS / 2,
    USED_MAX = SLOTS / 4 * 3, /* a block may go beyond FULL */
    BYTES_FULL = 8 << 20,
    BYTES_MAX = 16 << 20,
};

bool fl_recurring_init(fl_recurring *recurring)
{
    recurring->table = calloc(SLOTS, sizeof *recurring->table);
    return recurring->table;
}

void fl_recurring_free(fl_recurring *recurring)
{
    free(recurring->table);
    free(recurring->bytes.data);
}

void fl_recurring_clear(fl_recurring *recurring)
{
    memset(recurring->table, 0, SLOTS * sizeof *recurring->table);
    recurring->bytes.len = 0;
    recurring->bytes.failed = false;
    recurring->used = recurring->next = 0;
    recurring->size = 0;
}

bool fl_recurring_is_full(const fl_recurring *recurring)
{
    /* The caller keeps each numbered combination, also those that found no room in the table. */
    return recurring->next >= FULL || recurring->size >= BYTES_FULL;
}

uint32_t fl_recurring_number(fl_recurring *recurring, const uint8_t *data, size_t len)
{
    uint32_t hash = fl_hash_bytes(data, len);
    fl_recurring_entry *free = NULL;

    for (uint32_t i = 0; i < PROBES && !free; i++) {
        fl_recurring_entry *entry = &recurring->table[(hash + i) % SLOTS];
        if (!entry->len)
            free = entry;
        else if (entry->hash == hash && entry->len == len &&
                 memcmp(recurring->bytes.data + entry->offset, data, len) == 0)
            return entry->number;
    }
    fl_buffer *bytes = &recurring->bytes;
    if (free && recurring->used < USED_MAX && bytes->len < BYTES_MAX && len <= BYTES_MAX &&
        fl_buffer_reserve(bytes, len)) {
        *free = (fl_recurring_entry){hash, (uint32_t)bytes->len, (uint32_t)len, recurring->next};
        fl_buffer_add(bytes, data, len);
        recurring->used++;
    }
    recurring->size += len;
    return recurring->next++;
}
