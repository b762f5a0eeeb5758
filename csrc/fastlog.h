/* fastlog.h: the whole C API of fastlog. Each header that it includes is the manual of its part.
 *
 *     framer/framer.h        pure   a stream into frames; two files suffice to embed it
 *     protocol/protocol.h    pure   the fastlog protocol: frames, sequences, checksums
 *     runs.h                        the layout of a block
 *     translate/translate.h  pure   pickles into rows
 *     loop/loop.h            Linux  receives from many sockets, by edge-triggered epoll
 *
 * The pure parts make no system call, do no I/O and have no global state.
 *
 * Conventions. A result >= 0 is a success or a count; a negative result is an error code, an
 * FL_E... of one of these headers. fl_strerror() has the texts of the framer's codes,
 * fl_loop_strerror() those of all. Objects come from *_new() and are freed by *_free(), which
 * accepts NULL. No object is thread-safe: one thread at a time may use it. Sizes are in bytes.
 * Integers on the wire and in blocks are big-endian.
 *
 * build_ext.py gives Python the declarations between the "cffi" marks of each header.
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
