/* copy.h: a plain row as a tuple of PostgreSQL's binary COPY. For record.c. */
#ifndef FL_TRANSLATE_COPY_H
#define FL_TRANSLATE_COPY_H

#include "row.h"

/* Appends the tuple to out. idx: the number of the frame. Returns FL_PLAIN or FL_ENOMEM. */
int fl_copy_write(fl_row *row, const fl_value *host, uint32_t idx, fl_buffer *out);

#endif
