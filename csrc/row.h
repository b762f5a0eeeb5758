/* row.h: a row while it is made, for the files that make one. Pure.
 *
 *   row.c      sorts a record's attributes into columns, and says if they are as they should be
 *   extra.c    writes those that have no column as JSON
 *   pickled.c  writes the row as a tuple of the pickle
 *   line.c     writes it as a line of JSON
 */
#ifndef FASTLOG_ROW_H
#define FASTLOG_ROW_H

#include "repack.h"

enum {
    FL_ROW_COLUMNS = 32,
    FL_ROW_LOOKUP = 128, /* a power of two, well above FL_ROW_COLUMNS */
    FL_ROW_GUESSES = 64,
    FL_ROW_NAME = 64,   /* of a column, with its NUL */
    FL_INTERNED = 1024, /* a power of two */
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

typedef struct fl_row_column {
    uint8_t kind, flags, len, key_len;
    char name[FL_ROW_NAME];
    char key[FL_ROW_NAME + 3]; /* what stands before its value in a line: `,"name":` */
} fl_row_column;

/* Something that was written into the pickle, and its place in the memo. */
typedef struct fl_interned {
    uint32_t hash, offset, len, memo; /* len 0: none */
} fl_interned;

/* The memo of the block's pickle. */
typedef struct fl_memo {
    uint32_t next, used;
    fl_interned last[FL_ROW_COLUMNS]; /* what stood in the column before */
    fl_interned table[FL_INTERNED];
} fl_memo;

struct fl_row {
    enum fl_form form;
    size_t columns;
    fl_row_column column[FL_ROW_COLUMNS];
    uint8_t lookup[FL_ROW_LOOKUP]; /* column + 1, by the hash of its name */
    fl_bounds bounds;
    fl_powers powers;

    /* The record at hand. */
    const fl_value *values[FL_ROW_COLUMNS];
    fl_span_text texts[FL_ROW_COLUMNS];
    fl_entry *entries; /* a stack: those of each dict that is being written */
    size_t entries_used;
    fl_bytes json;
    uint32_t nodes, nodes_limit;
    size_t weight;  /* what it may weigh */
    size_t charged; /* what its texts have, before JSON escapes them */
    size_t dropped; /* what was dropped would have weighed at most */

    uint8_t guess[FL_ROW_GUESSES]; /* column + 1 of each attribute of the last record, in order */

    /* The block. */
    double received;
    uint64_t offset;
    char received_text[FL_FLOAT_TEXT], offset_text[20]; /* for lines: the same in each */
    size_t received_len, offset_len;
    fl_memo memo;
};

static inline bool fl_is_set(const fl_value *value)
{
    return value && value->kind != FL_K_NONE;
}

static inline bool fl_is_container(const fl_value *value)
{
    return value->kind >= FL_K_LIST && value->kind <= FL_K_TUPLE;
}

static inline bool fl_is_empty(const fl_value *value)
{
    return value->kind == FL_K_NONE ||
           ((fl_is_container(value) || fl_is_text(value)) && value->len == 0);
}

/* ---- row.c ---- */

/* The text of a text, escaped where it must be. It is charged before it is looked at, so that no
 * number of references makes a long text cost more than the record may weigh. */
int fl_row_text(fl_row *row, fl_reader *reader, const fl_value *value, fl_span_text *out);

/* Adds a named value to those of the dict that begins at `first`. Two of one name are foreign. */
int fl_row_entry(fl_row *row, fl_reader *reader, size_t first, const fl_value *key,
                 const fl_value *value);

/* ---- extra.c ---- */

/* Writes the entries from `first` on into row->json, as an object `depth` containers below the
 * record. */
int fl_row_extra(fl_row *row, fl_reader *reader, size_t first, uint32_t depth);

/* ---- pickled.c, line.c: FL_PLAIN or FL_ENOMEM ---- */

int fl_row_pickled(fl_row *row, const fl_value *host, uint32_t idx, fl_bytes *out);
int fl_row_line(fl_row *row, const fl_value *host, uint32_t idx, fl_bytes *out);

#endif
