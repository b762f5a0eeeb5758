/* schema.h: the columns that the C tests of the translator use: each kind once or twice. */
#include "translate/translate.h"

static const fl_column COLUMNS[] = {
    {"created", NULL, FL_COL_TIME, 0},
    {"levelno", NULL, FL_COL_INTEGER, FL_COL_ALL_OR_NONE},
    {"levelname", NULL, FL_COL_TEXT, FL_COL_RECURS | FL_COL_ALL_OR_NONE},
    {"name", NULL, FL_COL_TEXT, FL_COL_RECURS},
    {"msg", "message", FL_COL_MESSAGE, 0},
    {"thread", NULL, FL_COL_INTEGER, FL_COL_RECURS},
    {"exc_text", NULL, FL_COL_TRACE, 0},
    {"host", NULL, FL_COL_HOST, FL_COL_RECURS},
    {"received", NULL, FL_COL_RECEIVED, FL_COL_RECURS},
    {"extra", NULL, FL_COL_EXTRA, FL_COL_RECURS},
    {"offset", NULL, FL_COL_OFFSET, FL_COL_RECURS},
    {"idx", NULL, FL_COL_IDX, 0},
    {"args", NULL, FL_COL_ARGS, 0},
    {"asctime", NULL, FL_COL_EMPTY, 0},
    {"message", NULL, FL_COL_TWIN, 0},
};

static const fl_bounds BOUNDS = {32, 20000, 64, 1 << 20, 8, 8192, 6,  512,
                                 3,  9,     32, 12,      3, 0.0,  4e9};

static const char *const NAMES[] = {"app.Known", "copyreg.__newobj__", "exceptions:"};
static const fl_meanings MEANINGS = {NAMES, sizeof NAMES / sizeof *NAMES};

enum { COLUMN_COUNT = sizeof COLUMNS / sizeof *COLUMNS, VALUES = 12 /* in a row */ };
