/* literals.c: the values that the opcodes of protocol 0 spell on a line. Pure.
 *
 * Accepts and rejects what fastlog/decode/literals.py does.
 */
#include "literals.h"
#include "text.h"

#include <stdlib.h>

enum {
    FLOAT_LENGTH = 64, /* bytes of a float at most */
    DIGITS_FIT = 19,   /* digits that always fit 64 bits */
};

/* Reads an integer as Python writes it: no plus, no spaces, no leading zeros. */
static int digits(const uint8_t *text, size_t len, fl_value *out)
{
    bool minus = len && text[0] == '-', fits = true;
    uint64_t natural = 0;
    size_t at = minus;

    if (at == len || (text[at] == '0' && len - at > 1))
        return FL_BAD_NUMBER;
    for (; at < len; at++) {
        unsigned digit = text[at] - (unsigned)'0';
        if (digit > 9)
            return FL_BAD_NUMBER;
        if (len > DIGITS_FIT && natural > (UINT64_MAX - digit) / 10)
            fits = false;
        natural = natural * 10 + digit;
    }
    if (!fits || (minus && natural > UINT64_C(1) << 63))
        *out = (fl_value){.kind = FL_K_BIG_DIGITS, .len = (uint32_t)len, .at.text = text};
    else if (!minus && natural >> 63)
        *out = (fl_value){.kind = FL_K_UINT, .at.natural = natural};
    else
        *out = (fl_value){.kind = FL_K_INT, .at.integer = (int64_t)(minus ? 0 - natural : natural)};
    return FL_PLAIN;
}

int fl_literal_int(const uint8_t *text, size_t len, fl_value *out)
{
    if (len == 2 && text[0] == '0' && (text[1] == '0' || text[1] == '1')) {
        *out = (fl_value){.kind = text[1] == '1' ? FL_K_TRUE : FL_K_FALSE};
        return FL_PLAIN;
    }
    return digits(text, len, out);
}

int fl_literal_long(const uint8_t *text, size_t len, fl_value *out)
{
    return len && text[len - 1] == 'L' ? digits(text, len - 1, out) : FL_BAD_NUMBER;
}

static size_t count_digits(const char *text)
{
    size_t n = 0;
    while (text[n] >= '0' && text[n] <= '9')
        n++;
    return n;
}

/* Whether this is a float as repr() spells it: 1.5, -2e+16, inf, nan. */
static bool spells_float(const char *text)
{
    text += *text == '-';
    if (strcmp(text, "inf") == 0 || strcmp(text, "nan") == 0)
        return true;
    size_t n = count_digits(text);
    if (!n)
        return false;
    text += n;
    if (*text == '.')
        text += 1 + count_digits(text + 1);
    if (*text == 'e') {
        text += text[1] == '+' || text[1] == '-' ? 2 : 1;
        n = count_digits(text);
        if (n < 1 || n > 3)
            return false;
        text += n;
    }
    return !*text;
}

int fl_literal_float(const uint8_t *text, size_t len, fl_value *out)
{
    char copy[FLOAT_LENGTH + 1];
    if (len > FLOAT_LENGTH || memchr(text, 0, len))
        return FL_BAD_NUMBER;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (!spells_float(copy))
        return FL_BAD_NUMBER;
    *out = (fl_value){.kind = FL_K_FLOAT, .at.real = strtod(copy, NULL)};
    return FL_PLAIN;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Returns the number that n hexadecimal digits spell, or -1. */
static int64_t hex(const uint8_t *p, size_t n)
{
    int64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static bool is_lower(uint8_t digit)
{
    return digit < 'A' || digit > 'F';
}

/* Returns the byte that an escape of repr() means, and moves *p past it; -1: it is no escape. *p is
 * after the backslash. */
static int unescape(const uint8_t **p, const uint8_t *end)
{
    static const char CODES[] = "n\nr\rt\t\\\\''\"\"";
    const uint8_t *at = *p;
    if (at == end)
        return -1;
    if (*at == 'x') {
        *p = at + 3;
        return end - at > 2 && is_lower(at[1]) && is_lower(at[2]) ? (int)hex(at + 1, 2) : -1;
    }
    *p = at + 1;
    for (size_t i = 0; CODES[i]; i += 2)
        if (*at == (uint8_t)CODES[i])
            return CODES[i + 1];
    return -1;
}

int fl_literal_string(fl_pool *pool, const uint8_t *text, size_t len, fl_value *out)
{
    if (len < 2)
        return FL_BAD_STRING;
    const uint8_t *p = text, *end = text + len - 1;
    if ((*p != '\'' && *p != '"') || *end != *p)
        return FL_BAD_STRING;
    uint8_t *made = fl_pool_scratch(pool, len), *to = made;
    if (!made)
        return FL_ENOMEM;
    for (p++; p < end;) {
        int byte = *p++;
        if (byte == '\\' && (byte = unescape(&p, end)) < 0)
            return FL_BAD_STRING;
        *to++ = (uint8_t)byte;
    }
    *out = (fl_value){.kind = FL_K_BYTES, .len = (uint32_t)(to - made), .at.text = made};
    return FL_PLAIN;
}

static uint8_t *put_utf8(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (uint8_t)c;
        return to;
    }
    static const uint8_t FIRST_BYTES[] = {0, 0xC0, 0xE0, 0xF0};
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *to++ = (uint8_t)(FIRST_BYTES[more] | c >> 6 * more);
    while (more--)
        *to++ = (uint8_t)(0x80 | (c >> 6 * more & 0x3F));
    return to;
}

/* Returns the character at *p, and moves *p past it: a byte of Latin-1, or \uXXXX or \UXXXXXXXX;
 * -1: an escape is incomplete or out of range. A backslash before another one begins no escape;
 * both are kept. *pair: the last character was the first backslash of two. */
static int64_t raw_character(const uint8_t **p, const uint8_t *end, bool *pair)
{
    const uint8_t *at = (*p)++;
    bool begins = *at == '\\' && !*pair;
    *pair = begins && end - at > 1 && at[1] == '\\';
    if (!begins || end - at < 2 || (at[1] != 'u' && at[1] != 'U'))
        return *at;
    size_t digits = at[1] == 'u' ? 4 : 8;
    if ((size_t)(end - at) < 2 + digits)
        return -1;
    int64_t found = hex(at + 2, digits);
    *p = at + 2 + digits;
    return found > 0x10FFFF ? -1 : found;
}

int fl_literal_unicode(fl_pool *pool, const uint8_t *text, size_t len, fl_value *out)
{
    const uint8_t *p = text, *end = p + len;
    uint8_t *made = fl_pool_scratch(pool, 2 * len), *to = made;
    if (!made)
        return FL_ENOMEM;
    for (bool pair = false; p < end;) {
        int64_t c = raw_character(&p, end, &pair);
        if (c < 0)
            return FL_BAD_UTF8;
        to = put_utf8(to, (uint32_t)c);
    }
    size_t n = (size_t)(to - made);
    *out = (fl_value){.kind = fl_text_check(made, n) == FL_TEXT_CLEAN ? FL_K_TEXT : FL_K_UNCLEAN,
                      .len = (uint32_t)n,
                      .at.text = made};
    return FL_PLAIN;
}
