/* values.h: what the files of the translator share. Pure, like them.
 *
 *   unpick.c    reads one pickle into values, and rejects what is none
 *   literals.c  what text opcodes spell out
 *   objects.c   the few classes whose objects are rendered here
 *   row.c       a dict of values becomes a row; row.h says with whose help
 *   text.c      UTF-8, escapes, JSON strings
 *   shortest.c  floats in decimal
 *   translator.c the runs of a block go in, its rows come out
 *
 * Every function that can set a frame aside returns a verdict: FL_PLAIN (0) to go on, FL_FALLBACK
 * or a rejection to stop. FL_ENOMEM, negative, ends the whole block.
 */
#ifndef FL_VALUES_H
#define FL_VALUES_H

#include "translate.h"

#include <string.h>

/* What a value is. */
enum fl_kind {
    FL_K_UNSET, /* a memo slot that nothing was put into */
    FL_K_NONE,
    FL_K_TRUE,
    FL_K_FALSE,
    FL_K_INT,        /* at.integer */
    FL_K_UINT,       /* at.natural, 2^63 and more */
    FL_K_BIG_DIGITS, /* an integer beyond: len decimal digits at at.text, perhaps with a sign */
    FL_K_BIG_BYTES,  /* the same as len little-endian bytes */
    FL_K_FLOAT,      /* at.real */
    FL_K_TEXT,       /* len bytes of UTF-8 at at.text, without NUL and surrogates */
    FL_K_ODD,        /* the same with them */
    FL_K_BYTES,      /* any bytes */
    FL_K_GLOBAL,     /* "protocol:module:name", len bytes at at.text */
    FL_K_LIST,       /* from here on: the node at.node */
    FL_K_SET,
    FL_K_TUPLE, /* node 0 is the empty one */
    FL_K_DICT,
    FL_K_OBJECT,
    FL_K_OVERFLOW, /* stands for each container beyond FL_CONTAINERS */
    FL_K_BATCH,    /* not a value: heads a batch of `len` of them; at.node is the next batch */
};

typedef struct fl_value {
    uint8_t kind;
    uint8_t known; /* of a global: enum fl_known */
    bool fetched;  /* it came out of the memo, so there may be more of it */
    uint32_t len;
    union {
        int64_t integer;
        uint64_t natural;
        double real;
        const uint8_t *text;
        uint32_t node;
    } at;
} fl_value;

/* Values that grow: a chain of batches in the pool; 0 for none. */
typedef struct fl_items {
    uint32_t len, first, last;
} fl_items;

/* What containers and objects hold. They are met by reference, as in Python: what is put into one
 * later is seen wherever it was met before. */
typedef struct fl_node {
    uint8_t kind;
    bool is_met;    /* it was fetched from the memo */
    fl_items items; /* a dict's key and value in turn; what was appended to an object */
    fl_items pairs; /* what was set in an object by key */
    uint32_t parts; /* the batch of an object's class, arguments, … */
    uint32_t memo;  /* its place in the memo of the translation */
} fl_node;

enum { FL_GLOBAL_HEAD = 2 /* bytes of a global's text before its module */ };

enum { FL_PART_CLASS, FL_PART_ARGS, FL_PART_KWARGS, FL_PART_STATE, FL_PARTS };

typedef struct fl_chunk {
    struct fl_chunk *next;
    size_t used, cap;
    uint8_t data[];
} fl_chunk;

/* Bytes that grow. `failed` is sticky: no memory. */
typedef struct fl_bytes {
    uint8_t *data;
    size_t len, cap;
    bool failed;
} fl_bytes;

enum {
    FL_OPEN_MARKS = 10000,
    FL_CONTAINERS = 65536, /* that one pickle may hold */
    FL_SLOTS = 1 << 17,    /* of the stack and the memo */
    FL_POOL = 1 << 19,
    FL_NAME_CHARACTERS = 256,         /* of a module, and of a name in it, that are kept */
    FL_NODES = 2 * FL_CONTAINERS + 1, /* an object may come with arguments that do not count */
};

/* One pickle that is being read. Stack, memo, pool and nodes have fixed sizes: a frame that needs
 * more goes to the Python reader. Memory that is not touched costs nothing, so they are made at
 * once. */
typedef struct fl_reader {
    fl_value *stack, *memo, *pool;
    fl_node *nodes;
    uint32_t memo_used, pool_used, nodes_used;
    uint32_t holes; /* memo slots below memo_used that are not set */
    uint32_t room;  /* for so many containers more */
    size_t names;   /* for so many characters of globals more */
    uint8_t protocol;
    bool may_cycle; /* something was put into a container that had been met before */
    uint32_t marks[FL_OPEN_MARKS];
    fl_chunk *scratch; /* texts that are in no frame; they live as long as the reading */
} fl_reader;

