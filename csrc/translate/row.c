/* row.c: the values of one record become a row. Pure.
 *
 * The twin of fastlog/decode/normal.py and fastlog/record.py for records whose every value is as
 * the schema wants it, with room to spare: where those would coerce, cut, note or rename, it is
 * left to them, as a tree. All that can fail comes first; what is written then is a whole row.
 */
#include "row.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH = 64 };

static uint32_t hash_name(const uint8_t *name, size_t len)
{
    return (uint32_t)len * 31 ^ (uint32_t)name[0] * 7 ^ (uint32_t)name[len - 1] * 13;
}

static bool is_named(const fl_row *row, int column, const uint8_t *name, size_t len)
{
    return row->column[column].len == len && fl_same(row->column[column].name, name, len);
}

/* The column of this name, or -1. */
static int find_column(const fl_row *row, const uint8_t *name, size_t len)
{
    if (len == 0 || len >= sizeof row->column[0].name)
        return -1;
    for (uint32_t at = hash_name(name, len);; at++) {
        int column = row->lookup[at % FL_ROW_LOOKUP] - 1;
        if (column < 0 || is_named(row, column, name, len))
            return column;
    }
}

/* The same, for the attribute at this place: a client sends them in the same order each time. */
static int guess_column(fl_row *row, uint32_t place, const uint8_t *name, size_t len)
{
    if (place >= FL_ROW_GUESSES)
        return find_column(row, name, len);
    int guess = row->guess[place] - 1;
    if (guess >= 0 && is_named(row, guess, name, len))
        return guess;
    int column = find_column(row, name, len);
    row->guess[place] = (uint8_t)(column + 1);
    return column;
}

static bool has_name(uint8_t kind)
{
    return kind <= FL_COL_MESSAGE || kind >= FL_COL_SILENT;
}

/* The name that a column has in a line. False: it would have to be escaped. */
static bool set_key(fl_row *row, size_t column, const char *key)
{
    fl_row_column *into = &row->column[column];
    size_t len = strlen(key);
    if (len >= FL_ROW_NAME || fl_json_length((const uint8_t *)key, len) != len)
        return false;
    memcpy(into->key, ",\"", 2);
    memcpy(into->key + 2, key, len);
    memcpy(into->key + 2 + len, "\":", 2);
    into->key_len = (uint8_t)(len + 4);
    return true;
}

static bool add_column(fl_row *row, const fl_column *column)
{
    size_t len = strlen(column->name), index = row->columns;
    if (column->kind > FL_COL_TWIN || len >= sizeof row->column[0].name)
        return false;
    row->column[index].kind = column->kind;
    row->column[index].flags = column->flags;
    row->column[index].len = (uint8_t)len;
    memcpy(row->column[index].name, column->name, len);
    if (!set_key(row, index, column->key ? column->key : column->name))
        return false;
    row->columns++;
    if (!has_name(column->kind))
        return true;
    const uint8_t *name = (const uint8_t *)column->name;
    if (!len || find_column(row, name, len) >= 0)
        return false;
    uint32_t at = hash_name(name, len);
    while (row->lookup[at % FL_ROW_LOOKUP])
        at++;
    row->lookup[at % FL_ROW_LOOKUP] = (uint8_t)(index + 1);
    return true;
}

fl_row *fl_row_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                   const fl_meanings *meanings, enum fl_form form)
{
    if (n > FL_ROW_COLUMNS || bounds->depth > DEPTH)
        return NULL;
    fl_row *row = calloc(1, sizeof *row);
    if (!row)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (!add_column(row, &columns[i])) {
            fl_row_free(row);
            return NULL;
        }
    row->form = form;
    row->bounds = *bounds;
    row->meanings = *meanings;
    row->entries = malloc(FL_POOL / 2 * sizeof *row->entries); /* as many as keys that fit */
    row->keys = calloc(FL_KEYS, sizeof *row->keys);
    row->written = calloc(FL_WRITTEN, sizeof *row->written);
    if (!row->entries || !row->keys || !row->written) {
        fl_row_free(row);
        return NULL;
    }
    fl_powers_prepare(&row->powers);
    return row;
}

