/* objects.h: what objects are rendered as. For the files that write rows.
 *
 * objects.c renders a few well-known classes, with call.h, datetimes.c and uuids.c. generic.h has
 * objects of classes without a meaning.
 */
#ifndef FL_TRANSLATE_OBJECTS_H
#define FL_TRANSLATE_OBJECTS_H

#include "values.h"

/* Renders an object. Returns FL_PLAIN: *out is to be written in its place, a text (FL_K_TEXT,
 * FL_K_UNCLEAN, FL_K_BYTES) made of no more than `max` bytes, or a sequence. FL_FALLBACK: this
 * object is not rendered here. FL_ENOMEM: no memory. */
int fl_object_read(fl_pool *pool, const fl_value *object, size_t max, fl_value *out);

#endif
