/* opcode_write.h: writes single opcodes of the translation. For the files that write the pickle.
 *
 * Each function writes at `to`, which has room for FL_OPCODE_MAX bytes besides the bytes of a text,
 * and returns the end of what it wrote.
 */
#ifndef FL_TRANSLATE_OPCODE_WRITE_H
#define FL_TRANSLATE_OPCODE_WRITE_H

#include "opcodes.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of an opcode and its argument, and of a MEMOIZE after it; the bytes of a text excluded. */
enum { FL_OPCODE_MAX = 11 };

/* Writes the lowest `width` bytes of an integer, little-endian, without an opcode. */
static inline uint8_t *fl_put_little(uint8_t *to, uint64_t value, int width)
{
    for (int i = 0; i < width; i++)
        *to++ = (uint8_t)(value >> 8 * i);
    return to;
}

static inline uint8_t *fl_put_integer(uint8_t *to, int64_t value)
{
    if (value >= 0 && value <= UINT8_MAX) {
        *to++ = FL_OP_BININT1;
        return fl_put_little(to, (uint64_t)value, 1);
    }
    if (value >= 0 && value <= UINT16_MAX) {
        *to++ = FL_OP_BININT2;
        return fl_put_little(to, (uint64_t)value, 2);
    }
    if (value >= INT32_MIN && value <= INT32_MAX) {
        *to++ = FL_OP_BININT;
        return fl_put_little(to, (uint64_t)value, 4);
    }
    *to++ = FL_OP_LONG1;
    *to++ = 8;
    return fl_put_little(to, (uint64_t)value, 8);
}

static inline uint8_t *fl_put_float(uint8_t *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    *to++ = FL_OP_BINFLOAT;
    for (int shift = 56; shift >= 0; shift -= 8)
        *to++ = (uint8_t)(bits >> shift);
    return to;
}

/* Writes a str of these bytes, which are UTF-8. */
static inline uint8_t *fl_put_text(uint8_t *to, const uint8_t *text, size_t len)
{
    if (len <= UINT8_MAX) {
        *to++ = FL_OP_SHORT_BINUNICODE;
        *to++ = (uint8_t)len;
    } else {
        *to++ = FL_OP_BINUNICODE;
        to = fl_put_little(to, len, 4);
    }
    memcpy(to, text, len);
    return to + len;
}

/* Fetches a slot of the memo. */
static inline uint8_t *fl_put_get(uint8_t *to, uint32_t slot)
{
    *to++ = slot <= UINT8_MAX ? FL_OP_BINGET : FL_OP_LONG_BINGET;
    return fl_put_little(to, slot, slot <= UINT8_MAX ? 1 : 4);
}

#endif
