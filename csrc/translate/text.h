/* text.h: UTF-8, and the escapes of bytes that are not UTF-8. For every file of this folder; it
 * uses none of them. */
#ifndef FL_TRANSLATE_TEXT_H
#define FL_TRANSLATE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FL_HEX_DIGITS "0123456789abcdef"

enum fl_text {
    FL_TEXT_CLEAN,   /* UTF-8 without NULs and surrogates */
    FL_TEXT_UNCLEAN, /* UTF-8 with NULs or lone surrogates in it */
    FL_TEXT_INVALID, /* not UTF-8 */
};

/* Returns which of enum fl_text these bytes are. */
int fl_text_check(const uint8_t *text, size_t len);

/* Returns the bytes of the first characters of a text: of at most *characters. *characters becomes
 * their number. */
size_t fl_text_head(const uint8_t *text, size_t len, size_t *characters);

/* Escapes a text into out, and returns the number of bytes of the result; with out == NULL it only
 * counts. Bytes that are not UTF-8 become \xNN, NUL \x00, and where `surrogates` is set (a str can
 * have them, bytes cannot) a lone surrogate becomes \udNNN. */
size_t fl_text_escape(const uint8_t *text, size_t len, bool surrogates, uint8_t *out);

/* Whether len bytes are equal. Short ones are compared without a call. */
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

#endif
