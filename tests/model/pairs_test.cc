// What becomes of every pair of operations on the same thing: one machine did the earlier, another, which had not seen it,
// the later. The outcomes stand in pairs.txt, a line each; what they come to, in the tables of coffer-semantics(7).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iterator>
#include <map>
#include <sstream>

#include "tests/model/three_machines.h"

namespace coffer::model {
namespace {

// `who` is "a" or "b": contents and new names tell whose they are.
using Operation = std::function<void(Machine& m, const std::string& who)>;

struct Scene {
  std::string thing;
  std::function<void(Machine&)> given;
  std::vector<std::pair<std::string, Operation>> operations;
};

void make_with(Machine& m, const std::string& path, const std::string& text) {
  m.make(path);
  m.write(path, text);
}

void remove_tree(Machine& m, const std::string& path) {
  if (m.inode(path).is_directory())
    for (const std::string& name : m.names(path)) remove_tree(m, path + "/" + name);
  m.remove(path);
}

// A file `f`; there are another, `x`, and a directory, `e`.
Scene file() {
  return {"file",
          [](Machine& m) {
            make_with(m, "f", "old");
            make_with(m, "x", "x");
            m.mkdir("e");
          },
          {
              {"write", [](Machine& m, const std::string& who) { m.write("f", who); }},
              {"truncate", [](Machine& m, const std::string&) { m.truncate("f", 0); }},
              {"chmod", [](Machine& m, const std::string& who) { m.chmod("f", who == "a" ? 0600 : 0640); }},
              {"setxattr", [](Machine& m, const std::string& who) { m.set_xattr("f", "user.x", who); }},
              {"rename", [](Machine& m, const std::string& who) { m.rename("f", "f-" + who); }},
              {"move", [](Machine& m, const std::string&) { m.rename("f", "e/f"); }},
              {"link", [](Machine& m, const std::string& who) { m.link("f", "l-" + who); }},
              {"unlink", [](Machine& m, const std::string&) { m.remove("f"); }},
              {"save",  // as editors do
               [](Machine& m, const std::string& who) {
                 make_with(m, "f~", who);
                 m.rename("f~", "f");
               }},
              {"replace", [](Machine& m, const std::string&) { m.rename("x", "f"); }},
              {"exchange", [](Machine& m, const std::string&) { m.rename("x", "f", RenameMode::kExchange); }},
              {"mkdir",  // in its place
               [](Machine& m, const std::string&) {
                 m.remove("f");
                 m.mkdir("f");
               }},
          }};
}

// A file of two names, `f` and `g`.
Scene links() {
  return {"links",
          [](Machine& m) {
            make_with(m, "f", "old");
            m.link("f", "g");
          },
          {
              {"write", [](Machine& m, const std::string& who) { m.write("f", who); }},
              {"rename", [](Machine& m, const std::string& who) { m.rename("g", "g-" + who); }},
              {"link", [](Machine& m, const std::string& who) { m.link("g", "l-" + who); }},
              {"unlink f", [](Machine& m, const std::string&) { m.remove("f"); }},
              {"unlink g", [](Machine& m, const std::string&) { m.remove("g"); }},
              {"unlink both",
               [](Machine& m, const std::string&) {
                 m.remove("f");
                 m.remove("g");
               }},
              {"save",
               [](Machine& m, const std::string& who) {
                 make_with(m, "f~", who);
                 m.rename("f~", "f");
               }},
          }};
}

// A name, `n`, that nothing has; there are the files `x` and `y` to be renamed, or linked, to it.
Scene name() {
  return {"name",
          [](Machine& m) {
            make_with(m, "x", "x");
            make_with(m, "y", "y");
          },
          {
              {"create", [](Machine& m, const std::string& who) { make_with(m, "n", who); }},
              {"create empty", [](Machine& m, const std::string&) { m.make("n"); }},
              {"mkdir",
               [](Machine& m, const std::string& who) {
                 m.mkdir("n");
                 make_with(m, "n/in", who);
               }},
              {"symlink", [](Machine& m, const std::string&) { m.symlink("n", "t"); }},
              {"symlink elsewhere", [](Machine& m, const std::string& who) { m.symlink("n", who); }},
              {"mkfifo", [](Machine& m, const std::string&) { m.make("n", FileType::kFifo); }},
              {"link x", [](Machine& m, const std::string&) { m.link("x", "n"); }},
              {"rename x", [](Machine& m, const std::string&) { m.rename("x", "n"); }},
              {"rename y", [](Machine& m, const std::string&) { m.rename("y", "n"); }},
          }};
}

// A directory `d` with a file `d/c`; there is another directory, `e`.
Scene directory() {
  return {"directory",
          [](Machine& m) {
            m.mkdir("d");
            make_with(m, "d/c", "old");
            m.mkdir("e");
          },
          {
              {"chmod", [](Machine& m, const std::string& who) { m.chmod("d", who == "a" ? 0700 : 0750); }},
              {"create in it", [](Machine& m, const std::string& who) { make_with(m, "d/n", who); }},
              {"mkdir in it", [](Machine& m, const std::string&) { m.mkdir("d/n"); }},
              {"write c", [](Machine& m, const std::string& who) { m.write("d/c", who); }},
              {"unlink c", [](Machine& m, const std::string&) { m.remove("d/c"); }},
              {"move c out", [](Machine& m, const std::string& who) { m.rename("d/c", "c-" + who); }},
              {"rename", [](Machine& m, const std::string& who) { m.rename("d", "d-" + who); }},
              {"move into e", [](Machine& m, const std::string&) { m.rename("d", "e/d"); }},
              {"move e into it", [](Machine& m, const std::string&) { m.rename("e", "d/e"); }},
              {"remove", [](Machine& m, const std::string&) { remove_tree(m, "d"); }},
              {"make anew",
               [](Machine& m, const std::string& who) {
                 remove_tree(m, "d");
                 m.mkdir("d");
                 make_with(m, "d/n", who);
               }},
              {"replace by e",
               [](Machine& m, const std::string&) {
                 m.remove("d/c");
                 m.rename("e", "d");
               }},
              {"file in its place",
               [](Machine& m, const std::string& who) {
                 remove_tree(m, "d");
                 make_with(m, "d", who);
               }},
          }};
}

struct Pair {
  std::string title;
  const Scene* scene;
  Operation earlier, later;
};

const std::vector<Scene>& scenes() {
  static const std::vector<Scene> all{file(), links(), name(), directory()};
  return all;
}

std::string title(const Scene& scene, const std::string& earlier, const std::string& later) {
  return scene.thing + ": " + earlier + ", " + later;
}

std::vector<Pair> every_pair() {
  std::vector<Pair> out;
  for (const Scene& scene : scenes())
    for (const auto& [first, earlier] : scene.operations)
      for (const auto& [second, later] : scene.operations)
        out.push_back({title(scene, first, second), &scene, earlier, later});
  return out;
}

void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.title; }

// The tree in one line: files with their contents, names of one file joined by "=".
std::string in_a_line(const Machine& m) {
  std::map<Ino, std::string> firsts;
  std::string out;
  std::function<void(const std::string&)> walk = [&](const std::string& dir) {
    for (const std::string& name : m.names(dir)) {
      const std::string path = dir.empty() ? name : dir + "/" + name;
      const Inode inode = m.inode(path);
      std::string shown = path;
      if (size_t at = shown.find(" (conflict, host"); at != std::string::npos)
        shown.replace(at, shown.find(')', at) - at,
                      std::string(" (conflict of ") + (shown[at + 16] == '1' ? "a" : "b"));
      out += out.empty() ? "" : ", ";
      if (inode.is_directory()) {
        out += shown + "/";
        if (inode.mode != 0644) out += " mode " + std::string(inode.mode == 0700 ? "a" : "b");
        walk(path);
        continue;
      }
      auto [first, fresh] = firsts.emplace(m.at(path), shown);
      if (!fresh) {
        out += shown + " is " + first->second;
        continue;
      }
      out += shown;
      if (inode.is_regular()) out += " \"" + m.read(path) + "\"";
      if (inode.type == FileType::kSymlink) out += " -> " + inode.target;
      if (inode.type == FileType::kFifo) out += " fifo";
      if (inode.is_regular() && inode.mode != 0644) out += " mode " + std::string(inode.mode == 0600 ? "a" : "b");
      for (const Xattr& x : must(list_xattrs(m.rows(), m.at(path)))) out += " xattr " + std::string(as_string(x.value));
    }
  };
  walk("");
  return out.empty() ? "nothing" : out;
}

const std::map<std::string, std::string>& outcomes() {
  static const auto map = [] {
    std::map<std::string, std::string> read;
    std::ifstream in(COFFER_PAIRS);
    for (std::string line; std::getline(in, line);)
      if (size_t at = line.find(" => "); at != std::string::npos && line[0] != '#')
        read[line.substr(0, at)] = line.substr(at + 4);
    return read;
  }();
  return map;
}

class Pairs : public ThreeMachines, public ::testing::WithParamInterface<Pair> {};

TEST_P(Pairs, ComeToWhatTheTableSays) {
  const Pair& pair = GetParam();
  given(pair.scene->given);
  pair.earlier(a, "a");
  pair.later(b, "b");
  sync();
  auto known = outcomes().find(pair.title);
  EXPECT_EQ(in_a_line(a), known == outcomes().end() ? "(not in pairs.txt)" : known->second) << pair.title;
}

// What one of the two comes to when the other does nothing.
class PairsTable : public ThreeMachines {
 protected:
  static std::string alone(const Scene& scene, const Operation& what, bool earlier) {
    Machine m(earlier ? 1 : 2);
    must(m.run([&](Rows& rows) -> Result<void> {
      make_root(rows, 0755, 0, 0, m.now());
      return {};
    }));
    scene.given(m);
    what(m, earlier ? "a" : "b");
    return in_a_line(m);
  }
  // As the page has it: a line for each earlier operation, a column for each later one.
  static std::string table(const Scene& scene) {
    std::ostringstream out;
    out << std::string(24, ' ');
    for (size_t i = 1; i <= scene.operations.size(); ++i) out << std::setw(3) << i;
    size_t row = 0;
    for (const auto& [first, earlier] : scene.operations) {
      out << "\n" << std::setw(3) << ++row << " " << std::setw(20) << std::left << first << std::right;
      for (const auto& [second, later] : scene.operations) {
        const std::string &outcome = outcomes().at(title(scene, first, second)), by_a = alone(scene, earlier, true),
                          by_b = alone(scene, later, false);
        const char* word = outcome.find("(conflict") != std::string::npos ? "C"
                           : outcome == by_a                              ? outcome == by_b ? "=" : "E"
                           : outcome == by_b                              ? "L"
                                                                          : "+";
        out << std::setw(3) << word;
      }
    }
    return out.str() + "\n";
  }
};

TEST_F(PairsTable, HasEveryPairAndNothingElse) { EXPECT_EQ(outcomes().size(), every_pair().size()); }

TEST_F(PairsTable, IsInThePage) {
  std::ifstream in(COFFER_SEMANTICS);
  const std::string page(std::istreambuf_iterator<char>(in), {});
  for (const Scene& scene : scenes())
    EXPECT_NE(page.find(table(scene)), std::string::npos) << scene.thing << "\n" << table(scene);
}

std::string name_of(const ::testing::TestParamInfo<Pair>& info) {
  std::string out;
  bool begin = true;
  for (char c : info.param.title) {
    if (c == ',') out += "Then";
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (letter) out += begin ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    begin = !letter;
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Of, Pairs, ::testing::ValuesIn(every_pair()), name_of);

}  // namespace
}  // namespace coffer::model
