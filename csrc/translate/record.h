/* record.h: the value of a frame becomes a row. For translator.c. */
#ifndef FL_TRANSLATE_RECORD_H
#define FL_TRANSLATE_RECORD_H

#include "row.h"

/* Adds the row of a record to `rows`, or to `lines` if it is plain and the form is FL_LINES.
 *
 * idx: the number of its frame in the block.
 *
 * Returns FL_PLAIN, FL_EXTRA, FL_TREE, the verdict on a value that is no record, or FL_ENOMEM. */
int fl_record_add(fl_row *row, fl_pool *pool, const fl_value *record, size_t frame_len,
                  const fl_value *host, uint32_t idx, fl_buffer *rows, fl_buffer *lines);

#endif
