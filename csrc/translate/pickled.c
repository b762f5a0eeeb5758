/* pickled.c: a row as a tuple of the pickle, in which what recurs stands once. Pure. */
#include "opcodes.h"
#include "row.h"

enum {
    INTERNED_MAX = 768,
    INTERNED_LEN = 255,
    TEXT_HEAD = 2, /* before a text of that length at most */
    PROBES = 8,
    SHORT = 3, /* what is no longer is read as fast as it is fetched from the memo */
};

static uint8_t *put_none(uint8_t *to)
{
    *to++ = 'N';
    return to;
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
        return fl_op_get(to, last->memo);
    uint32_t hash = hash_bytes(to, len);
    fl_interned *free = NULL;
    for (uint32_t i = 0; i < PROBES && !free; i++) {
        fl_interned *slot = &row->memo.table[(hash + i) % FL_INTERNED];
        if (!slot->len)
            free = slot;
        else if (slot->hash == hash && is_written(slot, out, to, len)) {
            *last = *slot;
            return fl_op_get(to, slot->memo);
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
        return fl_op_text(to, text.text, text.len);
    if (last->len == len && fl_same(out->data + last->offset + TEXT_HEAD, text.text, text.len))
        return fl_op_get(to, last->memo);
    fl_op_text(to, text.text, text.len);
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
    case FL_COL_TIME:
        end = fl_op_float(to, fl_is_set(value) ? fl_time_of(value) : row->received);
        break;
    case FL_COL_RECEIVED: end = fl_op_float(to, row->received); break;
    case FL_COL_OFFSET: end = fl_op_integer(to, (int64_t)row->offset); break;
    case FL_COL_IDX: end = fl_op_integer(to, idx); break;
    case FL_COL_INTEGER:
        end = fl_is_set(value) ? fl_op_integer(to, value->at.integer) : put_none(to);
        break;
    default:
        if (kind == FL_COL_EXTRA && text.len > 2)
            recurs = false; /* but {} does */
        if (!text.text)
            return put_none(to);
        return recurs ? put_recurring(row, out, column, to, text)
                      : fl_op_text(to, text.text, text.len);
    }
    size_t len = (size_t)(end - to);
    return recurs && len > SHORT ? intern(row, out, column, to, len) : end;
}

/* What stands in `extra` for what is left to Python. */
static void put_rest(fl_row *row, fl_reader *reader, const fl_value *record, enum fl_rest rest,
                     fl_bytes *out)
{
    uint8_t op[FL_OPCODE_MOST];
    fl_bytes_add(out, op, (size_t)(fl_op_integer(op, (int64_t)row->frame_len) - op));
    if (rest == FL_REST_ALL) {
        fl_tree_value(row, reader, record, out);
    } else {
        fl_bytes_add(out, "](", 2);
        for (size_t i = 0; i < row->entries_used; i++) {
            fl_tree_value(row, reader, row->entries[i].key, out);
            fl_tree_value(row, reader, row->entries[i].value, out);
        }
        fl_bytes_add(out, "e", 1);
    }
    fl_tree_met(row, reader, out);
    fl_bytes_add(out, "\x87", 1); /* TUPLE3 */
}

static bool is_attribute(uint8_t kind)
{
    return kind <= FL_COL_MESSAGE;
}

int fl_row_pickled(fl_row *row, fl_reader *reader, const fl_value *record, enum fl_rest rest,
                   const fl_value *host, uint32_t idx, fl_bytes *out)
{
    size_t most = sizeof "(t";
    if (rest)
        fl_tree_nodes(row, reader, rest == FL_REST_EXTRA ? record->at.node : 0, out);
    for (size_t i = 0; i < row->columns; i++)
        most += FL_OPCODE_MOST + text_of(row, i, host).len;
    if (!fl_bytes_reserve(out, most))
        return FL_ENOMEM;
    uint8_t *to = out->data + out->len;
    *to++ = '(';
    for (size_t i = 0; i < row->columns; i++) {
        uint8_t kind = row->column[i].kind;
        if (kind >= FL_COL_SILENT)
            continue;
        if (rest == FL_REST_ALL && is_attribute(kind)) {
            to = put_none(to);
        } else if (rest && kind == FL_COL_EXTRA) {
            out->len = (size_t)(to - out->data);
            put_rest(row, reader, record, rest, out);
            if (!fl_bytes_reserve(out, most)) /* for what follows */
                return FL_ENOMEM;
            to = out->data + out->len;
        } else {
            to = put_value(row, out, i, to, host, idx);
        }
    }
    *to++ = 't';
    out->len = (size_t)(to - out->data);
    return out->failed ? FL_ENOMEM : FL_PLAIN;
}
