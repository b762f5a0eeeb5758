/* text.c: UTF-8, and the escapes of bytes that are not UTF-8. Pure. */
#include "text.h"

/* Returns the bytes of the character here: 1 to 4, 0 if it is not UTF-8, -3 for a lone surrogate.
 */
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
            found = FL_TEXT_UNCLEAN;
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

/* Writes \xNN at out + at, if out is not NULL; returns its length. */
static size_t escape(uint8_t byte, uint8_t *out, size_t at)
{
    const uint8_t escaped[] = {'\\', 'x', (uint8_t)FL_HEX_DIGITS[byte >> 4],
                               (uint8_t)FL_HEX_DIGITS[byte & 15]};
    if (out)
        memcpy(out + at, escaped, sizeof escaped);
    return sizeof escaped;
}

/* Writes \udNNN in the same way. */
static size_t escape_surrogate(const uint8_t *p, uint8_t *out, size_t at)
{
    unsigned low = (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu); /* all bits below the leading 1101 */
    const uint8_t escaped[] = {'\\',
                               'u',
                               'd',
                               (uint8_t)FL_HEX_DIGITS[low >> 8],
                               (uint8_t)FL_HEX_DIGITS[low >> 4 & 15],
                               (uint8_t)FL_HEX_DIGITS[low & 15]};
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
