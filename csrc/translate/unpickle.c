/* unpickle.c: the loop over the opcodes of one pickle. Pure.
 *
 * Reads a pickle to the same values as fastlog/decode/unpickle.py and pickle_machine.py, or rejects
 * it for the same reason, so the checks are in the same order. Only what is larger than the arrays
 * is FL_FALLBACK.
 *
 * Time and memory are linear in the frame: nothing is allocated by what the frame announces.
 */
#include "unpickle.h"
#include "construct.h"
#include "containers.h"
#include "memo.h"
#include "opcodes.h"
#include "scalars.h"
#include "text.h"

#include <stdlib.h>

enum {
    PROTOCOL_MAX = 5,
    NAME_CHARACTERS_TIMES = 2,   /* characters of globals for each byte of the pickle, */
    NAME_CHARACTERS_MORE = 1024, /* and so many more */
};

bool fl_unpickler_init(fl_unpickler *unpickler)
{
    unpickler->stack = malloc(FL_SLOTS * sizeof *unpickler->stack);
    unpickler->memo = malloc(FL_SLOTS * sizeof *unpickler->memo);
    return fl_pool_init(&unpickler->pool) && unpickler->stack && unpickler->memo;
}

void fl_unpickler_free(fl_unpickler *unpickler)
{
    free(unpickler->stack);
    free(unpickler->memo);
    fl_pool_free(&unpickler->pool);
}

static uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static fl_value binary_float(const uint8_t *p)
{
    uint64_t bits = (uint64_t)big32(p) << 32 | big32(p + 4);
    fl_value value = {.kind = FL_K_FLOAT};
    memcpy(&value.at.real, &bits, sizeof bits);
    return value;
}

static int proto(fl_machine *m)
{
    if (!fl_machine_remaining(m))
        return FL_BAD_TRUNCATED;
    uint8_t version = *m->p++;
    if (version > PROTOCOL_MAX)
        return FL_BAD_PROTOCOL;
    if (version > m->unpickler->protocol)
        m->unpickler->protocol = version;
    return FL_PLAIN;
}

static int frame(fl_machine *m)
{
    if (m->in_frame)
        return FL_BAD_NESTED_FRAME;
    if (fl_machine_remaining(m) < 8)
        return FL_BAD_TRUNCATED;
    uint64_t len = fl_little64(m->p);
    m->p += 8;
    if (len < 1 || len > fl_machine_remaining(m))
        return FL_BAD_FRAME_LENGTH;
    m->end = m->p + len;
    m->in_frame = true;
    return FL_PLAIN;
}

static int pop_mark(fl_machine *m)
{
    fl_value *values;
    size_t n;
    return fl_machine_pop_mark(m, &values, &n);
}

static int stop(fl_machine *m, fl_value *out)
{
    if (m->p != m->stop)
        return FL_BAD_TRAILING;
    if (m->marks)
        return FL_BAD_OPEN_MARK;
    if (fl_machine_depth(m) != 1)
        return FL_BAD_RESULT;
    *out = m->sp[-1];
    return FL_PLAIN;
}

