/* extra.h: the attributes without a column, as JSON. For record.c. */
#ifndef FL_TRANSLATE_EXTRA_H
#define FL_TRANSLATE_EXTRA_H

#include "row.h"

/* Writes them into row->json, as an object. Returns FL_PLAIN, FL_FALLBACK if they have a value that
 * is not written here or exceed a bound, or FL_ENOMEM. The caller checks row->json.failed. */
int fl_extra_write(fl_row *row, fl_pool *pool);

#endif
