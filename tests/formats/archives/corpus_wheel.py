"""Wheels: filename, .dist-info, WHEEL, RECORD, .data and scripts against one another."""

from assay.formats.inspect import InspectionLimits
from formats.archives.case import Case
from formats.archives.zip_builder import (
    DIST_INFO,
    METADATA,
    MODULE,
    WHEEL,
    WHEEL_NAME,
    Archive,
    Entry,
    record_line,
    wheel,
    wheel_entries,
)

DATA = "demo-1.0.data"
RECORD = f"{DIST_INFO}/RECORD"


def _accepted(name: str, data: bytes, filename: str = WHEEL_NAME) -> Case:
    return Case(f"wheel-accepts-{name}", filename, data)


def _refused(name: str, data: bytes, rule: str, names: str, filename: str = WHEEL_NAME) -> Case:
    return Case(f"wheel-refuses-{name}", filename, data, rule, names)


def _record(*lines: str) -> bytes:
    return "".join(lines).encode()


def _lines(*skip: str) -> list[str]:
    """RECORD of the sound wheel, without the files in ``skip``."""
    files = {"demo.py": MODULE.content, f"{DIST_INFO}/METADATA": METADATA, f"{DIST_INFO}/WHEEL": WHEEL}
    lines = [record_line(name, content) for name, content in files.items() if name not in skip]
    return [*lines, f"{RECORD},,\n"]


def _with_record(*lines: str) -> bytes:
    return wheel(record=_record(*lines))


def _scripts(text: str) -> bytes:
    return wheel(Entry(f"{DIST_INFO}/entry_points.txt", text.encode()))


def _packed(*paths: str) -> bytes:
    return wheel(*(Entry(path, b"#!python\n") for path in paths))


def _wheel_file(text: str) -> bytes:
    return wheel(wheel=text.encode())


def accepted() -> list[Case]:
    tags = b"Tag: py2-none-any\nTag: py3-none-any\n"
    stem = "zope_interface-7.0.post1"
    zope = METADATA.replace(b"demo", b"Zope.Interface").replace(b"1.0", b"7.0-1")
    scripts = "# scripts\n[console_scripts]\ndemo = demo:main\ndemo-2.x=demo.sub : A.b [extra]\n"
    entry_points = scripts + "\n# more\n[demo.plugins]\na:b = c d\n"
    return [
        _accepted(
            "two-tags", wheel(wheel=WHEEL.replace(b"Tag: py3-none-any\n", tags)), "demo-1.0-py2.py3-none-any.whl"
        ),
        _accepted(
            "two-tags-on-one-line",
            wheel(wheel=WHEEL.replace(b"py3-none", b"py2.py3-none")),
            "demo-1.0-py2.py3-none-any.whl",
        ),
        _accepted("a-build-number", wheel(wheel=WHEEL + b"Build: 1a\n"), "demo-1.0-1a-py3-none-any.whl"),
        _accepted("a-build-number-only-in-the-name", wheel(), "demo-1.0-7-py3-none-any.whl"),
        _accepted("windows-line-endings-in-wheel", wheel(wheel=WHEEL.replace(b"\n", b"\r\n"))),
        _accepted("windows-line-endings-in-record", wheel(record=_record(*_lines()).replace(b"\n", b"\r\n"))),
        _accepted("a-record-without-final-newline", wheel(record=_record(*_lines())[:-1])),
        _accepted("a-record-in-another-order", _with_record(*reversed(_lines()))),
        _accepted("record-first", Archive(list(reversed(wheel_entries()))).build()),
        _accepted("a-comma-in-a-name", wheel(Entry("a,b.txt", b"1"), Entry('say "hi".txt', b"2"))),
        _accepted("a-name-spelled-otherwise", wheel(metadata=zope, stem=stem), f"{stem}-py3-none-any.whl"),
        _accepted(
            "an-epoch",
            wheel(metadata=METADATA.replace(b"1.0", b"1!1.0"), stem="demo-1!1.0"),
            "demo-1!1.0-py3-none-any.whl",
        ),
        _accepted(
            "a-platform-wheel",
            wheel(wheel=WHEEL.replace(b"true", b"false").replace(b"py3-none-any", b"cp311-abi3-linux_x86_64")),
            "demo-1.0-cp311-abi3-linux_x86_64.whl",
        ),
        _accepted("entry-points", _scripts(entry_points)),
        _accepted("scripts", _packed(f"{DATA}/scripts/demo", f"{DATA}/scripts/demo.py")),
        _accepted("every-part-of-data", _packed(*(f"{DATA}/{part}/x/y" for part in ("purelib", "headers", "data")))),
        _accepted("platlib-beside-the-root", _packed("pkg/a.py", f"{DATA}/platlib/pkg/b.py")),
        _accepted("a-bin-folder-in-data", _packed(f"{DATA}/data/bin/demo", f"{DATA}/data/share/man/man1/python.1")),
        _accepted("licences", wheel(Entry(f"{DIST_INFO}/licenses/LICENSE", b"MIT"))),
        _accepted("vendored-metadata", _packed("demo_vendor/other-2.0.dist-info/METADATA")),
        _accepted("a-listed-signature-file", wheel(Entry(f"{DIST_INFO}/RECORD.jws", b"{}"))),
    ]


