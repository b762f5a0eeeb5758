/* translate.h: the translator: pickles in, rows out. No I/O, no global state.
 *
 * To embed it, compile all files of this folder with framer/framer.h and runs.h beside it.
 *
 *     fl_translator *t = fl_translator_new(columns, n, &bounds, &meanings, FL_ROWS);
 *     fl_translator_begin(t, received, offset);
 *     fl_translator_run(t, frames, len, count, 0, host, host_len, verdicts);
 *     fl_translator_end(t, &out);                       out.rows is a pickle of the rows
 *     fl_translator_free(t);
 *
 * Time and memory are linear in the frames, whatever they hold. One translator, one thread at a
 * time.
 */
#ifndef FL_TRANSLATE_H
#define FL_TRANSLATE_H

#include "../runs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */

/* ---- The translator: pickles in, rows out ---------------------------------------------------
 *
 * A row has one value for each column. The rows of a block come as one pickle of a list of tuples.
 * It holds nothing but data, and nothing in it was copied without being understood, so an unpickler
 * may read it. A frame is plain if its values are as the columns require, and its objects are of
 * a few well-known classes or of classes without a meaning. The other values of a frame are in its
 * row as an inert tree, and Python decides what they mean (fastlog/decode/inert_tree.py has the
 * form of a tree). The rows of plain frames may come as lines of JSON, as columns or as COPY data
 * instead. docs/pickle.md says what becomes of a value.
 */

enum fl_form {
    FL_ROWS,    /* all rows come in the pickle */
    FL_LINES,   /* a line for each frame: an object for a plain one, which then has no row in the
                   pickle; an empty line for any other */
    FL_COLUMNS, /* lists of the values of plain frames, which then have no row in the pickle */
    FL_COPY,    /* plain frames as tuples of PostgreSQL's binary COPY; they then have no row in the
                   pickle */
};

/* What a column holds. The last five kinds are of attributes that have no column. */
enum fl_column_kind {
    FL_COL_TIME,    /* an attribute: a number from bounds->first to below last; else `received` */
    FL_COL_INTEGER, /* an attribute: an integer of 64 bits, or None */
    FL_COL_TEXT,    /* an attribute: a str, or None */
    FL_COL_TRACE,   /* the same, and None if it is empty or a single line feed */
    FL_COL_MESSAGE, /* an attribute: a str */
    FL_COL_HOST,
    FL_COL_CERTIFICATE, /* the identity in the peer's name after the host, or None */
    FL_COL_RECEIVED,
    FL_COL_EXTRA, /* all other attributes, as JSON text */
    FL_COL_OFFSET,
    FL_COL_IDX,
    FL_COL_SILENT, /* dropped */
    FL_COL_EMPTY,  /* dropped if it is None or empty */
    FL_COL_ARGS,   /* the same, and the frame is not plain otherwise */
    FL_COL_TWIN,   /* dropped if it is None or equals the message */
    FL_COL_NESTED, /* a dict whose members become attributes; another value stays as it is */
};

/* Flags of a column. */
enum {
    FL_COL_RECURS = 1,      /* its values recur from row to row: each is written once */
    FL_COL_ALL_OR_NONE = 2, /* a plain frame has all columns with this flag, or none of them */
};

enum { FL_GROUPS = 2, FL_NODE = 16 /* bytes of the id of a journal */ };

typedef struct fl_column {
    const char *name; /* of the attribute, under 64 bytes of ASCII; copied */
    const char *key;  /* its name in lines, under 64 bytes, needs no escape; NULL: the same */
    uint8_t kind;     /* enum fl_column_kind */
    uint8_t flags;
    uint8_t group; /* 1 to FL_GROUPS: in FL_COLUMNS its values are part of a combination; 0: none */
} fl_column;

/* The limits of a plain frame. */
typedef struct fl_bounds {
    uint32_t depth;        /* containers inside each other, 64 at most */
    uint32_t nodes;        /* values, 2^20 at most; and no more than */
    uint32_t nodes_more;   /*   the bytes of the frame and so many */
    uint32_t weight;       /* bytes as JSON; and no more than */
    uint32_t weight_times; /*   so many times the bytes of the frame */
    uint32_t weight_more;  /*   and so many more */
    uint32_t work_times;   /* units of work for each byte of the frame */
    uint32_t work_more;    /*   and so many more */
    /* The units of work of each value; of each container, object, and key that is not a clean
     * str besides; and of each byte that is escaped. They are more than Python would count. */
    uint32_t value, container, object, key, escape;
    double first, last; /* times, in seconds since the epoch; last is excluded */
} fl_bounds;

/* What became of a frame. */
enum fl_verdict {
    FL_PLAIN,
    FL_FALLBACK, /* no row, left to Python: it is JSON, or too large for the translator's arrays */
    FL_EXTRA,    /* a row whose `extra` is (length of the frame, [key, value, ...], shared): a tree.
                    `shared` lists nodes through which each cycle goes; None: there is no cycle */
    FL_TREE,     /* the same with the whole record as a tree, and None for each attribute */

