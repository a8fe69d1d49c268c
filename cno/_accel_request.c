// Requests: the scope, send() of an answer in one piece, and the coroutine of a request's task.
#include "_accel.h"

// How far a response is: asgi.py has the same list.
enum STATE { WAITING, HELD, BODY, DONE };

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

// cno.scope.http_scope.
static PyObject *make_scope(PyObject *base, PyObject *event, PyObject *state, long flags) {
    PyObject *path = PyTuple_GetItem(event, 6);
    PyObject *root = PyDict_GetItemWithError(base, NAME(root_path));
    if (!path || !root)
        return NULL;
    if (!PyUnicode_Check(path) || PyUnicode_GetLength(root) || (flags & CNO_MESSAGE_HTTP1_0))
        return PyObject_CallFunctionObjArgs(accel.http_scope, base, event, state, NULL);
    PyObject *scope = PyDict_Copy(base);
    if (scope && put_new(scope, NAME(asgi), PyDict_Copy(accel.asgi)) == 0 &&
        put(scope, NAME(method), event, 4) == 0 && put(scope, NAME(path), event, 6) == 0 &&
        put(scope, NAME(raw_path), event, 5) == 0 &&
        put(scope, NAME(query_string), event, 7) == 0 && put(scope, NAME(headers), event, 8) == 0 &&
        put_new(scope, NAME(extensions), PyDict_New()) == 0 &&
        (state == Py_None || put_new(scope, NAME(state), PyDict_Copy(state)) == 0))
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
    if (!PyTuple_Check(site) || !PyObject_TypeCheck(connection, accel.connection_type) ||
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
    r->fields = Py_NewRef(accel.empty_bytes);
    r->waiters = Py_NewRef(accel.empty_tuple);
    r->stream = (unsigned int)stream;
    r->body_done = (flags & CNO_MESSAGE_FINAL) != 0;
    r->access_log = access_log == Py_True;
    if ((flags & CNO_MESSAGE_EXPECT) && PyObject_SetAttr((PyObject *)r, NAME(_expect), Py_True) < 0)
        Py_CLEAR(r);
    return (PyObject *)r;
}

static int request_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    (void)self, (void)args, (void)kwargs;
    return 0;
}

// ---- send --------------------------------------------------------------------------------------

// What came of a message.
enum SENT { FAILED = -1, SENT, MORE, PYTHON };

// An item of a dict, or what stands for it. NULL: looking for it raises, as it will for Python.
static PyObject *item(PyObject *dict, PyObject *key, PyObject *otherwise) {
    PyObject *value = PyDict_GetItemWithError(dict, key);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return NULL;
    }
    return Py_NewRef(value ? value : otherwise);
}

static int equal(PyObject *text, PyObject *name) {
    return text == name || PyUnicode_Compare(text, name) == 0;
}

// Whether these are pairs of bytes, and as many as the engine takes.
static int are_fields(PyObject *fields) {
    Py_ssize_t count = PyTuple_Size(fields), i = 0;
    for (; i < count && count <= CNO_MAX_ANSWER_FIELDS; i++) {
        PyObject *pair = PyTuple_GetItem(fields, i);
        if (!PyTuple_CheckExact(pair) || PyTuple_Size(pair) != 2 ||
            !PyBytes_CheckExact(PyTuple_GetItem(pair, 0)) ||
            !PyBytes_CheckExact(PyTuple_GetItem(pair, 1)))
            break;
    }
    return i == count;
}

