/* generic.h: objects of classes without a meaning. For the files that write rows. */
#ifndef FL_TRANSLATE_GENERIC_H
#define FL_TRANSLATE_GENERIC_H

#include "values.h"

enum { FL_CLASS_NAME = 513 /* bytes: module, name, a point and a NUL */ };

/* An object that is written as {"!": "module.Class", "args": [...], "state": ...}. */
typedef struct fl_generic {
    char name[FL_CLASS_NAME]; /* module.Class */
    size_t name_len;
    const fl_items *args;  /* NULL: none */
    const fl_value *state; /* NULL: none */
} fl_generic;

/* Describes an object whose class is not among the meanings. Returns FL_PLAIN, or FL_FALLBACK:
 * Python decides what it is. */
int fl_generic_read(const fl_pool *pool, const fl_value *object, const fl_meanings *meanings,
                    fl_generic *out);

#endif