    /* No row: the pickle is malformed. */
    FL_BAD_NO_STOP,
    FL_BAD_TRUNCATED,
    FL_BAD_UNDERFLOW,
    FL_BAD_MEMO_INDEX,
    FL_BAD_MEMO_UNSET,
    FL_BAD_UTF8,
    FL_BAD_NESTED_FRAME,
    FL_BAD_FRAME_LENGTH,
    FL_BAD_PROTOCOL,
    FL_BAD_DEPTH,
    FL_BAD_TRAILING,
    FL_BAD_OPEN_MARK,
    FL_BAD_RESULT,
    FL_BAD_NUMBER,
    FL_BAD_LENGTH,
    FL_BAD_PAIRS,
    FL_BAD_APPEND,
    FL_BAD_SETITEM,
    FL_BAD_ADDITEMS,
    FL_BAD_BUILD,
    FL_BAD_CALL,
    FL_BAD_ARGUMENTS,
    FL_BAD_NAME,
    FL_BAD_STRING,
    FL_BAD_OPCODE,

    /* No row: the pickle has a forbidden opcode. */
    FL_FORBIDDEN_DUP,
    FL_FORBIDDEN_PERSID,
    FL_FORBIDDEN_BINPERSID,
    FL_FORBIDDEN_EXT1,
    FL_FORBIDDEN_EXT2,
    FL_FORBIDDEN_EXT4,
    FL_FORBIDDEN_NEXT_BUFFER,
    FL_FORBIDDEN_READONLY_BUFFER,

    /* No row: the value is not a record, but of this type. */
    FL_NOT_RECORD_NONE,
    FL_NOT_RECORD_BOOL,
    FL_NOT_RECORD_INT,
    FL_NOT_RECORD_FLOAT,
    FL_NOT_RECORD_STR,
    FL_NOT_RECORD_BYTES,
    FL_NOT_RECORD_GLOBAL,
    FL_NOT_RECORD_LIST,
    FL_NOT_RECORD_SET,
    FL_NOT_RECORD_TUPLE,
    FL_NOT_RECORD_OVERFLOW,

    FL_VERDICTS, /* how many there are */
};

/* Returns the text of a verdict, static: "malformed pickle: no STOP". */
const char *fl_verdict_text(int verdict);

typedef struct fl_translator fl_translator;

/* The classes that have a meaning to Python, which renders their objects. Objects of all other
 * classes are written as {"!": "module.Class", "args": [...], "state": ...}. */
typedef struct fl_meanings {
    const char *const
        *names; /* sorted by strcmp(): "module.Class", or "module:" for all of a module */
    size_t n;
} fl_meanings;

/* Returns a translator into rows of these columns, 32 at most. The names of the meanings must live
 * as long as it does; the rest is copied. NULL: no memory, or an argument is out of range. */
fl_translator *fl_translator_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                                 const fl_meanings *meanings, enum fl_form form);
void fl_translator_free(fl_translator *translator);

/* Sets the id of the journal that all blocks are of, which is the last field of each tuple in
 * FL_COPY. It is zero before. */
void fl_translator_set_node(fl_translator *translator, const uint8_t node[FL_NODE]);

/* Begins a block. received: seconds since the epoch; offset: of the block in the journal. All rows
 * of the block have both. Returns 0 or FL_ENOMEM. */
int fl_translator_begin(fl_translator *translator, double received, uint64_t offset);

/* Translates a run: `count` frames, each after its length (u32), in exactly len bytes. idx is the
 * number of the first frame, host the sender of all, without a certificate. verdicts gets one byte
 * for each frame. Returns how many are not plain, FL_EINVAL if the lengths do not fit or the host
 * is not UTF-8, or FL_ENOMEM. After an error, begin again. */
int fl_translator_run(fl_translator *translator, const uint8_t *frames, size_t len, uint32_t count,
                      uint32_t idx, const char *host, size_t host_len, uint8_t *verdicts);

/* Translates all runs of a block of the journal (fastlog/block.py has the layout), which has
 * `frames` frames, numbered from 0. Frames of runs that hold no records become FL_FALLBACK.
 * Otherwise like fl_translator_run(). */
int fl_translator_block(fl_translator *translator, const uint8_t *runs, size_t len, uint32_t frames,
                        uint8_t *verdicts);

/* The result of a block. The bytes belong to the translator, and are valid until the next begin. */
typedef struct fl_translation {
    const uint8_t *rows; /* a pickle */
    size_t rows_len;
    const uint8_t *lines; /* in FL_LINES only */
    size_t lines_len;
    const uint8_t *columns; /* in FL_COLUMNS only: a pickle of a tuple of lists and integers, with
                               data only. For each group: a number for each plain frame; the new
                               combinations as tuples of their columns; the number of the first new
                               one, 0 if numbers begin again. Then each column without a group. The
                               columns of the kinds FL_COL_RECEIVED and FL_COL_OFFSET are left out,
                               as they are equal in all rows. */
    size_t columns_len;
    const uint8_t *text; /* in FL_COLUMNS only: for each plain frame a NUL and a LF, then the texts
                            of its columns without a group, each with a LF */
    size_t text_len;
    const uint8_t *copy; /* in FL_COPY only: a tuple for each plain frame, in order, without the
                            header and the trailer of the format. Its fields are the columns in
                            their order: an integer as int8, `idx` as int4, `extra` as jsonb, other
                            texts as text. The columns of the kinds FL_COL_TIME and FL_COL_RECEIVED
                            are two fields: float8, and timestamptz. The last field is the node. */
    size_t copy_len;
} fl_translation;

/* Ends the block. Returns 0 or FL_ENOMEM. */
int fl_translator_end(fl_translator *translator, fl_translation *out);

/* cffi: end */

#ifdef __cplusplus
}
#endif

#endif
