#include "fs/model/family.h"

#include "fs/model/keys.h"

namespace coffer::model {

std::string_view companion_suffix(std::string_view name) {
  for (std::string_view suffix : kEndings)
    if (!suffix.empty() && name.size() > suffix.size() && name.ends_with(suffix)) return suffix;
  return {};
}

Family family_of(Ino dir, std::string_view name) {
  name.remove_suffix(companion_suffix(name).size());
  return {dir, std::string(name)};
}

Result<std::optional<Family>> family_of(const ReadRows& rows, const Inode& inode) {
  if (!inode.is_regular() || inode.nlink != 1) return std::nullopt;
  TRY(std::optional<Bytes> row, rows.get(entry_key(inode.parent, inode.cookie)));
  if (!row) return std::nullopt;
  TRY(Entry entry, decode_entry(*row));
  return family_of(inode.parent, entry.name);
}

}  // namespace coffer::model
