/* row.h: a row while it is made. For the files that make it:
 *
 *   record.c        decides what a record becomes, and calls the others
 *   attributes.c    sorts its attributes into columns, and checks their types
 *   extra.c         writes the attributes without a column as JSON
 *   pickled.c       writes the row as a tuple of the pickle
 *   tree.c          writes what is left to Python as an inert tree
 *   line.c          writes the row as a line of JSON
 *   copy.c          writes the row as a tuple of PostgreSQL's COPY
 *   column_lists.c  adds the values of the row to lists, one for each column
 */
#ifndef FL_TRANSLATE_ROW_H
#define FL_TRANSLATE_ROW_H

#include "buffer.h"
#include "columns.h"
#include "dtoa.h"
#include "values.h"

enum {
    FL_INTERNED = 1024,                 /* a power of two */
    FL_DICT_KEYS = 4096,                /* a power of two */
    FL_TREE_TABLE = 2 * FL_POOL_VALUES, /* a power of two, twice the values that a tree can have */
};

/* A reference to text. text == NULL: none. */
typedef struct fl_str {
    const uint8_t *text;
    uint32_t len; /* in bytes */
} fl_str;

/* An attribute that has no column. */
typedef struct fl_attribute {
    const fl_value *key, *value;
} fl_attribute;

/* A key of a dict that was written to `extra`. */
typedef struct fl_dict_key {
    fl_str name;
    uint32_t hash, dict; /* the number of the dict; 0: the slot is free */
} fl_dict_key;

/* A text, an integer or a global that was written into a tree, and its slot in the memo. */
typedef struct fl_tree_entry {
    const uint8_t *text;
    uint32_t len, slot, tree; /* the number of the tree; 0: the entry is free */
    uint8_t kind;
} fl_tree_entry;

/* A value that was written into the pickle at an offset, and its slot in the memo. */
typedef struct fl_interned {
    uint32_t hash, offset, len, slot; /* len 0: none */
} fl_interned;

/* The names of the parts of a tree's nodes: fastlog/decode/inert_tree.py. */
enum fl_tree_name {
    FL_NAME_PAIRS,
    FL_NAME_CLASS,
    FL_NAME_ARGS,
    FL_NAME_KWARGS,
    FL_NAME_ITEMS,
    FL_NAME_STATE,
    FL_NAME_GLOBAL,
    FL_NAME_CUT,
    FL_NAME_SIZE,
    FL_NAME_HUGE,
    FL_NAME_OVERFLOW, /* not a name: the node {"cut": "size"} */
    FL_TREE_NAMES,
};

/* The memo of the pickle of the block. */
typedef struct fl_row_memo {
    uint32_t next, used;              /* the next slot; entries of `table` */
    uint32_t names[FL_TREE_NAMES];    /* slot + 1; 0: not written yet */
    fl_interned last[FL_COLUMNS_MAX]; /* the last value of each column */
    fl_interned table[FL_INTERNED];
} fl_row_memo;

/* A part of a line of JSON: one column, or adjacent ones that are equal in all lines of a run. */
typedef struct fl_line_part {
    uint8_t column, columns; /* the first one, and their number; 0: its text is not fixed */
    uint32_t at, len;        /* of its text in fl_line.fixed, in bytes */
} fl_line_part;

/* What the lines of a run have in common. */
typedef struct fl_line {
    fl_line_part parts[FL_COLUMNS_MAX];
    size_t n;
    size_t keys;      /* bytes of the keys and of the longest numbers */
    size_t extras;    /* columns that hold `extra` */
    fl_buffer fixed;  /* the texts of the parts that have one */
    bool is_begun;    /* `fixed` is for this block, and for this sender: */
    fl_buffer sender; /* its host, then its certificate */
    size_t host_len;
} fl_line;

typedef struct fl_row {
    enum fl_form form;
    fl_columns columns;
    fl_line line;
    fl_bounds bounds;
    fl_meanings meanings;
    fl_powers powers;

    /* The current record. */
    const fl_value *values[FL_COLUMNS_MAX]; /* by column; NULL: the record has none */
    fl_str texts[FL_COLUMNS_MAX];           /* the same, of columns that hold text */
    size_t frame_len;
    fl_attribute *extra; /* the attributes without a column */
    size_t extra_used;
    fl_buffer json; /* `extra`, as JSON */
    uint32_t nodes, nodes_limit;
    uint64_t work, work_limit;
    size_t text_bytes;   /* of all its texts so far, before JSON escapes them */
    size_t weight_limit; /* what its texts may have as JSON, in bytes */

    /* Neither table is ever cleared: an entry with the number of an earlier dict or tree is free.
     */
    fl_dict_key *dict_keys;
    uint32_t last_dict, first_dict; /* numbers: the last one, and the first of the record */
    size_t dict_keys_used;          /* by the record */
    fl_tree_entry *tree_table;
    uint32_t tree_table_mask; /* a small tree uses the beginning of the table only */
    uint32_t last_tree;       /* its number */

    uint8_t node[FL_NODE]; /* the id of the journal, for tuples of COPY */

    /* The current block. */
    fl_str certificate; /* of the sender of the present run */
    double received;
    uint64_t offset;
    char received_text[FL_FLOAT_TEXT], offset_text[FL_NATURAL_TEXT]; /* for lines: equal in all */
    size_t received_len, offset_len;
    fl_row_memo memo;
} fl_row;

/* Returns a new row. NULL: no memory, or an argument is out of range. */
fl_row *fl_row_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                   const fl_meanings *meanings, enum fl_form form);
void fl_row_free(fl_row *row);

/* Begins a block, whose pickle has an empty memo. */
void fl_row_begin(fl_row *row, double received, uint64_t offset);

/* Begins a record of a frame of this length. */
void fl_row_begin_record(fl_row *row, size_t frame_len);

/* Makes *out the text of a str or bytes, escaped if it must be. Its bytes are counted before it is
 * read, so that no number of references to a long text costs more than the weight limit allows.
 * Returns FL_PLAIN, FL_FALLBACK if the record becomes too heavy, or FL_ENOMEM. */
int fl_row_text(fl_row *row, fl_pool *pool, const fl_value *value, fl_str *out);

/* Returns enough room for the texts in the columns as JSON, without the quotes: not much more than
 * they need if they are long. In bytes. */
size_t fl_row_texts_room(const fl_row *row);

/* Whether the columns and `extra`, as far as it is written, stay below the weight limit, so that
 * nothing of the record is cut. */
bool fl_row_is_light(const fl_row *row);

/* Whether there is a value that is not None. */
static inline bool fl_is_set(const fl_value *value)
{
    return value && value->kind != FL_K_NONE;
}

static inline bool fl_is_time(const fl_value *value)
{
    return value->kind == FL_K_FLOAT || value->kind == FL_K_INT;
}

static inline double fl_time_of(const fl_value *value)
{
    return value->kind == FL_K_FLOAT ? value->at.real : (double)value->at.integer;
}

#endif
