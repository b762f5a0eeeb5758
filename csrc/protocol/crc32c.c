/* crc32c.c: CRC-32C by the processor's instruction where there is one, else by a table. Pure. */
#include "protocol.h"

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

/* The instruction takes three cycles, and one can start in each cycle. So three stretches are
 * summed in parallel; the second and the third start at 0. To combine them, the sum of a stretch
 * that ends n bytes before the end is multiplied by x^(8 n), without carries and modulo the
 * polynomial. The factors are x^(8 n - 33); the instruction reduces the product and does the rest.
 */
enum { STRETCH = 1024 };

__attribute__((target("sse4.2,pclmul"))) static uint64_t product(uint64_t crc, uint64_t factor)
{
    typedef long long pair __attribute__((vector_size(16)));
    pair a = {(long long)crc, 0}, b = {(long long)factor, 0};
    return (uint64_t)__builtin_ia32_pclmulqdq128(a, b, 0)[0];
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t by_three(uint32_t crc, const uint8_t *data,
                                                                  size_t len)
{
    while (len >= 3 * STRETCH) {
        uint64_t first = crc, second = 0, third = 0, word;
        for (size_t at = 0; at < STRETCH; at += 8) {
            memcpy(&word, data + at, 8);
            first = __builtin_ia32_crc32di(first, word);
            memcpy(&word, data + at + STRETCH, 8);
            second = __builtin_ia32_crc32di(second, word);
            memcpy(&word, data + at + 2 * STRETCH, 8);
            third = __builtin_ia32_crc32di(third, word);
        }
        word = product(first, 0xA51B6135) ^ product(second, 0x170076FA);
        crc = (uint32_t)(__builtin_ia32_crc32di(0, word) ^ third);
        data += 3 * STRETCH;
        len -= 3 * STRETCH;
    }
    return by_instruction(crc, data, len);
}

static uint32_t by_processor(uint32_t crc, const uint8_t *data, size_t len)
{
    if (__builtin_cpu_supports("pclmul"))
        return by_three(crc, data, len);
    return by_instruction(crc, data, len);
}

static bool has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}

#elif defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>

static uint32_t by_processor(uint32_t crc, const uint8_t *data, size_t len)
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
    return true; /* the compiler assumes it: __ARM_FEATURE_CRC32 */
}

#else

#define by_processor by_table
static bool has_instruction(void)
{
    return false;
}

#endif

uint32_t fl_crc32c(uint32_t crc, const uint8_t *data, size_t len)
{
    crc = ~crc;
    crc = has_instruction() ? by_processor(crc, data, len) : by_table(crc, data, len);
    return ~crc;
}
