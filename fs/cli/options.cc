#include "fs/cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "fs/cli/failure.h"
#include "fs/cli/version.h"

namespace coffer::cli {
namespace {

// Goes through CLI11, whose own errors say only what is wrong, and not what would be right.
struct BadValue {
  Failure failure;
};

// Sizes and the like are checked by set_field, whichever way they come in.
void add_setting(CLI::App& app, VolumeSettings& settings, const std::string& flag, const std::string& field,
                 const std::string& value_name, const std::string& help) {
  app.add_option_function<std::string>(
         flag,
         [&settings, field](const std::string& value) {
           auto set = set_field(settings, field, value);
           if (!set) throw BadValue{set.error()};
         },
         help)
      ->type_name(value_name)
      ->group("About the volume");
}

void add_switch(CLI::App& app, VolumeSettings& settings, const std::string& flag, const std::string& field,
                const std::string& help) {
  app.add_flag_callback(
         flag, [&settings, field] { (void)set_field(settings, field, "true"); }, help)
      ->group("About the volume");
}

void add_common_options(CLI::App& app, VolumeSettings& s) {
  add_setting(app, s, "--state-dir", "state_dir", "DIR", "where this device keeps its replica");
  add_setting(app, s, "--device-name", "device_name", "NAME", "what this device is called (default: the host's name)");
  add_setting(app, s, "--passphrase-file", "passphrase_file", "FILE", "read the passphrase from FILE");
  add_setting(app, s, "--passphrase-command", "passphrase_command", "CMD", "read the passphrase from what CMD prints");
  add_setting(app, s, "--recovery-key-file", "recovery_key_file", "FILE",
              "init: write the recovery key to FILE; else: unlock with the one in FILE");
  add_setting(app, s, "--endpoint", "endpoint", "URL", "s3: https://HOST[:PORT] of the server");
  add_setting(app, s, "--region", "region", "NAME", "s3: the region");
  add_setting(app, s, "--keep-key", "keep_key", "WHERE",
              "mount, device join: keep the unlocked key in the kernel's keyring, or in the secret-service");
  add_switch(app, s, "--path-style", "path_style", "s3: the bucket is in the path, not in the host name");
  add_setting(app, s, "--ca-file", "ca_file", "PEM", "trust these authorities instead of the system's");
  add_switch(app, s, "--plaintext-loopback", "plaintext_loopback", "allow http and webdav to 127.0.0.1 (for tests)");
  add_setting(app, s, "--upload-limit", "upload_limit", "SIZE", "bytes per second");
  add_setting(app, s, "--download-limit", "download_limit", "SIZE", "bytes per second");
  add_setting(app, s, "--cache-size", "cache_size", "SIZE", "mount: keep no more than this of what the store has");
  add_setting(app, s, "--free-space", "free_space", "SIZE", "mount: keep this much of the local disk free");
  add_setting(app, s, "--silent-after", "silent_after", "DURATION",
              "mount, gc: do not wait for a device that wrote nothing for so long");
}

CLI::App* add_command(CLI::App& app, const char* name, const char* help, std::vector<std::string>& operands,
                      const char* operand_names, int least, int most) {
  CLI::App* command = app.add_subcommand(name, help)->fallthrough();
  command->add_option(operand_names, operands)->expected(least, most)->required(least > 0)->type_name("");
  return command;
}

const char* const kNotThereYet[] = {"snapshot", "history", "restore", "doctor"};

void add_key_commands(CLI::App& app, Arguments& arguments) {
  KeyArguments& k = arguments.key;
  CLI::App* key = app.add_subcommand("key", "passphrases and recovery keys of a volume")->fallthrough();
  key->require_subcommand(1);
  auto command = [&](const char* name, const char* help, const char* operand_names, int most) {
    return add_command(*key, name, help, arguments.operands, operand_names, most, most);
  };
  auto new_secret = [&k](CLI::App* c) {
    c->add_option("--new-passphrase-file", k.new_passphrase_file, "read the new passphrase from FILE")
        ->type_name("FILE");
    c->add_option("--new-passphrase-command", k.new_passphrase_command, "read it from what CMD prints")
        ->type_name("CMD");
    c->add_option("--new-recovery-key-file", k.new_recovery_key_file, "write the new recovery key to FILE")
        ->type_name("FILE");
    c->add_option("--label", k.label, "what it is called in coffer key list")->type_name("TEXT");
    c->add_flag("--weak-passphrase", k.weak_passphrase, "take a passphrase that is easy to guess");
  };
  command("list", "what opens the volume", "STORE|NAME", 1);
  CLI::App* add = command("add", "add a passphrase, or a recovery key", "STORE|NAME", 1);
  add->add_flag("--recovery-key", k.recovery_key, "add a recovery key");
  new_secret(add);
  command("remove", "remove one; ID as coffer key list shows it", "STORE|NAME ID", 2);
  CLI::App* change = add_command(*key, "change", "replace one: the one that opens the volume now, or ID",
                                 arguments.operands, "STORE|NAME [ID]", 1, 2);
  new_secret(change);
  command("forget", "remove what mount --keep-key has kept", "STORE|NAME", 1);
  command("rotate", "begin a new epoch: new keys for what is written from now on", "STORE|NAME|DIR", 1)
      ->add_flag("--rewrite", k.rewrite, "seal what was written before under them, too; DIR is where it is mounted");
}

void add_device_commands(CLI::App& app, Arguments& arguments) {
  CLI::App* device = app.add_subcommand("device", "the devices of a volume")->fallthrough();
  device->require_subcommand(1);
  auto command = [&](const char* name, const char* help, const char* operand_names, int most) {
    return add_command(*device, name, help, arguments.operands, operand_names, most, most);
  };
  command("list", "which devices there are, and when they last wrote", "STORE|NAME|DIR", 1);
  command("join", "become one, without a passphrase: shows a code for device add", "STORE|NAME", 1);
  command("add", "let in the one that shows a code", "STORE|NAME|DIR", 1)
      ->add_option("--code-file", arguments.code_file, "read the code from FILE, instead of asking for it")
      ->type_name("FILE");
  CLI::App* revoke =
      command("revoke", "a device is a member no more; DEVICE is its id or name", "STORE|NAME DEVICE", 2);
  CLI::Option* keep = revoke->add_flag("--keep-added", arguments.keep_added, "devices that it has let in stay members");
  revoke->add_flag("--revoke-added", arguments.revoke_added, "they are revoked, too")->excludes(keep);
}

std::string base_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

bool looks_like_store(const std::string& operand) {
  return !operand.starts_with('-') && operand.find('/') != std::string::npos;
}

// mount(8) calls: NAME STORE DIR [-sfnvrw] [-N FILE] [-t TYPE] [-o OPTIONS].
std::variant<Arguments, Finished> parse_as_mount_helper(int argc, const char* const* argv) {
  CLI::App app("mount a coffer volume, for mount(8) and fstab", "mount.coffer");
  Arguments arguments;
  arguments.command = "mount";
  bool fake = false, read_only = false, ignored = false;
  std::string unused;
  std::vector<std::string> options;
  app.add_option("STORE DIR", arguments.operands)->expected(2)->required();
  app.add_option("-o", options, "mount options")->allow_extra_args(false);
  app.add_flag("-f", fake, "do everything but mount");
  app.add_flag("-r", read_only, "read-only");
  app.add_flag("-s,-n,-v,-w", ignored, "accepted, without effect");
  app.add_option("-N", unused, "accepted, without effect");
  app.add_option("-t", unused, "accepted, without effect");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return Finished{app.exit(e)};
  } catch (const CLI::ParseError& e) {
    return Finished{report(Failure(Exit::kUsage, std::string("mount.coffer: ") + e.what()))};
  }
  if (fake) return Finished{0};
  arguments.settings.directory = arguments.operands[1];
  if (read_only) options.push_back("ro");
  for (const std::string& o : options)
    arguments.settings.mount_options += (arguments.settings.mount_options.empty() ? "" : ",") + o;
  return arguments;
}

}  // namespace

