/* tree.c: values as an inert tree in the translation. Pure.
 *
 * fastlog/decode/inert_tree.py has the form of a tree: built-in types of Python only, so that data
 * opcodes suffice. All containers and objects are made first, empty, in the memo. Then each is
 * filled, with references to the others. So nothing recurses, a shared value is written once, and a
 * cycle is no special case. A text from the memo of the frame is written once as well: the tree is
 * never much larger than the frame.
 */
#include "tree.h"
#include "opcode_write.h"

enum {
    TABLE_MIN = 64, /* entries of the table that a tree uses at least */
    LONG1_MAX = 255,
    /* A longer integer is cut to its first digits, or to its most significant bytes. */
    DIGITS_MAX = 4096,
    BYTES_MAX = 1700,
    DIGITS_KEPT = 32,
    BYTES_KEPT = 16
};

typedef struct tree {
    fl_row *row;
    const fl_pool *pool;
    fl_buffer *out;
} tree;

static void put(tree *t, const void *data, size_t len)
{
    fl_buffer_add(t->out, data, len);
}

static void put_byte(tree *t, uint8_t byte)
{
    put(t, &byte, 1);
}

static void put_end(tree *t, const uint8_t *begin, const uint8_t *end)
{
    put(t, begin, (size_t)(end - begin));
}

static void put_get(tree *t, uint32_t slot)
{
    uint8_t op[FL_OPCODE_MAX];
    put_end(t, op, fl_put_get(op, slot));
}

/* Puts the topmost value into the memo. Returns its slot. */
static uint32_t memoize(tree *t)
{
    put_byte(t, FL_OP_MEMOIZE);
    return t->row->memo.next++;
}

/* Writes the name of a part; the first time in the block, after that a fetch from the memo. */
static void put_name(tree *t, enum fl_tree_name name)
{
    static const char *const NAMES[] = {
        [FL_NAME_PAIRS] = "pairs",   [FL_NAME_CLASS] = "class", [FL_NAME_ARGS] = "args",
        [FL_NAME_KWARGS] = "kwargs", [FL_NAME_ITEMS] = "items", [FL_NAME_STATE] = "state",
        [FL_NAME_GLOBAL] = "global", [FL_NAME_CUT] = "cut",     [FL_NAME_SIZE] = "size",
        [FL_NAME_HUGE] = "huge",
    };
    uint32_t *slot = &t->row->memo.names[name];
    if (*slot) {
        put_get(t, *slot - 1);
        return;
    }
    uint8_t op[FL_OPCODE_MAX + 8];
    put_end(t, op, fl_put_text(op, (const uint8_t *)NAMES[name], strlen(NAMES[name])));
    *slot = memoize(t) + 1;
}

static void put_text(tree *t, const fl_value *value)
{
    if (!fl_buffer_reserve(t->out, FL_OPCODE_MAX + value->len))
        return;
    uint8_t *to = t->out->data + t->out->len;
    if (value->kind != FL_K_BYTES) {
        to = fl_put_text(to, value->at.text, value->len);
    } else {
        *to++ = value->len <= UINT8_MAX ? FL_OP_SHORT_BINBYTES : FL_OP_BINBYTES;
        to = fl_put_little(to, value->len, value->len <= UINT8_MAX ? 1 : 4);
        memcpy(to, value->at.text, value->len);
        to += value->len;
    }
    t->out->len = (size_t)(to - t->out->data);
}

/* Returns the entry of this value, or the free one where it belongs. Values are found by the
 * address of their text, as each text was read once. The table is never more than half full, as
 * each value is in the pool, or is the record itself. */
static fl_tree_entry *find_entry(tree *t, const fl_value *value, uint8_t kind)
{
    uint64_t hash = (uint64_t)(uintptr_t)value->at.text * UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ hash >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    for (size_t at = (size_t)(hash >> 40);; at++) {
        fl_tree_entry *entry = &t->row->tree_table[at & t->row->tree_table_mask];
        if (entry->tree != t->row->last_tree ||
            (entry->text == value->at.text && entry->len == value->len && entry->kind == kind))
            return entry;
    }
}

/* Writes a value whose text is in the frame or in scratch; a reference, if it was fetched from
 * the memo and written before.
 *
 * kind: what is written of it, as a global can be written as a text or as a node. */
static void put_shared(tree *t, const fl_value *value, uint8_t kind,
                       void (*put_value)(tree *, const fl_value *))
{
    if (!value->from_memo || (value->len < FL_OPCODE_MAX && kind != FL_K_GLOBAL)) {
        put_value(t, value);
        return;
    }
    fl_tree_entry *entry = find_entry(t, value, kind);
    if (entry->tree == t->row->last_tree) {
        put_get(t, entry->slot);
        return;
    }
    put_value(t, value);
    *entry = (fl_tree_entry){value->at.text, value->len, memoize(t), t->row->last_tree, kind};
}

