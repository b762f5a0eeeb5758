/* generic.c: objects of classes without a meaning, by class, arguments and state. Pure. */
#include "generic.h"
#include "call.h"
#include "text.h"

#include <stdlib.h>

enum { NAME_BYTES_MAX = 256 /* bytes of a module, and of a name in it with the colon */ };

static int compare(const void *name, const void *meaning)
{
    return strcmp(name, *(const char *const *)meaning);
}

static bool is_among(const fl_meanings *meanings, const char *name)
{
    return bsearch(name, meanings->names, meanings->n, sizeof *meanings->names, compare);
}

/* Writes the name of the class that this global names. Returns false if the class is among the
 * meanings, or if Python would rename it or cut its name. */
static bool write_name(const fl_meanings *meanings, const fl_value *global, fl_generic *out)
{
    const uint8_t *text = global->at.text + FL_GLOBAL_HEAD;
    size_t len = global->len - FL_GLOBAL_HEAD;
    const uint8_t *colon = memchr(text, ':', len);
    size_t module = colon ? (size_t)(colon - text) : len;
    if (module > NAME_BYTES_MAX || len - module > NAME_BYTES_MAX ||
        fl_text_check(text, len) != FL_TEXT_CLEAN)
        return false;
    memcpy(out->name, text, len);
    out->name[module + 1] = 0;
    if (is_among(meanings, out->name))
        return false;
    memcpy(out->name, text, len);
    out->name[module] = '.';
    out->name[len] = 0;
    out->name_len = len;
    return !is_among(meanings, out->name);
}

/* Whether a state has an attribute like `__dict__`, which says how the others are stored. */
static bool has_dunder(const fl_pool *pool, const fl_items *items)
{
    fl_walk walk = fl_walk_over(pool, items);
    for (const fl_value *key; (key = fl_walk_next(&walk)); fl_walk_next(&walk))
        if (fl_is_text(key) && key->len > 1 && !memcmp(key->at.text, "__", 2))
            return true;
    return false;
}

int fl_generic_read(const fl_pool *pool, const fl_value *object, const fl_meanings *meanings,
                    fl_generic *out)
{
    const fl_value *parts = fl_parts_of(pool, object), *class = &parts[FL_PART_CLASS];
    fl_call call;
    if (!fl_call_of(pool, object, &call) ||
        (call.class_id && call.class_id != FL_CLASS_RECONSTRUCTOR))
        return FL_FALLBACK;
    const fl_value *args = &parts[FL_PART_ARGS];
    out->args = args->at.node ? &fl_node_of(pool, args)->items : NULL;
    if (call.class_id == FL_CLASS_RECONSTRUCTOR) {
        /* Protocol 1 calls _reconstructor(class, object, None) for object.__new__(class). */
        if (call.n != 3 || call.args[0].kind != FL_K_GLOBAL ||
            call.args[1].class_id != FL_CLASS_OBJECT)
            return FL_FALLBACK;
        class = &call.args[0];
        out->args = NULL;
    }
    if (class->class_id || !write_name(meanings, class, out))
        return FL_FALLBACK;
    out->state = &parts[FL_PART_STATE];
    if (fl_is_sequence(out->state) && fl_node_of(pool, out->state)->items.len)
        return FL_FALLBACK; /* the state of an object with __slots__ */
    if (out->state->kind <= FL_K_NONE ||
        (fl_is_container(out->state) && fl_is_empty(pool, out->state)))
        out->state = NULL;
    else if (out->state->kind == FL_K_DICT &&
             has_dunder(pool, &fl_node_of(pool, out->state)->items))
        return FL_FALLBACK;
    return FL_PLAIN;
}
