/* line.h: a plain row as a line of JSON. For record.c. */
#ifndef FL_TRANSLATE_LINE_H
#define FL_TRANSLATE_LINE_H

#include "row.h"

/* Appends the line to out. idx: the number of the frame. Returns FL_PLAIN or FL_ENOMEM. */
int fl_line_write(fl_row *row, const fl_value *host, uint32_t idx, fl_buffer *out);

#endif