/* Reads one pickle; its value, whose texts point into data, is in *out. */
int fl_reader_read(fl_reader *reader, const uint8_t *data, size_t len, fl_value *out);

/* Room for a text of len bytes; NULL: no memory. */
uint8_t *fl_reader_scratch(fl_reader *reader, size_t len);

/* A chain of values, one after the other: NULL behind the last. */
typedef struct fl_walk {
    const fl_reader *reader;
    const fl_value *next, *end;
    uint32_t batch; /* the batch behind this one */
} fl_walk;

static inline void fl_walk_enter(fl_walk *walk, uint32_t batch)
{
    const fl_value *head = &walk->reader->pool[batch];
    walk->next = head + 1;
    walk->end = batch ? head + 1 + head->len : walk->next;
    walk->batch = batch ? head->at.node : 0;
}

static inline fl_walk fl_walk_over(const fl_reader *reader, const fl_items *items)
{
    fl_walk walk = {.reader = reader};
    fl_walk_enter(&walk, items->first);
    return walk;
}

static inline const fl_value *fl_walk_next(fl_walk *walk)
{
    if (walk->next == walk->end) {
        if (!walk->batch)
            return NULL;
        fl_walk_enter(walk, walk->batch);
    }
    return walk->next++;
}

static inline bool fl_is_text(const fl_value *value)
{
    return value->kind == FL_K_TEXT || value->kind == FL_K_ODD || value->kind == FL_K_BYTES;
}

static inline bool fl_is_str(const fl_value *value)
{
    return value->kind == FL_K_TEXT || value->kind == FL_K_ODD;
}

static inline bool fl_is_sequence(const fl_value *value)
{
    return value->kind >= FL_K_LIST && value->kind <= FL_K_TUPLE;
}

static inline bool fl_is_container(const fl_value *value)
{
    return value->kind >= FL_K_LIST && value->kind <= FL_K_DICT;
}

static inline bool fl_has_node(const fl_value *value)
{
    return value->kind >= FL_K_LIST && value->kind <= FL_K_OBJECT && value->at.node;
}

static inline const fl_node *fl_node_of(const fl_reader *reader, const fl_value *value)
{
    return &reader->nodes[value->at.node];
}

/* Whether it is None, or a text or container with nothing in it. */
static inline bool fl_is_empty(const fl_reader *reader, const fl_value *value)
{
    return value->kind == FL_K_NONE || (fl_is_text(value) && !value->len) ||
           (fl_is_container(value) && !fl_node_of(reader, value)->items.len);
}

static inline const fl_value *fl_parts_of(const fl_reader *reader, const fl_value *object)
{
    return &reader->pool[fl_node_of(reader, object)->parts + 1];
}

/* ---- literals.c: the value that a line of text spells ---- */

int fl_literal_int(const uint8_t *text, size_t len, fl_value *out);
int fl_literal_long(const uint8_t *text, size_t len, fl_value *out);
int fl_literal_float(const uint8_t *text, size_t len, fl_value *out);

/* The repr() of a str of Python 2. */
int fl_literal_string(fl_reader *reader, const uint8_t *text, size_t len, fl_value *out);

/* Raw Unicode escapes. */
int fl_literal_unicode(fl_reader *reader, const uint8_t *text, size_t len, fl_value *out);

/* ---- objects.c ---- */

/* The classes whose objects are rendered here, because many records have them. */
enum fl_known {
    FL_O_OTHER,
    FL_O_ENCODE, /* what protocol 2 and less calls for bytes */
    FL_O_BYTES,
    FL_O_SET,
    FL_O_DATETIME,
    FL_O_TIMEDELTA,
    FL_O_TIMEZONE,
    FL_O_ZONEINFO,
    FL_O_GETATTR,
    FL_O_DECIMAL,
    FL_O_UUID,
    FL_O_OBJECT,
    FL_O_RECONSTRUCTOR,
};

/* Which of them the text "module:name" is, in a pickle of this protocol. */
uint8_t fl_object_known(const fl_value *name, uint8_t protocol);

enum { FL_NAME_MOST = 513 };

/* An object of a class that stands for nothing else: what is written of it. */
typedef struct fl_shown {
    char name[FL_NAME_MOST]; /* module.Class */
    size_t name_len;
    const fl_items *args;  /* NULL: it has none */
    const fl_value *state; /* the same */
} fl_shown;

/* FL_PLAIN: the object is written as it came. FL_FALLBACK: Python has to tell. */
int fl_object_show(const fl_reader *reader, const fl_value *object, const fl_meanings *meanings,
                   fl_shown *out);