// http.response.start.
static enum SENT hold(struct request *r, PyObject *message) {
    PyObject *status = item(message, NAME(status), Py_None);
    PyObject *headers = item(message, NAME(headers), accel.empty_tuple);
    PyObject *fields = NULL;
    long code = status && PyLong_CheckExact(status) ? PyLong_AsLong(status) : 0;
    PyErr_Clear();
    // A copy: what the application does with its list later is not for this response.
    if (r->state == WAITING && code >= 200 && code <= 599 && headers &&
        (PyList_CheckExact(headers) || PyTuple_CheckExact(headers)) &&
        !(fields = PySequence_Tuple(headers)))
        PyErr_Clear();
    Py_XDECREF(status);
    Py_XDECREF(headers);
    if (!fields || !are_fields(fields)) {
        Py_XDECREF(fields);
        return PYTHON;
    }
    PyObject *old = r->fields;
    r->fields = fields;
    Py_XDECREF(old);
    r->status = (int)code;
    r->state = HELD;
    return SENT;
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
    return accel.respond(r->connection->batch, r->stream, r->status, list, (size_t)count,
                         octets.data, octets.size, (long long)octets.size);
}

// The held head and this body. MORE: *rest is the coroutine that writes what did not fit.
static enum SENT send_held(struct request *r, PyObject *body, PyObject **rest) {
    PyObject *self = (PyObject *)r;
    int taken = answer(r, body);
    if (taken < 0)
        return PYTHON;
    r->state = BODY;
    if (r->access_log && accel_call(self, NAME(_log_access), NULL) < 0)
        return FAILED;
    if (taken < PyBytes_Size(body)) {
        PyObject *count = PyLong_FromLong(taken);
        *rest = count ? PyObject_CallMethodObjArgs(self, NAME(write_on), body, count, NULL) : NULL;
        Py_XDECREF(count);
        return *rest ? MORE : FAILED;
    }
    r->state = DONE;
    r->shut = 1;
    if (r->waiters && PyObject_IsTrue(r->waiters) && accel_call(self, NAME(_wake), NULL) < 0)
        return FAILED;
    return accel_responded(r->connection, r) < 0 ? FAILED : SENT;
}

// http.response.body.
static enum SENT send_body(struct request *r, PyObject *message, PyObject **rest) {
    PyObject *body = item(message, NAME(body), accel.empty_bytes);
    PyObject *more = item(message, NAME(more_body), Py_False);
    int fits = r->state == HELD && r->fields && PyTuple_CheckExact(r->fields) && body &&
               PyBytes_CheckExact(body) && PyBytes_Size(body) <= accel.quantum &&
               more == Py_False && r->connection && r->connection->batch;
    enum SENT sent = fits ? send_held(r, body, rest) : PYTHON;
    Py_XDECREF(body);
    Py_XDECREF(more);
    return sent;
}

static enum SENT send_message(struct request *r, PyObject *message, PyObject **rest) {
    if (r->shut || !PyDict_CheckExact(message))
        return PYTHON;
    PyObject *type = item(message, NAME(type), Py_None);
    enum SENT sent = PYTHON;
    if (type && PyUnicode_CheckExact(type)) {
        if (equal(type, accel.response_body))
            sent = send_body(r, message, rest);
        else if (equal(type, accel.response_start))
            sent = hold(r, message);
    }
    Py_XDECREF(type);
    return sent;
}

// ---- coroutines --------------------------------------------------------------------------------

// Two in one, because they do the same once they have begun: what send() returns, which begins with
// its message, and the coroutine of a request's task, which has none and begins with the application
// (collections.abc.Coroutine).
struct run {
    PyObject ob_base;
    struct request *request;  // NULL: it is over
    PyObject *message;
    PyObject *inner;  // the coroutine that it goes on with
    char running;
};

static PyObject *new_run(struct request *r, PyObject *message) {
    struct run *run = (struct run *)PyType_GenericAlloc(accel.run_type, 0);
    if (!run)
        return NULL;
    run->request = (struct request *)Py_NewRef((PyObject *)r);
    Py_XINCREF(message);
    run->message = message;
    return (PyObject *)run;
}

