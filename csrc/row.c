/* row.c: the values of one record become a row. Pure.
 *
 * The twin of fastlog/decode/normal.py and fastlog/record.py for records whose every value is as
 * the schema wants it, with room to spare: where those would coerce, cut, note or rename, the frame
 * is foreign. All that can fail comes first; what is written then is a whole row.
 */
#include "row.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEYS = 256, /* of one dict: they are compared pair by pair */
    DEPTH = 64,
    MEMBER = 32, /* at most, beside its key: a number with comma, quotes and colon */
};

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

fl_row *fl_row_new(const fl_column *columns, size_t n, const fl_bounds *bounds, enum fl_form form)
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
    row->entries = malloc((size_t)KEYS * (DEPTH + 2) * sizeof *row->entries);
    if (!row->entries) {
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
    free(row->json.data);
    free(row);
}

void fl_row_begin(fl_row *row, double received, uint64_t offset)
{
    row->received = received;
    row->offset = offset;
    if (row->form == FL_LINES) {
        row->received_len = fl_float_write(&row->powers, received, row->received_text);
        row->offset_len = fl_natural_write(offset, row->offset_text);
    } else {
        memset(&row->memo, 0, sizeof row->memo);
    }
}

/* ---- Reading: which value is which, and whether it is as it should be ---- */

int fl_row_text(fl_row *row, fl_reader *reader, const fl_value *value, fl_span_text *out)
{
    *out = (fl_span_text){value->at.text, value->len};
    row->charged += value->len;
    if (row->charged > row->weight)
        return FL_FOREIGN;
    if (value->kind == FL_K_TEXT ||
        (value->kind == FL_K_BYTES && fl_text_check(value->at.text, value->len) == FL_TEXT_CLEAN))
        return FL_PLAIN;
    bool surrogates = value->kind == FL_K_ODD;
    size_t len = fl_text_escape(value->at.text, value->len, surrogates, NULL);
    row->charged += len - value->len;
    if (row->charged > row->weight)
        return FL_FOREIGN;
    uint8_t *made = fl_reader_scratch(reader, len);
    if (!made)
        return FL_ENOMEM;
    fl_text_escape(value->at.text, value->len, surrogates, made);
    *out = (fl_span_text){made, (uint32_t)len};
    return FL_PLAIN;
}

static int constant(const char *text, fl_span_text *out)
{
    *out = (fl_span_text){(const uint8_t *)text, (uint32_t)strlen(text)};
    return FL_PLAIN;
}

/* The name that a key gives its value. */
static int name_of(fl_row *row, fl_reader *reader, const fl_value *key, fl_span_text *out)
{
    if (key->object)
        return FL_FOREIGN;
    if (fl_is_text(key))
        return fl_row_text(row, reader, key, out);
    row->nodes++;
    switch (key->kind) {
    case FL_K_NONE: return constant("None", out);
    case FL_K_TRUE: return constant("True", out);
    case FL_K_FALSE: return constant("False", out);
    case FL_K_INT: {
        char digits[21];
        size_t len = fl_integer_write(key->at.integer, digits);
        uint8_t *made = fl_reader_scratch(reader, len);
        if (!made)
            return FL_ENOMEM;
        memcpy(made, digits, len);
        *out = (fl_span_text){made, (uint32_t)len};
        return FL_PLAIN;
    }
    default: return FL_FOREIGN;
    }
}

int fl_row_entry(fl_row *row, fl_reader *reader, size_t first, const fl_value *key,
                 const fl_value *value)
{
    fl_entry *entry = &row->entries[row->entries_used];
    if (row->entries_used - first == KEYS)
        return FL_FOREIGN;
    int verdict = name_of(row, reader, key, &entry->name);
    if (verdict)
        return verdict;
    for (const fl_entry *other = &row->entries[first]; other < entry; other++)
        if (other->name.len == entry->name.len &&
            fl_same(other->name.text, entry->name.text, entry->name.len))
            return FL_FOREIGN;
    entry->value = value;
    row->entries_used++;
    return FL_PLAIN;
}

/* An attribute with a name of the schema. */
static int take_field(fl_row *row, fl_reader *reader, int column, const fl_value *key,
                      const fl_value *value)
{
    if (row->values[column])
        return FL_FOREIGN;
    row->values[column] = value;
    if (row->column[column].kind >= FL_COL_SILENT)
        row->dropped += key->len + MEMBER;
    switch (row->column[column].kind) {
    case FL_COL_SILENT:
        return value->kind == FL_K_FLOAT || value->kind == FL_K_INT || value->kind == FL_K_NONE
                   ? FL_PLAIN
                   : FL_FOREIGN;
    case FL_COL_EMPTY:
        if (fl_is_empty(value))
            return FL_PLAIN;
        return fl_row_entry(row, reader, 0, key, value);
    case FL_COL_TWIN: return fl_row_entry(row, reader, 0, key, value);
    default: return FL_PLAIN;
    }
}

