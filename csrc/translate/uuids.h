/* uuids.h: a UUID as text. For objects.c. */
#ifndef FL_TRANSLATE_UUIDS_H
#define FL_TRANSLATE_UUIDS_H

#include "values.h"

/* Makes *out the text of the UUID whose state this is: a dict with its 128 bits as the integer
 * "int". Returns FL_PLAIN, FL_FALLBACK if the state is of another form, or FL_ENOMEM. */
int fl_uuid_read(fl_pool *pool, const fl_value *state, fl_value *out);

#endif
