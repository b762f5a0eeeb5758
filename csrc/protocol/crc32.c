/* crc32.c: CRC-32 as zlib has it, which every Python client can compute; eight bytes at a time.
 * Pure. */
#include "protocol.h"

void fl_crc32_prepare(fl_crc32_tables *t)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0); /* ISO 3309, reflected */
        t->of[0][byte] = crc;
    }
    for (int far = 1; far < 8; far++) /* the same byte, followed by `far` zero bytes */
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t crc = t->of[far - 1][byte];
            t->of[far][byte] = crc >> 8 ^ t->of[0][crc & 255];
        }
}

static uint32_t read_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t fl_crc32(const fl_crc32_tables *t, const uint8_t *data, size_t len)
{
    uint32_t crc = ~0u;
    for (; len >= 8; data += 8, len -= 8) {
        uint32_t low = crc ^ read_le32(data), high = read_le32(data + 4);
        crc = t->of[7][low & 255] ^ t->of[6][low >> 8 & 255] ^ t->of[5][low >> 16 & 255] ^
              t->of[4][low >> 24] ^ t->of[3][high & 255] ^ t->of[2][high >> 8 & 255] ^
              t->of[1][high >> 16 & 255] ^ t->of[0][high >> 24];
    }
    while (len--)
        crc = crc >> 8 ^ t->of[0][(crc ^ *data++) & 255];
    return ~crc;
}
