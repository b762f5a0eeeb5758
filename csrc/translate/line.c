/* line.c: a row as a line of JSON, an object with the columns in their order. Pure.
 *
 * A line is made of parts. Adjacent columns that are equal in all lines of a run are one part,
 * which is written once a run and then copied. Each other column is a part of its own.
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

/* Whether all lines of a run have the same value in a column of this kind. */
static bool is_fixed(uint8_t kind)
{
    return kind == FL_COL_HOST || kind == FL_COL_CERTIFICATE || kind == FL_COL_RECEIVED ||
           kind == FL_COL_OFFSET;
}

void fl_line_divide(fl_row *row)
{
    fl_line *line = &row->line;
    bool is_open = false; /* the last part is fixed, and the next column may belong to it */

    for (size_t i = 0; i < row->columns.n; i++) {
        const fl_column_info *column = &row->columns.of[i];
        bool fixed = is_fixed(column->kind);
        if (fl_column_is_dropped(column->kind)) {
            is_open = false;
            continue;
        }
        if (!(fixed && is_open))
            line->parts[line->n++] = (fl_line_part){.column = (uint8_t)i};
        if (fixed)
            line->parts[line->n - 1].columns++;
        else
            line->keys += column->key_len + NUMBER_MAX;
        line->extras += column->kind == FL_COL_EXTRA;
        is_open = fixed;
    }
}

static void add_fixed(fl_row *row, const fl_column_info *column, const fl_value *host)
{
    fl_buffer *out = &row->line.fixed;
    fl_str certificate = row->certificate;

    fl_buffer_add(out, column->key, column->key_len);
    switch (column->kind) {
    case FL_COL_HOST: fl_json_text(out, host->at.text, host->len); break;
    case FL_COL_RECEIVED: fl_buffer_add(out, row->received_text, row->received_len); break;
    case FL_COL_OFFSET: fl_buffer_add(out, row->offset_text, row->offset_len); break;
    default:
        if (certificate.text)
            fl_json_text(out, certificate.text, certificate.len);
        else
            fl_buffer_add(out, "null", 4);
    }
}

/* Whether the last run of this block had the same sender: many connections come from one host. */
static bool is_same_sender(const fl_line *line, const fl_value *host, fl_str certificate)
{
    if (!line->is_begun || line->host_len != host->len ||
        line->sender.len != (size_t)host->len + certificate.len)
        return false;
    return !line->sender.len ||
           (fl_same(line->sender.data, host->at.text, host->len) &&
            fl_same(line->sender.data + host->len, certificate.text, certificate.len));
}

static void set_sender(fl_line *line, const fl_value *host, fl_str certificate)
{
    line->sender.len = 0;
    line->sender.failed = false;
    fl_buffer_add(&line->sender, host->at.text, host->len);
    fl_buffer_add(&line->sender, certificate.text, certificate.len);
    line->host_len = host->len;
}

int fl_line_begin_run(fl_row *row, const fl_value *host)
{
    fl_line *line = &row->line;
    if (is_same_sender(line, host, row->certificate))
        return FL_PLAIN;
    set_sender(line, host, row->certificate);
    line->fixed.len = 0;
    line->fixed.failed = false;
    for (size_t i = 0; i < line->n; i++) {
        fl_line_part *part = &line->parts[i];
        part->at = (uint32_t)line->fixed.len;
        for (size_t j = 0; j < part->columns; j++)
            add_fixed(row, &row->columns.of[part->column + j], host);
        part->len = (uint32_t)line->fixed.len - part->at;
    }
    line->is_begun = !line->fixed.failed && !line->sender.failed;
    return line->is_begun ? FL_PLAIN : FL_ENOMEM;
}

static uint8_t *put_value(const fl_row *row, size_t column, uint8_t *to, uint32_t idx)
{
    const fl_value *value = row->values[column];
    const fl_str *text = &row->texts[column];

    switch (row->columns.of[column].kind) {
    case FL_COL_TIME:
        return fl_is_set(value) ? put_float(row, to, fl_time_of(value)) : put_received(row, to);
    case FL_COL_IDX: return put_integer(to, idx);
    case FL_COL_INTEGER:
        return fl_is_set(value) ? put_integer(to, value->at.integer) : put_null(to);
    case FL_COL_EXTRA: return put(to, row->json.data, row->json.len);
    default: return text->text ? fl_json_put(to, text->text, text->len) : put_null(to);
    }
}

int fl_line_write(fl_row *row, uint32_t idx, fl_buffer *out)
{
    const fl_line *line = &row->line;
    size_t max = line->keys + line->fixed.len + line->extras * row->json.len +
                 fl_row_texts_room(row) + SHORT_KEY + sizeof "{}\n";
    if (!fl_buffer_reserve(out, max))
        return FL_ENOMEM;
    uint8_t *begin = out->data + out->len, *to = begin;
    for (size_t i = 0; i < line->n; i++) {
        const fl_line_part *part = &line->parts[i];
        if (part->columns) {
            to = put(to, line->fixed.data + part->at, part->len);
        } else {
            to = put_key(to, &row->columns.of[part->column]);
            to = put_value(row, part->column, to, idx);
        }
    }
    if (to == begin)
        to++;
    *begin = '{'; /* in place of the first comma */
    to = put(to, "}\n", 2);
    out->len = (size_t)(to - out->data);
    return FL_PLAIN;
}