void fl_row_free(fl_row *row)
{
    if (!row)
        return;
    free(row->entries);
    free(row->keys);
    free(row->written);
    free(row->json.data);
    free(row);
}

void fl_row_begin(fl_row *row, double received, uint64_t offset)
{
    row->received = received;
    row->offset = offset;
    row->json.failed = false;
    if (row->form == FL_LINES) {
        row->received_len = fl_float_write(&row->powers, received, row->received_text);
        row->offset_len = fl_natural_write(offset, row->offset_text);
    }
    memset(&row->memo, 0, sizeof row->memo);
}

/* ---- Reading: which value is which, and whether it is as it should be ---- */

int fl_row_text(fl_row *row, fl_reader *reader, const fl_value *value, fl_span_text *out)
{
    *out = (fl_span_text){value->at.text, value->len};
    row->charged += value->len;
    if (row->charged > row->weight)
        return FL_FALLBACK;
    if (value->kind == FL_K_TEXT ||
        (value->kind == FL_K_BYTES && fl_text_check(value->at.text, value->len) == FL_TEXT_CLEAN))
        return FL_PLAIN;
    bool surrogates = value->kind == FL_K_ODD;
    size_t len = fl_text_escape(value->at.text, value->len, surrogates, NULL);
    row->charged += len - value->len;
    row->work += (uint64_t)row->bounds.escape * value->len;
    if (row->charged > row->weight)
        return FL_FALLBACK;
    uint8_t *made = fl_reader_scratch(reader, len);
    if (!made)
        return FL_ENOMEM;
    fl_text_escape(value->at.text, value->len, surrogates, made);
    *out = (fl_span_text){made, (uint32_t)len};
    return FL_PLAIN;
}

static void add_entry(fl_row *row, const fl_value *key, const fl_value *value)
{
    row->entries[row->entries_used++] = (fl_entry){key, value};
}

/* An attribute with a name of the schema. */
static int take_field(fl_row *row, const fl_reader *reader, int column, const fl_value *key,
                      const fl_value *value)
{
    if (row->values[column])
        return FL_FALLBACK;
    row->values[column] = value;
    switch (row->column[column].kind) {
    case FL_COL_ARGS: return fl_is_empty(reader, value) ? FL_PLAIN : FL_FALLBACK;
    case FL_COL_EMPTY:
        if (fl_is_empty(reader, value))
            return FL_PLAIN;
        add_entry(row, key, value);
        break;
    case FL_COL_TWIN: add_entry(row, key, value); break;
    default: return FL_PLAIN;
    }
    return value->kind == FL_K_OBJECT ? FL_FALLBACK
                                      : FL_PLAIN; /* it may stand for what is dropped */
}

static int take_all(fl_row *row, const fl_reader *reader, const fl_value *record)
{
    fl_walk walk = fl_walk_over(reader, &fl_node_of(reader, record)->items);
    uint32_t place = 0;
    for (const fl_value *key; (key = fl_walk_next(&walk)); place++) {
        const fl_value *value = fl_walk_next(&walk);
        int column = -1, verdict = FL_PLAIN;
        if (key->kind == FL_K_TEXT || key->kind == FL_K_BYTES)
            column = guess_column(row, place, key->at.text, key->len);
        if (column >= 0)
            verdict = take_field(row, reader, column, key, value);
        else
            add_entry(row, key, value);
        if (verdict)
            return verdict;
    }
    return FL_PLAIN;
}

/* Whether a logger says with this value that the field has none. */
static bool means_none(const fl_reader *reader, const fl_value *value)
{
    return !fl_is_set(value) || value->kind == FL_K_FALSE ||
           (fl_is_container(value) && fl_is_empty(reader, value));
}

static int check_integer(fl_row *row, const fl_reader *reader, size_t column)
{
    const fl_value *value = row->values[column];
    if (means_none(reader, value) || (fl_is_text(value) && value->len == 0)) {
        row->values[column] = NULL;
        return FL_PLAIN;
    }
    return value->kind == FL_K_INT ? FL_PLAIN : FL_FALLBACK;
}

