/* construct.h: opcodes that name globals and make objects. For unpickle.c.
 *
 * Nothing is imported or called: an object is recorded as its class, arguments and state. Each
 * function returns FL_PLAIN, FL_FALLBACK if the pool has no room, FL_ENOMEM, or a rejection.
 */
#ifndef FL_TRANSLATE_CONSTRUCT_H
#define FL_TRANSLATE_CONSTRUCT_H

#include "machine.h"

/* Pushes the global that two lines name. */
int fl_construct_global(fl_machine *m);

/* Pushes the global that the two topmost values name. */
int fl_construct_stack_global(fl_machine *m);

/* REDUCE and NEWOBJ: pushes the object of a class and its arguments. */
int fl_construct_reduce(fl_machine *m);

/* NEWOBJ_EX: the same with keyword arguments. */
int fl_construct_newobj_ex(fl_machine *m);

/* OBJ, whose class is below its arguments on the stack, or INST, whose class follows the opcode
 * (has_name). */
int fl_construct_inst(fl_machine *m, bool has_name);

/* Sets the state of the object below the topmost value. */
int fl_construct_build(fl_machine *m);

/* POP: removes the topmost value, or a mark if there is none after it. A call of a setter sets the
 * state of the object below it. */
int fl_construct_pop(fl_machine *m);

#endif
