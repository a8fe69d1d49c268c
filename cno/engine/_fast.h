// What the files of cno.engine._fast share. Stable ABI of CPython 3.10.
//
// The types here are compiled twins of small Python classes: Connection of the marked part of
// cno.server.connection.ServerConnection, Reply of cno.server.reply.Reply, Request of
// cno.asgi.Request. What is rare is a Python function that both twins call (FAST_HELPERS).
//
// None is returned as Py_NewRef(Py_None): Py_RETURN_NONE of the headers of 3.12 and 3.13 takes no
// reference, even for the interpreters before them, where None is not immortal.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>
#include <structmember.h>

#include "batch.h"
#include "config.h"
#include "states.h"

// Interned strings: attributes, keys of messages and scopes, keyword arguments.
// clang-format off
#define FAST_NAMES(X) \
    X(flush) X(flush_soon) X(_update_reading) X(_on_event) X(_on_data) X(_on_head) X(_tell) X(_read_on) \
    X(_pump) X(_ready) X(_take_turns) X(_reset) X(check_gone) X(raise_unless_told) X(begin) X(write) X(body_done) \
    X(copy) X(run) X(context) X(loop) X(call_soon) X(release) X(reply) X(answered) X(break_off) \
    X(receive) X(send) X(throw) X(close) X(cancel) X(cr_frame) \
    X(feed) X(wake) X(lose) X(complete) X(awaited) X(disconnect) X(shut) X(expect) X(hung_up) \
    X(type) X(status) X(headers) X(body) X(more_body) \
    X(asgi) X(method) X(root_path) X(path) X(raw_path) X(query_string) X(extensions) X(state)

// What bind() is given by name: Python functions and classes.
#define FAST_HELPERS(X) \
    X(loads)        /* marshal.loads */ \
    X(task)         /* asyncio.Task */ \
    X(http_scope)   /* cno.gateway.scope.http_scope */ \
    X(asgi)         /* cno.gateway.scope.ASGI */ \
    X(Inbox)        /* cno.asgi.Inbox */ \
    X(as_coroutine) /* of cno.asgi: a coroutine that awaits something else */ \
    X(send_slowly)  /* of cno.asgi: an unusual message */ \
    X(finish_send)  /* of cno.asgi: a message that waits for the client */ \
    X(answered)     /* of cno.asgi: the access log */ \
    X(app_failed)   /* of cno.asgi: the application raised */ \
    X(app_ended)    /* of cno.asgi: the application returned without a complete response */ \
    X(refusal)      /* of cno.server.reply: the last error of the engine, for the maker */ \
    X(gone)         /* of cno.server.reply: an exception that says that the client has gone */ \
    X(checked)      /* of cno.server.reply: fields as a list of pairs of bytes */ \
    X(fail)         /* of cno.server.reply */ \
    X(refuse)       /* of cno.server.reply */ \
    X(trail)        /* of cno.server.reply */ \
    X(write_later)  /* of cno.server.reply: coroutine functions */ \
    X(end_later) \
    X(write_rest) \
    X(finish_rest)
// clang-format on

// The state of the module.
struct fast {
#define X(name) PyObject *name;
    struct {
        FAST_NAMES(X)
    } names;
    struct {
        FAST_HELPERS(X)
    } helpers;
#undef X
    PyObject *response_start, *response_body;  // types of messages
    PyObject *empty_tuple, *empty_bytes, *coroutine_type;
    PyTypeObject *connection_type, *reply_type, *request_type, *port_type, *run_type;
    // Functions of the engine, and numbers of cno.transport.writing.
    int (*consume)(struct cno_batch_t *, const char *, size_t);
    int (*respond)(struct cno_batch_t *, uint32_t, int, const struct cno_header_t *, size_t,
                   const char *, size_t, long long);
    int (*write_data)(struct cno_connection_t *, uint32_t, const char *, size_t, int);
    int (*lend_data)(struct cno_batch_t *, uint32_t, const char *, size_t, int, struct cno_view_t *,
                     size_t *);
    int (*respond_lent)(struct cno_batch_t *, uint32_t, int, const struct cno_header_t *, size_t,
                        const char *, size_t, struct cno_view_t *, size_t *);
    Py_ssize_t quantum, lend;
    int task_takes_context;  // from 3.11 on
};

