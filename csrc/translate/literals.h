/* literals.h: the values that the opcodes of protocol 0 spell on a line. For the unpickler.
 *
 * Each function reads a line of len bytes, without its line feed, into *out, and returns FL_PLAIN,
 * a rejection, or FL_ENOMEM. The value refers to the line, or to scratch text of the pool.
 */
#ifndef FL_TRANSLATE_LITERALS_H
#define FL_TRANSLATE_LITERALS_H

#include "values.h"

/* INT: an integer, or 00 and 01 for the booleans. */
int fl_literal_int(const uint8_t *text, size_t len, fl_value *out);

/* LONG: an integer and an L. */
int fl_literal_long(const uint8_t *text, size_t len, fl_value *out);

/* FLOAT: a float as repr() writes it. */
int fl_literal_float(const uint8_t *text, size_t len, fl_value *out);

/* STRING: the repr() of a str of Python 2. */
int fl_literal_string(fl_pool *pool, const uint8_t *text, size_t len, fl_value *out);

/* UNICODE: text in raw Unicode escapes. */
int fl_literal_unicode(fl_pool *pool, const uint8_t *text, size_t len, fl_value *out);

#endif
