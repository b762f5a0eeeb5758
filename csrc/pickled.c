/* pickled.c: a row as a tuple of the pickle, in which what recurs stands once. Pure. */
#include "row.h"

enum {
    INTERNED_MAX = 768,
    INTERNED_LEN = 255,
    TEXT_HEAD = 2, /* before a text of that length at most */
    PROBES = 8,
    SHORT = 3,   /* what is no longer is read as fast as it is fetched from the memo */
    NUMBER = 11, /* the longest opcode of a number with its argument, and a MEMOIZE; more than what
                    a text takes beside its bytes */
};

static uint8_t *put_little(uint8_t *to, uint64_t value, int width)
{
    for (int i = 0; i < width; i++)
        *to++ = (uint8_t)(value >> 8 * i);
    return to;
}

static uint8_t *put_none(uint8_t *to)
{
    *to++ = 'N';
    return to;
}

static uint8_t *put_integer(uint8_t *to, int64_t value)
{
    if (value >= 0 && value <= UINT8_MAX) {
        *to++ = 'K';
        return put_little(to, (uint64_t)value, 1);
    }
    if (value >= 0 && value <= UINT16_MAX) {
        *to++ = 'M';
        return put_little(to, (uint64_t)value, 2);
    }
    if (value >= INT32_MIN && value <= INT32_MAX) {
        *to++ = 'J';
        return put_little(to, (uint64_t)value, 4);
    }
    *to++ = 0x8a; /* LONG1 */
    *to++ = 8;
    return put_little(to, (uint64_t)value, 8);
}

static uint8_t *put_float(uint8_t *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    *to++ = 'G';
    for (int shift = 56; shift >= 0; shift -= 8)
        *to++ = (uint8_t)(bits >> shift);
    return to;
}

static uint8_t *put_text(uint8_t *to, const uint8_t *text, size_t len)
{
    if (len <= UINT8_MAX) {
        *to++ = 0x8c; /* SHORT_BINUNICODE */
        *to++ = (uint8_t)len;
    } else {
        *to++ = 'X'; /* BINUNICODE */
        to = put_little(to, len, 4);
    }
    memcpy(to, text, len);
    return to + len;
}

static uint8_t *put_get(uint8_t *to, uint32_t memo)
{
    *to++ = memo <= UINT8_MAX ? 'h' : 'j'; /* BINGET, LONG_BINGET */
    return put_little(to, memo, memo <= UINT8_MAX ? 1 : 4);
}

static uint32_t hash_bytes(const uint8_t *data, size_t len)
{
    uint64_t hash = len, word;
    for (; len >= 8; data += 8, len -= 8) {
        memcpy(&word, data, 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    for (; len; data++, len--)
        hash = (hash ^ *data) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(hash >> 32);
}

static bool is_written(const fl_interned *at, const fl_bytes *out, const uint8_t *data, size_t len)
{
    return at->len == len && fl_same(out->data + at->offset, data, len);
}

/* Writes an opcode with its argument, or gets what it made before out of the memo. The bytes are at
 * `to`, which is in out; they are `len` and begin a value. */
static uint8_t *intern(fl_row *row, const fl_bytes *out, size_t column, uint8_t *to, size_t len)
{
    fl_interned *last = &row->memo.last[column];
    if (is_written(last, out, to, len))
        return put_get(to, last->memo);
    uint32_t hash = hash_bytes(to, len);
    fl_interned *free = NULL;
    for (uint32_t i = 0; i < PROBES && !free; i++) {
        fl_interned *slot = &row->memo.table[(hash + i) % FL_INTERNED];
        if (!slot->len)
            free = slot;
        else if (slot->hash == hash && is_written(slot, out, to, len)) {
            *last = *slot;
            return put_get(to, slot->memo);
        }
    }
    if (!free || row->memo.used == INTERNED_MAX)
        return to + len;
    row->memo.used++;
    *free = (fl_interned){hash, (uint32_t)(to - out->data), (uint32_t)len, row->memo.next++};
    *last = *free;
    to[len] = 0x94; /* MEMOIZE */
    return to + len + 1;
}

/* Writes a text that may well be the one that stood in this column before. */
static uint8_t *put_recurring(fl_row *row, const fl_bytes *out, size_t column, uint8_t *to,
                              fl_span_text text)
{
    const fl_interned *last = &row->memo.last[column];
    size_t len = text.len + TEXT_HEAD;
    if (text.len > INTERNED_LEN)
        return put_text(to, text.text, text.len);
    if (last->len == len && fl_same(out->data + last->offset + TEXT_HEAD, text.text, text.len))
        return put_get(to, last->memo);
    put_text(to, text.text, text.len);
    return intern(row, out, column, to, len);
}

/* The text of this column, if it has one. */
static fl_span_text text_of(const fl_row *row, size_t column, const fl_value *host)
{
    switch (row->column[column].kind) {
    case FL_COL_HOST: return (fl_span_text){host->at.text, host->len};
    case FL_COL_EXTRA: return (fl_span_text){row->json.data, (uint32_t)row->json.len};
    default: return row->texts[column];
    }
}

static uint8_t *put_value(fl_row *row, const fl_bytes *out, size_t column, uint8_t *to,
                          const fl_value *host, uint32_t idx)
{
    const fl_value *value = row->values[column];
    fl_span_text text = text_of(row, column, host);
    uint8_t kind = row->column[column].kind, *end;
    bool recurs = row->column[column].flags & FL_COL_RECURS;

    switch (kind) {
    case FL_COL_TIME: end = put_float(to, fl_is_set(value) ? value->at.real : row->received); break;
    case FL_COL_RECEIVED: end = put_float(to, row->received); break;
    case FL_COL_OFFSET: end = put_integer(to, (int64_t)row->offset); break;
    case FL_COL_IDX: end = put_integer(to, idx); break;
    case FL_COL_INTEGER:
        end = fl_is_set(value) ? put_integer(to, value->at.integer) : put_none(to);
        break;
    default:
        if (kind == FL_COL_EXTRA && text.len > 2)
            recurs = false; /* but {} does */
        if (!text.text)
            return put_none(to);
        return recurs ? put_recurring(row, out, column, to, text)
                      : put_text(to, text.text, text.len);
    }
    size_t len = (size_t)(end - to);
    return recurs && len > SHORT ? intern(row, out, column, to, len) : end;
}

int fl_row_pickled(fl_row *row, const fl_value *host, uint32_t idx, fl_bytes *out)
{
    size_t most = sizeof "(t";
    for (size_t i = 0; i < row->columns; i++)
        most += NUMBER + text_of(row, i, host).len;
    if (!fl_bytes_reserve(out, most))
        return FL_ENOMEM;
    uint8_t *to = out->data + out->len;
    *to++ = '(';
    for (size_t i = 0; i < row->columns; i++)
        if (row->column[i].kind < FL_COL_SILENT)
            to = put_value(row, out, i, to, host, idx);
    *to++ = 't';
    out->len = (size_t)(to - out->data);
    return FL_PLAIN;
}
