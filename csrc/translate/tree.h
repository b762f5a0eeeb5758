/* tree.h: values as an inert tree in the translation. For pickled.c.
 *
 * out->failed is set if there was no memory.
 */
#ifndef FL_TRANSLATE_TREE_H
#define FL_TRANSLATE_TREE_H

#include "row.h"

/* Begins a tree: writes the content of all containers and objects of the pool into the memo, except
 * that of the node `without` (0: of none). Leaves nothing on the stack. */
void fl_tree_begin(fl_row *row, fl_pool *pool, uint32_t without, fl_buffer *out);

/* Writes a value of the tree. */
void fl_tree_value(fl_row *row, fl_pool *pool, const fl_value *value, fl_buffer *out);

/* Writes a list of the nodes that were fetched from the memo: each cycle goes through one of them.
 * Writes None if there can be no cycle. */
void fl_tree_shared(fl_row *row, fl_pool *pool, fl_buffer *out);

#endif
