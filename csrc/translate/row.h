/* row.h: a row while it is made, for the files that make one. Pure.
 *
 *   row.c      sorts a record's attributes into columns, and says if they are as they should be
 *   extra.c    writes those that have no column as JSON
 *   tree.c     writes as an inert tree what is left to Python
 *   pickled.c  writes the row as a tuple of the pickle
 *   line.c     writes it as a line of JSON
 */
#ifndef FASTLOG_ROW_H
#define FASTLOG_ROW_H

#include "values.h"

enum {
    FL_ROW_COLUMNS = 32,
    FL_ROW_LOOKUP = 128, /* a power of two, well above FL_ROW_COLUMNS */
    FL_ROW_GUESSES = 64,
    FL_ROW_NAME = 64,         /* of a column, with its NUL */
    FL_INTERNED = 1024,       /* a power of two */
    FL_KEYS = 4096,           /* the same */
    FL_WRITTEN = 2 * FL_POOL, /* the same, and twice as many as values that a tree can have */
};

typedef struct fl_span_text {
    const uint8_t *text;
    uint32_t len;
} fl_span_text;

/* An attribute that goes to `extra`. */
typedef struct fl_entry {
    const fl_value *key, *value;
} fl_entry;

/* A key that was written in a dict of the record at hand. */
typedef struct fl_key {
    fl_span_text name;
    uint32_t hash, dict; /* the dict's number; 0: none */
} fl_key;

/* A value of some length that was written into a tree, and its place in the memo. */
typedef struct fl_written {
    const uint8_t *text;
    uint32_t len, memo, tree; /* the tree's number; 0: none */
    uint8_t kind;
} fl_written;

typedef struct fl_row_column {
    uint8_t kind, flags, len, key_len;
    char name[FL_ROW_NAME];
    char key[FL_ROW_NAME + 3]; /* what stands before its value in a line: `,"name":` */
} fl_row_column;

/* Something that was written into the pickle, and its place in the memo. */
typedef struct fl_interned {
    uint32_t hash, offset, len, memo; /* len 0: none */
} fl_interned;

/* The names of the parts of a tree's nodes: fastlog/decode/nodes.py. */
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

/* The memo of the block's pickle. */
typedef struct fl_memo {
    uint32_t next, used;
    uint32_t names[FL_TREE_NAMES];    /* place + 1; 0: not written yet */
    fl_interned last[FL_ROW_COLUMNS]; /* what stood in the column before */
    fl_interned table[FL_INTERNED];
} fl_memo;

struct fl_row {
    enum fl_form form;
    size_t columns;
    fl_row_column column[FL_ROW_COLUMNS];
    uint8_t lookup[FL_ROW_LOOKUP]; /* column + 1, by the hash of its name */
    fl_bounds bounds;
    fl_meanings meanings;
    fl_powers powers;

    /* The record at hand. */
    const fl_value *values[FL_ROW_COLUMNS];
    fl_span_text texts[FL_ROW_COLUMNS];
    size_t frame_len;
    fl_entry *entries;
    size_t entries_used;
    fl_bytes json;
    uint32_t nodes, nodes_limit;
    uint64_t work, work_limit;
    size_t weight;  /* what it may weigh */
    size_t charged; /* what its texts have, before JSON escapes them */

    /* Both tables are never cleared: what has the number of an earlier dict or tree is free. */
    fl_key *keys;
    uint32_t dicts, keys_since; /* the last number, and the record's first */
    size_t keys_used;           /* by the record */
    fl_written *written;
    uint32_t written_mask; /* a small tree uses the beginning of the table only */
    uint32_t trees;

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

static inline bool fl_is_time(const fl_value *value)
{
    return value->kind == FL_K_FLOAT || value->kind == FL_K_INT;
}

static inline double fl_time_of(const fl_value *value)
{
    return value->kind == FL_K_FLOAT ? value->at.real : (double)value->at.integer;
}

/* ---- row.c ---- */

/* The text of a text, escaped where it must be. It is charged before it is looked at, so that no
 * number of references makes a long text cost more than the record may weigh. */
int fl_row_text(fl_row *row, fl_reader *reader, const fl_value *value, fl_span_text *out);

/* ---- extra.c ---- */

/* Writes the entries into row->json, as an object. */
int fl_row_extra(fl_row *row, fl_reader *reader);

/* ---- tree.c ---- */

/* What of a record is left to Python. */
enum fl_rest {
    FL_REST_NONE,
    FL_REST_EXTRA, /* its entries */
    FL_REST_ALL,   /* all of it */
};

/* Writes all that containers and objects hold, each once, but for the node `without` (0: for none);
 * leaves nothing on the stack. */
void fl_tree_nodes(fl_row *row, fl_reader *reader, uint32_t without, fl_bytes *out);

/* Writes a list of the nodes that were met more than once, through which each cycle goes; None
 * where there can be none. */
void fl_tree_met(fl_row *row, fl_reader *reader, fl_bytes *out);

/* Writes a value of the tree. */
void fl_tree_value(fl_row *row, fl_reader *reader, const fl_value *value, fl_bytes *out);

/* ---- pickled.c, line.c: FL_PLAIN or FL_ENOMEM ---- */

/* Adds the row as a tuple.
 *
 * record: what was read, where all is left to Python. */
int fl_row_pickled(fl_row *row, fl_reader *reader, const fl_value *record, enum fl_rest rest,
                   const fl_value *host, uint32_t idx, fl_bytes *out);
int fl_row_line(fl_row *row, const fl_value *host, uint32_t idx, fl_bytes *out);

#endif
