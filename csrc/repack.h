/* repack.h: what the files of the translator share. Pure, like them.
 *
 *   unpick.c    reads one pickle into values, and refuses what is none
 *   objects.c   the few well-known classes whose objects are values too
 *   row.c       a dict of values becomes a row; row.h says with whose help
 *   text.c      UTF-8, escapes, JSON strings
 *   shortest.c  floats in decimal
 *   repack.c    the runs of a block go in, its rows come out
 *
 * Every function that can set a frame aside returns a verdict: FL_PLAIN (0) to go on, FL_FOREIGN or
 * a rejection to stop with this frame. FL_ENOMEM, negative, ends the whole block.
 */
#ifndef FASTLOG_REPACK_H
#define FASTLOG_REPACK_H

#include "fastlog.h"

#include <string.h>

/* What a value is. Containers hold `len` values in batches, dicts key and value in turn. */
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
    FL_K_LIST,
    FL_K_SET,
    FL_K_DICT,
    FL_K_TUPLE,
    FL_K_GLOBAL, /* its dotted name at at.text; `object` says which, if we know it */
    FL_K_UUID,   /* a UUID that waits for its state */
    FL_K_OBJECT, /* of any other class: its global, arguments and state are a batch */
    FL_K_DELTA,  /* a timedelta: at.integer microseconds */
    FL_K_ZONE,   /* a timezone: at.integer seconds east of UTC */
    FL_K_BATCH,  /* not a value: heads a batch of `len` of them; at.items.first is the next one */
};

typedef struct fl_value {
    uint8_t kind;
    uint8_t object; /* enum fl_known: it came as an object of that class; 0: as itself */
    uint32_t len;
    union {
        int64_t integer;
        uint64_t natural;
        double real;
        const uint8_t *text;
        struct {
            uint32_t first, last; /* batches in the pool; 0 for none */
        } items;
    } at;
} fl_value;

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

enum { FL_OPEN_MARKS = 10000 };

/* One pickle that is being read. Stack, pool and memo have fixed sizes: a frame that needs more
 * goes to the Python reader. Memory that is not touched costs nothing, so they are made at once. */
typedef struct fl_reader {
    uint32_t slots; /* of stack and memo; the pool has twice as many */
    fl_value *stack, *pool, *memo;
    uint32_t pool_used, memo_used;
    uint32_t holes; /* memo slots below memo_used that are not set */
    uint32_t marks[FL_OPEN_MARKS];
    fl_chunk *scratch; /* texts that are in no frame; they live as long as the reading */
} fl_reader;

/* Reads one pickle; its value, whose texts point into data, is in *out. */
int fl_reader_read(fl_reader *reader, const uint8_t *data, size_t len, fl_value *out);

/* Puts n values, at least one, into the pool; the batch is in *batch. FL_FOREIGN: it is full. */
int fl_reader_batch(fl_reader *reader, const fl_value *values, size_t n, uint32_t *batch);

/* Room for a text of len bytes; NULL: no memory. */
uint8_t *fl_reader_scratch(fl_reader *reader, size_t len);

/* The values of a container, one after the other: NULL behind the last. */
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
    walk->batch = batch ? head->at.items.first : 0;
}

static inline fl_walk fl_walk_over(const fl_reader *reader, const fl_value *container)
{
    fl_walk walk = {.reader = reader};
    fl_walk_enter(&walk, container->at.items.first);
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

/* ---- objects.c ---- */

enum fl_known {
    FL_O_NONE,
    FL_O_ENCODE,
    FL_O_BYTES,
    FL_O_BYTEARRAY,
    FL_O_SET,
    FL_O_DICT,
    FL_O_DEFAULTDICT,
    FL_O_DATETIME,
    FL_O_DATE,
    FL_O_TIME,
    FL_O_TIMEDELTA,
    FL_O_TIMEZONE,
    FL_O_UTC,
    FL_O_DECIMAL,
    FL_O_UUID,
    FL_O_PATH,
    FL_O_VALUE,
    FL_O_OBJECT,
    FL_O_TUPLE,
    FL_O_RECONSTRUCTOR,
    FL_O_STRANGE, /* a class that only the Python reader knows */
    FL_O_OTHER,   /* one that nobody knows */
};

enum { FL_OBJECT_CLASS, FL_OBJECT_ARGS, FL_OBJECT_STATE, FL_OBJECT_PARTS };

/* Makes *out the global of this module and name. */
int fl_object_global(fl_reader *reader, const fl_value *module, const fl_value *name,
                     fl_value *out);

/* Makes *out what factory(*args) stands for, without calling anything. */
int fl_object_call(fl_reader *reader, const fl_value *factory, const fl_value *args, fl_value *out);

/* Gives *object its state. */
int fl_object_build(fl_reader *reader, const fl_value *state, fl_value *object);

enum { FL_DELTA_TEXT = 64 };

/* A timedelta as str() shows it; returns the length. */
size_t fl_object_delta(int64_t microseconds, char out[FL_DELTA_TEXT]);

/* ---- text.c ---- */

enum fl_text {
    FL_TEXT_CLEAN,   /* UTF-8 */
    FL_TEXT_ODD,     /* UTF-8, with NULs or lone surrogates in it */
    FL_TEXT_INVALID, /* neither */
};

int fl_text_check(const uint8_t *text, size_t len);

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

fl_row *fl_row_new(const fl_column *columns, size_t n, const fl_bounds *bounds, enum fl_form form);
void fl_row_free(fl_row *row);

/* Begins a block: forgets what the pickle of the last one had in its memo. */
void fl_row_begin(fl_row *row, double received, uint64_t offset);

/* Adds the row of this record to out. */
int fl_row_add(fl_row *row, fl_reader *reader, const fl_value *record, size_t frame_len,
               const fl_value *host, uint32_t idx, fl_bytes *out);

#endif
