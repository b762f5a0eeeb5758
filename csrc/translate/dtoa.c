/* dtoa.c: numbers in decimal; a float as the shortest decimal that reads back as it. Pure.
 *
 * The algorithm for floats is Schubfach, by Raffaele Giulietti: the interval of all reals that
 * round to the float is scaled by a power of ten, so that it holds one or two integers, or one or
 * two multiples of ten; the decimal with the fewest digits is taken, of those the closest. 128 bits
 * of the power are proven to be enough. The C library could do it in up to three calls of snprintf
 * and strtod, at ten times the cost, and not without stdio.h and the locale.
 */
#include "dtoa.h"

#include <stdbool.h>
#include <string.h>

enum {
    EIGHT = 8, /* digits that fit 32 bits */
    TEN_TO_EIGHT = 100000000,
    LIMBS = 28,      /* 32-bit words of an exact power */
    POINT_FROM = -5, /* powers of ten of the first digit that are written without an exponent */
    POINT_BELOW = 16,
};

static const uint64_t TENS[20] = {
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
    for (; n > EIGHT; n -= EIGHT, value /= TEN_TO_EIGHT) /* independent of each other */
        put_pairs(out + n - EIGHT, (uint32_t)(value % TEN_TO_EIGHT), EIGHT);
    put_pairs(out, (uint32_t)value, n);
    return end;
}

static unsigned count_digits(uint64_t value)
{
    value |= 1; /* 0 has a digit as well */
    unsigned bits = 64 - (unsigned)__builtin_clzll(value);
    unsigned n = bits * 1233 >> 12; /* 1233 is log10(2) in units of 2^-12 */
    return n + (value >= TENS[n]);
}

size_t fl_natural_write(uint64_t value, char out[FL_NATURAL_TEXT])
{
    unsigned n = count_digits(value);
    fl_padded_write(value, n, out);
    return n;
}

size_t fl_integer_write(int64_t value, char out[FL_INTEGER_TEXT])
{
    if (value >= 0)
        return fl_natural_write((uint64_t)value, out);
    out[0] = '-';
    return 1 + fl_natural_write(0 - (uint64_t)value, out + 1);
}

typedef struct product {
    uint64_t high, low;
} product;

static product multiply(uint64_t a, uint64_t b)
{
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32);
    uint64_t other = a0 * b1 + (uint32_t)middle;
    return (product){a1 * b1 + (middle >> 32) + (other >> 32), other << 32 | (uint32_t)low};
}

/* Returns the first 128 bits of a number of 32-bit limbs, the least significant limb first. *more:
 * whether any bit after them is set. */
static product leading_bits(const uint32_t limbs[LIMBS], bool *more)
{
    int top = LIMBS - 1, bit = 31;
    while (!limbs[top])
        top--;
    while (!(limbs[top] >> bit))
        bit--;
    uint32_t words[4] = {0};
    for (int i = 0; i < 4; i++) {
        uint32_t here = top - i >= 0 ? limbs[top - i] : 0;
        uint32_t below = top - i >= 1 ? limbs[top - i - 1] : 0;
        words[i] = (uint32_t)(((uint64_t)here << 32 | below) >> (bit + 1));
    }
    uint32_t lower = 0;
    for (int i = 0; i < top - 4; i++)
        lower |= limbs[i];
    if (top >= 4)
        lower |= limbs[top - 4] & (uint32_t)((UINT64_C(1) << (bit + 1)) - 1);
    *more = lower != 0;
    return (product){(uint64_t)words[0] << 32 | words[1], (uint64_t)words[2] << 32 | words[3]};
}

static void store(fl_powers *powers, int n, product bits, bool up)
{
    bits.low += up;
    bits.high += up && !bits.low;
    powers->of[n - FL_POWER_MIN].high = bits.high;
    powers->of[n - FL_POWER_MIN].low = bits.low;
}

