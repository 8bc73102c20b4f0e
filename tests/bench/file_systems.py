"""What the benchmark drives: each can be mounted, unmounted, brought to rest, and asked what its processes have used."""
import contextlib
import json
import os
import shutil
import subprocess
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")


def run(*command, **more):
    more.setdefault("stdout", subprocess.DEVNULL)
    more.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run(command, text=True, check=False, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or '').strip()[-500:]}")
    return done


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def unmount_fuse(directory):
    run("fusermount3" if shutil.which("fusermount3") else "fusermount", "-u", directory)


class Missing(Exception):
    """Something that is needed is not installed."""


def program(name):
    path = shutil.which(name)
    if not path:
        raise Missing(f"{name} is not installed")
    return path


class FileSystem:
    """Mounted on PLACE/m; everything that belongs to it lies in PLACE, and only its servers have PLACE in their command."""
    name = ""
    survives_unmounting = True

    def __init__(self, place):
        self.place, self.dir, self.pids = place, os.path.join(place, "m"), []
        os.makedirs(self.dir)
        self.make()

    def make(self):
        pass

    def mount(self):
        self.start()
        wait_until(lambda: os.path.ismount(self.dir), f"{self.name} is mounted")
        self.pids = self.find_servers()

    def start(self):
        raise NotImplementedError

    def unmount(self):
        unmount_fuse(self.dir)
        wait_until(lambda: not self.find_servers(), f"{self.name} ends")
        self.pids = []

    def settle(self):
        """Until nothing goes on behind the last work any more."""
        fd = os.open(self.dir, os.O_RDONLY)
        with contextlib.suppress(OSError):
            os.fsync(fd)
        os.close(fd)

    def counters(self):
        return {}

    def find_servers(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
                if int(pid) != os.getpid() and any(self.place.encode() in w for w in words):
                    found.append(int(pid))
        return found

    def cpu(self):
        """Seconds that its servers have computed since they were started."""
        ticks = 0
        for pid in self.pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS


class Disk(FileSystem):
    """The directory itself: what the disk gives without any of them."""
    name = "disk"

    def mount(self):
        pass

    def unmount(self):
        pass


class Null(FileSystem):
    """Names and attributes in memory, no contents: what FUSE itself costs. Lives as long as it is mounted, so what is cold for
    others is only forgotten by the kernel here."""
    name = "null"
    survives_unmounting = False

    def make(self):
        self.binary = os.path.join(self.place, "null_fs")
        flags = run("pkg-config", "--cflags", "--libs", "fuse3", stdout=subprocess.PIPE).stdout.split()
        run(program("c++"), "-std=c++20", "-O2", "-o", self.binary, os.path.join(HERE, "null_fs.cc"), *flags, "-lpthread")

    def start(self):
        self.server = subprocess.Popen([self.binary, self.dir])

    def unmount(self):
        unmount_fuse(self.dir)
        self.server.wait()


class Gocryptfs(FileSystem):
    name = "gocryptfs"
    password = ("-extpass", "echo measured")

    def make(self):
        self.binary, self.cipher = program("gocryptfs"), os.path.join(self.place, "cipher")
        os.makedirs(self.cipher)
        self.make_volume()

    def make_volume(self):
        run(self.binary, "-q", "-init", "-scryptn", "10", *self.password, self.cipher)

    def start(self):
        run(self.binary, "-q", *self.password, self.cipher, self.dir)


class Securefs(FileSystem):
    name = "securefs"

    def make(self):
        self.binary, self.cipher = program("securefs"), os.path.join(self.place, "cipher")
        os.makedirs(self.cipher)
        run(self.binary, "create", "--pbkdf", "pkcs5-pbkdf2-hmac-sha256", "-r", "1", "--pass", "measured", self.cipher)

    def start(self):
        run(self.binary, "mount", "-b", "--log", os.path.join(self.place, "log"), "--pass", "measured", self.cipher, self.dir)


class CryFs(FileSystem):
    name = "cryfs"

    def make(self):
        self.binary, self.cipher = program("cryfs"), os.path.join(self.place, "cipher")
        os.makedirs(self.cipher)

    def start(self):
        where = {**os.environ, "CRYFS_FRONTEND": "noninteractive", "CRYFS_NO_UPDATE_CHECK": "true",
                 "CRYFS_LOCAL_STATE_DIR": os.path.join(self.place, "state")}
        run(self.binary, self.cipher, self.dir, input="measured\n", env=where)


class Coffer(FileSystem):
    """Over a store that is a directory, unless another is given; what is written goes there meanwhile."""
    name = "coffer"
    binary = ""

    def __init__(self, place, store=None, options=(), init_options=None):
        self.store, self.options = store or os.path.join(place, "store"), list(options)
        self.init_options = list(options if init_options is None else init_options)
        super().__init__(place)

    def make(self):
        password = os.path.join(self.place, "pass")
        with open(password, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write("correct horse battery staple\n")
        common = ["--state-dir", os.path.join(self.place, "state"), "--passphrase-file", password]
        self.options += common
        os.environ["COFFER_TEST_KDF"] = "fast"
        self.init(common)

    def init(self, common):
        run(self.binary, "init", self.store, "--no-recovery-key", *self.init_options, *common)

    def start(self):
        run(self.binary, "mount", self.store, self.dir, *self.options)

    def unmount(self):
        run(self.binary, "unmount", "--now", self.dir)
        wait_until(lambda: not self.find_servers(), "coffer ends")

    def settle(self):
        run(self.binary, "sync", self.dir)

    def status(self):
        return json.loads(run(self.binary, "status", "--json", self.dir, stdout=subprocess.PIPE).stdout)

    def counters(self):
        counters = self.status()["counters"]
        replica = counters["replica"]
        return {"fdatasync": replica["journal_syncs"] + replica["pack_syncs"], "upcalls": counters["upcalls"],
                "store": counters["store"]}


class Before(Coffer):
    """Another build of it, to see what a change is worth."""
    name = "before"


LOCAL = (Disk, Null, Gocryptfs, Securefs, CryFs, Coffer)


def make_cold(file_systems):
    """Mounts them anew, and between the two drops the kernel's caches (as root): names, attributes, and the contents of backing
    files, which have to be on the disk for that."""
    kept = [fs for fs in file_systems if fs.survives_unmounting]
    for fs in kept:
        fs.unmount()
    os.sync()
    with contextlib.suppress(OSError), open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")
    for fs in kept:
        fs.mount()