static int check_text(fl_row *row, fl_reader *reader, size_t column)
{
    const fl_value *value = row->values[column];
    if (means_none(reader, value)) {
        row->values[column] = NULL;
        return FL_PLAIN;
    }
    return fl_is_text(value) ? fl_row_text(row, reader, value, &row->texts[column]) : FL_FALLBACK;
}

static int check_trace(fl_row *row, fl_reader *reader, size_t column)
{
    fl_span_text *text = &row->texts[column];
    int verdict = check_text(row, reader, column);
    if (verdict || !text->text || text->len > 1 || (text->len == 1 && text->text[0] != '\n'))
        return verdict;
    *text = (fl_span_text){0};
    return FL_PLAIN;
}

static int check_column(fl_row *row, fl_reader *reader, size_t column)
{
    const fl_value *value = row->values[column];
    switch (row->column[column].kind) {
    case FL_COL_TIME:
        if (!fl_is_set(value))
            return FL_PLAIN;
        return fl_is_time(value) && fl_time_of(value) >= row->bounds.first &&
                       fl_time_of(value) < row->bounds.last
                   ? FL_PLAIN
                   : FL_FALLBACK;
    case FL_COL_INTEGER: return check_integer(row, reader, column);
    case FL_COL_TEXT: return check_text(row, reader, column);
    case FL_COL_TRACE: return check_trace(row, reader, column);
    case FL_COL_MESSAGE:
        return fl_is_set(value) && fl_is_text(value) ? check_text(row, reader, column)
                                                     : FL_FALLBACK;
    default: return FL_PLAIN;
    }
}

/* The types of all columns; those that go together are all there or all missing. */
static int check_columns(fl_row *row, fl_reader *reader)
{
    int together = -1;
    for (size_t i = 0; i < row->columns; i++) {
        int verdict = check_column(row, reader, i);
        if (verdict)
            return verdict;
        if (row->column[i].flags & FL_COL_TOGETHER) {
            if (together >= 0 && together != fl_is_set(row->values[i]))
                return FL_FALLBACK;
            together = fl_is_set(row->values[i]);
        }
    }
    return FL_PLAIN;
}

/* Takes the twin of the message out of what goes to `extra`. */
static int drop_twin(fl_row *row, fl_reader *reader)
{
    const fl_value *twin = NULL;
    const fl_span_text *message = NULL;
    for (size_t i = 0; i < row->columns; i++) {
        if (row->column[i].kind == FL_COL_TWIN)
            twin = row->values[i];
        else if (row->column[i].kind == FL_COL_MESSAGE)
            message = &row->texts[i];
    }
    if (!twin || !message)
        return FL_PLAIN;
    if (twin->kind != FL_K_NONE) {
        fl_span_text text;
        if (!fl_is_text(twin))
            return FL_PLAIN;
        int verdict = fl_row_text(row, reader, twin, &text);
        if (verdict)
            return verdict;
        if (text.len != message->len || !fl_same(text.text, message->text, text.len))
            return FL_PLAIN;
    }
    size_t at = 0;
    while (row->entries[at].value != twin)
        at++;
    memmove(&row->entries[at], &row->entries[at + 1],
            (--row->entries_used - at) * sizeof *row->entries);
    return FL_PLAIN;
}

/* ---- The record's weight ---- */

static size_t weight_limit(const fl_bounds *bounds, size_t frame_len)
{
    uint64_t limit = (uint64_t)bounds->weight_times * frame_len + bounds->weight_more;
    return limit < bounds->weight ? (size_t)limit : bounds->weight;
}

static uint32_t nodes_limit(const fl_bounds *bounds, size_t frame_len)
{
    uint64_t limit = (uint64_t)frame_len + bounds->nodes_more;
    return limit < bounds->nodes ? (uint32_t)limit : bounds->nodes;
}

/* What JSON makes of the texts in the columns. */
static size_t columns_weight(const fl_row *row)
{
    size_t weight = 0;
    for (size_t i = 0; i < row->columns; i++)
        if (row->texts[i].text)
            weight += fl_json_length(row->texts[i].text, row->texts[i].len);
    return weight;
}

