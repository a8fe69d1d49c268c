// The way of an ordinary request, compiled: a head that comes, an application that is run, an answer
// in one piece that goes. The types here go in front of the classes of connection.py and asgi.py
// (accel.py puts them together): what is out of the ordinary is left to the Python methods behind,
// and so is everything where this module is missing.
//
// Knows batch.h and nothing of the engine behind it; calls the engine that cno._engine holds, by the
// addresses that accel.py passes on. Stable ABI of CPython 3.10.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "batch.h"
#include "config.h"

// The limited API has PyMemoryView_FromMemory from 3.3 on, but the flag it takes only from 3.11 on.
#ifndef PyBUF_READ
#define PyBUF_READ 0x100
#endif

// How far a response is: asgi.py has the same list.
enum STATE { WAITING, HELD, BODY, DONE };

typedef int (*consume_t)(struct cno_batch_t *, const char *, size_t);
typedef int (*respond_t)(struct cno_batch_t *, uint32_t, int, const struct cno_header_t *, size_t,
                         const char *, size_t, long long);

// What `bind` was given.
static consume_t consume;
static respond_t respond;
static Py_ssize_t quantum;
static PyObject *loads, *http_scope, *asgi, *awaited;

static PyObject *coroutine_type, *completed, *empty_tuple, *empty_bytes;
static PyTypeObject *Connection, *Request, *Run;

// Interned names, in the order of `NAMES`.
enum NAME {
    N_FLUSH,
    N_FLUSH_SOON,
    N_UPDATE_READING,
    N_ON_EVENT,
    N_ON_HEAD,
    N_TELL,
    N_READ_ON,
    N_CHECK_GONE,
    N_RAISE_UNLESS_TOLD,
    N_RESPONDED,
    N_RUN,
    N_TASK,
    N_WRITE,
    N_RECEIVE,
    N_SEND,
    N_SLOW_SEND,
    N_WRITE_ON,
    N_LOG_ACCESS,
    N_WAKE,
    N_FAILED,
    N_ENDED,
    N_EXPECT,
    N_THROW,
    N_CLOSE,
    N_CR_FRAME,
    N_TYPE,
    N_START,
    N_BODY_TYPE,
    N_STATUS,
    N_HEADERS,
    N_BODY,
    N_MORE_BODY,
    N_ASGI,
    N_METHOD,
    N_ROOT_PATH,
    N_PATH,
    N_RAW_PATH,
    N_QUERY_STRING,
    N_EXTENSIONS,
    N_STATE,
    N_COUNT,
};

static const char *const NAMES[N_COUNT] = {
    [N_FLUSH] = "flush",
    [N_FLUSH_SOON] = "flush_soon",
    [N_UPDATE_READING] = "_update_reading",
    [N_ON_EVENT] = "_on_event",
    [N_ON_HEAD] = "_on_head",
    [N_TELL] = "_tell",
    [N_READ_ON] = "_read_on",
    [N_CHECK_GONE] = "check_gone",
    [N_RAISE_UNLESS_TOLD] = "raise_unless_told",
    [N_RESPONDED] = "responded",
    [N_RUN] = "run",
    [N_TASK] = "task",
    [N_WRITE] = "write",
    [N_RECEIVE] = "receive",
    [N_SEND] = "send",
    [N_SLOW_SEND] = "slow_send",
    [N_WRITE_ON] = "write_on",
    [N_LOG_ACCESS] = "_log_access",
    [N_WAKE] = "_wake",
    [N_FAILED] = "_failed",
    [N_ENDED] = "_ended",
    [N_EXPECT] = "_expect",
    [N_THROW] = "throw",
    [N_CLOSE] = "close",
    [N_CR_FRAME] = "cr_frame",
    [N_TYPE] = "type",
    [N_START] = "http.response.start",
    [N_BODY_TYPE] = "http.response.body",
    [N_STATUS] = "status",
    [N_HEADERS] = "headers",
    [N_BODY] = "body",
    [N_MORE_BODY] = "more_body",
    [N_ASGI] = "asgi",
    [N_METHOD] = "method",
    [N_ROOT_PATH] = "root_path",
    [N_PATH] = "path",
    [N_RAW_PATH] = "raw_path",
    [N_QUERY_STRING] = "query_string",
    [N_EXTENSIONS] = "extensions",
    [N_STATE] = "state",
};

static PyObject *names[N_COUNT];

