/* unpickle.h: reads one pickle into values. Nothing is imported or called.
 *
 * For translator.c. Its parts are unpickle.c (the loop over the opcodes), scalars.c, containers.c
 * and construct.c (what single opcodes do), and machine.h and memo.h (what all of them work on).
 */
#ifndef FL_TRANSLATE_UNPICKLE_H
#define FL_TRANSLATE_UNPICKLE_H

#include "machine.h"

/* Allocates the arrays of a zeroed unpickler. Returns false if there is no memory; the caller calls
 * fl_unpickler_free() either way. */
bool fl_unpickler_init(fl_unpickler *unpickler);

/* Frees what the unpickler owns, not the unpickler itself. */
void fl_unpickler_free(fl_unpickler *unpickler);

/* Reads the pickle of len bytes. Returns FL_PLAIN and its value in *out, a rejection, FL_FALLBACK
 * if it needs more than the fixed sizes, or FL_ENOMEM. The value, whose texts may point into data,
 * is valid until the next call. */
int fl_unpickler_read(fl_unpickler *unpickler, const uint8_t *data, size_t len, fl_value *out);

#endif
