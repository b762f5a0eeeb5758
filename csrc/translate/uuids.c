/* uuids.c: a UUID as text. Pure. */
#include "uuids.h"
#include "text.h"

enum {
    STATE_ITEMS_MAX = 32, /* keys and values of a state that is searched */
    UUID_TEXT = 36,       /* bytes */
};

/* 128 bits. */
typedef struct number {
    uint32_t words[4]; /* the least significant first */
} number;

static bool read_digits(const fl_value *value, number *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < value->len; i++) {
        if (value->at.text[i] == '-')
            return false;
        uint64_t carry = value->at.text[i] - (unsigned)'0';
        for (int word = 0; word < 4; word++) {
            carry += (uint64_t)out->words[word] * 10;
            out->words[word] = (uint32_t)carry;
            carry >>= 32;
        }
        if (carry)
            return false;
    }
    return true;
}

static bool read_bytes(const fl_value *value, number *out)
{
    memset(out, 0, sizeof *out);
    if (value->len > 17 || value->at.text[value->len - 1] >> 7)
        return false;
    if (value->len == 17 && value->at.text[16])
        return false;
    for (size_t i = 0; i < value->len && i < 16; i++)
        out->words[i / 4] |= (uint32_t)value->at.text[i] << 8 * (i % 4);
    return true;
}

/* Returns whether this is an integer from 0 to 2^128 - 1, and its bits. */
static bool read_number(const fl_value *value, number *out)
{
    if (value->kind == FL_K_BIG_DIGITS)
        return read_digits(value, out);
    if (value->kind == FL_K_BIG_BYTES)
        return read_bytes(value, out);
    if (!(value->kind == FL_K_INT && value->at.integer >= 0) && value->kind != FL_K_UINT)
        return false;
    *out = (number){{(uint32_t)value->at.natural, (uint32_t)(value->at.natural >> 32)}};
    return true;
}

int fl_uuid_read(fl_pool *pool, const fl_value *state, fl_value *out)
{
    number found;
    if (state->kind != FL_K_DICT || fl_node_of(pool, state)->items.len > STATE_ITEMS_MAX)
        return FL_FALLBACK;
    fl_walk walk = fl_walk_over(pool, &fl_node_of(pool, state)->items);
    for (const fl_value *key; (key = fl_walk_next(&walk));) {
        const fl_value *value = fl_walk_next(&walk);
        if (!fl_is_text(key))
            return FL_FALLBACK;
        if (!fl_value_equals(key, "int"))
            continue;
        if (!read_number(value, &found))
            return FL_FALLBACK;
        char text[UUID_TEXT], *to = text;
        for (int nibble = 31; nibble >= 0; nibble--) {
            *to++ = FL_HEX_DIGITS[found.words[nibble / 8] >> 4 * (nibble % 8) & 15];
            if (nibble == 24 || nibble == 20 || nibble == 16 || nibble == 12)
                *to++ = '-';
        }
        return fl_pool_add_text(pool, text, UUID_TEXT, out);
    }
    return FL_FALLBACK;
}
