#!/usr/bin/python3
"""Debian's Python, for its uno module. Drives a LibreOffice that listens on a pipe.

usage: office_edit.py PIPE DOCUMENT TEXT [COPY]

Opens the document, sees its lock file, writes TEXT at its end, saves it (and a copy, as PDF), closes it, and sees that the
lock file is gone.
"""
import os
import sys
import time

import uno
from com.sun.star.beans import PropertyValue
from com.sun.star.connection import NoConnectException


def connect(pipe):
    resolver = uno.getComponentContext().ServiceManager.createInstance("com.sun.star.bridge.UnoUrlResolver")
    for _ in range(600):
        try:
            return resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        except NoConnectException:
            time.sleep(0.1)
    sys.exit("LibreOffice does not answer")


def option(name, value):
    return PropertyValue(Name=name, Value=value)


pipe, path, text = sys.argv[1:4]
desktop = connect(pipe).ServiceManager.createInstance("com.sun.star.frame.Desktop")
lock = os.path.join(os.path.dirname(path), f".~lock.{os.path.basename(path)}#")
document = desktop.loadComponentFromURL(uno.systemPathToFileUrl(path), "_blank", 0, (option("Hidden", True),))
if document is None:
    sys.exit(f"LibreOffice does not open {path}")
if document.isReadonly():
    sys.exit(f"LibreOffice opens {path} for reading only")
if not os.path.exists(lock):
    sys.exit(f"there is no lock file {lock}")
document.Text.insertString(document.Text.getEnd(), text, False)
document.store()
for copy in sys.argv[4:]:
    document.storeToURL(uno.systemPathToFileUrl(copy), (option("FilterName", "writer_pdf_Export"),))
document.close(True)
if os.path.exists(lock):
    sys.exit(f"the lock file {lock} has stayed")
