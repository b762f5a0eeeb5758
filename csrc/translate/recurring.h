/* recurring.h: combinations of values that recur from record to record, with a number for each.
 * For column_lists.c.
 *
 * A combination is known by its bytes. What it takes is bounded: a combination that finds no room
 * gets a new number each time.
 */
#ifndef FL_TRANSLATE_RECURRING_H
#define FL_TRANSLATE_RECURRING_H

#include "buffer.h"

typedef struct fl_recurring_entry {
    uint32_t hash, offset, len, number; /* len 0: the entry is free */
} fl_recurring_entry;

typedef struct fl_recurring {
    fl_buffer bytes;           /* of all known combinations */
    fl_recurring_entry *table; /* by hash */
    uint32_t used;             /* entries of the table */
    uint32_t next;             /* the number of the next new combination */
    uint64_t size;             /* bytes of all numbered combinations, the unknown ones included */
} fl_recurring;

/* Prepares a zeroed table. Returns false if there is no memory. */
bool fl_recurring_init(fl_recurring *recurring);
void fl_recurring_free(fl_recurring *recurring);

/* Forgets all; numbers begin at 0 again. */
void fl_recurring_clear(fl_recurring *recurring);

/* Whether it is time to clear the table. */
bool fl_recurring_is_full(const fl_recurring *recurring);

/* Returns the number of the combination with these bytes, at least one. A new combination has the
 * number that `next` was. */
uint32_t fl_recurring_number(fl_recurring *recurring, const uint8_t *data, size_t len);

#endif
