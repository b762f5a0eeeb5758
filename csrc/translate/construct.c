/* construct.c: opcodes that name globals and make objects. Pure. */
#include "construct.h"
#include "classes.h"
#include "text.h"

static const fl_value NO_KWARGS = {.kind = FL_K_NONE};

/* Returns the state of an object; FL_K_UNSET: it has none yet. */
static fl_value *state_of(const fl_pool *pool, const fl_value *object)
{
    return &pool->values[pool->nodes[object->at.node].parts + 1 + FL_PART_STATE];
}

static void set_state(fl_pool *pool, const fl_value *object, const fl_value *state)
{
    pool->may_cycle |= pool->nodes[object->at.node].is_shared;
    *state_of(pool, object) = *state;
}

/* Sets the state of the topmost object if `result` is setter(object, state). This is what CPython
 * writes for an object with a setter of its own: it drops the result of the call. */
static void set_state_by_call(fl_machine *m, const fl_value *result)
{
    fl_pool *pool = &m->unpickler->pool;
    if (result->kind != FL_K_OBJECT || m->sp == m->base)
        return;
    const fl_value *target = m->sp - 1, *args = &fl_parts_of(pool, result)[FL_PART_ARGS];
    const fl_items *items = &fl_node_of(pool, args)->items;
    const fl_value *values = &pool->values[items->first + 1];
    if (target->kind == FL_K_OBJECT && args->at.node && items->len == 2 &&
        values[0].kind == FL_K_OBJECT && values[0].at.node == target->at.node &&
        state_of(pool, target)->kind == FL_K_UNSET)
        set_state(pool, target, &values[1]);
}

int fl_construct_pop(fl_machine *m)
{
    fl_value *values;
    size_t n;
    if (m->sp == m->base)
        return fl_machine_pop_mark(m, &values, &n);
    m->sp--;
    set_state_by_call(m, m->sp);
    return FL_PLAIN;
}

int fl_construct_build(fl_machine *m)
{
    if (fl_machine_depth(m) < 2)
        return FL_BAD_UNDERFLOW;
    m->sp--;
    const fl_value *target = m->sp - 1;
    if (target->kind == FL_K_OVERFLOW)
        return FL_PLAIN;
    if (target->kind != FL_K_OBJECT)
        return FL_BAD_BUILD;
    set_state(&m->unpickler->pool, target, m->sp);
    return FL_PLAIN;
}

/* ---- Globals ---- */

static int read_name_line(fl_machine *m, fl_value *out)
{
    size_t len;
    int verdict = fl_machine_line(m, &len);
    if (verdict)
        return verdict;
    *out = (fl_value){.kind = FL_K_TEXT, .len = (uint32_t)len, .at.text = m->p};
    m->p += len + 1;
    return FL_PLAIN;
}

/* Pushes the global "protocol:module:name". The names can come from the memo, again and again, so
 * the total of their characters is bounded. */
static int push_global(fl_machine *m, const fl_value *module, const fl_value *name)
{
    fl_unpickler *unpickler = m->unpickler;
    size_t characters = FL_NAME_CHARACTERS_MAX, name_characters = FL_NAME_CHARACTERS_MAX;
    size_t module_len = fl_text_head(module->at.text, module->len, &characters);
    size_t name_len = fl_text_head(name->at.text, name->len, &name_characters);
    characters += name_characters;
    if (!fl_machine_count_container(m) || characters > unpickler->name_characters_left) {
        fl_machine_push(m, FL_K_OVERFLOW);
        return FL_PLAIN;
    }
    unpickler->name_characters_left -= characters;
    size_t head = FL_GLOBAL_HEAD, len = head + module_len + 1 + name_len;
    uint8_t *text = fl_pool_scratch(&unpickler->pool, len);
    if (!text)
        return FL_ENOMEM;
    text[0] = (uint8_t)('0' + unpickler->protocol);
    text[1] = ':';
    memcpy(text + head, module->at.text, module_len);
    text[head + module_len] = ':';
    memcpy(text + head + module_len + 1, name->at.text, name_len);
    fl_value dotted = {.len = (uint32_t)(len - head), .at.text = text + head};
    *m->sp++ = (fl_value){.kind = FL_K_GLOBAL,
                          .class_id = fl_class_id_of(&dotted, unpickler->protocol),
                          .len = (uint32_t)len,
                          .at.text = text};
    return FL_PLAIN;
}

