// Connection: a read that is handed out event by event, an exchange that begins, a response that is
// complete. ServerConnection has the same in Python; whatever is out of the ordinary is left to its
// methods before anything is done.
#include "_fast.h"

int fast_usable(struct connection *c) {
    int usable = c->batch && c->streams && c->running && c->context;
    if (!usable)
        PyErr_SetString(PyExc_RuntimeError, "the connection is not attached, or is incomplete");
    return usable;
}

// ---- reading -----------------------------------------------------------------------------------

// A request head has come.
static int on_head(struct connection *c, PyObject *event) {
    struct fast *fast = c->fast;
    PyObject *bits = PyTuple_GetItem(event, CNO_HEAD_FLAGS), *id = PyTuple_GetItem(event, 1);
    if (!bits || !id)
        return -1;
    if (c->unfinished >= (int)c->max_streams)
        return fast_call((PyObject *)c, NAME(fast, _on_head), event);
    long flags = PyLong_AsLong(bits);
    PyObject *open =
        (flags & CNO_BATCH_WEBSOCKET) && c->open_websocket && c->open_websocket != Py_None
            ? c->open_websocket
            : c->open_request;
    if (PyErr_Occurred() || !fast_usable(c))
        return -1;
    if (!open) {
        PyErr_SetString(PyExc_AttributeError, "open_request");
        return -1;
    }
    c->busy = 1;
    // A reference of our own: connection_lost() deletes the attribute, and may run within the call.
    Py_INCREF(open);
    PyObject *exchange = PyObject_CallFunctionObjArgs(open, event, NULL);
    Py_DECREF(open);
    if (!exchange)
        return -1;
    int r = -1;
    if (PyDict_SetItem(c->streams, id, exchange) == 0 && PySet_Add(c->running, exchange) == 0) {
        c->unfinished++;
        r = fast_call(exchange, NAME(fast, begin), NULL);
    }
    Py_DECREF(exchange);
    return r;
}

// Parts of one body that came in one read, and are handed out as one: frames of HTTP/2 are small.
// Until `count` is above 0 the rest has no meaning.
struct parts {
    Py_ssize_t first, last;  // indices of the events
    Py_ssize_t size;         // bytes in all
    int count;
    char whole;  // the first part begins where the input begins
};

// One part: its size, and where it is.
static Py_ssize_t part_of(PyObject *event, const char *input, const char **start) {
    PyObject *from = PyTuple_GetItem(event, 2), *to = PyTuple_GetItem(event, 3);
    Py_ssize_t first = from ? PyLong_AsSsize_t(from) : -1;
    if (PyErr_Occurred())
        return -1;
    if (first < 0) {
        *start = PyBytes_AsString(to);
        return PyBytes_Size(to);
    }
    *start = input + first;
    return PyLong_AsSsize_t(to) - first;
}

// Hands out the parts as one. `data` is what was consumed.
static int on_body(struct connection *c, PyObject *events, struct parts *parts, PyObject *data) {
    PyObject *bytes = NULL, *id = PyTuple_GetItem(PyList_GetItem(events, parts->first), 1);
    const char *input = PyBytes_AsString(data), *start;
    if (!id || !input)
        return -1;
    if (parts->count == 1 && parts->whole && parts->size == PyBytes_Size(data)) {
        bytes = Py_NewRef(data);
    } else if ((bytes = PyBytes_FromStringAndSize(NULL, parts->size))) {
        char *at = PyBytes_AsString(bytes);
        for (Py_ssize_t i = parts->first; i <= parts->last; i++) {
            Py_ssize_t size = part_of(PyList_GetItem(events, i), input, &start);
            memcpy(at, start, (size_t)size);
            at += size;
        }
    }
    parts->count = 0;
    PyObject *done =
        bytes ? PyObject_CallMethodObjArgs((PyObject *)c, NAME(c->fast, _on_data), id, bytes, NULL)
              : NULL;
    Py_XDECREF(bytes);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

// Adds a DATA event to the parts of the same stream. Returns 0, or -1 with an exception set.
static int add_part(struct parts *parts, PyObject *events, Py_ssize_t index, PyObject *data) {
    const char *start, *input = PyBytes_AsString(data);
    Py_ssize_t size = part_of(PyList_GetItem(events, index), input, &start);
    if (size < 0)
        return -1;
    if (!parts->count)
        *parts = (struct parts){index, index, 0, 0, start == input};
    parts->last = index;
    parts->size += size;
    parts->count++;
    return 0;
}

// Whether an event is about the stream of the parts.
static int is_of(struct parts *parts, PyObject *events, PyObject *event) {
    PyObject *mine = PyTuple_GetItem(PyList_GetItem(events, parts->first), 1);
    PyObject *its = PyTuple_GetItem(event, 1);
    return mine && its && PyLong_AsLong(mine) == PyLong_AsLong(its);
}

// Hands out the events. Returns 0, or -1 with an exception set.
static int hand_out(struct connection *c, PyObject *events, PyObject *data) {
    Py_ssize_t count = PyList_Size(events);
    struct parts parts = {0, 0, 0, 0, 0};
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *event = PyList_GetItem(events, i), *kind = PyTuple_GetItem(event, 0);
        long number = kind ? PyLong_AsLong(kind) : -1;
        if (number < 0)
            return -1;
        if (parts.count && (number != CNO_EVENT_DATA || !is_of(&parts, events, event)) &&
            on_body(c, events, &parts, data) < 0)
            return -1;
        int r = number == CNO_EVENT_HEAD ? on_head(c, event)
                : number == CNO_EVENT_DATA
                    ? add_part(&parts, events, i, data)
                    : fast_call((PyObject *)c, NAME(c->fast, _on_event), event);
        if (r < 0)
            return -1;
    }
    return parts.count ? on_body(c, events, &parts, data) : 0;
}

