/* unpickle.h: reads one pickle into values. Nothing is imported or called.
 *
 * For translator.c. Its parts are unpickle.c (the loop over the opcodes), scalars.c, containers.c
 * and construct.c (what single opcodes do), and machine.h and memo.h (what all of them work on).
 */
#ifndef FL_TRANSLATE_UNPICKLE_H
#define FL_TRANSLATE_UNPICKLE_H

#include "values.h"

enum {
    FL_MARKS_MAX = 10000,        /* marks that are open at once */
    FL_SLOTS = 1 << 17,          /* values of the stack, and of the memo */
    FL_NAME_CHARACTERS_MAX = 256 /* characters of a module, and of a name in it, that are kept */
};

/* What is needed to read pickles, one after the other. The sizes are fixed, as those of the pool.
 */
typedef struct fl_unpickler {
    fl_pool pool;
    fl_value *stack, *memo;
    uint32_t memo_used;
    uint32_t memo_unset;          /* slots below memo_used that are not set */
    uint32_t containers_left;     /* until FL_CONTAINERS_MAX */
    size_t name_characters_left;  /* characters of globals, until the bound for this pickle */
    uint8_t protocol;             /* the highest that a PROTO has named so far */
    uint32_t marks[FL_MARKS_MAX]; /* for each MARK: the position on the stack of the one before */
} fl_unpickler;

/* Allocates the arrays of a zeroed unpickler. Returns false if there is no memory; the caller calls
 * fl_unpickler_free() either way. */
bool fl_unpickler_init(fl_unpickler *unpickler);

/* Frees what the unpickler owns, not the unpickler itself. */
void fl_unpickler_free(fl_unpickler *unpickler);

/* Reads the pickle of len bytes. Returns FL_PLAIN and its value in *out, a rejection, FL_FALLBACK
 * if it needs more than the fixed sizes, or FL_ENOMEM. The value, whose texts may lie in data, is
 * valid until the next call. */
int fl_unpickler_read(fl_unpickler *unpickler, const uint8_t *data, size_t len, fl_value *out);

#endif