// The coroutine of the application.
static PyObject *run_application(struct request *r) {
    PyObject *receive = PyObject_GetAttr((PyObject *)r, NAME(receive));
    PyObject *send = receive ? PyObject_GetAttr((PyObject *)r, NAME(send)) : NULL;
    PyObject *coroutine =
        send ? PyObject_CallFunctionObjArgs(r->app, r->scope, receive, send, NULL) : NULL;
    Py_XDECREF(send);
    Py_XDECREF(receive);
    if (coroutine && (PyObject *)Py_TYPE(coroutine) != accel.coroutine_type) {
        PyObject *wrapped = PyObject_CallFunctionObjArgs(accel.awaited, coroutine, NULL);
        Py_DECREF(coroutine);
        return wrapped;
    }
    return coroutine;
}

// Sets `inner`, unless all is done with this (SENT).
static enum SENT begin(struct run *run) {
    struct request *r = run->request;
    enum SENT sent = MORE;
    if (!run->message)
        run->inner = run_application(r);
    else if ((sent = send_message(r, run->message, &run->inner)) == PYTHON)
        run->inner = PyObject_CallMethodObjArgs((PyObject *)r, NAME(slow_send), run->message, NULL);
    return sent == SENT || run->inner ? sent : FAILED;
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
    int result = accel_call((PyObject *)r, NAME(_failed), error);
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
    if (r->state == DONE && r->connection && !r->connection->gone)
        result = PySet_Discard(r->connection->running, (PyObject *)r) < 0 ? -1 : 0;
    else
        result = accel_call((PyObject *)r, NAME(_ended), NULL);
    if (!type)
        return result;
    if (result < 0)
        PyErr_WriteUnraisable((PyObject *)r);
    PyErr_Restore(type, error, traceback);
    return -1;
}

// What has ended: a failure is the exception that is set. 0, or -1 for one that goes on.
static int finish(struct run *run, int failure) {
    struct request *r = run->request;
    int is_task = !run->message, result = failure ? -1 : 0;
    run->request = NULL;
    Py_CLEAR(run->inner);
    Py_CLEAR(run->message);
    if (is_task) {
        result = failure ? failed(r) : 0;
        if (ended(r) < 0)
            result = -1;
    }
    Py_DECREF(r);
    return result;
}

// Whether it may go on: it is neither over nor under way.
static int may_run(struct run *run) {
    if (run->running)
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    else if (!run->request)
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return !run->running && run->request;
}

