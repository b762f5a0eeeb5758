/* line.h: a plain row as a line of JSON. For record.c, and translator.c, which begins the runs. */
#ifndef FL_TRANSLATE_LINE_H
#define FL_TRANSLATE_LINE_H

#include "row.h"

/* Divides the lines of a new row into their parts. */
void fl_line_divide(fl_row *row);

/* Begins a run: writes what is equal in all of its lines. Call it after fl_row_begin(), with
 * row->certificate set. Returns FL_PLAIN or FL_ENOMEM. */
int fl_line_begin_run(fl_row *row, const fl_value *host);

/* Appends the line to out. idx: the number of the frame. Returns FL_PLAIN or FL_ENOMEM. */
int fl_line_write(fl_row *row, uint32_t idx, fl_buffer *out);

#endif