// Calls a method whose result does not matter. 0, or -1 with an exception set.
static int call(PyObject *object, enum NAME name, PyObject *argument) {
    PyObject *result = PyObject_CallMethodObjArgs(object, names[name], argument, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

// ---- connections -------------------------------------------------------------------------------

struct connection {
    PyObject_HEAD struct cno_batch_t *batch;  // of `engine`
    PyObject *engine, *streams, *running, *open, *start, *transport;
    unsigned int max_streams;
    char http2, writable, gone, over, busy, reading, flushing, unread;
};

struct request {
    PyObject_HEAD struct connection *connection;
    PyObject *scope, *app, *task, *fields, *waiters;
    unsigned int stream;
    int state, status;
    char body_done, shut, access_log;
};

// A request head has come.
static int on_head(struct connection *c, PyObject *event) {
    Py_ssize_t running = PySet_Size(c->running);
    if (running < 0)
        return -1;
    if (running >= (Py_ssize_t)c->max_streams)
        return call((PyObject *)c, N_ON_HEAD, event);
    c->busy = 1;
    PyObject *stream = PyObject_CallFunctionObjArgs(c->open, event, NULL);
    if (!stream)
        return -1;
    PyObject *task = NULL, *coroutine = NULL;
    if (PyDict_SetItem(c->streams, PyTuple_GetItem(event, 1), stream) == 0 &&
        PySet_Add(c->running, stream) == 0) {
        coroutine = PyObject_CallMethodObjArgs(stream, names[N_RUN], NULL);
        task = coroutine ? PyObject_CallFunctionObjArgs(c->start, coroutine, NULL) : NULL;
        if (task && PyObject_SetAttr(stream, names[N_TASK], task) < 0)
            Py_CLEAR(task);
    }
    int r = task ? 0 : -1;
    Py_XDECREF(task);
    Py_XDECREF(coroutine);
    Py_DECREF(stream);
    return r;
}

static int on_event(struct connection *c, PyObject *event, PyObject *data) {
    PyObject *kind = PyTuple_GetItem(event, 0);
    long number = kind ? PyLong_AsLong(kind) : -1;
    if (number == CNO_EVENT_HEAD)
        return on_head(c, event);
    if (number < 0)
        return -1;
    PyObject *result =
        PyObject_CallMethodObjArgs((PyObject *)c, names[N_ON_EVENT], event, data, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

// Takes the list of events and hands out each. `data` is what was consumed.
static int deliver(struct connection *c, PyObject *data) {
    PyObject *view =
        PyMemoryView_FromMemory(c->batch->events, (Py_ssize_t)c->batch->events_size, PyBUF_READ);
    c->batch->events_size = 0;
    PyObject *events = view ? PyObject_CallFunctionObjArgs(loads, view, NULL) : NULL;
    Py_XDECREF(view);
    Py_ssize_t count = events ? PyList_Size(events) : -1;
    Py_ssize_t i = 0;
    while (i < count && on_event(c, PyList_GetItem(events, i), data) == 0)
        i++;
    Py_XDECREF(events);
    return i == count ? 0 : -1;
}

PyDoc_STRVAR(data_received_doc, "Connection.data_received.");

static PyObject *data_received(PyObject *self, PyObject *data) {
    struct connection *c = (struct connection *)self;
    char *octets;
    Py_ssize_t size;
    if (c->over)
        Py_RETURN_NONE;
    if (!c->batch) {
        PyErr_SetString(PyExc_RuntimeError, "attach() was not called");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(data, &octets, &size) < 0)
        return NULL;
    if (consume(c->batch, octets, (size_t)size) < 0 &&
        call(c->engine, N_RAISE_UNLESS_TOLD, NULL) < 0)
        return NULL;
    if (c->batch->events_size && deliver(c, data) < 0)
        return NULL;
    if (c->batch->out_size && call(self, N_FLUSH_SOON, NULL) < 0)
        return NULL;
    if (c->batch->kept && call(self, N_UPDATE_READING, NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}

// Hands the gathered output to a transport that has room.
static int write_out(struct connection *c) {
    PyObject *octets = PyBytes_FromStringAndSize(c->batch->out, (Py_ssize_t)c->batch->out_size);
    if (!octets)
        return -1;
    c->batch->out_size = 0;
    int r = call(c->transport, N_WRITE, octets);
    Py_DECREF(octets);
    return r;
}

// Connection.responded.
static int responded(struct connection *c, struct request *r) {
    PyObject *self = (PyObject *)c;
    if (c->http2 && !r->body_done)
        return call(self, N_RESPONDED, (PyObject *)r);
    PyObject *id = PyLong_FromUnsignedLong(r->stream);
    if (!id)
        return -1;
    if (PyDict_DelItem(c->streams, id) < 0)
        PyErr_Clear();  // it was lost
    Py_DECREF(id);
    int direct = !c->http2 && c->writable && c->transport && c->transport != Py_None;
    if (!c->http2)
        c->unread = !r->body_done;
    if (direct && write_out(c) < 0)
        return -1;
    if (!direct && !c->http2 && call(self, N_FLUSH, NULL) < 0)
        return -1;
    if (c->http2 && !c->flushing && call(self, N_FLUSH_SOON, NULL) < 0)
        return -1;
    if (c->batch->events_size && call(self, N_TELL, NULL) < 0)
        return -1;
    return c->reading ? 0 : call(self, N_READ_ON, NULL);
}

PyDoc_STRVAR(attach_doc, "attach(engine, address, /)\n--\n\nThe engine, and where its batch is.");

static PyObject *attach(PyObject *self, PyObject *args) {
    struct connection *c = (struct connection *)self;
    PyObject *engine, *address;
    if (!PyArg_UnpackTuple(args, "attach", 2, 2, &engine, &address))
        return NULL;
    void *batch = PyLong_AsVoidPtr(address);
    if (!batch && PyErr_Occurred())
        return NULL;
    PyObject *old = c->engine;
    c->engine = Py_NewRef(engine);
    c->batch = batch;
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static int connection_traverse(PyObject *self, visitproc visit, void *arg) {
    struct connection *c = (struct connection *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(c->engine);
    Py_VISIT(c->streams);
    Py_VISIT(c->running);
    Py_VISIT(c->open);
    Py_VISIT(c->start);
    Py_VISIT(c->transport);
    return 0;
}

static int connection_clear(PyObject *self) {
    struct connection *c = (struct connection *)self;
    c->batch = NULL;
    Py_CLEAR(c->engine);
    Py_CLEAR(c->streams);
    Py_CLEAR(c->running);
    Py_CLEAR(c->open);
    Py_CLEAR(c->start);
    Py_CLEAR(c->transport);
    return 0;
}

static void release(PyObject *self, inquiry clear) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static void connection_dealloc(PyObject *self) {
    release(self, connection_clear);
}

static PyMemberDef connection_members[] = {
    {"streams", T_OBJECT_EX, offsetof(struct connection, streams), 0, NULL},
    {"running", T_OBJECT_EX, offsetof(struct connection, running), 0, NULL},
    {"http2", T_BOOL, offsetof(struct connection, http2), 0, NULL},
    {"writable", T_BOOL, offsetof(struct connection, writable), 0, NULL},
    {"gone", T_BOOL, offsetof(struct connection, gone), 0, NULL},
    {"_open", T_OBJECT_EX, offsetof(struct connection, open), 0, NULL},
    {"_start", T_OBJECT_EX, offsetof(struct connection, start), 0, NULL},
    {"_transport", T_OBJECT, offsetof(struct connection, transport), 0, NULL},
    {"_max_streams", T_UINT, offsetof(struct connection, max_streams), 0, NULL},
    {"_over", T_BOOL, offsetof(struct connection, over), 0, NULL},
    {"_busy", T_BOOL, offsetof(struct connection, busy), 0, NULL},
    {"_reading", T_BOOL, offsetof(struct connection, reading), 0, NULL},
    {"_flushing", T_BOOL, offsetof(struct connection, flushing), 0, NULL},
    {"_unread", T_BOOL, offsetof(struct connection, unread), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef connection_methods[] = {
    {"data_received", data_received, METH_O, data_received_doc},
    {"attach", attach, METH_VARARGS, attach_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot connection_slots[] = {
    {Py_tp_doc, (void *)"What Connection keeps and does for every request."},
    {Py_tp_dealloc, connection_dealloc},
    {Py_tp_traverse, connection_traverse},
    {Py_tp_clear, connection_clear},
    {Py_tp_members, connection_members},
    {Py_tp_methods, connection_methods},
    {0, NULL},
};

static PyType_Spec connection_spec = {
    .name = "cno._accel.Connection",
    .basicsize = sizeof(struct connection),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = connection_slots,
};

// ---- requests ----------------------------------------------------------------------------------

// Puts an item of an event under one of the keys.
static int put(PyObject *scope, enum NAME key, PyObject *event, Py_ssize_t index) {
    PyObject *value = PyTuple_GetItem(event, index);
    return value ? PyDict_SetItem(scope, names[key], value) : -1;
}

static int put_new(PyObject *scope, enum NAME key, PyObject *value) {
    int r = value ? PyDict_SetItem(scope, names[key], value) : -1;
    Py_XDECREF(value);
    return r;
}

// cno.scope.http_scope.
static PyObject *make_scope(PyObject *base, PyObject *event, PyObject *state, long flags) {
    PyObject *path = PyTuple_GetItem(event, 6);
    PyObject *root = PyDict_GetItemWithError(base, names[N_ROOT_PATH]);
    if (!path || !root)
        return NULL;
    if (!PyUnicode_Check(path) || PyUnicode_GetLength(root) || (flags & CNO_MESSAGE_HTTP1_0))
        return PyObject_CallFunctionObjArgs(http_scope, base, event, state, NULL);
    PyObject *scope = PyDict_Copy(base);
    if (scope && put_new(scope, N_ASGI, PyDict_Copy(asgi)) == 0 &&
        put(scope, N_METHOD, event, 4) == 0 && put(scope, N_PATH, event, 6) == 0 &&
        put(scope, N_RAW_PATH, event, 5) == 0 && put(scope, N_QUERY_STRING, event, 7) == 0 &&
        put(scope, N_HEADERS, event, 8) == 0 && put_new(scope, N_EXTENSIONS, PyDict_New()) == 0 &&
        (state == Py_None || put_new(scope, N_STATE, PyDict_Copy(state)) == 0))
        return scope;
    Py_XDECREF(scope);
    return NULL;
}

// Request(site, connection, base, event).
static PyObject *request_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *site, *connection, *base, *event;
    (void)kwargs;
    if (!PyArg_UnpackTuple(args, "Request", 4, 4, &site, &connection, &base, &event))
        return NULL;
    if (!PyTuple_Check(site) || !PyObject_TypeCheck(connection, Connection) ||
        !PyDict_Check(base) || !PyTuple_Check(event)) {
        PyErr_SetString(PyExc_TypeError, "Request takes a Site, a Connection, a dict and an event");
        return NULL;
    }
    PyObject *app = PyTuple_GetItem(site, 0), *state = PyTuple_GetItem(site, 1);
    PyObject *access_log = PyTuple_GetItem(site, 2), *id = PyTuple_GetItem(event, 1);
    PyObject *bits = PyTuple_GetItem(event, 2);
    if (!app || !state || !access_log || !id || !bits)
        return NULL;
    long flags = PyLong_AsLong(bits);
    unsigned long stream = PyLong_AsUnsignedLong(id);
    PyObject *scope = PyErr_Occurred() ? NULL : make_scope(base, event, state, flags);
    if (!scope)
        return NULL;
    struct request *r = (struct request *)PyType_GenericAlloc(type, 0);
    if (!r) {
        Py_DECREF(scope);
        return NULL;
    }
    r->connection = (struct connection *)Py_NewRef(connection);
    r->scope = scope;
    r->app = Py_NewRef(app);
    r->fields = Py_NewRef(empty_bytes);
    r->waiters = Py_NewRef(empty_tuple);
    r->stream = (unsigned int)stream;
    r->body_done = (flags & CNO_MESSAGE_FINAL) != 0;
    r->access_log = access_log == Py_True;
    if ((flags & CNO_MESSAGE_EXPECT) &&
        PyObject_SetAttr((PyObject *)r, names[N_EXPECT], Py_True) < 0)
        Py_CLEAR(r);
    return (PyObject *)r;
}

static int request_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    (void)self, (void)args, (void)kwargs;
    return 0;
}

// ---- send --------------------------------------------------------------------------------------

static int equal(PyObject *text, enum NAME name) {
    return text == names[name] || PyUnicode_Compare(text, names[name]) == 0;
}

// http.response.start: 1 when it was taken, 0 when Python has to look at it, -1 for an exception.
static int hold(struct request *r, PyObject *message) {
    PyObject *status = PyDict_GetItemWithError(message, names[N_STATUS]);
    PyObject *headers = PyDict_GetItemWithError(message, names[N_HEADERS]);
    long code = status && PyLong_CheckExact(status) ? PyLong_AsLong(status) : 0;
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    if (r->state != WAITING || code < 200 || code > 599)
        return 0;
    if (headers && !PyList_CheckExact(headers) && !PyTuple_CheckExact(headers))
        return 0;
    PyObject *fields = headers ? PySequence_Tuple(headers) : Py_NewRef(empty_tuple);
    if (!fields)
        return -1;
    Py_ssize_t count = PyTuple_Size(fields), i = 0;
    for (; i < count && count <= CNO_MAX_ANSWER_FIELDS; i++) {
        PyObject *pair = PyTuple_GetItem(fields, i);
        if (!PyTuple_CheckExact(pair) || PyTuple_Size(pair) != 2 ||
            !PyBytes_CheckExact(PyTuple_GetItem(pair, 0)) ||
            !PyBytes_CheckExact(PyTuple_GetItem(pair, 1)))
            break;
    }
    if (i < count) {
        Py_DECREF(fields);
        return 0;
    }
    PyObject *old = r->fields;
    r->fields = fields;
    Py_XDECREF(old);
    r->status = (int)code;
    r->state = HELD;
    return 1;
}

static struct cno_buffer_t octets_of(PyObject *bytes) {
    return (struct cno_buffer_t){PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes)};
}

// The held head and a body, or what there is room for. Octets taken, or -1 without an exception: the
// engine refuses, and has written nothing.
static int answer(struct request *r, PyObject *body) {
    struct cno_header_t list[CNO_MAX_ANSWER_FIELDS];
    Py_ssize_t count = PyTuple_Size(r->fields);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = PyTuple_GetItem(r->fields, i);
        list[i] = (struct cno_header_t){octets_of(PyTuple_GetItem(pair, 0)),
                                        octets_of(PyTuple_GetItem(pair, 1)), 0, 0};
    }
    struct cno_buffer_t octets = octets_of(body);
    return respond(r->connection->batch, r->stream, r->status, list, (size_t)count, octets.data,
                   octets.size, (long long)octets.size);
}

// http.response.body. NULL without an exception: Python has to look at it.
static PyObject *send_body(struct request *r, PyObject *message) {
    PyObject *self = (PyObject *)r;
    PyObject *body = PyDict_GetItemWithError(message, names[N_BODY]);
    PyObject *more = PyDict_GetItemWithError(message, names[N_MORE_BODY]);
    if (!body)
        body = empty_bytes;
    if (r->state != HELD || !PyTuple_CheckExact(r->fields) || !PyBytes_CheckExact(body) ||
        PyBytes_Size(body) > quantum || (more && more != Py_False) || !r->connection->batch)
        return NULL;
    int taken = answer(r, body);
    if (taken < 0)
        return NULL;
    r->state = BODY;
    if (r->access_log && call(self, N_LOG_ACCESS, NULL) < 0)
        return NULL;
    if (taken < PyBytes_Size(body)) {
        PyObject *count = PyLong_FromLong(taken);
        PyObject *rest =
            count ? PyObject_CallMethodObjArgs(self, names[N_WRITE_ON], body, count, NULL) : NULL;
        Py_XDECREF(count);
        return rest;
    }
    r->state = DONE;
    r->shut = 1;
    if (PyObject_IsTrue(r->waiters) && call(self, N_WAKE, NULL) < 0)
        return NULL;
    return responded(r->connection, r) < 0 ? NULL : Py_NewRef(completed);
}

PyDoc_STRVAR(send_doc, "Request.send.");

static PyObject *request_send(PyObject *self, PyObject *message) {
    struct request *r = (struct request *)self;
    if (!r->shut && PyDict_CheckExact(message)) {
        PyObject *type = PyDict_GetItemWithError(message, names[N_TYPE]);
        if (type && PyUnicode_CheckExact(type)) {
            if (equal(type, N_BODY_TYPE)) {
                PyObject *result = send_body(r, message);
                if (result || PyErr_Occurred())
                    return result;
            } else if (equal(type, N_START)) {
                int held = hold(r, message);
                if (held)
                    return held > 0 ? Py_NewRef(completed) : NULL;
            }
        }
    }
    return PyObject_CallMethodObjArgs(self, names[N_SLOW_SEND], message, NULL);
}

// ---- the application's life --------------------------------------------------------------------

// The coroutine of a request's task (collections.abc.Coroutine): runs the application's and ends as
// Request.run does. Without a request it is over.
struct run {
    PyObject_HEAD struct request *request;
    PyObject *coroutine;
};

static int begin(struct run *run) {
    PyObject *request = (PyObject *)run->request;
    PyObject *receive = PyObject_GetAttr(request, names[N_RECEIVE]);
    PyObject *send = receive ? PyObject_GetAttr(request, names[N_SEND]) : NULL;
    PyObject *coroutine = send ? PyObject_CallFunctionObjArgs(
                                     run->request->app, run->request->scope, receive, send, NULL)
                               : NULL;
    Py_XDECREF(send);
    Py_XDECREF(receive);
    if (coroutine && (PyObject *)Py_TYPE(coroutine) != coroutine_type) {
        PyObject *wrapped = PyObject_CallFunctionObjArgs(awaited, coroutine, NULL);
        Py_DECREF(coroutine);
        coroutine = wrapped;
    }
    run->coroutine = coroutine;
    return coroutine ? 0 : -1;
}

// The exception that is set becomes the argument of Request._failed; one that is no Exception stays.
static int failed(struct request *r) {
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    int result = call((PyObject *)r, N_FAILED, error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return result;
}

// Request._ended, whatever exception is on its way.
static int ended(struct request *r) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    int result;
    if (r->state == DONE && !r->connection->gone)
        result = PySet_Discard(r->connection->running, (PyObject *)r) < 0 ? -1 : 0;
    else
        result = call((PyObject *)r, N_ENDED, NULL);
    if (!type)
        return result;
    if (result < 0)
        PyErr_WriteUnraisable((PyObject *)r);
    PyErr_Restore(type, error, traceback);
    return -1;
}

// After the application: a failure is the exception that is set. 0, or -1 for one that goes on.
static int finish(struct run *run, int failure) {
    struct request *r = run->request;
    run->request = NULL;
    Py_CLEAR(run->coroutine);
    int result = failure ? failed(r) : 0;
    if (ended(r) < 0)
        result = -1;
    Py_DECREF(r);
    return result;
}

static PySendResult run_step(PyObject *self, PyObject *value, PyObject **result) {
    struct run *run = (struct run *)self;
    PySendResult outcome = PYGEN_ERROR;
    *result = NULL;
    if (!run->request) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
    if (run->coroutine || begin(run) == 0)
        outcome = PyIter_Send(run->coroutine, value, result);
    if (outcome == PYGEN_NEXT)
        return outcome;
    Py_CLEAR(*result);
    if (finish(run, outcome == PYGEN_ERROR) < 0)
        return PYGEN_ERROR;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PyObject *stop(void) {
    PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

PyDoc_STRVAR(run_send_doc, "Goes on with a value.");

static PyObject *run_send(PyObject *self, PyObject *value) {
    PyObject *result;
    if (run_step(self, value, &result) != PYGEN_RETURN)
        return result;
    Py_DECREF(result);
    return stop();
}

static PyObject *run_next(PyObject *self) {
    return run_send(self, Py_None);
}

PyDoc_STRVAR(run_throw_doc, "Goes on with an exception.");

static PyObject *run_throw(PyObject *self, PyObject *args) {
    struct run *run = (struct run *)self;
    PyObject *error = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : Py_None;
    PyObject *result = NULL;
    if (run->coroutine) {
        PyObject *method = PyObject_GetAttr(run->coroutine, names[N_THROW]);
        result = method ? PyObject_Call(method, args, NULL) : NULL;
        Py_XDECREF(method);
        if (result)
            return result;
    } else if (PyExceptionInstance_Check(error)) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    } else {
        PyErr_SetObject(PyExceptionClass_Check(error) ? error : PyExc_TypeError, NULL);
    }
    if (!run->request)
        return NULL;
    int failure = !PyErr_ExceptionMatches(PyExc_StopIteration);
    if (!failure)
        PyErr_Clear();
    return finish(run, failure) < 0 ? NULL : stop();
}

PyDoc_STRVAR(run_close_doc, "Ends the application's coroutine.");

static PyObject *run_close(PyObject *self, PyObject *unused) {
    struct run *run = (struct run *)self;
    (void)unused;
    if (run->coroutine && call(run->coroutine, N_CLOSE, NULL) < 0)
        return NULL;
    Py_CLEAR(run->coroutine);
    if (run->request && finish(run, 0) < 0)
        return NULL;
    Py_RETURN_NONE;
}

// What asyncio shows of a task.
static PyObject *run_frame(PyObject *self, void *unused) {
    PyObject *coroutine = ((struct run *)self)->coroutine;
    (void)unused;
    return coroutine ? PyObject_GetAttr(coroutine, names[N_CR_FRAME]) : Py_NewRef(Py_None);
}

static PyObject *run_name(PyObject *self, void *unused) {
    (void)self, (void)unused;
    return PyUnicode_FromString("Request.run");
}

static int run_traverse(PyObject *self, visitproc visit, void *arg) {
    struct run *run = (struct run *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(run->request);
    Py_VISIT(run->coroutine);
    return 0;
}

static int run_clear(PyObject *self) {
    struct run *run = (struct run *)self;
    Py_CLEAR(run->coroutine);
    Py_CLEAR(run->request);
    return 0;
}

static void run_dealloc(PyObject *self) {
    release(self, run_clear);
}

static PyGetSetDef run_getset[] = {
    {"cr_frame", run_frame, NULL, NULL, NULL},
    {"__name__", run_name, NULL, NULL, NULL},
    {"__qualname__", run_name, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef run_methods[] = {
    {"send", run_send, METH_O, run_send_doc},
    {"throw", run_throw, METH_VARARGS, run_throw_doc},
    {"close", run_close, METH_NOARGS, run_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot run_slots[] = {
    {Py_tp_doc, (void *)"The coroutine of a request."},
    {Py_tp_dealloc, run_dealloc},
    {Py_tp_traverse, run_traverse},
    {Py_tp_clear, run_clear},
    {Py_tp_getset, run_getset},
    {Py_tp_methods, run_methods},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, run_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, run_step},
    {0, NULL},
};

static PyType_Spec run_spec = {
    .name = "cno._accel.Run",
    .basicsize = sizeof(struct run),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = run_slots,
};

PyDoc_STRVAR(request_run_doc, "Request.run.");

static PyObject *request_run(PyObject *self, PyObject *unused) {
    struct run *run = (struct run *)PyType_GenericAlloc(Run, 0);
    (void)unused;
    if (run)
        run->request = (struct request *)Py_NewRef(self);
    return (PyObject *)run;
}

// ---- the type of requests ----------------------------------------------------------------------

static int request_traverse(PyObject *self, visitproc visit, void *arg) {
    struct request *r = (struct request *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(r->connection);
    Py_VISIT(r->scope);
    Py_VISIT(r->app);
    Py_VISIT(r->task);
    Py_VISIT(r->fields);
    Py_VISIT(r->waiters);
    return 0;
}

static int request_clear(PyObject *self) {
    struct request *r = (struct request *)self;
    Py_CLEAR(r->connection);
    Py_CLEAR(r->scope);
    Py_CLEAR(r->app);
    Py_CLEAR(r->task);
    Py_CLEAR(r->fields);
    Py_CLEAR(r->waiters);
    return 0;
}

static void request_dealloc(PyObject *self) {
    release(self, request_clear);
}

static PyMemberDef request_members[] = {
    {"connection", T_OBJECT_EX, offsetof(struct request, connection), READONLY, NULL},
    {"id", T_UINT, offsetof(struct request, stream), READONLY, NULL},
    {"body_done", T_BOOL, offsetof(struct request, body_done), 0, NULL},
    {"scope", T_OBJECT_EX, offsetof(struct request, scope), READONLY, NULL},
    {"task", T_OBJECT_EX, offsetof(struct request, task), 0, NULL},
    {"_app", T_OBJECT_EX, offsetof(struct request, app), READONLY, NULL},
    {"_access_log", T_BOOL, offsetof(struct request, access_log), READONLY, NULL},
    {"_state", T_INT, offsetof(struct request, state), 0, NULL},
    {"_status", T_INT, offsetof(struct request, status), 0, NULL},
    {"_fields", T_OBJECT_EX, offsetof(struct request, fields), 0, NULL},
    {"_waiters", T_OBJECT_EX, offsetof(struct request, waiters), 0, NULL},
    {"_shut", T_BOOL, offsetof(struct request, shut), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef request_methods[] = {
    {"send", request_send, METH_O, send_doc},
    {"run", request_run, METH_NOARGS, request_run_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot request_slots[] = {
    {Py_tp_doc, (void *)"What Request keeps and does when all is as usual."},
    {Py_tp_new, request_new},
    {Py_tp_init, request_init},
    {Py_tp_dealloc, request_dealloc},
    {Py_tp_traverse, request_traverse},
    {Py_tp_clear, request_clear},
    {Py_tp_members, request_members},
    {Py_tp_methods, request_methods},
    {0, NULL},
};

static PyType_Spec request_spec = {
    .name = "cno._accel.Request",
    .basicsize = sizeof(struct request),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = request_slots,
};

// ---- what send() returns when all is said --------------------------------------------------------

static PySendResult completed_step(PyObject *self, PyObject *value, PyObject **result) {
    (void)self, (void)value;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PyObject *completed_next(PyObject *self) {
    (void)self;
    return NULL;
}

PyDoc_STRVAR(completed_send_doc, "Has nothing to go on with.");

static PyObject *completed_send(PyObject *self, PyObject *value) {
    (void)self, (void)value;
    return stop();
}

PyDoc_STRVAR(completed_throw_doc, "Raises what it is given.");

static PyObject *completed_throw(PyObject *self, PyObject *args) {
    PyObject *error = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : Py_None;
    (void)self;
    if (PyExceptionInstance_Check(error))
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    else
        PyErr_SetObject(PyExceptionClass_Check(error) ? error : PyExc_TypeError, NULL);
    return NULL;
}

PyDoc_STRVAR(completed_close_doc, "Does nothing.");

static PyObject *completed_close(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    Py_RETURN_NONE;
}

static PyMethodDef completed_methods[] = {
    {"send", completed_send, METH_O, completed_send_doc},
    {"throw", completed_throw, METH_VARARGS, completed_throw_doc},
    {"close", completed_close, METH_NOARGS, completed_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot completed_slots[] = {
    {Py_tp_doc, (void *)"A coroutine that has nothing left to do."},
    {Py_tp_methods, completed_methods},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, completed_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, completed_step},
    {0, NULL},
};

static PyType_Spec completed_spec = {
    .name = "cno._accel.Completed",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = completed_slots,
};

// ---- the module --------------------------------------------------------------------------------

PyDoc_STRVAR(
    bind_doc,
    "bind(addresses, quantum, loads, http_scope, asgi, awaited, /)\n--\n\n"
    "The engine's functions (cno.engine.ADDRESSES) and what Python has to do with them.\n\n"
    "Raises ImportError when the engine was built from other headers.");

static PyObject *bind(PyObject *module, PyObject *args) {
    Py_ssize_t size, limit;
    Py_ssize_t consume_at, respond_at;
    PyObject *given[4];
    (void)module;
    if (!PyArg_ParseTuple(args, "(nnn)nOOOO", &size, &consume_at, &respond_at, &limit, &given[0],
                          &given[1], &given[2], &given[3]))
        return NULL;
    if (size != sizeof(struct cno_batch_t)) {
        PyErr_SetString(PyExc_ImportError, "cno._accel and cno._engine are of different builds");
        return NULL;
    }
    consume = (consume_t)consume_at;
    respond = (respond_t)respond_at;
    quantum = limit;
    PyObject **kept[4] = {&loads, &http_scope, &asgi, &awaited};
    for (int i = 0; i < 4; i++) {
        PyObject *old = *kept[i];
        *kept[i] = Py_NewRef(given[i]);
        Py_XDECREF(old);
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"bind", bind, METH_VARARGS, bind_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cno._accel",
    .m_size = -1,
    .m_methods = functions,
};

static PyTypeObject *make_type(PyObject *module, PyType_Spec *spec) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(spec);
    if (type && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}

PyMODINIT_FUNC PyInit__accel(void) {
    PyObject *module = PyModule_Create(&definition);
    PyObject *types = module ? PyImport_ImportModule("types") : NULL;
    if (!types)
        goto fail;
    for (int i = 0; i < N_COUNT; i++)
        if (!(names[i] = PyUnicode_InternFromString(NAMES[i])))
            goto fail;
    coroutine_type = PyObject_GetAttrString(types, "CoroutineType");
    empty_tuple = PyTuple_New(0);
    empty_bytes = PyBytes_FromStringAndSize(NULL, 0);
    Connection = make_type(module, &connection_spec);
    Request = make_type(module, &request_spec);
    Run = make_type(module, &run_spec);
    PyTypeObject *completed_type = make_type(module, &completed_spec);
    if (!coroutine_type || !empty_tuple || !empty_bytes || !Connection || !Request || !Run ||
        !completed_type || !(completed = PyType_GenericAlloc(completed_type, 0)))
        goto fail;
    Py_DECREF(types);
    return module;
fail:
    Py_XDECREF(types);
    Py_XDECREF(module);
    return NULL;
}
