"""What stands in a file of any format, packed, encoded or escaped in any way, is found."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import quopri
import random
import tarfile
from email.message import EmailMessage

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import archives
from tunesmith.lineage.decode import contents_of
from tunesmith.lineage.readings import readings
from tunesmith.lineage.scan import holds, needles, says

SAID = 'She said "never ägain" & left <the> house,\nback\\slash and \U0001f600, at seven in May.'
PADDING = [f"line {number} of what other people said" for number in range(300)]


def zipped(data, name="a.bin"):
    return archives.zipped({name: data})


def tarred(data):
    return archives.tarred({"a.bin": data})


def table(column, **settings):
    sink = io.BytesIO()
    rows = pa.table({"n": range(len(column)), "c": column})
    pq.write_table(rows, sink, compression="zstd", write_statistics=False, **settings)
    return sink.getvalue()


def struct(text):
    return table(pa.array([{"a": [{"b": each}]} for each in (*PADDING, text)]))


def a_map(text):
    kind = pa.map_(pa.string(), pa.large_string())
    return table(pa.array([[("k", each)] for each in (*PADDING, text)], kind))


def binary(text):
    return table(pa.array([each.encode() for each in (*PADDING, text)]))


def no_dictionary(text):
    return table(pa.array([*PADDING, text]), use_dictionary=False)


def left_in_a_dictionary(text):
    """No row says it any more: somebody filtered the rows, and the dictionary stayed."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["x", "y", text]))
    return table(column)


def workbook(text):
    """A string in two runs, of which the second is bold."""
    said = "".join(f"&#{ord(c)};" if c in "&<ä" else c for c in text).replace("\n", "_x000D_\n")
    runs = f"<r><t>{said[:15]}</t></r><r><rPr><b/></rPr><t>{said[15:]}</t></r>"
    return zipped(f'<?xml version="1.0"?><sst><si>{runs}</si></sst>', "xl/sharedStrings.xml")


def escaped_json(text):
    """As no writer in Python would: letters by their numbers, in capitals, slashes escaped."""
    units = text.encode("utf-16-be")
    codes = "".join(f"\\u{units[n]:02X}{units[n + 1]:02X}" for n in range(0, len(units), 2))
    return f'[{{"a": "{codes}"}}]'.encode()


def json_in_json(text):
    return json.dumps({"a": escaped_json(text).decode()}).encode()


def folded_yaml(text):
    """Folded where it has blanks, with characters by their numbers."""
    said = json.dumps(text, ensure_ascii=False)[1:-1].replace("ä", "\\xE4")
    said = said.replace("\U0001f600", "\\U0001F600").replace(" at", "\n      at")
    return f'- a: "{said}"\n'.encode()


def block_yaml(text):
    return ("- a: |\n    " + text.replace("\n", "\n    ") + "\n").encode()


def quoted_printable(text):
    head = "From: a\nContent-Type: text/plain; charset=utf-8\n"
    body = quopri.encodestring(text.encode()).decode()
    return f"{head}Content-Transfer-Encoding: quoted-printable\n\n{body}\n".encode()


def in_base64(text, charset="latin-1"):
    head = f"From: a\nContent-Type: text/plain; charset={charset}\n"
    body = base64.encodebytes(text.encode(charset, "ignore")).decode()
    return f"{head}Content-Transfer-Encoding: base64\n\n{body}\n".encode()


def mailbox(text):
    return b"".join(
        b"From x\n" + mail + b"\n" for mail in (in_base64("Hi.\n"), in_base64(text, "utf-8"))
    )


def header(text):
    message = EmailMessage()
    message["Subject"] = text.replace("\n", " ")
    message.set_content("Hi.")
    return message.as_bytes()


def attached(text):
    message = EmailMessage()
    message.set_content("Hi.")
    message.add_attachment(workbook(text), maintype="application", subtype="zip")
    return message.as_bytes()


def utf_16(text):
    return text.encode("utf-16")


WAYS = [
    struct, a_map, binary, no_dictionary, left_in_a_dictionary, workbook, escaped_json,
    json_in_json, folded_yaml, block_yaml, quoted_printable, mailbox, header, attached, utf_16,
]  # fmt: skip