static void put_long(tree *t, const uint8_t *little, size_t len)
{
    uint8_t op[FL_OPCODE_MAX], *to = op;
    *to++ = len <= LONG1_MAX ? FL_OP_LONG1 : FL_OP_LONG4;
    put_end(t, op, fl_put_little(to, len, len <= LONG1_MAX ? 1 : 4));
    put(t, little, len);
}

static void put_big(tree *t, const fl_value *value)
{
    if (value->kind == FL_K_BIG_BYTES) {
        put_long(t, value->at.text, value->len);
        return;
    }
    put_byte(t, FL_OP_LONG);
    put(t, value->at.text, value->len);
    put(t, "L\n", 2);
}

static void put_number(tree *t, const fl_value *value)
{
    uint8_t op[FL_OPCODE_MAX];
    switch (value->kind) {
    case FL_K_INT: put_end(t, op, fl_put_integer(op, value->at.integer)); break;
    case FL_K_FLOAT: put_end(t, op, fl_put_float(op, value->at.real)); break;
    default: /* FL_K_UINT */
        fl_put_little(op, value->at.natural, 8);
        op[8] = 0; /* it is not negative */
        put_long(t, op, 9);
    }
}

/* Begins a node with one part, whose value follows, and then a SETITEM. */
static void put_part(tree *t, enum fl_tree_name name)
{
    put_byte(t, FL_OP_EMPTY_DICT);
    put_name(t, name);
}

static bool is_huge(const fl_value *value)
{
    return (value->kind == FL_K_BIG_BYTES && value->len > BYTES_MAX) ||
           (value->kind == FL_K_BIG_DIGITS && value->len - (*value->at.text == '-') > DIGITS_MAX);
}

/* Writes {"huge": [what is kept of it, the length]}. */
static void put_huge(tree *t, const fl_value *value)
{
    bool is_text = value->kind == FL_K_BIG_DIGITS;
    fl_value head = {.kind = FL_K_TEXT, .len = DIGITS_KEPT, .at.text = value->at.text};
    fl_value len = {.kind = FL_K_INT, .at.integer = value->len};
    if (is_text)
        len.at.integer -= *value->at.text == '-';
    else
        head = (fl_value){.kind = FL_K_BYTES,
                          .len = BYTES_KEPT,
                          .at.text = value->at.text + value->len - BYTES_KEPT};
    put_part(t, FL_NAME_HUGE);
    put_byte(t, FL_OP_EMPTY_LIST);
    put_byte(t, FL_OP_MARK);
    put_text(t, &head);
    put_number(t, &len);
    put_byte(t, FL_OP_APPENDS);
    put_byte(t, FL_OP_SETITEM);
}

static void put_global(tree *t, const fl_value *value)
{
    put_part(t, FL_NAME_GLOBAL);
    put_shared(t, value, FL_K_TEXT, put_text);
    put_byte(t, FL_OP_SETITEM);
}

/* Writes {"cut": "size"}, once in the block. */
static void put_overflow(tree *t)
{
    uint32_t *slot = &t->row->memo.names[FL_NAME_OVERFLOW];
    if (*slot) {
        put_get(t, *slot - 1);
        return;
    }
    put_part(t, FL_NAME_CUT);
    put_name(t, FL_NAME_SIZE);
    put_byte(t, FL_OP_SETITEM);
    *slot = memoize(t) + 1;
}

static void put_value(tree *t, const fl_value *value)
{
    switch (value->kind) {
    case FL_K_NONE: put_byte(t, FL_OP_NONE); break;
    case FL_K_TRUE: put_byte(t, FL_OP_NEWTRUE); break;
    case FL_K_FALSE: put_byte(t, FL_OP_NEWFALSE); break;
    case FL_K_TEXT:
    case FL_K_UNCLEAN:
    case FL_K_BYTES: put_shared(t, value, FL_K_TEXT, put_text); break;
    case FL_K_BIG_DIGITS:
    case FL_K_BIG_BYTES:
        put_shared(t, value, value->kind, is_huge(value) ? put_huge : put_big);
        break;
    case FL_K_GLOBAL: put_shared(t, value, FL_K_GLOBAL, put_global); break;
    case FL_K_OVERFLOW: put_overflow(t); break;
    case FL_K_LIST:
    case FL_K_SET:
    case FL_K_TUPLE:
    case FL_K_DICT:
    case FL_K_OBJECT:
        if (value->at.node)
            put_get(t, fl_node_of(t->pool, value)->tree_memo);
        else
            put_byte(t, FL_OP_EMPTY_LIST);
        break;
    default: put_number(t, value);
    }
}

