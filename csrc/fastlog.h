/* fastlog.h: the C API of fastlog.
 *
 * Four parts. The framer, the checksums and the fastlog protocol are pure: no system header, no
 * I/O, no global state. To embed the framer in a program of your own, take framer.c and this
 * header; nothing else is needed. The loop (Linux) receives from many sockets by edge-triggered
 * epoll, hands complete frames to one callback, and acknowledges those of clients that want it.
 *
 * Conventions. A result >= 0 is a success or a count; a negative one is one of enum fl_error, and
 * fl_strerror() has its text. Errors of a framer are sticky. Objects come from *_new() and go to
 * *_free(), which takes NULL. Nothing here is thread-safe: one object, one thread at a time. Sizes
 * are in bytes, integers on the wire and in blocks are big-endian.
 *
 * The regions between the "cffi" marks are also what Python sees: build_ext.py reads them.
 */
#ifndef FASTLOG_H
#define FASTLOG_H

#include "framer/framer.h"
#include "protocol/protocol.h"
#include "runs.h"
#include "translate/translate.h"
#ifdef __linux__
#include "loop/loop.h"
#endif

#endif
