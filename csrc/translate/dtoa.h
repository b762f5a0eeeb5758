/* dtoa.h: numbers in decimal. For every file of this folder; it uses none of them. */
#ifndef FL_TRANSLATE_DTOA_H
#define FL_TRANSLATE_DTOA_H

#include <stddef.h>
#include <stdint.h>

enum {
    FL_NATURAL_TEXT = 20, /* room for the digits of a uint64_t */
    FL_INTEGER_TEXT = 21, /* room for an int64_t */
    FL_FLOAT_TEXT = 32,   /* room for a float */
    FL_POWER_MIN = -292,
    FL_POWER_MAX = 324,
};

/* Writes the last n digits of a number below 10^n. Returns the end of them. */
char *fl_padded_write(uint64_t value, unsigned n, char *out);

/* Writes the number in decimal. Returns its length. */
size_t fl_natural_write(uint64_t value, char out[FL_NATURAL_TEXT]);
size_t fl_integer_write(int64_t value, char out[FL_INTEGER_TEXT]);

/* 10^n in 128 bits, rounded up, for n from FL_POWER_MIN to FL_POWER_MAX. */
typedef struct fl_powers {
    struct {
        uint64_t high, low;
    } of[FL_POWER_MAX - FL_POWER_MIN + 1];
} fl_powers;

/* Computes the powers. */
void fl_powers_prepare(fl_powers *powers);

/* Writes the shortest decimal that reads back as this finite float; of those, the closest. Returns
 * its length. From 1e-5 to below 1e16 it is written in digits, else with an exponent; it always has
 * a point or an exponent. */
size_t fl_float_write(const fl_powers *powers, double value, char out[FL_FLOAT_TEXT]);

#endif
