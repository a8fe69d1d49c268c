// Coroutines: what the task of a request runs, and what send() returns; and send and receive themselves.
#include "_fast.h"

// Two coroutines in one, because they do the same once they have begun: what send() returns, which
// begins with its message, and the coroutine of a request's task, which has no message and begins with
// the application (collections.abc.Coroutine).
struct run {
    PyObject ob_base;
    struct fast *fast;
    struct request *request;  // NULL: it is over
    PyObject *message;
    PyObject *inner;  // the coroutine that it goes on with
    char running;
};

PyObject *fast_run_new(struct request *r, PyObject *message) {
    struct run *run = (struct run *)PyType_GenericAlloc(r->fast->run_type, 0);
    if (!run)
        return NULL;
    run->fast = r->fast;
    run->request = (struct request *)Py_NewRef((PyObject *)r);
    Py_XINCREF(message);
    run->message = message;
    return (PyObject *)run;
}

// ---- messages ----------------------------------------------------------------------------------

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

// Whether these are tuples of two bytes.
static int are_fields(PyObject *fields) {
    Py_ssize_t count = PyTuple_Size(fields), i = 0;
    for (; i < count; i++) {
        PyObject *pair = PyTuple_GetItem(fields, i);
        if (!PyTuple_CheckExact(pair) || PyTuple_Size(pair) != 2 ||
            !PyBytes_CheckExact(PyTuple_GetItem(pair, 0)) ||
            !PyBytes_CheckExact(PyTuple_GetItem(pair, 1)))
            break;
    }
    return i == count;
}

// http.response.start.
static enum SENT send_start(struct request *r, PyObject *message) {
    struct fast *fast = r->fast;
    PyObject *status = item(message, NAME(fast, status), Py_None);
    PyObject *headers = item(message, NAME(fast, headers), fast->empty_tuple);
    PyObject *fields = NULL;
    long code = status && PyLong_CheckExact(status) ? PyLong_AsLong(status) : 0;
    PyErr_Clear();
    // A copy: what the application does with its list later is not for this response.
    if (r->reply->state == CNO_REPLY_WAITING && code >= 200 && code <= 599 && headers &&
        (PyList_CheckExact(headers) || PyTuple_CheckExact(headers)) &&
        !(fields = PySequence_Tuple(headers)))
        PyErr_Clear();
    Py_XDECREF(status);
    Py_XDECREF(headers);
    if (!fields || !are_fields(fields)) {
        Py_XDECREF(fields);
        return PYTHON;
    }
    int failed = fast_reply_start(r->reply, (int)code, fields) < 0;
    Py_DECREF(fields);
    // The step of the application that is under way arms at its end, if the body has not come.
    if (!failed && !r->reply->stepping && fast_reply_arm(r->reply) < 0)
        return FAILED;
    return failed ? FAILED : SENT;
}

// http.response.body.
static enum SENT send_body(struct request *r, PyObject *message, PyObject **rest) {
    struct fast *fast = r->fast;
    PyObject *body = item(message, NAME(fast, body), fast->empty_bytes);
    PyObject *more = item(message, NAME(fast, more_body), Py_False);
    enum SENT sent = PYTHON;
    if (body && PyBytes_CheckExact(body) && more && PyBool_Check(more)) {
        int failed = more == Py_True ? fast_reply_write(r->reply, body, rest)
                                     : fast_reply_end(r->reply, body, rest);
        if (!failed && *rest) {
            PyObject *whole =
                PyObject_CallFunctionObjArgs(HELPER(fast, finish_send), (PyObject *)r, *rest, NULL);
            Py_DECREF(*rest);
            *rest = whole;
            failed = whole ? 0 : -1;
        }
        sent = failed < 0 ? FAILED : *rest ? MORE : SENT;
        if (sent == SENT && more == Py_False && r->inbox &&
            fast_call(r->inbox, NAME(fast, wake), NULL) < 0)
            sent = FAILED;
    }
    Py_XDECREF(body);
    Py_XDECREF(more);
    return sent;
}