/* Carries out one opcode; m->p is after it. */
static int step(fl_machine *m, uint8_t opcode)
{
    switch (opcode) {
    case FL_OP_PROTO: return proto(m);
    case FL_OP_FRAME: return frame(m);
    case FL_OP_MARK: return fl_machine_mark(m);
    case FL_OP_MEMOIZE: return fl_memo_memoize(m);
    case FL_OP_BINPUT: /* not into the next slot: run() does that */
        m->p++;
        return fl_memo_put(m, m->p[-1]);
    case FL_OP_LONG_BINPUT:
        if (fl_machine_remaining(m) < 4)
            return FL_BAD_TRUNCATED;
        m->p += 4;
        return fl_memo_put(m, fl_little32(m->p - 4));
    case FL_OP_BINGET:
        if (!fl_machine_remaining(m))
            return FL_BAD_TRUNCATED;
        return fl_memo_get(m, *m->p++);
    case FL_OP_LONG_BINGET:
        if (fl_machine_remaining(m) < 4)
            return FL_BAD_TRUNCATED;
        m->p += 4;
        return fl_memo_get(m, fl_little32(m->p - 4));
    case FL_OP_NEWTRUE: fl_machine_push(m, FL_K_TRUE); return FL_PLAIN;
    case FL_OP_NEWFALSE: fl_machine_push(m, FL_K_FALSE); return FL_PLAIN;
    case FL_OP_BININT:
        if (fl_machine_remaining(m) < 4)
            return FL_BAD_TRUNCATED;
        m->p += 4;
        *m->sp++ = (fl_value){.kind = FL_K_INT, .at.integer = (int32_t)fl_little32(m->p - 4)};
        return FL_PLAIN;
    case FL_OP_INT:
    case FL_OP_LONG:
    case FL_OP_FLOAT:
    case FL_OP_STRING:
    case FL_OP_UNICODE: return fl_scalar_literal(m, opcode);
    case FL_OP_LONG1: return fl_scalar_long(m, 1);
    case FL_OP_LONG4: return fl_scalar_long(m, 4);
    case FL_OP_BINSTRING: return fl_scalar_bytes(m, 4, true);
    case FL_OP_SHORT_BINBYTES: return fl_scalar_bytes(m, 1, false);
    case FL_OP_BINBYTES: return fl_scalar_bytes(m, 4, false);
    case FL_OP_BINBYTES8: return fl_scalar_bytes(m, 8, false);
    case FL_OP_BYTEARRAY8: return fl_scalar_bytes(m, 8, false);
    case FL_OP_BINUNICODE8: return fl_scalar_text(m, 8);
    case FL_OP_PUT: return fl_scalar_put(m);
    case FL_OP_GET: return fl_scalar_get(m);
    case FL_OP_EMPTY_TUPLE: fl_machine_push(m, FL_K_TUPLE); return FL_PLAIN;
    case FL_OP_EMPTY_LIST: return fl_container_empty(m, FL_K_LIST);
    case FL_OP_EMPTY_DICT: return fl_container_empty(m, FL_K_DICT);
    case FL_OP_EMPTY_SET: return fl_container_empty(m, FL_K_SET);
    case FL_OP_TUPLE:
    case FL_OP_FROZENSET: return fl_container_from_mark(m, FL_K_TUPLE);
    case FL_OP_LIST: return fl_container_from_mark(m, FL_K_LIST);
    case FL_OP_DICT: return fl_container_from_mark(m, FL_K_DICT);
    case FL_OP_TUPLE1: return fl_container_tuple(m, 1);
    case FL_OP_TUPLE2: return fl_container_tuple(m, 2);
    case FL_OP_TUPLE3: return fl_container_tuple(m, 3);
    case FL_OP_APPEND: return fl_container_add(m, FL_K_LIST, 1);
    case FL_OP_APPENDS: return fl_container_add_from_mark(m, FL_K_LIST);
    case FL_OP_SETITEM: return fl_container_add(m, FL_K_DICT, 2);
    case FL_OP_SETITEMS: return fl_container_add_from_mark(m, FL_K_DICT);
    case FL_OP_ADDITEMS: return fl_container_add_from_mark(m, FL_K_SET);
    case FL_OP_GLOBAL: return fl_construct_global(m);
    case FL_OP_STACK_GLOBAL: return fl_construct_stack_global(m);
    case FL_OP_REDUCE:
    case FL_OP_NEWOBJ: return fl_construct_reduce(m);
    case FL_OP_NEWOBJ_EX: return fl_construct_newobj_ex(m);
    case FL_OP_OBJ: return fl_construct_inst(m, false);
    case FL_OP_INST: return fl_construct_inst(m, true);
    case FL_OP_BUILD: return fl_construct_build(m);
    case FL_OP_POP: return fl_construct_pop(m);
    case FL_OP_POP_MARK: return pop_mark(m);
    case FL_OP_DUP: return FL_FORBIDDEN_DUP;
    case FL_OP_PERSID: return FL_FORBIDDEN_PERSID;
    case FL_OP_BINPERSID: return FL_FORBIDDEN_BINPERSID;
    case FL_OP_EXT1: return FL_FORBIDDEN_EXT1;
    case FL_OP_EXT2: return FL_FORBIDDEN_EXT2;
    case FL_OP_EXT4: return FL_FORBIDDEN_EXT4;
    case FL_OP_NEXT_BUFFER: return FL_FORBIDDEN_NEXT_BUFFER;
    case FL_OP_READONLY_BUFFER: return FL_FORBIDDEN_READONLY_BUFFER;
    default: return FL_BAD_OPCODE;
    }
}

/* Whether all bytes are from 1 to 7F. */
static inline bool is_clean_ascii(const uint8_t *p, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t word, last;
    if (len >= 8) {
        memcpy(&last, p + len - 8, 8);
        word = (last - ones) | last;
        for (; len > 8; p += 8, len -= 8) {
            memcpy(&last, p, 8);
            word |= (last - ones) | last;
            if (len < 16)
                break;
        }
        return !(word & highs);
    }
    if (len >= 4) { /* the two halves overlap */
        uint32_t begin, end;
        memcpy(&begin, p, 4);
        memcpy(&end, p + len - 4, 4);
        word = (uint64_t)begin << 32 | end;
        return !(((word - ones) | word) & highs);
    }
    for (size_t i = 0; i < len; i++)
        if (p[i] - 1u > 0x7E)
            return false;
    return true;
}

