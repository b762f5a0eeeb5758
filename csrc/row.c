/* row.c: the values of one record become a row of the pickle. Pure.
 *
 * The twin of fastlog/decode/normal.py and fastlog/record.py for records whose every value is as
 * the schema wants it, with room to spare: where those would coerce, cut, note or rename, the frame
 * is foreign. All that can fail comes first; what is written then is a whole row.
 */
#include "repack.h"

#include <stdlib.h>
#include <string.h>

enum {
    COLUMNS = 32,
    LOOKUP = 128, /* a power of two, well above COLUMNS */
    KEYS = 256,   /* of one dict: they are compared pair by pair */
    DEPTH = 64,
    INTERNED = 1024, /* a power of two */
    INTERNED_MAX = 768,
    INTERNED_LEN = 255,
    TEXT_HEAD = 2, /* before a text of that length at most */
    PROBES = 8,
    GUESSES = 64,
    SHORT = 3,   /* what is no longer is read as fast as it is fetched from the memo */
    NUMBER = 11, /* the longest opcode of a number, with its argument */
};

typedef struct fl_span_text {
    const uint8_t *text;
    uint32_t len;
} fl_span_text;

/* An attribute that goes to `extra`, or a key of a dict with its value. */
typedef struct fl_entry {
    fl_span_text name;
    const fl_value *value;
} fl_entry;

/* Something that was written, and its place in the memo. */
typedef struct fl_interned {
    uint32_t hash, offset, len, memo; /* len 0: none */
} fl_interned;

struct fl_row {
    size_t columns;
    struct {
        uint8_t kind, flags, len;
        char name[64];
    } column[COLUMNS];
    uint8_t lookup[LOOKUP]; /* column + 1, by the hash of its name */
    fl_bounds bounds;
    fl_powers powers;

    /* The record at hand. */
    const fl_value *values[COLUMNS];
    fl_span_text texts[COLUMNS];
    fl_entry *entries; /* a stack: those of each dict that is being written */
    size_t entries_used;
    fl_bytes json;
    uint32_t nodes, nodes_limit;
    size_t weight;  /* what it may weigh */
    size_t charged; /* what its texts have, before JSON escapes them */
    size_t dropped; /* what those have that were dropped */

    uint8_t guess[GUESSES]; /* column + 1 of each attribute of the last record, in its order */

    /* The block. */
    double received;
    uint64_t offset;
    uint32_t memo;
    uint32_t interned_used;
    fl_interned last[COLUMNS]; /* what stood in the column before */
    fl_interned interned[INTERNED];
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
        int column = row->lookup[at % LOOKUP] - 1;
        if (column < 0 || is_named(row, column, name, len))
            return column;
    }
}

