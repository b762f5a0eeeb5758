/* record.h: the value of a frame becomes a row. For translator.c. */
#ifndef FL_TRANSLATE_RECORD_H
#define FL_TRANSLATE_RECORD_H

#include "column_lists.h"
#include "row.h"

/* Where rows go. */
typedef struct fl_rows {
    fl_buffer pickled;       /* tuples: of all rows in FL_ROWS, else of those that are not plain */
    fl_buffer lines;         /* in FL_LINES */
    fl_buffer copy;          /* in FL_COPY */
    fl_column_lists columns; /* in FL_COLUMNS */
} fl_rows;

/* Adds the row of a record.
 *
 * idx: the number of its frame in the block.
 *
 * Returns FL_PLAIN, FL_EXTRA, FL_TREE, the verdict on a value that is no record, or FL_ENOMEM. */
int fl_record_add(fl_row *row, fl_pool *pool, const fl_value *record, size_t frame_len,
                  const fl_value *host, uint32_t idx, fl_rows *rows);

#endif