def refused_filenames() -> list[Case]:
    names = {
        "an-upper-case-name": ("Demo-1.0-py3-none-any.whl", "wheel-filename"),
        "a-dotted-name": ("de.mo-1.0-py3-none-any.whl", "wheel-filename"),
        "two-underscores": ("de__mo-1.0-py3-none-any.whl", "invalid-name"),
        "a-version-with-zeros": ("demo-01.0-py3-none-any.whl", "wheel-filename"),
        "a-version-spelled-otherwise": ("demo-1.0.0a.1-py3-none-any.whl", "wheel-filename"),
        "no-version": ("demo-x-py3-none-any.whl", "invalid-name"),
        "a-missing-tag": ("demo-1.0-py3-any.whl", "invalid-name"),
        "a-bad-build-number": ("demo-1.0-x1-py3-none-any.whl", "invalid-name"),
        "an-upper-case-tag": ("demo-1.0-PY3-none-any.whl", "wheel-tag"),
        "too-many-tags": (
            f"demo-1.0-{'.'.join('abcdefgh')}-{'.'.join('abcdefgh')}-{'.'.join('abcde')}.whl",
            "wheel-tag",
        ),
        "a-slash": ("../demo-1.0-py3-none-any.whl", "invalid-name"),
        "a-nul": ("demo-1.0-py3-none-any.whl\0", "invalid-name"),
        "another-ending": ("demo-1.0-py3-none-any.WHL", "invalid-name"),
        "an-egg": ("demo-1.0-py3.11.egg", "invalid-name"),
    }
    return [Case(f"wheel-refuses-{name}", filename, wheel(), rule, "") for name, (filename, rule) in names.items()] + [
        _refused("another-project's-name", wheel(), "wheel-top-level", "other", "other-1.0-py3-none-any.whl"),
        _refused("another-version's-name", wheel(), "wheel-top-level", "demo-1.0", "demo-1.1-py3-none-any.whl"),
    ]


def refused_dist_info() -> list[Case]:
    other = Entry("other-1.0.dist-info/METADATA", METADATA)
    return [
        _refused("no-metadata", wheel(metadata=None), "wheel-dist-info", "METADATA"),
        _refused("no-wheel-file", wheel(wheel=None), "wheel-dist-info", "WHEEL"),
        _refused("no-record", Archive(wheel_entries()[:-1]).build(), "wheel-dist-info", "RECORD"),
        _refused("a-second-dist-info", wheel(other), "wheel-top-level", "other-1.0.dist-info"),
        _refused("a-dist-info-in-another-case", wheel(Entry("Demo-1.0.dist-info/x", b"")), "wheel-top-level", "Demo"),
        _refused("an-ending-in-another-case", wheel(Entry("demo-1.0.DIST-INFO/x", b"")), "wheel-top-level", "DIST"),
        _refused("a-dist-info-with-a-dot", wheel(Entry("demo-1.0.dist-info./x", b"")), "wheel-top-level", "info."),
        _refused("a-dist-info-that-is-a-file", wheel(Entry("demo-1.dist-info", b"")), "wheel-top-level", "demo-1."),
        _refused(
            "a-dist-info-spelled-otherwise",
            wheel(dist_info="demo-1.0.0.dist-info"),
            "wheel-top-level",
            "1.0.0",
        ),
        _refused("a-second-data-folder", _packed("other-1.0.data/scripts/x"), "wheel-top-level", "other-1.0.data"),
        _refused("another-project", wheel(metadata=METADATA.replace(b"demo", b"evil")), "metadata-name", "evil"),
        _refused("another-version", wheel(metadata=METADATA.replace(b"1.0", b"1.1")), "metadata-version", "1.1"),
        _refused("metadata-that-is-no-metadata", wheel(metadata=b"{}"), "metadata-header", "metadata"),
        Case(
            "wheel-refuses-long-entry-points",
            WHEEL_NAME,
            _scripts("#" * 300),
            "zip-member-size",
            "entry_points",
            InspectionLimits(max_metadata_bytes=200),
        ),
    ]


