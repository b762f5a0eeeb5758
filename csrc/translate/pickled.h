/* pickled.h: a row as a tuple of the pickle. For record.c. */
#ifndef FL_TRANSLATE_PICKLED_H
#define FL_TRANSLATE_PICKLED_H

#include "row.h"

/* What of a record is written as a tree, and left to Python. */
enum fl_tree_scope {
    FL_SCOPE_NONE,
    FL_SCOPE_EXTRA,  /* the attributes without a column */
    FL_SCOPE_RECORD, /* all of it */
};

/* Appends the tuple to out. record: what was read; idx: the number of the frame. Returns FL_PLAIN
 * or FL_ENOMEM. */
int fl_pickled_write(fl_row *row, fl_pool *pool, const fl_value *record, enum fl_tree_scope scope,
                     const fl_value *host, uint32_t idx, fl_buffer *out);

#endif