static int take_all(fl_row *row, fl_reader *reader, const fl_value *record)
{
    fl_walk walk = fl_walk_over(reader, record);
    uint32_t place = 0;
    for (const fl_value *key; (key = fl_walk_next(&walk)); place++) {
        const fl_value *value = fl_walk_next(&walk);
        int column = -1;
        if ((key->kind == FL_K_TEXT || key->kind == FL_K_BYTES) && !key->object)
            column = guess_column(row, place, key->at.text, key->len);
        int verdict = column >= 0 ? take_field(row, reader, column, key, value)
                                  : fl_row_entry(row, reader, 0, key, value);
        if (verdict)
            return verdict;
        row->nodes += 1 + (value->object != 0);
    }
    return FL_PLAIN;
}

/* Whether a logger says with this value that the field has none. */
static bool means_none(const fl_value *value)
{
    return !fl_is_set(value) || value->kind == FL_K_FALSE ||
           (fl_is_container(value) && value->len == 0 && !value->object);
}

static int check_integer(fl_row *row, size_t column)
{
    const fl_value *value = row->values[column];
    if (means_none(value) || (fl_is_text(value) && value->len == 0)) {
        row->values[column] = NULL;
        return FL_PLAIN;
    }
    return value->kind == FL_K_INT ? FL_PLAIN : FL_FOREIGN;
}

static int check_text(fl_row *row, fl_reader *reader, size_t column)
{
    const fl_value *value = row->values[column];
    if (means_none(value)) {
        row->values[column] = NULL;
        return FL_PLAIN;
    }
    return fl_is_text(value) ? fl_row_text(row, reader, value, &row->texts[column]) : FL_FOREIGN;
}

static int check_trace(fl_row *row, fl_reader *reader, size_t column)
{
    fl_span_text *text = &row->texts[column];
    int verdict = check_text(row, reader, column);
    if (verdict || !text->text || text->len > 1 || (text->len == 1 && text->text[0] != '\n'))
        return verdict;
    row->dropped += fl_json_length(text->text, text->len);
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
        return value->kind == FL_K_FLOAT && value->at.real >= row->bounds.first &&
                       value->at.real < row->bounds.last
                   ? FL_PLAIN
                   : FL_FOREIGN;
    case FL_COL_INTEGER: return check_integer(row, column);
    case FL_COL_TEXT: return check_text(row, reader, column);
    case FL_COL_TRACE: return check_trace(row, reader, column);
    case FL_COL_MESSAGE:
        return fl_is_set(value) && fl_is_text(value) ? check_text(row, reader, column) : FL_FOREIGN;
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
                return FL_FOREIGN;
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
    row->dropped += fl_json_length(message->text, message->len);
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

/* Whether nothing is cut: what JSON makes of all texts stays below the limit. Six bytes for each is
 * the worst that escapes do, and mostly good enough. */
static bool is_light(const fl_row *row)
{
    if (row->json.len + row->dropped + 6 * row->charged < row->weight)
        return true;
    size_t weight = row->json.len + row->dropped;
    for (size_t i = 0; i < row->columns; i++)
        if (row->texts[i].text)
            weight += fl_json_length(row->texts[i].text, row->texts[i].len);
    return weight < row->weight;
}

int fl_row_add(fl_row *row, fl_reader *reader, const fl_value *record, size_t frame_len,
               const fl_value *host, uint32_t idx, fl_bytes *out)
{
    if (record->kind != FL_K_DICT)
        return FL_FOREIGN;
    for (size_t i = 0; i < row->columns; i++) {
        row->values[i] = NULL;
        row->texts[i] = (fl_span_text){0};
    }
    row->entries_used = row->json.len = row->charged = row->dropped = 0;
    row->nodes = 0;
    row->weight = weight_limit(&row->bounds, frame_len);
    row->nodes_limit = nodes_limit(&row->bounds, frame_len);
    int verdict = take_all(row, reader, record);
    if (!verdict)
        verdict = check_columns(row, reader);
    if (!verdict)
        verdict = drop_twin(row, reader);
    if (!verdict)
        verdict = fl_row_extra(row, reader, 0, 0);
    if (verdict)
        return verdict;
    if (row->json.failed)
        return FL_ENOMEM;
    if (row->nodes >= row->nodes_limit || !is_light(row))
        return FL_FOREIGN;
    return row->form == FL_LINES ? fl_row_line(row, host, idx, out)
                                 : fl_row_pickled(row, host, idx, out);
}
