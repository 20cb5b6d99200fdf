from hpcpipe.compose.conf_files import OptionText, options, summary

TEXT = """\
# @package _global_
# What this does.
# More about it.
defaults:
  - _self_
_target_: a.B

# stands above
first: 1
second: "a # b"    # ends the line

# A heading.
third:             # starts here
                   # and goes on
  - x              # not this one
  - y
fourth: 'http://x#y'
fifth:
"""


def test_comments_go_to_their_options():
    assert options(TEXT) == [
        OptionText(name="first", value="1", comment="stands above"),
        OptionText(name="second", value='"a # b"', comment="ends the line"),
        OptionText(name="third", value="", comment="starts here and goes on", heading="A heading."),
        OptionText(name="fourth", value="'http://x#y'", comment=""),
        OptionText(name="fifth", value="", comment=""),
    ]


def test_the_first_line_is_the_summary():
    assert summary(TEXT) == "What this does."
    assert summary("a: 1\n# late\n") == ""


def test_the_opening_block_is_no_options_comment():
    assert options("# About the file.\n\na: 1\n") == [OptionText(name="a", value="1", comment="")]
    assert options("# About the file.\na: 1\n") == [OptionText(name="a", value="1", comment="")]
