#include "cache/row_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/failpoint.h"
#include "base/fd.h"
#include "crypto/aead.h"

namespace coffer {
namespace {

constexpr size_t kMapSize = size_t{64} << 30;  // address space, not disk: the file grows as it is used
constexpr unsigned kMaxReaders = 1024;         // threads that read at one time
constexpr size_t kFullDisk = 64 << 10;         // a disk that is full for LMDB has less than this
constexpr uint16_t kFormat = 1;
constexpr std::string_view kFormatKey = "format", kLsnKey = "lsn", kVolumeKey = "volume";

Error lmdb_error(std::string_view what, int rc) {
  Code code = Code::kIo;
  switch (rc) {
    case MDB_MAP_FULL:
      code = Code::kNoSpace;
      break;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
      code = Code::kCorrupt;
      break;
    case MDB_VERSION_MISMATCH:
      code = Code::kTooNew;
      break;
    default:
      if (rc > 0) return errno_error("table: " + std::string(what), rc);
  }
  return Error(code, "table: " + std::string(what) + ": " + mdb_strerror(rc));
}

MDB_val to_val(BytesView b) { return {b.size(), const_cast<uint8_t*>(b.data())}; }
MDB_val to_val(std::string_view s) { return to_val(as_bytes(s)); }
BytesView to_view(const MDB_val& v) { return {static_cast<const uint8_t*>(v.mv_data), v.mv_size}; }

struct AbortTxn {
  void operator()(MDB_txn* txn) const { mdb_txn_abort(txn); }
};
using WriteTxn = std::unique_ptr<MDB_txn, AbortTxn>;

struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};

Result<WriteTxn> begin_write(MDB_env* env) {
  MDB_txn* txn = nullptr;
  if (int rc = mdb_txn_begin(env, nullptr, 0, &txn); rc != 0) return fail(lmdb_error("begin", rc));
  return WriteTxn(txn);
}

bool disk_is_full(int fd) {
  struct statvfs st;
  return ::fstatvfs(fd, &st) == 0 && st.f_bavail * st.f_frsize < kFullDisk;
}

Result<void> commit(WriteTxn txn) {
  MDB_env* env = mdb_txn_env(txn.get());
  int rc = mdb_txn_commit(txn.release());
  if (rc == 0) return {};
  // LMDB writes many pages with one call, and takes it for an I/O error when the disk is full in the middle of them.
  int fd = -1;
  if (rc == EIO && mdb_env_get_fd(env, &fd) == 0 && disk_is_full(fd)) rc = ENOSPC;
  return fail(lmdb_error("commit", rc));
}

Result<void> put(MDB_txn* txn, MDB_dbi dbi, std::string_view key, BytesView value) {
  MDB_val k = to_val(key), v = to_val(value);
  if (int rc = mdb_put(txn, dbi, &k, &v, 0); rc != 0) return fail(lmdb_error("write", rc));
  return {};
}

Result<std::optional<BytesView>> find(MDB_txn* txn, MDB_dbi dbi, BytesView key) {
  MDB_val k = to_val(key), v;
  int rc = mdb_get(txn, dbi, &k, &v);
  if (rc == MDB_NOTFOUND) return std::nullopt;
  if (rc != 0) return fail(lmdb_error("read", rc));
  return to_view(v);
}

// Rows are opened into this, so that a read allocates nothing but its result.
Bytes& scratch() {
  thread_local Bytes plain;
  return plain;
}

Bytes u64_bytes(uint64_t v) {
  Bytes b;
  Writer(b).u64(v);
  return b;
}

}  // namespace

// --- Opening ---

Result<std::unique_ptr<RowFile>> RowFile::open(const std::string& dir, const VolumeId& volume, const LocalKeys& keys) {
  std::unique_ptr<RowFile> file(new RowFile(volume, keys));
  TRYV(file->start(dir));
  return file;
}

