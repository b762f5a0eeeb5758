/* attributes.h: sorts the attributes of a record into columns. For record.c. */
#ifndef FL_TRANSLATE_ATTRIBUTES_H
#define FL_TRANSLATE_ATTRIBUTES_H

#include "row.h"

/* Fills the values and texts of the row's columns, and its list of attributes without a column.
 * Returns FL_PLAIN, FL_FALLBACK if a value is not as its column requires, or FL_ENOMEM. */
int fl_attributes_sort(fl_row *row, fl_pool *pool, const fl_value *record);

#endif