void fl_powers_prepare(fl_powers *powers)
{
    uint32_t limbs[LIMBS] = {1};
    bool more;

    for (int n = 0; n <= FL_POWER_MAX; n++) { /* 10^n and 5^n have the same leading bits */
        product bits = leading_bits(limbs, &more);
        store(powers, n, bits, more);
        uint64_t carry = 0;
        for (int i = 0; i < LIMBS; i++) {
            carry += (uint64_t)limbs[i] * 5;
            limbs[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    memset(limbs, 0, sizeof limbs);
    limbs[LIMBS - 1] = 1u << 31; /* floor(floor(x / 5) / 5) is floor(x / 25): all bits are exact */
    for (int n = -1; n >= FL_POWER_MIN; n--) {
        uint64_t remainder = 0;
        for (int i = LIMBS - 1; i >= 0; i--) {
            remainder = remainder << 32 | limbs[i];
            limbs[i] = (uint32_t)(remainder / 5);
            remainder %= 5;
        }
        store(powers, n, leading_bits(limbs, &more), true);
    }
}

/* Returns the upper bits of power * factor; the last of them is set if any bit after it is. */
static uint64_t scale(const fl_powers *powers, int n, uint64_t factor)
{
    product low = multiply(powers->of[n - FL_POWER_MIN].low, factor);
    product high = multiply(powers->of[n - FL_POWER_MIN].high, factor);
    high.low += low.high;
    high.high += high.low < low.high;
    return high.high | (high.low > 1);
}

/* Returns floor(x / 2^shift); x may be negative. */
static int floor_shift(int64_t x, int shift)
{
    return (int)(x >= 0 ? x >> shift : -(((-x) + (INT64_C(1) << shift) - 1) >> shift));
}

/* Returns the shortest decimal of mantissa * 2^binary: the result times 10^*exponent. */
static uint64_t shortest(const fl_powers *powers, uint64_t mantissa, int binary, bool narrow,
                         int *exponent)
{
    /* log10(2) and log10(3/4) in 2^-22, log2(10) in 2^-19: exact enough for every exponent. */
    int k = floor_shift((int64_t)binary * 1262611 - (narrow ? 524031 : 0), 22);
    int shift = binary + floor_shift((int64_t)-k * 1741647, 19) + 1;
    uint64_t odd = mantissa & 1; /* the interval of an even one includes its ends */
    uint64_t lower = scale(powers, -k, (4 * mantissa - (narrow ? 1 : 2)) << shift) + odd;
    uint64_t value = scale(powers, -k, 4 * mantissa << shift);
    uint64_t upper = scale(powers, -k, (4 * mantissa + 2) << shift) - odd;
    uint64_t whole = value / 4, tens = whole / 10;

    if (whole >= 10) {
        bool down = lower <= 40 * tens, up = 40 * tens + 40 <= upper;
        if (down != up) {
            *exponent = k + 1;
            return tens + up;
        }
    }
    *exponent = k;
    bool down = lower <= 4 * whole, up = 4 * whole + 4 <= upper;
    if (down != up)
        return whole + up;
    uint64_t middle = 4 * whole + 2;
    return whole + (value > middle || (value == middle && (whole & 1)));
}

static size_t put_zeros(char *out, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = '0';
    return n > 0 ? (size_t)n : 0;
}

/* Writes n digits, the first of which counts 10^power. */
static size_t write_digits(const char *digits, int n, int power, char *out)
{
    size_t at = 0;
    if (power < POINT_FROM || power >= POINT_BELOW) {
        out[at++] = digits[0];
        if (n > 1) {
            out[at++] = '.';
            memcpy(out + at, digits + 1, (size_t)n - 1);
            at += (size_t)n - 1;
        }
        out[at++] = 'e';
        return at + fl_integer_write(power, out + at);
    }
    if (power < 0) {
        memcpy(out, "0.", 2);
        at = 2 + put_zeros(out + 2, -power - 1);
        memcpy(out + at, digits, (size_t)n);
        return at + (size_t)n;
    }
    int whole = n < power + 1 ? n : power + 1;
    memcpy(out, digits, (size_t)whole);
    at = (size_t)whole + put_zeros(out + whole, power + 1 - n);
    out[at++] = '.';
    if (n == whole)
        out[at++] = '0';
    memcpy(out + at, digits + whole, (size_t)(n - whole));
    return at + (size_t)(n - whole);
}

/* Writes what most floats are: digits before the point, and `after` digits after it. */
static size_t write_point(uint64_t decimal, unsigned after, char *out)
{
    size_t whole = fl_natural_write(decimal / TENS[after], out);
    out[whole] = '.';
    fl_padded_write(decimal % TENS[after], after, out + whole + 1);
    return whole + 1 + after;
}

size_t fl_float_write(const fl_powers *powers, double value, char out[FL_FLOAT_TEXT])
{
    uint64_t bits;
    size_t at = 0;
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 63)
        out[at++] = '-';
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int biased = (int)(bits >> 52 & 0x7FF), exponent;
    if (!biased && !fraction) {
        memcpy(out + at, "0.0", 3);
        return at + 3;
    }
    uint64_t mantissa = biased ? fraction | UINT64_C(1) << 52 : fraction;
    bool narrow = !fraction && biased > 1; /* the float below is only half as far away */
    uint64_t decimal = shortest(powers, mantissa, (biased ? biased : 1) - 1075, narrow, &exponent);
    for (; decimal && decimal % 10 == 0; decimal /= 10)
        exponent++;
    if (exponent < 0 && -exponent < 20 && decimal >= TENS[-exponent])
        return at + write_point(decimal, (unsigned)-exponent, out + at);
    char digits[20];
    int n = (int)fl_natural_write(decimal, digits);
    return at + write_digits(digits, n, exponent + n - 1, out + at);
}