int fl_construct_global(fl_machine *m)
{
    fl_value module, name;
    int verdict = read_name_line(m, &module);
    if (!verdict)
        verdict = read_name_line(m, &name);
    if (verdict)
        return verdict;
    if (fl_text_check(module.at.text, module.len) == FL_TEXT_INVALID ||
        fl_text_check(name.at.text, name.len) == FL_TEXT_INVALID)
        return FL_BAD_UTF8;
    return push_global(m, &module, &name);
}

int fl_construct_stack_global(fl_machine *m)
{
    if (fl_machine_depth(m) < 2)
        return FL_BAD_UNDERFLOW;
    m->sp -= 2;
    fl_value module = m->sp[0], name = m->sp[1];
    return fl_is_str(&module) && fl_is_str(&name) ? push_global(m, &module, &name) : FL_BAD_NAME;
}

/* ---- Objects ---- */

/* Makes *out a tuple of these values. It does not count as a container. */
static int make_arguments(fl_pool *pool, const fl_value *values, size_t n, fl_value *out)
{
    fl_node *node = fl_pool_add_node(pool, FL_K_TUPLE, out);
    return node ? fl_pool_append(pool, &node->items, values, n) : FL_FALLBACK;
}

/* Pushes the object factory(*args, **kwargs), which is not called. */
static int push_object(fl_machine *m, fl_value factory, fl_value args, fl_value kwargs)
{
    fl_pool *pool = &m->unpickler->pool;
    if (factory.kind != FL_K_GLOBAL && factory.kind != FL_K_OBJECT && factory.kind != FL_K_OVERFLOW)
        return FL_BAD_CALL;
    if (args.kind == FL_K_OVERFLOW) {
        fl_value overflow = args;
        if (make_arguments(pool, &overflow, 1, &args))
            return FL_FALLBACK;
    }
    if (kwargs.kind == FL_K_OVERFLOW)
        kwargs.kind = FL_K_NONE;
    if (args.kind != FL_K_TUPLE || (kwargs.kind != FL_K_NONE && kwargs.kind != FL_K_DICT))
        return FL_BAD_ARGUMENTS;
    if (!fl_machine_count_container(m)) {
        fl_machine_push(m, FL_K_OVERFLOW);
        return FL_PLAIN;
    }
    const fl_value parts[FL_PARTS] = {factory, args, kwargs, {.kind = FL_K_UNSET}};
    fl_value made;
    fl_node *node = fl_pool_add_node(pool, FL_K_OBJECT, &made);
    if (!node || !(node->parts = fl_pool_add_batch(pool, parts, FL_PARTS)))
        return FL_FALLBACK;
    *m->sp++ = made;
    return FL_PLAIN;
}

int fl_construct_reduce(fl_machine *m)
{
    if (fl_machine_depth(m) < 2)
        return FL_BAD_UNDERFLOW;
    m->sp -= 2;
    return push_object(m, m->sp[0], m->sp[1], NO_KWARGS);
}

int fl_construct_newobj_ex(fl_machine *m)
{
    if (fl_machine_depth(m) < 3)
        return FL_BAD_UNDERFLOW;
    m->sp -= 3;
    return push_object(m, m->sp[0], m->sp[1], m->sp[2]);
}

int fl_construct_inst(fl_machine *m, bool has_name)
{
    fl_value *values, args, factory;
    size_t n;
    int verdict = fl_machine_pop_mark(m, &values, &n);
    if (verdict)
        return verdict;
    if (!has_name && !n)
        return FL_BAD_UNDERFLOW;
    if (!has_name) {
        factory = *values++;
        n--;
    }
    if (make_arguments(&m->unpickler->pool, values, n, &args))
        return FL_FALLBACK;
    if (has_name) {
        verdict = fl_construct_global(m);
        if (verdict)
            return verdict;
        factory = *--m->sp;
    }
    return push_object(m, factory, args, NO_KWARGS);
}
