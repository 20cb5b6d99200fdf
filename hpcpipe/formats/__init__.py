"""File formats, and reading files local and remote; knows nothing of runs, shards or stages' work.

Finding and reading files:
    listing         which files a location names: paths, folders, globs, braces, URLs
    local_listing   the part for local folders
    remote_listing  the part for URLs
    source          bytes at an offset, from a local file, a URL or a gzip-compressed tar
    remote_source   the part for URLs: reading ahead, keeping what was read
    source_file     an open source as a Python file object
    remote_uploads  unfinished uploads to a store
    remote          what every use of a URL needs: opening, names without secrets, versions
    remote_errors   whether an object is at fault, or its store

Tars and samples:
    tar             members of a tar, read from its headers
    tar_blocks      single header blocks, parsed fast
    tar_extended    pax and GNU headers that speak of the next member
    tar_fields      numbers, text and checksums inside a header
    tar_write       new members and their headers, padding, the end of an archive
    samples         member names into keys and extensions, members into samples
    edits           new members for the samples of one shard
    edit_origins    the part that reads them: loose files, or a tar
    edits_write     edits of a shard, written as a tar or as loose files
    json_records    the json of a sample, read and written

Lists of samples:
    keep_list       which samples to keep: converted once, then mapped
    key_files       the text, json, parquet and npy files that such lists come in
    json_keys       the part for one large json
    ids             keys and uids as 128-bit numbers, and sorting billions of them
    sample_table    the samples of one tar, as parquet
    sample_index    the samples of many tars, as mapped arrays
    npy             the header of an npy file that is written piece by piece
    permutation     a random order that is computed, not stored

Lists of URLs:
    url_list             lists as ranges of rows; text is converted to parquet first
    url_list_columns     which columns are wanted, and what is said where one is missing
    url_list_parquet     opening parquet lists, and their footers
    url_list_text        batches of columns from txt, csv and tsv, plain or compressed
    url_list_json        the part for json and jsonl
    url_list_lines       blocks of whole lines
    url_list_convert     writing such batches as parquet, row groups fitting ranges
    url_list_read        reading ranges, as workers do
    url_list_cursor      the place in a list from where reading goes on

What a download writes:
    shard_names      names of shards, keys of samples
    file_extensions  the extension of a file: content type, first bytes, URL
    file_magic       the part for the first bytes
    digests          checksums of files, computed and compared
    download_rows    what became of one URL: columns, types, JSON
    download_table   the rows of a shard, as parquet
    download_stats   the counts of a shard, as JSON
    download_shard   all files of a shard put together
    sample_writers   the samples of a shard: tar, files, tfrecord
    tfrecord         rows as tf.train.Example, in frames with checksums
    parquet_sink     a staged output as pyarrow's file

Steps of FairCLIP's pipeline:
    captions   captions or prompts of a shard, as JSON; how they were made
    selected   samples that were selected, a line each

Images:
    image_resize       one downloaded image to the one that is written: all of the below
    image_options      what is to become of images
    image_errors       why one was left out
    image_header       format, size and orientation, before anything is decoded
    image_jpeg_header  the part for JPEG
    image_webp_header  the part for WebP
    image_exif         metadata as text
    image_sizes        the resize modes' arithmetic, the filters
    image_decode       pixels of a file; of a JPEG no more than needed
    image_pillow       the part for all other formats
    image_pixels       resize, turn, crop, border
    image_blur         boxes blurred
    image_encode       pixels to jpg, png, webp
    thumbnails         small pictures to be looked at

Contact sheets:
    contact_sheet        samples on one HTML page
    contact_sheet_style  how it looks
"""
