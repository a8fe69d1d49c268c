// What the files of cno._accel share: _accel.c has the module and connections, _accel_request.c
// requests. Stable ABI of CPython 3.10. Nothing here is for more than one interpreter.
//
// None is returned as Py_NewRef(Py_None): Py_RETURN_NONE of the headers of 3.12 and 3.13 takes no
// reference, even for the interpreters before them, where None is not immortal.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "batch.h"
#include "config.h"

// Interned strings: attributes, keys of messages and scopes.
// clang-format off
#define ACCEL_NAMES(X) \
    X(flush) X(flush_soon) X(_update_reading) X(_on_event) X(_on_head) X(_tell) X(_read_on) \
    X(raise_unless_told) X(responded) X(run) X(task) X(write) \
    X(receive) X(send) X(slow_send) X(write_on) X(_log_access) X(_wake) X(_failed) X(_ended) \
    X(_expect) X(throw) X(close) X(cr_frame) \
    X(type) X(status) X(headers) X(body) X(more_body) \
    X(asgi) X(method) X(root_path) X(path) X(raw_path) X(query_string) X(extensions) X(state)
// clang-format on

// What lives as long as the module.
struct accel {
#define X(name) PyObject *name;
    struct {
        ACCEL_NAMES(X)
    } names;
#undef X
    PyObject *response_start, *response_body;  // types of messages
    PyObject *empty_tuple, *empty_bytes, *coroutine_type;
    PyTypeObject *connection_type, *request_type, *send_type, *run_type;
    // What bind() was given.
    int (*consume)(struct cno_batch_t *, const char *, size_t);
    int (*respond)(struct cno_batch_t *, uint32_t, int, const struct cno_header_t *, size_t,
                   const char *, size_t, long long);
    Py_ssize_t quantum;
    PyObject *loads, *http_scope, *asgi, *awaited;
};

extern struct accel accel;
#define NAME(name) (accel.names.name)

// What a connection keeps for every request; the rest is in the attributes of serving.py.
struct connection {
    PyObject ob_base;
    struct cno_batch_t *batch;  // of `engine`
    PyObject *engine, *streams, *running, *open, *start, *transport;
    unsigned int max_streams;
    char http2, writable, gone, over, busy, reading, flushing, unread;
};

// And a request, whose rest is in those of asgi.py.
struct request {
    PyObject ob_base;
    struct connection *connection;
    PyObject *scope, *app, *task, *fields, *waiters;
    unsigned int stream;
    int state, status;
    char body_done, shut, access_log;
};

// Calls a method whose result does not matter. 0, or -1 with an exception set.
int accel_call(PyObject *object, PyObject *name, PyObject *argument);

// tp_dealloc of types with a tp_clear.
void accel_release(PyObject *self, inquiry clear);

// Connection.responded: 0, or -1 with an exception set.
int accel_responded(struct connection *, struct request *);

// Makes the types of _accel_request.c. 0, or -1 with an exception set.
int accel_request_types(PyObject *module);
PyTypeObject *accel_make_type(PyObject *module, PyType_Spec *spec);