// Takes the list of events and hands them out. Returns 0, or -1 with an exception set.
static int deliver(struct connection *c, PyObject *data) {
    // A copy, because what runs during the decoding may call the engine.
    PyObject *octets =
        PyBytes_FromStringAndSize(c->batch->events, (Py_ssize_t)c->batch->events_size);
    c->batch->events_size = 0;
    PyObject *events =
        octets ? PyObject_CallFunctionObjArgs(HELPER(c->fast, loads), octets, NULL) : NULL;
    Py_XDECREF(octets);
    int r = events ? hand_out(c, events, data) : -1;
    Py_XDECREF(events);
    return r;
}

// Writes the parts of bodies that wait for their turn, of which HTTP/1 has none while it reads.
static int pump(struct connection *c) {
    PyObject *ready = PyObject_GetAttr((PyObject *)c, NAME(c->fast, _ready));
    int r = ready ? PyObject_IsTrue(ready) : -1;
    Py_XDECREF(ready);
    return r > 0 ? fast_call((PyObject *)c, NAME(c->fast, _pump), NULL) : r;
}

PyDoc_STRVAR(data_received_doc, "Connection.data_received.");

static PyObject *data_received(PyObject *self, PyObject *data) {
    struct connection *c = (struct connection *)self;
    struct fast *fast = c->fast;
    char *octets;
    Py_ssize_t size;
    if (c->over)
        return Py_NewRef(Py_None);
    if (!fast_usable(c))
        return NULL;
    if (PyBytes_AsStringAndSize(data, &octets, &size) < 0)
        return NULL;
    if (fast->consume(c->batch, octets, (size_t)size) < 0 &&
        fast_call(c->engine, NAME(fast, raise_unless_told), NULL) < 0)
        return NULL;
    if (c->batch->events_size && deliver(c, data) < 0)
        return NULL;
    if (c->http2 && pump(c) < 0)
        return NULL;
    if (c->batch->out_size && fast_call(self, NAME(fast, flush_soon), NULL) < 0)
        return NULL;
    if (c->batch->kept && fast_call(self, NAME(fast, _update_reading), NULL) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

// ---- exchanges ---------------------------------------------------------------------------------

PyObject *fast_start(struct connection *c, PyObject *coroutine) {
    struct fast *fast = c->fast;
    if (!fast_usable(c))
        return NULL;
    PyObject *context = PyObject_CallMethodObjArgs(c->context, NAME(fast, copy), NULL);
    PyObject *args = NULL, *task = NULL;
    if (context && fast->task_takes_context) {
        // The task reads its arguments before it runs anything that could use the dict again.
        args = PyTuple_Pack(1, coroutine);
        if (args && PyDict_SetItem(c->task_options, NAME(fast, context), context) == 0)
            task = PyObject_Call(HELPER(fast, task), args, c->task_options);
        // What the application keeps in its context must not live as long as the connection.
        if (task && PyDict_SetItem(c->task_options, NAME(fast, context), Py_None) < 0)
            Py_CLEAR(task);
    } else if (context) {
        PyObject *run = PyObject_GetAttr(context, NAME(fast, run));
        args = PyTuple_Pack(2, HELPER(fast, task), coroutine);
        task = run && args ? PyObject_Call(run, args, c->task_options) : NULL;
        Py_XDECREF(run);
    }
    Py_XDECREF(args);
    Py_XDECREF(context);
    return task;
}

static PyObject *start(PyObject *self, PyObject *coroutine) {
    return fast_start((struct connection *)self, coroutine);
}

// Hands the gathered output to a transport that has room.
static int write_out(struct connection *c) {
    if (!c->batch->out_size)
        return 0;
    PyObject *octets = PyBytes_FromStringAndSize(c->batch->out, (Py_ssize_t)c->batch->out_size);
    if (!octets)
        return -1;
    c->batch->out_size = 0;
    PyObject *transport = Py_NewRef(c->transport);
    int r = fast_call(transport, NAME(c->fast, write), octets);
    Py_DECREF(transport);
    Py_DECREF(octets);
    return r;
}

// Takes the exchange of a reply out of `streams`. Returns whether its request is incomplete, or -1.
static int take_out(struct connection *c, struct reply *r) {
    PyObject *id = PyLong_FromUnsignedLong(r->stream);
    PyObject *exchange = id ? PyDict_GetItemWithError(c->streams, id) : NULL;
    int unread = 0;
    Py_XINCREF(exchange);
    if (exchange && PyDict_DelItem(c->streams, id) < 0) {
        unread = -1;
    } else if (exchange && Py_TYPE(exchange) == c->fast->request_type) {
        unread = !((struct request *)exchange)->body_done;
    } else if (exchange) {
        PyObject *done = PyObject_GetAttr(exchange, NAME(c->fast, body_done));
        unread = done ? PyObject_Not(done) : -1;
        Py_XDECREF(done);
    }
    Py_XDECREF(exchange);
    Py_XDECREF(id);
    return PyErr_Occurred() ? -1 : unread;
}

int fast_responded(struct connection *c, struct reply *r) {
    struct fast *fast = c->fast;
    PyObject *self = (PyObject *)c;
    if (!fast_usable(c))
        return -1;
    c->unfinished--;
    int unread = take_out(c, r);
    if (unread < 0)
        return -1;
    if (!c->http2) {
        c->unread = (char)unread;
        int direct = c->writable && c->transport && c->transport != Py_None;
        if (direct ? write_out(c) < 0 : fast_call(self, NAME(fast, flush), NULL) < 0)
            return -1;
    } else {
        if (unread && !c->over) {
            PyObject *done = PyObject_CallMethod(self, "_reset", "Ii", r->stream, CNO_RST_NO_ERROR);
            Py_XDECREF(done);
            if (!done)
                return -1;
        }
        if (!c->flushing && fast_call(self, NAME(fast, flush_soon), NULL) < 0)
            return -1;
    }
    if (c->batch->events_size && fast_call(self, NAME(fast, _tell), NULL) < 0)
        return -1;
    // An eager task may answer while what was read is still being handed out.
    return c->reading && !c->batch->kept ? 0 : fast_call(self, NAME(fast, _read_on), NULL);
}

static PyObject *responded(PyObject *self, PyObject *reply) {
    struct connection *c = (struct connection *)self;
    if (Py_TYPE(reply) != c->fast->reply_type) {
        PyErr_SetString(PyExc_TypeError, "not a Reply");
        return NULL;
    }
    return fast_responded(c, (struct reply *)reply) < 0 ? NULL : Py_NewRef(Py_None);
}

int fast_returned(struct connection *c, PyObject *exchange, struct reply *r) {
    if (!fast_usable(c))
        return -1;
    int ran = PySet_Discard(c->running, exchange);
    if (ran <= 0)
        return ran;
    if (r->state != CNO_REPLY_DONE)
        c->unfinished--;
    return c->gone ? fast_call((PyObject *)c, NAME(c->fast, check_gone), NULL) : 0;
}

static PyObject *returned(PyObject *self, PyObject *exchange) {
    struct connection *c = (struct connection *)self;
    PyObject *reply = PyObject_GetAttr(exchange, NAME(c->fast, reply));
    if (reply && Py_TYPE(reply) != c->fast->reply_type)
        PyErr_SetString(PyExc_TypeError, "not an exchange with a compiled Reply");
    int r = reply && !PyErr_Occurred() ? fast_returned(c, exchange, (struct reply *)reply) : -1;
    Py_XDECREF(reply);
    return r < 0 ? NULL : Py_NewRef(Py_None);
}

// ---- the type ----------------------------------------------------------------------------------

static PyObject *new (PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    struct fast *fast = fast_of(type);
    struct connection *c = fast ? (struct connection *)PyType_GenericAlloc(type, 0) : NULL;
    if (c)
        c->fast = fast;
    return (PyObject *)c;
}

PyDoc_STRVAR(attach_doc, "attach(engine, address, task_options, /)\n--\n\n"
                         "The engine, where its batch is, and what tasks are made with.");

static PyObject *attach(PyObject *self, PyObject *args) {
    struct connection *c = (struct connection *)self;
    PyObject *engine, *address, *options;
    if (!PyArg_ParseTuple(args, "OOO", &engine, &address, &options))
        return NULL;
    void *batch = PyLong_AsVoidPtr(address);
    if (!batch && PyErr_Occurred())
        return NULL;
    if (!c->fast->consume || !HELPER(c->fast, task)) {
        PyErr_SetString(PyExc_RuntimeError, "connect() and bind() come first");
        return NULL;
    }
    PyObject *copy = PyDict_Copy(options), *old_engine = c->engine, *old = c->task_options;
    if (!copy)
        return NULL;
    c->task_options = copy;
    c->engine = Py_NewRef(engine);
    c->batch = batch;
    Py_XDECREF(old_engine);
    Py_XDECREF(old);
    return Py_NewRef(Py_None);
}

static int connection_traverse(PyObject *self, visitproc visit, void *arg) {
    struct connection *c = (struct connection *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(c->engine);
    Py_VISIT(c->streams);
    Py_VISIT(c->running);
    Py_VISIT(c->parts);
    Py_VISIT(c->transport);
    Py_VISIT(c->context);
    Py_VISIT(c->open_request);
    Py_VISIT(c->open_websocket);
    Py_VISIT(c->task_options);
    return 0;
}

static int connection_clear(PyObject *self) {
    struct connection *c = (struct connection *)self;
    c->batch = NULL;
    Py_CLEAR(c->engine);
    Py_CLEAR(c->streams);
    Py_CLEAR(c->running);
    Py_CLEAR(c->parts);
    Py_CLEAR(c->transport);
    Py_CLEAR(c->context);
    Py_CLEAR(c->open_request);
    Py_CLEAR(c->open_websocket);
    Py_CLEAR(c->task_options);
    return 0;
}

static void connection_dealloc(PyObject *self) {
    fast_release(self, connection_clear);
}

static PyMemberDef connection_members[] = {
    {"streams", T_OBJECT_EX, offsetof(struct connection, streams), 0, NULL},
    {"running", T_OBJECT_EX, offsetof(struct connection, running), 0, NULL},
    {"parts", T_OBJECT_EX, offsetof(struct connection, parts), 0, NULL},
    {"unfinished", T_INT, offsetof(struct connection, unfinished), 0, NULL},
    {"context", T_OBJECT_EX, offsetof(struct connection, context), 0, NULL},
    {"http2", T_BOOL, offsetof(struct connection, http2), 0, NULL},
    {"writable", T_BOOL, offsetof(struct connection, writable), 0, NULL},
    {"gone", T_BOOL, offsetof(struct connection, gone), 0, NULL},
    {"open_request", T_OBJECT_EX, offsetof(struct connection, open_request), 0, NULL},
    {"open_websocket", T_OBJECT, offsetof(struct connection, open_websocket), 0, NULL},
    {"_transport", T_OBJECT, offsetof(struct connection, transport), 0, NULL},
    {"_max_streams", T_UINT, offsetof(struct connection, max_streams), 0, NULL},
    {"_turn", T_PYSSIZET, offsetof(struct connection, turn), 0, NULL},
    {"_over", T_BOOL, offsetof(struct connection, over), 0, NULL},
    {"_busy", T_BOOL, offsetof(struct connection, busy), 0, NULL},
    {"_reading", T_BOOL, offsetof(struct connection, reading), 0, NULL},
    {"_flushing", T_BOOL, offsetof(struct connection, flushing), 0, NULL},
    {"_unread", T_BOOL, offsetof(struct connection, unread), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef connection_methods[] = {
    {"data_received", data_received, METH_O, data_received_doc},
    {"start", start, METH_O, PyDoc_STR("ServerConnection.start.")},
    {"responded", responded, METH_O, PyDoc_STR("ServerConnection.responded.")},
    {"returned", returned, METH_O, PyDoc_STR("ServerConnection.returned.")},
    {"attach", attach, METH_VARARGS, attach_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot connection_slots[] = {
    {Py_tp_doc, (void *)"What ServerConnection keeps and does for every request."},
    {Py_tp_new, new},
    {Py_tp_dealloc, connection_dealloc},
    {Py_tp_traverse, connection_traverse},
    {Py_tp_clear, connection_clear},
    {Py_tp_members, connection_members},
    {Py_tp_methods, connection_methods},
    {0, NULL},
};

PyType_Spec fast_connection_spec = {
    .name = "cno.engine._fast.Connection",
    .basicsize = sizeof(struct connection),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = connection_slots,
};
