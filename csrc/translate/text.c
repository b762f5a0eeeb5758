/* text.c: UTF-8, the escapes of what is none, JSON strings, integers. Pure. */
#include "values.h"

#include <stdlib.h>
#include <string.h>

enum {
    JSON_WORST = 6, /* bytes that are made of one */
    JSON_SMALL = 4096,
    EIGHT = 8, /* digits that fit 32 bits */
    TEN_TO_EIGHT = 100000000,
};

const uint64_t FL_TENS[20] = {
    UINT64_C(1),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    UINT64_C(100000000),
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
    UINT64_C(1000000000000000000),
    UINT64_C(10000000000000000000),
};

static const char HEX[] = "0123456789abcdef";

/* Bytes of the character here: 1 to 4, 0 for none, -3 for a lone surrogate. */
static int character(const uint8_t *p, size_t len)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4 || len < 2)
        return 0;
    /* Only the second byte has narrower bounds than 80..BF, by the first. */
    uint8_t low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = p[0] == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high)
        return 0;
    if (p[0] < 0xE0)
        return 2;
    if (len < 3 || (p[2] & 0xC0) != 0x80)
        return 0;
    if (p[0] < 0xF0)
        return p[0] == 0xED && p[1] >= 0xA0 ? -3 : 3;
    return len >= 4 && (p[3] & 0xC0) == 0x80 ? 4 : 0;
}

int fl_text_check(const uint8_t *text, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    int found = FL_TEXT_CLEAN;
    size_t at = 0;

    while (at < len) {
        uint64_t word;
        while (len - at >= 8) { /* bytes of 1 to 7F, eight at a time */
            memcpy(&word, text + at, 8);
            if ((word | (word - ones)) & highs)
                break;
            at += 8;
        }
        if (at == len)
            break;
        int n = character(text + at, len - at);
        if (n == 0)
            return FL_TEXT_INVALID;
        if (n < 0 || text[at] == 0)
            found = FL_TEXT_ODD;
        at += n < 0 ? 3 : (size_t)n;
    }
    return found;
}

size_t fl_text_head(const uint8_t *text, size_t len, size_t *characters)
{
    size_t at = 0, n = 0;
    for (; at < len && n < *characters; n++)
        for (at++; at < len && (text[at] & 0xC0) == 0x80;)
            at++;
    *characters = n;
    return at;
}

/* \xNN, at out + at if there is one. */
static size_t escape(uint8_t byte, uint8_t *out, size_t at)
{
    const uint8_t escaped[] = {'\\', 'x', (uint8_t)HEX[byte >> 4], (uint8_t)HEX[byte & 15]};
    if (out)
        memcpy(out + at, escaped, sizeof escaped);
    return sizeof escaped;
}

static size_t escape_surrogate(const uint8_t *p, uint8_t *out, size_t at)
{
    unsigned low = (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu); /* of 1101 high and low bits */
    const uint8_t escaped[] = {'\\',
                               'u',
                               'd',
                               (uint8_t)HEX[low >> 8],
                               (uint8_t)HEX[low >> 4 & 15],
                               (uint8_t)HEX[low & 15]};
    if (out)
        memcpy(out + at, escaped, sizeof escaped);
    return sizeof escaped;
}

size_t fl_text_escape(const uint8_t *text, size_t len, bool surrogates, uint8_t *out)
{
    size_t at = 0, made = 0;

    while (at < len) {
        int n = character(text + at, len - at);
        if (n == -3 && surrogates) {
            made += escape_surrogate(text + at, out, made);
            at += 3;
        } else if (n <= 0 || text[at] == 0) {
            made += escape(text[at], out, made);
            at++;
        } else {
            if (out)
                memcpy(out + made, text + at, (size_t)n);
            made += (size_t)n;
            at += (size_t)n;
        }
    }
    return made;
}

bool fl_bytes_reserve(fl_bytes *bytes, size_t n)
{
    if (n <= bytes->cap - bytes->len)
        return true;
    size_t cap = bytes->cap ? bytes->cap : 4096;
    while (cap - bytes->len < n)
        cap *= 2; /* from lengths of what lies in memory, so it cannot overflow */
    uint8_t *grown = realloc(bytes->data, cap);
    if (!grown) {
        bytes->failed = true;
        return false;
    }
    bytes->data = grown;
    bytes->cap = cap;
    return true;
}

