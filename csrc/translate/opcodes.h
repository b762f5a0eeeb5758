/* opcodes.h: the opcodes of the pickle that the translator writes. Pure. */
#ifndef FASTLOG_OPCODES_H
#define FASTLOG_OPCODES_H

#include "values.h"

enum {
    FL_OPCODE_MOST = 11
}; /* bytes that an opcode takes beside the bytes of a text, and a MEMOIZE */

static inline uint8_t *fl_op_little(uint8_t *to, uint64_t value, int width)
{
    for (int i = 0; i < width; i++)
        *to++ = (uint8_t)(value >> 8 * i);
    return to;
}

static inline uint8_t *fl_op_integer(uint8_t *to, int64_t value)
{
    if (value >= 0 && value <= UINT8_MAX) {
        *to++ = 'K';
        return fl_op_little(to, (uint64_t)value, 1);
    }
    if (value >= 0 && value <= UINT16_MAX) {
        *to++ = 'M';
        return fl_op_little(to, (uint64_t)value, 2);
    }
    if (value >= INT32_MIN && value <= INT32_MAX) {
        *to++ = 'J';
        return fl_op_little(to, (uint64_t)value, 4);
    }
    *to++ = 0x8a; /* LONG1 */
    *to++ = 8;
    return fl_op_little(to, (uint64_t)value, 8);
}

static inline uint8_t *fl_op_float(uint8_t *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    *to++ = 'G';
    for (int shift = 56; shift >= 0; shift -= 8)
        *to++ = (uint8_t)(bits >> shift);
    return to;
}

static inline uint8_t *fl_op_text(uint8_t *to, const uint8_t *text, size_t len)
{
    if (len <= UINT8_MAX) {
        *to++ = 0x8c; /* SHORT_BINUNICODE */
        *to++ = (uint8_t)len;
    } else {
        *to++ = 'X'; /* BINUNICODE */
        to = fl_op_little(to, len, 4);
    }
    memcpy(to, text, len);
    return to + len;
}

static inline uint8_t *fl_op_get(uint8_t *to, uint32_t memo)
{
    *to++ = memo <= UINT8_MAX ? 'h' : 'j'; /* BINGET, LONG_BINGET */
    return fl_op_little(to, memo, memo <= UINT8_MAX ? 1 : 4);
}

#endif
