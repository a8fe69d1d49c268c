// The way of an ordinary request, compiled: a head that comes, an application that is run, an answer
// in one piece that goes. The types here and in _accel_request.c go in front of the classes of
// serving.py and asgi.py (accel.py puts them together): what is out of the ordinary is left to the
// Python methods behind, and so is everything where this module is missing.
//
// Knows batch.h and nothing of the engine behind it; calls the engine that cno._engine holds, by the
// addresses that accel.py passes on.
#include "_accel.h"

struct accel accel;

int accel_call(PyObject *object, PyObject *name, PyObject *argument) {
    PyObject *result = PyObject_CallMethodObjArgs(object, name, argument, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

void accel_release(PyObject *self, inquiry clear) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

// ---- connections -------------------------------------------------------------------------------

// A request head has come.
static int on_head(struct connection *c, PyObject *event) {
    Py_ssize_t running = PySet_Size(c->running);
    if (running < 0)
        return -1;
    if (running >= (Py_ssize_t)c->max_streams)
        return accel_call((PyObject *)c, NAME(_on_head), event);
    c->busy = 1;
    PyObject *stream = PyObject_CallFunctionObjArgs(c->open, event, NULL);
    if (!stream)
        return -1;
    PyObject *task = NULL, *coroutine = NULL;
    if (PyDict_SetItem(c->streams, PyTuple_GetItem(event, 1), stream) == 0 &&
        PySet_Add(c->running, stream) == 0) {
        coroutine = PyObject_CallMethodObjArgs(stream, NAME(run), NULL);
        task = coroutine ? PyObject_CallFunctionObjArgs(c->start, coroutine, NULL) : NULL;
        if (task && PyObject_SetAttr(stream, NAME(task), task) < 0)
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
        PyObject_CallMethodObjArgs((PyObject *)c, NAME(_on_event), event, data, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

// Takes the list of events and hands out each. `data` is what was consumed.
static int deliver(struct connection *c, PyObject *data) {
    // A copy, because what runs during the decoding may call the engine.
    PyObject *octets =
        PyBytes_FromStringAndSize(c->batch->events, (Py_ssize_t)c->batch->events_size);
    c->batch->events_size = 0;
    PyObject *events = octets ? PyObject_CallFunctionObjArgs(accel.loads, octets, NULL) : NULL;
    Py_XDECREF(octets);
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
        return Py_NewRef(Py_None);
    if (!c->batch) {
        PyErr_SetString(PyExc_RuntimeError, "attach() was not called");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(data, &octets, &size) < 0)
        return NULL;
    if (accel.consume(c->batch, octets, (size_t)size) < 0 &&
        accel_call(c->engine, NAME(raise_unless_told), NULL) < 0)
        return NULL;
    if (c->batch->events_size && deliver(c, data) < 0)
        return NULL;
    if (c->batch->out_size && accel_call(self, NAME(flush_soon), NULL) < 0)
        return NULL;
    if (c->batch->kept && accel_call(self, NAME(_update_reading), NULL) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

// Hands the gathered output to a transport that has room.
static int write_out(struct connection *c) {
    PyObject *octets = PyBytes_FromStringAndSize(c->batch->out, (Py_ssize_t)c->batch->out_size);
    if (!octets)
        return -1;
    c->batch->out_size = 0;
    PyObject *transport = Py_NewRef(c->transport);
    int r = accel_call(transport, NAME(write), octets);
    Py_DECREF(transport);
    Py_DECREF(octets);
    return r;
}

// ServerConnection.responded.
int accel_responded(struct connection *c, struct request *r) {
    PyObject *self = (PyObject *)c;
    if (c->http2 && !r->body_done)
        return accel_call(self, NAME(responded), (PyObject *)r);
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
    if (!direct && !c->http2 && accel_call(self, NAME(flush), NULL) < 0)
        return -1;
    if (c->http2 && !c->flushing && accel_call(self, NAME(flush_soon), NULL) < 0)
        return -1;
    if (c->batch->events_size && accel_call(self, NAME(_tell), NULL) < 0)
        return -1;
    // An eager task may answer while what was read is still being handed out.
    return c->reading && !c->batch->kept ? 0 : accel_call(self, NAME(_read_on), NULL);
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
    return Py_NewRef(Py_None);
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

static void connection_dealloc(PyObject *self) {
    accel_release(self, connection_clear);
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
    {Py_tp_doc, (void *)"What ServerConnection keeps and does for every request."},
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

// ---- the module --------------------------------------------------------------------------------

PyDoc_STRVAR(
    bind_doc,
    "bind(addresses, quantum, loads, http_scope, asgi, awaited, /)\n--\n\n"
    "The engine's functions (cno.engine.ADDRESSES) and what Python has to do with them.\n\n"
    "Raises ImportError when the engine was built from other headers, or another interpreter "
    "of the process uses the module.");

static PyObject *bind(PyObject *module, PyObject *args) {
    static int64_t owner = -1;
    Py_ssize_t size;
    PyObject *consume, *respond, *given[4];
    (void)module;
    if (!PyArg_ParseTuple(args, "(nOO)nOOOO", &size, &consume, &respond, &accel.quantum, &given[0],
                          &given[1], &given[2], &given[3]))
        return NULL;
    int64_t here = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (size != sizeof(struct cno_batch_t) || (owner >= 0 && owner != here)) {
        PyErr_SetString(PyExc_ImportError, owner >= 0 && owner != here
                                               ? "cno._accel is for one interpreter"
                                               : "cno._accel and cno._engine are of different "
                                                 "builds");
        return NULL;
    }
    *(void **)&accel.consume = PyLong_AsVoidPtr(consume);
    *(void **)&accel.respond = PyLong_AsVoidPtr(respond);
    if (PyErr_Occurred())
        return NULL;
    owner = here;
    PyObject **kept[4] = {&accel.loads, &accel.http_scope, &accel.asgi, &accel.awaited};
    for (int i = 0; i < 4; i++) {
        PyObject *old = *kept[i];
        *kept[i] = Py_NewRef(given[i]);
        Py_XDECREF(old);
    }
    return Py_NewRef(Py_None);
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

PyTypeObject *accel_make_type(PyObject *module, PyType_Spec *spec) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(spec);
    if (type && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}

static int make_constants(void) {
#define X(name) \
    if (!(accel.names.name = PyUnicode_InternFromString(#name))) \
        return -1;
    ACCEL_NAMES(X)
#undef X
    PyObject *types = PyImport_ImportModule("types");
    accel.coroutine_type = types ? PyObject_GetAttrString(types, "CoroutineType") : NULL;
    Py_XDECREF(types);
    accel.response_start = PyUnicode_InternFromString("http.response.start");
    accel.response_body = PyUnicode_InternFromString("http.response.body");
    accel.empty_tuple = PyTuple_New(0);
    accel.empty_bytes = PyBytes_FromStringAndSize(NULL, 0);
    return accel.coroutine_type && accel.response_start && accel.response_body &&
                   accel.empty_tuple && accel.empty_bytes
               ? 0
               : -1;
}

PyMODINIT_FUNC PyInit__accel(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module && make_constants() == 0 &&
        (accel.connection_type = accel_make_type(module, &connection_spec)) &&
        accel_request_types(module) == 0)
        return module;
    Py_XDECREF(module);
    return NULL;
}
