/* classes.h: the classes and functions that are recognised by name, because many records have
 * objects of them. For the unpickler and the files that read objects; it uses values.h. */
#ifndef FL_TRANSLATE_CLASSES_H
#define FL_TRANSLATE_CLASSES_H

#include "values.h"

enum fl_class_id {
    FL_CLASS_OTHER,
    FL_CLASS_ENCODE, /* _codecs.encode, which pickles of protocol 2 and less call for bytes */
    FL_CLASS_BYTES,
    FL_CLASS_SET,
    FL_CLASS_DATETIME,
    FL_CLASS_TIMEDELTA,
    FL_CLASS_TIMEZONE,
    FL_CLASS_ZONEINFO,
    FL_CLASS_GETATTR,
    FL_CLASS_DECIMAL,
    FL_CLASS_UUID,
    FL_CLASS_OBJECT,
    FL_CLASS_RECONSTRUCTOR,
};

/* Returns which of them the text "module:name" is in a pickle of this protocol. */
uint8_t fl_class_id_of(const fl_value *name, uint8_t protocol);

#endif