/* Appends these values to the list on the stack. */
static void put_items(tree *t, const fl_items *items)
{
    fl_walk walk = fl_walk_over(t->pool, items);
    if (!items->len)
        return;
    put_byte(t, FL_OP_MARK);
    for (const fl_value *value; (value = fl_walk_next(&walk));)
        put_value(t, value);
    put_byte(t, FL_OP_APPENDS);
}

static void put_list(tree *t, const fl_items *items)
{
    put_byte(t, FL_OP_EMPTY_LIST);
    put_items(t, items);
}

/* Sets the parts of an object in the dict on the stack. */
static void put_object(tree *t, const fl_node *node)
{
    const fl_value *parts = &t->pool->values[node->parts + 1];
    put_byte(t, FL_OP_MARK);
    put_name(t, FL_NAME_CLASS);
    if (parts[FL_PART_CLASS].kind == FL_K_GLOBAL)
        put_shared(t, &parts[FL_PART_CLASS], FL_K_TEXT, put_text);
    else
        put_value(t, &parts[FL_PART_CLASS]);
    put_name(t, FL_NAME_ARGS);
    put_value(t, &parts[FL_PART_ARGS]);
    if (parts[FL_PART_KWARGS].kind != FL_K_NONE) {
        put_name(t, FL_NAME_KWARGS);
        put_value(t, &parts[FL_PART_KWARGS]);
    }
    if (node->items.len) {
        put_name(t, FL_NAME_ITEMS);
        put_list(t, &node->items);
    }
    if (node->pairs.len) {
        put_name(t, FL_NAME_PAIRS);
        put_list(t, &node->pairs);
    }
    if (parts[FL_PART_STATE].kind != FL_K_UNSET) {
        put_name(t, FL_NAME_STATE);
        put_value(t, &parts[FL_PART_STATE]);
    }
    put_byte(t, FL_OP_SETITEMS);
}

/* Writes the content of a node, which is in the memo. */
static void fill(tree *t, const fl_node *node)
{
    bool is_object = node->kind == FL_K_OBJECT;
    if (!is_object && node->kind != FL_K_DICT && !node->items.len)
        return;
    put_get(t, node->tree_memo);
    if (is_object) {
        put_object(t, node);
    } else if (node->kind == FL_K_DICT) {
        put_name(t, FL_NAME_PAIRS);
        put_list(t, &node->items);
        put_byte(t, FL_OP_SETITEM);
    } else {
        put_items(t, &node->items);
    }
}

void fl_tree_begin(fl_row *row, fl_pool *pool, uint32_t without, fl_buffer *out)
{
    tree t = {row, pool, out};
    if (!++row->last_tree) { /* the numbers start again */
        memset(row->tree_table, 0, FL_TREE_TABLE * sizeof *row->tree_table);
        row->last_tree = 1;
    }
    uint32_t slots = TABLE_MIN;
    while (slots <
           2 * pool->values_used) /* at most FL_TREE_TABLE, as the pool has FL_POOL_VALUES */
        slots *= 2;
    row->tree_table_mask = slots - 1;
    put_byte(&t, FL_OP_MARK);
    for (uint32_t i = 1; i < pool->nodes_used; i++) {
        if (i == without)
            continue;
        put_byte(&t, pool->nodes[i].kind >= FL_K_DICT ? FL_OP_EMPTY_DICT : FL_OP_EMPTY_LIST);
        pool->nodes[i].tree_memo = memoize(&t);
    }
    for (uint32_t i = 1; i < pool->nodes_used; i++)
        if (i != without)
            fill(&t, &pool->nodes[i]);
    put_byte(&t, FL_OP_POP_MARK);
}

void fl_tree_shared(fl_row *row, fl_pool *pool, fl_buffer *out)
{
    tree t = {row, pool, out};
    if (!pool->may_cycle) {
        put_byte(&t, FL_OP_NONE);
        return;
    }
    put_byte(&t, FL_OP_EMPTY_LIST);
    put_byte(&t, FL_OP_MARK);
    for (uint32_t i = 1; i < pool->nodes_used; i++)
        if (pool->nodes[i].is_shared)
            put_get(&t, pool->nodes[i].tree_memo);
    put_byte(&t, FL_OP_APPENDS);
}

void fl_tree_value(fl_row *row, fl_pool *pool, const fl_value *value, fl_buffer *out)
{
    tree t = {row, pool, out};
    put_value(&t, value);
}