// Whether the application knows that the client has closed its side.
static int is_shut(struct request *r) {
    if (!r->inbox)
        return 0;
    PyObject *shut = PyObject_GetAttr(r->inbox, NAME(r->fast, shut));
    int result = shut ? PyObject_IsTrue(shut) : -1;
    Py_XDECREF(shut);
    return result;
}

static enum SENT send_message(struct request *r, PyObject *message, PyObject **rest) {
    if (r->reply->state >= CNO_REPLY_DONE || !PyDict_CheckExact(message))
        return PYTHON;
    int shut = is_shut(r);
    if (shut)
        return shut < 0 ? FAILED : PYTHON;
    PyObject *type = item(message, NAME(r->fast, type), Py_None);
    enum SENT sent = PYTHON;
    if (type && PyUnicode_CheckExact(type)) {
        if (equal(type, r->fast->response_body))
            sent = send_body(r, message, rest);
        else if (equal(type, r->fast->response_start))
            sent = send_start(r, message);
    }
    Py_XDECREF(type);
    return sent;
}

// ---- the application ---------------------------------------------------------------------------

// The coroutine of the application.
static PyObject *run_application(struct request *r) {
    struct fast *fast = r->fast;
    PyObject *receive = fast_port_new(r, 1);
    PyObject *send = receive ? fast_port_new(r, 0) : NULL;
    PyObject *coroutine =
        send ? PyObject_CallFunctionObjArgs(r->app, r->scope, receive, send, NULL) : NULL;
    Py_XDECREF(send);
    Py_XDECREF(receive);
    if (coroutine && (PyObject *)Py_TYPE(coroutine) != fast->coroutine_type) {
        PyObject *wrapped =
            PyObject_CallFunctionObjArgs(HELPER(fast, as_coroutine), coroutine, NULL);
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
        run->inner = PyObject_CallFunctionObjArgs(HELPER(run->fast, send_slowly), (PyObject *)r,
                                                  run->message, NULL);
    return sent == SENT || sent == FAILED || run->inner ? sent : FAILED;
}

// The exception that is set becomes the argument of cno.asgi.app_failed; one that is no Exception
// stays.
static int failed(struct request *r) {
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    int result = fast_apply(HELPER(r->fast, app_failed), (PyObject *)r, error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return result;
}

// The application has returned or raised, whatever exception is on its way.
static int ended(struct request *r) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    int result = 0;
    // The exception of a task that was cancelled has frames that have this request.
    PyObject *task = r->task;
    r->task = Py_NewRef(Py_None);
    r->ended = 1;
    Py_XDECREF(task);
    if (r->reply->state < CNO_REPLY_DONE)
        result = fast_apply(HELPER(r->fast, app_ended), (PyObject *)r, NULL);
    if (fast_returned(r->connection, (PyObject *)r, r->reply) < 0)
        result = -1;
    if (!type)
        return result;
    if (result < 0)
        PyErr_WriteUnraisable((PyObject *)r);
    PyErr_Restore(type, error, traceback);
    return -1;
}

// ---- steps -------------------------------------------------------------------------------------

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
    struct reply *reply = run->message ? NULL : run->request->reply;
    run->running = 1;
    if (reply)
        reply->stepping = 1;
    enum SENT begun = run->inner ? MORE : begin(run);
    if (begun == SENT)
        outcome = PYGEN_RETURN;
    else if (begun != FAILED)
        outcome = PyIter_Send(run->inner, value, result);
    if (reply)
        reply->stepping = 0;
    if (outcome == PYGEN_NEXT && reply && reply->state == CNO_REPLY_HELD &&
        fast_reply_arm(reply) < 0) {
        Py_CLEAR(*result);
        outcome = PYGEN_ERROR;
    }
    run->running = 0;
    if (outcome == PYGEN_NEXT)
        return outcome;
    Py_CLEAR(*result);
    if (finish(run, outcome == PYGEN_ERROR) < 0)
        return PYGEN_ERROR;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static const char *name_of(struct run *run) {
    return run->message ? "Request.send" : "Request.run";
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
        PyObject *method = PyObject_GetAttr(run->inner, NAME(run->fast, throw));
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
        failure = fast_call(run->inner, NAME(run->fast, close), NULL) < 0;
        run->running = 0;
    }
    if (finish(run, failure) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

// What happens to any coroutine that nobody will go on with: one that has begun is closed, so that
// its `finally` blocks run and its request ends; for one that has not there is a warning.
static void run_finalize(PyObject *self) {
    struct run *run = (struct run *)self;
    if (!run->request || run->running || !NAME(run->fast, close))
        return;
    PyObject *type, *error, *traceback, *done = Py_None;
    PyErr_Fetch(&type, &error, &traceback);
    if (run->inner) {
        done = run_close(self, NULL);
        Py_XDECREF(done);
    } else if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                                name_of(run)) < 0) {
        done = NULL;
    }
    if (!done)
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(self));
    PyErr_Restore(type, error, traceback);
}

