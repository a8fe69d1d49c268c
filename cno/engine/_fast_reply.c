// Reply: all of cno.server.reply.Reply, which says what each method is for.
#include "_fast.h"

enum { WAITING = CNO_REPLY_WAITING, HELD = CNO_REPLY_HELD, BODY = CNO_REPLY_BODY };
enum { DONE = CNO_REPLY_DONE, FAILED = CNO_REPLY_FAILED };

// Bytes of body from which on a copy into the engine's output costs more than a call.
#define AT_ONCE 1024

struct reply *fast_reply_new(struct fast *fast, struct connection *connection, unsigned int stream,
                             PyObject *owner) {
    struct reply *r = (struct reply *)PyType_GenericAlloc(fast->reply_type, 0);
    if (r) {
        r->fast = fast;
        r->connection = (struct connection *)Py_NewRef((PyObject *)connection);
        r->stream = stream;
        r->owner = Py_NewRef(owner ? owner : Py_None);
    }
    return r;
}

static PyObject *new (PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *connection, *owner;
    unsigned int stream;
    struct fast *fast = fast_of(type);
    (void)kwargs;
    if (!fast || !PyArg_ParseTuple(args, "OIO", &connection, &stream, &owner))
        return NULL;
    if (!PyObject_TypeCheck(connection, fast->connection_type)) {
        PyErr_SetString(PyExc_TypeError, "a compiled Reply needs a compiled Connection");
        return NULL;
    }
    return (PyObject *)fast_reply_new(fast, (struct connection *)connection, stream, owner);
}

// Raises what a Python function makes of the reply: an exception.
static int raise_from(struct reply *r, PyObject *function) {
    PyObject *error = PyObject_CallFunctionObjArgs(function, (PyObject *)r, NULL);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return -1;
}

// The engine has refused what was to be written.
static int refused(struct reply *r) {
    return raise_from(r, HELPER(r->fast, refusal));
}

static int no_body_is_due(struct reply *r) {
    if (r->state == FAILED)
        return raise_from(r, HELPER(r->fast, gone));
    PyErr_SetString(PyExc_RuntimeError, "no body is due");
    return -1;
}

// ---- the head ----------------------------------------------------------------------------------

// Whether a head is due. 0 with an exception set.
static int is_waiting(struct reply *r) {
    if (r->state != WAITING)
        PyErr_SetString(PyExc_RuntimeError, "the response was started already");
    return r->state == WAITING;
}

int fast_reply_start(struct reply *r, int status, PyObject *fields) {
    if (!is_waiting(r))
        return -1;
    PyObject *old = r->fields;
    r->fields = Py_NewRef(fields);
    Py_XDECREF(old);
    r->status = status;
    r->state = HELD;
    return 0;
}

int fast_reply_arm(struct reply *r) {
    if (r->armed)
        return 0;
    struct fast *fast = r->fast;
    PyObject *loop = PyObject_GetAttr((PyObject *)r->connection, NAME(fast, loop));
    PyObject *soon = loop ? PyObject_GetAttr(loop, NAME(fast, call_soon)) : NULL;
    PyObject *release = soon ? PyObject_GetAttr((PyObject *)r, NAME(fast, release)) : NULL;
    PyObject *args = release ? PyTuple_Pack(1, release) : NULL;
    PyObject *options = args ? PyDict_New() : NULL;
    PyObject *handle = NULL;
    if (options && fast_usable(r->connection) &&
        PyDict_SetItem(options, NAME(fast, context), r->connection->context) == 0)
        handle = PyObject_Call(soon, args, options);
    Py_XDECREF(options);
    Py_XDECREF(args);
    Py_XDECREF(release);
    Py_XDECREF(soon);
    Py_XDECREF(loop);
    Py_XDECREF(handle);
    r->armed = handle != NULL;
    return handle ? 0 : -1;
}

// Reads (status, fields) into a checked list of pairs, a new reference.
static PyObject *head_of(struct reply *r, PyObject *args, int *status) {
    PyObject *fields;
    if (!PyArg_ParseTuple(args, "iO", status, &fields) || !is_waiting(r))
        return NULL;
    return PyObject_CallFunctionObjArgs(HELPER(r->fast, checked), fields, NULL);
}

