"""temporary"""
import os
from hub.storage.logfile import opened
from hub.storage.search import Reader

def skip(disk, path, start, lines, end):
    if not lines:
        return start
    with opened(disk, path, os.O_RDONLY) as fd:
        return Reader(disk, fd, end, False).first(lines, start, None)

def block_before(disk, path, start, end):
    with opened(disk, path, os.O_RDONLY) as fd:
        low = max(start, end - 262144)
        while True:
            data = disk.pread(fd, end - low, low)
            if low == start: return data
            at = data.find(b"\n", 0, len(data)-1) + 1
            if at: return data[at:]
            low = max(start, low - 262144)