#define NAME(fast, name) ((fast)->names.name)
#define HELPER(fast, name) ((fast)->helpers.name)

// Connection: what ServerConnection keeps for every request.
struct connection {
    PyObject ob_base;
    struct fast *fast;
    struct cno_batch_t *batch;  // of `engine`
    PyObject *engine, *streams, *running, *parts, *transport, *context;
    PyObject *open_request, *open_websocket;  // openers; the latter may be None
    PyObject *task_options;                   // a dict
    unsigned int max_streams;
    int unfinished;
    Py_ssize_t turn;
    char http2, writable, gone, over, busy, reading, flushing, unread;
};

struct reply {
    PyObject ob_base;
    struct fast *fast;
    struct connection *connection;
    PyObject *fields;  // a tuple or list of pairs of bytes, or NULL
    PyObject *owner;
    long long size;
    unsigned int stream;
    int state, status;  // enum CNO_REPLY_STATE
    char armed;         // release() will be called
    char stepping;      // the coroutine of the request runs, and arms at its end
};

struct request {
    PyObject ob_base;
    struct fast *fast;
    struct connection *connection;
    struct reply *reply;
    PyObject *scope, *app, *task, *inbox;
    double began;
    PyObject *weakrefs;
    char body_done, expect, access_log;
    char ended;  // the application has returned or raised
};

// ---- _fast.c ----

// The module's state for a type of it or a subclass of that. NULL with an exception set.
struct fast *fast_of(PyTypeObject *type);
// Calls a method whose result does not matter. 0, or -1 with an exception set.
int fast_call(PyObject *object, PyObject *name, PyObject *argument);
// The same for a function with one or two arguments.
int fast_apply(PyObject *function, PyObject *first, PyObject *second);
// tp_dealloc of types with a tp_clear.
void fast_release(PyObject *self, inquiry clear);
PyTypeObject *fast_make_type(PyObject *module, PyType_Spec *spec);

// ---- _fast_connection.c ----

extern PyType_Spec fast_connection_spec;
// Whether a connection has all that its methods use. 0 with an exception set.
int fast_usable(struct connection *);
// ServerConnection.start, responded and returned. NULL or -1: an exception is set.
PyObject *fast_start(struct connection *, PyObject *coroutine);
int fast_responded(struct connection *, struct reply *);
int fast_returned(struct connection *, PyObject *exchange, struct reply *);

// ---- _fast_reply.c ----

extern PyType_Spec fast_reply_spec;
struct reply *fast_reply_new(struct fast *, struct connection *, unsigned int stream,
                             PyObject *owner);
// Reply.start; `fields` are exact bytes in pairs.
int fast_reply_start(struct reply *, int status, PyObject *fields);
// Reply.hold after that.
int fast_reply_arm(struct reply *);
// Reply.end: 0 and *rest, which is NULL or an awaitable; or -1 with an exception set.
int fast_reply_end(struct reply *, PyObject *body, PyObject **rest);
int fast_reply_write(struct reply *, PyObject *body, PyObject **rest);

// ---- _fast_lend.c ----

PyObject *fast_lend(PyObject *module, PyObject *args);

// ---- _fast_request.c, _fast_run.c ----

extern PyType_Spec fast_request_spec, fast_port_spec, fast_run_spec;
PyObject *fast_request_inbox(struct request *);
// The coroutine of a request's task; what request.send and request.receive are.
PyObject *fast_run_new(struct request *, PyObject *message);
PyObject *fast_port_new(struct request *, int receives);
