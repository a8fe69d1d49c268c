// The module cno.engine._fast, its state, and what its files have in common.
//
// A subinterpreter that shares the global lock can import cno. One with a lock of its own cannot: the
// modules of cffi (_cffi_backend, cno.engine._libcno) refuse, and so this module, which is of no use
// without them, does not claim more (Py_mod_multiple_interpreters). Nor does it claim to do without
// the lock (Py_mod_gil): nothing else guards a connection.
//
// The way of an ordinary request, compiled: a head that comes, an application that is run, a response
// in one piece or in parts that goes. Knows batch.h and nothing of the engine behind it, and calls the
// engine that the binding holds, by the addresses that bind() is given.
#include "_fast.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

int fast_call(PyObject *object, PyObject *name, PyObject *argument) {
    PyObject *result = PyObject_CallMethodObjArgs(object, name, argument, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

int fast_apply(PyObject *function, PyObject *first, PyObject *second) {
    PyObject *result = PyObject_CallFunctionObjArgs(function, first, second, NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

void fast_release(PyObject *self, inquiry clear) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

PyTypeObject *fast_make_type(PyObject *module, PyType_Spec *spec) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}

PyDoc_STRVAR(connect_doc, "connect(addresses, /)\n--\n\n"
                          "The engine's functions (cno.engine.binding.ADDRESSES).\n\n"
                          "Raises ImportError when the engine was built from other headers.");

static PyObject *connect(PyObject *module, PyObject *args) {
    struct fast *fast = PyModule_GetState(module);
    Py_ssize_t size;
    PyObject *consume, *respond, *write_data, *lend_data, *respond_lent;
    if (!PyArg_ParseTuple(args, "(nOOOOO)", &size, &consume, &respond, &write_data, &lend_data,
                          &respond_lent))
        return NULL;
    if (size != sizeof(struct cno_batch_t)) {
        PyErr_Format(PyExc_ImportError,
                     "cno.engine._fast and cno.engine._libcno are of different builds (a batch has "
                     "%zd and %zd bytes): install cno again",
                     (Py_ssize_t)sizeof(struct cno_batch_t), size);
        return NULL;
    }
    *(void **)&fast->consume = PyLong_AsVoidPtr(consume);
    *(void **)&fast->respond = PyLong_AsVoidPtr(respond);
    *(void **)&fast->write_data = PyLong_AsVoidPtr(write_data);
    *(void **)&fast->lend_data = PyLong_AsVoidPtr(lend_data);
    *(void **)&fast->respond_lent = PyLong_AsVoidPtr(respond_lent);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(bind_doc, "bind(numbers, helpers, /)\n--\n\n"
                       "Three numbers (QUANTUM, LEND, whether asyncio.Task takes a context), and a "
                       "dict of the Python functions and classes that the types use. Before the "
                       "first object of a type is made.");

static PyObject *bind(PyObject *module, PyObject *args) {
    struct fast *fast = PyModule_GetState(module);
    PyObject *helpers;
    if (!PyArg_ParseTuple(args, "(nnp)O", &fast->quantum, &fast->lend, &fast->task_takes_context,
                          &helpers))
        return NULL;
#define X(name) \
    { \
        PyObject *given = PyMapping_GetItemString(helpers, #name), *old = fast->helpers.name; \
        if (!given) \
            return NULL; \
        fast->helpers.name = given; \
        Py_XDECREF(old); \
    }
    FAST_HELPERS(X)
#undef X
    return Py_NewRef(Py_None);
}

PyDoc_STRVAR(keep_heap_doc, "keep_heap(trim, mmap, /)\n--\n\n"
                            "Sets M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, in bytes (mallopt(3)). "
                            "Returns whether the allocator has them, which glibc's does.");

static PyObject *keep_heap(PyObject *module, PyObject *args) {
    int trim, mmap, told = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "ii", &trim, &mmap))
        return NULL;
#ifdef __GLIBC__
    told = mallopt(M_TRIM_THRESHOLD, trim) && mallopt(M_MMAP_THRESHOLD, mmap);
#endif
    return PyBool_FromLong(told);
}

PyDoc_STRVAR(lend_doc, "lend(batch, stream, data, at, size, final, output, /)\n--\n\n"
                       "Engine.lend. Returns -1 where the engine refuses.");

static PyMethodDef functions[] = {
    {"connect", connect, METH_VARARGS, connect_doc},
    {"bind", bind, METH_VARARGS, bind_doc},
    {"lend", fast_lend, METH_VARARGS, lend_doc},
    {"keep_heap", keep_heap, METH_VARARGS, keep_heap_doc},
    {NULL, NULL, 0, NULL},
};

static int make_constants(struct fast *fast) {
#define X(name) \
    if (!(fast->names.name = PyUnicode_InternFromString(#name))) \
        return -1;
    FAST_NAMES(X)
#undef X
    PyObject *types = PyImport_ImportModule("types");
    fast->coroutine_type = types ? PyObject_GetAttrString(types, "CoroutineType") : NULL;
    Py_XDECREF(types);
    fast->response_start = PyUnicode_InternFromString("http.response.start");
    fast->response_body = PyUnicode_InternFromString("http.response.body");
    fast->empty_tuple = PyTuple_New(0);
    fast->empty_bytes = PyBytes_FromStringAndSize(NULL, 0);
    return fast->coroutine_type && fast->response_start && fast->response_body &&
                   fast->empty_tuple && fast->empty_bytes
               ? 0
               : -1;
}

static int execute(PyObject *module) {
    struct fast *fast = PyModule_GetState(module);
    return make_constants(fast) == 0 &&
                   (fast->connection_type = fast_make_type(module, &fast_connection_spec)) &&
                   (fast->reply_type = fast_make_type(module, &fast_reply_spec)) &&
                   (fast->request_type = fast_make_type(module, &fast_request_spec)) &&
                   (fast->port_type = fast_make_type(module, &fast_port_spec)) &&
                   (fast->run_type = fast_make_type(module, &fast_run_spec))
               ? 0
               : -1;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    struct fast *fast = PyModule_GetState(module);
#define X(name) Py_VISIT(fast->helpers.name);
    FAST_HELPERS(X)
#undef X
    Py_VISIT(fast->coroutine_type);
    Py_VISIT(fast->connection_type);
    Py_VISIT(fast->reply_type);
    Py_VISIT(fast->request_type);
    Py_VISIT(fast->port_type);
    Py_VISIT(fast->run_type);
    return 0;
}

static int clear(PyObject *module) {
    struct fast *fast = PyModule_GetState(module);
#define X(name) Py_CLEAR(fast->helpers.name);
    FAST_HELPERS(X)
#undef X
#define X(name) Py_CLEAR(fast->names.name);
    FAST_NAMES(X)
#undef X
    Py_CLEAR(fast->response_start);
    Py_CLEAR(fast->response_body);
    Py_CLEAR(fast->empty_tuple);
    Py_CLEAR(fast->empty_bytes);
    Py_CLEAR(fast->coroutine_type);
    Py_CLEAR(fast->connection_type);
    Py_CLEAR(fast->reply_type);
    Py_CLEAR(fast->request_type);
    Py_CLEAR(fast->port_type);
    Py_CLEAR(fast->run_type);
    return 0;
}

static void release(void *module) {
    clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cno.engine._fast",
    .m_size = sizeof(struct fast),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

struct fast *fast_of(PyTypeObject *type) {
    for (; type; type = PyType_GetSlot(type, Py_tp_base)) {
        PyObject *module = PyType_GetModule(type);
        if (module && PyModule_GetDef(module) == &definition)
            return PyModule_GetState(module);
        PyErr_Clear();
    }
    PyErr_SetString(PyExc_TypeError, "not a type of cno.engine._fast");
    return NULL;
}

PyMODINIT_FUNC PyInit__fast(void) {
    return PyModuleDef_Init(&definition);
}