void fl_bytes_add(fl_bytes *bytes, const void *data, size_t n)
{
    if (n && fl_bytes_reserve(bytes, n)) {
        memcpy(bytes->data + bytes->len, data, n);
        bytes->len += n;
    }
}

/* What stands behind the backslash: 'u' for four hexadecimal digits, 0 for no escape. */
static char json_escape(uint8_t byte)
{
    if (byte >= 0x20)
        return byte == '"' || byte == '\\' ? (char)byte : 0;
    switch (byte) {
    case '\b': return 'b';
    case '\t': return 't';
    case '\n': return 'n';
    case '\f': return 'f';
    case '\r': return 'r';
    default: return 'u';
    }
}

size_t fl_json_length(const uint8_t *text, size_t len)
{
    size_t length = len;
    for (size_t i = 0; i < len; i++) {
        char escaped = json_escape(text[i]);
        if (escaped)
            length += escaped == 'u' ? 5 : 1;
    }
    return length;
}

/* Whether any of these eight bytes has to be escaped. */
static bool has_escape(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quotes = word ^ ones * '"', slashes = word ^ ones * '\\';
    return (((word - ones * 0x20) & ~word) | ((quotes - ones) & ~quotes) |
            ((slashes - ones) & ~slashes)) &
           highs;
}

size_t fl_json_room(const uint8_t *text, size_t len)
{
    return 2 + (len < JSON_SMALL ? JSON_WORST * len : fl_json_length(text, len));
}

static uint8_t *put_escape(uint8_t *to, uint8_t byte, char escaped)
{
    const char code[] = {'\\', escaped, '0', '0', HEX[byte >> 4], HEX[byte & 15]};
    size_t len = escaped == 'u' ? 6 : 2;
    memcpy(to, code, len);
    return to + len;
}

uint8_t *fl_json_put(uint8_t *to, const uint8_t *text, size_t len)
{
    const uint8_t *end = text + len;

    *to++ = '"';
    while (text < end) {
        uint64_t word;
        for (; end - text >= 8; text += 8, to += 8) {
            memcpy(&word, text, 8);
            if (has_escape(word))
                break;
            memcpy(to, &word, 8);
        }
        size_t left = (size_t)(end - text);
        if (left < 8 && len >= 8) { /* the last eight bytes: of the first of them, again */
            memcpy(&word, end - 8, 8);
            if (!has_escape(word)) {
                memcpy(to + left - 8, &word, 8);
                to += left;
                break;
            }
        }
        const uint8_t *stop = left > 8 ? text + 8 : end;
        for (; text < stop; text++) {
            char escaped = json_escape(*text);
            if (escaped)
                to = put_escape(to, *text, escaped);
            else
                *to++ = *text;
        }
    }
    *to++ = '"';
    return to;
}

void fl_json_text(fl_bytes *out, const uint8_t *text, size_t len)
{
    if (fl_bytes_reserve(out, fl_json_room(text, len)))
        out->len = (size_t)(fl_json_put(out->data + out->len, text, len) - out->data);
}

static void put_pairs(char *out, uint32_t value, unsigned n)
{
    static const char PAIRS[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    for (; n >= 2; n -= 2, value /= 100)
        memcpy(out + n - 2, PAIRS + value % 100 * 2, 2);
    if (n)
        *out = (char)('0' + value);
}

char *fl_padded_write(uint64_t value, unsigned n, char *out)
{
    char *end = out + n;
    for (; n > EIGHT; n -= EIGHT, value /= TEN_TO_EIGHT) /* these do not wait for each other */
        put_pairs(out + n - EIGHT, (uint32_t)(value % TEN_TO_EIGHT), EIGHT);
    put_pairs(out, (uint32_t)value, n);
    return end;
}

static unsigned count_digits(uint64_t value)
{
    value |= 1; /* 0 has a digit as well */
    unsigned bits = 64 - (unsigned)__builtin_clzll(value);
    unsigned n = bits * 1233 >> 12; /* of log10(2) in 2^-12 */
    return n + (value >= FL_TENS[n]);
}

size_t fl_natural_write(uint64_t value, char out[20])
{
    unsigned n = count_digits(value);
    fl_padded_write(value, n, out);
    return n;
}

size_t fl_integer_write(int64_t value, char out[21])
{
    if (value >= 0)
        return fl_natural_write((uint64_t)value, out);
    out[0] = '-';
    return 1 + fl_natural_write(0 - (uint64_t)value, out + 1);
}