/* Carries out all opcodes. Those that make up nearly all of a record are in the loop itself, on
 * copies of p and sp that the compiler can keep in registers; step() does the others. */
static int run(fl_machine *m, fl_value *out)
{
    fl_unpickler *unpickler = m->unpickler;
    const uint8_t *p = m->p, *end = m->end;
    fl_value *sp = m->sp;
    fl_value made = {0}; /* a text or bytes */
    size_t len;
    int verdict;

    for (;;) {
        if (p == end) {
            if (end == m->stop)
                return FL_BAD_NO_STOP;
            end = m->end = m->stop;
            m->in_frame = false;
        }
        if (sp == m->limit) /* no opcode pushes more than one value */
            return FL_FALLBACK;
        switch (*p) {
        case FL_OP_BINUNICODE:
            if (end - p < 5)
                return FL_BAD_TRUNCATED;
            len = fl_little32(p + 1);
            p += 5;
            goto text;
        case FL_OP_SHORT_BINUNICODE:
            if (end - p < 2)
                return FL_BAD_TRUNCATED;
            len = p[1];
            p += 2;
        text:
            if ((size_t)(end - p) < len)
                return FL_BAD_TRUNCATED;
            made.kind = FL_K_TEXT;
            if (!is_clean_ascii(p, len)) {
                int found = fl_text_check(p, len);
                if (found == FL_TEXT_INVALID)
                    return FL_BAD_UTF8;
                made.kind = found == FL_TEXT_CLEAN ? FL_K_TEXT : FL_K_UNCLEAN;
            }
        push_made:
            made.len = (uint32_t)len;
            made.at.text = p;
            *sp++ = made;
            p += len;
            if (end - p < 2 || *p != FL_OP_BINPUT || p[1] != unpickler->memo_used)
                continue;
            /* Reading the value back from the stack here would stall. */
            unpickler->memo[unpickler->memo_used++] = made;
            p += 2;
            continue;
        case FL_OP_BINPUT:
            if (end - p < 2)
                return FL_BAD_TRUNCATED;
            if (p[1] != unpickler->memo_used) /* which is below FL_SLOTS */
                break;
            if (sp == m->base)
                return FL_BAD_UNDERFLOW;
            unpickler->memo[unpickler->memo_used++] = sp[-1];
            p += 2;
            continue;
        case FL_OP_SHORT_BINSTRING:
            if (end - p < 2)
                return FL_BAD_TRUNCATED;
            len = p[1];
            p += 2;
            if ((size_t)(end - p) < len)
                return FL_BAD_TRUNCATED;
            made.kind = FL_K_BYTES;
            goto push_made;
        case FL_OP_NONE:
            *sp++ = (fl_value){.kind = FL_K_NONE};
            p++;
            continue;
        case FL_OP_BININT1:
            if (end - p < 2)
                return FL_BAD_TRUNCATED;
            *sp++ = (fl_value){.kind = FL_K_INT, .at.integer = p[1]};
            p += 2;
            continue;
        case FL_OP_BININT2:
            if (end - p < 3)
                return FL_BAD_TRUNCATED;
            *sp++ = (fl_value){.kind = FL_K_INT, .at.integer = p[1] | p[2] << 8};
            p += 3;
            continue;
        case FL_OP_BINFLOAT:
            if (end - p < 9)
                return FL_BAD_TRUNCATED;
            *sp++ = binary_float(p + 1);
            p += 9;
            continue;
        case FL_OP_STOP:
            m->p = p + 1;
            m->sp = sp;
            return stop(m, out);
        }
        m->p = p + 1;
        m->sp = sp;
        if ((verdict = step(m, *p)))
            return verdict;
        p = m->p;
        end = m->end;
        sp = m->sp;
    }
}

int fl_unpickler_read(fl_unpickler *unpickler, const uint8_t *data, size_t len, fl_value *out)
{
    fl_machine m = {.unpickler = unpickler,
                    .p = data,
                    .end = data + len,
                    .start = data,
                    .stop = data + len,
                    .sp = unpickler->stack,
                    .base = unpickler->stack,
                    .limit = unpickler->stack + FL_SLOTS};
    fl_pool_reset(&unpickler->pool);
    unpickler->memo_used = unpickler->memo_unset = 0;
    unpickler->containers_left = FL_CONTAINERS_MAX;
    unpickler->name_characters_left = NAME_CHARACTERS_TIMES * len + NAME_CHARACTERS_MORE;
    unpickler->protocol = 0;
    return run(&m, out);
}