/* What an object stands for. FL_PLAIN: *out is a text (FL_K_TEXT, FL_K_ODD, FL_K_BYTES), made of no
 * more than `most` bytes, or a sequence, which is to be written in its place. FL_FALLBACK: Python
 * has to tell. */
int fl_object_read(fl_reader *reader, const fl_value *object, size_t most, fl_value *out);

/* ---- text.c ---- */

enum fl_text {
    FL_TEXT_CLEAN,   /* UTF-8 */
    FL_TEXT_ODD,     /* UTF-8, with NULs or lone surrogates in it */
    FL_TEXT_INVALID, /* neither */
};

int fl_text_check(const uint8_t *text, size_t len);

/* Bytes of the first characters of a text, of `*characters` at most, which becomes how many they
 * are. */
size_t fl_text_head(const uint8_t *text, size_t len, size_t *characters);

/* The bytes of an escaped text: what is no UTF-8 as \xNN, NUL as \x00, and lone surrogates as
 * \udNNN where `surrogates` (a str has them, bytes do not). With out == NULL it only counts. */
size_t fl_text_escape(const uint8_t *text, size_t len, bool surrogates, uint8_t *out);

/* Whether len bytes are the same; for short ones, without a call. */
static inline bool fl_same(const void *a, const void *b, size_t len)
{
    const uint8_t *p = a, *q = b;
    uint64_t x, y, differ = 0;
    if (len < 4) {
        for (size_t i = 0; i < len; i++)
            differ |= (uint64_t)(p[i] ^ q[i]);
        return !differ;
    }
    if (len < 8) { /* the two halves overlap */
        uint32_t v, w;
        memcpy(&v, p, 4);
        memcpy(&w, q, 4);
        differ = v ^ w;
        memcpy(&v, p + len - 4, 4);
        memcpy(&w, q + len - 4, 4);
        return !(differ | (v ^ w));
    }
    for (size_t at = 0; at < len - 8 && !differ; at += 8) {
        memcpy(&x, p + at, 8);
        memcpy(&y, q + at, 8);
        differ = x ^ y;
    }
    memcpy(&x, p + len - 8, 8);
    memcpy(&y, q + len - 8, 8);
    return !(differ | (x ^ y));
}

/* Makes room for n more bytes; false: no memory. */
bool fl_bytes_reserve(fl_bytes *bytes, size_t n);
void fl_bytes_add(fl_bytes *bytes, const void *data, size_t n);

/* The text as a JSON string, quotes included. */
void fl_json_text(fl_bytes *out, const uint8_t *text, size_t len);

/* The same where there is room for it; returns where it ends. */
uint8_t *fl_json_put(uint8_t *to, const uint8_t *text, size_t len);

/* Room for it: no less than it takes, and not much more if it is long. */
size_t fl_json_room(const uint8_t *text, size_t len);

/* Bytes that this makes of it, without the quotes. */
size_t fl_json_length(const uint8_t *text, size_t len);

extern const uint64_t FL_TENS[20]; /* 10^n */

/* The last n digits of a number below 10^n; returns where they end. */
char *fl_padded_write(uint64_t value, unsigned n, char *out);

/* In decimal; returns the length. */
size_t fl_natural_write(uint64_t value, char out[20]);
size_t fl_integer_write(int64_t value, char out[21]);

/* ---- shortest.c ---- */

enum { FL_POWER_MIN = -292, FL_POWER_MAX = 324, FL_FLOAT_TEXT = 32 };

/* 10^n in 128 bits, rounded up, for n from FL_POWER_MIN to FL_POWER_MAX. */
typedef struct fl_powers {
    struct {
        uint64_t high, low;
    } of[FL_POWER_MAX - FL_POWER_MIN + 1];
} fl_powers;

void fl_powers_prepare(fl_powers *powers);

/* The shortest decimal that reads back as this finite float; of those, the closest. In digits from
 * 1e-5 to below 1e16, else with an exponent; always with a point or an exponent. */
size_t fl_float_write(const fl_powers *powers, double value, char out[FL_FLOAT_TEXT]);

/* ---- row.c ---- */

typedef struct fl_row fl_row;

fl_row *fl_row_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                   const fl_meanings *meanings, enum fl_form form);
void fl_row_free(fl_row *row);

/* Begins a block: forgets what the pickle of the last one had in its memo. */
void fl_row_begin(fl_row *row, double received, uint64_t offset);

/* Adds the row of this record to `plain`, where it is plain, else, with what is left to Python as a
 * tree, to `rows`. Returns FL_PLAIN, FL_EXTRA, FL_TREE, or why there is none. */
int fl_row_add(fl_row *row, fl_reader *reader, const fl_value *record, size_t frame_len,
               const fl_value *host, uint32_t idx, fl_bytes *plain, fl_bytes *rows);

#endif