Result<void> RowFile::start(const std::string& dir) {
  if (int rc = mdb_env_create(&env_); rc != 0) return fail(lmdb_error("create", rc));
  mdb_env_set_mapsize(env_, kMapSize);
  mdb_env_set_maxdbs(env_, 2);
  mdb_env_set_maxreaders(env_, kMaxReaders);
  // MDB_NOTLS: read transactions go from thread to thread by the pool. No flag that lessens syncing, nor MDB_NOMEMINIT,
  // which lets old memory, plaintext among it, out to the disk. Readahead stays on: the whole is seldom larger than
  // memory, and after a boot it is what brings it there.
  if (int rc = mdb_env_open(env_, dir.c_str(), MDB_NOTLS, 0600); rc != 0) return fail(lmdb_error("open", rc));

  // LMDB would touch pages behind the end of a truncated file, which is a SIGBUS.
  MDB_envinfo info;
  MDB_stat stat;
  mdb_env_info(env_, &info);
  mdb_env_stat(env_, &stat);
  TRY(Fd data, open_file(dir + "/data.mdb", O_RDONLY));
  TRY(uint64_t size, file_size(data));
  if (size / stat.ms_psize < info.me_last_pgno + 1) return fail(Code::kCorrupt, "table: the file is truncated");

  TRY(WriteTxn txn, begin_write(env_));
  for (auto [name, dbi] : {std::pair{"rows", &rows_}, std::pair{"meta", &meta_}})
    if (int rc = mdb_dbi_open(txn.get(), name, MDB_CREATE, dbi); rc != 0) return fail(lmdb_error(name, rc));
  TRY(auto format, find(txn.get(), meta_, as_bytes(kFormatKey)));
  if (format) {
    TRYV(read_meta(txn.get()));
    return commit(std::move(txn));  // changes nothing, but keeps the database handles
  }
  TRYV(write_meta(txn.get()));
  TRYV(commit(std::move(txn)));
  return sync_directory(dir);
}

Result<void> RowFile::read_meta(MDB_txn* txn) {
  TRY(auto format, find(txn, meta_, as_bytes(kFormatKey)));
  TRY(auto lsn, find(txn, meta_, as_bytes(kLsnKey)));
  TRY(auto volume, find(txn, meta_, as_bytes(kVolumeKey)));
  Reader f(*format), l(lsn.value_or(BytesView{}));
  uint16_t version = f.u16();
  if (f.ok() && version > kFormat) return fail(Code::kTooNew, "table: format " + std::to_string(version));
  committed_ = l.u64();
  if (!f.at_end() || !l.at_end() || !volume) return fail(Code::kCorrupt, "table: its description is damaged");
  auto row = open_row(keys_, volume_, as_bytes(kVolumeKey), *volume, scratch());
  if (!row || as_string(row->value) != as_string(volume_.view()))
    return fail(Code::kCorrupt, "table: not of this volume, or not of this state directory's keys");
  return {};
}

Result<void> RowFile::write_meta(MDB_txn* txn) {
  Bytes format;
  Writer(format).u16(kFormat);
  Bytes volume(sealed_row_size(kVolumeKey.size(), VolumeId::kSize));
  seal_row(keys_, volume_, as_bytes(kVolumeKey), kVolumeKey, volume_.view(), volume);
  TRYV(put(txn, meta_, kFormatKey, format));
  TRYV(put(txn, meta_, kLsnKey, u64_bytes(0)));
  return put(txn, meta_, kVolumeKey, volume);
}

RowFile::~RowFile() {
  {
    MutexLock lock(mutex_);
    for (const Idle& idle : idle_) {
      mdb_cursor_close(idle.cursor);
      mdb_txn_abort(idle.txn);
    }
  }
  if (env_ != nullptr) mdb_env_close(env_);
}

// --- Reading ---

Result<RowFile::Snapshot> RowFile::snapshot() const {
  Idle idle{nullptr, nullptr};
  {
    MutexLock lock(mutex_);
    if (!idle_.empty()) {
      idle = idle_.back();
      idle_.pop_back();
    }
  }
  if (idle.txn != nullptr) {
    int rc = mdb_txn_renew(idle.txn);
    if (rc == 0) rc = mdb_cursor_renew(idle.txn, idle.cursor);
    if (rc == 0) return Snapshot(*this, idle.txn, idle.cursor);
    mdb_cursor_close(idle.cursor);
    mdb_txn_abort(idle.txn);
    return fail(lmdb_error("renew", rc));
  }
  if (int rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &idle.txn); rc != 0) return fail(lmdb_error("begin", rc));
  if (int rc = mdb_cursor_open(idle.txn, rows_, &idle.cursor); rc != 0) {
    mdb_txn_abort(idle.txn);
    return fail(lmdb_error("cursor", rc));
  }
  return Snapshot(*this, idle.txn, idle.cursor);
}

