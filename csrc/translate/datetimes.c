/* datetimes.c: a datetime as ISO 8601. Pure. */
#include "datetimes.h"
#include "dtoa.h"

enum {
    ZONE_NAME_MAX = 64,
    TEXT_MAX = 64 + ZONE_NAME_MAX,
    PACKED_BYTES = 10 /* the state of a datetime: year, month, day, time, microseconds */
};

#define DAY INT64_C(86400)
#define MILLION INT64_C(1000000)

/* Writes HH:MM:SS, and .ffffff unless there are no microseconds. */
static char *put_time(char *to, const uint8_t *hms, uint32_t micro)
{
    for (int i = 0; i < 3; i++) {
        to = fl_padded_write(hms[i], 2, to);
        *to++ = ':';
    }
    if (!micro)
        return to - 1;
    to[-1] = '.';
    return fl_padded_write(micro, 6, to);
}

static uint32_t read_big24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static bool is_time(const uint8_t *hms)
{
    return hms[0] < 24 && hms[1] < 60 && hms[2] < 60 && read_big24(hms + 3) < MILLION;
}

static bool is_date(unsigned year, unsigned month, unsigned day)
{
    static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= DAYS[month - 1] + (unsigned)(leap && month == 2);
}

static char *put_date(char *to, unsigned year, unsigned month, unsigned day)
{
    to = fl_padded_write(year, 4, to);
    *to++ = '-';
    to = fl_padded_write(month, 2, to);
    *to++ = '-';
    return fl_padded_write(day, 2, to);
}

/* Writes an offset in seconds east of UTC as +HH:MM, and :SS unless there are no seconds. */
static char *put_zone(char *to, int64_t east)
{
    *to++ = east < 0 ? '-' : '+';
    uint64_t seconds = (uint64_t)(east < 0 ? -east : east);
    to = fl_padded_write(seconds / 3600, 2, to);
    *to++ = ':';
    to = fl_padded_write(seconds / 60 % 60, 2, to);
    if (seconds % 60) {
        *to++ = ':';
        to = fl_padded_write(seconds % 60, 2, to);
    }
    return to;
}

/* Returns whether this is a timezone(timedelta), perhaps with a name, of whole seconds. *east: its
 * offset in seconds east of UTC. */
static bool read_offset(const fl_pool *pool, const fl_value *zone, int64_t *east)
{
    fl_call call, delta;
    if (!fl_call_is(pool, zone, FL_CLASS_TIMEZONE, &call) || call.n < 1 || call.n > 2 ||
        !fl_call_is(pool, call.args, FL_CLASS_TIMEDELTA, &delta) || delta.n != 3)
        return false;
    for (size_t i = 0; i < delta.n; i++)
        if (delta.args[i].kind != FL_K_INT)
            return false;
    int64_t days = delta.args[0].at.integer, seconds = delta.args[1].at.integer;
    if (days < -1 || days > 0 || seconds < 0 || seconds >= DAY || delta.args[2].at.integer)
        return false;
    *east = days * DAY + seconds;
    return *east > -DAY;
}

/* Returns whether this is ZoneInfo._unpickle(name, …), as picklers write a ZoneInfo. */
static bool read_zone_name(const fl_pool *pool, const fl_value *zone, const fl_value **name)
{
    fl_call method, call;
    if (zone->kind != FL_K_OBJECT || fl_call_has_more(pool, zone))
        return false;
    const fl_value *parts = fl_parts_of(pool, zone);
    if (!fl_call_is(pool, &parts[FL_PART_CLASS], FL_CLASS_GETATTR, &method) || method.n != 2 ||
        method.args[0].class_id != FL_CLASS_ZONEINFO || method.args[1].kind != FL_K_TEXT ||
        !fl_value_equals(&method.args[1], "_unpickle") ||
        !fl_call_arguments(pool, &parts[FL_PART_ARGS], &call) || call.n < 1)
        return false;
    *name = &call.args[0];
    return (*name)->kind == FL_K_TEXT && (*name)->len <= ZONE_NAME_MAX;
}

/* Reads the packed state that any Python writes as the first argument of a datetime. */
static bool read_packed(const fl_pool *pool, const fl_value *state, uint8_t out[PACKED_BYTES])
{
    fl_call call;
    if (fl_call_is(pool, state, FL_CLASS_ENCODE, &call)) {
        if (call.n != 2 || !fl_is_str(call.args))
            return false;
        size_t len = 0, at = 0;
        const uint8_t *text = call.args->at.text;
        for (; at < call.args->len && len < PACKED_BYTES; at++) {
            uint8_t byte = text[at];
            if (byte > 0xC3)
                return false;
            out[len++] = byte < 0x80 ? byte : (uint8_t)(byte << 6 | (text[++at] & 0x3F));
        }
        return len == PACKED_BYTES && at == call.args->len;
    }
    if (state->kind != FL_K_BYTES || state->len != PACKED_BYTES)
        return false;
    memcpy(out, state->at.text, PACKED_BYTES);
    return true;
}

int fl_datetime_read(fl_pool *pool, const fl_call *call, fl_value *out)
{
    uint8_t raw[PACKED_BYTES];
    int64_t east = 0;
    bool is_zoned = call->n == 2 && call->args[1].kind != FL_K_NONE;
    if (call->n < 1 || call->n > 2 || !read_packed(pool, call->args, raw))
        return FL_FALLBACK;
    const fl_value *name = NULL;
    if (is_zoned && !read_offset(pool, &call->args[1], &east) &&
        !read_zone_name(pool, &call->args[1], &name))
        return FL_FALLBACK;
    unsigned year = (unsigned)raw[0] << 8 | raw[1];
    unsigned month = raw[2] & 0x7F; /* the highest bit is the fold */
    if (!is_date(year, month, raw[3]) || !is_time(raw + 4))
        return FL_FALLBACK;
    char text[TEXT_MAX], *to = put_date(text, year, month, raw[3]);
    *to++ = 'T';
    to = put_time(to, raw + 4, read_big24(raw + 7));
    if (name) { /* the pickle does not hold its offset */
        *to++ = '[';
        memcpy(to, name->at.text, name->len);
        to += name->len;
        *to++ = ']';
    } else if (is_zoned) {
        to = put_zone(to, east);
    }
    return fl_pool_add_text(pool, text, (size_t)(to - text), out);
}