static PyObject *start(PyObject *self, PyObject *args) {
    struct reply *r = (struct reply *)self;
    int status;
    PyObject *fields = head_of(r, args, &status);
    int failed = !fields || fast_reply_start(r, status, fields) < 0;
    Py_XDECREF(fields);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *hold(PyObject *self, PyObject *args) {
    PyObject *done = start(self, args);
    if (done && fast_reply_arm((struct reply *)self) < 0)
        Py_CLEAR(done);
    return done;
}

static struct cno_buffer_t octets_of(PyObject *bytes) {
    return (struct cno_buffer_t){PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes)};
}

// The fields of the held head. One too many is left in for the engine to refuse.
static size_t read_fields(struct reply *r, struct cno_header_t list[CNO_MAX_ANSWER_FIELDS + 1]) {
    int is_tuple = PyTuple_Check(r->fields);
    Py_ssize_t count = is_tuple ? PyTuple_Size(r->fields) : PyList_Size(r->fields);
    count = count > CNO_MAX_ANSWER_FIELDS ? CNO_MAX_ANSWER_FIELDS + 1 : count;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = is_tuple ? PyTuple_GetItem(r->fields, i) : PyList_GetItem(r->fields, i);
        list[i] = (struct cno_header_t){octets_of(PyTuple_GetItem(pair, 0)),
                                        octets_of(PyTuple_GetItem(pair, 1)), 0, 0};
    }
    return (size_t)count;
}

// What the engine said to a head and a body: bytes taken, or -1.
static int begun(struct reply *r, int taken) {
    if (taken < 0) {
        refused(r);
        if (!PyErr_ExceptionMatches(PyExc_OSError))  // not because the client has gone
            r->state = WAITING;
        return -1;
    }
    r->state = BODY;
    r->size = taken;
    return taken;
}

// Writes the held head and as much of a body as the windows allow. Returns how much, or -1.
static int begin(struct reply *r, struct cno_buffer_t body, long long total) {
    struct cno_header_t list[CNO_MAX_ANSWER_FIELDS + 1];
    struct cno_batch_t *batch = r->connection->batch;
    size_t count = read_fields(r, list);
    return begun(r, batch ? r->fast->respond(batch, r->stream, r->status, list, count, body.data,
                                             body.size, total)
                          : -1);
}

// Output that has views of a body in it, as one bytes.
static PyObject *join(struct cno_batch_t *b, const struct cno_view_t *views, size_t count,
                      const char *body) {
    size_t size = b->out_size, done = 0;
    for (size_t i = 0; i < count; i++)
        size += views[i].size;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    char *at = bytes ? PyBytes_AsString(bytes) : NULL;
    for (size_t i = 0; at && i < count; i++) {
        memcpy(at, b->out + done, views[i].at - done);
        at += views[i].at - done;
        done = views[i].at;
        memcpy(at, body + views[i].offset, views[i].size);
        at += views[i].size;
    }
    if (at)
        memcpy(at, b->out + done, b->out_size - done);
    b->out_size = 0;
    return bytes;
}

// Writes the held head and a whole body on HTTP/1, copied once, to a transport that has room.
static int begin_at_once(struct reply *r, struct cno_buffer_t body) {
    struct cno_header_t list[CNO_MAX_ANSWER_FIELDS + 1];
    struct cno_view_t views[4];
    struct connection *c = r->connection;
    size_t count = read_fields(r, list), parts = 4;
    int taken = begun(r, r->fast->respond_lent(c->batch, r->stream, r->status, list, count,
                                               body.data, body.size, views, &parts));
    PyObject *bytes = taken < 0 ? NULL : join(c->batch, views, parts, body.data);
    PyObject *transport = Py_NewRef(c->transport);
    if (bytes && fast_call(transport, NAME(r->fast, write), bytes) < 0)
        taken = -1;
    Py_DECREF(transport);
    Py_XDECREF(bytes);
    return bytes ? taken : -1;
}

