/* runs.h: the layout of the runs of a block, which the loop writes and the translator reads.
 *
 * Behind its header, a block is a sequence of runs. A run holds consecutive frames of one
 * connection:
 *
 *     run    = header 16 | peer | stamp, of a fastlog client | frames
 *     header = kind u8 | peer_len u8 | 0 u16 | connection u32 | frames u32 | len u32
 *     stamp  = client id 16 | incarnation u64 | first sequence u64 | key 8
 *
 * len counts the bytes of stamp and frames. Each frame has its length field before it. Integers are
 * big-endian. fastlog/block.py reads the same layout in Python.
 */
#ifndef FL_RUNS_H
#define FL_RUNS_H

#include "framer/framer.h"

/* cffi: begin */

/* The kinds of runs that the loop writes. Python writes the other numbers. */
enum {
    FL_RUN_STOCK = 0, /* pickles of a stock client */
    FL_RUN_BATCH = 3, /* records of a fastlog client */
    FL_RUN_GAP = 4,   /* one frame: sequences of a fastlog client that will never arrive */
};

enum {
    FL_CLIENT_ID = 16,  /* bytes of a client id */
    FL_CLIENT_KEY = 8,  /* bytes of the key id that a client has proved; all zero: none */
    FL_RUN_HEADER = 16, /* bytes of a run's header */
    FL_RUN_STAMP = 40,  /* bytes of the stamp in a run of a fastlog client */
};

/* cffi: end */

#endif
