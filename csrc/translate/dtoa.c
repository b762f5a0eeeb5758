/* shortest.c: a float as the shortest decimal that reads back as it. Pure.
 *
 * The algorithm is Schubfach, by Raffaele Giulietti: the interval of all reals that round to the
 * float is scaled by a power of ten, so that it holds one or two integers, or one or two multiples
 * of ten; the least digits win, then the closest. 128 bits of the power are proven to be enough.
 * The C library could do it in up to three calls of snprintf and strtod, at ten times the price,
 * and not without stdio.h and the locale.
 */
#include "values.h"

#include <string.h>

enum { LIMBS = 28, POINT_FROM = -5, POINT_BELOW = 16 };

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

/* The first 128 bits of a number of 32-bit limbs, least first; *more: it has others behind them. */
static product leading(const uint32_t limbs[LIMBS], bool *more)
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
    uint32_t rest = 0;
    for (int i = 0; i < top - 4; i++)
        rest |= limbs[i];
    if (top >= 4)
        rest |= limbs[top - 4] & (uint32_t)((UINT64_C(1) << (bit + 1)) - 1);
    *more = rest != 0;
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
        product bits = leading(limbs, &more);
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
        uint64_t rest = 0;
        for (int i = LIMBS - 1; i >= 0; i--) {
            rest = rest << 32 | limbs[i];
            limbs[i] = (uint32_t)(rest / 5);
            rest %= 5;
        }
        store(powers, n, leading(limbs, &more), true);
    }
}

/* The upper bits of power * factor; the last of them is set if any bit behind it is. */
static uint64_t scale(const fl_powers *powers, int n, uint64_t factor)
{
    product low = multiply(powers->of[n - FL_POWER_MIN].low, factor);
    product high = multiply(powers->of[n - FL_POWER_MIN].high, factor);
    high.low += low.high;
    high.high += high.low < low.high;
    return high.high | (high.low > 1);
}

/* floor(x / 2^shift), also of a negative x. */
static int floor_shift(int64_t x, int shift)
{
    return (int)(x >= 0 ? x >> shift : -(((-x) + (INT64_C(1) << shift) - 1) >> shift));
}

/* The decimal digits * 10^*exponent of mantissa * 2^binary. */
static uint64_t shortest(const fl_powers *powers, uint64_t mantissa, int binary, bool narrow,
                         int *exponent)
{
    /* log10(2) and log10(3/4) in 2^-22, log2(10) in 2^-19: exact enough for every exponent. */
    int k = floor_shift((int64_t)binary * 1262611 - (narrow ? 524031 : 0), 22);
    int shift = binary + floor_shift((int64_t)-k * 1741647, 19) + 1;
    uint64_t odd = mantissa & 1; /* an even one has the ends of its interval */
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

/* n digits, of which the first stands for 10^power. */
static size_t layout(const char *digits, int n, int power, char *out)
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

/* What most floats are: digits before the point, and `after` of them behind it. */
static size_t split(uint64_t decimal, unsigned after, char *out)
{
    size_t whole = fl_natural_write(decimal / FL_TENS[after], out);
    out[whole] = '.';
    fl_padded_write(decimal % FL_TENS[after], after, out + whole + 1);
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
    if (exponent < 0 && -exponent < 20 && decimal >= FL_TENS[-exponent])
        return at + split(decimal, (unsigned)-exponent, out + at);
    char digits[20];
    int n = (int)fl_natural_write(decimal, digits);
    return at + layout(digits, n, exponent + n - 1, out + at);
}
