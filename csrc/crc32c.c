/* crc32c.c: CRC-32C by the processor's own instruction where it has one, else by table. Pure. */
#include "fastlog.h"

#include <string.h>

/* The reflected polynomial 0x1EDC6F41 (RFC 3720, B.4), four bits at a time: 64 bytes of table. */
static const uint32_t nibble[16] = {
    0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
    0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
};

static uint32_t by_table(uint32_t crc, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__) && defined(__GNUC__)

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *data,
                                                                 size_t len)
{
    uint64_t wide = crc;
    while (len >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        wide = __builtin_ia32_crc32di(wide, word);
        data += 8;
        len -= 8;
    }
    crc = (uint32_t)wide;
    while (len--)
        crc = __builtin_ia32_crc32qi(crc, *data++);
    return crc;
}

static bool has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}

#elif defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>

static uint32_t by_instruction(uint32_t crc, const uint8_t *data, size_t len)
{
    while (len >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        crc = __crc32cd(crc, word);
        data += 8;
        len -= 8;
    }
    while (len--)
        crc = __crc32cb(crc, *data++);
    return crc;
}

static bool has_instruction(void)
{
    return true; /* the compiler was told so */
}

#else

#define by_instruction by_table
static bool has_instruction(void)
{
    return false;
}

#endif

uint32_t fl_crc32c(uint32_t crc, const uint8_t *data, size_t len)
{
    crc = ~crc;
    crc = has_instruction() ? by_instruction(crc, data, len) : by_table(crc, data, len);
    return ~crc;
}