// What asyncio shows of a task.
static PyObject *run_frame(PyObject *self, void *unused) {
    struct run *run = (struct run *)self;
    (void)unused;
    return run->inner ? PyObject_GetAttr(run->inner, NAME(run->fast, cr_frame))
                      : Py_NewRef(Py_None);
}

static PyObject *run_name(PyObject *self, void *unused) {
    (void)unused;
    return PyUnicode_FromString(name_of((struct run *)self));
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
    PyObject_GC_UnTrack(self);
    run_finalize(self);  // gives `self` to nobody
    fast_release(self, run_clear);
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
    {Py_tp_finalize, run_finalize},
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

PyType_Spec fast_run_spec = {
    .name = "cno.engine._fast.Run",
    .basicsize = sizeof(struct run),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = run_slots,
};

// ---- Request.send and Request.receive ----------------------------------------------------------

// The bound methods; a type of its own so that it can be marked as what makes coroutines.
struct port {
    PyObject ob_base;
    struct request *request;
    char receives;
};

PyObject *fast_port_new(struct request *r, int receives) {
    struct port *port = (struct port *)PyType_GenericAlloc(r->fast->port_type, 0);
    if (port) {
        port->request = (struct request *)Py_NewRef((PyObject *)r);
        port->receives = (char)receives;
    }
    return (PyObject *)port;
}

static PyObject *port_call(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"message", NULL}, *none[] = {NULL};
    struct port *port = (struct port *)self;
    PyObject *message;
    if (port->receives) {
        if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":receive", none))
            return NULL;
        PyObject *inbox = fast_request_inbox(port->request);
        return inbox ? PyObject_CallMethodObjArgs(inbox, NAME(port->request->fast, receive), NULL)
                     : NULL;
    }
    if (!kwargs && PyTuple_Size(args) == 1)
        message = PyTuple_GetItem(args, 0);
    else if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:send", keywords, &message))
        return NULL;
    return fast_run_new(port->request, message);
}

static int port_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct port *)self)->request);
    return 0;
}

static int port_clear(PyObject *self) {
    Py_CLEAR(((struct port *)self)->request);
    return 0;
}

static void port_dealloc(PyObject *self) {
    fast_release(self, port_clear);
}

static PyObject *port_name(PyObject *self, void *unused) {
    (void)unused;
    return PyUnicode_FromString(((struct port *)self)->receives ? "receive" : "send");
}

static PyMemberDef port_members[] = {
    {"__self__", T_OBJECT_EX, offsetof(struct port, request), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef port_getset[] = {
    {"__name__", port_name, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot port_slots[] = {
    {Py_tp_doc, (void *)"Request.send or Request.receive, bound."},
    {Py_tp_call, port_call},
    {Py_tp_dealloc, port_dealloc},
    {Py_tp_traverse, port_traverse},
    {Py_tp_clear, port_clear},
    {Py_tp_members, port_members},
    {Py_tp_getset, port_getset},
    {0, NULL},
};

PyType_Spec fast_port_spec = {
    .name = "cno.engine._fast.Port",
    .basicsize = sizeof(struct port),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = port_slots,
};
