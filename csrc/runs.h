/* runs.h: the layout of a block, as the loop writes it and the translator reads it. */
#ifndef FL_RUNS_H
#define FL_RUNS_H

#include "framer/framer.h"

/* cffi: begin */

/* ---- Blocks: runs of frames, as the loop makes them and the translator reads them ----------
 *
 * A run is a header, its peer, and the frames of one connection. fastlog/block.py has the layout.
 */

/* What the frames of a run are; those that are not here the loop does not make. */
enum { FL_RUN_STOCK = 0, FL_RUN_BATCH = 3, FL_RUN_GAP = 4 };

enum {
    FL_CLIENT_ID = 16,
    FL_CLIENT_KEY = 8, /* names the key that a client has proved; zeros: none */
    FL_RUN_HEADER = 16,
    FL_RUN_STAMP = 40, /* of a run of a fastlog client: id, incarnation, first sequence, key */
};

/* cffi: end */

#endif
