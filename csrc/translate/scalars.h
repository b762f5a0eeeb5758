/* scalars.h: opcodes that push texts, bytes and integers, or use a memo slot that a line of text
 * names. For unpickle.c.
 *
 * Each function reads its argument at m->p and returns FL_PLAIN, FL_FALLBACK, FL_ENOMEM, or a
 * rejection. `width` is the size of the length before the argument, in bytes.
 */
#ifndef FL_TRANSLATE_SCALARS_H
#define FL_TRANSLATE_SCALARS_H

#include "machine.h"

/* Pushes a str. */
int fl_scalar_text(fl_machine *m, size_t width);

/* Pushes bytes. */
int fl_scalar_bytes(fl_machine *m, size_t width, bool is_signed);

/* Pushes an integer in little-endian two's complement. */
int fl_scalar_long(fl_machine *m, size_t width);

/* Pushes the value that the line spells, for the opcodes of literals.h. */
int fl_scalar_literal(fl_machine *m, uint8_t opcode);

/* PUT and GET. */
int fl_scalar_put(fl_machine *m);
int fl_scalar_get(fl_machine *m);

#endif