@pytest.mark.parametrize("write", WAYS)
@pytest.mark.parametrize("pack", [bytes, zipped])
def test_what_is_written_in_any_way_is_found(tmp_path, write, pack):
    (tmp_path / "with").write_bytes(pack(write(SAID)))
    (tmp_path / "without").write_bytes(pack(write("Nothing of this kind, said by nobody at all.")))
    wanted = needles([SAID])
    assert holds(tmp_path / "with", wanted)
    assert not holds(tmp_path / "without", wanted)
    assert says(pack(write(SAID)), wanted)


PACKERS = [tarred, gzip.compress, bz2.compress, lzma.compress, lambda data: zipped(tarred(data))]


@pytest.mark.parametrize("pack", PACKERS)
def test_what_is_packed_in_what_is_packed_is_found(tmp_path, pack):
    for write in (left_in_a_dictionary, workbook, escaped_json, mailbox):
        path = tmp_path / write.__name__
        path.write_bytes(zipped(pack(write(SAID))))
        assert holds(path, needles([SAID]))
        path.write_bytes(zipped(pack(write("Nothing of this kind, said by nobody at all."))))
        assert not holds(path, needles([SAID]))


def test_a_character_set_of_old_is_read():
    text = "She said never ägain and left."
    assert says(in_base64(text), needles([text]))
    assert says(text.encode("latin-1"), needles([text]))


def test_damaged_files_are_read_as_far_as_they_go(tmp_path):
    """A search that ends at one of them would prove nothing of the others."""
    for data in (
        b"PAR1 and nothing",
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
        b"BZh9",
        zipped(b"x" * 99)[:60],
    ):
        (tmp_path / "broken").write_bytes(data)
        assert not holds(tmp_path / "broken", needles([SAID]))
        both = archives.zipped({"a": data, "b": escaped_json(SAID)})
        (tmp_path / "both").write_bytes(both)
        assert holds(tmp_path / "both", needles([SAID]))


def hurt(data, at, size=2):
    return data[:at] + bytes(each ^ 0xFF for each in data[at : at + size]) + data[at + size :]


def two_members(first=b"x y z " * 50):
    return archives.zipped({"a": first, "b": escaped_json(SAID) + b"x" * 2000})


def header_changed(at_local, at_central, value):
    data = bytearray(two_members())
    data[at_local : at_local + 2] = value
    central = data.index(b"PK\x01\x02") + at_central
    data[central : central + 2] = value
    return bytes(data)


def a_damaged_member():
    return hurt(two_members(), 33)


def a_member_with_another_checksum():
    """All of it can be read, and is no longer what was packed."""
    data = bytearray(zipped(escaped_json(SAID) + b"x" * 2**17))
    at = data.index(b"PK\x01\x02") + 16
    return hurt(bytes(data), at, 4)


def a_stream_that_is_cut_off():
    return gzip.compress(escaped_json(SAID) + random.Random(0).randbytes(2**17).hex().encode())[:-9]


def an_encrypted_member():
    return header_changed(6, 8, b"\1\0")


def a_member_packed_in_an_unknown_way():
    return header_changed(8, 10, b"\x63\0")


def a_damaged_member_of_a_tar():
    """The checksum of its header is wrong: where the next one begins is still known."""
    members = {"z": b"z", "a": b"x" * 2000, "b": gzip.compress(SAID.encode())}
    return hurt(archives.tarred(members), 1024 + 148, 1)


def a_damaged_row_group():
    data = table(
        pa.array([bytes(50 + n) for n in range(9)] + [gzip.compress(SAID.encode())] * 9),
        use_dictionary=False,
        row_group_size=9,
    )
    start = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(1).data_page_offset
    return hurt(data, start, 40)


DAMAGES = [
    a_damaged_member, an_encrypted_member, a_member_packed_in_an_unknown_way,
    a_member_with_another_checksum, a_stream_that_is_cut_off, a_damaged_member_of_a_tar,
    a_damaged_row_group,
]  # fmt: skip


@pytest.mark.parametrize("write", DAMAGES)
def test_what_follows_a_member_that_cannot_be_read_is_found(write):
    assert says(write(), needles([SAID]))
    assert not says(write(), needles(["Nothing of this kind, said by nobody."]))


NULS = [
    b'\n{"a": "x\0y"}\n',
    b"\n" + bytes(9000),
    random.Random(0).randbytes(2**16),
    bytes(2**12) + random.Random(0).randbytes(2**12),
]


