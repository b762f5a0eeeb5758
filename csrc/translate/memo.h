/* memo.h: the memo of the pickle that is read. For the files of the unpickler. */
#ifndef FL_TRANSLATE_MEMO_H
#define FL_TRANSLATE_MEMO_H

#include "machine.h"

/* Puts the topmost value into a slot. The slot is below half of the length of the pickle, so that
 * memory is linear in it. */
static inline int fl_memo_put(fl_machine *m, size_t slot)
{
    fl_unpickler *unpickler = m->unpickler;
    if (m->sp == m->base)
        return FL_BAD_UNDERFLOW;
    if (slot >= (size_t)(m->stop - m->start) / 2 + 2)
        return FL_BAD_MEMO_INDEX;
    if (slot >= FL_SLOTS)
        return FL_FALLBACK;
    while (unpickler->memo_used <= slot) {
        unpickler->memo[unpickler->memo_used++].kind = FL_K_UNSET;
        unpickler->memo_unset++;
    }
    unpickler->memo_unset -= unpickler->memo[slot].kind == FL_K_UNSET;
    unpickler->memo[slot] = m->sp[-1];
    return FL_PLAIN;
}

/* Puts the topmost value into the next slot. The only bound is FL_SLOTS, as a pickle cannot have
 * more puts than bytes. */
static inline int fl_memo_append(fl_machine *m)
{
    fl_unpickler *unpickler = m->unpickler;
    if (m->sp == m->base)
        return FL_BAD_UNDERFLOW;
    if (unpickler->memo_used == FL_SLOTS)
        return FL_FALLBACK;
    unpickler->memo[unpickler->memo_used++] = m->sp[-1];
    return FL_PLAIN;
}

/* MEMOIZE: the slot is the number of slots that are set, as in Python's pickle. */
static inline int fl_memo_memoize(fl_machine *m)
{
    const fl_unpickler *unpickler = m->unpickler;
    return unpickler->memo_unset ? fl_memo_put(m, unpickler->memo_used - unpickler->memo_unset)
                                 : fl_memo_append(m);
}

/* Pushes the value of a slot. */
static inline int fl_memo_get(fl_machine *m, size_t slot)
{
    fl_unpickler *unpickler = m->unpickler;
    if (slot >= unpickler->memo_used || unpickler->memo[slot].kind == FL_K_UNSET)
        return FL_BAD_MEMO_UNSET;
    *m->sp = unpickler->memo[slot];
    m->sp->from_memo = true;
    if (fl_has_node(m->sp))
        unpickler->pool.nodes[m->sp->at.node].is_shared = true;
    m->sp++;
    return FL_PLAIN;
}

#endif
