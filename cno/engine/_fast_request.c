// Request: all of cno.asgi.Request, which says what each method is for.
#include "_fast.h"

#include <time.h>

// ---- making one --------------------------------------------------------------------------------

// Puts an item of an event under one of the keys.
static int put(PyObject *scope, PyObject *key, PyObject *event, Py_ssize_t index) {
    PyObject *value = PyTuple_GetItem(event, index);
    return value ? PyDict_SetItem(scope, key, value) : -1;
}

static int put_new(PyObject *scope, PyObject *key, PyObject *value) {
    int r = value ? PyDict_SetItem(scope, key, value) : -1;
    Py_XDECREF(value);
    return r;
}

// cno.gateway.scope.http_scope.
static PyObject *make_scope(struct fast *fast, PyObject *base, PyObject *event, PyObject *state,
                            long flags) {
    PyObject *path = PyTuple_GetItem(event, CNO_HEAD_PATH);
    PyObject *root = PyDict_GetItemWithError(base, NAME(fast, root_path));
    if (!path || PyErr_Occurred())
        return NULL;
    if (!PyUnicode_Check(path) || !root || !PyUnicode_Check(root) || PyUnicode_GetLength(root) ||
        (flags & CNO_MESSAGE_HTTP1_0) || (state != Py_None && !PyDict_Check(state)))
        return PyObject_CallFunctionObjArgs(HELPER(fast, http_scope), base, event, state, NULL);
    PyObject *scope = PyDict_Copy(base);
    if (scope && put_new(scope, NAME(fast, asgi), PyDict_Copy(HELPER(fast, asgi))) == 0 &&
        put(scope, NAME(fast, method), event, CNO_HEAD_METHOD) == 0 &&
        put(scope, NAME(fast, path), event, CNO_HEAD_PATH) == 0 &&
        put(scope, NAME(fast, raw_path), event, CNO_HEAD_TARGET) == 0 &&
        put(scope, NAME(fast, query_string), event, CNO_HEAD_QUERY) == 0 &&
        put(scope, NAME(fast, headers), event, CNO_HEAD_FIELDS) == 0 &&
        put_new(scope, NAME(fast, extensions), PyDict_New()) == 0 &&
        (state == Py_None || put_new(scope, NAME(fast, state), PyDict_Copy(state)) == 0))
        return scope;
    Py_XDECREF(scope);
    return NULL;
}

// The time of time.monotonic().
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Request(application, connection, base, event).
static PyObject *new (PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *site, *connection, *base, *event;
    struct fast *fast = fast_of(type);
    (void)kwargs;
    if (!fast || !PyArg_UnpackTuple(args, "Request", 4, 4, &site, &connection, &base, &event))
        return NULL;
    if (!PyTuple_Check(site) || !PyObject_TypeCheck(connection, fast->connection_type) ||
        !PyDict_Check(base) || !PyTuple_Check(event)) {
        PyErr_SetString(PyExc_TypeError,
                        "Request takes an Application, a Connection, a dict and an event");
        return NULL;
    }
    PyObject *app = PyTuple_GetItem(site, 0), *state = PyTuple_GetItem(site, 1);
    PyObject *access_log = PyTuple_GetItem(site, 2), *id = PyTuple_GetItem(event, CNO_HEAD_STREAM);
    PyObject *bits = PyTuple_GetItem(event, CNO_HEAD_FLAGS);
    if (!app || !state || !access_log || !id || !bits)
        return NULL;
    long flags = PyLong_AsLong(bits);
    unsigned long stream = PyLong_AsUnsignedLong(id);
    struct request *r = PyErr_Occurred() ? NULL : (struct request *)PyType_GenericAlloc(type, 0);
    if (!r)
        return NULL;
    r->fast = fast;
    r->connection = (struct connection *)Py_NewRef(connection);
    r->app = Py_NewRef(app);
    r->task = Py_NewRef(Py_None);
    r->body_done = (flags & CNO_MESSAGE_FINAL) != 0;
    r->expect = (flags & CNO_MESSAGE_EXPECT) != 0;
    r->access_log = access_log == Py_True;
    r->began = r->access_log ? now() : 0;
    r->scope = make_scope(fast, base, event, state, flags);
    r->reply = r->scope ? fast_reply_new(fast, r->connection, (unsigned int)stream,
                                         r->access_log ? (PyObject *)r : NULL)
                        : NULL;
    if (!r->reply)
        Py_CLEAR(r);
    return (PyObject *)r;
}

// ---- what the connection does ------------------------------------------------------------------

PyObject *fast_request_inbox(struct request *r) {
    if (!r->inbox)
        r->inbox = PyObject_CallFunction(HELPER(r->fast, Inbox), "OOOO", (PyObject *)r->connection,
                                         (PyObject *)r->reply, r->body_done ? Py_True : Py_False,
                                         r->expect ? Py_True : Py_False);
    return r->inbox;
}

static PyObject *get_inbox(PyObject *self, void *unused) {
    PyObject *inbox = fast_request_inbox((struct request *)self);
    (void)unused;
    return inbox ? Py_NewRef(inbox) : NULL;
}

static PyObject *feed(PyObject *self, PyObject *data) {
    struct request *r = (struct request *)self;
    PyObject *inbox = fast_request_inbox(r);
    return inbox ? PyObject_CallMethodObjArgs(inbox, NAME(r->fast, feed), data, NULL) : NULL;
}

