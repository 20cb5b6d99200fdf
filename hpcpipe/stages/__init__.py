"""The stages that come with hpcpipe, one file each; `hpcpipe.stage` is the contract.

download          files or images from lists of URLs, into shards of a dataset
filter_faces      which samples show faces
generate_images   images from prompts, as edits for reshard
index             where every sample of every tar lies
reshard           new tars from old ones: the options, and which of two ways is taken
rewrite_captions  new captions by a language model

A file with an underscore in front is a part of a stage, not one by itself. Of several:
    _file_shards      one shard for each input file; opening its tar
    _look             samples as people look at them: some at random, originals with their faces

Of reshard:
    _keep             the keep list, for both ways
    _overlay          tar by tar: one tar, with edits put in and samples left out
    _overlay_plan     which tars there are
    _overlay_find     where the edits of each lie, and which belong to none
    _overlay_given    the edits of one tar: members that lie ready
    _overlay_captions the same out of new captions: txt and json
    _overlay_edits    which edit stands in for which member
    _overlay_write    the new tar: ranges of the old one, new headers, new contents
    _repack           one new tar out of samples that lie anywhere
    _repack_plan      which samples are kept, in which order, and where a tar ends
    _repack_keys      the keys of samples that would be equal, or get a prefix
    _repack_read      byte ranges out of many tars, read together
    _repack_piece     one sample's range as a small tar

Of download:
    _download_plan    ranges of lists, numbered for good
    _download_retry   new shards of what failed in finished ones and may pass
    _download_shard   one shard: its rows read, fetched and written as they come
    _download_sample  one file as it came to the row and the bytes that are written
    _download_watch   the reason told, where many URLs fail at the beginning

Of filter_faces:
    _filter_faces_shard     one shard: its samples read, judged and written
    _filter_faces_sample    what a sample says of itself, or why it cannot be judged
    _filter_faces_metadata  faces that its json names
    _filter_faces_tools     faces in its image: decoding and detecting at the same time
    _filter_faces_look      selected samples, and some left out, as people look at them

Of rewrite_captions:
    _rewrite_read      the captions of a file or a tar
    _rewrite_language  which language a caption is in
    _rewrite_template  from a caption to what the model is sent
    _rewrite_answer    what is used of what it says
    _rewrite_shard     one shard: its captions asked about, many at once
    _rewrite_rows      what became of each caption, and saved progress
    _rewrite_again     shards done again for the captions that failed
    _rewrite_watch     how fast, and which servers are slow or left alone
    _rewrite_look      captions and prompts as people look at them

Of generate_images:
    _generate_plan     files of prompts, and what belongs to each
    _generate_samples  prompts and originals of one shard
    _generate_shard    one shard: prompts encoded, batches drawn, files made behind them
    _generate_files    image, prompt and json of one sample
    _generate_saved    what is finished, for who goes on after a kill
    _generate_look     originals and new images as people look at them
"""