std::variant<Arguments, Finished> parse_arguments(int argc, const char* const* argv) {
  bool helper = argc > 0 && base_name(argv[0]).starts_with("mount.");
  if (helper || (argc > 2 && looks_like_store(argv[1]))) return parse_as_mount_helper(argc, argv);

  CLI::App app("An encrypted drive: an ordinary directory here, ciphertext in a store that need not be trusted.",
               "coffer");
  Arguments arguments;
  app.set_version_flag("--version", std::string("coffer ") + kVersion);
  app.require_subcommand(1);
  app.footer(
      "STORE is a path, file:///PATH, s3://BUCKET[/PREFIX], webdavs://HOST[:PORT]/PATH,\n"
      "or the NAME of a volume in ~/.config/coffer/config.toml. coffer(1) says all.");
  add_common_options(app, arguments.settings);
  app.add_flag("--json", arguments.json, "print JSON where there is something to print");
  app.add_flag("-q,--quiet", arguments.quiet, "show no progress");

  auto& operands = arguments.operands;
  CLI::App* init = add_command(app, "init", "make a volume in STORE", operands, "STORE", 1, 1);
  init->add_flag("--no-recovery-key", arguments.no_recovery_key,
                 "make none: whoever forgets the passphrase has lost the volume");
  init->add_flag("--weak-passphrase", arguments.key.weak_passphrase, "take a passphrase that is easy to guess");
  CLI::App* mount = add_command(app, "mount", "mount a volume on DIR", operands, "STORE|NAME [DIR]", 1, 2);
  mount->add_flag("-f,--foreground", arguments.foreground, "stay in the foreground, log to stderr");
  std::vector<std::string> mount_options;
  mount
      ->add_option("-o", mount_options,
                   "mount options: ro, allow_other, uid=N, gid=N, fsync=remote, cache_size=SIZE, noatime, ...")
      ->type_name("OPTIONS")
      ->allow_extra_args(false);
  CLI::App* unmount = add_command(app, "unmount", "finish uploading, then unmount DIR", operands, "DIR", 1, 1);
  unmount->add_flag("--now", arguments.now, "leave what still has to go up for the next mount");
  unmount->add_flag("--lazy", arguments.lazy, "unmount although files are open");
  add_command(app, "sync", "wait until all is in the store and all news is here", operands, "DIR", 1, 1);
  CLI::App* status =
      add_command(app, "status", "what is waiting, how fast it goes, what is wrong", operands, "[DIR]", 0, 1);
  status->add_flag("-w,--watch", arguments.watch, "again every second until interrupted");
  CLI::App* conflicts =
      add_command(app, "conflicts", "list conflict copies, or resolve them", operands, "DIR [PATH]...", 1, 100'000);
  static const std::map<std::string, Keep> kKeep = {{"original", Keep::kOriginal},
                                                    {"copy", Keep::kCopy},
                                                    {"mine", Keep::kMine},
                                                    {"others", Keep::kOthers},
                                                    {"both", Keep::kBoth}};
  conflicts->add_option("--keep", arguments.keep, "resolve: original, copy, mine, others, or both")
      ->type_name("WHICH")
      ->transform(CLI::CheckedTransformer(kKeep));
  conflicts->add_flag("--all", arguments.all, "resolve every one below DIR");
  add_command(app, "ls", "list a directory without mounting", operands, "STORE|NAME [PATH]", 1, 2);
  add_command(app, "cat", "print a file without mounting", operands, "STORE|NAME PATH", 2, 2);
  add_command(app, "export", "copy a tree out without mounting", operands, "STORE|NAME PATH DEST", 3, 3);
  CLI::App* check =
      add_command(app, "check", "verify everything, or bring back what can be", operands, "STORE|NAME|DIR", 1, 1);
  check->add_option("--sample", arguments.check.sample, "read only so many percent of the packs")
      ->type_name("PERCENT")
      ->check(CLI::Range(1, 100));
  check->add_flag("--restart", arguments.check.restart, "do not go on with a check that was interrupted");
  auto* repair = check->add_flag("--repair", arguments.check.repair, "repair what can be without loss");
  check
      ->add_option("--rebuild", arguments.check.rebuild, "write what packs and records still hold into a new directory")
      ->type_name("DEST")
      ->excludes(repair);
  CLI::App* gc =
      add_command(app, "gc", "delete from the store what nobody needs any more", operands, "STORE|NAME|DIR", 1, 1);
  gc->add_option_function<std::string>(
        "--grace",
        [&arguments](const std::string& text) {
          auto grace = parse_duration(text);
          if (!grace) throw BadValue{grace.error()};
          arguments.grace = *grace;
        },
        "how long it must have been so (default: 30d)")
      ->type_name("DURATION");
  gc->add_flag("--dry-run", arguments.dry_run, "only say what would be deleted");
  add_key_commands(app, arguments);
  add_device_commands(app, arguments);
  for (const char* name : kNotThereYet)
    app.add_subcommand(name, "")->group("Not there yet")->allow_extras()->prefix_command();

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return Finished{app.exit(e)};
  } catch (const BadValue& bad) {
    return Finished{report(bad.failure)};
  } catch (const CLI::ParseError& e) {
    return Finished{report(Failure(Exit::kUsage, e.what(), "coffer --help lists the commands and options."))};
  }
  const CLI::App* chosen = app.get_subcommands().front();
  arguments.command = chosen->get_name();
  if (arguments.command == "key" || arguments.command == "device")
    arguments.command += " " + chosen->get_subcommands().front()->get_name();
  for (const std::string& o : mount_options)
    arguments.settings.mount_options += (arguments.settings.mount_options.empty() ? "" : ",") + o;
  if (arguments.command == "mount" && operands.size() == 2) arguments.settings.directory = operands[1];
  return arguments;
}

}  // namespace coffer::cli
