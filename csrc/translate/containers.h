/* containers.h: opcodes that make and fill lists, tuples, sets and dicts. For unpickle.c.
 *
 * Each function returns FL_PLAIN, FL_FALLBACK if the pool has no room, or a rejection. `kind` is
 * the enum fl_kind of the container.
 */
#ifndef FL_TRANSLATE_CONTAINERS_H
#define FL_TRANSLATE_CONTAINERS_H

#include "machine.h"

/* Pushes an empty container. */
int fl_container_empty(fl_machine *m, uint8_t kind);

/* Pushes a tuple of the n topmost values, which it removes. */
int fl_container_tuple(fl_machine *m, size_t n);

/* Pushes a container of the values after the last mark, which it removes. */
int fl_container_from_mark(fl_machine *m, uint8_t kind);

/* Adds the n topmost values, which it removes, to the container or object below them: APPEND and
 * SETITEM. */
int fl_container_add(fl_machine *m, uint8_t kind, size_t n);

/* The same with the values after the last mark: APPENDS, SETITEMS, ADDITEMS. */
int fl_container_add_from_mark(fl_machine *m, uint8_t kind);

#endif
