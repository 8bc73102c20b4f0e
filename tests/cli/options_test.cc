#include "fs/cli/options.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace coffer::cli {
namespace {

std::variant<Arguments, Finished> parse(std::initializer_list<const char*> words) {
  std::vector<const char*> argv(words);
  return parse_arguments(static_cast<int>(argv.size()), argv.data());
}

Arguments parsed(std::initializer_list<const char*> words) {
  auto result = parse(words);
  if (auto* a = std::get_if<Arguments>(&result)) return *a;
  ADD_FAILURE() << "not understood";
  return {};
}

int refused(std::initializer_list<const char*> words) {
  auto result = parse(words);
  auto* f = std::get_if<Finished>(&result);
  return f != nullptr ? f->exit : -1;
}

TEST(Options, MountTakesStoreDirAndOptionsAnywhere) {
  Arguments a = parsed({"coffer", "mount", "-o", "ro", "s3://b/p", "/mnt", "--endpoint", "https://h", "--path-style",
                        "-o", "allow_other", "--state-dir", "/s"});
  EXPECT_EQ(a.command, "mount");
  EXPECT_EQ(a.operands, (std::vector<std::string>{"s3://b/p", "/mnt"}));
  EXPECT_EQ(a.settings.directory, "/mnt");
  EXPECT_EQ(a.settings.mount_options, "ro,allow_other");
  EXPECT_EQ(a.settings.endpoint, "https://h");
  EXPECT_EQ(a.settings.path_style, true);
  EXPECT_EQ(a.settings.state_dir, "/s");
}

TEST(Options, CommonOptionsMayStandBeforeTheCommand) {
  Arguments a = parsed({"coffer", "--state-dir", "/s", "--json", "status", "/mnt"});
  EXPECT_EQ(a.command, "status");
  EXPECT_EQ(a.settings.state_dir, "/s");
  EXPECT_TRUE(a.json);
}

TEST(Options, UnmountFlags) {
  Arguments a = parsed({"coffer", "unmount", "--now", "/mnt"});
  EXPECT_TRUE(a.now);
  EXPECT_FALSE(a.lazy);
}

TEST(Options, TheHelperUnderstandsMountsCommandLine) {
  for (const char* name : {"mount.coffer", "/sbin/mount.fuse.coffer"}) {
    Arguments a = parsed({name, "-o", "rw,_netdev", "/store", "/mnt", "-o", "state_dir=/s", "-n", "-s"});
    EXPECT_EQ(a.command, "mount");
    EXPECT_EQ(a.operands, (std::vector<std::string>{"/store", "/mnt"}));
    EXPECT_EQ(a.settings.directory, "/mnt");
    EXPECT_EQ(a.settings.mount_options, "rw,_netdev,state_dir=/s");
  }
  Arguments by_fuse = parsed({"coffer", "s3://bucket", "/mnt", "-o", "ro"});
  EXPECT_EQ(by_fuse.command, "mount");
  EXPECT_EQ(refused({"mount.coffer", "/store", "/mnt", "-f"}), 0);
  EXPECT_EQ(refused({"mount.coffer", "/store"}), 2);
}

TEST(Options, NonsenseEndsWithUsage) {
  EXPECT_EQ(refused({"coffer"}), 2);
  EXPECT_EQ(refused({"coffer", "frobnicate"}), 2);
  EXPECT_EQ(refused({"coffer", "mount"}), 2);
  EXPECT_EQ(refused({"coffer", "unmount", "/a", "/b"}), 2);
  EXPECT_EQ(refused({"coffer", "mount", "/a", "/b", "--upload-limit", "fast"}), 2);
  EXPECT_EQ(refused({"coffer", "status", "/a", "--no-such-option"}), 2);
}

TEST(Options, WhatIsNotThereYetIsStillACommand) {
  Arguments a = parsed({"coffer", "snapshot", "list", "/store", "--whatever"});
  EXPECT_EQ(a.command, "snapshot");
  EXPECT_EQ(parsed({"coffer", "key", "rotate", "/store"}).command, "key rotate");
}

TEST(Options, KeyHasCommandsOfItsOwn) {
  Arguments a = parsed({"coffer", "key", "add", "/store", "--label", "Anna's", "--new-passphrase-file", "/p",
                        "--state-dir", "/s", "--weak-passphrase"});
  EXPECT_EQ(a.command, "key add");
  EXPECT_EQ(a.operands, std::vector<std::string>{"/store"});
  EXPECT_EQ(a.key.label, "Anna's");
  EXPECT_EQ(a.key.new_passphrase_file, "/p");
  EXPECT_EQ(a.settings.state_dir, "/s");
  EXPECT_TRUE(a.key.weak_passphrase);
  EXPECT_TRUE(parsed({"coffer", "key", "list", "--json", "/store"}).json);
  EXPECT_EQ(parsed({"coffer", "key", "change", "/store", "0a1b"}).operands.size(), 2u);
  EXPECT_EQ(refused({"coffer", "key"}), 2);
  EXPECT_EQ(refused({"coffer", "key", "/store"}), 2);
  EXPECT_EQ(refused({"coffer", "key", "remove", "/store"}), 2);
  EXPECT_EQ(refused({"coffer", "mount", "/a", "/b", "--keep-key", "nowhere"}), 2);
}

TEST(Options, DeviceHasCommandsOfItsOwn) {
  Arguments a = parsed({"coffer", "device", "list", "--json", "/store"});
  EXPECT_EQ(a.command, "device list");
  EXPECT_TRUE(a.json);
  EXPECT_EQ(a.operands, std::vector<std::string>{"/store"});
  Arguments add = parsed({"coffer", "device", "add", "/mnt", "--code-file", "/c"});
  EXPECT_EQ(add.command, "device add");
  EXPECT_EQ(add.code_file, "/c");
  EXPECT_EQ(parsed({"coffer", "device", "join", "/store", "--keep-key", "keyring"}).settings.keep_key, "keyring");
  // What a code is good for must not be seen by whoever lists processes.
  EXPECT_EQ(refused({"coffer", "device", "add", "/mnt", "ABCDE-FGHJK"}), 2);
  EXPECT_EQ(refused({"coffer", "device"}), 2);
  EXPECT_EQ(refused({"coffer", "device", "list"}), 2);
}

TEST(Options, HelpAndVersionSucceed) {
  EXPECT_EQ(refused({"coffer", "--help"}), 0);
  EXPECT_EQ(refused({"coffer", "--version"}), 0);
  EXPECT_EQ(refused({"coffer", "mount", "--help"}), 0);
}

}  // namespace
}  // namespace coffer::cli
