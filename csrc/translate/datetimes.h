/* datetimes.h: a datetime as ISO 8601. For objects.c. */
#ifndef FL_TRANSLATE_DATETIMES_H
#define FL_TRANSLATE_DATETIMES_H

#include "call.h"

/* Makes *out the text of datetime(packed state, zone). Returns FL_PLAIN, FL_FALLBACK if the call
 * is of another form, or FL_ENOMEM. */
int fl_datetime_read(fl_pool *pool, const fl_call *call, fl_value *out);

#endif
