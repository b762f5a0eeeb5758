/* copy.c: a row as a tuple of PostgreSQL's binary COPY: the columns in their order, then the node.
 * Pure.
 *
 * Gives the same bytes as fastlog/decode/copy_rows.py for the same row. A tuple is the number of
 * its fields (16 bits), then each field: its length (32 bits; -1 for NULL), and that many bytes.
 * All integers are big-endian.
 */
#include "copy.h"

enum {
    COUNT = 2,                    /* bytes of the number of fields */
    LENGTH = 4,                   /* bytes of the length of a field */
    NUMBER_MAX = 2 * LENGTH + 16, /* bytes of the fields of a time, which has two */
    JSONB_VERSION = 1,
};

static const double EPOCH = 946684800.0; /* PostgreSQL's: 2000-01-01, in seconds since ours */
static const double LAST = 9e18; /* microseconds: its year 287198, and no int64_t is too small */

static uint8_t *put_u16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
    return to + 2;
}

static uint8_t *put_u32(uint8_t *to, uint32_t value)
{
    return put_u16(put_u16(to, value >> 16), value);
}

static uint8_t *put_u64(uint8_t *to, uint64_t value)
{
    return put_u32(put_u32(to, (uint32_t)(value >> 32)), (uint32_t)value);
}

static uint8_t *put_null(uint8_t *to)
{
    return put_u32(to, UINT32_MAX);
}

static uint8_t *put_integer(uint8_t *to, int64_t value)
{
    return put_u64(put_u32(to, 8), (uint64_t)value);
}

/* Writes a time twice: as it is, and in whole microseconds, for a `timestamptz`. */
static uint8_t *put_time(uint8_t *to, double seconds)
{
    double exact = (seconds - EPOCH) * 1e6;
    exact = exact < LAST ? exact : LAST; /* LAST for a NaN, too */
    exact = exact > -LAST ? exact : -LAST;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    to = put_u64(put_u32(to, sizeof bits), bits);
    return put_integer(to, (int64_t)(exact < 0 ? exact - 0.5 : exact + 0.5));
}

static uint8_t *put_text(uint8_t *to, fl_str text)
{
    if (!text.text)
        return put_null(to);
    to = put_u32(to, text.len);
    if (text.len)
        memcpy(to, text.text, text.len);
    return to + text.len;
}

static uint8_t *put_jsonb(uint8_t *to, fl_str json)
{
    to = put_u32(to, json.len + 1);
    *to++ = JSONB_VERSION;
    memcpy(to, json.text, json.len);
    return to + json.len;
}

/* Returns the text of this column of the record, if it has one. */
static fl_str text_of(const fl_row *row, size_t column, const fl_value *host)
{
    switch (row->columns.of[column].kind) {
    case FL_COL_HOST: return (fl_str){host->at.text, host->len};
    case FL_COL_CERTIFICATE: return row->certificate;
    case FL_COL_EXTRA: return (fl_str){row->json.data, (uint32_t)row->json.len};
    default: return row->texts[column];
    }
}

static uint8_t *put_value(const fl_row *row, size_t column, uint8_t *to, const fl_value *host,
                          uint32_t idx)
{
    const fl_value *value = row->values[column];

    switch (row->columns.of[column].kind) {
    case FL_COL_TIME: return put_time(to, fl_is_set(value) ? fl_time_of(value) : row->received);
    case FL_COL_RECEIVED: return put_time(to, row->received);
    case FL_COL_OFFSET: return put_integer(to, (int64_t)row->offset);
    case FL_COL_IDX: return put_u32(put_u32(to, 4), idx);
    case FL_COL_INTEGER:
        return fl_is_set(value) ? put_integer(to, value->at.integer) : put_null(to);
    case FL_COL_EXTRA: return put_jsonb(to, text_of(row, column, host));
    default: return put_text(to, text_of(row, column, host));
    }
}

int fl_copy_write(fl_row *row, const fl_value *host, uint32_t idx, fl_buffer *out)
{
    size_t max = COUNT + LENGTH + FL_NODE;
    uint32_t fields = 1;
    for (size_t i = 0; i < row->columns.n; i++) {
        uint8_t kind = row->columns.of[i].kind;
        if (fl_column_is_dropped(kind))
            continue;
        fields += kind == FL_COL_TIME || kind == FL_COL_RECEIVED ? 2 : 1;
        max += NUMBER_MAX + text_of(row, i, host).len;
    }
    if (!fl_buffer_reserve(out, max))
        return FL_ENOMEM;
    uint8_t *to = put_u16(out->data + out->len, fields);
    for (size_t i = 0; i < row->columns.n; i++)
        if (!fl_column_is_dropped(row->columns.of[i].kind))
            to = put_value(row, i, to, host, idx);
    to = put_u32(to, FL_NODE);
    memcpy(to, row->node, FL_NODE);
    out->len = (size_t)(to + FL_NODE - out->data);
    return FL_PLAIN;
}
