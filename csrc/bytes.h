/* bytes.h: big-endian integers in memory. Pure: inline functions only.
 *
 * The readers and writers work by shifts, so alignment and the machine's byte order do not matter.
 * A writer returns the address behind the bytes that it has written.
 */
#ifndef FL_BYTES_H
#define FL_BYTES_H

#include <stdint.h>

static inline uint32_t read_u16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | (uint32_t)p[1];
}

static inline uint32_t read_u32(const uint8_t *p)
{
    return read_u16(p) << 16 | read_u16(p + 2);
}

static inline uint64_t read_u64(const uint8_t *p)
{
    return (uint64_t)read_u32(p) << 32 | read_u32(p + 4);
}

static inline uint8_t *write_u16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
    return p + 2;
}

static inline uint8_t *write_u32(uint8_t *p, uint32_t value)
{
    return write_u16(write_u16(p, value >> 16), value);
}

static inline uint8_t *write_u64(uint8_t *p, uint64_t value)
{
    return write_u32(write_u32(p, (uint32_t)(value >> 32)), (uint32_t)value);
}

#endif
