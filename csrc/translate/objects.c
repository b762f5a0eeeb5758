/* objects.c: renders objects of the classes that many records have. Pure.
 *
 * Gives what fastlog/decode/classes.py gives for a few classes, in the forms that the picklers of
 * CPython write. Each form is matched exactly, by its names and arguments; nothing is called. All
 * other objects are left to that table.
 */
#include "objects.h"
#include "call.h"
#include "datetimes.h"
#include "uuids.h"

/* _codecs.encode(text, "latin1"): bytes, as Python 3 writes them in protocol 2 and less. */
static int encode(fl_pool *pool, const fl_call *call, size_t max, fl_value *out)
{
    const fl_value *args = call->args;
    if (call->n != 2 || !fl_is_str(&args[0]) || !fl_is_str(&args[1]) || args[0].len > max ||
        !(fl_value_equals(&args[1], "latin1") || fl_value_equals(&args[1], "latin-1")))
        return FL_FALLBACK;
    const uint8_t *text = args[0].at.text;
    uint8_t *made = fl_pool_scratch(pool, args[0].len);
    if (!made)
        return FL_ENOMEM;
    size_t len = 0;
    for (size_t at = 0; at < args[0].len; at++) {
        uint8_t byte = text[at];
        if (byte >= 0x80) {
            if (byte > 0xC3) /* C2 and C3 begin U+0080 to U+00FF */
                return FL_FALLBACK;
            byte = (uint8_t)(byte << 6 | (text[++at] & 0x3F));
        }
        made[len++] = byte;
    }
    *out = (fl_value){.kind = FL_K_BYTES, .len = (uint32_t)len, .at.text = made};
    return FL_PLAIN;
}

static int bytes(fl_pool *pool, const fl_call *call, size_t max, fl_value *out)
{
    fl_call inner;
    *out = (fl_value){.kind = FL_K_BYTES, .at.text = (const uint8_t *)""};
    if (!call->n)
        return FL_PLAIN;
    if (call->n > 1)
        return encode(pool, call, max, out);
    if (fl_call_is(pool, call->args, FL_CLASS_ENCODE, &inner))
        return encode(pool, &inner, max, out);
    *out = *call->args;
    return out->kind == FL_K_BYTES ? FL_PLAIN : FL_FALLBACK;
}

static int set(const fl_call *call, fl_value *out)
{
    *out = call->n ? *call->args : (fl_value){.kind = FL_K_TUPLE};
    return call->n < 2 && (out->kind == FL_K_LIST || out->kind == FL_K_TUPLE) ? FL_PLAIN
                                                                              : FL_FALLBACK;
}

/* Decimal(text). */
static int decimal(const fl_call *call, fl_value *out)
{
    if (call->n != 1 || !fl_is_text(call->args))
        return FL_FALLBACK;
    *out = *call->args;
    return FL_PLAIN;
}

int fl_object_read(fl_pool *pool, const fl_value *object, size_t max, fl_value *out)
{
    fl_call call;
    if (!fl_call_of(pool, object, &call))
        return FL_FALLBACK;
    if (call.class_id == FL_CLASS_RECONSTRUCTOR && call.n == 3 &&
        call.args[0].class_id == FL_CLASS_UUID && call.args[1].class_id == FL_CLASS_OBJECT)
        return fl_uuid_read(pool, call.state, out);
    if (call.class_id == FL_CLASS_UUID)
        return call.n ? FL_FALLBACK : fl_uuid_read(pool, call.state, out);
    if (call.state->kind > FL_K_NONE)
        return FL_FALLBACK;
    switch (call.class_id) {
    case FL_CLASS_ENCODE: return encode(pool, &call, max, out);
    case FL_CLASS_BYTES: return bytes(pool, &call, max, out);
    case FL_CLASS_SET: return set(&call, out);
    case FL_CLASS_DATETIME: return fl_datetime_read(pool, &call, out);
    case FL_CLASS_DECIMAL: return decimal(&call, out);
    default: return FL_FALLBACK;
    }
}
