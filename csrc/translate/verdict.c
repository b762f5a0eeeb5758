/* verdict.c: the texts of the verdicts. Pure.
 *
 * fastlog/decode/unpickle.py and pickle_machine.py reject the same pickles with the same texts.
 */
#include "translate.h"

static const char *const TEXTS[FL_VERDICTS] = {
    [FL_PLAIN] = "plain",
    [FL_FALLBACK] = "left to Python",
    [FL_EXTRA] = "its extra attributes are a tree",
    [FL_TREE] = "a tree",
    [FL_BAD_NO_STOP] = "malformed pickle: no STOP",
    [FL_BAD_TRUNCATED] = "malformed pickle: truncated",
    [FL_BAD_UNDERFLOW] = "malformed pickle: stack underflow",
    [FL_BAD_MEMO_INDEX] = "malformed pickle: memo index out of bounds",
    [FL_BAD_MEMO_UNSET] = "malformed pickle: memo slot not set",
    [FL_BAD_UTF8] = "malformed pickle: text is not UTF-8",
    [FL_BAD_NESTED_FRAME] = "malformed pickle: nested frame",
    [FL_BAD_FRAME_LENGTH] = "malformed pickle: frame length",
    [FL_BAD_PROTOCOL] = "malformed pickle: unknown protocol",
    [FL_BAD_DEPTH] = "malformed pickle: nested too deep",
    [FL_BAD_TRAILING] = "malformed pickle: bytes behind STOP",
    [FL_BAD_OPEN_MARK] = "malformed pickle: open mark",
    [FL_BAD_RESULT] = "malformed pickle: not one value",
    [FL_BAD_NUMBER] = "malformed pickle: not a number",
    [FL_BAD_LENGTH] = "malformed pickle: negative length",
    [FL_BAD_PAIRS] = "malformed pickle: key without a value",
    [FL_BAD_APPEND] = "malformed pickle: APPEND to what is no list",
    [FL_BAD_SETITEM] = "malformed pickle: SETITEM in what is no dict",
    [FL_BAD_ADDITEMS] = "malformed pickle: ADDITEMS to what is no set",
    [FL_BAD_BUILD] = "malformed pickle: BUILD of what is no object",
    [FL_BAD_CALL] = "malformed pickle: call of what is no global",
    [FL_BAD_ARGUMENTS] = "malformed pickle: arguments that are no tuple",
    [FL_BAD_NAME] = "malformed pickle: global without a name",
    [FL_BAD_STRING] = "malformed pickle: string without quotes",
    [FL_BAD_OPCODE] = "malformed pickle: unknown opcode",
    [FL_FORBIDDEN_DUP] = "forbidden opcode DUP",
    [FL_FORBIDDEN_PERSID] = "forbidden opcode PERSID",
    [FL_FORBIDDEN_BINPERSID] = "forbidden opcode BINPERSID",
    [FL_FORBIDDEN_EXT1] = "forbidden opcode EXT1",
    [FL_FORBIDDEN_EXT2] = "forbidden opcode EXT2",
    [FL_FORBIDDEN_EXT4] = "forbidden opcode EXT4",
    [FL_FORBIDDEN_NEXT_BUFFER] = "forbidden opcode NEXT_BUFFER",
    [FL_FORBIDDEN_READONLY_BUFFER] = "forbidden opcode READONLY_BUFFER",
    [FL_NOT_RECORD_NONE] = "not a record: nonetype",
    [FL_NOT_RECORD_BOOL] = "not a record: bool",
    [FL_NOT_RECORD_INT] = "not a record: int",
    [FL_NOT_RECORD_FLOAT] = "not a record: float",
    [FL_NOT_RECORD_STR] = "not a record: str",
    [FL_NOT_RECORD_BYTES] = "not a record: bytes",
    [FL_NOT_RECORD_GLOBAL] = "not a record: global",
    [FL_NOT_RECORD_LIST] = "not a record: list",
    [FL_NOT_RECORD_SET] = "not a record: set",
    [FL_NOT_RECORD_TUPLE] = "not a record: tuple",
    [FL_NOT_RECORD_OVERFLOW] = "not a record: overflow",
};

const char *fl_verdict_text(int verdict)
{
    return verdict >= 0 && verdict < FL_VERDICTS ? TEXTS[verdict] : "unknown verdict";
}