/* Whether the columns and `extra`, as far as it is written, stay below the limit, so that nothing
 * is cut. Six bytes for each is the worst that escapes do, and mostly good enough. */
static bool is_light(const fl_row *row)
{
    return row->json.len + 6 * row->charged < row->weight ||
           row->json.len + columns_weight(row) < row->weight;
}

/* Sorts the attributes of a record into columns and entries. FL_FALLBACK: not all is as it should
 * be. */
static int sort(fl_row *row, fl_reader *reader, const fl_value *record)
{
    int verdict = take_all(row, reader, record);
    if (!verdict)
        verdict = check_columns(row, reader);
    if (!verdict)
        verdict = drop_twin(row, reader);
    return verdict || is_light(row) ? verdict : FL_FALLBACK;
}

static int write_plain(fl_row *row, fl_reader *reader)
{
    int verdict = fl_row_extra(row, reader);
    if (row->json.failed)
        return FL_ENOMEM;
    bool fits = row->nodes < row->nodes_limit && row->work < row->work_limit && is_light(row);
    return verdict || fits ? verdict : FL_FALLBACK;
}

static const uint8_t VERDICTS[] = {
    [FL_REST_NONE] = FL_PLAIN, [FL_REST_EXTRA] = FL_EXTRA, [FL_REST_ALL] = FL_TREE};

static const uint8_t NO_RECORD[] = {
    [FL_K_NONE] = FL_IS_NONE,         [FL_K_TRUE] = FL_IS_BOOL,   [FL_K_FALSE] = FL_IS_BOOL,
    [FL_K_INT] = FL_IS_INT,           [FL_K_UINT] = FL_IS_INT,    [FL_K_BIG_DIGITS] = FL_IS_INT,
    [FL_K_BIG_BYTES] = FL_IS_INT,     [FL_K_FLOAT] = FL_IS_FLOAT, [FL_K_TEXT] = FL_IS_STR,
    [FL_K_ODD] = FL_IS_STR,           [FL_K_BYTES] = FL_IS_BYTES, [FL_K_GLOBAL] = FL_IS_GLOBAL,
    [FL_K_LIST] = FL_IS_LIST,         [FL_K_SET] = FL_IS_SET,     [FL_K_TUPLE] = FL_IS_TUPLE,
    [FL_K_OVERFLOW] = FL_IS_OVERFLOW,
};

int fl_row_add(fl_row *row, fl_reader *reader, const fl_value *record, size_t frame_len,
               const fl_value *host, uint32_t idx, fl_bytes *plain, fl_bytes *rows)
{
    if (record->kind != FL_K_DICT && record->kind != FL_K_OBJECT)
        return NO_RECORD[record->kind];
    for (size_t i = 0; i < row->columns; i++) {
        row->values[i] = NULL;
        row->texts[i] = (fl_span_text){0};
    }
    row->frame_len = frame_len;
    row->entries_used = row->json.len = row->charged = 0;
    row->nodes = 0;
    row->weight = weight_limit(&row->bounds, frame_len);
    row->nodes_limit = nodes_limit(&row->bounds, frame_len);
    row->work = 0;
    row->work_limit = (uint64_t)row->bounds.work_times * frame_len + row->bounds.work_more;
    enum fl_rest rest = FL_REST_ALL;
    bool alone = record->kind == FL_K_DICT && !fl_node_of(reader, record)->is_met;
    int verdict = alone ? sort(row, reader, record) : FL_FALLBACK;
    if (!verdict) {
        verdict = write_plain(row, reader);
        rest = verdict ? FL_REST_EXTRA : FL_REST_NONE;
    }
    if (verdict < 0)
        return verdict;
    if (rest == FL_REST_NONE && row->form == FL_LINES)
        return fl_row_line(row, host, idx, plain);
    verdict = fl_row_pickled(row, reader, record, rest, host, idx, rows);
    return verdict ? verdict : VERDICTS[rest];
}
