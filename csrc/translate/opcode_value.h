/* opcode_value.h: the value of a column as an opcode of the pickle. For the files that write it. */
#ifndef FL_TRANSLATE_OPCODE_VALUE_H
#define FL_TRANSLATE_OPCODE_VALUE_H

#include "opcode_write.h"
#include "row.h"

/* Returns the text of this column of the record, if it has one. */
static inline fl_str fl_row_text_of(const fl_row *row, size_t column, const fl_value *host)
{
    switch (row->columns.of[column].kind) {
    case FL_COL_HOST: return (fl_str){host->at.text, host->len};
    case FL_COL_CERTIFICATE: return row->certificate;
    case FL_COL_EXTRA: return (fl_str){row->json.data, (uint32_t)row->json.len};
    default: return row->texts[column];
    }
}

static inline uint8_t *fl_put_none(uint8_t *to)
{
    *to++ = FL_OP_NONE;
    return to;
}

/* Writes the value of a column that holds no text. */
static inline uint8_t *fl_row_put_number(const fl_row *row, size_t column, uint8_t *to,
                                         uint32_t idx)
{
    const fl_value *value = row->values[column];

    switch (row->columns.of[column].kind) {
    case FL_COL_TIME: return fl_put_float(to, fl_is_set(value) ? fl_time_of(value) : row->received);
    case FL_COL_RECEIVED: return fl_put_float(to, row->received);
    case FL_COL_OFFSET: return fl_put_integer(to, (int64_t)row->offset);
    case FL_COL_IDX: return fl_put_integer(to, idx);
    default: return fl_is_set(value) ? fl_put_integer(to, value->at.integer) : fl_put_none(to);
    }
}

/* Whether the values of a column are texts, or None. */
static inline bool fl_column_is_text(uint8_t kind)
{
    return kind == FL_COL_TEXT || kind == FL_COL_TRACE || kind == FL_COL_MESSAGE ||
           kind == FL_COL_HOST || kind == FL_COL_CERTIFICATE || kind == FL_COL_EXTRA;
}

/* Writes the value of a column. At `to` is room for FL_OPCODE_MAX bytes and its text. */
static inline uint8_t *fl_row_put(const fl_row *row, size_t column, uint8_t *to,
                                  const fl_value *host, uint32_t idx)
{
    if (!fl_column_is_text(row->columns.of[column].kind))
        return fl_row_put_number(row, column, to, idx);
    fl_str text = fl_row_text_of(row, column, host);
    return text.text ? fl_put_text(to, text.text, text.len) : fl_put_none(to);
}

#endif
