/* schema.h: the columns that the C tests of the translator use: each kind once or twice. */
#include "translate/translate.h"

static const fl_column COLUMNS[] = {
    {"created", NULL, FL_COL_TIME, 0, 0},
    {"levelno", NULL, FL_COL_INTEGER, FL_COL_ALL_OR_NONE, 1},
    {"levelname", NULL, FL_COL_TEXT, FL_COL_RECURS | FL_COL_ALL_OR_NONE, 1},
    {"name", NULL, FL_COL_TEXT, FL_COL_RECURS, 1},
    {"msg", "message", FL_COL_MESSAGE, 0, 0},
    {"thread", NULL, FL_COL_INTEGER, FL_COL_RECURS, 2},
    {"exc_text", NULL, FL_COL_TRACE, 0, 0},
    {"host", NULL, FL_COL_HOST, FL_COL_RECURS, 2},
    {"certificate", NULL, FL_COL_CERTIFICATE, FL_COL_RECURS, 2},
    {"received", NULL, FL_COL_RECEIVED, FL_COL_RECURS, 0},
    {"extra", NULL, FL_COL_EXTRA, FL_COL_RECURS, 0},
    {"offset", NULL, FL_COL_OFFSET, FL_COL_RECURS, 0},
    {"idx", NULL, FL_COL_IDX, 0, 0},
    {"args", NULL, FL_COL_ARGS, 0, 0},
    {"asctime", NULL, FL_COL_EMPTY, 0, 0},
    {"message", NULL, FL_COL_TWIN, 0, 0},
    {"extra", NULL, FL_COL_NESTED, 0, 0},
};

static const fl_bounds BOUNDS = {32, 20000, 64, 1 << 20, 8, 8192, 6,  512,
                                 3,  9,     32, 12,      3, 0.0,  4e9};

static const char *const NAMES[] = {"app.Known", "copyreg.__newobj__", "exceptions:"};
static const fl_meanings MEANINGS = {NAMES, sizeof NAMES / sizeof *NAMES};

enum { COLUMN_COUNT = sizeof COLUMNS / sizeof *COLUMNS, VALUES = 13 /* in a row */ };

/* In FL_COLUMNS: the columns without a group, and the lists and numbers of the two groups. */
enum { LISTS = 5 + 2 * 3 };

/* In FL_COPY: two fields for each of the two times, and the node. */
enum { FIELDS = VALUES + 2 + 1 };
