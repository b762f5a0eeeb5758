/* machine.h: the memory of the unpickler; and the state of one reading, with its stack and its
 * marks. For the files of the unpickler. */
#ifndef FL_TRANSLATE_MACHINE_H
#define FL_TRANSLATE_MACHINE_H

#include "values.h"

enum {
    FL_MARKS_MAX = 10000,        /* marks that are open at once */
    FL_SLOTS = 1 << 17,          /* values of the stack, and of the memo */
    FL_NAME_CHARACTERS_MAX = 256 /* characters of a module, and of a name in it, that are kept */
};

/* What is needed to read pickles, one after the other. The sizes are fixed, as those of the pool.
 */
typedef struct fl_unpickler {
    fl_pool pool;
    fl_value *stack, *memo;
    uint32_t memo_used;
    uint32_t memo_unset;          /* slots below memo_used that are not set */
    uint32_t containers_left;     /* until FL_CONTAINERS_MAX */
    size_t name_characters_left;  /* characters of globals, until the bound for this pickle */
    uint8_t protocol;             /* the highest that a PROTO has named so far */
    uint32_t marks[FL_MARKS_MAX]; /* for each MARK: the position on the stack of the one before */
} fl_unpickler;

/* The state of one reading. */
typedef struct fl_machine {
    fl_unpickler *unpickler;
    const uint8_t *p, *end;      /* the next byte; the end of the FRAME, or of the pickle */
    const uint8_t *start, *stop; /* of the pickle */
    fl_value *sp;                /* after the topmost value */
    fl_value *base;              /* the first value after the last mark */
    fl_value *limit;             /* of the stack */
    uint32_t marks;              /* how many are open */
    bool in_frame;
} fl_machine;

static inline uint32_t fl_little32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | (uint32_t)p[0];
}

static inline uint64_t fl_little64(const uint8_t *p)
{
    return (uint64_t)fl_little32(p + 4) << 32 | fl_little32(p);
}

/* Returns the bytes that are not read yet. */
static inline size_t fl_machine_remaining(const fl_machine *m)
{
    return (size_t)(m->end - m->p);
}

/* Returns the number of values after the last mark. */
static inline size_t fl_machine_depth(const fl_machine *m)
{
    return (size_t)(m->sp - m->base);
}

/* Pushes a value that has nothing but a kind. The loop has checked that there is room for one. */
static inline void fl_machine_push(fl_machine *m, uint8_t kind)
{
    *m->sp++ = (fl_value){.kind = kind};
}

static inline int fl_machine_mark(fl_machine *m)
{
    if (m->marks == FL_MARKS_MAX)
        return FL_BAD_DEPTH;
    m->unpickler->marks[m->marks++] = (uint32_t)(m->base - m->unpickler->stack);
    m->base = m->sp;
    return FL_PLAIN;
}

/* Removes the last mark and the n values after it, which stay at *values until the next push. */
static inline int fl_machine_pop_mark(fl_machine *m, fl_value **values, size_t *n)
{
    if (!m->marks)
        return FL_BAD_UNDERFLOW;
    *values = m->base;
    *n = fl_machine_depth(m);
    m->sp = m->base;
    m->base = m->unpickler->stack + m->unpickler->marks[--m->marks];
    return FL_PLAIN;
}

/* Returns the length of the line that begins here, without its line feed, in *len. */
static inline int fl_machine_line(const fl_machine *m, size_t *len)
{
    const uint8_t *newline = memchr(m->p, '\n', fl_machine_remaining(m));
    if (!newline)
        return FL_BAD_TRUNCATED;
    *len = (size_t)(newline - m->p);
    return FL_PLAIN;
}

/* Counts a container or an object. Returns false if it is one too many. */
static inline bool fl_machine_count_container(fl_machine *m)
{
    return m->unpickler->containers_left && m->unpickler->containers_left--;
}

#endif