def refused_wheel_files() -> list[Case]:
    text = WHEEL.decode()
    files = {
        "no-wheel-version": (text.replace("Wheel-Version: 1.0\n", ""), "wheel-version"),
        "wheel-version-2": (text.replace("1.0", "2.0"), "wheel-version"),
        "wheel-version-words": (text.replace("1.0", "1.0.0"), "wheel-version"),
        "two-wheel-versions": (text + "Wheel-Version: 1.0\n", "wheel-file"),
        "two-wheel-versions-in-two-cases": (text + "wheel-version: 1.1\n", "wheel-file"),
        "no-root": (text.replace("Root-Is-Purelib: true\n", ""), "wheel-file"),
        "an-unclear-root": (text.replace("true", "yes"), "wheel-file"),
        "no-tags": (text.replace("Tag: py3-none-any\n", ""), "wheel-tag"),
        "another-tag": (text.replace("py3-", "py2-"), "wheel-tag"),
        "one-tag-more": (text + "Tag: py2-none-any\n", "wheel-tag"),
        "a-tag-bomb": (text + f"Tag: {'.'.join('a' * 50)}-{'.'.join('a' * 50)}-{'.'.join('a' * 50)}\n", "wheel-tag"),
        "a-tag-without-parts": (text.replace("py3-none-any", "py3"), "wheel-tag"),
        "a-build-number-too-many": (text + "Build: 1\n", "wheel-build"),
        "a-line-without-colon": (text + "evil\n", "wheel-file"),
        "a-continued-line": (text + " Tag: py2-none-any\n", "wheel-file"),
        "a-blank-line": (text.replace("\nTag", "\n\nTag"), "wheel-file"),
        "a-lone-carriage-return": (text.replace("\nTag", "\rTag"), "wheel-file"),
        "a-control-character": (text.replace("hand", "ha\x0bnd"), "wheel-file"),
        "another-encoding": (text.replace("hand", "händ"), "wheel-file"),
        "an-empty-wheel-file": ("", "wheel-file"),
    }
    long = WHEEL + b"X: y\n" * 20_000
    return [
        *(_refused(name, _wheel_file(content), rule, "WHEEL") for name, (content, rule) in files.items()),
        _refused("a-long-wheel-file", wheel(wheel=long), "zip-member-size", "WHEEL"),
        _refused(
            "another-build-number",
            _wheel_file(text + "Build: 2\n"),
            "wheel-build",
            "WHEEL",
            "demo-1.0-1-py3-none-any.whl",
        ),
    ]


