/* pickled.c: a row as a tuple of the pickle, in which recurring values are written once. Pure. */
#include "pickled.h"
#include "hash.h"
#include "opcode_value.h"
#include "tree.h"

enum {
    INTERNED_MAX = 768,      /* entries of the table that may be used */
    INTERNED_TEXT_MAX = 255, /* bytes of a text */
    TEXT_HEAD = 2,           /* bytes before a text of at most that length */
    PROBES = 8,
    SHORT = 3, /* bytes: an unpickler reads that many as fast as it fetches them from the memo */
};

static const uint8_t BEGIN_LIST[] = {FL_OP_EMPTY_LIST, FL_OP_MARK};
static const uint8_t APPENDS = FL_OP_APPENDS, TUPLE3 = FL_OP_TUPLE3;

static bool is_same(const fl_interned *at, const fl_buffer *out, const uint8_t *data, size_t len)
{
    return at->len == len && fl_same(out->data + at->offset, data, len);
}

/* Keeps the `len` bytes at `to`, an opcode with its argument that ends `out`, and adds a MEMOIZE;
 * or replaces them by a fetch from the memo, if the same value was written before. */
static uint8_t *intern(fl_row *row, const fl_buffer *out, size_t column, uint8_t *to, size_t len)
{
    fl_interned *last = &row->memo.last[column];
    if (is_same(last, out, to, len))
        return fl_put_get(to, last->slot);
    uint32_t hash = fl_hash_bytes(to, len);
    fl_interned *free = NULL;
    for (uint32_t i = 0; i < PROBES && !free; i++) {
        fl_interned *known = &row->memo.table[(hash + i) % FL_INTERNED];
        if (!known->len)
            free = known;
        else if (known->hash == hash && is_same(known, out, to, len)) {
            *last = *known;
            return fl_put_get(to, known->slot);
        }
    }
    if (!free || row->memo.used == INTERNED_MAX)
        return to + len;
    row->memo.used++;
    *free = (fl_interned){hash, (uint32_t)(to - out->data), (uint32_t)len, row->memo.next++};
    *last = *free;
    to[len] = FL_OP_MEMOIZE;
    return to + len + 1;
}

/* Writes a text that is often the same as the last one of this column. */
static uint8_t *put_recurring(fl_row *row, const fl_buffer *out, size_t column, uint8_t *to,
                              fl_str text)
{
    const fl_interned *last = &row->memo.last[column];
    size_t len = text.len + TEXT_HEAD;
    if (text.len > INTERNED_TEXT_MAX)
        return fl_put_text(to, text.text, text.len);
    if (last->len == len && fl_same(out->data + last->offset + TEXT_HEAD, text.text, text.len))
        return fl_put_get(to, last->slot);
    fl_put_text(to, text.text, text.len);
    return intern(row, out, column, to, len);
}

static uint8_t *put_value(fl_row *row, const fl_buffer *out, size_t column, uint8_t *to,
                          const fl_value *host, uint32_t idx)
{
    uint8_t kind = row->columns.of[column].kind;
    bool recurs = row->columns.of[column].flags & FL_COL_RECURS;

    if (!fl_column_is_text(kind)) {
        uint8_t *end = fl_row_put_number(row, column, to, idx);
        size_t len = (size_t)(end - to);
        return recurs && len > SHORT ? intern(row, out, column, to, len) : end;
    }
    fl_str text = fl_row_text_of(row, column, host);
    if (!text.text)
        return fl_put_none(to);
    if (kind == FL_COL_EXTRA && text.len > 2)
        recurs = false; /* but {} recurs */
    return recurs ? put_recurring(row, out, column, to, text)
                  : fl_put_text(to, text.text, text.len);
}

/* Writes the column `extra` of a record that is left to Python: (length of the frame, tree, shared
 * nodes). */
static void put_tree(fl_row *row, fl_pool *pool, const fl_value *record, enum fl_tree_scope scope,
                     fl_buffer *out)
{
    uint8_t op[FL_OPCODE_MAX];
    fl_buffer_add(out, op, (size_t)(fl_put_integer(op, (int64_t)row->frame_len) - op));
    if (scope == FL_SCOPE_RECORD) {
        fl_tree_value(row, pool, record, out);
    } else {
        fl_buffer_add(out, BEGIN_LIST, sizeof BEGIN_LIST);
        for (size_t i = 0; i < row->extra_used; i++) {
            fl_tree_value(row, pool, row->extra[i].key, out);
            fl_tree_value(row, pool, row->extra[i].value, out);
        }
        fl_buffer_add(out, &APPENDS, 1);
    }
    fl_tree_shared(row, pool, out);
    fl_buffer_add(out, &TUPLE3, 1);
}

int fl_pickled_write(fl_row *row, fl_pool *pool, const fl_value *record, enum fl_tree_scope scope,
                     const fl_value *host, uint32_t idx, fl_buffer *out)
{
    size_t max = sizeof "(t";
    if (scope)
        fl_tree_begin(row, pool, scope == FL_SCOPE_EXTRA ? record->at.node : 0, out);
    for (size_t i = 0; i < row->columns.n; i++)
        max += FL_OPCODE_MAX + fl_row_text_of(row, i, host).len;
    if (!fl_buffer_reserve(out, max))
        return FL_ENOMEM;
    uint8_t *to = out->data + out->len;
    *to++ = FL_OP_MARK;
    for (size_t i = 0; i < row->columns.n; i++) {
        uint8_t kind = row->columns.of[i].kind;
        if (fl_column_is_dropped(kind))
            continue;
        if (scope == FL_SCOPE_RECORD && fl_column_is_attribute(kind)) {
            to = fl_put_none(to);
        } else if (scope && kind == FL_COL_EXTRA) {
            out->len = (size_t)(to - out->data);
            put_tree(row, pool, record, scope, out);
            if (!fl_buffer_reserve(out, max)) /* for the columns after it */
                return FL_ENOMEM;
            to = out->data + out->len;
        } else {
            to = put_value(row, out, i, to, host, idx);
        }
    }
    *to++ = FL_OP_TUPLE;
    out->len = (size_t)(to - out->data);
    return out->failed ? FL_ENOMEM : FL_PLAIN;
}