@pytest.mark.parametrize("also", NULS)
@pytest.mark.parametrize("first", [True, False])
def test_text_is_read_that_stands_beside_what_is_none(also, first):
    text = b'\n{"a": "\\u0041nna Mueller of Graz"}\n' + b"said by others\n" * 600
    data = text + also if first else also.ljust(2**13) + text
    assert says(data, needles(["Anna Mueller of Graz"]))
    assert not says(data, needles(["Anna Mueller of Wien"]))


def test_what_is_no_text_is_not_read_as_text():
    """It would take long, of the weights of a model."""
    assert not any(map(bytes.strip, readings(random.Random(0).randbytes(2**20))))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Jürgen Müller\\u2028wohnt in Graz", "Jürgen Müller\u2028wohnt in Graz"),
        ("Jürgen Müller\\u000awohnt in Graz", "Jürgen Müller\nwohnt in Graz"),
        ("Jürgen M\\u00fcller wohnt in Graz", "Jürgen Müller wohnt in Graz"),
        ("Anna said \\u0022never\\u0022 to us", 'Anna said "never" to us'),
    ],
)
def test_json_that_escapes_other_characters_than_python_does_is_read(written, text):
    assert says(f'{{"a": "{written}"}}'.encode(), needles([text]))


def before_posix(data):
    """A tar of the form of 1979: nothing but the sum of its header tells of it."""
    member = tarfile.TarInfo("a.bin")
    member.size = len(data)
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    header[257:500] = bytes(243)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512 + 1024)


def test_a_tar_of_the_old_form_is_unpacked(tmp_path):
    path = tmp_path / "t.tar"
    path.write_bytes(before_posix(zipped(SAID.encode())))
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["a.bin"]
    assert holds(path, needles([SAID]))


def test_a_member_of_a_tar_whose_header_is_damaged_is_told(tmp_path):
    whole = archives.tarred({"a": b"one", "b": zipped(SAID.encode()), "c": b"three"})
    path = tmp_path / "t.tar"
    for data, damaged in ((whole, 0), (hurt(whole, 1024 + 100), 1)):
        path.write_bytes(data)
        told = []
        assert b"three" in b"".join(contents_of(path, told.append))
        assert len(told) == damaged, told


def test_what_is_only_read_from_its_beginning_is_read_whole(tmp_path, monkeypatch):
    """Also where it is larger than what is looked at in one piece."""
    monkeypatch.setattr("tunesmith.lineage.decode._WINDOW", 1 << 16)
    monkeypatch.setattr("tunesmith.lineage.decode._OVERLAP", 1 << 10)
    path = tmp_path / "large"
    filler = random.Random(1).randbytes(100_000)
    message = EmailMessage()
    message["Subject"] = "minutes"
    message.set_content("see below")
    message.add_attachment(filler + b"\n" + SAID.encode(), "application", "octet-stream")
    late = "\u4e2d" * 50_000 + SAID
    for data in (
        tarred(filler) + tarred(zipped(SAID.encode())),
        message.as_bytes(),
        late.encode("utf-16"),
    ):
        path.write_bytes(data)
        told = []
        assert holds(path, needles([SAID])), data[:40]
        list(contents_of(path, told.append))
        assert told == []


def test_bytes_of_one_length_in_a_table_are_read(tmp_path):
    path = tmp_path / "t"
    wanted = b"Erika Mustermann 19"
    column = pa.array([*(b"A person with no%03d" % n for n in range(300)), wanted], pa.binary(19))
    path.write_bytes(table(column, use_dictionary=False))
    assert wanted not in path.read_bytes()
    assert holds(path, needles(["Erika Mustermann 19"]))


def test_a_text_that_quotes_a_header_of_mail_is_no_mail_in_a_mail(tmp_path):
    path = tmp_path / "mime.txt"
    path.write_text(
        "Content-Transfer-Encoding: is a header\nwords like =?utf-8?q?caf=C3=A9?= here\n"
    )
    told = []
    assert b"caf" in b"".join(contents_of(path, told.append))
    path.write_text(
        "as in\n\nContent-Transfer-Encoding: base64\n\nand =?utf-8?q?caf=C3=A9?= here\n"
    )
    list(contents_of(path, told.append))
    assert told == []


def test_many_empty_lines_in_html_take_no_long_time():
    """A search of this one took a quarter of a minute; it is one pass."""
    assert len(list(readings(b"<p></p>" + b"\n" * 1_000_000 + b"x"))) > 1