/* The same, for the attribute at this place: a client sends them in the same order each time. */
static int guess_column(fl_row *row, uint32_t place, const uint8_t *name, size_t len)
{
    if (place >= GUESSES)
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

static bool add_column(fl_row *row, const fl_column *column)
{
    size_t len = strlen(column->name), index = row->columns;
    if (column->kind > FL_COL_TWIN || len >= sizeof row->column[0].name)
        return false;
    row->column[index].kind = column->kind;
    row->column[index].flags = column->flags;
    row->column[index].len = (uint8_t)len;
    memcpy(row->column[index].name, column->name, len);
    row->columns++;
    if (!has_name(column->kind))
        return true;
    const uint8_t *name = (const uint8_t *)column->name;
    if (!len || find_column(row, name, len) >= 0)
        return false;
    uint32_t at = hash_name(name, len);
    while (row->lookup[at % LOOKUP])
        at++;
    row->lookup[at % LOOKUP] = (uint8_t)(index + 1);
    return true;
}

fl_row *fl_row_new(const fl_column *columns, size_t n, const fl_bounds *bounds)
{
    if (n > COLUMNS || bounds->depth > DEPTH)
        return NULL;
    fl_row *row = calloc(1, sizeof *row);
    if (!row)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (!add_column(row, &columns[i])) {
            fl_row_free(row);
            return NULL;
        }
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
    row->memo = row->interned_used = 0;
    memset(row->last, 0, sizeof row->last);
    memset(row->interned, 0, sizeof row->interned);
}

/* ---- Reading: which value is which, and whether it is as it should be ---- */

static bool is_container(const fl_value *value)
{
    return value->kind >= FL_K_LIST && value->kind <= FL_K_TUPLE;
}

/* The text of a text, escaped where it must be. It is charged before it is looked at, so that no
 * number of references makes a long text cost more than the record may weigh. */
static int text_of(fl_row *row, fl_reader *reader, const fl_value *value, fl_span_text *out)
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
        return text_of(row, reader, key, out);
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

/* Adds a named value to those of the dict that begins at `first`. Two of one name are foreign. */
static int add_entry(fl_row *row, fl_reader *reader, size_t first, const fl_value *key,
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

static bool is_empty(const fl_value *value)
{
    if (value->kind == FL_K_NONE)
        return true;
    return (is_container(value) || fl_is_text(value)) && value->len == 0;
}

/* An attribute with a name of the schema. */
static int take_field(fl_row *row, fl_reader *reader, int column, const fl_value *key,
                      const fl_value *value)
{
    if (row->values[column])
        return FL_FOREIGN;
    row->values[column] = value;
    if (row->column[column].kind >= FL_COL_SILENT)
        row->dropped += key->len;
    switch (row->column[column].kind) {
    case FL_COL_SILENT:
        return value->kind == FL_K_FLOAT || value->kind == FL_K_INT || value->kind == FL_K_NONE
                   ? FL_PLAIN
                   : FL_FOREIGN;
    case FL_COL_EMPTY:
        if (is_empty(value))
            return FL_PLAIN;
        return add_entry(row, reader, 0, key, value);
    case FL_COL_TWIN: return add_entry(row, reader, 0, key, value);
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
                                  : add_entry(row, reader, 0, key, value);
        if (verdict)
            return verdict;
        row->nodes += 1 + (value->object != 0);
    }
    return FL_PLAIN;
}

static bool is_set(const fl_value *value)
{
    return value && value->kind != FL_K_NONE;
}

static int check_text(fl_row *row, fl_reader *reader, size_t column)
{
    const fl_value *value = row->values[column];
    if (!is_set(value))
        return FL_PLAIN;
    return fl_is_text(value) ? text_of(row, reader, value, &row->texts[column]) : FL_FOREIGN;
}

static int check_column(fl_row *row, fl_reader *reader, size_t column)
{
    const fl_value *value = row->values[column];
    switch (row->column[column].kind) {
    case FL_COL_TIME:
        if (!is_set(value))
            return FL_PLAIN;
        return value->kind == FL_K_FLOAT && value->at.real >= row->bounds.first &&
                       value->at.real < row->bounds.last
                   ? FL_PLAIN
                   : FL_FOREIGN;
    case FL_COL_INTEGER: return !is_set(value) || value->kind == FL_K_INT ? FL_PLAIN : FL_FOREIGN;
    case FL_COL_TEXT: return check_text(row, reader, column);
    case FL_COL_MESSAGE: return is_set(value) ? check_text(row, reader, column) : FL_FOREIGN;
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
            if (together >= 0 && together != is_set(row->values[i]))
                return FL_FOREIGN;
            together = is_set(row->values[i]);
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
        int verdict = text_of(row, reader, twin, &text);
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

/* ---- JSON ---- */

static int json_value(fl_row *row, fl_reader *reader, const fl_value *value, uint32_t depth);

static void json_literal(fl_row *row, const char *text)
{
    fl_bytes_add(&row->json, text, strlen(text));
}

static int json_entries(fl_row *row, fl_reader *reader, size_t first, uint32_t depth)
{
    fl_bytes_add(&row->json, "{", 1);
    size_t end = row->entries_used;
    for (size_t i = first; i < end; i++) {
        if (i > first)
            fl_bytes_add(&row->json, ",", 1);
        fl_json_text(&row->json, row->entries[i].name.text, row->entries[i].name.len);
        fl_bytes_add(&row->json, ":", 1);
        int verdict = json_value(row, reader, row->entries[i].value, depth);
        if (verdict)
            return verdict;
    }
    fl_bytes_add(&row->json, "}", 1);
    return FL_PLAIN;
}

static int json_dict(fl_row *row, fl_reader *reader, const fl_value *dict, uint32_t depth)
{
    size_t first = row->entries_used;
    fl_walk walk = fl_walk_over(reader, dict);
    for (const fl_value *key; (key = fl_walk_next(&walk));) {
        int verdict = add_entry(row, reader, first, key, fl_walk_next(&walk));
        if (verdict)
            return verdict;
    }
    int verdict = json_entries(row, reader, first, depth);
    row->entries_used = first;
    return verdict;
}

static int json_list(fl_row *row, fl_reader *reader, const fl_value *list, uint32_t depth)
{
    const char *between = "[";
    fl_walk walk = fl_walk_over(reader, list);
    for (const fl_value *value; (value = fl_walk_next(&walk)); between = ",") {
        fl_bytes_add(&row->json, between, 1);
        int verdict = json_value(row, reader, value, depth);
        if (verdict)
            return verdict;
    }
    json_literal(row, *between == '[' ? "[]" : "]");
    return FL_PLAIN;
}

static void json_float(fl_row *row, double real)
{
    char text[FL_FLOAT_TEXT];
    if (real != real)
        json_literal(row, "\"NaN\"");
    else if (real - real != 0)
        json_literal(row, real > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        fl_bytes_add(&row->json, text, fl_float_write(&row->powers, real, text));
}

static int json_scalar(fl_row *row, fl_reader *reader, const fl_value *value)
{
    char text[FL_DELTA_TEXT];
    fl_span_text span;
    switch (value->kind) {
    case FL_K_NONE: json_literal(row, "null"); break;
    case FL_K_TRUE: json_literal(row, "true"); break;
    case FL_K_FALSE: json_literal(row, "false"); break;
    case FL_K_INT: fl_bytes_add(&row->json, text, fl_integer_write(value->at.integer, text)); break;
    case FL_K_UINT:
        fl_bytes_add(&row->json, text, fl_natural_write(value->at.natural, text));
        break;
    case FL_K_FLOAT: json_float(row, value->at.real); break;
    case FL_K_DELTA:
        fl_json_text(&row->json, (uint8_t *)text, fl_object_delta(value->at.integer, text));
        break;
    case FL_K_GLOBAL: fl_json_text(&row->json, value->at.text, value->len); break;
    case FL_K_TEXT:
    case FL_K_ODD:
    case FL_K_BYTES: {
        int verdict = text_of(row, reader, value, &span);
        if (verdict)
            return verdict;
        fl_json_text(&row->json, span.text, span.len);
        break;
    }
    default: return FL_FOREIGN;
    }
    return FL_PLAIN;
}

/* An object that is shown as it came: {"!": "module.Class", "args": […], "state": …}. */
static int json_object(fl_row *row, fl_reader *reader, const fl_value *object, uint32_t depth)
{
    const fl_value *parts = &reader->pool[object->at.items.first + 1];
    const fl_value *class = &parts[FL_OBJECT_CLASS], *args = &parts[FL_OBJECT_ARGS];
    const fl_value *state = &parts[FL_OBJECT_STATE];
    int verdict = FL_PLAIN;

    json_literal(row, "{\"!\":");
    fl_json_text(&row->json, class->at.text, class->len);
    if (args->len) {
        json_literal(row, ",\"args\":");
        verdict = json_list(row, reader, args, depth);
    }
    bool none =
        state->kind <= FL_K_NONE || (is_empty(state) && is_container(state) && !state->object);
    if (!none && !verdict) {
        json_literal(row, ",\"state\":");
        verdict = json_value(row, reader, state, depth);
    }
    json_literal(row, "}");
    return verdict;
}

/* One value, `depth` containers below the record. A known object counts as one: the Python reader
 * asks how deep it lies before it asks what it is. */
static int json_value(fl_row *row, fl_reader *reader, const fl_value *value, uint32_t depth)
{
    bool deeper = is_container(value);
    bool object = value->object && value->kind != FL_K_GLOBAL;
    row->nodes += 1 + object;
    if (row->nodes >= row->nodes_limit || row->json.len >= row->weight)
        return FL_FOREIGN;
    if ((deeper || object) && depth >= row->bounds.depth)
        return FL_FOREIGN;
    if (value->kind == FL_K_DICT)
        return json_dict(row, reader, value, depth + 1);
    if (value->kind == FL_K_OBJECT)
        return json_object(row, reader, value, depth + 1);
    return deeper ? json_list(row, reader, value, depth + 1) : json_scalar(row, reader, value);
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
    if (row->json.len + 6 * row->charged < row->weight)
        return true;
    size_t weight = row->json.len + row->dropped;
    for (size_t i = 0; i < row->columns; i++)
        if (row->texts[i].text)
            weight += fl_json_length(row->texts[i].text, row->texts[i].len);
    return weight < row->weight;
}

/* ---- Writing ---- */

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
    fl_interned *last = &row->last[column];
    if (is_written(last, out, to, len))
        return put_get(to, last->memo);
    uint32_t hash = hash_bytes(to, len);
    fl_interned *free = NULL;
    for (uint32_t i = 0; i < PROBES && !free; i++) {
        fl_interned *slot = &row->interned[(hash + i) % INTERNED];
        if (!slot->len)
            free = slot;
        else if (slot->hash == hash && is_written(slot, out, to, len)) {
            *last = *slot;
            return put_get(to, slot->memo);
        }
    }
    if (!free || row->interned_used == INTERNED_MAX)
        return to + len;
    row->interned_used++;
    *free = (fl_interned){hash, (uint32_t)(to - out->data), (uint32_t)len, row->memo++};
    *last = *free;
    to[len] = 0x94; /* MEMOIZE */
    return to + len + 1;
}

/* Writes a text that may well be the one that stood in this column before. */
static uint8_t *put_recurring(fl_row *row, const fl_bytes *out, size_t column, uint8_t *to,
                              fl_span_text text)
{
    const fl_interned *last = &row->last[column];
    size_t len = text.len + TEXT_HEAD;
    if (text.len > INTERNED_LEN)
        return put_text(to, text.text, text.len);
    if (last->len == len && fl_same(out->data + last->offset + TEXT_HEAD, text.text, text.len))
        return put_get(to, last->memo);
    put_text(to, text.text, text.len);
    return intern(row, out, column, to, len);
}

static uint8_t *put_value(fl_row *row, const fl_bytes *out, size_t column, uint8_t *to,
                          const fl_value *host, uint32_t idx)
{
    const fl_value *value = row->values[column];
    fl_span_text text = row->texts[column];
    uint8_t kind = row->column[column].kind, *end;
    bool recurs = row->column[column].flags & FL_COL_RECURS;

    switch (kind) {
    case FL_COL_TIME: end = put_float(to, is_set(value) ? value->at.real : row->received); break;
    case FL_COL_RECEIVED: end = put_float(to, row->received); break;
    case FL_COL_OFFSET: end = put_integer(to, (int64_t)row->offset); break;
    case FL_COL_IDX: end = put_integer(to, idx); break;
    case FL_COL_INTEGER:
        end = is_set(value) ? put_integer(to, value->at.integer) : put_none(to);
        break;
    default:
        if (kind == FL_COL_HOST)
            text = (fl_span_text){host->at.text, host->len};
        if (kind == FL_COL_EXTRA) {
            text = (fl_span_text){row->json.data, (uint32_t)row->json.len};
            recurs = recurs && text.len == 2; /* {}: others hardly do */
        }
        if (!text.text)
            return put_none(to);
        return recurs ? put_recurring(row, out, column, to, text)
                      : put_text(to, text.text, text.len);
    }
    size_t len = (size_t)(end - to);
    return recurs && len > SHORT ? intern(row, out, column, to, len) : end;
}

static int write_row(fl_row *row, const fl_value *host, uint32_t idx, fl_bytes *out)
{
    size_t most = 2 + row->columns * (NUMBER + 6) + row->json.len + host->len;
    for (size_t i = 0; i < row->columns; i++)
        most += row->texts[i].text ? row->texts[i].len : 0;
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

int fl_row_add(fl_row *row, fl_reader *reader, const fl_value *record, size_t frame_len,
               const fl_value *host, uint32_t idx, fl_bytes *out)
{
    if (record->kind != FL_K_DICT)
        return FL_FOREIGN;
    for (size_t i = 0; i < row->columns; i++) {
        row->values[i] = NULL;
        row->texts[i].text = NULL;
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
        verdict = json_entries(row, reader, 0, 0);
    if (verdict)
        return verdict;
    if (row->json.failed)
        return FL_ENOMEM;
    if (row->nodes >= row->nodes_limit || !is_light(row))
        return FL_FOREIGN;
    return write_row(row, host, idx, out);
}
