/* hash.h: the hash of bytes. For the files that look values up. */
#ifndef FL_TRANSLATE_HASH_H
#define FL_TRANSLATE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t fl_hash_bytes(const uint8_t *data, size_t len)
{
    uint64_t hash = len, word;
    for (; len >= 8; data += 8, len -= 8) {
        memcpy(&word, data, 8);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    for (; len; data++, len--)
        hash = (hash ^ *data) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(hash >> 32);
}

#endif
