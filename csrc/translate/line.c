/* line.c: a row as a line of JSON, an object with the columns in their order. Pure.
 *
 * Gives the same bytes as fastlog/decode/json_lines.py for the same row.
 */
#include "line.h"
#include "json.h"

enum {
    NUMBER_MAX = FL_FLOAT_TEXT, /* bytes; null is shorter */
    SHORT_KEY = 16,
};

static uint8_t *put(uint8_t *to, const void *data, size_t len)
{
    memcpy(to, data, len);
    return to + len;
}

/* Writes what precedes a value. Most keys are short: a copy of fixed length needs no call. */
static uint8_t *put_key(uint8_t *to, const fl_column_info *column)
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
    uint8_t kind = row->columns.of[column].kind;
    const fl_str *text = kind == FL_COL_CERTIFICATE ? &row->certificate : &row->texts[column];

    switch (kind) {
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

/* Returns the bytes that put_value() writes at most. */
static size_t value_room(const fl_row *row, size_t column, const fl_value *host)
{
    uint8_t kind = row->columns.of[column].kind;
    const fl_str *text = kind == FL_COL_CERTIFICATE ? &row->certificate : &row->texts[column];

    switch (kind) {
    case FL_COL_HOST: return fl_json_room(host->at.text, host->len);
    case FL_COL_EXTRA: return row->json.len;
    default: return text->text ? fl_json_room(text->text, text->len) : NUMBER_MAX;
    }
}

int fl_line_write(fl_row *row, const fl_value *host, uint32_t idx, fl_buffer *out)
{
    size_t max = sizeof "{}\n";
    for (size_t i = 0; i < row->columns.n; i++)
        max += SHORT_KEY + row->columns.of[i].key_len + value_room(row, i, host);
    if (!fl_buffer_reserve(out, max))
        return FL_ENOMEM;
    uint8_t *line = out->data + out->len, *to = line;
    for (size_t i = 0; i < row->columns.n; i++) {
        const fl_column_info *column = &row->columns.of[i];
        if (fl_column_is_dropped(column->kind))
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