RowFile::Snapshot::Snapshot(Snapshot&& o) noexcept
    : file_(o.file_), txn_(std::exchange(o.txn_, nullptr)), cursor_(o.cursor_), key_(o.key_), sealed_(o.sealed_) {}

RowFile::Snapshot::~Snapshot() {
  if (txn_ == nullptr) return;
  mdb_txn_reset(txn_);
  MutexLock lock(file_->mutex_);
  file_->idle_.push_back({txn_, cursor_});
}

Result<std::optional<Bytes>> RowFile::Snapshot::get(const RowKey& key) {
  const StoredKey stored(file_->keys_, key);
  TRY(auto sealed, find(txn_, file_->rows_, stored.view()));
  if (!sealed) return std::nullopt;
  TRY(OpenedRow row, open_row(file_->keys_, file_->volume_, stored.view(), *sealed, scratch()));
  if (row.key != key.bytes) return fail(Code::kCorrupt, "table: a row has another's place");
  return to_bytes(row.value);
}

Result<bool> RowFile::Snapshot::seek(std::string_view key) {
  // LMDB takes no empty key; all start behind it.
  if (key.empty()) return move(MDB_FIRST, {});
  if (key.size() > kMaxStoredKey) key = key.substr(0, kMaxStoredKey);  // no stored key lies between the two
  return move(MDB_SET_RANGE, to_val(key));
}

Result<bool> RowFile::Snapshot::step() { return move(MDB_NEXT, {}); }

Result<bool> RowFile::Snapshot::move(MDB_cursor_op op, MDB_val key) {
  MDB_val value;
  int rc = mdb_cursor_get(cursor_, &key, &value, op);
  if (rc == MDB_NOTFOUND) return false;
  if (rc != 0) return fail(lmdb_error("walk", rc));
  key_ = as_string(to_view(key));
  sealed_ = to_view(value);
  return true;
}

Result<std::optional<Bytes>> RowFile::Snapshot::clear_value() const {
  TRY(OpenedRow row, open_row(file_->keys_, file_->volume_, as_bytes(key_), sealed_, scratch()));
  if (row.key == key_) return to_bytes(row.value);
  // Not a clear key: then it must be the hidden form of the one inside, whose clear part is what both begin with.
  RowKey inside{std::string(row.key), key_.size() < 16 ? 0 : key_.size() - 16};
  if (inside.clear >= inside.bytes.size() || as_string(StoredKey(file_->keys_, inside).view()) != key_)
    return fail(Code::kCorrupt, "table: a row has another's place");
  return std::nullopt;
}

// --- Writing ---

Result<void> RowFile::write(const std::vector<RowWrite>& rows, Lsn lsn) {
  TRYV(failpoint("table.commit"));
  TRY(WriteTxn txn, begin_write(env_));
  {
    MDB_cursor* raw = nullptr;
    if (int rc = mdb_cursor_open(txn.get(), rows_, &raw); rc != 0) return fail(lmdb_error("cursor", rc));
    // One cursor for all: with ascending keys most are on the page where it is already.
    std::unique_ptr<MDB_cursor, CloseCursor> cursor(raw);
    for (const RowWrite& row : rows) TRYV(write_row(cursor.get(), row));
  }
  TRYV(put(txn.get(), meta_, kLsnKey, u64_bytes(lsn)));
  TRYV(commit(std::move(txn)));
  return failpoint("table.commit.after");
}

Result<void> RowFile::write_row(MDB_cursor* cursor, const RowWrite& row) {
  MDB_val key = to_val(row.stored_key);
  if (row.value == nullptr) {
    MDB_val ignored;
    int rc = mdb_cursor_get(cursor, &key, &ignored, MDB_SET);
    if (rc == 0) rc = mdb_cursor_del(cursor, 0);
    if (rc != 0 && rc != MDB_NOTFOUND) return fail(lmdb_error("remove", rc));
    return {};
  }
  // LMDB only makes room; the row is sealed right there. The page is in memory that the disk sees at the commit.
  MDB_val room{sealed_row_size(row.logical_key->size(), row.value->size()), nullptr};
  if (int rc = mdb_cursor_put(cursor, &key, &room, MDB_RESERVE); rc != 0) return fail(lmdb_error("write", rc));
  seal_row(keys_, volume_, as_bytes(row.stored_key), *row.logical_key, *row.value,
           {static_cast<uint8_t*>(room.mv_data), room.mv_size});
  return {};
}

}  // namespace coffer