def refused_records() -> list[Case]:
    line = record_line("demo.py", MODULE.content)
    digest = line.split(",")[1]
    size = len(MODULE.content)
    rest = _lines("demo.py")

    def module(row: str) -> bytes:
        return _with_record(row, *rest)

    rows = {
        "no-hash": (f"demo.py,,{size}\n", "wheel-record-syntax"),
        "no-size": (f"demo.py,{digest},\n", "wheel-record-syntax"),
        "neither": ("demo.py,,\n", "wheel-record-syntax"),
        "md5": (f"demo.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,{size}\n", "wheel-record-syntax"),
        "sha1": (f"demo.py,sha1=2jmj7l5rSw0yVb_vlWAYkK_YBwk,{size}\n", "wheel-record-syntax"),
        "hex": (f"demo.py,sha256={'0' * 64},{size}\n", "wheel-record-syntax"),
        "padding": (f"demo.py,{digest}=,{size}\n", "wheel-record-syntax"),
        "loose-bits-in-base64": (f"demo.py,sha256={'A' * 42}B,{size}\n", "wheel-record-syntax"),
        "a-signed-size": (f"demo.py,{digest},+{size}\n", "wheel-record-syntax"),
        "a-size-with-zeros": (f"demo.py,{digest},0{size}\n", "wheel-record-syntax"),
        "arabic-digits": (f"demo.py,{digest},١٢٨\n", "wheel-record-syntax"),
        "two-columns": (f"demo.py,{digest}\n", "wheel-record-syntax"),
        "four-columns": (f"demo.py,{digest},{size},x\n", "wheel-record-syntax"),
        "an-open-quote": (f'"demo.py,{digest},{size}\n', "wheel-record-syntax"),
        "a-loose-quote": (f'"demo.py"x,{digest},{size}\n', "wheel-record-syntax"),
        "a-blank-line": (f"{line}\n", "wheel-record-syntax"),
        "an-upper-case-algorithm": (f"demo.py,{digest.upper()},{size}\n", "wheel-record-syntax"),
    }
    return [
        *(_refused(f"a-record-with-{name}", module(row), rule, "RECORD") for name, (row, rule) in rows.items()),
        _refused("another-hash", module(record_line("demo.py", b"x" * size)), "wheel-record-hash", "demo.py"),
        _refused("another-size", module(f"demo.py,{digest},{size + 1}\n"), "wheel-record-hash", "demo.py"),
        _refused("an-unlisted-member", _with_record(*rest), "wheel-record", "demo.py"),
        _refused(
            "an-unlisted-signature",
            wheel(Entry(f"{DIST_INFO}/RECORD.jws", b"{}"), record=_record(*_lines())),
            "wheel-record",
            "RECORD.jws",
        ),
        _refused(
            "a-listed-file-that-is-absent",
            _with_record(*_lines(), record_line("evil.py", b"")),
            "wheel-record",
            "evil.py",
        ),
        _refused("a-member-listed-twice", _with_record(line, *_lines()), "wheel-record", "demo.py"),
        _refused(
            "a-member-listed-as-dot-slash", module(line.replace("demo.py", "./demo.py")), "wheel-record", "demo.py"
        ),
        _refused(
            "a-member-listed-with-backslash",
            wheel(Entry("d/x", b""), record=_record(*_lines(), record_line("d\\x", b""))),
            "wheel-record",
            "d/x",
        ),
        _refused("a-member-listed-in-another-case", module(line.replace("demo", "Demo")), "wheel-record", "demo.py"),
        _refused(
            "an-absolute-path-in-record",
            _with_record(*_lines(), record_line("/etc/passwd", b"")),
            "wheel-record",
            "/etc/passwd",
        ),
        _refused("a-parent-in-record", _with_record(*_lines(), record_line("../evil", b"")), "wheel-record", "../evil"),
        _refused("a-listed-directory", _with_record(*_lines(), "d/,,\n"), "wheel-record-syntax", "RECORD"),
        _refused(
            "a-record-that-hashes-itself",
            _with_record(*_lines()[:-1], record_line(RECORD, b"")),
            "wheel-record",
            "RECORD",
        ),
        _refused("a-record-without-itself", _with_record(*_lines()[:-1]), "wheel-record", "RECORD"),
        _refused("a-record-twice-in-itself", _with_record(*_lines(), f"{RECORD},,\n"), "wheel-record", "RECORD"),
        _refused("an-empty-record", wheel(record=b""), "wheel-record", "RECORD"),
        _refused(
            "a-record-in-utf-16",
            wheel(record=_record(*_lines()).decode().encode("utf-16")),
            "wheel-record-syntax",
            "RECORD",
        ),
        _refused(
            "a-record-with-byte-order-mark",
            wheel(record=b"\xef\xbb\xbf" + _record(*_lines())),
            "wheel-record",
            "demo.py",
        ),
    ]


