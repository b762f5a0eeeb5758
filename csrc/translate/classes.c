/* classes.c: the classes and functions that are recognised by name. Pure. */
#include "classes.h"

static const struct {
    const char *name; /* "module:name" */
    uint8_t id;
    bool is_old; /* a name of Python 2, which only protocol 2 and less use */
} CLASSES[] = {
    {"_codecs:encode", FL_CLASS_ENCODE, false},
    {"__builtin__:bytes", FL_CLASS_BYTES, true},
    {"builtins:bytes", FL_CLASS_BYTES, false},
    {"__builtin__:bytearray", FL_CLASS_BYTES, true},
    {"builtins:bytearray", FL_CLASS_BYTES, false},
    {"__builtin__:set", FL_CLASS_SET, true},
    {"builtins:set", FL_CLASS_SET, false},
    {"__builtin__:frozenset", FL_CLASS_SET, true},
    {"builtins:frozenset", FL_CLASS_SET, false},
    {"__builtin__:object", FL_CLASS_OBJECT, true},
    {"builtins:object", FL_CLASS_OBJECT, false},
    {"copy_reg:_reconstructor", FL_CLASS_RECONSTRUCTOR, true},
    {"copyreg:_reconstructor", FL_CLASS_RECONSTRUCTOR, false},
    {"datetime:datetime", FL_CLASS_DATETIME, false},
    {"datetime:timedelta", FL_CLASS_TIMEDELTA, false},
    {"datetime:timezone", FL_CLASS_TIMEZONE, false},
    {"zoneinfo:ZoneInfo", FL_CLASS_ZONEINFO, false},
    {"__builtin__:getattr", FL_CLASS_GETATTR, true},
    {"builtins:getattr", FL_CLASS_GETATTR, false},
    {"decimal:Decimal", FL_CLASS_DECIMAL, false},
    {"uuid:UUID", FL_CLASS_UUID, false},
};

uint8_t fl_class_id_of(const fl_value *name, uint8_t protocol)
{
    for (size_t i = 0; i < sizeof CLASSES / sizeof *CLASSES; i++)
        if (fl_value_equals(name, CLASSES[i].name) && (protocol < 3 || !CLASSES[i].is_old))
            return CLASSES[i].id;
    return FL_CLASS_OTHER;
}