// Tells those who wait in receive(), if there are any.
static PyObject *wake(struct request *r) {
    if (r->inbox && fast_call(r->inbox, NAME(r->fast, wake), NULL) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *feed_end(PyObject *self, PyObject *trailers) {
    struct request *r = (struct request *)self;
    (void)trailers;
    r->body_done = 1;
    if (r->inbox && PyObject_SetAttr(r->inbox, NAME(r->fast, complete), Py_True) < 0)
        return NULL;
    return wake(r);
}

static PyObject *disconnect(PyObject *self, PyObject *hung_up) {
    struct request *r = (struct request *)self;
    PyObject *inbox = fast_request_inbox(r);
    if (!inbox || fast_call(inbox, NAME(r->fast, disconnect), hung_up) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *hang_up(PyObject *self, PyObject *unused) {
    (void)unused;
    return disconnect(self, Py_True);
}

static PyObject *wind_up(PyObject *self, PyObject *unused) {
    (void)unused;
    return disconnect(self, Py_False);
}

static PyObject *awaited(PyObject *self, PyObject *unused) {
    struct request *r = (struct request *)self;
    (void)unused;
    return r->inbox ? PyObject_CallMethodObjArgs(r->inbox, NAME(r->fast, awaited), NULL)
                    : Py_NewRef(Py_None);
}

static PyObject *lost(PyObject *self, PyObject *unused) {
    struct request *r = (struct request *)self;
    (void)unused;
    PyObject *done = PyObject_CallMethod((PyObject *)r->reply, "lost", NULL);
    Py_XDECREF(done);
    if (!done || (r->inbox && fast_call(r->inbox, NAME(r->fast, lose), NULL) < 0))
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *cancel(PyObject *self, PyObject *unused) {
    struct request *r = (struct request *)self;
    (void)unused;
    if (r->task && r->task != Py_None && fast_call(r->task, NAME(r->fast, cancel), NULL) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *answered(PyObject *self, PyObject *reply) {
    struct request *r = (struct request *)self;
    return fast_apply(HELPER(r->fast, answered), self, reply) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *run(PyObject *self, PyObject *unused) {
    (void)unused;
    return fast_run_new((struct request *)self, NULL);
}

static PyObject *begin(PyObject *self, PyObject *unused) {
    struct request *r = (struct request *)self;
    (void)unused;
    PyObject *coroutine = fast_run_new(r, NULL);
    PyObject *task = coroutine ? fast_start(r->connection, coroutine) : NULL;
    Py_XDECREF(coroutine);
    if (!task)
        return NULL;
    PyObject *old = r->ended ? task : r->task;
    if (!r->ended)
        r->task = task;
    Py_XDECREF(old);
    return Py_NewRef(Py_None);
}

// ---- what the application does -----------------------------------------------------------------

static PyObject *get_send(PyObject *self, void *unused) {
    (void)unused;
    return fast_port_new((struct request *)self, 0);
}

static PyObject *get_receive(PyObject *self, void *unused) {
    (void)unused;
    return fast_port_new((struct request *)self, 1);
}

// ---- the type ----------------------------------------------------------------------------------

static int request_traverse(PyObject *self, visitproc visit, void *arg) {
    struct request *r = (struct request *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(r->connection);
    Py_VISIT(r->reply);
    Py_VISIT(r->scope);
    Py_VISIT(r->app);
    Py_VISIT(r->task);
    Py_VISIT(r->inbox);
    return 0;
}

static int request_clear(PyObject *self) {
    struct request *r = (struct request *)self;
    Py_CLEAR(r->connection);
    Py_CLEAR(r->reply);
    Py_CLEAR(r->scope);
    Py_CLEAR(r->app);
    Py_CLEAR(r->task);
    Py_CLEAR(r->inbox);
    return 0;
}

static void request_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);  // first: a callback of a weak reference may run the collector
    PyObject_ClearWeakRefs(self);
    fast_release(self, request_clear);
}

static PyMemberDef request_members[] = {
    {"connection", T_OBJECT_EX, offsetof(struct request, connection), READONLY, NULL},
    {"reply", T_OBJECT_EX, offsetof(struct request, reply), READONLY, NULL},
    {"body_done", T_BOOL, offsetof(struct request, body_done), 0, NULL},
    {"scope", T_OBJECT_EX, offsetof(struct request, scope), READONLY, NULL},
    {"task", T_OBJECT_EX, offsetof(struct request, task), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct request, weakrefs), READONLY, NULL},
    {"began", T_DOUBLE, offsetof(struct request, began), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *get_id(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(((struct request *)self)->reply->stream);
}

static PyGetSetDef request_getset[] = {
    {"id", get_id, NULL, NULL, NULL},     {"inbox", get_inbox, NULL, NULL, NULL},
    {"send", get_send, NULL, NULL, NULL}, {"receive", get_receive, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef request_methods[] = {
    {"feed", feed, METH_O, PyDoc_STR("See cno.asgi.Request.")},
    {"feed_end", feed_end, METH_O, NULL},
    {"hang_up", hang_up, METH_NOARGS, NULL},
    {"wind_up", wind_up, METH_NOARGS, NULL},
    {"awaited", awaited, METH_NOARGS, NULL},
    {"lost", lost, METH_NOARGS, NULL},
    {"cancel", cancel, METH_NOARGS, NULL},
    {"answered", answered, METH_O, NULL},
    {"begin", begin, METH_NOARGS, NULL},
    {"run", run, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot request_slots[] = {
    {Py_tp_doc, (void *)"See cno.asgi.Request."},
    {Py_tp_new, new},
    {Py_tp_dealloc, request_dealloc},
    {Py_tp_traverse, request_traverse},
    {Py_tp_clear, request_clear},
    {Py_tp_members, request_members},
    {Py_tp_getset, request_getset},
    {Py_tp_methods, request_methods},
    {0, NULL},
};

PyType_Spec fast_request_spec = {
    .name = "cno.engine._fast.Request",
    .basicsize = sizeof(struct request),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = request_slots,
};
