/* line.c: a row as a line of JSON, an object with the columns in their order. Pure.
 *
 * To the byte what fastlog/decode/lines.py writes of the same row.
 */
#include "row.h"

enum {
    NUMBER = FL_FLOAT_TEXT, /* the longest, and longer than null */
    SHORT_KEY = 16,
};

static uint8_t *put(uint8_t *to, const void *data, size_t len)
{
    memcpy(to, data, len);
    return to + len;
}

/* What stands before a value. Most keys are short: a copy of fixed length needs no call. */
static uint8_t *put_key(uint8_t *to, const fl_row_column *column)
{
    memcpy(to, column->key, SHORT_KEY);
    if (column->key_len > SHORT_KEY)
        memcpy(to + SHORT_KEY, column->key + SHORT_KEY, column->key_len - SHORT_KEY);
    return to + column->key_len;
}

static uint8_t *put_null(uint8_t *to)
{
    return put(to, "null", 4);
}

static uint8_t *put_integer(uint8_t *to, int64_t value)
{
    return to + fl_integer_write(value, (char *)to);
}

static uint8_t *put_float(const fl_row *row, uint8_t *to, double value)
{
    return to + fl_float_write(&row->powers, value, (char *)to);
}

static uint8_t *put_received(const fl_row *row, uint8_t *to)
{
    return put(to, row->received_text, row->received_len);
}

static uint8_t *put_value(const fl_row *row, size_t column, uint8_t *to, const fl_value *host,
                          uint32_t idx)
{
    const fl_value *value = row->values[column];
    const fl_span_text *text = &row->texts[column];

    switch (row->column[column].kind) {
    case FL_COL_TIME:
        return fl_is_set(value) ? put_float(row, to, fl_time_of(value)) : put_received(row, to);
    case FL_COL_RECEIVED: return put_received(row, to);
    case FL_COL_OFFSET: return put(to, row->offset_text, row->offset_len);
    case FL_COL_IDX: return put_integer(to, idx);
    case FL_COL_INTEGER:
        return fl_is_set(value) ? put_integer(to, value->at.integer) : put_null(to);
    case FL_COL_HOST: return fl_json_put(to, host->at.text, host->len);
    case FL_COL_EXTRA: return put(to, row->json.data, row->json.len);
    default: return text->text ? fl_json_put(to, text->text, text->len) : put_null(to);
    }
}

/* What put_value() writes at most. */
static size_t value_room(const fl_row *row, size_t column, const fl_value *host)
{
    const fl_span_text *text = &row->texts[column];

    switch (row->column[column].kind) {
    case FL_COL_HOST: return fl_json_room(host->at.text, host->len);
    case FL_COL_EXTRA: return row->json.len;
    default: return text->text ? fl_json_room(text->text, text->len) : NUMBER;
    }
}

int fl_row_line(fl_row *row, const fl_value *host, uint32_t idx, fl_bytes *out)
{
    size_t most = sizeof "{}\n";
    for (size_t i = 0; i < row->columns; i++)
        most += SHORT_KEY + row->column[i].key_len + value_room(row, i, host);
    if (!fl_bytes_reserve(out, most))
        return FL_ENOMEM;
    uint8_t *line = out->data + out->len, *to = line;
    for (size_t i = 0; i < row->columns; i++) {
        const fl_row_column *column = &row->column[i];
        if (column->kind >= FL_COL_SILENT)
            continue;
        to = put_key(to, column);
        to = put_value(row, i, to, host, idx);
    }
    if (to == line)
        to++;
    *line = '{'; /* in place of the first comma */
    to = put(to, "}\n", 2);
    out->len = (size_t)(to - out->data);
    return FL_PLAIN;
}
