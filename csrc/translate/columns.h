/* columns.h: the columns of a row, found by the names of attributes. For the files that make rows.
 */
#ifndef FL_TRANSLATE_COLUMNS_H
#define FL_TRANSLATE_COLUMNS_H

#include "text.h"
#include "translate.h"

enum {
    FL_COLUMNS_MAX = 32,
    FL_COLUMN_NAME = 64,    /* bytes of a name, with its NUL */
    FL_COLUMN_LOOKUP = 128, /* a power of two, well above FL_COLUMNS_MAX */
    FL_COLUMN_GUESSES = 64,
};

typedef struct fl_column_info {
    uint8_t kind, flags, group, len, key_len;
    char name[FL_COLUMN_NAME];
    char key[FL_COLUMN_NAME + 3]; /* what precedes its value in a line: `,"name":` */
} fl_column_info;

typedef struct fl_columns {
    size_t n;
    fl_column_info of[FL_COLUMNS_MAX];
    uint8_t attributes[FL_COLUMNS_MAX]; /* the columns that attributes fill */
    size_t attributes_n;
    uint8_t message, twin, nested;    /* column + 1 of the last one of this kind; 0: none */
    uint8_t lookup[FL_COLUMN_LOOKUP]; /* column + 1, by the hash of its name */
    uint8_t
        guess[FL_COLUMN_GUESSES]; /* column + 1 of each attribute of the last record, in order */
} fl_columns;

/* Adds a column to zeroed or earlier ones. Returns false if there are too many or a field of it is
 * out of range. */
bool fl_columns_add(fl_columns *columns, const fl_column *column);

/* Returns the column that an attribute of this name fills, or -1. */
int fl_columns_find(const fl_columns *columns, const uint8_t *name, size_t len);

static inline bool fl_column_is_named(const fl_column_info *column, const uint8_t *name, size_t len)
{
    return column->len == len && fl_same(column->name, name, len);
}

/* Does the same for the attribute at this place of a record. A client sends its attributes in the
 * same order each time, so the column of the last record is tried first. */
static inline int fl_columns_guess(fl_columns *columns, uint32_t place, const uint8_t *name,
                                   size_t len)
{
    if (place >= FL_COLUMN_GUESSES)
        return fl_columns_find(columns, name, len);
    int guess = columns->guess[place] - 1;
    if (guess >= 0 && fl_column_is_named(&columns->of[guess], name, len))
        return guess;
    int column = fl_columns_find(columns, name, len);
    columns->guess[place] = (uint8_t)(column + 1);
    return column;
}

/* Whether a column of this kind is filled by an attribute. */
static inline bool fl_column_is_attribute(uint8_t kind)
{
    return kind <= FL_COL_MESSAGE;
}

/* Whether this kind only says that an attribute is dropped: rows have no such column. */
static inline bool fl_column_is_dropped(uint8_t kind)
{
    return kind >= FL_COL_SILENT;
}

/* Whether it has a place in lists of columns: `received` and `offset` are equal in all rows. */
static inline bool fl_column_is_listed(uint8_t kind)
{
    return !fl_column_is_dropped(kind) && kind != FL_COL_RECEIVED && kind != FL_COL_OFFSET;
}

#endif
