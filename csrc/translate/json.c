/* json.c: JSON strings. Pure. */
#include "json.h"
#include "text.h"

enum {
    BYTES_PER_BYTE_MAX = 6, /* \u0000 */
    SHORT_TEXT = 4096,      /* below this, room for the worst case costs less than counting */
};

/* Returns the character after the backslash: 'u' for four hexadecimal digits, 0 for no escape. */
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

/* Whether any of these eight bytes needs an escape. Bytes from 0x80 on need none; `word`, `quotes`
 * and `slashes` have the same highest bits. */
static bool has_escape(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quotes = word ^ ones * '"', slashes = word ^ ones * '\\';
    return ((word - ones * 0x20) | (quotes - ones) | (slashes - ones)) & ~word & highs;
}

size_t fl_json_room(const uint8_t *text, size_t len)
{
    return 2 + (len < SHORT_TEXT ? BYTES_PER_BYTE_MAX * len : fl_json_length(text, len));
}

static uint8_t *put_escape(uint8_t *to, uint8_t byte, char escaped)
{
    const char code[] = {
        '\\', escaped, '0', '0', FL_HEX_DIGITS[byte >> 4], FL_HEX_DIGITS[byte & 15]};
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
        size_t remaining = (size_t)(end - text);
        if (remaining < 8 &&
            len >= 8) { /* the last eight bytes, some of them for the second time */
            memcpy(&word, end - 8, 8);
            if (!has_escape(word)) {
                memcpy(to + remaining - 8, &word, 8);
                to += remaining;
                break;
            }
        }
        const uint8_t *stop = remaining > 8 ? text + 8 : end;
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

void fl_json_text(fl_buffer *out, const uint8_t *text, size_t len)
{
    if (fl_buffer_reserve(out, fl_json_room(text, len)))
        out->len = (size_t)(fl_json_put(out->data + out->len, text, len) - out->data);
}
