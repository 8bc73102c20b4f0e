// Commands that read a volume without a mount: ls, cat.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "fs/cli/commands.h"
#include "fs/cli/file_mode.h"
#include "fs/cli/format.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/store_reader.h"
#include "fs/cli/terminal.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

json node_json(const std::string& name, const model::Inode& inode) {
  return {
      {"name", name},     {"type", type_name(inode.type)}, {"mode", inode.mode}, {"uid", inode.uid},
      {"gid", inode.gid}, {"links", inode.nlink},          {"size", inode.size}, {"mtime", format_time(inode.mtime)}};
}

void print_node(const std::string& name, const model::Inode& inode) {
  std::string arrow = inode.type == model::FileType::kSymlink ? " -> " + shown_name(inode.target) : "";
  std::printf("%s %4u %6u %6u %12llu %s %s%s\n", mode_text(inode).c_str(), inode.nlink, inode.uid, inode.gid,
              static_cast<unsigned long long>(inode.size), format_time(inode.mtime).c_str(), shown_name(name).c_str(),
              arrow.c_str());
}

}  // namespace

Outcome<void> run_ls(const Arguments& arguments) {
  TRY(Target target, resolve_target(arguments));
  Interrupt interrupt;
  TRY(auto reader, StoreReader::open(std::move(target), interrupt.token()));
  std::string path = arguments.operands.size() > 1 ? arguments.operands[1] : "/";
  TRY(model::Node node, reader->find(path));
  json all = json::array();
  auto show = [&](const std::string& name, const model::Inode& inode) {
    if (arguments.json)
      all.push_back(node_json(name, inode));
    else
      print_node(name, inode);
  };
  if (node.inode.is_directory()) {
    TRYV(reader->for_each(node.ino, [&](const Replica::ListedNode& n) -> Outcome<void> {
      show(n.name, n.node.inode);
      return {};
    }));
  } else {
    show(path, node.inode);
  }
  if (arguments.json) std::puts(all.dump(2, ' ', false, json::error_handler_t::replace).c_str());
  return {};
}

Outcome<void> run_cat(const Arguments& arguments) {
  TRY(Target target, resolve_target(arguments));
  Interrupt interrupt;
  TRY(auto reader, StoreReader::open(std::move(target), interrupt.token()));
  TRY(model::Node node, reader->find(arguments.operands[1]));
  if (!node.inode.is_regular()) return give_up(Exit::kGeneral, arguments.operands[1] + " is not a regular file");
  return reader->read_all(node.ino, [](uint64_t, BytesView piece) -> Outcome<void> {
    if (std::fwrite(piece.data(), 1, piece.size(), stdout) != piece.size() || std::fflush(stdout) != 0)
      return give_up(Failure(errno_error("stdout", errno)));
    return {};
  });
}

}  // namespace coffer::cli
