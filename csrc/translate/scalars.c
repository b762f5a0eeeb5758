/* scalars.c: opcodes that push texts, bytes and integers. Pure. */
#include "scalars.h"
#include "literals.h"
#include "memo.h"
#include "opcodes.h"
#include "text.h"

enum { SLOT_DIGITS_MAX = 6 };

static void push_bytes(fl_machine *m, uint8_t kind, size_t len)
{
    *m->sp++ = (fl_value){.kind = kind, .len = (uint32_t)len, .at.text = m->p};
    m->p += len;
}

/* Reads a length of `width` bytes, which must fit what follows it. */
static int read_length(fl_machine *m, size_t width, bool is_signed, size_t *len)
{
    if (fl_machine_remaining(m) < width)
        return FL_BAD_TRUNCATED;
    uint64_t announced = width == 1 ? m->p[0] : width == 4 ? fl_little32(m->p) : fl_little64(m->p);
    if (is_signed && announced >> 31)
        return FL_BAD_LENGTH;
    m->p += width;
    if (announced > fl_machine_remaining(m))
        return FL_BAD_TRUNCATED;
    *len = (size_t)announced;
    return FL_PLAIN;
}

int fl_scalar_text(fl_machine *m, size_t width)
{
    size_t len;
    int verdict = read_length(m, width, false, &len);
    if (verdict)
        return verdict;
    int found = fl_text_check(m->p, len);
    if (found == FL_TEXT_INVALID)
        return FL_BAD_UTF8;
    push_bytes(m, found == FL_TEXT_CLEAN ? FL_K_TEXT : FL_K_UNCLEAN, len);
    return FL_PLAIN;
}

int fl_scalar_bytes(fl_machine *m, size_t width, bool is_signed)
{
    size_t len;
    int verdict = read_length(m, width, is_signed, &len);
    if (!verdict)
        push_bytes(m, FL_K_BYTES, len);
    return verdict;
}

int fl_scalar_long(fl_machine *m, size_t width)
{
    size_t len;
    int verdict = read_length(m, width, width > 1, &len);
    if (verdict)
        return verdict;
    if (len == 9 && m->p[8] == 0 && m->p[7] >> 7) {
        *m->sp++ = (fl_value){.kind = FL_K_UINT, .at.natural = fl_little64(m->p)};
        m->p += len;
        return FL_PLAIN;
    }
    if (len > 8) {
        push_bytes(m, FL_K_BIG_BYTES, len);
        return FL_PLAIN;
    }
    uint64_t bits = len && m->p[len - 1] >> 7 ? UINT64_MAX : 0;
    for (size_t i = len; i-- > 0;)
        bits = bits << 8 | m->p[i];
    m->p += len;
    *m->sp++ = (fl_value){.kind = FL_K_INT, .at.integer = (int64_t)bits};
    return FL_PLAIN;
}

int fl_scalar_literal(fl_machine *m, uint8_t opcode)
{
    size_t len;
    fl_value made;
    int verdict = fl_machine_line(m, &len);
    if (verdict)
        return verdict;
    switch (opcode) {
    case FL_OP_INT: verdict = fl_literal_int(m->p, len, &made); break;
    case FL_OP_LONG: verdict = fl_literal_long(m->p, len, &made); break;
    case FL_OP_FLOAT: verdict = fl_literal_float(m->p, len, &made); break;
    case FL_OP_STRING: verdict = fl_literal_string(&m->unpickler->pool, m->p, len, &made); break;
    default: verdict = fl_literal_unicode(&m->unpickler->pool, m->p, len, &made);
    }
    if (verdict)
        return verdict;
    *m->sp++ = made;
    m->p += len + 1;
    return FL_PLAIN;
}

/* Reads a memo slot on a line: one to six digits. */
static int read_slot(fl_machine *m, size_t *slot)
{
    size_t len;
    int verdict = fl_machine_line(m, &len);
    if (verdict)
        return verdict;
    if (len < 1 || len > SLOT_DIGITS_MAX)
        return FL_BAD_MEMO_INDEX;
    *slot = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = m->p[i] - (unsigned)'0';
        if (digit > 9)
            return FL_BAD_MEMO_INDEX;
        *slot = *slot * 10 + digit;
    }
    m->p += len + 1;
    return FL_PLAIN;
}

int fl_scalar_put(fl_machine *m)
{
    size_t slot;
    int verdict = read_slot(m, &slot);
    return verdict ? verdict : fl_memo_put(m, slot);
}

int fl_scalar_get(fl_machine *m)
{
    size_t slot;
    int verdict = read_slot(m, &slot);
    return verdict ? verdict : fl_memo_get(m, slot);
}