def refused_data() -> list[Case]:
    lib = f"{DATA}/purelib"
    return [
        _refused("an-unknown-part-of-data", _packed(f"{DATA}/evil/x"), "wheel-data", "evil"),
        _refused("a-part-in-another-case", _packed(f"{DATA}/Scripts/x"), "wheel-data", "Scripts"),
        _refused("a-file-in-data-itself", _packed(f"{DATA}/x"), "wheel-data", f"{DATA}/x"),
        _refused("a-module-over-the-root", _packed(f"{lib}/demo.py"), "archive-duplicate", "demo.py"),
        _refused("a-module-over-the-root-in-another-case", _packed(f"{lib}/DEMO.py"), "archive-collision", "DEMO.py"),
        _refused("platlib-over-purelib", _packed(f"{lib}/x", f"{DATA}/platlib/x"), "archive-duplicate", "x"),
        _refused("metadata-over-metadata", _packed(f"{lib}/{DIST_INFO}/METADATA"), "wheel-data", "METADATA"),
        _refused("another-project's-metadata", _packed(f"{lib}/pip-99.dist-info/METADATA"), "wheel-data", "pip-99"),
        _refused("a-script-in-a-folder", _packed(f"{DATA}/scripts/d/x"), "wheel-script", "d/x"),
        _refused("a-script-called-python", _packed(f"{DATA}/scripts/python"), "wheel-script", "python"),
        _refused("a-script-called-python3.11.exe", _packed(f"{DATA}/scripts/Python3.11.EXE"), "wheel-script", "EXE"),
        _refused("an-activate-script", _packed(f"{DATA}/scripts/activate.fish"), "wheel-script", "activate"),
        _refused("a-hidden-script", _packed(f"{DATA}/scripts/.bashrc"), "wheel-script", ".bashrc"),
        _refused("a-script-like-an-option", _packed(f"{DATA}/scripts/-rf"), "wheel-script", "-rf"),
        _refused("python-in-the-bin-of-data", _packed(f"{DATA}/data/bin/python3"), "wheel-script", "python3"),
        _refused(
            "two-scripts-of-one-name", _packed(f"{DATA}/scripts/x", f"{DATA}/data/bin/x"), "wheel-script", "bin/x"
        ),
        _refused(
            "a-script-that-is-also-an-entry-point",
            wheel(
                Entry(f"{DIST_INFO}/entry_points.txt", b"[console_scripts]\nX = demo:main\n"),
                Entry(f"{DATA}/scripts/x", b""),
            ),
            "wheel-script",
            "scripts/x",
        ),
    ]


def refused_entry_points() -> list[Case]:
    head = "[console_scripts]\n"
    syntax = {
        "a-semicolon-comment": head + "; python-reads-this = as:a-script\n",
        "an-indented-comment": head + "  # comment\n",
        "a-group-twice": head + "a = b:c\n" + head,
        "a-name-twice": head + "a = b:c\na = d:e\n",
        "a-line-before-any-group": "a = b:c\n" + head,
        "a-continued-value": head + "a = b:\n  c\n",
        "a-name-without-value": head + "a\n",
        "an-empty-value": head + "a =\n",
        "an-open-group": "[console_scripts\na = b:c\n",
        "a-module-without-object": head + "a = b\n",
        "code-for-a-value": head + "a = os:system('evil')\n",
        "a-semicolon-in-a-value": head + "a = b:c; evil()\n",
        "a-keyword-like-value": head + "a = b:c d\n",
        "a-lone-carriage-return": head + "a = b:c\rd = e:f\n",
        "a-nul": head + "a = b:c\0\n",
        "a-line-separator": head + "a = b:c\u2028d = e:f\n",
    }
    scripts = {
        "a-path-for-a-script": "../../evil",
        "a-slash-in-a-script": "a/b",
        "a-backslash-in-a-script": "a\\b",
        "a-drive-in-a-script": "c:evil",
        "a-space-in-a-script": "a b",
        "an-interpreter": "python3",
        "an-interpreter-in-another-case": "PYTHONW",
        "a-deactivate": "deactivate",
        "a-hidden-script-name": ".profile",
    }
    return [
        *(
            _refused(f"entry-points-with-{n}", _scripts(t), "wheel-entry-points", "entry_points")
            for n, t in syntax.items()
        ),
        *(_refused(n, _scripts(f"{head}{s} = b:c\n"), "wheel-script", "entry_points") for n, s in scripts.items()),
        _refused("a-gui-interpreter", _scripts("[gui_scripts]\npythonw = b:c\n"), "wheel-script", "entry_points"),
        _refused(
            "a-script-in-both-groups",
            _scripts("[console_scripts]\nx = b:c\n[gui_scripts]\nX = b:c\n"),
            "wheel-script",
            "entry_points",
        ),
        _refused(
            "entry-points-in-latin-1",
            wheel(Entry(f"{DIST_INFO}/entry_points.txt", b"[x]\n\xe9 = a\n")),
            "wheel-entry-points",
            "entry_points",
        ),
    ]


def cases() -> list[Case]:
    return [
        *accepted(),
        *refused_filenames(),
        *refused_dist_info(),
        *refused_wheel_files(),
        *refused_records(),
        *refused_data(),
        *refused_entry_points(),
    ]
