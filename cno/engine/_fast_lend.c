// lend(): a part of a body in the engine's frames, without a copy. Engine.lend has the same in Python.
#include "_fast.h"

// Frames that one part can have; parts of the body for which there is no room are copied.
#define VIEWS 80

static int append(PyObject *list, PyObject *piece) {
    int r = piece ? PyList_Append(list, piece) : -1;
    Py_XDECREF(piece);
    return r;
}

// Appends what the engine has written, with views of the body in their places.
static int put_pieces(struct cno_batch_t *b, const struct cno_view_t *views, size_t count,
                      PyObject *body, Py_ssize_t at, PyObject *list) {
    size_t done = 0;
    int failed = 0;
    for (size_t i = 0; i < count && !failed; i++) {
        if (views[i].at > done)
            failed = append(
                list, PyBytes_FromStringAndSize(b->out + done, (Py_ssize_t)(views[i].at - done)));
        done = views[i].at;
        Py_ssize_t start = at + (Py_ssize_t)views[i].offset;
        if (!failed)
            failed =
                append(list, PySequence_GetSlice(body, start, start + (Py_ssize_t)views[i].size));
    }
    if (!failed && b->out_size > done)
        failed = append(list,
                        PyBytes_FromStringAndSize(b->out + done, (Py_ssize_t)(b->out_size - done)));
    b->out_size = 0;
    return failed;
}

PyObject *fast_lend(PyObject *module, PyObject *args) {
    struct fast *fast = PyModule_GetState(module);
    struct cno_view_t views[VIEWS];
    size_t count = VIEWS;
    unsigned long long address;
    unsigned int stream;
    PyObject *data, *list;
    Py_ssize_t at, size;
    int final;
    if (!PyArg_ParseTuple(args, "KIOnnpO", &address, &stream, &data, &at, &size, &final, &list))
        return NULL;
    if (!fast->lend_data || !PyBytes_CheckExact(data) || !PyList_Check(list) || at < 0 ||
        size < 0 || at > PyBytes_Size(data) || size > PyBytes_Size(data) - at) {
        PyErr_SetString(PyExc_TypeError, "lend() takes a part of bytes, and a list");
        return NULL;
    }
    struct cno_batch_t *b = (struct cno_batch_t *)(uintptr_t)address;
    int taken =
        fast->lend_data(b, stream, PyBytes_AsString(data) + at, (size_t)size, final, views, &count);
    PyObject *body = taken >= 0 ? PyMemoryView_FromObject(data) : NULL;
    if (taken >= 0 && (!body || put_pieces(b, views, count, body, at, list) < 0))
        taken = -2;
    Py_XDECREF(body);
    return taken == -2 ? NULL : PyLong_FromLong(taken);
}
