/* translate.h: the translator: pickles in, rows out. No I/O. */
#ifndef FL_TRANSLATE_H
#define FL_TRANSLATE_H

#include "../runs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* ---- The translator: pickles in, rows out ---------------------------------------------------
 *
 * A row has one value for each column. The rows of a block come as one pickle of a list of tuples.
 * It holds nothing but data, and nothing in it was copied without being understood, so an unpickler
 * may read it. A frame whose values are as the columns want them, and of a few well-known classes,
 * is plain. What else a frame holds stands in its row as an inert tree, for Python to tell what it
 * means (fastlog/decode/nodes.py has its form). The rows of plain frames may come as lines of JSON
 * instead. See docs/pickle.md for what becomes of a value.
 */

enum fl_form {
    FL_ROWS,  /* all rows come in the pickle */
    FL_LINES, /* a line for each frame: an object for a plain one, which then has no row in the
                 pickle; an empty line for any other */
};

/* What stands in a column; the last four name attributes that have no column. */
enum fl_column_kind {
    FL_COL_TIME,    /* an attribute: a number within bounds->first and last; else `received` */
    FL_COL_INTEGER, /* an attribute: an integer of 64 bits, or None */
    FL_COL_TEXT,    /* an attribute: a str, or None */
    FL_COL_TRACE,   /* the same, and None where it is empty or a single line feed */
    FL_COL_MESSAGE, /* an attribute: a str */
    FL_COL_HOST,
    FL_COL_RECEIVED,
    FL_COL_EXTRA, /* all other attributes, as JSON text */
    FL_COL_OFFSET,
    FL_COL_IDX,
    FL_COL_SILENT, /* dropped */
    FL_COL_EMPTY,  /* dropped when it is None, or empty */
    FL_COL_ARGS,   /* the same, and a frame is plain only then */
    FL_COL_TWIN,   /* dropped when it is None, or equals the message */
};

enum {
    FL_COL_RECURS = 1,   /* its values recur from row to row: each is written once */
    FL_COL_TOGETHER = 2, /* columns of which a plain frame has all or none */
};

typedef struct fl_column {
    const char *name; /* of the attribute, under 64 bytes of ASCII; copied */
    const char *key;  /* its name in lines, which needs no escape; NULL: the same */
    uint8_t kind;     /* enum fl_column_kind */
    uint8_t flags;
} fl_column;

/* What a plain frame stays below. */
typedef struct fl_bounds {
    uint32_t depth;        /* containers inside each other */
    uint32_t nodes;        /* values, and no more than */
    uint32_t nodes_more;   /* the frame has bytes, and so many */
    uint32_t weight;       /* bytes as JSON writes them, and no more than */
    uint32_t weight_times; /* so many times the bytes of the frame, */
    uint32_t weight_more;  /* and so many more */
    uint32_t work_times;   /* units of work for each byte of the frame, */
    uint32_t work_more;    /* and so many more */
    uint32_t value, container, object, key,
        escape;         /* units that each takes; more than Python would count */
    double first, last; /* times, in seconds since the epoch; the last is excluded */
} fl_bounds;

/* What became of a frame. */
enum fl_verdict {
    FL_PLAIN,
    FL_FALLBACK, /* it is JSON, or too large for the translator's arrays */
    FL_EXTRA,    /* for `extra` the row has (length of the frame, [key, value, ...], met): a tree.
                    `met` is a list of nodes through which each cycle goes, or None */
    FL_TREE,     /* the same with the whole record as a tree, and None for each attribute */
    FL_NO_STOP,  /* from here on: malformed, forbidden, or no record */
    FL_CUT,
    FL_UNDERFLOW,
    FL_MEMO_INDEX,
    FL_MEMO_UNSET,
    FL_NOT_UTF8,
    FL_NESTED_FRAME,
    FL_FRAME_LENGTH,
    FL_PROTOCOL,
    FL_MARKS,
    FL_TRAILING,
    FL_OPEN_MARK,
    FL_NOT_ONE,
    FL_NUMBER,
    FL_NEGATIVE,
    FL_ODD_PAIRS,
    FL_NO_LIST,
    FL_NO_DICT,
    FL_NO_SET,
    FL_NO_OBJECT,
    FL_NO_GLOBAL,
    FL_NO_ARGUMENTS,
    FL_NO_NAME,
    FL_STRING,
    FL_OPCODE,
    FL_DUP,
    FL_PERSID,
    FL_BINPERSID,
    FL_EXT1,
    FL_EXT2,
    FL_EXT4,
    FL_NEXT_BUFFER,
    FL_READONLY_BUFFER,
    FL_IS_NONE, /* from here on: what the value is, in place of a record */
    FL_IS_BOOL,
    FL_IS_INT,
    FL_IS_FLOAT,
    FL_IS_STR,
    FL_IS_BYTES,
    FL_IS_GLOBAL,
    FL_IS_LIST,
    FL_IS_SET,
    FL_IS_TUPLE,
    FL_IS_OVERFLOW,
    FL_VERDICTS, /* how many there are */
};

/* A rejection in words, static: "malformed pickle: no STOP". */
const char *fl_verdict_text(int verdict);

typedef struct fl_translator fl_translator;

/* The names that have a meaning to Python: objects of all other classes are written as they came,
 * {"!": "module.Class", "args": [...], "state": ...}. */
typedef struct fl_meanings {
    const char *const
        *names; /* in the order of strcmp(): "module.Class", or "module:" for all in it */
    size_t n;
} fl_meanings;

/* A translator into rows of these columns, 32 at most. The names of the meanings must live as long
 * as it does. NULL: no memory, or an argument out of range.
 */
fl_translator *fl_translator_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                                 const fl_meanings *meanings, enum fl_form form);
void fl_translator_free(fl_translator *translator);

/* Begins a block: what all its rows have in common. Returns 0. */
int fl_translator_begin(fl_translator *translator, double received, uint64_t offset);

/* Translates a run: that many frames, each behind its length (u32), in exactly len bytes. idx is
 * the number of the first one, host their sender. verdicts gets one byte a frame. Returns how many
 * are not plain, FL_EINVAL when the lengths do not fit, or FL_ENOMEM. After an error, begin anew.
 */
int fl_translator_run(fl_translator *translator, const uint8_t *frames, size_t len, uint32_t count,
                      uint32_t idx, const char *host, size_t host_len, uint8_t *verdicts);

/* Translates all runs of a block of the journal (fastlog/block.py has the layout), with `frames`
 * frames in all, numbered from 0. Runs of anything but records are left alone: their frames count
 * as foreign. Otherwise like fl_translator_run(). */
int fl_translator_block(fl_translator *translator, const uint8_t *runs, size_t len, uint32_t frames,
                        uint8_t *verdicts);

/* What became of a block. It is the translator's, until the next begin. */
typedef struct fl_translation {
    const uint8_t *rows; /* a pickle */
    size_t rows_len;
    const uint8_t *lines; /* in FL_LINES only */
    size_t lines_len;
} fl_translation;

/* Ends the block. Returns 0 or FL_ENOMEM. */
int fl_translator_end(fl_translator *translator, fl_translation *out);

/* cffi: end */

#endif