static const struct cno_buffer_t EMPTY = {"", 0};

static PyObject *begin_alone(PyObject *self, PyObject *total) {
    long long size = PyLong_AsLongLong(total);
    if (PyErr_Occurred() || begin((struct reply *)self, EMPTY, size) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyObject *release(PyObject *self, PyObject *unused) {
    struct reply *r = (struct reply *)self;
    (void)unused;
    r->armed = 0;  // so that another head, after one that was refused, is released too
    if (r->state != HELD || !r->connection->writable)
        return Py_NewRef(Py_None);
    if (begin(r, EMPTY, -1) < 0) {
        r->state = HELD;  // for the next call to say so
        PyErr_Clear();
    } else if (fast_call((PyObject *)r->connection, NAME(r->fast, flush_soon), NULL) < 0) {
        return NULL;
    }
    return Py_NewRef(Py_None);
}

// ---- the body ----------------------------------------------------------------------------------

// Whether parts of the body wait in write_body(), so that whatever comes next has to queue behind.
static int waits(struct reply *r) {
    PyObject *parts = r->connection->parts;
    if (!parts || PyDict_Size(parts) <= 0)
        return 0;
    PyObject *id = PyLong_FromUnsignedLong(r->stream);
    int found = id ? PyDict_Contains(parts, id) : -1;
    Py_XDECREF(id);
    return found;
}

// Reply.put. NULL stands for a large body that is not bytes.
static int put(struct reply *r, PyObject *body, long long total) {
    int small = body && PyBytes_Size(body) < r->fast->lend;
    struct cno_buffer_t octets = small ? octets_of(body) : EMPTY;
    if (r->state == HELD)
        return begin(r, octets, total);
    if (r->state != BODY)
        return no_body_is_due(r);
    int behind = waits(r);
    if (!small || behind)
        return behind < 0 ? -1 : 0;
    int taken = r->connection->batch ? r->fast->write_data(&r->connection->batch->conn, r->stream,
                                                           octets.data, octets.size, total >= 0)
                                     : -1;
    if (taken < 0)
        return refused(r);
    r->size += taken;
    return taken;
}

// A body as exact bytes if it is small, a new reference; a large one stays as it is.
static PyObject *body_of(struct reply *r, PyObject *body) {
    Py_ssize_t size = PyBytes_CheckExact(body) ? 0 : PyObject_Size(body);
    if (size < 0)
        return NULL;
    return size < r->fast->lend && !PyBytes_CheckExact(body) ? PyBytes_FromObject(body)
                                                             : Py_NewRef(body);
}

// Calls a coroutine function with the reply, the body, and the number of bytes that were taken.
static PyObject *rest_of(struct reply *r, PyObject *function, PyObject *body, int taken) {
    PyObject *count = PyLong_FromLong(taken);
    PyObject *rest =
        count ? PyObject_CallFunctionObjArgs(function, (PyObject *)r, body, count, NULL) : NULL;
    Py_XDECREF(count);
    return rest;
}

static int tell(struct reply *r) {
    PyObject *owner = r->owner;
    if (!owner || owner == Py_None)
        return 0;
    r->owner = Py_NewRef(Py_None);
    int done = fast_call(owner, NAME(r->fast, answered), (PyObject *)r);
    Py_DECREF(owner);
    return done;
}

static int complete(struct reply *r) {
    r->state = DONE;
    return fast_responded(r->connection, r) < 0 ? -1 : tell(r);
}

// Reply.finish.
static int finish(struct reply *r, PyObject *body, Py_ssize_t size, int taken, PyObject **rest) {
    *rest = NULL;
    int behind = waits(r);
    if (behind < 0)
        return -1;
    if (taken >= size && !behind)
        return complete(r);
    *rest = rest_of(r, HELPER(r->fast, finish_rest), body, taken);
    return *rest ? 0 : -1;
}

int fast_reply_end(struct reply *r, PyObject *body, PyObject **rest) {
    struct connection *c = r->connection;
    if (r->state == HELD && !c->writable) {
        *rest = PyObject_CallFunctionObjArgs(HELPER(r->fast, end_later), (PyObject *)r, body, NULL);
        return *rest ? 0 : -1;
    }
    Py_ssize_t size = PyBytes_Size(body);
    int at_once = r->state == HELD && size >= AT_ONCE && size <= r->fast->quantum && !c->http2 &&
                  c->batch && c->transport && c->transport != Py_None;
    int taken = at_once ? begin_at_once(r, octets_of(body)) : put(r, body, (long long)size);
    return taken < 0 ? -1 : finish(r, body, PyBytes_Size(body), taken, rest);
}

int fast_reply_write(struct reply *r, PyObject *body, PyObject **rest) {
    struct connection *c = r->connection;
    struct fast *fast = r->fast;
    *rest = NULL;
    if (r->state == HELD && !c->writable) {
        *rest = PyObject_CallFunctionObjArgs(HELPER(fast, write_later), (PyObject *)r, body, NULL);
        return *rest ? 0 : -1;
    }
    int taken = put(r, body, -1);
    if (taken < 0)
        return -1;
    if (taken < PyBytes_Size(body)) {
        *rest = rest_of(r, HELPER(fast, write_rest), body, taken);
        return *rest ? 0 : -1;
    }
    if (fast_call((PyObject *)c, NAME(fast, flush_soon), NULL) < 0)
        return -1;
    c->turn += taken;
    if (c->writable && c->turn < fast->quantum)
        return 0;
    *rest = PyObject_CallMethodObjArgs((PyObject *)c, NAME(fast, _take_turns), (PyObject *)r, NULL);
    return *rest ? 0 : -1;
}

// What a method returns: an awaitable or None.
static PyObject *awaitable(int failed, PyObject *rest) {
    return failed < 0 ? NULL : rest ? rest : Py_NewRef(Py_None);
}

static PyObject *method_write(PyObject *self, PyObject *body) {
    struct reply *r = (struct reply *)self;
    PyObject *rest = NULL,
             *octets = PyBytes_CheckExact(body) ? Py_NewRef(body) : PyBytes_FromObject(body);
    int failed = octets ? fast_reply_write(r, octets, &rest) : -1;
    Py_XDECREF(octets);
    return awaitable(failed, rest);
}

static PyObject *method_put(PyObject *self, PyObject *args) {
    struct reply *r = (struct reply *)self;
    PyObject *body;
    long long total;
    if (!PyArg_ParseTuple(args, "OL", &body, &total))
        return NULL;
    PyObject *octets = body_of(r, body);
    int taken = -1;
    if (octets)
        taken = put(r, PyBytes_CheckExact(octets) ? octets : NULL, total);
    Py_XDECREF(octets);
    return taken < 0 ? NULL : PyLong_FromLong(taken);
}

static PyObject *method_finish(PyObject *self, PyObject *args) {
    struct reply *r = (struct reply *)self;
    PyObject *body, *rest = NULL;
    int taken;
    if (!PyArg_ParseTuple(args, "Oi", &body, &taken))
        return NULL;
    Py_ssize_t size = PyObject_Size(body);
    int failed = size < 0 ? -1 : finish(r, body, size, taken, &rest);
    return awaitable(failed, rest);
}

static PyObject *method_end(PyObject *self, PyObject *args) {
    struct reply *r = (struct reply *)self;
    PyObject *body = r->fast->empty_bytes, *rest = NULL;
    if (!PyArg_ParseTuple(args, "|O", &body))
        return NULL;
    PyObject *octets = PyBytes_CheckExact(body) ? Py_NewRef(body) : PyBytes_FromObject(body);
    int failed = octets ? fast_reply_end(r, octets, &rest) : -1;
    Py_XDECREF(octets);
    return awaitable(failed, rest);
}

// ---- the end -----------------------------------------------------------------------------------

static PyObject *method_complete(PyObject *self, PyObject *unused) {
    (void)unused;
    return complete((struct reply *)self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *by_helper(PyObject *self, PyObject *function, PyObject *argument) {
    return fast_apply(function, self, argument) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *method_fail(PyObject *self, PyObject *unused) {
    (void)unused;
    return by_helper(self, HELPER(((struct reply *)self)->fast, fail), NULL);
}

static PyObject *method_refuse(PyObject *self, PyObject *status) {
    return by_helper(self, HELPER(((struct reply *)self)->fast, refuse), status);
}

static PyObject *method_trail(PyObject *self, PyObject *fields) {
    return by_helper(self, HELPER(((struct reply *)self)->fast, trail), fields);
}

static PyObject *method_gone(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyObject_CallFunctionObjArgs(HELPER(((struct reply *)self)->fast, gone), self, NULL);
}

static PyObject *lost(PyObject *self, PyObject *unused) {
    struct reply *r = (struct reply *)self;
    (void)unused;
    if (r->state < DONE) {
        r->state = FAILED;
        if (tell(r) < 0)
            return NULL;
    }
    return Py_NewRef(Py_None);
}

static PyObject *broken_off(PyObject *self, PyObject *unused) {
    struct reply *r = (struct reply *)self;
    (void)unused;
    r->state = FAILED;
    PyObject *id = PyLong_FromUnsignedLong(r->stream);
    int failed = !id || fast_call((PyObject *)r->connection, NAME(r->fast, break_off), id) < 0;
    Py_XDECREF(id);
    return failed || tell(r) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *forget(PyObject *self, PyObject *unused) {
    (void)unused;
    ((struct reply *)self)->state = WAITING;
    return Py_NewRef(Py_None);
}

// ---- the type ----------------------------------------------------------------------------------

static int reply_traverse(PyObject *self, visitproc visit, void *arg) {
    struct reply *r = (struct reply *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(r->connection);
    Py_VISIT(r->fields);
    Py_VISIT(r->owner);
    return 0;
}

static int reply_clear(PyObject *self) {
    struct reply *r = (struct reply *)self;
    Py_CLEAR(r->connection);
    Py_CLEAR(r->fields);
    Py_CLEAR(r->owner);
    return 0;
}

static void reply_dealloc(PyObject *self) {
    fast_release(self, reply_clear);
}

static PyMemberDef reply_members[] = {
    {"connection", T_OBJECT_EX, offsetof(struct reply, connection), READONLY, NULL},
    {"id", T_UINT, offsetof(struct reply, stream), READONLY, NULL},
    {"owner", T_OBJECT, offsetof(struct reply, owner), 0, NULL},
    {"state", T_INT, offsetof(struct reply, state), READONLY, NULL},
    {"status", T_INT, offsetof(struct reply, status), READONLY, NULL},
    {"size", T_LONGLONG, offsetof(struct reply, size), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef reply_methods[] = {
    {"start", start, METH_VARARGS, PyDoc_STR("See cno.server.reply.Reply.")},
    {"hold", hold, METH_VARARGS, NULL},
    {"release", release, METH_NOARGS, NULL},
    {"begin", begin_alone, METH_O, NULL},
    {"write", method_write, METH_O, NULL},
    {"put", method_put, METH_VARARGS, NULL},
    {"finish", method_finish, METH_VARARGS, NULL},
    {"end", method_end, METH_VARARGS, NULL},
    {"trail", method_trail, METH_O, NULL},
    {"complete", method_complete, METH_NOARGS, NULL},
    {"refuse", method_refuse, METH_O, NULL},
    {"fail", method_fail, METH_NOARGS, NULL},
    {"forget", forget, METH_NOARGS, NULL},
    {"broken_off", broken_off, METH_NOARGS, NULL},
    {"lost", lost, METH_NOARGS, NULL},
    {"gone", method_gone, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot reply_slots[] = {
    {Py_tp_doc, (void *)"See cno.server.reply.Reply."},
    {Py_tp_new, new},
    {Py_tp_dealloc, reply_dealloc},
    {Py_tp_traverse, reply_traverse},
    {Py_tp_clear, reply_clear},
    {Py_tp_members, reply_members},
    {Py_tp_methods, reply_methods},
    {0, NULL},
};

PyType_Spec fast_reply_spec = {
    .name = "cno.engine._fast.Reply",
    .basicsize = sizeof(struct reply),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = reply_slots,
};
