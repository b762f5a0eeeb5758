/* column_lists.h: the rows of plain frames as columns: a list of values for each. For record.c and
 * translator.c. */
#ifndef FL_TRANSLATE_COLUMN_LISTS_H
#define FL_TRANSLATE_COLUMN_LISTS_H

#include "recurring.h"
#include "row.h"

/* The columns of a group: each of its rows is a number, of a combination of their values. */
typedef struct fl_group {
    fl_recurring known;
    fl_buffer numbers, combinations; /* lists of the pickle: a number for each row, and the new
                                        combinations as tuples */
    uint32_t first;                  /* the number of the first new combination of the block */
} fl_group;

typedef struct fl_column_lists {
    fl_buffer of[FL_COLUMNS_MAX]; /* by column; those of a group have none */
    fl_group groups[FL_GROUPS];
    fl_buffer text;        /* of all rows, as fl_translation describes it */
    fl_buffer combination; /* of the current record and group */
    bool is_open;          /* between begin and end */
} fl_column_lists;

/* Prepares zeroed lists. Returns false if there is no memory. */
bool fl_column_lists_init(fl_column_lists *lists);
void fl_column_lists_free(fl_column_lists *lists);

/* Begins a block. */
void fl_column_lists_begin(fl_column_lists *lists);

/* Adds the row of a record. Returns FL_PLAIN or FL_ENOMEM. */
int fl_column_lists_add(fl_column_lists *lists, const fl_row *row, const fl_value *host,
                        uint32_t idx);

/* Ends the block: makes `out` a pickle of a tuple of the lists, as fl_translation describes it. */
void fl_column_lists_end(fl_column_lists *lists, const fl_columns *columns, fl_buffer *out);

#endif