static PySendResult run_step(PyObject *self, PyObject *value, PyObject **result) {
    struct run *run = (struct run *)self;
    PySendResult outcome = PYGEN_ERROR;
    *result = NULL;
    if (!may_run(run))
        return PYGEN_ERROR;
    run->running = 1;
    enum SENT begun = run->inner ? MORE : begin(run);
    if (begun == SENT)
        outcome = PYGEN_RETURN;
    else if (begun != FAILED)
        outcome = PyIter_Send(run->inner, value, result);
    run->running = 0;
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

// Sets the exception that throw() was given: an instance, or a class and what to make it with.
static void set_exception(PyObject *args) {
    PyObject *type = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : Py_None;
    PyObject *value = PyTuple_Size(args) > 1 ? PyTuple_GetItem(args, 1) : NULL;
    if (PyExceptionInstance_Check(type))
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    else if (PyExceptionClass_Check(type))
        PyErr_SetObject(type, value);
    else
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
}

PyDoc_STRVAR(run_throw_doc, "Goes on with an exception.");

static PyObject *run_throw(PyObject *self, PyObject *args) {
    struct run *run = (struct run *)self;
    if (!may_run(run))
        return NULL;
    if (run->inner) {
        PyObject *method = PyObject_GetAttr(run->inner, NAME(throw));
        run->running = 1;
        PyObject *result = method ? PyObject_Call(method, args, NULL) : NULL;
        run->running = 0;
        Py_XDECREF(method);
        if (result)
            return result;
    } else {
        set_exception(args);
    }
    int failure = !PyErr_ExceptionMatches(PyExc_StopIteration);
    if (!failure)
        PyErr_Clear();
    return finish(run, failure) < 0 ? NULL : stop();
}

PyDoc_STRVAR(run_close_doc, "Ends the inner coroutine.");

static PyObject *run_close(PyObject *self, PyObject *unused) {
    struct run *run = (struct run *)self;
    (void)unused;
    if (!run->request)
        return Py_NewRef(Py_None);
    if (!may_run(run))
        return NULL;
    int failure = 0;
    if (run->inner) {
        run->running = 1;
        failure = accel_call(run->inner, NAME(close), NULL) < 0;
        run->running = 0;
    }
    if (finish(run, failure) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

// What asyncio shows of a task.
static PyObject *run_frame(PyObject *self, void *unused) {
    PyObject *inner = ((struct run *)self)->inner;
    (void)unused;
    return inner ? PyObject_GetAttr(inner, NAME(cr_frame)) : Py_NewRef(Py_None);
}

static PyObject *run_name(PyObject *self, void *unused) {
    (void)unused;
    return PyUnicode_FromString(((struct run *)self)->message ? "Request.send" : "Request.run");
}

static int run_traverse(PyObject *self, visitproc visit, void *arg) {
    struct run *run = (struct run *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(run->request);
    Py_VISIT(run->message);
    Py_VISIT(run->inner);
    return 0;
}

static int run_clear(PyObject *self) {
    struct run *run = (struct run *)self;
    Py_CLEAR(run->inner);
    Py_CLEAR(run->message);
    Py_CLEAR(run->request);
    return 0;
}

static void run_dealloc(PyObject *self) {
    accel_release(self, run_clear);
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
    {Py_tp_doc, (void *)"The coroutine of a request, or of one send()."},
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
    (void)unused;
    return new_run((struct request *)self, NULL);
}

// ---- Request.send ------------------------------------------------------------------------------

// The bound method; a type of its own so that it can be marked as what makes coroutines.
struct send {
    PyObject ob_base;
    struct request *request;
};

static PyObject *request_send(PyObject *self, void *unused) {
    struct send *send = (struct send *)PyType_GenericAlloc(accel.send_type, 0);
    (void)unused;
    if (send)
        send->request = (struct request *)Py_NewRef(self);
    return (PyObject *)send;
}

static PyObject *send_call(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"message", NULL};
    PyObject *message;
    if (!kwargs && PyTuple_Size(args) == 1)
        message = PyTuple_GetItem(args, 0);
    else if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:send", keywords, &message))
        return NULL;
    return new_run(((struct send *)self)->request, message);
}

static int send_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct send *)self)->request);
    return 0;
}

static int send_clear(PyObject *self) {
    Py_CLEAR(((struct send *)self)->request);
    return 0;
}

static void send_dealloc(PyObject *self) {
    accel_release(self, send_clear);
}

static PyMemberDef send_members[] = {
    {"__self__", T_OBJECT_EX, offsetof(struct send, request), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot send_slots[] = {
    {Py_tp_doc, (void *)"Request.send, bound."},
    {Py_tp_call, send_call},
    {Py_tp_dealloc, send_dealloc},
    {Py_tp_traverse, send_traverse},
    {Py_tp_clear, send_clear},
    {Py_tp_members, send_members},
    {0, NULL},
};

static PyType_Spec send_spec = {
    .name = "cno._accel.Send",
    .basicsize = sizeof(struct send),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = send_slots,
};

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
    accel_release(self, request_clear);
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

static PyGetSetDef request_getset[] = {
    {"send", request_send, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef request_methods[] = {
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
    {Py_tp_getset, request_getset},
    {Py_tp_methods, request_methods},
    {0, NULL},
};

static PyType_Spec request_spec = {
    .name = "cno._accel.Request",
    .basicsize = sizeof(struct request),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = request_slots,
};

int accel_request_types(PyObject *module) {
    accel.request_type = accel_make_type(module, &request_spec);
    accel.send_type = accel_make_type(module, &send_spec);
    accel.run_type = accel_make_type(module, &run_spec);
    return accel.request_type && accel.send_type && accel.run_type ? 0 : -1;
}
